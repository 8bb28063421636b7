"""A person's own page: how they want to be told of deals.

Mail programs show an "unsubscribe" of their own, which posts here without asking (RFC 8058). It means
"digest only": one mail a morning at most. Notices about dealwatch itself are nobody's to turn off here.
"""

from collections.abc import Callable
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from dealwatch.alerts.speaking.choices import DIGEST_ONLY, LONGEST, NOTHING, Choice, sentence_of
from dealwatch.board.bodies import at_most, form_of
from dealwatch.board.desk import Desk, name_of
from dealwatch.board.pages import HEADERS, page
from dealwatch.delivery.links import recipient_of
from dealwatch.errors import DecisionRefused
from dealwatch.moments import local_day

_LONGEST = 16 * 1024


def settings_page(desk: Callable[[], Desk]) -> APIRouter:
    """The routes of the page."""
    router = APIRouter()

    @router.get("/settings")
    def show(token: str = "") -> HTMLResponse:
        return _shown(desk(), token)

    @router.post("/settings")
    def save(body: Annotated[bytes, Depends(at_most(_LONGEST))], token: str = "") -> Response:
        if token and b"List-Unsubscribe" in body and b"One-Click" in body:  # as a form of either kind
            return _unsubscribed(desk(), token)
        form = form_of(body)
        return _saved(desk(), form.get("token", ""), form.get("choice", ""), form.get("until", ""))

    return router


def _shown(
    desk: Desk, token: str, *, saved: str = "", trouble: str = "", asked: str = "", status: int = 200
) -> HTMLResponse:
    recipient = recipient_of(desk.settings, token, now=desk.now())
    with desk.reading() as connection:
        name = name_of(connection, recipient)
    held = desk.chosen(recipient)
    today = local_day(desk.now(), desk.settings)
    return page(
        "settings.html.j2",
        status=status,
        name=name,
        token=token,
        choice=asked or held.choice,
        holds=sentence_of(held.choice, held.until),
        until=held.until.isoformat() if held.until else "",
        first=today.isoformat(),
        last=(today + LONGEST).isoformat(),
        saved=saved,
        trouble=trouble,
    )


def _saved(desk: Desk, token: str, choice: str, until: str) -> HTMLResponse:
    recipient = recipient_of(desk.settings, token, now=desk.now())
    try:
        last = date.fromisoformat(until) if choice == NOTHING and until else None
        chosen = desk.choose(_choice(desk, recipient, choice, last))
    except ValueError:
        return _shown(desk, token, trouble="Write the day as 2026-03-29.", asked=choice, status=409)
    except DecisionRefused as error:
        trouble = f"{str(error)[:1].upper()}{str(error)[1:]}."
        return _shown(desk, token, trouble=trouble, asked=choice, status=409)
    return _shown(desk, token, saved=chosen.sentence)


def _unsubscribed(desk: Desk, token: str) -> PlainTextResponse:
    """Digest only; who wants nothing for a while gets nothing, and digests after it."""
    recipient = recipient_of(desk.settings, token, now=desk.now())
    chosen = desk.unsubscribe(_choice(desk, recipient, DIGEST_ONLY, None))
    return PlainTextResponse(f"{chosen.sentence}\n", headers=HEADERS)


def _choice(desk: Desk, recipient: str, choice: str, until: date | None) -> Choice:
    return Choice(recipient, choice, by=recipient, via="email", at=desk.now(), until=until)
