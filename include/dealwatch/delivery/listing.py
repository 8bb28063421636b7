"""The outbox's front page: which messages were written to the folder, and what was held back and why, by day.

Made anew from the tables each time, so it is right whoever wrote last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, select

from dealwatch.delivery.folder import outbox_folder, write_whole
from dealwatch.delivery.messages import DealCard, Message
from dealwatch.delivery.pages import page
from dealwatch.delivery.routes import Person, read_people
from dealwatch.delivery.wording import COLOURS, NAME_LENGTH, card_lines, clean, day, title_of
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, deliveries
from dealwatch.warehouse import reading

_MORNINGS = 30  # how far back the page lists
# In the order of the page.
_KINDS = ("operations", "trend", "review", "alert", "digest", "manager_digest", "channel_digest")
_MESSAGES = {  # not sent
    "past_day": "about a past day",
    "not_business_day": "on a day off",
    "dry_run": "part of a dry run",
    "acknowledged": "about an alert that was answered in time",
    "snoozed": "about an alert that was put off in time",
    "no_route": "with nobody to go to",
    "expired": "out of date before it could go out",
    "no_longer_wanted": "about an alert resolved or answered in time",
    "no_edit": "changing a message that cannot be changed",
    "in_doubt": "that may have arrived or not",
    "undeliverable": "refused by the channel",
    "stale_extract": "resting on stale data",
    "incident": "resting on data that is not whole",
}
_ALERTS = {  # without a message of their own; what is said of a past day or a day off, its messages show
    "unconfirmed": "waiting for another morning or week in a row",
    "holdout": "of deals drawn to stay silent",
    "acknowledged": "that somebody has answered",
    "snoozed": "that somebody has put off",
    "cooldown": "told before and cooling down",
    "budget": "beyond the day's number of single messages or of deals in a digest",
    "unproven_rule": "from a rule without a proven record: for a digest at most",
    "stale_extract": "resting on stale data",
    "incident": "resting on data that is not whole",
    "recipient_choice": "for somebody who wants fewer messages or none",
    "recipient_away": "for somebody who is away",
    "shared_channel": "that only a shared channel reads of",
    "folded": "told within a critical alert",
    "reminders_used": "beyond the last reminder",
    "rule_retired": "of a rule that was taken away",
    "scored_again": "that came when the morning was scored again",
}


@dataclass(frozen=True)
class Entry:
    """One message of the page."""

    stem: str
    title: str
    kind: str
    recipient: str
    level: str
    score: int
    colour: str


@dataclass
class Morning:
    """One day of the page."""

    on: str
    written: list[Entry] = field(default_factory=list)
    held: list[tuple[int, str]] = field(default_factory=list)  # messages
    kept: list[tuple[int, str]] = field(default_factory=list)  # alerts


def write_listing(engine: Engine, *, settings: Settings) -> None:
    """Write `index.html` beside the day folders, once the folder holds a message."""
    mornings = _mornings(engine, settings)
    if mornings:
        write_whole(outbox_folder(settings) / "index.html", page("outbox.html.j2", mornings=mornings))


def _mornings(engine: Engine, settings: Settings) -> list[Morning]:
    """The days of the page, the newest first; none while the folder holds no message."""
    recent = select(deliveries.c.as_of).distinct().order_by(deliveries.c.as_of.desc()).limit(_MORNINGS)
    in_folder = and_(deliveries.c.channel == "folder", deliveries.c.state == "sent")
    written = select(
        deliveries.c.as_of, deliveries.c.recipient, deliveries.c.provider_ref, deliveries.c.message
    ).where(deliveries.c.as_of.in_(recent), in_folder)
    found: dict[date, Morning] = {}

    def of_day(as_of: datetime) -> Morning:
        on = local_day(as_of, settings)
        return found.setdefault(on, Morning(day(on)))

    with reading(engine) as connection:
        people = read_people(connection)
        for row in connection.execute(written):
            of_day(row.as_of).written.append(_entry(row, people.get(row.recipient)))
        if not found:
            return []
        c = deliveries.c
        for row in _counted(connection, c.as_of, c.reason, and_(c.as_of.in_(recent), c.reason != "")):
            of_day(row.at).held.append((row.number, _MESSAGES.get(row.reason, row.reason.replace("_", " "))))
        e = alert_events.c
        is_kept = and_(e.at.in_(recent), e.kind == "held", e.reason.in_(_ALERTS))
        for row in _counted(connection, e.at, e.reason, is_kept):
            of_day(row.at).kept.append((row.number, _ALERTS[row.reason]))
    for morning in found.values():
        morning.written.sort(key=_rank)
    return [found[on] for on in sorted(found, reverse=True)]


def _counted(
    connection: Connection,
    at: ColumnElement[datetime],
    reason: ColumnElement[str],
    is_meant: ColumnElement[bool],
) -> Sequence[Any]:
    """How many rows each reason has on each morning, the most first."""
    number = func.count().label("number")
    query = select(at.label("at"), reason.label("reason"), number).where(is_meant)
    return connection.execute(query.group_by(at, reason).order_by(at, number.desc(), reason)).all()


def _entry(row: Any, person: Person | None) -> Entry:
    message = Message.model_validate(row.message)
    deals = [card for card in message.cards if isinstance(card, DealCard)]
    worst = max(deals, key=lambda card: card.score, default=None)
    band = card_lines(worst).band if worst else "High"
    return Entry(
        stem=row.provider_ref.removesuffix(".html"),
        title=title_of(message),
        kind=message.kind,
        recipient=clean((person.name if person else None) or row.recipient, NAME_LENGTH),
        level=f"{band} {worst.score}" if worst else "",
        score=worst.score if worst else 100,
        colour=COLOURS["Low"] if message.kind == "review" else COLOURS.get(band, COLOURS["Low"]),
    )


def _rank(entry: Entry) -> tuple[int, int, str, str]:
    return _KINDS.index(entry.kind), -entry.score, entry.recipient, entry.stem
