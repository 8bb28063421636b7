"""The answer to "why was I, or was I not, told?" in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from dealwatch.alerts.hindsight.why_reasons import day_words, said_words
from dealwatch.alerts.reasons import REASONS
from dealwatch.alerts.rules.clauses import Clause
from dealwatch.alerts.rules.rule import STAYS_OPEN
from dealwatch.delivery.hours import open_from
from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.moments import local_day
from dealwatch.settings import Settings


@dataclass(frozen=True)
class Asked:
    """The question: which deal, which day, and about whom."""

    deal_id: str
    name: str
    on: date
    person: Any  # a row of owners, or none


@dataclass(frozen=True)
class Told:
    """A message that told of an alert, or the receipt of one, and what became of it."""

    said_as: str
    kind: str
    recipient: str
    channel: str
    state: str
    reason: str
    not_before: datetime
    expires_at: datetime
    sent_at: datetime | None
    provider_ref: str | None
    last_error: str | None


@dataclass(frozen=True)
class Held:
    """A silence: its reason of the closed list, and what that means here."""

    reason: str
    meaning: str


@dataclass(frozen=True)
class RuleDay:
    """One rule on the day: the level it held at (none: it did not), what was said of it and what was not.

    `is_newer`: the book in force lacks it, and it is told as it is in this tree.
    """

    name: str
    title: str
    send_to: tuple[str, ...]
    is_newer: bool
    level: int | None
    levels: tuple[tuple[str, tuple[Clause, ...]], ...]
    told: tuple[Told, ...]
    held: tuple[Held, ...]


@dataclass(frozen=True)
class Day:
    """Everything the answer says of a scored morning, and when it is asked.

    `is_live`: none when alerts were never worked out.
    """

    asked: Asked
    now: datetime
    scored: Mapping[str, Any]
    people: Mapping[str, Any]  # rows of owners
    is_live: bool | None
    book: str
    rules: tuple[RuleDay, ...]


def text(day: Day, settings: Settings) -> str:
    """The deal as it stood, then each rule: those that spoke, those held back, those that did not hold."""
    blocks = [_head(day, settings)]
    order = sorted(day.rules, key=lambda rule: (not rule.told, not rule.held, rule.level is None, rule.name))
    blocks += ["\n".join(_rule(rule, day, settings)) for rule in order]
    return "\n\n".join(blocks) + "\n"


def ended_text(asked: Asked, ended: tuple[str, datetime], settings: Settings) -> str:
    """Of a deal that was not open that morning."""
    what, moment = ended
    day = day_words(local_day(moment, settings))
    words = {
        "created": f"it was created on {day}, after that morning",
        "known": f"the CRM first told of it on {day}, after that morning",
        "deleted": f"it was deleted on {day}",
    }.get(what, f"it was {what} on {day}")
    return f"{_title(asked)}\n\nNobody was told: {words}, and only open deals are watched.\n"


def unscored_text(asked: Asked, *, is_known: bool) -> str:
    """Of a morning that was not scored, or of a deal that its scoring did not know."""
    day = asked.on.isoformat()
    if is_known:
        return (
            f"{_title(asked)}\n\nNobody was told: the deal was not open when the morning was scored."
            f" If the CRM told of it later, `python -m dealwatch score --as-of {day}` scores it anew.\n"
        )
    return (
        f"{_title(asked)}\n\nNobody was told: the morning was not scored."
        f" `python -m dealwatch score --as-of {day}` scores it.\n"
    )


def _title(asked: Asked) -> str:
    name = clean(asked.name, NAME_LENGTH) or asked.deal_id
    return f"{name} ({clean(asked.deal_id, NAME_LENGTH)}) on {day_words(asked.on)}"


def _head(day: Day, settings: Settings) -> str:
    row = day.scored
    amount = (
        "amount unknown"
        if row["amount"] is None
        else f"{row['currency'] or settings.currency} {row['amount']:,.0f}"
    )
    how = f"model {row['model_version']}" if row["method"] != "rules" else "rules alone"
    owner = f"owner {_name(row['owner_id'], day.people)}" if row["owner_id"] else "nobody owns it"
    about = [clean(row["stage"] or "no stage", NAME_LENGTH), amount, owner]
    lines = [
        _title(day.asked),
        f"{', '.join(about)}; score {row['score']}, {row['band']} ({how}); {day.book}.",
    ]
    if day.is_live is None:
        score = f"`python -m dealwatch score --as-of {day.asked.on}`"
        lines.append(
            f"The morning was scored, but its alerts were never worked out, so nobody was told: run {score}."
        )
    elif not day.is_live:
        lines.append(
            "It was worked out as a past or a silent morning: nothing was sent; this is the receipt."
        )
    return "\n".join(lines)


def _rule(rule: RuleDay, day: Day, settings: Settings) -> list[str]:
    head = f"{rule.name} ({rule.title})"
    newer = ["  It is newer than those rules: told as it is in this tree."] if rule.is_newer else []
    if rule.level is None:
        return [f"{head} did not hold:", *newer, *_lacking(rule)]
    if rule.level == STAYS_OPEN:
        return [f"{head} did not hold any more, and keeps an open alert open:", *newer, *_lacking(rule)]
    lines = [f"{head} held at level {rule.level}:", *newer, *_holding(rule)]
    mine = rule.told
    if day.asked.person is not None:
        mine = tuple(one for one in rule.told if one.recipient == day.asked.person.owner_id)
    lines += [f"  {_told(one, day, settings)}" for one in mine]
    if rule.told and not mine:
        lines.append(f"  {_others(rule, day)}")
    receipts = {one.reason for one in rule.told if one.state == "not_sent"}
    lines += [f"  {_held(one, rule)}" for one in rule.held if one.reason not in receipts]
    if not rule.told and not rule.held and day.is_live is not None:
        lines.append(
            "  No message and no reason is kept: the morning was scored again after its alerts were told."
        )
    return lines


def _holding(rule: RuleDay) -> list[str]:
    """The highest level whose clauses all hold, with the day's numbers."""
    met = [parts for _, parts in rule.levels if all(part.holds for part in parts)]
    return [f"  {' AND '.join(part.told for part in met[-1])}"] if met else []


def _lacking(rule: RuleDay) -> list[str]:
    lines = []
    for name, parts in rule.levels:
        lacks = "; ".join(part.lacks for part in parts if not part.holds)
        label = f"{name}: " if len(rule.levels) > 1 else ""
        lines.append(f"  {label}{lacks or 'all of it holds by the rules of today'}")
    return lines


def _told(one: Told, day: Day, settings: Settings) -> str:
    kind = {"alert": "a message of its own", "digest": "the digest"}.get(
        one.kind, f"the {one.kind.replace('_', ' ')}"
    )
    who = f"{_name(one.recipient, day.people)} {said_words(one.said_as)}, in {kind} by {one.channel}"
    if one.state == "not_sent":
        return (
            f"Would have been told to {who}. Not sent ({one.reason}): {REASONS.get(one.reason, one.reason)}"
        )
    return f"Told to {who}: {_state(one, day, settings)}"


def _state(one: Told, day: Day, settings: Settings) -> str:
    fault = f" {clean(one.last_error, 240)}" if one.last_error else ""
    if one.state == "sent" and one.sent_at is not None:
        reference = f" (provider's reference {one.provider_ref})" if one.provider_ref else ""
        return f"sent {_clock(one.sent_at, settings)}{reference}."
    if one.state == "queued":
        return f"{_waiting(one, day, settings)}.{fault}"
    if one.state == "uncertain":
        return f"handed over, and the channel has not confirmed it yet.{fault}"
    if one.state == "sending":
        return "being sent."
    return f"not delivered ({one.reason}): {REASONS.get(one.reason, one.reason)}{fault}"


def _waiting(one: Told, day: Day, settings: Settings) -> str:
    due = max(one.not_before, day.now)
    leaves = due
    if one.channel != "folder" and one.kind != "operations":
        person = day.people.get(one.recipient)
        leaves = open_from(one.recipient, person.time_zone if person else None, due, settings=settings)
    if leaves >= one.expires_at:
        return f"waiting, and out of date by {_clock(one.expires_at, settings)}, before it may leave"
    if leaves > due:
        return f"waiting for the recipient's working hours, not before {_clock(leaves, settings)}"
    if leaves > day.now:
        return f"waiting, not before {_clock(leaves, settings)}"
    return "waiting for the next delivery"


def _others(rule: RuleDay, day: Day) -> str:
    who = _name(day.asked.person.owner_id if day.asked.person else "", day.people)
    told = ", ".join(dict.fromkeys(_name(one.recipient, day.people) for one in rule.told))
    roles = " and ".join(rule.send_to) or "owner"
    return f"{who} was not among those told: the rule is sent to {roles}, and here that was {told}."


def _held(one: Held, rule: RuleDay) -> str:
    lead = "Held back"
    if rule.told:
        lead = "Within another message" if one.reason == "folded" else "Not as a message of its own"
    return f"{lead} ({one.reason}): {one.meaning}"


def _name(recipient: str, people: Mapping[str, Any]) -> str:
    person = people.get(recipient)
    return clean((person.name if person else "") or recipient, NAME_LENGTH)


def _clock(moment: datetime, settings: Settings) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%d %H:%M}"
