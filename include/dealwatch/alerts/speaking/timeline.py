"""Works mornings out one by one, each judged by what was said before it, and writes what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, and_, delete, select, update

from dealwatch.alerts.episodes.cooldowns import Standing, Telling
from dealwatch.alerts.episodes.keeping import Folded
from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.rules.rule import Rule
from dealwatch.alerts.speaking.content import Material, message_of, operations_message
from dealwatch.alerts.speaking.decisions import Morning, Planned, dueness
from dealwatch.alerts.speaking.latecomers import came_late
from dealwatch.alerts.speaking.materials import (
    VIRTUAL,
    Known,
    Memory,
    choices_on,
    deals_on,
    facts_on,
    read_known,
    read_memory,
    records_by,
    spoken_on,
    standing_on,
)
from dealwatch.alerts.speaking.planning import decide
from dealwatch.alerts.speaking.routing import operations_route, window
from dealwatch.alerts.speaking.since_yesterday import read_day
from dealwatch.alerts.speaking.why_now import read_past
from dealwatch.delivery.messages import Message
from dealwatch.delivery.routes import NOWHERE, Route
from dealwatch.history.freshness import Incident
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alert_mornings, deliveries, tellings
from dealwatch.warehouse import add_missing, as_json, put, schema_of

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
class _Written:
    """Rows to write at the end."""

    live: list[dict[str, Any]] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    tellings: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)


def speak_on(
    connection: Connection,
    folded: Folded,
    occasions: Sequence[Occasion],
    *,
    rules: Sequence[Rule],
    settings: Settings,
) -> int:
    """Work the occasions out in order and write what comes of them; how many messages were queued anew."""
    _clear(connection, occasions, folded)
    known = replace(
        read_known(connection, rules, settings),
        tenures=folded.tenures,
        mornings=folded.mornings,
        lived=sorted(folded.live),
    )
    memory = read_memory(connection, folded)
    standing, pending = _by_morning(folded.standing), _by_morning(folded.pending)
    written = _Written()
    for occasion in sorted(occasions, key=lambda o: o.morning):
        rows = standing.get(occasion.morning)
        _work_out(connection, occasion, rows, known, memory, written)
        _wait(pending.get(occasion.morning), occasion, written)
    written.held.extend(came_late(connection, folded, worked_out={one.morning for one in occasions}))
    return _write(connection, occasions, written, settings)


def _by_morning(rows: pl.DataFrame) -> dict[Any, pl.DataFrame]:
    return {key[0]: part for key, part in rows.partition_by("as_of", as_dict=True).items()}


def _wait(rows: pl.DataFrame | None, occasion: Occasion, written: _Written) -> None:
    """What was not confirmed by the morning is held, under the name that its alert would have had."""
    if rows is not None:
        fingerprints = dict(rows.select("alert_id", "fingerprint").rows())
        _hold(dict.fromkeys(fingerprints, "unconfirmed"), fingerprints, occasion, written)


def _work_out(
    connection: Connection,
    occasion: Occasion,
    rows: pl.DataFrame | None,
    known: Known,
    memory: Memory,
    written: _Written,
) -> None:
    deals = deals_on(connection, occasion.morning) if rows is not None else {}
    standing = standing_on(rows, deals, occasion.morning, known)
    records = records_by(known.evidence, occasion.morning, known.rules)
    told, heard = memory.of(is_live=occasion.is_live)
    morning = Morning(
        as_of=occasion.morning,
        is_live=occasion.is_live,
        lived=known.lived if occasion.is_live else known.mornings,
        rules=known.rules,
        proven=frozenset(key for key, record in records.items() if record["proven"]),
        lifts={key: record["lift_low"] for key, record in records.items() if record["lift_low"] is not None},
        people=known.people,
        told=told,
        heard=heard,
        choices=choices_on(connection, occasion.morning, known.settings),
        segments=deals,
        spoken=spoken_on(connection, occasion.morning) if occasion.is_live else {},
        told_today=frozenset(f for f, by_day in told.items() if occasion.morning in by_day)
        if occasion.is_live
        else frozenset(),
    )
    fingerprints = {one.alert_id: one.fingerprint for one in standing}
    if (fault := occasion.fault) is not None:
        held = _stay_silent(fault, occasion, standing, morning, known, written)
        _hold(held, fingerprints, occasion, written)
        return
    plan = decide(standing, morning, settings=known.settings)
    facts = facts_on(connection, occasion.morning) if plan.messages else {}
    material = Material(
        occasion.morning,
        deals,
        facts,
        known.rules,
        records,
        occasion.note,
        people=known.people,
        past=read_past(connection, plan.messages, morning, settings=known.settings),
        day=read_day(connection, plan.messages, morning, settings=known.settings),
    )
    for planned in plan.messages:
        message = message_of(planned, material, settings=known.settings)
        _put_down(planned, message, occasion, known, memory, written)
    if not occasion.is_live:
        for planned in plan.messages:
            plan.hold((one.standing for item in planned.items for one in item.said), occasion.reason)
    _hold(plan.held, fingerprints, occasion, written)


def _stay_silent(
    fault: Incident,
    occasion: Occasion,
    standing: Sequence[Standing],
    morning: Morning,
    known: Known,
    written: _Written,
) -> dict[str, str]:
    """Data not fit to alert on: every alert that was due is held, and operations hear of it."""
    held: dict[str, str] = {}
    for one in standing:
        if one.fingerprint in morning.told_today:
            continue
        if one.rule not in known.rules:
            held[one.alert_id] = "rule_retired"
            continue
        state = dueness(one, morning, settings=known.settings)
        held[one.alert_id] = state.reason or fault.reason
    message = operations_message(
        fault, occasion.morning, note=occasion.note, is_again=occasion.is_again, settings=known.settings
    )
    route = operations_route(known.settings)
    row = _delivery("operations", route, "operations", message, occasion, known.settings)
    (written.live if row["state"] == "queued" else written.receipts).append(row)
    return held


def _put_down(
    planned: Planned,
    message: Message,
    occasion: Occasion,
    known: Known,
    memory: Memory,
    written: _Written,
) -> None:
    """The message's row, and the memory of what it tells unless nobody will ever see it."""
    lead = planned.items[0].lead.standing
    about = lead.fingerprint if planned.kind == "alert" else ""
    row = _delivery(planned.kind, planned.route, about, message, occasion, known.settings)
    if planned.kind == "alert":
        row |= {"alert_id": lead.alert_id, "fingerprint": lead.fingerprint}
    (written.live if row["state"] == "queued" else written.receipts).append(row)
    if row["state"] != "queued" and row["reason"] not in VIRTUAL:
        return
    for said in (one for item in planned.items for one in item.said):
        one = said.standing
        telling = Telling(
            one.fingerprint,
            occasion.morning,
            said.kind,
            one.level,
            one.amount,
            one.is_close_near,
            one.scored,
        )
        memory.add(telling, is_live=occasion.is_live, kind=planned.kind, recipient=planned.route.recipient)
        written.tellings.append({"delivery_id": row["delivery_id"], **vars(telling)})


def _delivery_id(kind: str, route: Route, about: str, occasion: Occasion, settings: Settings) -> str:
    """Says who is told what on which morning: a repeat is the same row."""
    timeline = "live" if occasion.is_live else "receipt"
    who = (route.recipient, route.channel, route.address)
    return digest(settings.tenant, timeline, occasion.morning.isoformat(), kind, *who, about)


def _delivery(
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


def _hold(
    held: Mapping[str, str], fingerprints: Mapping[str, str], occasion: Occasion, written: _Written
) -> None:
    event = {"at": occasion.morning, "kind": "held"}
    written.held.extend(
        {**event, "alert_id": alert_id, "reason": reason, "fingerprint": fingerprints[alert_id]}
        for alert_id, reason in held.items()
    )


def _write(
    connection: Connection, occasions: Sequence[Occasion], written: _Written, settings: Settings
) -> int:
    queued = add_missing(connection, deliveries, _rows(deliveries, written.live))
    add_missing(connection, deliveries, _rows(deliveries, written.receipts))
    add_missing(connection, tellings, _rows(tellings, written.tellings))
    for one in occasions:
        if one.is_live:
            _unhold(connection, one.morning, written)
        if one.is_live and one.fault is None:
            _take_back_notice(connection, one, settings)
    put(connection, alert_events, _rows(alert_events, written.held))
    mornings = [{"as_of": one.morning, "is_live": one.is_live} for one in occasions]
    put(connection, alert_mornings, _rows(alert_mornings, mornings))
    return queued


def _unhold(connection: Connection, morning: datetime, written: _Written) -> None:
    """What is said after all was not held: a live morning's data may be mended between two runs."""
    said = sorted({row["fingerprint"] for row in written.tellings if row["as_of"] == morning})
    is_then = and_(alert_events.c.at == morning, alert_events.c.kind == "held")
    connection.execute(delete(alert_events).where(is_then, alert_events.c.fingerprint.in_(said)))


def _take_back_notice(connection: Connection, occasion: Occasion, settings: Settings) -> None:
    """The data was mended before operations heard that it was not fit: the alerts go out after all."""
    notice = _delivery_id("operations", operations_route(settings), "operations", occasion, settings)
    is_waiting = and_(deliveries.c.delivery_id == notice, deliveries.c.state == "queued")
    taken_back = update(deliveries).where(is_waiting).values(state="cancelled", reason="no_longer_wanted")
    connection.execute(taken_back)


def _rows(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    keys = [column.name for column in table.primary_key]
    return pl.DataFrame(rows, schema=schema_of(table)).sort(keys)


def _clear(connection: Connection, occasions: Sequence[Occasion], folded: Folded) -> None:
    """Take away the receipts of the mornings that are worked out anew; what was queued stays."""
    left_alone = folded.live - {one.morning for one in occasions}
    anew = [deliveries.c.as_of >= folded.start, deliveries.c.as_of.not_in(sorted(left_alone))]
    is_receipt = and_(deliveries.c.state == "not_sent", deliveries.c.reason.in_(_RECEIPTS), *anew)
    gone = select(deliveries.c.delivery_id).where(is_receipt)
    connection.execute(delete(tellings).where(tellings.c.delivery_id.in_(gone)))
    connection.execute(delete(deliveries).where(is_receipt))
