"""By which ways a person is reached, and which way is next when one has failed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from dealwatch.settings import Settings
from dealwatch.tables import owners
from dealwatch.warehouse import rows_of


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
    """Where one recipient is reached; a shared place is read by people who do not own what is said there."""

    recipient: str
    channel: str
    address: str
    time_zone: str | None = None
    is_shared: bool = False


NOWHERE = Route(recipient="nobody", channel="none", address="")


def read_people(connection: Connection) -> dict[str, Person]:
    """Everybody the last extract told of, by the CRM's id."""
    return {
        row.owner_id: Person(
            owner_id=row.owner_id,
            name=row.name,
            email=row.email,
            manager_id=row.manager_id,
            time_zone=row.time_zone,
            slack_user_id=row.slack_user_id,
            is_active=row.is_active,
        )
        for row in rows_of(connection, select(owners))
    }


def ways_to(person: Person, settings: Settings) -> tuple[Route, ...]:
    """Every connected way to a person, the best first; none to somebody who left."""
    if not person.is_active:
        return ()
    if is_unconnected(settings):
        return (Route(person.owner_id, "folder", person.email or person.owner_id, person.time_zone),)
    slack = person.slack_user_id or person.email
    found = ways(person.owner_id, email=person.email, slack=slack, settings=settings)
    return tuple(Route(way.recipient, way.channel, way.address, person.time_zone) for way in found)


def chain(owner_id: str, people: Mapping[str, Person]) -> Iterator[Person]:
    """The owner, their manager, and so on upward; each once, whatever loops the CRM holds."""
    seen: set[str] = set()
    at: str | None = owner_id
    while at and at in people and at not in seen:
        seen.add(at)
        yield people[at]
        at = people[at].manager_id


def way_to_named(text: str, people: Mapping[str, Person], settings: Settings) -> Route | None:
    """The way to a person whom the settings name by e-mail address or Slack user id; None without one.

    Somebody the CRM knows is reached as themselves, and so by their own hours and choices. A way that others
    read is none, whatever the CRM has in a person's field.
    """
    email, slack = (text, None) if "@" in text else (None, text)
    known = next((one for one in people.values() if one.is_active and _is(one, text)), None)
    found = [
        *(ways_to(known, settings) if known else ()),
        *ways(text, email=email, slack=slack, settings=settings),
    ]
    return next((way for way in found if _is_private(way)), None)


def _is(person: Person, text: str) -> bool:
    return text.lower() in {(person.email or "").lower(), (person.slack_user_id or "").lower()}


def _is_private(way: Route) -> bool:
    if way.channel != "slack":
        return way.channel in ("email", "folder")
    return "@" in way.address or re.fullmatch(r"[UW][A-Z0-9]{2,}", way.address) is not None


def ways_to_revops(settings: Settings) -> tuple[Route, ...]:
    """Who hears of deals that nobody can be told of."""
    delivery = settings.delivery
    return ways(
        "revops",
        email=delivery.revops_email,
        slack=delivery.revops_slack,
        teams=delivery.revops_teams,
        settings=settings,
    )


def ways(
    recipient: str, *, email: str | None, slack: str | None, teams: str | None = None, settings: Settings
) -> tuple[Route, ...]:
    """The connected channels that have an address for the recipient, in the settings' order."""
    if is_unconnected(settings):
        address = email or slack or teams
        return (Route(recipient, "folder", address),) if address else ()
    addresses = {"slack": slack, "email": email, "teams": teams, "folder": email or slack or teams}
    return tuple(
        Route(recipient, channel, address)
        for channel in connected(settings)
        if (address := addresses[channel])
    )


def connected(settings: Settings) -> tuple[str, ...]:
    """The channels of the settings that can carry a message."""
    ready = {"slack": settings.slack_token is not None, "email": settings.smtp is not None, "folder": True}
    ready["teams"] = bool(settings.teams)
    return tuple(channel for channel in settings.delivery.channels if ready[channel])


def is_unconnected(settings: Settings) -> bool:
    """Nothing but the folder is there to carry messages."""
    return set(connected(settings)) <= {"folder"}
