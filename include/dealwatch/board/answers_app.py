"""The web app that takes answers: clicks in Slack, buttons in e-mails, a person's own settings, CRMs' events.

Airflow asks nobody for a login here: a signature, Slack's, HubSpot's or ours, is the only way in, everywhere.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from dealwatch.board.answer_page import answer_page
from dealwatch.board.clicks import Gate
from dealwatch.board.desk import open_desk
from dealwatch.board.events_end import events_end
from dealwatch.board.pages import refusal
from dealwatch.board.settings_page import settings_page
from dealwatch.board.slack_end import slack_end
from dealwatch.delivery.slack_replies import post_reply
from dealwatch.errors import LinkRefused, NotReady, SettingsError, WarehouseDown
from dealwatch.settings import Settings

log = logging.getLogger(__name__)


def answers_app(
    settings: Settings,
    *,
    now: Callable[[], datetime],
    post: Callable[[str, dict[str, Any]], None] = post_reply,
) -> FastAPI:
    """The app; its warehouse is opened by the first request that needs it."""
    app = FastAPI(title="dealwatch answers", docs_url=None, redoc_url=None, openapi_url=None)
    desk = app.state.desk = cache(lambda: open_desk(settings, now=now, post=post))  # an error is not kept
    secret = settings.slack_signing_secret
    app.include_router(slack_end(Gate(secret, now) if secret else None, desk))
    app.include_router(answer_page(desk))
    app.include_router(settings_page(desk))
    app.include_router(events_end(settings, now, desk))
    app.add_exception_handler(LinkRefused, _link_refused)
    app.add_exception_handler(HTTPException, _refused)
    for kind in (NotReady, SettingsError, WarehouseDown):
        app.add_exception_handler(kind, _not_now)
    return app


def _link_refused(_: Request, error: Exception) -> Response:
    return refusal("This link cannot be used", str(error), "Nothing was changed.", status=401)


def _not_now(_: Request, error: Exception) -> Response:
    """What a person who runs dealwatch must mend is in the log; the page tells no stranger of the house."""
    log.error("an answer could not be taken: %s", error)
    told = "Nothing was noted. Please try again in a minute, by the same link."
    response = refusal("dealwatch cannot answer just now", told, status=503)
    response.headers["Retry-After"] = "60"
    return response


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if request.url.path.endswith("/slack/actions") or "/events/" in request.url.path:
        return JSONResponse({"detail": error.detail}, status_code=error.status_code)
    return refusal("This cannot be answered", str(error.detail), status=error.status_code)
