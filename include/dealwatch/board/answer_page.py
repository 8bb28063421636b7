"""The page behind a button in an e-mail: it asks, and only its own button answers.

A GET changes nothing, because mail scanners follow links. The POST carries the link's token and nothing that
a browser adds by itself, so another site's form can do no more than somebody who holds the link.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from dealwatch.alerts.episodes.answers import CHOICE_WORDS, Answer
from dealwatch.board.bodies import at_most, form_of
from dealwatch.board.desk import Desk, card_of, name_of, over_since, told_by
from dealwatch.board.pages import page
from dealwatch.delivery.links import Offer, offered
from dealwatch.delivery.replies import snoozes_of
from dealwatch.errors import DecisionRefused, LinkRefused

_LONGEST = 16 * 1024


@dataclass(frozen=True)
class Question:
    """How an answer is asked for."""

    title: str
    follows: str  # what will hold, before it does
    button: str


_QUIET = "dealwatch stays quiet about this alert for {days} days, unless it gets worse."
_NOTED = "It is counted beside the rule's track record; it changes no rule by itself."
QUESTIONS: Mapping[str, Question] = {
    "acknowledged": Question("Got it?", _QUIET, "Got it"),
    "snoozed": Question(
        "Snooze this alert", "Until then dealwatch stays quiet about it, unless it gets worse.", "Snooze"
    ),
    "already_knew": Question("Did you know this already?", f"{_NOTED} {_QUIET}", "Yes, I knew"),
    "false_alarm": Question("Is this a false alarm?", f"{_NOTED} {_QUIET}", "Yes, a false alarm"),
    "useful": Question("Was this useful?", f"{_NOTED} {_QUIET}", "Yes, it was useful"),
}


def answer_page(desk: Callable[[], Desk]) -> APIRouter:
    """The routes of the page."""
    router = APIRouter()

    @router.get("/answer")
    def ask(token: str = "") -> HTMLResponse:
        return _asked(desk(), token)

    @router.post("/answer")
    def answer(body: Annotated[bytes, Depends(at_most(_LONGEST))]) -> HTMLResponse:
        form = form_of(body)
        return _answered(desk(), form.get("token", ""), form.get("choice", ""))

    return router


def _asked(desk: Desk, token: str, *, trouble: str = "", status: int = 200) -> HTMLResponse:
    offer = _offered(desk, token)
    question = QUESTIONS[offer.kind]
    with desk.reading() as connection:
        told = told_by(connection, offer.delivery_id)
        over = over_since(connection, offer.fingerprint, offer.kind, settings=desk.settings)
        name = name_of(connection, offer.by)
    card = card_of(told, offer.fingerprint)
    choices = {one: CHOICE_WORDS[one] for one in snoozes_of(card)} if card else CHOICE_WORDS
    return page(
        "ask.html.j2",
        status=status,
        question=question,
        follows=question.follows.format(days=desk.settings.alerts.acknowledged_days),
        card=card,
        over=over,
        trouble=trouble,
        token=token,
        choices=choices if offer.kind == "snoozed" else {},
        chosen=offer.choice or next(iter(CHOICE_WORDS)),
        name=name,
    )


def _answered(desk: Desk, token: str, choice: str) -> HTMLResponse:
    offer = _offered(desk, token)
    try:
        recorded = desk.give(_answer(offer, choice, at=desk.now()))
    except DecisionRefused as error:
        return _asked(desk, token, trouble=f"{str(error)[:1].upper()}{str(error)[1:]}.", status=409)
    with desk.reading() as connection:
        told = told_by(connection, offer.delivery_id)
    return page("answered.html.j2", recorded=recorded, card=card_of(told, offer.fingerprint))


def _answer(offer: Offer, choice: str, *, at: datetime) -> Answer:
    chosen = choice or offer.choice if offer.kind == "snoozed" else ""
    return Answer(
        fingerprint=offer.fingerprint,
        kind=offer.kind,
        by=offer.by,
        via="email",
        at=at,
        choice=chosen,
        reason=CHOICE_WORDS.get(chosen, ""),
        delivery_id=offer.delivery_id,
    )


def _offered(desk: Desk, token: str) -> Offer:
    offer = offered(desk.settings, token, now=desk.now())
    if offer.kind not in QUESTIONS:
        raise LinkRefused("This link is of another dealwatch.")
    return offer
