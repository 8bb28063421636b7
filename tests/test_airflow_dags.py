"""The DAG files as Airflow reads them: light, complete, and on time on daylight-saving days."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_support import ROOT, dags_as_read
from dealwatch import jobs
from dealwatch.moments import parse_moment
from dealwatch.settings import Settings

pytestmark = pytest.mark.airflow

DAGS = {
    "extract_crm",
    "take_events",
    "score_deals",
    "write_back",
    "deliver_alerts",
    "retrain_model",
    "measure_alerts",
    "review_pipeline",
}
CAN_BE_BACKFILLED = {"score_deals", "measure_alerts", "review_pipeline"}
CHANGES = {  # the days on which clocks change
    "Europe/Berlin": {date(2026, 3, 29), date(2026, 10, 25)},
    "America/New_York": {date(2026, 3, 8), date(2026, 11, 1)},
}


ZONES = sorted(CHANGES)
EARLY = {"DEALWATCH_TIME_ZONE": "UTC", "DEALWATCH_MORNING": "07:30"}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What Airflow read: as it comes, in each of the zones, and with another morning."""
    zoned = [{"DEALWATCH_TIME_ZONE": zone} for zone in ZONES]
    return dags_as_read(tmp_path_factory.mktemp("airflow"), {}, *zoned, EARLY)


@pytest.fixture(scope="module")
def found(read: list[dict[str, Any]]) -> dict[str, Any]:
    return read[0]


@pytest.fixture(scope="module")
def dags(found: dict[str, Any]) -> dict[str, Any]:
    assert set(found["dags"]) == DAGS
    return dict(found["dags"])


def test_every_dag_file_is_read_without_the_heavy_libraries(found: dict[str, Any]) -> None:
    assert found["errors"] == {}
    assert set(found["dags"]) == DAGS, "found nothing to check"
    assert found["heavy"] == []


def test_dag_files_are_named_after_their_dags() -> None:
    files = {path.stem for path in (ROOT / "dags").glob("*.py")}
    shared = {f"dealwatch_{name}" for name in ("socket", "retries", "notices", "late", "approval")}
    assert shared < files
    assert files - shared == DAGS


def test_every_dag_explains_itself_and_tells_of_failure(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert len(dag["doc"]) > 400
        assert "**When it fails**" in dag["doc"]
        assert "dealwatch" in dag["tags"]
        assert dag["tells_of_failure"]
        assert dag["catchup"] is False
        assert dag["start"] == "2020-01-01T00:00:00+00:00"


def test_every_task_has_an_owner_retries_and_a_timeout(dags: dict[str, Any]) -> None:
    tasks = [told for dag in dags.values() for told in dag["tasks"].items()]
    assert len(tasks) >= 7, "found nothing to check"
    for name, task in tasks:
        assert task["owner"] == "data-platform"
        assert task["retries"] == (5 if name == "extract" else 2)
        assert 0 < task["timeout"] <= 2 * 3600


def test_params_are_forms_with_a_schema(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        for name, schema in dag["params"].items():
            assert schema["description"], name
            assert "type" in schema or "enum" in schema, name
    assert dags["score_deals"]["params"]["notify"]["enum"] == ["auto", "dry", "force"]
    assert set(dags["score_deals"]["params"]) == {"as_of", "notify"}


def test_only_scores_and_measurements_can_be_backfilled(dags: dict[str, Any]) -> None:
    for name in CAN_BE_BACKFILLED:
        assert dags[name]["run_types"] == [], name  # all
    for name in DAGS - CAN_BE_BACKFILLED:
        assert dags[name]["run_types"] == ["manual", "operator_triggered", "scheduled"], name


def test_the_scores_come_before_the_alerts_and_those_before_the_delivery(dags: dict[str, Any]) -> None:
    tasks = dags["score_deals"]["tasks"]
    assert {name: task["downstream"] for name, task in tasks.items()} == {
        "score": ["alert"],
        "alert": ["deliver"],
        "deliver": [],
    }


def test_a_model_is_promoted_only_behind_a_question_whose_default_is_no(dags: dict[str, Any]) -> None:
    tasks = dags["retrain_model"]["tasks"]
    assert "ask" in tasks["train"]["downstream"]
    after = {name: task["downstream"] for name, task in tasks.items()}
    assert (after["ask"], after["approve"], after["promote"]) == (["approve"], ["promote"], ["reject"])
    assert (tasks["approve"]["default"], tasks["approve"]["waits"]) == (["Reject"], 7 * 86400)
    assert tasks["reject"]["trigger_rule"] == "all_skipped"


def test_late_mornings_and_trainings_are_told_counted_from_the_queue(dags: dict[str, Any]) -> None:
    told = "dealwatch_late.tell_late"
    assert dags["score_deals"]["late"] == [["WhenQueued", 3600, told]]
    assert dags["retrain_model"]["late"] == [["WhenQueued", 4 * 3600, told]]


RETRIES = """
from datetime import timedelta
from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch_socket import TASKS
for error in (
    SourceDown("busy"),
    SourceDown("busy", after=timedelta(seconds=5)),
    SourceDown("enough for today", after=timedelta(hours=1)),
    ExtractRefused("no column stage"),
):
    decided = TASKS["retry_policy"].evaluate(error, try_number=1, max_tries=5)
    print(decided.action.value, decided.retry_delay)
"""


def test_a_crm_is_not_asked_again_before_it_says(settings: Settings) -> None:
    assert in_a_socket(settings, RETRIES).splitlines() == [
        "default None",
        "retry 0:01:00",
        "retry 1:00:00",
        "fail None",
    ]


TELL_LATE = """
import json, logging, sys
import dealwatch_socket
from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied
from dealwatch_late import tell_late
def denied(name):  # as Airflow answers beside a deadline for whatever is not in the environment
    raise AirflowSecretsBackendAccessDenied(name)
dealwatch_socket.connection = denied
heard = []
ear = type("Ear", (logging.Handler,), {"emit": lambda _, record: heard.append(record)})
for name in ("dealwatch_late", "dealwatch_notices"):
    logging.getLogger(name).addHandler(ear())
for run_type, as_of, unless in json.loads(sys.argv[1]):
    run = {"dag_id": "a_dag", "dag_run_id": run_type + as_of + unless, "conf": {"as_of": as_of}}
    run |= {"run_type": run_type, "logical_date": None, "run_after": "2026-03-01T05:00:00Z"}
    tell_late({"dag_run": run}, unless=unless)
print(json.dumps([record.getMessage() for record in heard]))
"""


def test_a_late_run_is_told_unless_nobody_waits_for_it(settings: Settings) -> None:
    jobs.upgrade(settings)
    jobs.train(settings, as_of=parse_moment("2026-03-01", settings))
    runs = [
        ("scheduled", "2026-03-01", ""),
        ("backfill", "2026-03-01", ""),  # a past day is late for nobody
        ("scheduled", "2026-03-01", "is_trained"),  # it waits for a person
        ("scheduled", "2026-04-01", "is_trained"),
    ]
    heard = told_late(settings, runs)
    assert [text.split()[4] for text in heard] == ["scheduled2026-03-01", "scheduled2026-04-01is_trained"]
    away = {"DEALWATCH_WAREHOUSE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nothing"}
    unanswered = told_late(settings, runs[2:3], **away)  # why it is late, most likely
    assert "cannot ask" in unanswered[0] and unanswered[1].startswith("Look at a_dag")


def told_late(settings: Settings, runs: list[tuple[str, str, str]], **changes: str) -> list[str]:
    heard: list[str] = json.loads(
        in_a_socket(settings, TELL_LATE, json.dumps(runs), **changes).splitlines()[-1]
    )
    return heard


def in_a_socket(settings: Settings, code: str, *arguments: str, **changes: str) -> str:
    """What a program prints that imports from `dags/` as a DAG file does."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "DEALWATCH"))},
        **changes,
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "DEALWATCH_HOME": str(settings.home),
        "DEALWATCH_TIME_ZONE": settings.time_zone,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "dags"), str(ROOT / "include")]),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-c", code, *arguments]
    made = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_rules_and_model_are_measured_on_sundays_after_the_morning_they_measure(dags: dict[str, Any]) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    local = [datetime.fromisoformat(t).astimezone(berlin) for t in dags["measure_alerts"]["ticks"]]
    assert {(tick.weekday(), tick.hour, tick.minute) for tick in local} == {(6, 8, 0)}
    tasks = dags["measure_alerts"]["tasks"]
    assert tasks["measure"]["downstream"] == tasks["drift"]["downstream"] == [], "one failure hides the other"
    assert "measure" not in dags["retrain_model"]["tasks"]


def test_reviews_come_at_seven_on_mondays_and_while_a_month_may_have_its_first_workday(
    dags: dict[str, Any],
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    local = [datetime.fromisoformat(t).astimezone(berlin) for t in dags["review_pipeline"]["ticks"]]
    assert {(tick.hour, tick.minute) for tick in local} == {(7, 0)}
    assert {tick.weekday() for tick in local if tick.day > 3} == {0}
    assert {tick.day for tick in local} >= {1, 2, 3}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("dag_id", "hour"), [("score_deals", 6), ("extract_crm", 5)])
def test_daylight_saving_days_run_exactly_once_at_the_local_hour(
    read: list[dict[str, Any]], zone: str, dag_id: str, hour: int
) -> None:
    dags = read[1 + ZONES.index(zone)]["dags"]
    local = [datetime.fromisoformat(tick).astimezone(ZoneInfo(zone)) for tick in dags[dag_id]["ticks"]]
    assert {tick.hour for tick in local} == {hour}
    per_day = Counter(tick.date() for tick in local)
    assert set(per_day.values()) == {1}
    assert CHANGES[zone] <= set(per_day), "the days on which clocks change were not checked"


def test_the_morning_of_the_settings_moves_the_schedules(read: list[dict[str, Any]]) -> None:
    dags = read[-1]["dags"]
    assert {tick[11:16] for tick in dags["score_deals"]["ticks"]} == {"07:30"}
    assert {tick[11:16] for tick in dags["extract_crm"]["ticks"]} == {"06:30"}


TYPED = """
from datetime import UTC, datetime
from types import SimpleNamespace as Run
from dealwatch.errors import SettingsError
from dealwatch_socket import moment
run = Run(logical_date=None, run_after=datetime(2026, 3, 1, 2, tzinfo=UTC))
print(moment(run, {"as_of": None}), moment(run, {"as_of": "2026-02-01"}))
try:
    moment(run, {"as_of": "2962-11-21"})
except SettingsError as error:
    print(error)
"""


def test_a_day_to_come_typed_into_the_form_is_refused_before_a_task_writes(settings: Settings) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "DEALWATCH"))}
    ours = {
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "dags"), str(ROOT / "include")]),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-c", TYPED]
    made = subprocess.run(command, env={**inherited, **ours}, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    known, refused = made.stdout.splitlines()[-2:]
    assert "2026-03-01" in known and "2026-02-01" in known
    assert refused.startswith("2962-11-21 is to come")
