"""Who is told what on a morning, and what is not said and why. Pure: how alerts stand in, a plan out.

Proven alerts may interrupt, within the recipient's budget and by the value at risk; the rest shares one
digest, which goes only if it holds something new. Whoever is away, or asked for silence, is told later: what
is held stays due, and comes within one morning's budget.
"""

from collections.abc import Mapping, Sequence

from dealwatch.alerts.episodes.cooldowns import Standing, of_owner, unanswered_since
from dealwatch.alerts.speaking.bystanders import leadership_items, manager_digests, team_digests
from dealwatch.alerts.speaking.decisions import (
    Choice,
    Item,
    Listener,
    Morning,
    Plan,
    Planned,
    Said,
    Spoken,
    by_news,
    by_value,
    days_since,
    is_told_today,
    item_of,
    may_interrupt,
    past_tellings,
    reach,
    said_of,
)
from dealwatch.alerts.speaking.routing import is_away, route_for, routes_for, team_routes
from dealwatch.delivery.routes import NOWHERE, Route
from dealwatch.settings import Settings


def decide(standing: Sequence[Standing], morning: Morning, *, settings: Settings) -> Plan:
    """The morning's messages. `standing` are all open alerts; those already told today stay out."""
    plan = Plan()
    known = [one for one in standing if one.rule in morning.rules]
    gone = (one for one in standing if one.rule not in morning.rules)
    plan.hold((one for one in gone if not is_told_today(one, morning, None)), "rule_retired")
    known.sort(key=lambda one: (one.deal_id, one.rule, one.fingerprint))
    for route, alerts in _by_route(known, morning, settings).items():
        if route == NOWHERE:
            _speak_to_nobody(alerts, morning, plan, settings=settings)
            continue
        listener = Listener(route, "alert", settings.alerts.daily_budget)
        _speak_to(listener, _items(alerts, listener, morning, plan, settings), morning, plan, settings)
    beside = Plan(plan.messages)  # that leadership is not told is no silence of the alert
    for leader, items in leadership_items(known, morning, plan, settings=settings).items():
        _speak_to(leader, items, morning, beside, settings)
    plan.messages.extend(team_digests(known, morning, plan, settings=settings))
    plan.messages.extend(manager_digests(known, morning, plan, settings=settings))
    return plan


def _by_route(
    alerts: Sequence[Standing], morning: Morning, settings: Settings
) -> Mapping[Route, list[tuple[Standing, bool]]]:
    """Which alerts go to whom, each with whether it goes there because nobody has answered."""
    found: dict[Route, list[tuple[Standing, bool]]] = {}
    known: dict[tuple[str, tuple[str, ...]], tuple[Route, ...]] = {}
    for one in alerts:
        send_to = morning.rules[one.rule].send_to
        key = (one.owner_id, send_to)
        if key not in known:
            known[key] = routes_for(one.owner_id, send_to, morning.people, settings=settings)
        routes = known[key]
        for route in routes or (NOWHERE,):
            found.setdefault(route, []).append((one, False))
        manager = _unanswered_route(one, routes, morning, settings)
        if manager is not None:
            found.setdefault(manager, []).append((one, True))
    return {route: found[route] for route in sorted(found, key=lambda r: (r.recipient, r.channel, r.address))}


def _unanswered_route(
    one: Standing, routes: Sequence[Route], morning: Morning, settings: Settings
) -> Route | None:
    """The manager, when a critical alert was told some working days ago and nobody has answered.

    Whoever asked for no messages was not told; for them the days count from the first morning that might have
    told them, which no backfill brings forward.
    """
    days = settings.alerts.unanswered_days
    if not days or not morning.rules[one.rule].folds_others or not may_interrupt(one, morning):
        return None
    told = [telling for telling in past_tellings(one, morning) if telling.level >= one.level]
    since = unanswered_since(one, told)
    if not told and routes and all(_choice(route, morning) == "nothing" for route in routes):
        since = next((at for at in morning.lived if at >= one.opened_at), morning.as_of)
    if one.is_held_out or one.quiet or since is None or days_since(since, one, morning, settings) < days:
        return None
    route = route_for("manager", one.owner_id, morning.people, settings=settings)
    if route is None or route in routes:
        return None
    known = of_owner(one, past_tellings(one, morning, Listener(route, "alert", 0)))
    return None if any(telling.level >= one.level for telling in known) else route


def _items(
    alerts: Sequence[tuple[Standing, bool]],
    listener: Listener | None,
    morning: Morning,
    plan: Plan,
    settings: Settings,
) -> list[Item]:
    """The listener's news, one item a deal."""
    deals: dict[str, list[tuple[Standing, bool]]] = {}
    for one, is_unanswered in alerts:
        deals.setdefault(one.deal_id, []).append((one, is_unanswered))
    found = []
    for deal in deals.values():
        due = [one for one, is_unanswered in deal if not is_unanswered]
        told, extras = said_of(due, morning, plan, settings=settings, listener=listener)
        told += [
            Said(one, "unanswered")
            for one, is_unanswered in deal
            if is_unanswered and not is_told_today(one, morning, listener)
        ]
        item = item_of(told, extras, morning)
        if item is not None:
            found.append(item)
    return found


def _speak_to_nobody(
    alerts: Sequence[tuple[Standing, bool]], morning: Morning, plan: Plan, *, settings: Settings
) -> None:
    """Alerts that no address was found for: a receipt each, unless a shared channel hears of the deal."""
    for item in _items(alerts, None, morning, plan, settings):
        if item.is_extra:
            continue
        segment = morning.segments.get(item.lead.standing.deal_id, {})
        if team_routes(segment, settings):
            plan.hold((one.standing for one in item.said), "shared_channel")
            continue
        plan.hold((one.standing for one in item.said), "no_route")
        plan.messages.append(Planned("alert", NOWHERE, (item,)))


def _speak_to(
    listener: Listener, items: Sequence[Item], morning: Morning, plan: Plan, settings: Settings
) -> None:
    """Single messages while the budget lasts, then one digest of the rest if anything in it is news."""
    route, choice = listener.route, _choice(listener.route, morning)
    all_said = [one.standing for item in items for one in item.said]
    if choice == "nothing" or is_away(route, morning.as_of, settings):
        plan.hold(all_said, "recipient_choice" if choice == "nothing" else "recipient_away")
        return
    spoken = _spoken(route, morning, plan)
    ranked = sorted(items, key=by_value)
    interrupting = [item for item in ranked if item.may_interrupt]
    allowed = 0 if choice == "digest_only" else max(listener.singles - spoken.singles, 0)
    singles = interrupting[:allowed]
    rest = sorted((item for item in ranked if item not in singles), key=by_news)
    has_digest = not spoken.has_digest and any(item.is_news for item in rest)
    shown = rest[: settings.alerts.digest_top] if has_digest else []
    plan.messages.extend(Planned("alert", route, (item,)) for item in singles)
    for item in (*singles, *shown):
        plan.hold((one.standing for one in item.said if one.is_folded), "folded")
    for item in interrupting[len(singles) :]:
        reason = "recipient_choice" if choice == "digest_only" else "budget"
        plan.hold((one.standing for one in item.said), reason)
    for item in ranked:
        if not item.may_interrupt and not item.is_extra:
            plan.hold(_unproven(item, morning), "unproven_rule")
    if shown:
        beyond, is_bystanders = tuple(rest[len(shown) :]), listener.is_bystander
        plan.messages.append(Planned("digest", route, tuple(shown), beyond, is_bystanders=is_bystanders))
    for item in rest[len(shown) :]:  # what the morning's digest has no room for waits for the next one
        plan.hold((one.standing for one in item.said), "budget")


def _choice(route: Route, morning: Morning) -> Choice:
    return morning.choices.get(route.recipient, "everything")


def _spoken(route: Route, morning: Morning, plan: Plan) -> Spoken:
    """What the recipient gets this morning so far, be it from an earlier run or of this one."""
    who = reach(route.recipient, route.channel, route.address)
    before = morning.spoken.get(who, Spoken())
    mine = [
        one.kind
        for one in plan.messages
        if reach(one.route.recipient, one.route.channel, one.route.address) == who
    ]
    return Spoken(before.singles + mine.count("alert"), before.has_digest or "digest" in mine)


def _unproven(item: Item, morning: Morning) -> list[Standing]:
    """An alert meant for the digest is not held back by being in it."""
    standing = [one.standing for one in item.said]
    return [s for s in standing if not morning.rules[s.rule].at(s.level).digest_only]
