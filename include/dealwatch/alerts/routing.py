"""To whom a message goes, by which channel, and when: owner, else manager, else RevOps, else nobody."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dealwatch.moments import local_day
from dealwatch.settings import Settings


@dataclass(frozen=True)
class Person:
    """Someone who owns deals, as the CRM knows them."""

    owner_id: str
    name: str | None
    email: str | None
    manager_id: str | None
    time_zone: str | None
    slack_user_id: str | None
    is_active: bool


@dataclass(frozen=True)
class Route:
    """Where one recipient is reached."""

    recipient: str
    channel: str
    address: str
    time_zone: str | None = None


NOWHERE = Route(recipient="nobody", channel="none", address="")


def routes_for(
    owner_id: str, send_to: tuple[str, ...], people: Mapping[str, Person], *, settings: Settings
) -> tuple[Route, ...]:
    """Whom an alert about this owner's deal goes to, each once; empty when there is no way to anyone."""
    found = [_route_for(role, owner_id, people, settings=settings) for role in send_to]
    return tuple(dict.fromkeys(route for route in found if route is not None))


def operations_route(settings: Settings) -> Route:
    """Who hears that the data is not fit to alert on; without an address, whoever looks into the folder."""
    delivery = settings.delivery
    for email, slack in (
        (delivery.operations_email, delivery.operations_slack),
        (delivery.revops_email, delivery.revops_slack),
    ):
        route = _reach("operations", email=email, slack=slack, settings=settings)
        if route is not None:
            return route
    return Route("operations", "folder", "operations")


def is_unheard(settings: Settings) -> bool:
    """Operations notices go to the folder though people are reached elsewhere: nobody may look there."""
    return operations_route(settings).channel == "folder" and not _is_unconnected(settings)


def window(route: Route, said_at: datetime, *, settings: Settings) -> tuple[datetime, datetime]:
    """When a message may leave, and when its news is old.

    The day is the organisation's; the hour is the recipient's. A file in a folder disturbs nobody.
    """
    opens = said_at
    if route.channel != "folder":
        day = local_day(said_at, settings)
        opens = datetime.combine(day, settings.delivery.window_opens, tzinfo=_zone(route, settings))
    earliest = max(said_at, opens.astimezone(said_at.tzinfo))
    return earliest, earliest + timedelta(hours=settings.delivery.expires_after_hours)


def _route_for(role: str, owner_id: str, people: Mapping[str, Person], *, settings: Settings) -> Route | None:
    chain = list(_chain(owner_id, people))
    if role == "revops":
        chain = []
    elif role == "manager":
        chain = chain[1:]
    for person in chain:
        slack = person.slack_user_id or person.email
        route = _reach(person.owner_id, email=person.email, slack=slack, settings=settings)
        if person.is_active and _is_unconnected(settings):
            route = Route(person.owner_id, "folder", person.email or person.owner_id)
        if person.is_active and route is not None:
            return Route(route.recipient, route.channel, route.address, person.time_zone)
    delivery = settings.delivery
    return _reach("revops", email=delivery.revops_email, slack=delivery.revops_slack, settings=settings)


def _chain(owner_id: str, people: Mapping[str, Person]) -> Iterator[Person]:
    """The owner, their manager, and so on upward; each once, whatever loops the CRM holds."""
    seen: set[str] = set()
    at: str | None = owner_id
    while at and at in people and at not in seen:
        seen.add(at)
        yield people[at]
        at = people[at].manager_id


def _reach(recipient: str, *, email: str | None, slack: str | None, settings: Settings) -> Route | None:
    """The first connected channel that has an address for the recipient."""
    if _is_unconnected(settings):
        address = email or slack
        return Route(recipient, "folder", address) if address else None
    for channel in settings.delivery.channels:
        address = {"slack": slack, "email": email, "folder": email or slack}[channel]
        if address and channel in _connected(settings):
            return Route(recipient, channel, address)
    return None


def _connected(settings: Settings) -> tuple[str, ...]:
    ready = {"slack": settings.slack_token is not None, "email": settings.smtp is not None, "folder": True}
    return tuple(channel for channel in settings.delivery.channels if ready[channel])


def _is_unconnected(settings: Settings) -> bool:
    """Nothing but the folder is there to carry messages."""
    return set(_connected(settings)) <= {"folder"}


def _zone(route: Route, settings: Settings) -> ZoneInfo:
    try:
        return ZoneInfo(route.time_zone or settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return settings.zone  # a CRM holds what people typed
