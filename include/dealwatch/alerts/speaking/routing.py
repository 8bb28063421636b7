"""To whom a message goes, by which channel, and when: owner, else manager, else RevOps, else nobody.

Beside them, with news of their own making: shared channels by segment, and leadership from an amount on.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dealwatch.calendars import calendar_of, is_public_holiday, is_workday
from dealwatch.delivery.routes import (
    Person,
    Route,
    chain,
    connected,
    is_unconnected,
    ways,
    ways_to,
    ways_to_revops,
)
from dealwatch.knobs import TeamChannel
from dealwatch.moments import local_day
from dealwatch.settings import Settings


def routes_for(
    owner_id: str, send_to: tuple[str, ...], people: Mapping[str, Person], *, settings: Settings
) -> tuple[Route, ...]:
    """Whom an alert about this owner's deal goes to, each once; empty when there is no way to anyone."""
    found = [route_for(role, owner_id, people, settings=settings) for role in send_to]
    return tuple(dict.fromkeys(route for route in found if route is not None))


def route_for(role: str, owner_id: str, people: Mapping[str, Person], *, settings: Settings) -> Route | None:
    """The owner, manager or revops of a deal; who cannot be reached is replaced by the next one upward."""
    upward = [] if role == "revops" else list(chain(owner_id, people))
    if role == "manager":
        upward = upward[1:]
    found = [way for person in upward for way in ways_to(person, settings)]
    return next(iter((*found, *ways_to_revops(settings))), None)


def operations_route(settings: Settings) -> Route:
    """Who hears that the data is not fit to alert on; without an address, whoever looks into the folder."""
    delivery = settings.delivery
    for email, slack, teams in (
        (delivery.operations_email, delivery.operations_slack, delivery.operations_teams),
        (delivery.revops_email, delivery.revops_slack, delivery.revops_teams),
    ):
        for way in ways("operations", email=email, slack=slack, teams=teams, settings=settings):
            return way
    return Route("operations", "folder", "operations")


def is_unheard(settings: Settings) -> bool:
    """Operations notices go to the folder though people are reached elsewhere: nobody may look there."""
    return operations_route(settings).channel == "folder" and not is_unconnected(settings)


def team_routes(segment: Mapping[str, str | None], settings: Settings) -> tuple[Route, ...]:
    """The shared channels that hear of deals of a segment, all whose `where` it meets."""
    meant = [
        team
        for team in settings.delivery.channel_map
        if all(segment.get(column) == value for column, value in team.where.items())
    ]
    found = [_team_route(team, settings) for team in meant]
    return tuple(dict.fromkeys(route for route in found if route is not None))


def _team_route(team: TeamChannel, settings: Settings) -> Route | None:
    ways_of_team = (("slack", team.slack), ("teams", team.teams), ("email", team.email))
    channel, address = next((way, address) for way, address in ways_of_team if address)
    if is_unconnected(settings):
        channel = "folder"
    elif channel not in connected(settings):
        return None
    return Route(address, channel, address, team.time_zone, is_shared=True)


def leadership_routes(people: Mapping[str, Person], settings: Settings) -> tuple[Route, ...]:
    """Everyone whom deals from the amount on are told to; somebody the CRM knows is reached as themselves."""
    by_email = {person.email.lower(): person for person in people.values() if person.email}
    found: list[Route] = []
    for text in settings.delivery.leadership:
        is_person = "@" in text
        person = by_email.get(text.lower())
        if person is not None and person.is_active:
            found.extend(ways_to(person, settings)[:1])
            continue
        way = ways(
            text, email=text if is_person else None, slack=None if is_person else text, settings=settings
        )
        found.extend(Route(one.recipient, one.channel, one.address, None, not is_person) for one in way[:1])
    return tuple(dict.fromkeys(found))


def manager_routes(people: Mapping[str, Person], settings: Settings) -> dict[str, Route]:
    """Each manager who can be reached, and how."""
    managers = {person.manager_id for person in people.values() if person.is_active and person.manager_id}
    found = {}
    for manager_id in sorted(managers & people.keys()):
        for way in ways_to(people[manager_id], settings)[:1]:
            found[manager_id] = way
    return found


def is_away(route: Route, as_of: datetime, settings: Settings) -> bool:
    """Whether the recipient does not work on the morning's day, which is the organisation's.

    Nobody is away from a folder: a file waits there and disturbs nobody.
    """
    if route.channel == "folder":
        return False
    return not is_workday(local_day(as_of, settings), calendar_of(route.time_zone, settings))


def window(route: Route, said_at: datetime, *, settings: Settings) -> tuple[datetime, datetime]:
    """When a message may leave, and when its news is old.

    The day is the organisation's; the hour is the recipient's. A file in a folder disturbs nobody. A public
    holiday does not age the news: the hours that a weekend must fit in hold for a longer one too.
    """
    opens = said_at
    if route.channel != "folder":
        day = local_day(said_at, settings)
        opens = datetime.combine(day, settings.delivery.window_opens, tzinfo=_zone(route, settings))
    earliest = max(said_at, opens.astimezone(said_at.tzinfo))
    expires = earliest + timedelta(hours=settings.delivery.expires_after_hours)
    calendar = calendar_of(route.time_zone, settings)
    day = local_day(earliest, settings) + timedelta(days=1)
    while day <= local_day(expires, settings):
        if is_public_holiday(day, calendar):
            expires += timedelta(days=1)
        day += timedelta(days=1)
    return earliest, expires


def _zone(route: Route, settings: Settings) -> ZoneInfo:
    try:
        return ZoneInfo(route.time_zone or settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return settings.zone  # a CRM holds what people typed
