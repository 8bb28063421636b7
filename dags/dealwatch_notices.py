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
    """What the warehouse says of the run's moment; no when it cannot be asked, for whatever reason."""
    from dealwatch_socket import known_moment

    from dealwatch import jobs
    from dealwatch.settings import load

    for name in ("logical_date", "partition_date", "run_after"):
        setattr(run, name, (text := getattr(run, name, None)) and datetime.fromisoformat(text))
    try:
        as_of = known_moment(run, {"as_of": None, **(run.conf or {})})
        return getattr(jobs, verb)(load(connection=allowed_connection), as_of=as_of)
    except Exception:  # a warehouse that does not answer is why a run is late
        logging.getLogger(__name__).warning("cannot ask whether %s is done", run.dag_run_id, exc_info=True)
        return False


def allowed_connection(name: str) -> Any:
    """Beside a deadline Airflow hands out no connection of its own database, only the environment's."""
    from dealwatch_socket import connection

    try:
        return connection(name)
    except AccessDenied:
        return None


def tell_failure(context: Any) -> None:
    run = f"{context['dag'].dag_id}: run {context['run_id']}"
    tell_engineers(f"Look at {run} failed ({context['reason']}); its task log says why.")


def tell_engineers(text: str) -> None:
    from airflow.providers.slack.hooks.slack import SlackHook
    from dealwatch_socket import settings

    logging.getLogger(__name__).warning(text)
    channel = settings(connected=False).delivery.operations_slack
    if channel and allowed_connection("slack_default") is not None:
        message = {"channel": channel, "text": html.escape(text, quote=False)}
        SlackHook(slack_conn_id="slack_default").call("chat.postMessage", json=message)
