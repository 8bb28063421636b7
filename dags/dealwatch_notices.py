"""What engineers hear: in operations' Slack channel if there is one and `slack_default`, else in the log."""

import html
import logging
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DeadlineAlert, SyncCallback
from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied as AccessDenied


def late(after: timedelta, *, unless: str = "") -> DeadlineAlert:
    """A run not done so long after it was queued is told of, unless the verb of `jobs` finds it done."""
    from dealwatch_deadlines import WhenQueued

    told = SyncCallback(tell_late, kwargs={"unless": unless})  # on the executor: no triggerer, and our path
    return DeadlineAlert(reference=WhenQueued(), interval=after, callback=told)


def tell_late(context: Any, unless: str) -> None:
    run = SimpleNamespace(**context["dag_run"])
    if run.run_type != "backfill" and not (unless and is_done(run, unless)):
        tell_engineers(f"Look at {run.dag_id}: run {run.dag_run_id} is late; its tasks say where it stands.")


def is_done(run: Any, verb: str) -> bool:
    """What the warehouse says of the run's moment; no when it cannot be asked from here."""
    from dealwatch_socket import moment, settings

    from dealwatch import errors, jobs

    for name in ("logical_date", "partition_date", "run_after"):
        setattr(run, name, (text := getattr(run, name, None)) and datetime.fromisoformat(text))
    try:
        return getattr(jobs, verb)(settings(), as_of=moment(run, {"as_of": None, **(run.conf or {})}))
    except (errors.DealwatchError, AccessDenied):
        return False


def tell_failure(context: Any) -> None:
    run = f"{context['dag'].dag_id}: run {context['run_id']}"
    tell_engineers(f"Look at {run} failed ({context['reason']}); its task log says why.")


def tell_engineers(text: str) -> None:
    """Beside a deadline Airflow hands out no connection of its own database, only the environment's."""
    from airflow.providers.slack.hooks.slack import SlackHook
    from dealwatch_socket import connection, settings

    logging.getLogger(__name__).warning(text)
    channel = settings(connected=False).delivery.operations_slack
    try:
        is_connected = connection("slack_default") is not None
    except AccessDenied:
        is_connected = False
    if channel and is_connected:
        message = {"channel": channel, "text": html.escape(text, quote=False)}
        SlackHook(slack_conn_id="slack_default").call("chat.postMessage", json=message)
