"""What the DAGs share: settings, the moment of a run, and the organisation's time."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseHook, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowNotFoundException
from dealwatch_notices import tell_failure
from dealwatch_retries import RETRY

MOMENT = "Empty: the run's own day. 2026-03-29: its morning. 2026-03-29T14:30: that minute, local time."
AS_OF = Param(None, type=["null", "string"], pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d.*)?$", description=MOMENT)


def settings(*, connected: bool = True) -> Any:
    """The settings; what they leave open comes from Airflow's connections, unless asked not to look."""
    from dealwatch.settings import load

    return load(connection=connection if connected else None)


def connection(name: str) -> Any:
    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None


def moment(dag_run: Any, params: Any, *, is_past: bool = False) -> datetime:
    """What the run is about: the param, else its logical date, partition or run_after, at that morning.

    is_past: else the last morning before the run. A day to come is refused before anything is written.
    """
    from dealwatch import moments

    ours = settings(connected=False)
    of_run = moments.last_moment_before_run if is_past else moments.moment_of_run
    return moments.not_to_come(of_run(dag_run, params["as_of"], ours), datetime.now(UTC), ours)


def at(cron: str, *, hours_early: int = 0) -> CronTriggerTimetable:
    """A schedule in the organisation's zone; `{minute} {hour}` are its morning's, or so many hours before."""
    ours = settings(connected=False)
    hour = (ours.morning.hour - hours_early) % 24
    return CronTriggerTimetable(cron.format(minute=ours.morning.minute, hour=hour), timezone=ours.time_zone)


TASKS = {"owner": "data-platform", "retries": 2, **RETRY}
COMMON: dict[str, Any] = {"start_date": datetime(2020, 1, 1, tzinfo=UTC), "catchup": False}
COMMON |= {"default_args": TASKS, "on_failure_callback": tell_failure}
# For what must not run beside itself and cannot be backfilled.
ONCE = {"max_active_runs": 1, "allowed_run_types": ["scheduled", "manual", "operator_triggered"], **COMMON}
