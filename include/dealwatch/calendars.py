"""Which days somebody works: no weekends and no public holidays of the country their time zone lies in.

A calendar is named as ISO 3166 names countries and their parts: "DE", "DE-BY"; the empty name has weekends
only. Special working days on a weekend, which some countries declare, count as weekends.
"""

import logging
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dealwatch.settings import Settings

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
_SATURDAY_AND_SUNDAY = frozenset({5, 6})


def calendar_of(zone: str | None, settings: Settings) -> str:
    """The calendar of somebody in a time zone; without one that exists, the organisation's."""
    delivery = settings.delivery
    if not delivery.holidays:
        return ""
    name = zone if zone and _exists(zone) else settings.time_zone
    for known in (name, _target_of(name)):
        if known in delivery.countries:
            return delivery.countries[known]
    return country_of(name)


def country_of(zone: str) -> str:
    """The country that tzdata's zone.tab puts a zone in; empty for a zone of none, such as UTC."""
    countries = _zone_tab()
    country = countries.get(zone) or countries.get(_target_of(zone), "")
    return country if country in _countries_with_holidays() else ""


def is_workday(day: date, calendar: str) -> bool:
    """Whether people of the calendar work on the day."""
    return day.weekday() not in _weekend(calendar) and day not in _holidays(calendar, day.year)


def workdays_between(first: date, last: date, calendar: str) -> int:
    """Working days after `first`, up to and with `last`: Monday to Monday is five without a holiday."""
    if last <= first:
        return 0
    from numpy import busday_count, datetime64

    one = timedelta(days=1)
    known = _workdays(calendar, first.year, last.year)
    return int(busday_count(datetime64(first + one), datetime64(last + one), busdaycal=known))


def is_public_holiday(day: date, calendar: str) -> bool:
    """Whether the day would be worked on but for a public holiday."""
    return day.weekday() not in _weekend(calendar) and not is_workday(day, calendar)


@cache
def _workdays(calendar: str, first: int, last: int) -> "np.busdaycalendar":
    from numpy import busdaycalendar

    free = [day for year in range(first, last + 1) for day in _holidays(calendar, year)]
    mask = [day not in _weekend(calendar) for day in range(7)]
    return busdaycalendar(weekmask=mask, holidays=sorted(free))


@cache
def _holidays(calendar: str, year: int) -> frozenset[date]:
    if not calendar:
        return frozenset()
    from holidays import country_holidays  # takes a tenth of a second, so only where it is asked

    country, _, part = calendar.partition("-")
    with catch_warnings(record=True) as doubts:  # of years that a country has not announced in full
        simplefilter("always")
        days = frozenset(country_holidays(country, subdiv=part or None, years=year))
    for doubt in doubts:
        log.warning("public holidays of %s in %d may be incomplete: %s", calendar, year, doubt.message)
    return days


@cache
def _weekend(calendar: str) -> frozenset[int]:
    if not calendar:
        return _SATURDAY_AND_SUNDAY
    from holidays import country_holidays

    return frozenset(country_holidays(calendar.partition("-")[0]).weekend)


@cache
def _countries_with_holidays() -> frozenset[str]:
    from holidays import list_supported_countries

    return frozenset(list_supported_countries(include_aliases=False))


@cache
def _zone_tab() -> dict[str, str]:
    rows = [line.split("\t") for line in _text("zone.tab") if not line.startswith("#")]
    return {row[2]: row[0] for row in rows if len(row) > 2}


@cache
def _links() -> dict[str, str]:
    """Other spellings of a zone, such as Asia/Calcutta, and the zone they stand for."""
    rows = [line.split() for line in _text("tzdata.zi")]
    return {row[2]: row[1] for row in rows if row[:1] == ["L"]}


def _target_of(zone: str) -> str:
    return zone if zone in _zone_tab() else _links().get(zone, zone)


def _text(name: str) -> list[str]:
    return (files("tzdata.zoneinfo") / name).read_text(encoding="utf-8").splitlines()


@cache
def _exists(zone: str) -> bool:
    """A CRM holds what people typed."""
    try:
        return bool(ZoneInfo(zone).key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
