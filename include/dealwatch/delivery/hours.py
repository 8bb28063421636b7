"""When a person may be disturbed: working days where they are, between two hours of their own zone.

A file in a folder disturbs nobody, and an operations notice is urgent: both go out at any hour.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, Engine, case, func, or_, select

from dealwatch.calendars import calendar_of, is_workday
from dealwatch.settings import Settings
from dealwatch.tables import deliveries, owners
from dealwatch.warehouse import reading

_ORGANISATION = ""  # stands for the zone of a recipient whom the CRM gives none
_LONGEST_REST_DAYS = 31


@dataclass(frozen=True)
class Hours:
    """The zones in which recipients live, and the hours that hold in each."""

    zones: tuple[str, ...]
    settings: Settings

    def allow(self, now: datetime) -> ColumnElement[bool]:
        """Whether a row of `deliveries` may go out at this moment."""
        zone = select(owners.c.time_zone).where(owners.c.owner_id == deliveries.c.recipient).scalar_subquery()
        told: ColumnElement[str] = func.coalesce(zone, _ORGANISATION)
        teams = _team_zones(self.settings)
        if teams:
            places = [(deliveries.c.recipient == address, zone) for address, zone in teams.items()]
            told = case(*places, else_=told)
        closed = [name for name in self.zones if not _is_open(name, now, self.settings)]
        return or_(deliveries.c.channel == "folder", deliveries.c.kind == "operations", told.not_in(closed))


def _team_zones(settings: Settings) -> dict[str, str]:
    """The zones of the shared channels that have one of their own, by their address."""
    found = {}
    for team in settings.delivery.channel_map:
        if team.time_zone:
            found[team.slack or team.teams or team.email or ""] = team.time_zone
    return found


def read_hours(engine: Engine, *, settings: Settings) -> Hours:
    """The zones as the last extract told them."""
    told = select(owners.c.time_zone).where(owners.c.time_zone.is_not(None)).distinct()
    with reading(engine) as connection:
        zones = {_ORGANISATION, *connection.execute(told).scalars(), *_team_zones(settings).values()}
    return Hours(tuple(sorted(zones)), settings)


def open_from(recipient: str, zone: str | None, moment: datetime, *, settings: Settings) -> datetime:
    """The first moment, from one on, at which a recipient of the CRM's zone may be disturbed."""
    name = _team_zones(settings).get(recipient) or zone or _ORGANISATION
    if _is_open(name, moment, settings):
        return moment
    local = moment.astimezone(_zone(name, settings))
    for days in range(_LONGEST_REST_DAYS):
        day = local.date() + timedelta(days=days)
        opens = datetime.combine(day, settings.delivery.window_opens, tzinfo=local.tzinfo)
        if opens >= moment and _is_open(name, opens, settings):
            return opens
    return moment


def _is_open(name: str, now: datetime, settings: Settings) -> bool:
    local = now.astimezone(_zone(name, settings))
    window = settings.delivery
    is_worked = is_workday(local.date(), calendar_of(name or None, settings))
    return is_worked and window.window_opens <= local.time() < window.window_closes


def _zone(name: str, settings: Settings) -> ZoneInfo:
    try:
        return ZoneInfo(name) if name else settings.zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return settings.zone  # a CRM holds what people typed
