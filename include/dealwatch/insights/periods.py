"""Which times a review is about: the week or month that ended, and the two stretches that it compares.

A week has too few closings to tell anything, so what is compared is a quarter's worth that ends with it: 13
weeks against the 13 before, or three months against the three before (decision 0084).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dealwatch.insights.review import Period
from dealwatch.insights.windows import Window, month_of, week_of
from dealwatch.moments import is_business_day, local_day
from dealwatch.settings import Settings

_WEEKS, _MONTHS = 13, 3
_WEEKS_OF_YEAR, _MONTHS_OF_YEAR = 52, 12


@dataclass(frozen=True)
class Periods:
    """span: the week or month that was over. window ends with it; before ends where window begins.

    year_before: as long as window, 52 weeks earlier, so that weekdays are the same, or 12 months.
    """

    period: Period
    span: Window
    window: Window
    before: Window
    year_before: Window


def periods(as_of: datetime, period: Period, settings: Settings) -> Periods:
    """The times of the newest review that could be made at a moment."""
    span = _newest(as_of, period, settings)
    last = local_day(span.until, settings)
    if period == "week":
        window = _weeks(last, _WEEKS, settings)
        before = _weeks(last - timedelta(weeks=_WEEKS), _WEEKS, settings)
        year = _weeks(last - timedelta(weeks=_WEEKS_OF_YEAR), _WEEKS, settings)
    else:
        window = _months(last, _MONTHS, settings)
        before = _months(_month_back(last, _MONTHS), _MONTHS, settings)
        year = _months(_month_back(last, _MONTHS_OF_YEAR), _MONTHS, settings)
    return Periods(period, span, window, before, year)


def due(as_of: datetime, settings: Settings) -> list[Period]:
    """Which reviews are made on the day of a moment: the week's on Mondays, the month's on its first workday.

    Public holidays are not looked at: a review that waits a day is found a day later.
    """
    day = local_day(as_of, settings)
    first = date(day.year, day.month, 1)
    while not is_business_day(first):
        first += timedelta(days=1)
    found: list[Period] = ["week"] if day.weekday() == 0 else []
    return [*found, "month"] if day == first else found


def spans(until: Window, period: Period, settings: Settings, *, count: int) -> list[Window]:
    """The last so many weeks or months up to one, the oldest first."""
    last = local_day(until.until, settings)
    if period == "week":
        return [week_of(last - timedelta(weeks=back), settings) for back in range(count)][::-1]
    return [month_of(_month_back(last, back), settings) for back in range(count)][::-1]


def _newest(as_of: datetime, period: Period, settings: Settings) -> Window:
    of = week_of if period == "week" else month_of
    running = of(local_day(as_of, settings), settings)
    return of(local_day(running.after, settings), settings)


def _weeks(last: date, count: int, settings: Settings) -> Window:
    newest = week_of(last, settings)
    first = week_of(last - timedelta(weeks=count - 1), settings)
    return Window(f"{count} weeks to {newest.name}", first.after, newest.until)


def _months(last: date, count: int, settings: Settings) -> Window:
    newest, first = month_of(last, settings), month_of(_month_back(last, count - 1), settings)
    return Window(f"{count} months to {newest.name}", first.after, newest.until)


def _month_back(day: date, months: int) -> date:
    """The first day of the month so many before the day's."""
    month = day.year * 12 + day.month - 1 - months
    return date(month // 12, month % 12 + 1, 1)
