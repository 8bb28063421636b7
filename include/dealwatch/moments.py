"""Which moment a run is about, and which moment is this morning's.

A moment (`as_of`) is a timezone-aware instant in UTC. For a day it is the settings' morning (06:00) of that
day in the organisation's zone, so a daylight-saving day has exactly one.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from dealwatch.errors import SettingsError
from dealwatch.settings import Settings


def morning_of(day: date, settings: Settings) -> datetime:
    """The moment of a day: its morning in the organisation's zone, as UTC."""
    return datetime.combine(day, settings.morning, tzinfo=settings.zone).astimezone(UTC)


def local_day(moment: datetime, settings: Settings) -> date:
    """The organisation's calendar day of a moment."""
    return moment.astimezone(settings.zone).date()


def end_of_day(moment: datetime, settings: Settings) -> datetime:
    """The midnight that ends the organisation's calendar day of a moment, as UTC."""
    day = local_day(moment, settings) + timedelta(days=1)
    return datetime.combine(day, time(), tzinfo=settings.zone).astimezone(UTC)


def spelled(moment: datetime) -> str:
    """The moment in an address: `2026-10-05T04:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_moment(text: str, settings: Settings) -> datetime:
    """A moment from `2026-03-29` (that day's morning) or `2026-03-29T14:30` (as it stands; local).

    Raises SettingsError for anything else.
    """
    try:
        if len(text) == len("2026-03-29"):
            return morning_of(date.fromisoformat(text), settings)
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=settings.zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"{text!r} is no moment; write 2026-03-29 or 2026-03-29T14:30") from error


def not_to_come(moment: datetime, now: datetime, settings: Settings) -> datetime:
    """The moment, if its day has begun by `now`; sockets ask before anything is written.

    Scores and promotions of a mistyped year would count as the latest ones until that year.
    Raises SettingsError for a day to come.
    """
    day, today = local_day(moment, settings), local_day(now, settings)
    if day > today:
        raise SettingsError(
            f"{day} is to come: nothing is known of it; today, {today}, is the last day to name"
        )
    return moment


def moment_of_run(run: Any, as_of: str | None, settings: Settings) -> datetime:
    """The moment of an Airflow run: the param, else the morning of its logical date or what stands for it.

    `run` is anything with `logical_date`, `run_after` and perhaps `partition_date`, so this needs
    no Airflow. `ds` is never used: it is a UTC date.
    """
    if as_of:
        return parse_moment(as_of, settings)
    return morning_of(local_day(_instant_of(run), settings), settings)


def last_moment_before_run(run: Any, as_of: str | None, settings: Settings) -> datetime:
    """As `moment_of_run`, but by default the last morning before the run: what it learns from is past."""
    if as_of:
        return parse_moment(as_of, settings)
    instant = _instant_of(run)
    day = local_day(instant, settings)
    morning = morning_of(day, settings)
    return morning if morning <= instant else morning_of(day - timedelta(days=1), settings)


def _instant_of(run: Any) -> datetime:
    """Airflow tells the run of a deadline as text."""
    found = run.logical_date or getattr(run, "partition_date", None) or run.run_after
    return datetime.fromisoformat(found) if isinstance(found, str) else found


def mornings(first: date, last: date, settings: Settings) -> list[datetime]:
    """One moment a day from `first` to `last`, both included."""
    return [morning_of(first + timedelta(days=n), settings) for n in range((last - first).days + 1)]


def is_business_day(day: date) -> bool:
    """Monday to Friday; public holidays are the recipients' own matter."""
    return day.weekday() < 5


def newest_business_morning(now: datetime, settings: Settings) -> datetime:
    """The latest business day's morning that is not after `now`."""
    day = local_day(now, settings)
    while not is_business_day(day) or morning_of(day, settings) > now:
        day -= timedelta(days=1)
    return morning_of(day, settings)
