"""Which deals a figure is about: spans of time in the organisation's zone, up to a moment.

A span holds what happened after its begin and no later than its end, so two that follow one another share
nothing. Days, weeks, months and quarters begin at the organisation's midnight, on the days clocks change too.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from dealwatch.moments import local_day
from dealwatch.scoring.known import quarter_end
from dealwatch.settings import Settings
from dealwatch.warehouse import instant

YEAR_DAYS = 365
_TICK = timedelta(microseconds=1)
_MONTHS_OF_QUARTER = 3


@dataclass(frozen=True)
class Window:
    """A span: after `after`, up to and with `until`, both in UTC. first, last: its local days."""

    name: str
    after: datetime
    until: datetime

    def holds(self, column: str) -> pl.Expr:
        """Whether an instant lies in it; null does not."""
        here = pl.col(column)
        return ((here > instant(self.after)) & (here <= instant(self.until))).fill_null(False)

    def clipped(self, moment: datetime) -> "Window":
        """The part of it that was over at a moment."""
        return Window(self.name, self.after, min(self.until, moment))

    @property
    def days(self) -> float:
        """Its length in days of 24 hours."""
        return (self.until - self.after) / timedelta(days=1)


def last_days(as_of: datetime, settings: Settings, days: int = YEAR_DAYS) -> Window:
    """So many days up to a moment, by the organisation's clock: a day is a day when clocks change."""
    local = as_of.astimezone(settings.zone)
    # Arithmetic on a zoned datetime moves its clock, and the offset follows.
    return Window(f"last {days} days", (local - timedelta(days=days)).astimezone(UTC), as_of.astimezone(UTC))


def quarter_of(day: date, settings: Settings) -> Window:
    """The fiscal quarter of a day: 2026Q1, or FY2027Q1 where fiscal years do not begin in January."""
    starts = settings.pipeline.fiscal_year_starts
    last = quarter_end(day, starts)
    first = _months_back(last, _MONTHS_OF_QUARTER - 1)
    number = (first.month - starts) % 12 // _MONTHS_OF_QUARTER + 1
    if starts == 1:
        return _between(f"{first.year}Q{number}", first, last, settings)
    ends = first.year + (first.month >= starts)
    return _between(f"FY{ends}Q{number}", first, last, settings)


def month_of(day: date, settings: Settings) -> Window:
    """The calendar month of a day: 2026-03."""
    first = day.replace(day=1)
    return _between(f"{day:%Y-%m}", first, _months_back(first, -1) - timedelta(days=1), settings)


def week_of(day: date, settings: Settings) -> Window:
    """The ISO week of a day, Monday to Sunday: 2026-W01."""
    year, week, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    return _between(f"{year}-W{week:02}", monday, monday + timedelta(days=6), settings)


def quarters(as_of: datetime, settings: Settings, *, count: int) -> list[Window]:
    """The last so many quarters that were over at a moment, the oldest first."""
    found: list[Window] = []
    window = quarter_of(local_day(as_of, settings), settings)
    while len(found) < count:
        window = earlier(window, settings)
        found.append(window)
    return found[::-1]


def earlier(quarter: Window, settings: Settings, *, quarters: int = 1) -> Window:
    """The quarter so many before one; 4 is the same quarter of the year before."""
    first = local_day(quarter.after + _TICK, settings)
    return quarter_of(_months_back(first, _MONTHS_OF_QUARTER * quarters), settings)


def _between(name: str, first: date, last: date, settings: Settings) -> Window:
    begin, end = _midnight(first, settings), _midnight(last + timedelta(days=1), settings)
    return Window(name, begin - _TICK, end - _TICK)


def _midnight(day: date, settings: Settings) -> datetime:
    return datetime.combine(day, time(), tzinfo=settings.zone).astimezone(UTC)


def _months_back(day: date, months: int) -> date:
    """The first day of the month so many before the day's."""
    month = day.year * 12 + day.month - 1 - months
    return date(month // 12, month % 12 + 1, 1)
