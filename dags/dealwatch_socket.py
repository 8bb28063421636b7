"""What the DAGs share: settings, the moment of a run, the organisation's time, and the failure notice."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseHook, CronTriggerTimetable, Param
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowNotFoundException

MOMENT = "Empty: the run's own day. 2026-03-29: its morning. 2026-03-29T14:30: that minute, local time."
AS_OF = Param(None, type=["null", "string"], pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d.*)?$", description=MOMENT)
# What a person must mend is not tried again; everything else (a busy file, a lost network) is.
MEND_FIRST = RetryRule(exception="dealwatch.errors.DealwatchError", action=RetryAction.FAIL)


def settings(*, connected: bool = True) -> Any:
    """The settings; what they leave open comes from Airflow's connections, unless asked not to look."""
    from dealwatch.settings import load

    return load(connection=connection if connected else None)


def connection(name: str) -> Any:
    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None


def moment(dag_run: Any, params: Any) -> datetime:
    """What the run is about: the param, else its logical date, partition or run_after, at that morning."""
    from dealwatch.moments import moment_of_run

    return moment_of_run(dag_run, params["as_of"], settings(connected=False))


def at(cron: str, *, hours_early: int = 0) -> CronTriggerTimetable:
    """A schedule in the organisation's zone; `{minute} {hour}` are its morning's, or so many hours before."""
    ours = settings(connected=False)
    hour = (ours.morning.hour - hours_early) % 24
    return CronTriggerTimetable(cron.format(minute=ours.morning.minute, hour=hour), timezone=ours.time_zone)


def tell_operations(context: Any) -> None:
    """Tell operations' Slack channel that a run failed; without channel or `slack_default`, only the log."""
    channel = settings().delivery.operations_slack
    if channel is None or connection("slack_default") is None:
        return logging.getLogger(__name__).warning("no Slack for operations: %s failed", context["run_id"])
    from airflow.providers.slack.notifications.slack import SlackNotifier

    text = "Look at {{ dag.dag_id }}: run {{ run_id }} failed ({{ reason }}); its task log says why."
    SlackNotifier(slack_conn_id="slack_default", channel=channel, text=text)(context)


RETRY = {"retry_delay": timedelta(minutes=1), "retry_policy": ExceptionRetryPolicy([MEND_FIRST])}
TASKS = {"owner": "data-platform", "retries": 2, **RETRY}
COMMON: dict[str, Any] = {"start_date": datetime(2020, 1, 1, tzinfo=UTC), "catchup": False}
COMMON |= {"default_args": TASKS, "on_failure_callback": tell_operations}
