"""Puts a review into the outbox, once for each reader; of one that is not sent only the receipt.

A review is known by its week or month and not by the moment it was made: made again on another day of the
same week, on data that is newer, it is the same message, and nobody gets a second one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl
from sqlalchemy import Connection, delete, insert, select, update

from dealwatch import tables
from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.speaking.routing import is_unheard, operations_route, window
from dealwatch.delivery.messages import Message
from dealwatch.delivery.routes import NOWHERE, Route, read_people
from dealwatch.history.freshness import Incident, caveats, incident
from dealwatch.insights import letter
from dealwatch.insights.periods import periods
from dealwatch.insights.readers import Reader, readers
from dealwatch.insights.review import Audience, Review
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import add_missing, as_json, put, schema_of

Notify = Literal["auto", "dry", "force"]
Drawn = Mapping[Audience, Sequence[letter.Shown]]


@dataclass(frozen=True)
class _Occasion:
    """A review to send. reason: why it is not sent; empty when it is. said_at: from when on it may leave."""

    review: Review
    settings: Settings
    reason: str
    fault: Incident | None
    note: str  # of the data's age
    said_at: datetime

    def id_of(self, *parts: str) -> str:
        """Says who is told of which review: a repeat is the same row."""
        return digest(self.settings.tenant, "review", self.review.period, self.review.span.name, *parts)


def drawn(review: Review, *, settings: Settings, now: datetime, notify: Notify = "auto") -> Drawn:
    """The pictures that `queue_review` sends, drawn ahead of its transaction; none of what is not sent."""
    if _unsent(review, settings=settings, now=now, notify=notify):
        return {}
    found: dict[Audience, Sequence[letter.Shown]] = {"everyone": letter.drawn(review, "everyone")}
    if settings.review.managers:
        found["managers"] = letter.drawn(review, "managers")
    return found


def queue_review(
    connection: Connection,
    review: Review,
    *,
    settings: Settings,
    now: datetime,
    notify: Notify = "auto",
    pictures: Drawn | None = None,
) -> int:
    """Queue the review for its readers, or write why it is not sent; how many messages are new.

    It is sent while it is the newest of its period at `now`, or when forced; `dry` queues nothing. While the
    data is not fit to speak about, it is held and operations hear why. pictures: by audience, as `drawn`
    gives them; without them they are drawn here.
    """
    occasion = _occasion(connection, review, settings=settings, now=now, notify=notify)
    if pictures is None:
        pictures = {} if occasion.reason else drawn(review, settings=settings, now=now, notify=notify)
    live, receipts = [], []
    for reader in readers(read_people(connection), settings):
        shown = () if occasion.reason else pictures.get(reader.audience, ())
        message = letter.letter(review, reader.audience, shown, note=occasion.note, settings=settings)
        row = _of_reader(reader, occasion, message)
        if reason := occasion.reason or ("" if reader.route else "no_route"):
            receipts.append(row | {"state": "not_sent", "reason": reason})
            continue
        live.append(row)
        _keep(connection, shown)
    queued = add_missing(connection, deliveries, _frame(live))
    _write_receipts(connection, receipts, live)
    if occasion.fault is not None:
        _tell_operations(connection, occasion, occasion.fault)
    elif not occasion.reason:
        _take_back_notice(connection, occasion)
    return queued


def unheard(
    connection: Connection, review: Review, *, settings: Settings, now: datetime, notify: Notify = "auto"
) -> str:
    """Why the review is held, where nobody is there to be told so; else empty."""
    fault = _occasion(connection, review, settings=settings, now=now, notify=notify).fault
    return fault.sentence if fault is not None and is_unheard(settings) else ""


def _unsent(review: Review, *, settings: Settings, now: datetime, notify: Notify) -> str:
    """Why a review is not sent, whatever its data is like; empty when it is."""
    if notify == "force":
        return ""
    if periods(now, review.period, settings).span.name != review.span.name:
        return "past_day"
    return "dry_run" if notify == "dry" else ""


def _occasion(
    connection: Connection, review: Review, *, settings: Settings, now: datetime, notify: Notify
) -> _Occasion:
    reason = _unsent(review, settings=settings, now=now, notify=notify)
    fault, note = None, ""
    if not reason:
        fault = incident(connection, review.as_of, settings=settings)
        note = caveats(connection, review.as_of, settings=settings)
    said_at = review.as_of if reason else max(review.as_of, now)  # a receipt is the same at any time
    return _Occasion(review, settings, reason or (fault.reason if fault else ""), fault, note, said_at)


def _of_reader(reader: Reader, occasion: _Occasion, message: Message) -> dict[str, Any]:
    """A row of `deliveries`. What went to the folder for want of a way is sent once there is one."""
    route = reader.route or NOWHERE
    parts = (reader.audience, reader.name, "folder" if route.channel == "folder" else "")
    return _row(occasion.id_of(*parts), "review", route, message, occasion)


def _row(delivery_id: str, kind: str, route: Route, message: Message, occasion: _Occasion) -> dict[str, Any]:
    not_before, expires_at = window(route, occasion.said_at, settings=occasion.settings)
    return {
        "delivery_id": delivery_id,
        "alert_id": None,
        "fingerprint": None,
        "as_of": occasion.review.as_of,
        "kind": kind,
        "recipient": route.recipient,
        "channel": route.channel,
        "address": route.address,
        "state": "queued",
        "reason": "",
        "message": as_json(message.model_dump(mode="json")),
        "not_before": not_before,
        "expires_at": expires_at,
        "attempts": 0,
    }


def _keep(connection: Connection, shown: Sequence[letter.Shown]) -> None:
    """Keep pictures by their digest; the same one is there once."""
    by_digest = {one.picture.sha256: one.png for one in shown}
    there = connection.execute(
        select(tables.pictures.c.sha256).where(tables.pictures.c.sha256.in_(sorted(by_digest)))
    )
    for sha256 in sorted(by_digest.keys() - set(there.scalars())):
        connection.execute(insert(tables.pictures).values(sha256=sha256, png=by_digest[sha256]))


def _write_receipts(
    connection: Connection, receipts: Sequence[dict[str, Any]], live: Sequence[Mapping[str, Any]]
) -> None:
    """Write anew why it was not sent; there is no receipt of what was, or is."""
    c = deliveries.c
    ids = [row["delivery_id"] for row in receipts]
    sent = set(connection.execute(select(c.delivery_id).where(c.delivery_id.in_(ids))).scalars())
    told = [_receipt_of(row["delivery_id"]) for row in live]
    connection.execute(delete(deliveries).where(c.delivery_id.in_(told)))
    unsent = [row for row in receipts if row["delivery_id"] not in sent]
    put(
        connection,
        deliveries,
        _frame([row | {"delivery_id": _receipt_of(row["delivery_id"])} for row in unsent]),
    )


def _receipt_of(delivery_id: str) -> str:
    """The id of the row that says why the message was not sent."""
    return digest("receipt", delivery_id)


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema_of(deliveries)).sort("delivery_id")


def _notice_id(occasion: _Occasion) -> str:
    return occasion.id_of("held", "operations")


def _tell_operations(connection: Connection, occasion: _Occasion, fault: Incident) -> None:
    """Once for each review: made again while it is held, it is the same notice."""
    name, settings = letter.title(occasion.review, occasion.settings), occasion.settings
    message = Message(
        kind="operations",
        title=f"Check the CRM extract: the {name[0].lower()}{name[1:]} is held",
        intro=f"{fault.sentence} {fault.remedy} Then clear this run of review_pipeline, and it goes out.",
        footer="The review is in the warehouse, made of the data there is.",
    )
    row = _row(_notice_id(occasion), "operations", operations_route(settings), message, occasion)
    add_missing(connection, deliveries, _frame([row]))


def _take_back_notice(connection: Connection, occasion: _Occasion) -> None:
    """The data was mended before operations heard that it was not fit."""
    c = deliveries.c
    is_waiting = (c.delivery_id == _notice_id(occasion)) & (c.state == "queued")
    taken_back = update(deliveries).where(is_waiting).values(state="cancelled", reason="no_longer_wanted")
    connection.execute(taken_back)
