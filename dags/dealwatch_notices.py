"""What engineers hear: in operations' Slack channel if there is one and `slack_default`, else in the log."""

import html
import logging
from contextlib import suppress
from typing import Any

from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied as AccessDenied

log = logging.getLogger(__name__)


def allowed_connection(name: str) -> Any:
    """Beside a deadline Airflow hands out no connection of its own database, only the environment's."""
    from dealwatch_socket import connection

    with suppress(AccessDenied):
        return connection(name)


def tell_failure(context: Any) -> None:
    run, dag = context["run_id"], context["dag"].dag_id
    tell_engineers(f"Look at {dag}: run {run} failed ({context['reason']}); its task log says why.")


def tell_engineers(text: str) -> None:
    from airflow.providers.slack.hooks.slack import SlackHook
    from dealwatch_socket import settings

    log.warning(text)
    channel = settings(connected=False).delivery.operations_slack
    if channel and allowed_connection("slack_default") is not None:
        message = {"channel": channel, "text": html.escape(text, quote=False)}
        SlackHook(slack_conn_id="slack_default").call("chat.postMessage", json=message)
