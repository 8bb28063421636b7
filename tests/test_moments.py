"""A day has one moment, whatever the zone, the clock change and the kind of run."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from dealwatch.errors import SettingsError
from dealwatch.moments import (
    last_moment_before_run,
    moment_of_run,
    morning_of,
    mornings,
    newest_business_morning,
    not_to_come,
    parse_moment,
)
from dealwatch.settings import Settings

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata"]


def in_zone(name: str) -> Settings:
    return Settings(time_zone=name)


@pytest.mark.parametrize(
    ("zone", "day", "utc"),
    [
        ("Europe/Berlin", date(2026, 3, 28), "2026-03-28T05:00:00+00:00"),
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T04:00:00+00:00"),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-25T05:00:00+00:00"),
        ("America/New_York", date(2026, 3, 8), "2026-03-08T10:00:00+00:00"),
        ("America/New_York", date(2026, 11, 1), "2026-11-01T11:00:00+00:00"),
        ("Asia/Kolkata", date(2026, 2, 28), "2026-02-28T00:30:00+00:00"),
    ],
)
def test_the_morning_is_six_by_the_local_clock(zone: str, day: date, utc: str) -> None:
    assert morning_of(day, in_zone(zone)).isoformat() == utc


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_has_one_moment_a_day(zone: str) -> None:
    moments = mornings(date(2026, 1, 1), date(2026, 12, 31), in_zone(zone))
    assert len(set(moments)) == 365
    assert {m.astimezone(in_zone(zone).zone).hour for m in moments} == {6}


def run(**dates: object) -> SimpleNamespace:
    return SimpleNamespace(**{"logical_date": None, "partition_date": None, "run_after": None, **dates})


@pytest.mark.parametrize("zone", ZONES)
def test_every_kind_of_run_means_the_morning_of_its_local_day(zone: str) -> None:
    settings = in_zone(zone)
    morning = morning_of(date(2026, 3, 29), settings)
    clock = datetime(2026, 3, 29, 15, 12, 9, tzinfo=settings.zone)
    later = datetime(2026, 4, 2, tzinfo=UTC)
    assert moment_of_run(run(logical_date=morning, run_after=later), None, settings) == morning
    assert moment_of_run(run(logical_date=clock, run_after=clock), None, settings) == morning
    assert moment_of_run(run(partition_date=morning, run_after=later), None, settings) == morning
    assert moment_of_run(run(run_after=clock), None, settings) == morning
    assert moment_of_run(run(run_after=later), "2026-03-29", settings) == morning


def test_an_as_of_with_a_time_of_day_is_taken_as_it_stands() -> None:
    settings = in_zone("Europe/Berlin")
    assert parse_moment("2026-07-01T14:30", settings) == datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
    assert parse_moment("2026-07-01T14:30+00:00", settings) == datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
    with pytest.raises(SettingsError, match="no moment"):
        parse_moment("yesterday", settings)


def test_a_day_to_come_is_refused_and_a_morning_of_today_is_not() -> None:
    settings = in_zone("Europe/Berlin")
    at_three = parse_moment("2026-12-01T03:00", settings)
    assert not_to_come(parse_moment("2026-12-01", settings), at_three, settings).hour == 5
    for text in ("2026-12-02", "2062-12-01", "2026-12-02T00:00"):
        with pytest.raises(SettingsError, match="is to come.*2026-12-01"):
            not_to_come(parse_moment(text, settings), at_three, settings)


@pytest.mark.parametrize("text", ["2026-13-01", "2026-3-9", "", "0001-01-01T00:00"])
def test_what_is_no_moment_of_ours_is_a_sentence(text: str) -> None:
    with pytest.raises(SettingsError, match="is no moment; write 2026-03-29"):
        parse_moment(text, in_zone("Europe/Berlin"))


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        ("2026-11-20T05:59", date(2026, 11, 19)),  # Friday, before the morning
        ("2026-11-20T06:00", date(2026, 11, 20)),
        ("2026-11-22T23:00", date(2026, 11, 20)),  # Sunday
        ("2026-11-23T05:00", date(2026, 11, 20)),  # Monday, before the morning
        ("2026-11-23T06:01", date(2026, 11, 23)),
    ],
)
def test_the_newest_business_morning_is_not_in_the_future_and_not_on_a_weekend(
    now: str, newest: date
) -> None:
    settings = in_zone("America/New_York")
    assert newest_business_morning(parse_moment(now, settings), settings) == morning_of(newest, settings)


def test_what_a_run_learns_from_is_past_when_it_starts() -> None:
    settings = Settings(time_zone="Europe/Berlin")
    first = morning_of(date(2026, 3, 1), settings)
    before = morning_of(date(2026, 2, 28), settings)
    at_three = first - timedelta(hours=3)
    assert last_moment_before_run(run(logical_date=at_three, run_after=at_three), None, settings) == before
    assert last_moment_before_run(run(run_after=first), None, settings) == first
    assert last_moment_before_run(run(run_after=at_three), "2026-03-01", settings) == first  # as asked
