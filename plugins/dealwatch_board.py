"""Hangs what takes answers (Slack's clicks, e-mail's buttons, a person's settings) into Airflow's web server.

Airflow asks for no login below a plugin's address: a signature, Slack's or our own, lets each request in. All
Airflow processes load plugins and only the web server gets requests, so the app is made by the first one.
"""

import asyncio
from datetime import UTC, datetime
from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin


@cache
def _answers() -> Any:
    from dealwatch.board.answers_app import answers_app
    from dealwatch.settings import load

    return answers_app(load(connection=connection), now=lambda: datetime.now(UTC))


def connection(name: str) -> Any:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """The app, made in a thread of its own: other requests are served meanwhile."""
    app = await asyncio.to_thread(_answers)
    await app(scope, receive, send)


class DealwatchBoard(AirflowPlugin):
    name = "dealwatch_board"
    fastapi_apps = [{"app": answers, "url_prefix": "/dealwatch", "name": "dealwatch answers"}]
