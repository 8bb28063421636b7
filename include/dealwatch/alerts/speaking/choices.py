"""How people want to be told: their own choices, kept for good; the newest holds while it lasts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal, cast

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.alerts.fingerprints import digest
from dealwatch.delivery.wording import day as day_words
from dealwatch.errors import DecisionRefused
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import recipient_choices
from dealwatch.warehouse import add_missing, rows_of, schema_of

EVERYTHING, DIGEST_ONLY, NOTHING = CHOICES = ("everything", "digest_only", "nothing")
Wish = Literal["everything", "digest_only", "nothing"]
LONGEST = timedelta(days=366)  # a person who wants nothing for longer has another job by then


@dataclass(frozen=True)
class Choice:
    """What a recipient chose; `until` is the last day it holds, of a choice that ends."""

    recipient: str
    choice: str
    by: str
    via: str
    at: datetime
    until: date | None = None


@dataclass(frozen=True)
class Chosen:
    """Whether the choice changed anything, and what holds since, in plain words."""

    is_new: bool
    sentence: str


def choose(connection: Connection, choice: Choice, *, settings: Settings) -> Chosen:
    """Keep a choice; the one that holds already changes nothing. Use inside `writing`.

    Raises DecisionRefused for an unknown choice, and for `nothing` without a last day within a year.
    """
    today = local_day(choice.at, settings)
    _check(choice, today)
    held = _given(connection, choice.recipient, choice.at)
    newest = held[-1] if held else Choice(choice.recipient, EVERYTHING, "", "", choice.at)
    is_new = (newest.choice, newest.until) != (choice.choice, choice.until)
    if is_new:
        _keep(connection, choice)
    return Chosen(is_new, sentence_of(choice.choice, choice.until))


def unsubscribe(connection: Connection, choice: Choice, *, settings: Settings) -> Chosen:
    """Keep a wish for less, such as a mail program's: it holds at once, or when nothing at all is over.

    Use inside `writing`.
    """
    given = _given(connection, choice.recipient, choice.at)
    held = _holding(given, local_day(choice.at, settings))
    if held is None or held.choice != NOTHING:
        return choose(connection, choice, settings=settings)
    lasting = next((one.choice for one in reversed(given) if one.until is None), EVERYTHING)
    if lasting != choice.choice:
        _keep(connection, choice)
        _keep(connection, replace(held, at=choice.at + timedelta(microseconds=1)))  # the newest one holds
    then = sentence_of(choice.choice, choice.until)
    return Chosen(lasting != choice.choice, f"{sentence_of(held.choice, held.until)} Then: {then}")


def choice_of(connection: Connection, recipient: str, at: datetime, *, settings: Settings) -> Choice:
    """How a recipient wants to be told at a moment."""
    default = Choice(recipient, EVERYTHING, "", "", at)
    return _holding(_given(connection, recipient, at), local_day(at, settings)) or default


def choices_at(connection: Connection, at: datetime, *, settings: Settings) -> dict[str, Wish]:
    """What each recipient who ever chose wants at a moment: everything, digest_only or nothing."""
    c = recipient_choices.c
    given: dict[str, list[Choice]] = {}
    for row in rows_of(connection, select(recipient_choices).where(c.at <= at).order_by(c.at, c.choice_id)):
        given.setdefault(row.recipient, []).append(_as_choice(row))
    day = local_day(at, settings)
    holding = {who: _holding(all_, day) for who, all_ in given.items()}
    return {who: cast("Wish", one.choice) if one else "everything" for who, one in holding.items()}


def sentence_of(choice: str, until: date | None) -> str:
    """What a choice means, in plain words."""
    if choice == NOTHING and until is not None:
        return f"Nothing about deals up to and including {day_words(until)}."
    if choice == DIGEST_ONLY:
        return "One digest a morning at most, and no single messages."
    return "Single messages when they are worth it, and a digest of the rest."


def _check(choice: Choice, today: date) -> None:
    if choice.choice not in CHOICES:
        raise DecisionRefused(f"{choice.choice!r} is no choice; there are {', '.join(CHOICES)}")
    if choice.choice != NOTHING and choice.until is not None:
        raise DecisionRefused(f"only {NOTHING} has a last day")
    if choice.choice == NOTHING and not (choice.until and today <= choice.until <= today + LONGEST):
        raise DecisionRefused("choose the last day without messages: today or later, within a year")


def _keep(connection: Connection, choice: Choice) -> None:
    parts = (choice.recipient, choice.choice, str(choice.until or ""), choice.at.isoformat())
    row = {"choice_id": digest(*parts), **vars(choice), "recorded_at": choice.at}
    add_missing(connection, recipient_choices, pl.DataFrame([row], schema=schema_of(recipient_choices)))


def _given(connection: Connection, recipient: str, at: datetime) -> list[Choice]:
    c = recipient_choices.c
    of_person = select(recipient_choices).where(c.recipient == recipient, c.at <= at)
    return [_as_choice(row) for row in rows_of(connection, of_person.order_by(c.at, c.choice_id))]


def _holding(given: Iterable[Choice], day: date) -> Choice | None:
    """The newest choice; when its last day is over, the newest of those without one."""
    newest_first = list(given)[::-1]
    for n, one in enumerate(newest_first):
        if one.until is None or (n == 0 and day <= one.until):
            return one
    return None


def _as_choice(row: Any) -> Choice:
    return Choice(row.recipient, row.choice, row.by, row.via, row.at, row.until)
