"""Who hears of deals that are not theirs: leadership, shared channels, managers. Pure.

They hear what owners heard, the same morning or when they are back, once: news and what got worse, never a
reminder. What nobody told the owner they do not hear first, unless there is no owner to tell.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from dealwatch.alerts.episodes.cooldowns import Standing
from dealwatch.alerts.speaking.decisions import (
    Item,
    Listener,
    Morning,
    Plan,
    Planned,
    Said,
    Share,
    by_value,
    item_of,
    past_tellings,
    said_of,
)
from dealwatch.alerts.speaking.routing import is_away, leadership_routes, manager_routes, team_routes
from dealwatch.settings import Settings

# What an owner heard so long ago is no news: whoever is back from a week of holidays hears the rest.
_NEWS_LASTS = timedelta(days=7)


def leadership_items(
    alerts: Sequence[Standing], morning: Morning, plan: Plan, *, settings: Settings
) -> dict[Listener, list[Item]]:
    """The news of deals from the amount on, for each address of leadership."""
    amount = settings.delivery.leadership_amount
    if amount is None:
        return {}
    large = [one for one in alerts if one.amount >= amount]
    found = {}
    for route in leadership_routes(morning.people, settings):
        listener = Listener(route, "alert", settings.alerts.leadership_budget, is_bystander=True)
        own = _said_to(route.recipient, plan)
        others = [one for one in large if one.fingerprint not in own]
        items = _news(others, listener, morning, plan, settings=settings)
        if items:
            found[listener] = items
    return found


def team_digests(
    alerts: Sequence[Standing], morning: Morning, plan: Plan, *, settings: Settings
) -> list[Planned]:
    """One summary for each shared channel whose deals have news; a rule that judges owners has none there."""
    if not settings.delivery.channel_map:
        return []
    routes = {one.deal_id: team_routes(morning.segments.get(one.deal_id, {}), settings) for one in alerts}
    found = []
    for route in sorted({way for ways in routes.values() for way in ways}, key=lambda way: way.recipient):
        listener = Listener(route, "channel_digest", 0)
        if is_away(route, morning.as_of, settings) or _is_done(listener, morning):
            continue
        about_deals = [one for one in alerts if morning.rules[one.rule].about != "owner"]
        mine = [one for one in about_deals if route in routes[one.deal_id]]
        items = sorted(_news(mine, listener, morning, plan, settings=settings), key=by_value)
        shown = items[: settings.alerts.digest_top]
        if shown:
            found.append(Planned("channel_digest", route, tuple(shown), tuple(items[len(shown) :])))
    return found


def manager_digests(
    alerts: Sequence[Standing], morning: Morning, plan: Plan, *, settings: Settings
) -> list[Planned]:
    """One message for each manager whose team has news: by owner, by name, with what the team has in sum."""
    if not settings.alerts.manager_digest:
        return []
    found = []
    for manager_id, route in manager_routes(morning.people, settings).items():
        listener = Listener(route, "manager_digest", 0)
        is_silent = morning.choices.get(route.recipient) == "nothing"
        if is_silent or is_away(route, morning.as_of, settings) or _is_done(listener, morning):
            continue
        team = [one for one in alerts if _manager_of(one, morning) == manager_id and not one.is_held_out]
        own = _said_to(manager_id, plan) | set(_heard_today(Listener(route, "alert", 0), morning))
        others = [one for one in team if one.fingerprint not in own]
        items = sorted(_news(others, listener, morning, plan, settings=settings), key=by_value)
        shown = items[: settings.alerts.manager_budget]
        if shown:
            shares = _shares(team, items, morning)
            order = [share.owner_id for share in shares]
            shown.sort(key=lambda item: order.index(item.lead.standing.owner_id))
            beyond = tuple(items[len(shown) :])
            found.append(Planned("manager_digest", route, tuple(shown), beyond, team=shares))
    return found


def _news(
    alerts: Sequence[Standing], listener: Listener, morning: Morning, plan: Plan, *, settings: Settings
) -> list[Item]:
    """What the listener has not heard of, of what owners heard lately."""
    said_today = {one.standing.fingerprint for one in _all_said(plan, lambda message: True)}
    deals: dict[str, list[Standing]] = {}
    for one in alerts:
        is_ours_alone = plan.held.get(one.alert_id) == "shared_channel"
        if is_ours_alone or one.fingerprint in said_today or _was_told_lately(one, morning):
            deals.setdefault(one.deal_id, []).append(one)
    found = []
    aside = Plan()  # a bystander's silence is no reason of the alert's
    for deal in deals.values():
        told, _ = said_of(deal, morning, aside, settings=settings, listener=listener)
        item = item_of([one for one in told if one.kind != "reminder"], [], morning)
        if item is not None:
            found.append(item)
    return found


def _was_told_lately(one: Standing, morning: Morning) -> bool:
    since = morning.as_of - _NEWS_LASTS
    return any(told.as_of >= since and told.kind != "reminder" for told in past_tellings(one, morning))


def _all_said(plan: Plan, is_meant: Callable[[Planned], bool]) -> Iterable[Said]:
    return (
        one for message in plan.messages if is_meant(message) for item in message.items for one in item.said
    )


def _said_to(recipient: str, plan: Plan) -> set[str]:
    return {one.standing.fingerprint for one in _all_said(plan, lambda m: m.route.recipient == recipient)}


def _heard_today(listener: Listener, morning: Morning) -> list[str]:
    """What an earlier run of a live morning told the listener."""
    if not morning.is_live:
        return []
    heard = morning.heard.get((listener.line, listener.route.recipient), {})
    return [fingerprint for fingerprint, told in heard.items() if morning.as_of in told]


def _is_done(listener: Listener, morning: Morning) -> bool:
    """Whether this morning's summary went out in an earlier run: there is one a morning."""
    return bool(_heard_today(listener, morning))


def _manager_of(one: Standing, morning: Morning) -> str | None:
    owner = morning.people.get(one.owner_id)
    return owner.manager_id if owner else None


def _shares(team: Sequence[Standing], items: Sequence[Item], morning: Morning) -> tuple[Share, ...]:
    """Every owner of the team who has a deal with an open alert: by name, so that nobody is ranked."""
    at_risk: dict[str, dict[str, float]] = {}
    for one in team:
        at_risk.setdefault(one.owner_id, {})[one.deal_id] = one.at_risk
    told = [item.lead.standing.owner_id for item in items]
    names = {owner_id: morning.people[owner_id].name or owner_id for owner_id in at_risk}
    return tuple(
        Share(owner_id, names[owner_id], len(deals), sum(deals.values()), told.count(owner_id))
        for owner_id, deals in sorted(at_risk.items(), key=lambda one: (names[one[0]], one[0]))
    )
