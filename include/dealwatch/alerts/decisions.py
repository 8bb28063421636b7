"""Who is told what on a morning, and what is not said and why. Pure: how alerts stand in, a plan out.

One deal is one item; proven alerts may interrupt, within the recipient's budget and by the value at risk; the
rest shares one digest, which goes only if it holds something new.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from dealwatch.alerts.cooldowns import Due, Kind, Standing, Telling, business_days_between, due, heard
from dealwatch.alerts.routing import routes_for
from dealwatch.alerts.rules import Rule
from dealwatch.delivery.routes import NOWHERE, Person, Route
from dealwatch.moments import local_day
from dealwatch.settings import Settings


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
class Planned:
    """One message for one recipient."""

    kind: Literal["alert", "digest"]
    route: Route
    items: tuple[Item, ...]
    more: int = 0  # deals that did not fit


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
    told: Mapping[str, Mapping[datetime, Telling]]  # by fingerprint and morning
    is_live: bool = True
    spoken: Mapping[tuple[str, str, str], Spoken] = field(default_factory=dict)  # of this morning, by reach
    told_today: frozenset[str] = frozenset()  # fingerprints


def decide(standing: Sequence[Standing], morning: Morning, *, settings: Settings) -> Plan:
    """The morning's messages. `standing` are all open alerts; those already told today stay out."""
    plan = Plan()
    by_deal: dict[str, list[Standing]] = {}
    for one in sorted(standing, key=lambda s: (s.deal_id, s.rule, s.fingerprint)):
        if one.rule in morning.rules:
            by_deal.setdefault(one.deal_id, []).append(one)
    items = [item for deal in by_deal.values() for item in _items(deal, morning, plan, settings=settings)]
    by_route: dict[Route, list[Item]] = {}
    for item in items:
        lead = item.lead.standing
        send_to = morning.rules[lead.rule].send_to
        routes = routes_for(lead.owner_id, send_to, morning.people, settings=settings)
        if not routes and not item.is_extra:
            plan.hold((one.standing for one in item.said), "no_route")
            plan.messages.append(Planned("alert", NOWHERE, (item,)))
        for route in routes:
            by_route.setdefault(route, []).append(item)
    for route in sorted(by_route, key=lambda r: (r.recipient, r.channel, r.address)):
        _speak_to(route, by_route[route], morning, plan, settings=settings)
    return plan


def dueness(standing: Standing, morning: Morning, *, settings: Settings) -> Due:
    """Whether an alert is due this morning, by what was said of its episode before.

    A live morning counts whatever was really said, be it about a later morning: nobody is told twice.
    """
    told = [
        telling
        for telling in heard(standing, morning.told.get(standing.fingerprint, {}))
        if morning.is_live or telling.as_of < morning.as_of
    ]
    since = 0
    if told:
        last = local_day(told[-1].as_of, settings)
        since = business_days_between(last, local_day(morning.as_of, settings))
    rule = morning.rules[standing.rule]
    is_quiet = rule.at(standing.level).digest_only
    return due(
        standing,
        told,
        cooldown_days=rule.cooldown_days,
        max_reminders=0 if is_quiet else settings.alerts.max_reminders,
        amount_escalation_pct=settings.alerts.amount_escalation_pct,
        days_since_told=since,
    )


def _items(deal: Sequence[Standing], morning: Morning, plan: Plan, *, settings: Settings) -> list[Item]:
    """A deal's news as one item, or none. An alert that is not due folds nothing: its message does not go."""
    told: list[Said] = []
    extras: list[Said] = []
    for one in deal:
        if one.fingerprint in morning.told_today:
            continue
        state = dueness(one, morning, settings=settings)
        if state.kind is not None:
            told.append(Said(one, state.kind))
            continue
        plan.hold([one], state.reason)
        if state.reason == "reminders_used":
            extras.append(Said(one, "reminder"))
    if not told:
        return [Item(extras[0], tuple(extras[1:]), False, is_extra=True)] if extras else []
    folder = next((said.standing for said in told if morning.rules[said.standing.rule].folds_others), None)
    leads = [said for said in told if not _is_folded(said.standing, folder, morning)]
    riders = [replace(said, is_folded=True) for said in told if said not in leads]
    ranked = sorted(leads, key=lambda said: _rank(said, morning))
    may = _may_interrupt(ranked[0].standing, morning)
    return [Item(ranked[0], (*ranked[1:], *riders), may)]


def _is_folded(one: Standing, folder: Standing | None, morning: Morning) -> bool:
    """A critical score speaks for the deal's other alerts; an unproven one may not silence a proven one."""
    if folder is None or one is folder:
        return False
    return _may_interrupt(folder, morning) or not _may_interrupt(one, morning)


def _may_interrupt(one: Standing, morning: Morning) -> bool:
    level = morning.rules[one.rule].at(one.level)
    return (one.rule, level.level) in morning.proven and not level.digest_only


def _rank(said: Said, morning: Morning) -> tuple[bool, bool, bool, int, str, str]:
    """Which alert leads a deal's message: one that folds, may interrupt, is news, is worst; then by name."""
    one = said.standing
    rule = morning.rules[one.rule]
    return (
        not _may_interrupt(one, morning),
        not rule.folds_others,
        said.kind == "reminder",
        -one.level,
        one.rule,
        one.fingerprint,
    )


def _speak_to(
    route: Route, items: Sequence[Item], morning: Morning, plan: Plan, *, settings: Settings
) -> None:
    """Single messages while the budget lasts, then one digest of the rest if anything in it is news."""
    spoken = morning.spoken.get((route.recipient, route.channel, route.address), Spoken())
    ranked = sorted(items, key=_by_value)
    interrupting = [item for item in ranked if item.may_interrupt]
    singles = interrupting[: max(settings.alerts.daily_budget - spoken.singles, 0)]
    rest = sorted((item for item in ranked if item not in singles), key=_by_news)
    has_digest = not spoken.has_digest and any(item.is_news for item in rest)
    shown = rest[: settings.alerts.digest_top] if has_digest else []
    plan.messages.extend(Planned("alert", route, (item,)) for item in singles)
    for item in (*singles, *shown):
        plan.hold((one.standing for one in item.said if one.is_folded), "folded")
    for item in interrupting[len(singles) :]:
        plan.hold((one.standing for one in item.said), "budget")
    for item in ranked:
        if not item.may_interrupt and not item.is_extra:
            plan.hold(_unproven(item, morning), "unproven_rule")
    if shown:
        plan.messages.append(Planned("digest", route, tuple(shown), more=len(rest) - len(shown)))
    for item in rest[len(shown) :]:  # what the morning's digest has no room for waits for the next one
        plan.hold((one.standing for one in item.said), "budget")


def _unproven(item: Item, morning: Morning) -> list[Standing]:
    """An alert meant for the digest is not held back by being in it."""
    standing = [one.standing for one in item.said]
    return [s for s in standing if not morning.rules[s.rule].at(s.level).digest_only]


def _by_value(item: Item) -> tuple[float, str]:
    return (-item.lead.standing.at_risk, item.lead.standing.deal_id)


def _by_news(item: Item) -> tuple[bool, float, str]:
    return (not item.is_news, *_by_value(item))
