"""A real Airflow backfills, clears, repeats and is killed: the tables end the same, nobody is messaged."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from airflow_support import (
    DAYS,
    EXPORTED_AT,
    FIRST,
    LAST,
    LEDGER,
    PATIENCE,
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
from dealwatch import jobs
from dealwatch.errors import NotReady
from dealwatch.launch.airflow_home import READ_SELDOM, LocalAirflow, free_port
from dealwatch.launch.places import Places
from dealwatch.moments import morning_of, parse_moment

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(3 * PATIENCE)]

CHANGES = {**READ_SELDOM, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,vera:viewer"}
REVIEWED = (
    "2025-03-17",
    "2025-03-24",
    "2025-03-31",
    "2025-04-01",
)  # three Mondays, and April's first workday


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    with LocalAirflow(Places(home), port=free_port(), changes=CHANGES) as airflow:
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


def test_days_backfilled_side_by_side_by_rest_end_as_nine_calm_mornings(fresh: House) -> None:
    backfill(fresh, "rest", max_active_runs=10)
    assert differing(tables_of(fresh.settings), fresh.expected) == []
    assert_nobody_was_messaged(fresh)


@pytest.mark.parametrize("table", ["raw_records", "deals"])  # written first, and nearly last
def test_a_task_killed_while_landing_and_tried_again_leaves_no_trace(fresh: House, table: str) -> None:
    before = tables_of(fresh.settings)
    forget(fresh.settings, only=LEDGER)
    kill_then_retry(fresh, "extract_crm", "extract", {"at": EXPORTED_AT}, table=table)
    assert differing(tables_of(fresh.settings), before) == []


def test_a_task_killed_while_scoring_and_tried_again_leaves_no_trace(fresh: House) -> None:
    morning = {"as_of": LAST.isoformat()}
    fresh.api.run("score_deals", "undisturbed", morning)
    before = tables_of(fresh.settings)
    for table in ("deal_snapshots", "scored_mornings"):  # written first and last
        start_anew(fresh)
        kill_then_retry(fresh, "score_deals", "score", morning, table=table)
        assert differing(tables_of(fresh.settings), before) == []


def kill_then_retry(house: House, dag_id: str, task_id: str, conf: Any, *, table: str) -> None:
    """Start a run, kill -9 the task's process in the midst of writing a table, and have Airflow try again."""
    run_id = f"killed-at-{table}"
    task = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
    with endless_writing(house.settings.home / "dealwatch.db", table) as is_stuck:
        house.api.trigger(dag_id, run_id, conf)
        house.api.wait(is_stuck, seconds=PATIENCE, what="the task to write")
        found = task_processes(house.api.get(task)["id"])
        assert found, "the task has no process"
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended = ("up_for_retry", "failed", "success")
        house.api.wait(lambda: house.api.get(task)["state"] in ended, seconds=PATIENCE, what="the task's end")
    assert house.api.get(task)["state"] == "up_for_retry"
    again(house, dag_id, run_id)


@contextlib.contextmanager
def endless_writing(database: Path, table: str) -> Iterator[Callable[[], bool]]:
    """Whoever writes to the table never gets further; yields whether somebody is at it."""
    with contextlib.closing(sqlite3.connect(database, timeout=PATIENCE)) as warehouse:
        warehouse.executescript(
            "CREATE VIEW endless AS WITH RECURSIVE number(n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM number) SELECT max(n) AS n FROM number;"
            f"CREATE TRIGGER endless_{table} BEFORE INSERT ON {table} BEGIN SELECT n FROM endless; END;"
        )
        yield lambda: is_being_written(database)
        warehouse.executescript(f"DROP TRIGGER endless_{table}; DROP VIEW endless;")


def is_being_written(database: Path) -> bool:
    """Whether another process is in the midst of a transaction that writes."""
    with contextlib.closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as warehouse:
        try:
            warehouse.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        warehouse.execute("ROLLBACK")
        return False


def task_processes(task_instance: str) -> list[int]:
    """The process that runs the task: it bears its id as a title, as does the worker it was forked from."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if parent and all(task_instance in " ".join(p.cmdline()) for p in (process, parent)):
                found.append(process.pid)
    return found


MOMENTS = {  # run: logical date, params, what it is about
    "filled-in-by-the-form": ("2025-03-30T15:04:00Z", {}, "2025-03-30T04:00:00+00:00"),  # that day's morning
    "late-in-the-day-before": ("2025-03-29T23:30:00Z", {}, "2025-03-30T04:00:00+00:00"),  # not UTC's day
    "a-day": (None, {"as_of": "2025-03-29"}, "2025-03-29T05:00:00+00:00"),
    "a-minute": (None, {"as_of": "2025-03-31T14:30"}, "2025-03-31T12:30:00+00:00"),
    "nothing": (None, {}, "today"),
}


def test_each_kind_of_run_is_about_the_moment_it_should_be(fresh: House) -> None:
    expected = {run_id: about for run_id, (_, _, about) in MOMENTS.items()}
    for run_id, (logical_date, conf, _) in MOMENTS.items():
        dry = {**conf, "notify": "dry"}
        run = fresh.api.trigger("score_deals", run_id, dry, logical_date=logical_date)
        if expected[run_id] == "today":
            today = moment(run["run_after"]).astimezone(fresh.settings.zone)
            expected[run_id] = morning_of(today.date(), fresh.settings).astimezone(UTC).isoformat()
    for run_id in MOMENTS:
        fresh.api.wait_for_run("score_deals", run_id)
    events = fresh.api.get("/assets/events", source_dag_id="score_deals", limit=500)["asset_events"]
    told = {e["source_run_id"]: e["extra"]["as_of"] for e in events}
    assert {run_id: told[run_id] for run_id in MOMENTS} == expected


def test_a_moment_that_is_none_is_refused_by_the_form(house: House) -> None:
    with pytest.raises(NotReady, match="Airflow answered 4.*as_of"):
        house.api.trigger("score_deals", "nonsense", {"as_of": "yesterday"})


def test_what_cannot_be_backfilled_says_so(house: House) -> None:
    first, last = (datetime.combine(day, time(), house.settings.zone) for day in (FIRST, LAST))
    for dag_id in ("extract_crm", "deliver_alerts", "retrain_model"):
        with pytest.raises(NotReady, match="Airflow answered 4.*backfill"):
            ask_until_answered(house, dag_id, first, last)


def ask_until_answered(house: House, dag_id: str, first: datetime, last: datetime) -> None:
    house.api.wait(lambda: house.api.ask_backfill(dag_id, first, last), seconds=PATIENCE, what="an answer")


def test_days_backfilled_backwards_and_a_cleared_scheduled_run_end_as_nine_calm_mornings(
    fresh: House,
) -> None:
    backfill(fresh, "shell", max_active_runs=1, run_backwards=True)
    assert differing(tables_of(fresh.settings), fresh.expected) == []
    assert_nobody_was_messaged(fresh)
    run_id = f"backfill__{FIRST}T05:00:00+00:00"
    # A run that is left to a backfill never starts again once that backfill was cancelled.
    scheduled = "UPDATE dag_run SET run_type='scheduled', backfill_id=NULL WHERE run_id=?"
    with sqlite3.connect(Places(fresh.settings.home).airflow / "airflow.db", timeout=60) as airflow:
        assert airflow.execute(scheduled, [run_id]).rowcount == 1
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
    fresh.api.wait(lambda: no_delivery_is_left(fresh), seconds=PATIENCE, what="the queue to empty")
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


def test_past_weeks_are_reviewed_by_trigger_and_backfill_as_in_a_shell_and_nobody_is_told(
    fresh: House,
) -> None:
    """Then the pages show them, to those who are logged in."""
    deliveries = fresh.api.get("/dags/deliver_alerts/dagRuns", limit=1)["total_entries"]
    calm = copied(fresh.settings, fresh.settings.home / "reviewed.db")
    for day in REVIEWED:
        jobs.reviews_due(calm, as_of=parse_moment(day, calm), now=datetime.now(UTC))
    expected = tables_of(calm)
    fresh.api.run("review_pipeline", "a-past-monday", {"as_of": REVIEWED[1]})
    first, last = (parse_moment(day, fresh.settings) for day in (REVIEWED[0], REVIEWED[-1]))
    ended = fresh.api.backfill("review_pipeline", first, last + timedelta(hours=2), runs=len(REVIEWED))
    assert ended == {"success": len(REVIEWED)}
    assert tables_of(fresh.settings)["reviews"].height == len(REVIEWED)
    assert differing(tables_of(fresh.settings), expected) == []
    again(fresh, "review_pipeline", "a-past-monday")
    assert differing(tables_of(fresh.settings), expected) == []
    assert set(expected["deliveries"]["state"]) == {"not_sent"}
    assert not list(fresh.settings.home.glob("outbox/**/*.html"))
    assert fresh.api.get("/dags/deliver_alerts/dagRuns", limit=1)["total_entries"] == deliveries
    assert_only_who_is_logged_in_sees_reviews(fresh)


def assert_only_who_is_logged_in_sees_reviews(house: House) -> None:
    """Nobody without a session, everyone's version with a viewer's, that with reps with an editor's."""
    page = f"page/week/{parse_moment(REVIEWED[2], house.settings):%Y-%m-%dT%H:%M:%SZ}"
    address, board = str(house.api.http.base_url), "/dealwatch-board/"
    keys = json.loads((Places(house.settings.home).airflow / "passwords.json").read_text())
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as browser:
        for path in ("", page, "series"):
            assert browser.get(board + path).status_code == 401, path
            forged = browser.get(board + path, headers={"Cookie": "_token=forged"})
            assert forged.status_code in (401, 403) and "2025-W" not in forged.text
        shown = {}
        for name in ("admin", "vera"):
            login = {"username": name, "password": keys[name]}
            token = browser.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            session = {"Cookie": f"_token={token}"}
            newest = browser.get(board, headers=session)
            assert newest.status_code == 200 and "2025-W13" in newest.text
            assert "2025-W11" in browser.get(f"{board}series", headers=session).text
            shown[name] = browser.get(board + page, headers=session).text
            nav = browser.get("/api/v2/plugins", headers={"Authorization": f"Bearer {token}"}).json()
            views = [view for plugin in nav["plugins"] for view in plugin["external_views"]]
            assert [view["name"] for view in views] == ["Reviews"]
    assert "13 weeks to 2025-W13" in shown["vera"] and shown["admin"] != shown["vera"]
