"""When the demo company works: days counted from 1970, working pace, quarters and each region's clock."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from dealwatch.company.process import HABITS, REGIONS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DAY_SECONDS = 86_400
HOUR = 3_600
OPENS, SHUTS = 8 * HOUR, 19 * HOUR
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Quarter:
    """A calendar quarter; `first` and `past` are day numbers, `past` the first day after it."""

    name: str
    first: int
    past: int


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - EPOCH).days


def date_of(day: int) -> date:
    """The date of a day number."""
    return EPOCH + timedelta(days=int(day))


def weekday(days: Ints) -> Ints:
    """0 for Monday to 6 for Sunday."""
    return np.asarray((days + 3) % 7)


def next_working_day(days: Ints) -> Ints:
    """Weekends move to the Monday after."""
    return np.where(weekday(days) >= 5, days + 7 - weekday(days), days)


def last_working_day(days: Ints) -> Ints:
    """Weekends move to the Friday before."""
    return days - np.maximum(0, weekday(days) - 4)


def month_end(days: Ints) -> Ints:
    """The last day of each day's month."""
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    return ((months + np.timedelta64(1, "M")).astype("datetime64[D]").astype(np.int64) - 1).astype(np.int64)


def paces(days: Ints) -> Floats:
    """How much happens on each day: little at weekends, more in the last working week of a month."""
    pace = np.where(weekday(days) >= 5, HABITS.weekend_pace, 1.0)
    return pace * np.where(month_end(days) - days < 7, HABITS.month_end_pace, 1.0)


def utc_offsets(days: Ints) -> Ints:
    """Seconds to take off local time, by day and region. Clocks change at night: noon speaks for the day."""
    noons = [datetime.combine(date_of(day), datetime.min.time()) + timedelta(hours=12) for day in days]
    offsets = [[_offset(noon, region.time_zone) for region in REGIONS] for noon in noons]
    return np.array(offsets, dtype=np.int64).reshape(len(days), len(REGIONS))


def full_quarters(start: int, until: int) -> list[Quarter]:
    """The calendar quarters that lie wholly in [start, until), oldest first."""
    found = []
    year, number = date_of(start).year, 1
    while (past := day_number(_quarter_start(year, number + 1))) <= until:
        first = day_number(_quarter_start(year, number))
        if first >= start:
            found.append(Quarter(f"{year}-Q{number}", first, past))
        year, number = (year + 1, 1) if number == 4 else (year, number + 1)
    return found


def _quarter_start(year: int, number: int) -> date:
    return date(year + (number - 1) // 4, 3 * ((number - 1) % 4) + 1, 1)


def _offset(noon: datetime, time_zone: str) -> int:
    local = noon.replace(tzinfo=ZoneInfo(time_zone))
    return int((noon.replace(tzinfo=UTC) - local.astimezone(UTC)).total_seconds())
