"""What people answer to alerts: kept for good, and in force from the moment it is given.

The fold reads the answers by their moment, so a past morning knows only those given before it. What an
answer promised is kept with it, so that a setting changed later breaks no promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, and_, func, or_, select, update

from dealwatch.alerts.episodes.quiet import Given, Quiet, after, event_of
from dealwatch.alerts.fingerprints import digest
from dealwatch.delivery.replies import BUTTONS, OF_A_DEAL, SNOOZES
from dealwatch.delivery.wording import day
from dealwatch.errors import DecisionRefused, NotFound
from dealwatch.moments import local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import (
    NO_DEAL,
    alert_actions,
    alert_events,
    alerts,
    deal_snapshots,
    deals,
    deliveries,
    scored_mornings,
    tellings,
)
from dealwatch.warehouse import add_missing, put, rows_of, schema_of

KINDS = (*BUTTONS, "useful")
FEEDBACK = ("already_knew", "false_alarm", "useful")  # welcome when the alert is over, too
CHOICE_WORDS = {choice: words[:1].lower() + words[1:] for choice, words in SNOOZES.items()}
_THANKS = {
    "acknowledged": "Got it.",
    "snoozed": "Snoozed.",
    "already_knew": "Noted that you knew already.",
    "false_alarm": "Noted as a false alarm.",
    "useful": "Noted as useful.",
}


@dataclass(frozen=True)
class Answer:
    """What somebody answered to an alert, by which way and when."""

    fingerprint: str
    kind: str
    by: str
    via: str
    at: datetime
    choice: str = ""
    reason: str = ""
    delivery_id: str | None = None


@dataclass(frozen=True)
class Recorded:
    """Whether the answer was new, and what holds since, in plain words."""

    is_new: bool
    sentence: str


def record(connection: Connection, answer: Answer, *, settings: Settings) -> Recorded:
    """Keep an answer; the same answer again changes nothing. Use inside `writing`.

    An answer to a message keeps quiet whatever else the message told of the deal, too.
    Raises DecisionRefused for an alert that is unknown or over (feedback is welcome then, too), and for a
    choice that cannot be kept.
    """
    _check(answer)
    alert = _alert_of(connection, answer.fingerprint)
    is_over = alert.resolved_at is not None and alert.resolved_at <= answer.at
    if is_over and answer.kind not in FEEDBACK:
        raise DecisionRefused(
            f"the alert is over since {day(local_day(alert.resolved_at, settings))}"
            f" ({alert.resolution.replace('_', ' ')}), so there is nothing to keep quiet"
        )
    given = _over(answer) if is_over else _given(connection, answer, alert, settings)
    quiet = None if is_over else _quiet(alert, answer.at)
    earlier = rows_of(connection, _answers_to(alert.fingerprint))
    is_new = not _is_same(answer, given, [row for row in earlier if row.at >= alert.opened_at])
    if is_new:
        _keep(connection, answer, given, alert, len(earlier))
    if is_new and not is_over:
        quiet = after(quiet, given)
        this = alerts.c.alert_id == alert.alert_id
        connection.execute(update(alerts).where(this).values(state=quiet.state, quiet_until=quiet.until))
        put(connection, alert_events, pl.DataFrame([event_of(given, alert.alert_id, alert.fingerprint)]))
        _mark(connection, answer.at)
    for rider in () if is_over else _riders(connection, answer):
        record(connection, rider, settings=settings)
    return Recorded(is_new, _sentence(given, quiet, settings))


def standing_of(
    connection: Connection, deal_id: str, rule: str | None, now: datetime
) -> list[tuple[str, str]]:
    """Fingerprint and rule of a deal's open alerts, or a stage's or segment's; those of one rule if named.

    Raises NotFound for a deal that is not there, and DecisionRefused when none is open, naming what is.
    """
    is_open = or_(alerts.c.resolved_at.is_(None), alerts.c.resolved_at > now)
    is_subject = and_(alerts.c.deal_id == NO_DEAL, alerts.c.scope == deal_id)
    is_meant = or_(and_(alerts.c.deal_id == deal_id, alerts.c.deal_id != NO_DEAL), is_subject)
    found = rows_of(connection, select(alerts).where(is_meant, is_open))
    rules = sorted({row.rule for row in found})
    named = sorted((row.rule, row.fingerprint) for row in found if rule in (None, row.rule))
    if not named:
        if not rules:
            _check_deal(connection, deal_id)
        there = f"; open are: {', '.join(rules)}" if rules else ""
        what = f"alert of the rule {rule}" if rule else "alert"
        raise DecisionRefused(f"no {what} is open for the deal {deal_id}{there}")
    return [(fingerprint, name) for name, fingerprint in named]


def _check_deal(connection: Connection, deal_id: str) -> None:
    if connection.execute(select(deals.c.deal_id).where(deals.c.deal_id == deal_id)).first() is None:
        raise NotFound(
            f"there is no deal {deal_id!r}: give its id in the CRM; of a stage, write 'stage: Proposal'"
        )


def _check(answer: Answer) -> None:
    if answer.kind not in KINDS:
        raise DecisionRefused(f"{answer.kind!r} is no answer; there are {', '.join(KINDS)}")
    if answer.kind == "snoozed" and answer.choice not in SNOOZES:
        raise DecisionRefused(f"{answer.choice!r} is no way to snooze; there are {', '.join(SNOOZES)}")
    if answer.kind != "snoozed" and answer.choice:
        raise DecisionRefused(f"only a snooze has a choice, not {answer.kind}")
    if answer.kind == "snoozed" and not answer.reason.strip():
        raise DecisionRefused("a snooze needs a reason: say in a few words why this may wait")
    if not answer.by.strip():
        raise DecisionRefused("an answer needs a name: say who answers, in a shell with --by")


def _alert_of(connection: Connection, fingerprint: str) -> Any:
    """The newest alert of a fingerprint."""
    newest = select(alerts).where(alerts.c.fingerprint == fingerprint).order_by(alerts.c.opened_at.desc())
    row = connection.execute(newest.limit(1)).one_or_none()
    if row is None:
        raise DecisionRefused("there is no such alert; the data may have been mended since it was told")
    return row


def _riders(connection: Connection, answer: Answer) -> list[Answer]:
    """The answer to the alerts that ride along in the message: what is judged is the one that leads."""
    is_open = or_(alerts.c.resolved_at.is_(None), alerts.c.resolved_at > answer.at)
    along = (
        select(tellings.c.fingerprint)
        .distinct()
        .join(deliveries, deliveries.c.delivery_id == tellings.c.delivery_id)
        .join(alerts, and_(alerts.c.fingerprint == tellings.c.fingerprint, is_open))
        .where(
            deliveries.c.delivery_id == (answer.delivery_id or ""),
            deliveries.c.fingerprint == answer.fingerprint,
            tellings.c.fingerprint != answer.fingerprint,
        )
    )
    kind = "snoozed" if answer.kind == "snoozed" else "acknowledged"
    found = connection.execute(along.order_by(tellings.c.fingerprint)).scalars().all()
    return [replace(answer, fingerprint=fingerprint, kind=kind) for fingerprint in found]


def _answers_to(fingerprint: str) -> Select[Any]:
    c = alert_actions.c
    return select(alert_actions).where(c.fingerprint == fingerprint).order_by(c.at, c.action_id)


def _given(connection: Connection, answer: Answer, alert: Any, settings: Settings) -> Given:
    """The answer with the promise in it: quiet until the morning of a day, at most so many days ahead."""
    today = local_day(answer.at, settings)
    longest = today + timedelta(days=settings.alerts.snooze_max_days)
    last, close_date = today + timedelta(days=settings.alerts.acknowledged_days), None
    if alert.deal_id == NO_DEAL and answer.choice in OF_A_DEAL:
        raise DecisionRefused(
            f"this is about a {alert.scope.partition(':')[0]}, not a deal; snooze it for some days"
        )
    if answer.kind == "snoozed" and answer.choice == "next_step":
        last = _next_step(connection, alert.deal_id, answer.at, today)
    elif answer.kind == "snoozed" and answer.choice == "close_date":
        last, close_date = longest, _dates(connection, alert.deal_id, answer.at).close_date
        if close_date is None:
            raise DecisionRefused("the deal has no close date that could move; snooze it for some days")
    elif answer.kind == "snoozed":
        last = today + timedelta(days=int(answer.choice))
    until = morning_of(min(last, longest), settings)
    return Given(answer.at, answer.kind, answer.by, until, answer.choice, answer.reason.strip(), close_date)


def _over(answer: Answer) -> Given:
    return Given(answer.at, answer.kind, answer.by, answer.at, answer.choice, answer.reason.strip())


def _next_step(connection: Connection, deal_id: str, at: datetime, today: date) -> date:
    step = _dates(connection, deal_id, at).next_step_on
    if step is None or step <= today:
        raise DecisionRefused(
            "the deal has no next step to come; set one in the CRM, or snooze it for some days"
        )
    return date.fromisoformat(str(step))


def _dates(connection: Connection, deal_id: str, at: datetime) -> Any:
    """The close date and the next step of a deal on the last morning before an answer."""
    c = deal_snapshots.c
    known = select(c.close_date, c.next_step_on).where(c.deal_id == deal_id, c.as_of <= at)
    row = connection.execute(known.order_by(c.as_of.desc()).limit(1)).one_or_none()
    if row is None:
        raise DecisionRefused("the deal's dates are not known yet; snooze it for some days")
    return row


def _quiet(alert: Any, at: datetime) -> Quiet | None:
    is_quiet = alert.quiet_until is not None and alert.quiet_until > at
    return Quiet(alert.state, alert.quiet_until) if is_quiet else None


def _is_same(answer: Answer, given: Given, earlier: Sequence[Any]) -> bool:
    """Feedback counts once a person and alert; another answer is the same while it promises no more."""
    if answer.kind in FEEDBACK:
        return any((row.kind, row.by) == (answer.kind, answer.by) for row in earlier)
    if not earlier:
        return False
    last = earlier[-1]
    said = (last.kind, last.choice, last.by, last.reason, last.until)
    return said == (given.kind, given.choice, given.by, given.reason, given.until)


def _keep(connection: Connection, answer: Answer, given: Given, alert: Any, number: int) -> None:
    parts = (answer.kind, answer.choice, answer.by, given.reason, answer.delivery_id or "", str(number))
    row = {
        "action_id": digest(alert.fingerprint, *parts),
        "at": answer.at,
        "fingerprint": alert.fingerprint,
        "rule": alert.rule,
        "deal_id": alert.deal_id,
        "kind": answer.kind,
        "choice": answer.choice,
        "reason": given.reason,
        "by": answer.by,
        "via": answer.via,
        "until": given.until,
        "close_date": given.close_date,
        "delivery_id": answer.delivery_id,
        "recorded_at": answer.at,
    }
    add_missing(connection, alert_actions, pl.DataFrame([row], schema=schema_of(alert_actions)))


def _mark(connection: Connection, at: datetime) -> None:
    """Let the next fold begin no later than the answer: its morning may have been folded without it."""
    c = scored_mornings.c
    last = connection.execute(select(func.max(c.as_of)).where(c.as_of <= at)).scalar_one()
    connection.execute(update(scored_mornings).where(c.as_of == last).values(is_folded=False))


def _sentence(given: Given, quiet: Quiet | None, settings: Settings) -> str:
    thanks = _THANKS[given.kind]
    if quiet is None:
        return f"{thanks} The alert is over, so there is nothing to keep quiet."
    last = day(local_day(quiet.until, settings))
    if given.choice == "close_date" and given.until == quiet.until:
        return f"{thanks} Quiet until the close date moves, {last} at the latest, unless it gets worse."
    return f"{thanks} Quiet until {last} unless it gets worse."
