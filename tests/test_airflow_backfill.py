"""A real Airflow backfills, clears, repeats and is killed: the tables end the same, nobody is messaged."""

import contextlib
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import psutil
import pytest

from airflow_support import (
    DAYS,
    EXPORTED_AT,
    FIRST,
    LAST,
    LEDGER,
    TRAINED_AS_OF,
    House,
    again,
    assert_nobody_was_messaged,
    backfill,
    copied,
    differing,
    forget,
    learn,
    moment,
    score_each_day,
    small_company,
    tables_of,
)
from dealwatch.launch.airflow_home import LocalAirflow, free_port
from dealwatch.launch.places import Places

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    with LocalAirflow(Places(home), port=free_port()) as airflow:
        airflow.begin_database()
        settings = small_company(home)
        learn(settings)
        shutil.copyfile(home / "dealwatch.db", home / "learned.db")
        calm = copied(settings, home / "calm.db")
        score_each_day(calm)
        api = airflow.start()
        yield House(settings, api, airflow.children.environment, tables_of(calm))


@pytest.fixture
def fresh(house: House) -> House:
    """The house with nothing scored, alerted or delivered."""
    start_anew(house)
    return house


def start_anew(house: House) -> None:
    for path in house.settings.home.glob("dealwatch.db*"):
        path.unlink()
    shutil.copyfile(house.settings.home / "learned.db", house.settings.home / "dealwatch.db")


# Airflow calls a backfill finished up to half a minute after its last run, and takes no other before: tests
# that need none stand between those that do, so that nobody waits.


def test_days_backfilled_side_by_side_by_rest_end_as_fifteen_calm_mornings(fresh: House) -> None:
    backfill(fresh, "rest", max_active_runs=10)
    assert differing(tables_of(fresh.settings), fresh.expected) == []
    assert_nobody_was_messaged(fresh)


def test_a_task_killed_while_landing_and_tried_again_leaves_no_trace(fresh: House) -> None:
    before = tables_of(fresh.settings)
    killed = 0
    for n, patience in enumerate((1.6, 0.8, 0.4, 0.2)):
        forget(fresh.settings, only=LEDGER)
        run = ("extract_crm", f"killed-{n}", {"at": EXPORTED_AT})
        killed += kill_then_retry(fresh, run, "extract", patience=patience)
        assert differing(tables_of(fresh.settings), before) == []
    assert killed, "no task was killed in its work"


def test_a_task_killed_while_scoring_and_tried_again_leaves_no_trace(fresh: House) -> None:
    morning = {"as_of": LAST.isoformat()}
    fresh.api.run("score_deals", "undisturbed", morning)
    before = tables_of(fresh.settings)
    killed = 0
    for n, patience in enumerate((0.8, 0.4, 0.2)):
        start_anew(fresh)
        killed += kill_then_retry(fresh, ("score_deals", f"killed-{n}", morning), "score", patience=patience)
        assert differing(tables_of(fresh.settings), before) == []
    assert killed, "no task was killed in its work"


def kill_then_retry(house: House, run: tuple[str, str, Any], task_id: str, *, patience: float) -> bool:
    """Start a run, kill -9 the task's process in its work, have Airflow try again; whether it was in time."""
    dag_id, run_id, conf = run
    runs = f"/dags/{dag_id}/dagRuns"
    house.api.post(runs, {"dag_run_id": run_id, "logical_date": None, "conf": conf})
    task = f"{runs}/{run_id}/taskInstances/{task_id}"
    found: list[int] = []

    def is_running() -> bool:
        found[:] = task_processes(house, house.api.get(task)["id"])
        return bool(found) or house.api.get(task)["state"] == "success"

    house.api.wait(is_running, seconds=60, what="the task to start")
    time.sleep(patience)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ended = ("up_for_retry", "failed", "success")
    house.api.wait(lambda: house.api.get(task)["state"] in ended, seconds=60, what="the task's end")
    was_killed = bool(house.api.get(task)["state"] == "up_for_retry")
    again(house, dag_id, run_id)
    return was_killed


def task_processes(house: House, task_instance: str) -> list[int]:
    """The process that runs the task: it bears its id as a title, as does the worker it was forked from."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if parent and all(task_instance in " ".join(p.cmdline()) for p in (process, parent)):
                found.append(process.pid)
    return found


def test_days_backfilled_backwards_by_shell_end_as_fifteen_calm_mornings(fresh: House) -> None:
    backfill(fresh, "shell", max_active_runs=2, run_backwards=True)
    assert differing(tables_of(fresh.settings), fresh.expected) == []
    assert_nobody_was_messaged(fresh)


@pytest.mark.parametrize(
    ("logical_date", "conf", "expected"),
    [
        ("2025-03-30T15:04:00Z", {}, "2025-03-30T04:00:00+00:00"),  # as the form fills it: that day's morning
        ("2025-03-29T23:30:00Z", {}, "2025-03-30T04:00:00+00:00"),  # the day is the organisation's, not UTC's
        (None, {"as_of": "2025-03-29"}, "2025-03-29T05:00:00+00:00"),
        (None, {"as_of": "2025-03-31T14:30"}, "2025-03-31T12:30:00+00:00"),
        (None, {}, None),  # today's
    ],
)
def test_each_kind_of_run_is_about_the_moment_it_should_be(
    fresh: House, logical_date: str | None, conf: dict[str, str], expected: str | None
) -> None:
    run_id = f"moment-{logical_date}-{len(conf)}-{expected}".replace(" ", "")
    body = {"dag_run_id": run_id, "logical_date": logical_date, "conf": {**conf, "notify": "dry"}}
    run = fresh.api.post("/dags/score_deals/dagRuns", body)
    if expected is None:
        today = moment(run["run_after"]).astimezone(fresh.settings.zone).replace(hour=6, minute=0)
        expected = today.replace(second=0, microsecond=0).astimezone(UTC).isoformat()
    events: list[dict[str, Any]] = []

    def is_told() -> bool:
        found = fresh.api.get("/assets/events", source_dag_id="score_deals", source_run_id=run_id)
        events[:] = found["asset_events"]
        return bool(events)

    fresh.api.wait(is_told, seconds=120, what="the scores")
    assert events[0]["extra"]["as_of"] == expected


def test_a_moment_that_is_none_is_refused_by_the_form(house: House) -> None:
    body = {"dag_run_id": "nonsense", "logical_date": None, "conf": {"as_of": "yesterday"}}
    assert house.api.http.post("/api/v2/dags/score_deals/dagRuns", json=body).status_code in (400, 422)


def test_what_cannot_be_backfilled_says_so(house: House) -> None:
    for dag_id in ("extract_crm", "deliver_alerts", "retrain_model"):
        body = {"dag_id": dag_id, "from_date": f"{FIRST}T00:00:00Z", "to_date": f"{LAST}T00:00:00Z"}
        answer = house.api.http.post("/api/v2/backfills", json=body)
        assert answer.status_code in (400, 409, 422), answer.text
        assert "backfill" in answer.text


def test_days_backfilled_in_order_and_a_cleared_scheduled_run_end_as_fifteen_calm_mornings(
    fresh: House,
) -> None:
    backfill(fresh, "shell", max_active_runs=1)
    assert differing(tables_of(fresh.settings), fresh.expected) == []
    assert_nobody_was_messaged(fresh)
    run_id = f"backfill__{FIRST}T05:00:00+00:00"
    with sqlite3.connect(Places(fresh.settings.home).airflow / "airflow.db", timeout=60) as airflow:
        changed = airflow.execute("UPDATE dag_run SET run_type='scheduled' WHERE run_id=?", [run_id])
        assert changed.rowcount == 1
    again(fresh, "score_deals", run_id)
    assert fresh.api.get(f"/dags/score_deals/dagRuns/{run_id}")["run_type"] == "scheduled"
    assert differing(tables_of(fresh.settings), fresh.expected) == []
    assert_nobody_was_messaged(fresh)


def test_a_backfilled_run_is_about_its_own_day(house: House) -> None:
    events = house.api.get("/assets/events", source_dag_id="score_deals", limit=500)["asset_events"]
    told = {e["source_run_id"]: e["extra"]["as_of"] for e in events}
    backfilled = {run_id: as_of for run_id, as_of in told.items() if run_id.startswith("backfill__")}
    assert len(backfilled) == DAYS
    assert all(run_id == f"backfill__{as_of}" for run_id, as_of in backfilled.items())


def test_a_repeat_of_any_task_changes_nothing_and_sends_nothing(fresh: House) -> None:
    morning = {"as_of": LAST.isoformat(), "notify": "force"}
    fresh.api.run("score_deals", "forced", morning)
    fresh.api.wait(lambda: no_delivery_is_left(fresh), seconds=120, what="the queue to empty")
    before = tables_of(fresh.settings)
    sent = before["deliveries"].filter(before["deliveries"]["state"] == "sent").height
    assert sent > 0
    fresh.api.run("extract_crm", "again", {"at": EXPORTED_AT})
    learned = ("retrain_model", "measure_alerts")
    for dag_id in learned:
        fresh.api.run(dag_id, "again", {"as_of": TRAINED_AS_OF})
    for dag_id in ("extract_crm", *learned):
        again(fresh, dag_id, "again")
    again(fresh, "score_deals", "forced")
    fresh.api.run("deliver_alerts", "again", {})
    assert differing(tables_of(fresh.settings), before) == []
    assert len(list(fresh.settings.home.glob("outbox/*/*.html"))) == sent
    shutil.rmtree(fresh.settings.home / "outbox")


def no_delivery_is_left(house: House) -> bool:
    return "queued" not in set(tables_of(house.settings, only=("deliveries",))["deliveries"]["state"])
