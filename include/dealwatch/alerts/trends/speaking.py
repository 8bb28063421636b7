"""Tells managers of stages and segments that got worse: weekly, with the review, by the alerts' own engine.

As for deals there are two timelines: on the newest Monday messages are queued, every other one gets the
receipts of what it would have said. What is pure is shared: the fold, cooldowns, answers, the outbox.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, or_, select

from dealwatch.alerts.episodes.cooldowns import Due, Kind, Standing, Telling, due, heard
from dealwatch.alerts.episodes.keeping import TRENDS
from dealwatch.alerts.speaking.latecomers import came_late
from dealwatch.alerts.speaking.materials import VIRTUAL, Memory, choices_on, read_memory
from dealwatch.alerts.speaking.occasions import Occasion, Written, clear_receipts, delivery, put_down
from dealwatch.alerts.speaking.queue import Notify
from dealwatch.alerts.speaking.updates import join_threads, queue_updates
from dealwatch.alerts.trends.content import trend_message
from dealwatch.alerts.trends.folding import FoldedTrends, fold_trends, is_trend_morning, lasting
from dealwatch.alerts.trends.record import record_of
from dealwatch.alerts.trends.routes import trend_routes
from dealwatch.calendars import calendar_of, workdays_between
from dealwatch.delivery.routes import NOWHERE, Route, read_people
from dealwatch.history.freshness import caveats, incident
from dealwatch.moments import local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alerts, deliveries, trend_mornings
from dealwatch.warehouse import writing

KIND = "trend"


def speak_of_trends(
    engine: Engine, *, as_of: datetime, now: datetime, settings: Settings, notify: Notify = "auto"
) -> dict[str, int]:
    """Fold, and queue the Monday's messages or write their receipt; one transaction, repeatable.

    Counts of the Monday: queued (by this call), not_sent, held, and open alerts. A moment that is no Monday's
    morning, and settings that want no such alerts, change nothing.
    """
    counts = {"queued": 0, "not_sent": 0, "held": 0, "open": 0}
    if not settings.review.alerts or not is_trend_morning(as_of, settings):
        return counts
    with writing(engine, alone="fold") as connection:
        until = max(as_of, morning_of(local_day(now, settings), settings))
        told = fold_trends(connection, until=until, settings=settings)
        occasions = _occasions(connection, told, as_of=as_of, now=now, notify=notify, settings=settings)
        clear_receipts(connection, occasions, told.folded, (KIND,))
        counts["queued"] = _speak(connection, told, occasions, settings)
        for one in occasions:
            if one.is_live and one.fault is None and one.forced_at is None:
                join_threads(connection, one.morning)
                counts["queued"] += queue_updates(connection, one.morning, now=now, settings=settings)
        return counts | _counts(connection, as_of)


def newest_monday(now: datetime, settings: Settings) -> datetime:
    """The latest Monday's morning that is not after a moment."""
    day = local_day(now, settings)
    day -= timedelta(days=day.weekday())
    morning = morning_of(day, settings)
    return morning if morning <= now else morning_of(day - timedelta(weeks=1), settings)


def _occasions(
    connection: Connection,
    told: FoldedTrends,
    *,
    as_of: datetime,
    now: datetime,
    notify: Notify,
    settings: Settings,
) -> list[Occasion]:
    """This Monday, and all others that were not live."""
    is_newest = as_of == newest_monday(now, settings)
    is_live = notify == "force" or (notify == "auto" and is_newest)
    found = []
    for morning in told.folded.mornings:
        if morning == as_of and is_live:
            fault = incident(connection, as_of, settings=settings)
            note = caveats(connection, as_of, settings=settings)
            forced_at = None if is_newest else max(as_of, now)
            is_again = morning in told.folded.live
            found.append(Occasion(morning, "", fault, note, forced_at, is_again))
        elif morning not in told.folded.live:
            reason = "dry_run" if morning == as_of and is_newest else "past_day"
            found.append(Occasion(morning, reason))
    return found


@dataclass(frozen=True)
class _Week:
    """A Monday's alerts, and what there is to tell of them."""

    occasion: Occasion
    standing: Sequence[Standing]
    rows: Mapping[tuple[str, str], Mapping[str, Any]]  # of `trends`, by rule and subject
    subjects: Mapping[str, str]  # by fingerprint
    routes: Sequence[Route]  # of those who want to hear
    silence: str  # why nobody is told, where nobody is


def _speak(
    connection: Connection, told: FoldedTrends, occasions: Sequence[Occasion], settings: Settings
) -> int:
    """Work the Mondays out in order and write what comes of them; how many messages were queued anew."""
    memory, written = read_memory(connection, told.folded, TRENDS), Written()
    lasted = lasting(told.rows, settings)
    routes = trend_routes(read_people(connection), settings)
    for occasion in sorted(occasions, key=lambda one: one.morning):
        week = _week(connection, told, occasion, routes, settings)
        held: dict[str, str] = {}
        for one in week.standing:
            state = _due(one, week, memory, settings)
            if state.kind is None or week.silence or occasion.fault is not None:
                fault = occasion.fault.reason if occasion.fault else ""
                if reason := state.reason or fault or week.silence:
                    held[one.alert_id] = reason
                if state.kind is None or week.silence != "no_route" or fault:
                    continue
            record = record_of(one.rule, told.openings, lasted, occasion.morning, settings)
            _tell(one, state.kind, week, record.line, memory, written, settings)
            if not occasion.is_live:
                held.setdefault(one.alert_id, occasion.reason)
        written.hold(held, {one.alert_id: one.fingerprint for one in week.standing}, occasion)
        pending = told.folded.pending.filter(as_of=occasion.morning)
        waiting = dict(pending.select("alert_id", "fingerprint").rows())
        written.hold(dict.fromkeys(waiting, "unconfirmed"), waiting, occasion)
    worked_out = {one.morning for one in occasions}
    written.held.extend(came_late(connection, told.folded, worked_out=worked_out))
    return put_down(connection, occasions, written, trend_mornings)


def _week(
    connection: Connection,
    told: FoldedTrends,
    occasion: Occasion,
    routes: Sequence[Route],
    settings: Settings,
) -> _Week:
    standing = told.folded.standing.filter(as_of=occasion.morning)
    rows = told.rows.filter(as_of=occasion.morning)
    choices = choices_on(connection, occasion.morning, settings)
    # There is no digest of stages: whoever wants digests only hears of them in the review.
    willing = [one for one in routes if choices.get(one.recipient, "everything") == "everything"]
    silence = "" if willing else "recipient_choice" if routes else "no_route"
    found = [
        Standing.of(row, at_risk=0.0, is_close_near=False)
        for row in standing.sort("fingerprint").iter_rows(named=True)
    ]
    return _Week(
        occasion,
        found,
        {(row["rule"], row["subject"]): row for row in rows.iter_rows(named=True)},
        dict(rows.select("fingerprint", "subject").rows()),
        willing if routes else (NOWHERE,),
        silence,
    )


def _due(one: Standing, week: _Week, memory: Memory, settings: Settings) -> Due:
    """Whether an alert is due; what a run of the same live Monday told is not, and has no reason."""
    occasion = week.occasion
    told = heard(one, memory.of(is_live=occasion.is_live)[0].get(one.fingerprint, {}))
    if occasion.is_live and any(telling.as_of == occasion.morning for telling in told):
        return Due(None)
    told = [telling for telling in told if occasion.is_live or telling.as_of < occasion.morning]
    days = 0
    if told:
        last, today = (local_day(at, settings) for at in (told[-1].as_of, occasion.morning))
        days = workdays_between(last, today, calendar_of(None, settings))
    return due(
        one,
        told,
        cooldown_days=settings.review.alert_cooldown_days,
        max_reminders=settings.alerts.max_reminders,
        amount_escalation_pct=settings.alerts.amount_escalation_pct,
        days_since_told=days,
    )


def _tell(
    one: Standing,
    kind: Kind,
    week: _Week,
    record: str,
    memory: Memory,
    written: Written,
    settings: Settings,
) -> None:
    """A message to each who wants to hear, and the memory of it unless nobody will ever see it."""
    occasion = week.occasion
    told = heard(one, memory.of(is_live=occasion.is_live)[0].get(one.fingerprint, {}))
    nth = 1 + sum(telling.kind == "reminder" for telling in told) if kind == "reminder" else 0
    row = week.rows[one.rule, week.subjects[one.fingerprint]]
    message = trend_message(
        row, record, nth=nth, occasion=occasion, looked_at=len(week.rows), settings=settings
    )
    telling = Telling(one.fingerprint, occasion.morning, kind, one.level, one.amount, False)
    for route in week.routes:
        sent = delivery(KIND, route, one.fingerprint, message, occasion, settings)
        sent |= {"alert_id": one.alert_id, "fingerprint": one.fingerprint}
        written.add(sent)
        if sent["state"] == "queued" or sent["reason"] in VIRTUAL:
            memory.add(telling, is_live=occasion.is_live, kind=KIND, recipient=route.recipient)
            written.tellings.append({"delivery_id": sent["delivery_id"], **vars(telling)})


def _counts(connection: Connection, as_of: datetime) -> dict[str, int]:
    is_open = (alerts.c.opened_at <= as_of) & or_(
        alerts.c.resolved_at.is_(None), alerts.c.resolved_at > as_of
    )
    is_unsent = (deliveries.c.as_of == as_of) & (deliveries.c.state == "not_sent")
    is_held = (alert_events.c.at == as_of) & (alert_events.c.kind == "held")
    return {
        name: connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()
        for name, table, where in (
            ("not_sent", deliveries, is_unsent & (deliveries.c.kind == KIND)),
            ("held", alert_events, is_held & TRENDS.holds(alert_events.c.fingerprint)),
            ("open", alerts, is_open & TRENDS.alerts),
        )
    }
