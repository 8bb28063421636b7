"""A real Airflow asks a person about a new model, takes yes, no and silence, and tells of who is late."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_support import EXPORTED_AT, PATIENCE, again, moment, small_company, tables_of
from dealwatch import jobs
from dealwatch.launch.airflow_api import AirflowApi
from dealwatch.launch.airflow_home import READ_SELDOM, LocalAirflow, free_port
from dealwatch.launch.places import Places
from dealwatch.moments import parse_moment
from test_airflow_topology import slack_listening

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(3 * PATIENCE)]

# Few deals are enough, a champion that is old at once, everything late.
KNOBS = """[scoring]
auto_approve = false
approval_days = 7
alert_minimum = 40
champion_days = 1
late_after_hours = 0.0001
trees = 20

[alerts]
late_after_minutes = 0.005
"""


@dataclass(frozen=True)
class House:
    """A running Airflow over a company with a ledger and no model, and what Slack heard."""

    settings: Any
    api: AirflowApi
    posted: list[dict[str, Any]]

    def set_approval_days(self, days: float) -> None:
        path = self.settings.home / "dealwatch.toml"
        path.write_text(re.sub(r"approval_days = \S+", f"approval_days = {days}", path.read_text()))

    def told(self, beginning: str) -> list[str]:
        return [message["text"] for message in self.posted if message["text"].startswith(beginning)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("approving")
    with slack_listening() as (address, posted):
        slack = {"conn_type": "slack", "password": "xoxb-1", "extra": {"base_url": address}}
        changes = {
            **READ_SELDOM,
            "AIRFLOW_CONN_SLACK_DEFAULT": json.dumps(slack),
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",  # so often is silence looked for
        }
        with LocalAirflow(Places(home), port=free_port(), changes=changes) as airflow:
            airflow.begin_database()
            settings = small_company(home, deals=2000)
            turn(home / "dealwatch.toml")
            jobs.extract(settings, now=parse_moment(EXPORTED_AT, settings))
            yield House(settings, airflow.start(), posted)


def turn(path: Path) -> None:
    """Our knobs in the place of the example's."""
    text = path.read_text()
    kept = re.sub(r"(?ms)^\[(scoring|alerts)\]\n.*?(?=^\[|\Z)", "", text)
    path.write_text(f"{kept}\n{KNOBS}")


def ask(house: House, run_id: str, as_of: str) -> str:
    """Retrain, and wait until a person is asked; the version in question."""
    house.api.trigger("retrain_model", run_id, {"as_of": as_of})
    approve = f"/dags/retrain_model/dagRuns/{run_id}/taskInstances/approve"

    def is_asked() -> bool:
        state = house.api.get(approve)["state"]
        assert state not in ("skipped", "failed", "upstream_failed"), state
        return bool(state == "awaiting_input")

    house.api.wait(is_asked, seconds=PATIENCE, what="the question")
    found = house.api.get(
        f"/dags/retrain_model/dagRuns/{run_id}/taskInstances/train/xcomEntries/return_value"
    )
    trained = found["value"]
    assert set(trained) == {"version", "decision", "reason"}
    return str(trained["version"])


def detail(house: House, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = house.api.get(f"{at(run_id)}/-1/hitlDetails")
    return found


def at(run_id: str) -> str:
    return f"/dags/retrain_model/dagRuns/{run_id}/taskInstances/approve"


def answer(house: House, run_id: str, option: str) -> None:
    """Say it as a person would, who takes longer than the process that asked takes to end.

    An answer that comes before the executor told of that end, some 5 s after the question, makes Airflow call
    the task failed, and its next try asks again.
    """

    def is_settled() -> bool:
        task = house.api.get(at(run_id))
        state = task["state"]
        assert state not in ("failed", "upstream_failed"), state
        key = f"task_id='approve', run_id='{run_id}', try_number={task['try_number']}"
        is_ready = state == "awaiting_input" and has_been_told(house, key)
        if is_ready and not detail(house, run_id)["response_received"]:
            said = {"chosen_options": [option], "params_input": {}}
            given = house.api.http.patch(f"/api/v2{at(run_id)}/-1/hitlDetails", json=said)
            assert given.status_code == 200, given.text
        return bool(state in ("success", "skipped"))

    house.api.wait(is_settled, seconds=PATIENCE, what="the answer to be taken")


def has_been_told(house: House, key: str) -> bool:
    """Whether the executor told the scheduler that the process of a try has ended."""
    log = (Places(house.settings.home).logs / "scheduler.log").read_text(encoding="utf-8")
    return any("Received executor event" in line and key in line for line in log.splitlines())


def end(house: House, run_id: str) -> dict[str, str]:
    """Wait until the run has succeeded; its tasks' states."""
    house.api.run("retrain_model", run_id, {}, seconds=PATIENCE)
    tasks = house.api.get(f"/dags/retrain_model/dagRuns/{run_id}/taskInstances")["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks}


def versions(house: House) -> dict[str, dict[str, Any]]:
    rows = tables_of(house.settings, only=("model_versions",))["model_versions"]
    return {row["version"]: row for row in rows.iter_rows(named=True)}


def champions(house: House) -> list[str]:
    return [version for version, row in versions(house).items() if row["status"] == "champion"]


def test_an_approved_model_scores_from_then_on_and_nobody_is_asked_again(house: House) -> None:
    version = ask(house, "approved", "2025-03-01")
    asked = detail(house, "approved")
    assert asked["subject"] == f"Let model {version} score from now on?"
    assert asked["body"] == jobs.card(house.settings, version=version)
    assert asked["body"].startswith(f"# Model {version}\n\n**")
    assert (asked["options"], asked["defaults"]) == (["Approve", "Reject"], ["Reject"])
    assert champions(house) == []
    (told,) = house.told("Let model")
    assert f"Let model {version} score" in told
    assert "/dags/retrain_model/runs/approved/tasks/approve/required_actions" in told

    answer(house, "approved", "Approve")
    states = end(house, "approved")
    assert (states["promote"], states["reject"]) == ("success", "skipped")
    assert champions(house) == [version]
    (promotion,) = tables_of(house.settings, only=("model_promotions",))["model_promotions"].to_dicts()
    assert promotion["decided_by"] == "admin"
    assert promotion["promoted_as_of"] == moment(detail(house, "approved")["responded_at"])

    later = datetime.now(UTC) + timedelta(minutes=1)
    house.api.run("score_deals", "later", {"as_of": later.isoformat(), "notify": "dry"})
    scores = tables_of(house.settings, only=("deal_scores",))["deal_scores"]
    assert scores.filter(pl.col("as_of") == later)["model_version"].unique().to_list() == [version]

    told_once = house.told("Let model")  # more than one if Airflow asked once more: see `answer`
    again(house, "retrain_model", "approved")
    assert end(house, "approved")["approve"] == "skipped"
    assert house.told("Let model") == told_once
    assert champions(house) == [version]


def test_a_no_leaves_the_champion_and_is_remembered(house: House) -> None:
    before = champions(house)
    version = ask(house, "rejected", "2025-03-15")
    answer(house, "rejected", "Reject")
    states = end(house, "rejected")
    assert (states["promote"], states["reject"]) == ("skipped", "success")
    assert versions(house)[version]["status"] == "rejected"
    assert "admin" in versions(house)[version]["decision"]
    assert champions(house) == before


def test_silence_is_a_no(house: House) -> None:
    before = champions(house)
    house.set_approval_days(0.00001)  # 0.9 seconds
    house.api.trigger("retrain_model", "silent", {"as_of": "2025-04-01"})
    states = end(house, "silent")
    house.set_approval_days(7)
    assert (states["approve"], states["promote"], states["reject"]) == ("success", "skipped", "success")
    asked = detail(house, "silent")
    assert (asked["chosen_options"], asked["responded_by_user"]) == (["Reject"], None)
    (row,) = [row for row in versions(house).values() if "nobody" in row["decision"]]
    assert row["status"] == "rejected"
    assert champions(house) == before


def test_engineers_hear_once_of_a_late_run(house: House) -> None:
    """Every run of this Airflow is late; what it did then is done all the same."""
    house.api.run("score_deals", "late", {"as_of": "2025-04-05", "notify": "dry"})
    notice = "Look at score_deals: run late is late"
    house.api.wait(lambda: bool(house.told(notice)), seconds=PATIENCE, what="the notice")
    runs = [text.partition("run ")[2].split()[0] for text in house.told("Look at ")]
    assert "late" in runs
    assert len(runs) == len(set(runs)), runs
