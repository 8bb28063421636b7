"""The outbox's front page: which messages were written to the folder, and what was held back and why, by day.

Made anew from the `deliveries` table each time, so it is right whoever wrote last.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Engine, and_, func, select

from dealwatch.delivery.folder import outbox_folder, write_whole
from dealwatch.delivery.messages import Message
from dealwatch.delivery.pages import page
from dealwatch.delivery.wording import COLOURS, card_lines, clean, day, title_of
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import reading

_MORNINGS = 30  # how far back the page lists
_KINDS = ("operations", "alert", "digest", "manager_digest", "channel_digest")  # in the order of the page
_REASONS = {
    "past_day": "about a past day",
    "not_business_day": "on a day off",
    "dry_run": "part of a dry run",
    "acknowledged": "about an alert that was answered in time",
    "snoozed": "about an alert that was put off in time",
    "cooldown": "repeating an alert that is cooling down",
    "budget": "beyond the day's number of single messages",
    "unproven_rule": "from a rule without a proven record",
    "stale_extract": "resting on stale data",
    "no_route": "with nobody to go to",
    "folded": "folded into a critical alert",
    "expired": "out of date before it could go out",
    "no_longer_wanted": "about an alert resolved or answered in time",
    "reminders_used": "beyond the last reminder",
    "no_edit": "changing a message that cannot be changed",
    "in_doubt": "that may have arrived or not",
    "undeliverable": "refused by the channel",
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
    deals: int
    colour: str


@dataclass
class Morning:
    """One day of the page."""

    on: str
    written: list[Entry] = field(default_factory=list)
    held: list[tuple[int, str]] = field(default_factory=list)


def write_listing(engine: Engine, *, settings: Settings) -> None:
    """Write `index.html` beside the day folders, once the folder holds a message."""
    mornings = _mornings(engine, settings)
    if any(morning.written for morning in mornings):
        write_whole(outbox_folder(settings) / "index.html", page("outbox.html.j2", mornings=mornings))


def _mornings(engine: Engine, settings: Settings) -> list[Morning]:
    in_folder = and_(deliveries.c.channel == "folder", deliveries.c.state == "sent")
    recent = select(deliveries.c.as_of).distinct().order_by(deliveries.c.as_of.desc()).limit(_MORNINGS)
    held = (
        select(deliveries.c.as_of, deliveries.c.reason, func.count().label("number"))
        .where(deliveries.c.as_of.in_(recent), deliveries.c.reason != "")
        .group_by(deliveries.c.as_of, deliveries.c.reason)
        .order_by(deliveries.c.as_of, func.count().desc(), deliveries.c.reason)
    )
    written = select(
        deliveries.c.as_of, deliveries.c.recipient, deliveries.c.provider_ref, deliveries.c.message
    ).where(deliveries.c.as_of.in_(recent), in_folder)
    found: dict[date, Morning] = {}
    with reading(engine) as connection:
        for row in connection.execute(written):
            on = local_day(row.as_of, settings)
            found.setdefault(on, Morning(day(on))).written.append(_entry(row))
        for row in connection.execute(held):
            on = local_day(row.as_of, settings)
            told = _REASONS.get(row.reason, row.reason.replace("_", " "))
            found.setdefault(on, Morning(day(on))).held.append((row.number, told))
    for morning in found.values():
        morning.written.sort(key=_rank)
    return [found[on] for on in sorted(found, reverse=True)]


def _entry(row: Any) -> Entry:
    message = Message.model_validate(row.message)
    worst = max(message.cards, key=lambda card: card.score, default=None)
    band = card_lines(worst).band if worst else "High"
    return Entry(
        stem=row.provider_ref.removesuffix(".html"),
        title=title_of(message),
        kind=message.kind,
        recipient=clean(row.recipient, 80),
        level=f"{band} {worst.score}" if worst else "",
        score=worst.score if worst else 100,
        deals=len(message.cards) + message.more,
        colour=COLOURS.get(band, COLOURS["Low"]),
    )


def _rank(entry: Entry) -> tuple[int, int, str, str]:
    return _KINDS.index(entry.kind), -entry.score, entry.recipient, entry.stem
