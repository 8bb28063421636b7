"""What a silence's reason meant for one alert on one morning, with its dates, names and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from dealwatch.alerts.episodes.keeping import LIVE_STATES
from dealwatch.alerts.episodes.quiet import Given, Quiet, after
from dealwatch.alerts.reasons import REASONS
from dealwatch.alerts.rules.rule import Rule
from dealwatch.alerts.speaking.choices import DIGEST_ONLY, EVERYTHING, choice_of
from dealwatch.alerts.speaking.content import record_line
from dealwatch.alerts.speaking.materials import VIRTUAL, records_by
from dealwatch.alerts.speaking.occasions import notice_of
from dealwatch.calendars import calendar_of, workdays_between
from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import (
    alert_actions,
    alert_mornings,
    deliveries,
    rule_evidence,
    tellings,
)
from dealwatch.warehouse import rows_of

_NAMED = 10  # deals that are named in a row


@dataclass(frozen=True)
class Case:
    """An alert on a morning, and what its silence is explained from."""

    connection: Connection
    morning: datetime
    settings: Settings
    deal: Mapping[str, Any]  # snapshot, score and facts
    people: Mapping[str, Any]  # rows of owners
    rule: Rule | None
    rule_name: str
    level: int | None

    @property
    def owner_id(self) -> str:
        return self.deal["owner_id"] or ""

    def name_of(self, recipient: str) -> str:
        person = self.people.get(recipient)
        return clean((person.name if person else "") or recipient, NAME_LENGTH)

    def day_of(self, moment: datetime) -> str:
        return day_words(local_day(moment, self.settings))


def day_words(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B %Y}"


def meaning(reason: str, case: Case, fingerprint: str) -> str:
    """The reason in a sentence or two about this alert."""
    explain = _EXPLAINED.get(reason)
    return (explain(case, fingerprint) if explain else "") or REASONS.get(reason, reason)


def told_before(case: Case, fingerprint: str) -> Sequence[Any]:
    """What had been said of the alert by the morning, in order: really said if the morning was live."""
    query = select(alert_mornings.c.is_live).where(alert_mornings.c.as_of == case.morning)
    is_seen: ColumnElement[bool] = deliveries.c.state.in_(LIVE_STATES)
    if not case.connection.execute(query).scalar():
        is_receipt = and_(deliveries.c.state == "not_sent", deliveries.c.reason.in_(VIRTUAL))
        is_seen = or_(is_seen, is_receipt)
    said = (
        select(tellings.c.as_of, tellings.c.kind, deliveries.c.recipient)
        .join(deliveries, deliveries.c.delivery_id == tellings.c.delivery_id)
        .where(tellings.c.fingerprint == fingerprint, tellings.c.as_of < case.morning, is_seen)
    )
    return rows_of(case.connection, said.order_by(tellings.c.as_of, deliveries.c.recipient))


def _cooldown(case: Case, fingerprint: str) -> str:
    told = told_before(case, fingerprint)
    if not told or case.rule is None:
        return ""
    to_owner = [row for row in told if row.recipient == case.owner_id]
    last, days = (to_owner or told)[-1], case.rule.cooldown_days
    ends = _cooldown_ends(case, local_day(last.as_of, case.settings), days)
    return (
        f"{case.name_of(last.recipient)} was told on {case.day_of(last.as_of)} ({said_words(last.kind)})."
        f" This rule repeats after {days} business days, so from {day_words(ends)}, unless it gets worse."
    )


def _cooldown_ends(case: Case, told_on: date, days: int) -> date:
    """The first day by which so many working days of the owner have passed, as the cooldown counts them."""
    owner = case.people.get(case.owner_id)
    calendar = calendar_of(owner.time_zone if owner else None, case.settings)
    ends = told_on
    while workdays_between(told_on, ends, calendar) < days:
        ends += timedelta(days=1)
    return ends


def said_words(kind: str) -> str:
    """As what an alert was said."""
    words = {
        "new": "as new",
        "escalated": "as worse than before",
        "reminder": "as a reminder",
        "unanswered": "because nobody had answered",
    }
    return words.get(kind, f"as {kind.replace('_', ' ')}")


def _reminders_used(case: Case, fingerprint: str) -> str:
    told = told_before(case, fingerprint)
    to_owner = [row for row in told if row.recipient == case.owner_id]
    days = ", ".join(dict.fromkeys(case.day_of(row.as_of) for row in to_owner or told))
    return f"It was told on {days}; its reminders are used up, so only a digest that goes anyway lists it."


def _budget(case: Case, _: str) -> str:
    c = deliveries.c
    sent = rows_of(
        case.connection, select(deliveries).where(c.as_of == case.morning, c.kind.in_(("alert", "digest")))
    )
    mine = [row for row in sent if row.recipient in _chain(case)]
    recipient = next((one for one in _chain(case) if any(row.recipient == one for row in mine)), None)
    mine = [row for row in mine if row.recipient == recipient]
    singles, digests = ([row for row in mine if row.kind == kind] for kind in ("alert", "digest"))
    if not mine or recipient is None:
        return "No digest went that morning, for nothing in it would have been news."
    parts = []
    if singles:
        ahead = f"about deals with more at risk: {'; '.join(_cards(singles))}."
        parts.append(f"{case.name_of(recipient)} got {len(singles)} single messages, {ahead}")
    listed = [card["deal_id"] for row in digests for card in row.message.get("cards", ())]
    if case.deal["deal_id"] in listed:
        parts.append("The digest lists it.")
    elif digests:
        parts.append(f"The digest told of {len(listed)} deals and had no room for it.")
    else:
        parts.append("No digest went, for nothing in it would have been news.")
    return " ".join(parts)


def _chain(case: Case) -> list[str]:
    """The owner and those who stand in: managers upward, then RevOps."""
    chain: list[str] = []
    at: str | None = case.owner_id
    while at and at not in chain:
        chain.append(at)
        at = case.people[at].manager_id if at in case.people else None
    return [*chain, "revops"]


def _cards(rows: Sequence[Any]) -> list[str]:
    cards = [card for row in rows for card in row.message.get("cards", ())]
    return [f"{clean(card['name'], NAME_LENGTH)} ({card['deal_id']})" for card in cards[:_NAMED]]


def _unproven(case: Case, _: str) -> str:
    c = rule_evidence.c
    level = case.rule.at(case.level).level if case.rule and case.level is not None else case.level
    records = select(rule_evidence).where(c.rule == case.rule_name, c.level == level, c.segment == "")
    rows = [dict(row) for row in case.connection.execute(records.order_by(c.measured_as_of)).mappings()]
    rules = {case.rule.name: case.rule} if case.rule else {}
    record = next(iter(records_by(rows, case.morning, rules).values()), None)
    line = record_line(record).removeprefix("unproven: ")
    return f"The rule may not interrupt, it speaks in digests only: {line}."


def _incident(case: Case, _: str) -> str:
    message = notice_of(case.connection, case.morning, settings=case.settings)
    return f"No deal alert went out that morning. {message['intro']}" if message else ""


_ANSWERS = {
    "snoozed": "snoozed it",
    "acknowledged": "acknowledged it",
    "already_knew": "said to know it already",
    "false_alarm": "called it a false alarm",
    "useful": "called it useful",
}


def _answered(case: Case, fingerprint: str, *, by_snooze: bool) -> str:
    row = _answer_that_holds(case, fingerprint, by_snooze=by_snooze)
    if row is None:
        return ""
    what = _ANSWERS.get(row.kind, f"answered {row.kind}")
    choice = {"next_step": " until the next step", "close_date": " until the close date moves"}.get(
        row.choice, ""
    )
    because = f" ({clean(row.reason, NAME_LENGTH)})" if row.reason else ""
    ends = f", quiet until {case.day_of(row.until)} at the latest, unless it gets worse"
    return f"{case.name_of(row.by)} {what}{choice} on {case.day_of(row.at)} by {row.via}{because}{ends}."


def _answer_that_holds(case: Case, fingerprint: str, *, by_snooze: bool) -> Any:
    """The answer whose quiet lasts that morning: a later one that promises no more changes nothing."""
    c = alert_actions.c
    given = select(alert_actions).where(c.fingerprint == fingerprint, c.at <= case.morning)
    given = given.where((c.kind == "snoozed") == by_snooze)
    quiet: Quiet | None = None
    holds = None
    for row in rows_of(case.connection, given.order_by(c.at, c.action_id)):
        answer = Given(row.at, row.kind, row.by, row.until, row.choice, row.reason, row.close_date)
        before, quiet = quiet, after(quiet, answer)
        holds = holds if quiet is before else row
    return holds


def _choice(case: Case, _: str) -> str:
    for one in _chain(case):
        made = choice_of(case.connection, one, case.morning, settings=case.settings)
        if made.choice != EVERYTHING:
            what = "digests only" if made.choice == DIGEST_ONLY else "no messages at all"
            ends = f" until {day_words(made.until)}" if made.until else ""
            return f"{case.name_of(one)} asked on {case.day_of(made.at)} for {what}{ends}."
    return ""


def _no_route(case: Case, _: str) -> str:
    owner = case.people.get(case.owner_id)
    if not case.owner_id:
        who = "Nobody owns the deal"
    elif owner is None:
        who = f"The CRM lists no owner {case.owner_id!r}"
    else:
        who = f"{case.name_of(case.owner_id)} and the managers above have no address that a channel could use"
    return f"{who}, and delivery.revops_email and delivery.revops_slack are not set."


def _folded(case: Case, _: str) -> str:
    return "It is part of the message about the deal's critical score, which speaks for its other alerts."


_EXPLAINED: Mapping[str, Callable[[Case, str], str]] = {
    "acknowledged": partial(_answered, by_snooze=False),
    "budget": _budget,
    "cooldown": _cooldown,
    "folded": _folded,
    "incident": _incident,
    "no_route": _no_route,
    "recipient_choice": _choice,
    "reminders_used": _reminders_used,
    "snoozed": partial(_answered, by_snooze=True),
    "stale_extract": _incident,
    "unproven_rule": _unproven,
}
