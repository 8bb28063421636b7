"""Whether an alert is due, for whom, and which of a deal's alerts leads its message. Pure.

One deal is one item of news for one listener. Listeners are those whom a rule's `send_to` names, leadership,
and the shared channels and managers that get one summary: each by what it was told before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from dealwatch.alerts.episodes.cooldowns import Due, Kind, Standing, Telling, due, heard, of_owner
from dealwatch.alerts.rules.rule import Rule
from dealwatch.calendars import calendar_of, workdays_between
from dealwatch.delivery.routes import Person, Route
from dealwatch.moments import local_day
from dealwatch.settings import Settings

Line = Literal["alert", "manager_digest", "channel_digest"]
Choice = Literal["everything", "digest_only", "nothing"]
Told = Mapping[str, Mapping[datetime, Telling]]  # by fingerprint and morning


@dataclass(frozen=True)
class Listener:
    """Somebody who is spoken to, and the sort of message by which. What one heard the other did not."""

    route: Route
    line: Line
    singles: int  # messages about one deal each that they may get in a morning
    is_bystander: bool = False  # of deals that are not theirs to work on


@dataclass(frozen=True)
class Said:
    """An alert within a message, and as what it is said."""

    standing: Standing
    kind: Kind
    is_folded: bool = False


@dataclass(frozen=True)
class Item:
    """One deal's news: the alert that leads, those that ride along, and whether it may interrupt."""

    lead: Said
    riders: tuple[Said, ...]
    may_interrupt: bool
    is_extra: bool = False  # its reminders are used up: only listed where a digest goes anyway

    @property
    def said(self) -> tuple[Said, ...]:
        return (self.lead, *self.riders)

    @property
    def is_news(self) -> bool:
        return not self.is_extra and any(one.kind != "reminder" for one in self.said)


@dataclass(frozen=True)
class Share:
    """One owner's part of a team: how many of their deals have an open alert, and what is at risk in them."""

    owner_id: str
    name: str
    deals: int
    at_risk: float
    told: int  # deals that the digest counts


@dataclass(frozen=True)
class Planned:
    """One message for one recipient."""

    kind: Literal["alert", "digest", "manager_digest", "channel_digest"]
    route: Route
    items: tuple[Item, ...]  # a manager's by owner, in the order of `team`
    beyond: tuple[Item, ...] = ()  # did not fit: counted, not listed, and not taken as told
    team: tuple[Share, ...] = ()  # of a manager's digest, by name
    is_bystanders: bool = False  # it goes to somebody who has no part in the deals

    @property
    def counted(self) -> tuple[Item, ...]:
        return (*self.items, *self.beyond)


@dataclass(frozen=True)
class Spoken:
    """What a recipient was already told this morning."""

    singles: int = 0
    has_digest: bool = False


@dataclass
class Plan:
    """A morning's messages, and the reason of each alert that is silent or only rides along."""

    messages: list[Planned] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)  # alert_id -> reason; the first reason stands

    def hold(self, said: Iterable[Standing], reason: str) -> None:
        for standing in said:
            self.held.setdefault(standing.alert_id, reason)


@dataclass(frozen=True)
class Morning:
    """All that a decision rests on, the alerts apart."""

    as_of: datetime
    rules: Mapping[str, Rule]
    proven: frozenset[tuple[str, int]]  # (rule, level)
    people: Mapping[str, Person]
    told: Told  # to owners and whoever stands in for them
    heard: Mapping[tuple[str, str], Told] = field(default_factory=dict)  # the same by line and recipient
    is_live: bool = True
    lived: Sequence[datetime] = ()  # the mornings of this timeline, in order
    spoken: Mapping[tuple[str, str, str], Spoken] = field(default_factory=dict)  # of this morning, by reach
    told_today: frozenset[str] = frozenset()  # fingerprints
    choices: Mapping[str, Choice] = field(default_factory=dict)  # by recipient
    segments: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)  # by deal
    lifts: Mapping[tuple[str, int], float] = field(default_factory=dict)  # by (rule, level): at least so much


def reach(recipient: str, channel: str, address: str) -> tuple[str, str, str]:
    """By what a morning's budget is counted: by person, whichever way they are reached.

    RevOps and operations are words of ours, which the CRM may use as an owner's id: they count by address.
    """
    is_ours = recipient in ("revops", "operations")
    return (recipient, channel, address) if is_ours else (recipient, "", "")


def dueness(
    standing: Standing, morning: Morning, *, settings: Settings, listener: Listener | None = None
) -> Due:
    """Whether an alert is due this morning, by what the listener, or anybody, heard of its episode before.

    A live morning counts whatever was really said, be it about a later morning: nobody is told twice. Days
    are working days of the deal's owner.
    """
    told = past_tellings(standing, morning, listener)
    rule = morning.rules[standing.rule]
    is_quiet = rule.at(standing.level).digest_only
    return due(
        standing,
        told,
        cooldown_days=rule.cooldown_days,
        max_reminders=0 if is_quiet else settings.alerts.max_reminders,
        amount_escalation_pct=settings.alerts.amount_escalation_pct,
        days_since_told=days_since(told[-1].as_of, standing, morning, settings) if told else 0,
    )


def past_tellings(standing: Standing, morning: Morning, listener: Listener | None = None) -> list[Telling]:
    """What the listener, or anybody, has heard of the episode, in order.

    A deal that changes hands is news to its owner; to everyone else it is the alert they have heard of.
    """
    told = heard(standing, told_of(standing.fingerprint, morning, listener))
    if listener is None or listener.route.recipient == standing.owner_id:
        told = of_owner(standing, told)
    return [one for one in told if morning.is_live or one.as_of < morning.as_of]


def told_of(fingerprint: str, morning: Morning, listener: Listener | None) -> Mapping[datetime, Telling]:
    """What was said of an alert to the listener, or to anybody at all.

    A manager who was told in person needs no digest to say it again.
    """
    if listener is None:
        return morning.told.get(fingerprint, {})
    lines: tuple[Line, ...] = (
        ("alert", listener.line) if listener.line == "manager_digest" else (listener.line,)
    )
    told: dict[datetime, Telling] = {}
    for line in lines:
        told |= morning.heard.get((line, listener.route.recipient), {}).get(fingerprint, {})
    return told


def days_since(moment: datetime, standing: Standing, morning: Morning, settings: Settings) -> int:
    """Working days of the deal's owner from a moment's day to this morning."""
    owner = morning.people.get(standing.owner_id)
    calendar = calendar_of(owner.time_zone if owner else None, settings)
    return workdays_between(local_day(moment, settings), local_day(morning.as_of, settings), calendar)


def said_of(
    deal: Sequence[Standing], morning: Morning, plan: Plan, *, settings: Settings, listener: Listener | None
) -> tuple[list[Said], list[Said]]:
    """The alerts of a deal that the listener is due to hear of, and those whose reminders are used up."""
    told: list[Said] = []
    extras: list[Said] = []
    for one in deal:
        if is_told_today(one, morning, listener):
            continue
        state = dueness(one, morning, settings=settings, listener=listener)
        if state.kind is not None:
            told.append(Said(one, state.kind))
            continue
        plan.hold([one], state.reason)
        if state.reason == "reminders_used":
            extras.append(Said(one, "reminder"))
    return told, extras


def is_told_today(one: Standing, morning: Morning, listener: Listener | None) -> bool:
    """Whether an earlier run of a live morning told of the alert."""
    return morning.is_live and morning.as_of in told_of(one.fingerprint, morning, listener)


def item_of(told: Sequence[Said], extras: Sequence[Said], morning: Morning) -> Item | None:
    """A deal's news as one item. An alert that is not due folds nothing: its message does not go."""
    if not told:
        return Item(extras[0], tuple(extras[1:]), False, is_extra=True) if extras else None
    folder = next((said.standing for said in told if morning.rules[said.standing.rule].folds_others), None)
    in_order = sorted(told, key=lambda said: _rank(said, morning))
    ranked = [said for said in in_order if not _is_folded(said.standing, folder, morning)]
    riders = [replace(said, is_folded=True) for said in in_order if said not in ranked]
    may = may_interrupt(ranked[0].standing, morning)
    return Item(ranked[0], (*ranked[1:], *riders), may)


def _is_folded(one: Standing, folder: Standing | None, morning: Morning) -> bool:
    """A critical score speaks for the deal's other alerts; an unproven one may not silence a proven one."""
    if folder is None or one is folder:
        return False
    return may_interrupt(folder, morning) or not may_interrupt(one, morning)


def may_interrupt(one: Standing, morning: Morning) -> bool:
    """Whether the alert's rule and level have earned a message of their own."""
    level = morning.rules[one.rule].at(one.level)
    return (one.rule, level.level) in morning.proven and not level.digest_only


def _rank(said: Said, morning: Morning) -> tuple[bool, bool, bool, int, float, str, str]:
    """Which alert leads a deal's message.

    One that may interrupt, folds, is news, is worst, has the stronger record; then by name.
    """
    one = said.standing
    rule = morning.rules[one.rule]
    return (
        not may_interrupt(one, morning),
        not rule.folds_others,
        said.kind == "reminder",
        -one.level,
        -morning.lifts.get((one.rule, rule.at(one.level).level), 0.0),
        one.rule,
        one.fingerprint,
    )


def by_value(item: Item) -> tuple[float, str]:
    """What has most at risk comes first."""
    return (-item.lead.standing.at_risk, item.lead.standing.deal_id)


def by_news(item: Item) -> tuple[bool, float, str]:
    """News comes first, each part by what is at risk."""
    return (not item.is_news, *by_value(item))
