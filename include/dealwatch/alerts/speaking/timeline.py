"""Works mornings out one by one, each judged by what was said before it, and writes what comes of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from sqlalchemy import Connection

from dealwatch.alerts.episodes.cooldowns import Standing, Telling
from dealwatch.alerts.episodes.keeping import Folded
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
from dealwatch.alerts.speaking.occasions import Occasion, Written, clear_receipts, delivery, write
from dealwatch.alerts.speaking.planning import decide
from dealwatch.alerts.speaking.routing import operations_route
from dealwatch.alerts.speaking.since_yesterday import read_day
from dealwatch.alerts.speaking.why_now import read_past
from dealwatch.delivery.messages import Message
from dealwatch.history.freshness import Incident
from dealwatch.settings import Settings


def speak_on(
    connection: Connection,
    folded: Folded,
    occasions: Sequence[Occasion],
    *,
    rules: Sequence[Rule],
    settings: Settings,
) -> int:
    """Work the occasions out in order and write what comes of them; how many messages were queued anew."""
    clear_receipts(connection, occasions, folded)
    known = replace(
        read_known(connection, rules, settings),
        tenures=folded.tenures,
        mornings=folded.mornings,
        lived=sorted(folded.live),
    )
    memory = read_memory(connection, folded)
    standing, pending = _by_morning(folded.standing), _by_morning(folded.pending)
    written = Written()
    for occasion in sorted(occasions, key=lambda o: o.morning):
        rows = standing.get(occasion.morning)
        _work_out(connection, occasion, rows, known, memory, written)
        _wait(pending.get(occasion.morning), occasion, written)
    written.held.extend(came_late(connection, folded, worked_out={one.morning for one in occasions}))
    return write(connection, occasions, written, settings=settings)


def _by_morning(rows: pl.DataFrame) -> dict[Any, pl.DataFrame]:
    return {key[0]: part for key, part in rows.partition_by("as_of", as_dict=True).items()}


def _wait(rows: pl.DataFrame | None, occasion: Occasion, written: Written) -> None:
    """What was not confirmed by the morning is held, under the name that its alert would have had."""
    if rows is not None:
        fingerprints = dict(rows.select("alert_id", "fingerprint").rows())
        written.hold(dict.fromkeys(fingerprints, "unconfirmed"), fingerprints, occasion)


def _work_out(
    connection: Connection,
    occasion: Occasion,
    rows: pl.DataFrame | None,
    known: Known,
    memory: Memory,
    written: Written,
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
        written.hold(held, fingerprints, occasion)
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
    written.hold(plan.held, fingerprints, occasion)


def _stay_silent(
    fault: Incident,
    occasion: Occasion,
    standing: Sequence[Standing],
    morning: Morning,
    known: Known,
    written: Written,
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
    row = delivery("operations", route, "operations", message, occasion, known.settings)
    written.add(row)
    return held


def _put_down(
    planned: Planned,
    message: Message,
    occasion: Occasion,
    known: Known,
    memory: Memory,
    written: Written,
) -> None:
    """The message's row, and the memory of what it tells unless nobody will ever see it."""
    lead = planned.items[0].lead.standing
    about = lead.fingerprint if planned.kind == "alert" else ""
    row = delivery(planned.kind, planned.route, about, message, occasion, known.settings)
    if planned.kind == "alert":
        row |= {"alert_id": lead.alert_id, "fingerprint": lead.fingerprint}
    written.add(row)
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
