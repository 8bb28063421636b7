"""What the Airflow tests share: the DAGs as Airflow reads them, a small company, and tables to compare.

Airflow is imported in processes of its own, never beside pytest: `python tests/airflow_support.py` tells as
JSON what it found in `dags/`.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dealwatch.launch.airflow_api import AirflowApi

ROOT = Path(__file__).resolve().parents[1]
# Nine days of a past year: a weekend with a daylight-saving day, a quarter's end, two Thursdays and Fridays,
# as alerts keep quiet for a week. That is enough for order to matter: eight of them have a day before.
FIRST, LAST = date(2025, 3, 27), date(2025, 4, 4)
DAYS = 9
DAY = timedelta(days=1)
UNTIL = date(2025, 4, 5)
EXPORTED_AT = "2025-04-05T05:00:00+02:00"
TRAINED_AS_OF = "2025-03-01"
PATIENCE = 1500  # seconds: nothing that works takes as long, however busy the machine
LEDGER = (
    "extract_runs",
    "raw_records",
    "quarantine",
    "deal_changes",
    "deals",
    "activities",
    "owners",
)


def small_company(home: Path, *, deals: int = 1000) -> Any:
    """Settings of a home with a year of a small company's files and an empty warehouse."""
    from dealwatch import jobs
    from dealwatch.settings import load

    home.mkdir(parents=True, exist_ok=True)
    example = ROOT / "include" / "examples" / "demo.toml"
    plain = 'channels = ["folder"]'
    ours = f'{plain}\noperations_slack = "C0OPERATIONS"'
    text = example.read_text().replace(plain, ours)
    assert ours in text
    (home / "dealwatch.toml").write_text(text.replace("[scoring]", "[scoring]\ntrees = 50"))
    jobs.simulate("planted", home / "demo", deals=deals, days=365, seed=7, until=UNTIL)
    settings = load(home / "dealwatch.toml").model_copy(update={"home": home})
    jobs.upgrade(settings)
    return settings


def learn(settings: Any) -> None:
    """Extract, train and measure, as the DAGs do."""
    from dealwatch import jobs
    from dealwatch.moments import parse_moment

    jobs.extract(settings, now=parse_moment(EXPORTED_AT, settings))
    jobs.train(settings, as_of=parse_moment(TRAINED_AS_OF, settings))
    jobs.measure(settings, as_of=parse_moment(TRAINED_AS_OF, settings))
    jobs.drift(settings, as_of=parse_moment(TRAINED_AS_OF, settings))


def score_each_day(settings: Any) -> None:
    """One morning after the other, as nine real mornings would have."""
    from dealwatch import jobs
    from dealwatch.moments import mornings

    for as_of in mornings(FIRST, LAST, settings):
        jobs.score(settings, as_of=as_of)
        jobs.alert(settings, as_of=as_of, now=datetime.now(UTC))


def tables_of(settings: Any, *, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every table's rows in the order of their keys, without what only tells when we wrote."""
    from sqlalchemy import select

    from dealwatch.tables import WALL_CLOCK_COLUMNS, metadata
    from dealwatch.warehouse import connect, frame, reading

    engine = connect(settings)
    with reading(engine) as connection:
        found = {
            table.name: frame(
                connection, select(*[c for c in table.columns if c.name not in WALL_CLOCK_COLUMNS])
            ).sort([c.name for c in table.primary_key.columns])
            for table in metadata.sorted_tables
            if not only or table.name in only
        }
    engine.dispose()
    assert found
    return found


def differing(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """The tables whose rows differ, with how many rows each has."""
    assert left.keys() == right.keys()
    return [
        f"{name}: {left[name].height} and {right[name].height} rows"
        for name in left
        if not left[name].equals(right[name])
    ]


def forget(settings: Any, *, only: tuple[str, ...] = ()) -> None:
    """Empty the tables: all, or those named."""
    from sqlalchemy import delete

    from dealwatch.tables import metadata
    from dealwatch.warehouse import connect, writing

    engine = connect(settings)
    with writing(engine) as connection:
        for table in metadata.sorted_tables:
            if not only or table.name in only:
                connection.execute(delete(table))
    engine.dispose()


def copied(settings: Any, path: Path) -> Any:
    """Settings on a copy of the SQLite warehouse, everything else shared."""
    from pydantic import SecretStr

    shutil.copyfile(settings.home / "dealwatch.db", path)
    return settings.model_copy(update={"warehouse_url": SecretStr(f"sqlite:///{path}")})


@dataclass(frozen=True)
class House:
    """A running Airflow over a small company with a ledger and a model, and what a calm life gives."""

    settings: Any
    api: "AirflowApi"
    environment: Mapping[str, str]  # of Airflow's processes
    expected: dict[str, Any]  # the tables after nine mornings in order


def backfill(house: House, by: str, *, max_active_runs: int, run_backwards: bool = False) -> None:
    """Backfill the nine days by shell or REST, and wait until each has run.

    On SQLite a busy Airflow gives up after it has made some of the runs. Then it is asked for the days that
    are missing, as a person would.
    """
    began = datetime.now(UTC)
    ask = _ask_by_shell if by == "shell" else _ask_by_rest
    for _ in range(20):
        missing = _days_not_run_since(house, began)
        if not missing:
            return
        house.api.wait(lambda: _is_idle(house), seconds=PATIENCE, what="the last backfill to be finished")
        ask(house, missing[0], missing[-1], max_active_runs=max_active_runs, run_backwards=run_backwards)
        house.api.wait(lambda: _are_done(house), seconds=PATIENCE, what="the backfilled runs")
    raise AssertionError(f"Airflow never ran {missing}")


def _ask_by_rest(house: House, first: date, last: date, **options: Any) -> None:
    begins, ends = (datetime.combine(day, time(), house.settings.zone) for day in (first, last + DAY))
    house.api.ask_backfill("score_deals", begins, ends, reprocess_behavior="completed", **options)


def _ask_by_shell(
    house: House, first: date, last: date, *, max_active_runs: int, run_backwards: bool
) -> None:
    """The command line that a data engineer would write; the DAG is paused as `ask_backfill` does it."""
    dates = ["--from-date", first.isoformat(), "--to-date", f"{last}T23:59"]
    options = [f"--max-active-runs={max_active_runs}", "--reprocess-behavior=completed"]
    options += ["--run-backwards"] if run_backwards else []
    command = [sys.executable, *("-m", "airflow", "backfill", "create", "--dag-id", "score_deals")]
    house.api.pause("score_deals", is_paused=True)
    made = subprocess.run(
        [*command, *dates, *options], env=dict(house.environment), capture_output=True, text=True
    )
    house.api.pause("score_deals", is_paused=False)
    told = made.stdout + made.stderr
    assert made.returncode == 0 or "database is locked" in told, told


def _is_idle(house: House) -> bool:
    """Airflow calls a backfill finished half a minute after its last run, but at once if it is cancelled."""
    known = house.api.get("/backfills", dag_id="score_deals")["backfills"]
    unfinished = [b["id"] for b in known if not b["completed_at"]]
    if unfinished and _are_done(house):
        for backfill_id in unfinished:
            house.api.http.put(f"/api/v2/backfills/{backfill_id}/cancel")
    return not unfinished


def _backfilled(house: House) -> list[dict[str, Any]]:
    runs = house.api.get("/dags/score_deals/dagRuns", limit=100)["dag_runs"]
    return [run for run in runs if run["run_id" if "run_id" in run else "dag_run_id"].startswith("backfill")]


def _are_done(house: House) -> bool:
    states = {run["state"] for run in _backfilled(house)}
    assert "failed" not in states, "a backfilled run failed"
    return states <= {"success"}


def _days_not_run_since(house: House, began: datetime) -> list[date]:
    """The days, in order, whose backfilled run has not run since."""
    done = [run for run in _backfilled(house) if run["start_date"] and moment(run["start_date"]) >= began]
    days = {moment(run["logical_date"]).astimezone(house.settings.zone).date() for run in done}
    return [day for n in range(DAYS) if (day := FIRST + n * DAY) not in days]


def moment(text: str) -> datetime:
    """An instant as Airflow's API writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def again(house: House, dag_id: str, run_id: str) -> None:
    """Clear a run and wait until every task of it has run once more."""
    from dealwatch.errors import NotReady

    path = f"/dags/{dag_id}/dagRuns/{run_id}"
    began = datetime.now(UTC)
    house.api.clear(dag_id, run_id, only_failed=False)

    def is_done() -> bool:
        run = house.api.get(path)
        assert run["state"] != "failed", run
        return bool(run["state"] == "success" and moment(run["end_date"]) > began)

    try:
        house.api.wait(is_done, seconds=PATIENCE, what=f"{run_id} of {dag_id} to run again")
    except NotReady as error:
        tasks = house.api.get(f"{path}/taskInstances")["task_instances"]
        error.add_note(f"{house.api.get(path)}; its tasks: {[(t['task_id'], t['state']) for t in tasks]}")
        raise


def assert_nobody_was_messaged(house: House) -> None:
    """Receipts were left, and nothing else: no message queued, sent or rendered, no delivery started."""
    deliveries = tables_of(house.settings, only=("deliveries",))["deliveries"]
    assert set(deliveries["state"]) == {"not_sent"}
    assert {"past_day", "not_business_day"} >= set(deliveries["reason"])
    assert deliveries.filter(deliveries["reason"] == "past_day").height > 0, "no receipt was left"
    assert deliveries["sent_at"].null_count() == deliveries.height
    assert not list(house.settings.home.glob("outbox/**/*.html"))
    assert house.api.get("/dags/deliver_alerts/dagRuns", limit=1)["total_entries"] == 0


def dags_as_read(home: Path, *environments: dict[str, str]) -> list[dict[str, Any]]:
    """What Airflow makes of the DAG files in each of the environments, in a fresh process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "DEALWATCH"))}
    made = subprocess.run(
        [sys.executable, __file__, json.dumps(environments)],
        env={
            **inherited,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "PYTHONWARNINGS": "ignore",
        },
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    found = [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]  # not its log
    assert len(found) == len(environments)
    return found


def _form(param: Any) -> dict[str, Any]:
    return {"description": param.description, **param.schema}


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _tell() -> None:
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.serialization.serialized_objects import DagSerialization

    folder = ROOT / "dags"
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder)
    heavy = [m for m in ("polars", "pandas", "sklearn", "numpy", "joblib", "pyarrow") if m in sys.modules]
    dags = {}
    for dag in bag.dags.values():
        read_back = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        dags[dag.dag_id] = {
            "doc": dag.doc_md,
            "tags": sorted(dag.tags),
            "catchup": dag.catchup,
            "start": dag.start_date.isoformat(),
            "run_types": sorted(dag.allowed_run_types or []),
            "params": {name: _form(dag.params.get_param(name)) for name in dag.params},
            "late": [
                (type(late.reference).__name__, _seconds(late.interval), late.callback.path)
                for late in dag.deadline or []
            ],
            "tells_of_failure": bool(dag.has_on_failure_callback),
            "tasks": {
                task.task_id: {
                    "owner": task.owner,
                    "retries": task.retries,
                    "timeout": _seconds(task.execution_timeout),
                    "downstream": sorted(task.downstream_task_ids),
                    "trigger_rule": task.trigger_rule.value,
                    "waits": _seconds(getattr(task, "response_timeout", None)),
                    "default": getattr(task, "defaults", None),
                }
                for task in dag.tasks
            },
            "ticks": [
                info.logical_date.isoformat()
                for first in (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 10, 20, tzinfo=UTC))
                for info in read_back.iter_dagrun_infos_between(first, first + timedelta(days=35))
            ],
        }
    print(json.dumps({"heavy": heavy, "errors": bag.import_errors, "dags": dags}, default=str))


def _tell_in_each(environments: list[dict[str, str]]) -> None:
    """Load Airflow once, and read the DAG files in a fork for each environment."""
    import airflow.dag_processing.dagbag
    import airflow.serialization.serialized_objects  # noqa: F401

    for environment in environments:
        child = os.fork()
        if child == 0:
            os.environ.update(environment)
            _tell()
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, environment


if __name__ == "__main__":
    _tell_in_each(json.loads(sys.argv[1]))
