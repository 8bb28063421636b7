"""Speaks up: folds the signals, and writes a morning's messages to the outbox or a receipt of them.

Two timelines. On a live morning (the newest business day's) messages are queued, judged by what was really
said before. Every other morning gets the messages it would have had, had all mornings been live, as rows that
are not sent; they are worked out anew from the first morning that changed, so the order of a backfill leaves
no trace.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Engine, func, or_, select

from dealwatch.alerts.episodes.keeping import DEALS, Folded, refold
from dealwatch.alerts.rules import books as rule_books
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.alerts.speaking.occasions import KINDS, Occasion
from dealwatch.alerts.speaking.routing import is_unheard
from dealwatch.alerts.speaking.timeline import speak_on
from dealwatch.alerts.speaking.updates import join_threads, queue_updates
from dealwatch.errors import NotReady
from dealwatch.history.freshness import caveats, incident
from dealwatch.moments import is_business_day, local_day, morning_of, newest_business_morning
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alerts, deliveries
from dealwatch.warehouse import writing

log = logging.getLogger(__name__)
Notify = Literal["auto", "dry", "force"]


def speak(
    engine: Engine, *, settings: Settings, as_of: datetime, now: datetime, notify: Notify = "auto"
) -> dict[str, int]:
    """Fold, and queue the morning's messages or write their receipt; one transaction, repeatable.

    Counts of the morning: queued (by this call), not_sent, held, open alerts, and unheard (notices to
    operations that reach nobody). `dry` queues nothing; `force` queues though the morning is past. A moment
    that is no day's morning has scores but no alerts. Raises NotReady for a day to come, or one not scored.
    """
    day, today = local_day(as_of, settings), local_day(now, settings)
    if day > today:
        raise NotReady(f"{as_of.isoformat()} is to come; alerts are told up to today: use --as-of {today}")
    if as_of != morning_of(day, settings):
        log.warning("%s is no day's morning: it has scores but no alerts", as_of.isoformat())
        return {"queued": 0, "not_sent": 0, "held": 0, "open": 0, "unheard": 0}
    rules = load_rules(settings.alerts.rules)
    with writing(engine, alone="fold") as connection:
        until = morning_of(today, settings)
        folded = refold(connection, as_of, until=until, rules=rules, settings=settings)
        if as_of not in folded.mornings:
            raise NotReady(f"{as_of.isoformat()} is not scored; run `score --as-of {day}` first")
        occasions = _occasions(connection, folded, settings=settings, as_of=as_of, now=now, notify=notify)
        queued = speak_on(connection, folded, occasions, rules=rules, settings=settings)
        if any(one.morning == as_of and one.is_live for one in occasions):
            rule_books.record(connection, as_of, settings=settings)
        queued += _follow_up(connection, occasions, now=now, settings=settings)
        unheard = _unheard(occasions, settings)
        return {"queued": queued, **_counts(connection, as_of), "unheard": unheard}


def _occasions(
    connection: Connection,
    folded: Folded,
    *,
    settings: Settings,
    as_of: datetime,
    now: datetime,
    notify: Notify,
) -> list[Occasion]:
    """The mornings to work out: this one, and all later ones that were not live."""
    is_newest = as_of == newest_business_morning(now, settings)
    is_live = notify == "force" or (notify == "auto" and is_newest)
    fault, note = None, ""
    if is_live or is_newest:
        fault = incident(connection, as_of, settings=settings)
        note = caveats(connection, as_of, settings=settings)
    found = []
    for morning in folded.mornings:
        if morning == as_of and is_live:
            forced_at = None if is_newest else max(as_of, now)
            found.append(Occasion(morning, "", fault, note, forced_at, is_again=morning in folded.live))
        elif morning < folded.start or morning in folded.live:
            continue
        elif morning == as_of and is_newest:
            found.append(Occasion(morning, "dry_run", fault, note))
        elif is_business_day(local_day(morning, settings)):
            found.append(Occasion(morning, "past_day"))
        else:
            found.append(Occasion(morning, "not_business_day"))
    return found


def _follow_up(
    connection: Connection, occasions: Sequence[Occasion], *, now: datetime, settings: Settings
) -> int:
    """Show on messages of before what a live morning knows of their alerts; how many changes were queued."""
    live = [one for one in occasions if one.is_live]
    for one in live:
        join_threads(connection, one.morning)
    return sum(
        queue_updates(connection, one.morning, now=now, settings=settings)
        for one in live
        if one.fault is None and one.forced_at is None
    )


def _unheard(occasions: Sequence[Occasion], settings: Settings) -> int:
    """Notices to operations that lie in the folder because no connected channel has an address for them."""
    if not is_unheard(settings):
        return 0
    faults = [one.fault for one in occasions if one.is_live and one.fault is not None]
    for fault in faults:
        log.error(
            "Nobody is told that no deal alerts go out; set delivery.operations_email or"
            " delivery.operations_slack. %s",
            fault.sentence,
        )
    return len(faults)


def _counts(connection: Connection, as_of: datetime) -> dict[str, int]:
    is_open = (alerts.c.opened_at <= as_of) & or_(
        alerts.c.resolved_at.is_(None), alerts.c.resolved_at > as_of
    )
    is_open &= DEALS.alerts
    is_unsent = (deliveries.c.as_of == as_of) & (deliveries.c.state == "not_sent")
    is_unsent &= deliveries.c.kind.in_(KINDS)
    is_held = (alert_events.c.at == as_of) & (alert_events.c.kind == "held")
    is_held &= DEALS.holds(alert_events.c.fingerprint)
    return {
        name: connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()
        for name, table, where in (
            ("not_sent", deliveries, is_unsent),
            ("held", alert_events, is_held),
            ("open", alerts, is_open),
        )
    }
