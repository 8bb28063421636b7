"""Mornings to work out, and the rows they leave: messages, what those tell, and silences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, and_, delete, select, update

from dealwatch.alerts.episodes.keeping import Folded
from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.speaking.materials import VIRTUAL
from dealwatch.alerts.speaking.routing import operations_route, window
from dealwatch.delivery.messages import Message
from dealwatch.delivery.routes import NOWHERE, Route
from dealwatch.history.freshness import Incident
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alert_mornings, deliveries, tellings
from dealwatch.warehouse import add_missing, as_json, put, schema_of

KINDS = ("alert", "digest", "manager_digest", "channel_digest", "operations")  # of a morning's messages
_RECEIPTS = (*VIRTUAL, "not_business_day", "no_route")


@dataclass(frozen=True)
class Occasion:
    """A morning to work out: live when no reason stops its messages, and what is wrong with its data."""

    morning: datetime
    reason: str
    fault: Incident | None = None
    note: str = ""  # how old its data is, when it is not of the day
    forced_at: datetime | None = None  # a past morning is told of from the moment it was asked for
    is_again: bool = False  # it was live before

    @property
    def is_live(self) -> bool:
        return not self.reason


@dataclass
class Written:
    """What comes of the occasions, as rows to write at the end."""

    live: list[dict[str, Any]] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    tellings: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)

    def add(self, delivery: dict[str, Any]) -> None:
        """Keep a row of `deliveries`: to be sent, or a receipt."""
        (self.live if delivery["state"] == "queued" else self.receipts).append(delivery)

    def hold(self, held: Mapping[str, str], fingerprints: Mapping[str, str], occasion: Occasion) -> None:
        """Keep what was not said that morning: the reason and the fingerprint, by alert."""
        event = {"at": occasion.morning, "kind": "held"}
        self.held.extend(
            {**event, "alert_id": alert_id, "reason": reason, "fingerprint": fingerprints[alert_id]}
            for alert_id, reason in held.items()
        )


def delivery(
    kind: str, route: Route, about: str, message: Message, occasion: Occasion, settings: Settings
) -> dict[str, Any]:
    """A row of `deliveries`."""
    reason = "no_route" if route == NOWHERE else occasion.reason
    not_before, expires_at = window(route, occasion.forced_at or occasion.morning, settings=settings)
    return {
        "delivery_id": _delivery_id(kind, route, about, occasion, settings),
        "alert_id": None,
        "fingerprint": None,
        "as_of": occasion.morning,
        "kind": kind,
        "recipient": route.recipient,
        "channel": route.channel,
        "address": route.address,
        "state": "not_sent" if reason else "queued",
        "reason": reason,
        "message": as_json(message.model_dump(mode="json")),
        "not_before": not_before,
        "expires_at": expires_at,
        "attempts": 0,
    }


def _delivery_id(kind: str, route: Route, about: str, occasion: Occasion, settings: Settings) -> str:
    """Says who is told what on which morning: a repeat is the same row."""
    timeline = "live" if occasion.is_live else "receipt"
    who = (route.recipient, route.channel, route.address)
    return digest(settings.tenant, timeline, occasion.morning.isoformat(), kind, *who, about)


def clear_receipts(
    connection: Connection, occasions: Sequence[Occasion], folded: Folded, kinds: Sequence[str] = KINDS
) -> None:
    """Take away the receipts of the mornings that are worked out anew; what was queued stays."""
    left_alone = folded.live - {one.morning for one in occasions}
    anew = [deliveries.c.as_of >= folded.start, deliveries.c.as_of.not_in(sorted(left_alone))]
    is_mine = deliveries.c.kind.in_(kinds)
    is_receipt = and_(deliveries.c.state == "not_sent", deliveries.c.reason.in_(_RECEIPTS), is_mine, *anew)
    gone = select(deliveries.c.delivery_id).where(is_receipt)
    connection.execute(delete(tellings).where(tellings.c.delivery_id.in_(gone)))
    connection.execute(delete(deliveries).where(is_receipt))


def write(
    connection: Connection, occasions: Sequence[Occasion], written: Written, *, settings: Settings
) -> int:
    """Write the rows of the occasions; how many messages were queued anew."""
    queued = put_down(connection, occasions, written, alert_mornings)
    for one in occasions:
        if one.is_live and one.fault is None:
            _take_back_notice(connection, one, settings)
    return queued


def put_down(connection: Connection, occasions: Sequence[Occasion], written: Written, mornings: Table) -> int:
    """Write the rows, and in `mornings` which occasions were live; how many messages were queued anew."""
    queued = add_missing(connection, deliveries, _rows(deliveries, written.live))
    add_missing(connection, deliveries, _rows(deliveries, written.receipts))
    add_missing(connection, tellings, _rows(tellings, written.tellings))
    for one in occasions:
        if one.is_live:
            _unhold(connection, one.morning, written)
    put(connection, alert_events, _rows(alert_events, written.held))
    kept = [{"as_of": one.morning, "is_live": one.is_live} for one in occasions]
    put(connection, mornings, _rows(mornings, kept))
    return queued


def _unhold(connection: Connection, morning: datetime, written: Written) -> None:
    """What is said after all was not held: a live morning's data may be mended between two runs."""
    said = sorted({row["fingerprint"] for row in written.tellings if row["as_of"] == morning})
    is_then = and_(alert_events.c.at == morning, alert_events.c.kind == "held")
    connection.execute(delete(alert_events).where(is_then, alert_events.c.fingerprint.in_(said)))


def is_silent(connection: Connection, morning: datetime, *, settings: Settings) -> bool:
    """Whether a live morning's alerts were held for its data, and nothing of it was said before or since.

    Data that was mended after that is no news to scores that were made of what there was.
    """
    c = deliveries.c
    notice = _notice_id(Occasion(morning, ""), settings)
    is_held = select(c.delivery_id).where(c.delivery_id == notice, c.state != "cancelled")
    of_morning = select(tellings.c.delivery_id).where(tellings.c.as_of == morning)
    is_said = (c.state != "not_sent", c.kind.in_(KINDS), c.delivery_id.in_(of_morning))
    said = select(c.delivery_id).where(*is_said).limit(1)
    return connection.execute(is_held).first() is not None and connection.execute(said).first() is None


def notice_of(connection: Connection, morning: datetime, *, settings: Settings) -> Any:
    """What operations were told of a live morning whose alerts were held; None when nothing was.

    A morning has other notices too: of a review that is held, of a channel that is down.
    """
    notice = _notice_id(Occasion(morning, ""), settings)
    return connection.execute(select(deliveries.c.message).where(deliveries.c.delivery_id == notice)).scalar()


def _notice_id(occasion: Occasion, settings: Settings) -> str:
    return _delivery_id("operations", operations_route(settings), "operations", occasion, settings)


def _take_back_notice(connection: Connection, occasion: Occasion, settings: Settings) -> None:
    """The data was mended before operations heard that it was not fit: the alerts go out after all."""
    notice = _notice_id(occasion, settings)
    is_waiting = and_(deliveries.c.delivery_id == notice, deliveries.c.state == "queued")
    taken_back = update(deliveries).where(is_waiting).values(state="cancelled", reason="no_longer_wanted")
    connection.execute(taken_back)


def _rows(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    keys = [column.name for column in table.primary_key]
    return pl.DataFrame(rows, schema=schema_of(table)).sort(keys)
