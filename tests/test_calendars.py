"""Working days by country, the hours in which messages leave, and both days on which clocks change."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select

from alert_samples import hire
from dealwatch.alerts.speaking.routing import is_away, window
from dealwatch.calendars import calendar_of, country_of, is_workday, workdays_between
from dealwatch.delivery.hours import read_hours
from dealwatch.delivery.routes import Route
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import reading, writing

ANN = Route("ann", "slack", "U1", "Europe/Berlin")


@pytest.mark.parametrize(
    ("zone", "country"),
    [
        ("Europe/Berlin", "DE"),
        ("America/New_York", "US"),
        ("Asia/Kolkata", "IN"),
        ("Asia/Calcutta", "IN"),
        ("US/Eastern", "US"),
        ("Europe/Stockholm", "SE"),
        ("UTC", ""),
        ("Mars/Olympus", ""),
    ],
)
def test_a_zone_lies_in_a_country(zone: str, country: str) -> None:
    assert country_of(zone) == country


@pytest.mark.parametrize(
    ("zone", "settings", "calendar"),
    [
        ("Asia/Kolkata", {}, "IN"),
        (None, {}, "DE"),
        ("Mars/Olympus", {}, "DE"),
        ("UTC", {}, ""),
        (None, {"time_zone": "America/New_York"}, "US"),
        ("Europe/Berlin", {"delivery": {"countries": {"Europe/Berlin": "DE-BY"}}}, "DE-BY"),
        ("Asia/Calcutta", {"delivery": {"countries": {"Asia/Kolkata": "IN-MH"}}}, "IN-MH"),
        ("Europe/Berlin", {"delivery": {"countries": {"Europe/Berlin": ""}}}, ""),
        ("Europe/Berlin", {"delivery": {"holidays": False}}, ""),
    ],
)
def test_whose_holidays_somebody_has(zone: str | None, settings: dict[str, object], calendar: str) -> None:
    assert calendar_of(zone, Settings(**settings)) == calendar


@pytest.mark.parametrize(
    ("calendar", "day", "is_worked"),
    [
        ("DE", "2026-04-03", False),  # Good Friday
        ("DE", "2026-04-06", False),  # Easter Monday
        ("US", "2026-04-03", True),
        ("US", "2026-07-03", False),  # the Fourth is a Saturday, so its Friday is free
        ("IN", "2026-01-26", False),  # Republic Day
        ("DE", "2026-01-26", True),
        ("DE", "2026-01-06", True),
        ("DE-BY", "2026-01-06", False),  # Epiphany is a holiday in Bavaria
        ("", "2026-12-25", True),
        ("", "2026-04-04", False),
        ("SA", "2026-04-03", False),  # a weekend of Friday and Saturday
        ("SA", "2026-04-05", True),
    ],
)
def test_a_country_works_when_it_does(calendar: str, day: str, is_worked: bool) -> None:
    assert is_workday(date.fromisoformat(day), calendar) == is_worked


@pytest.mark.parametrize(
    ("calendar", "first", "last", "days"),
    [
        ("DE", "2026-04-02", "2026-04-07", 1),  # Thursday to Tuesday over Easter
        ("US", "2026-04-02", "2026-04-07", 3),
        ("", "2026-03-02", "2026-03-09", 5),
        ("DE", "2026-04-30", "2026-05-04", 1),  # over the month's end and Labour Day
        ("US", "2025-12-31", "2026-01-02", 1),
        ("DE", "2026-03-27", "2026-03-30", 1),  # over the night that loses an hour
        ("DE", "2026-03-02", "2026-03-02", 0),
        ("DE", "2026-03-03", "2026-03-02", 0),
        ("DE", "2024-02-28", "2024-03-01", 2),
    ],
)
def test_working_days_after_one_day_up_to_another(calendar: str, first: str, last: str, days: int) -> None:
    assert workdays_between(date.fromisoformat(first), date.fromisoformat(last), calendar) == days


@pytest.mark.parametrize(
    ("zone", "day", "opens"),
    [
        ("Europe/Berlin", "2026-03-27T05:00", "2026-03-27T07:00"),  # the Friday before clocks go forward
        ("Europe/Berlin", "2026-03-30T04:00", "2026-03-30T06:00"),
        ("Europe/Berlin", "2026-10-23T04:00", "2026-10-23T06:00"),
        ("Europe/Berlin", "2026-10-26T05:00", "2026-10-26T07:00"),
        ("America/New_York", "2026-03-06T05:00", "2026-03-06T13:00"),
        ("America/New_York", "2026-03-09T05:00", "2026-03-09T12:00"),  # three weeks before Berlin
        ("America/New_York", "2026-11-02T05:00", "2026-11-02T13:00"),
        ("Asia/Kolkata", "2026-03-27T01:00", "2026-03-27T02:30"),
        ("Asia/Kolkata", "2026-03-30T04:00", "2026-03-30T04:00"),  # half past nine there already
    ],
)
def test_eight_in_the_morning_is_where_the_recipient_is(zone: str, day: str, opens: str) -> None:
    said_at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    earliest, expires = window(Route("ann", "slack", "U1", zone), said_at, settings=Settings())
    assert earliest == datetime.fromisoformat(opens).replace(tzinfo=UTC)
    assert expires > earliest


@pytest.mark.parametrize(
    ("said", "days"),
    [
        ("2026-03-05T05:00", 4),  # a Thursday
        ("2026-04-02T04:00", 6),  # Maundy Thursday: two holidays more than a weekend
        ("2026-12-23T05:00", 5),  # the second day of Christmas is a Saturday anyway
    ],
)
def test_news_does_not_age_on_public_holidays(said: str, days: int) -> None:
    said_at = datetime.fromisoformat(said).replace(tzinfo=UTC)
    earliest, expires = window(ANN, said_at, settings=Settings())
    assert expires - earliest == timedelta(days=days)


@pytest.mark.parametrize(
    ("route", "is_held"),
    [
        (ANN, True),
        (Route("bob", "slack", "U2", "America/New_York"), False),
        (Route("org", "email", "a@example.com"), True),
        (Route("ann", "folder", "ann", "Europe/Berlin"), False),  # a file disturbs nobody
    ],
)
def test_who_is_away_on_good_friday(route: Route, is_held: bool) -> None:
    assert is_away(route, datetime(2026, 4, 3, 4, tzinfo=UTC), Settings()) == is_held


def queue_row(engine: Engine, recipient: str, **changes: object) -> None:
    long_ago, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    row = {
        "delivery_id": recipient,
        "as_of": long_ago,
        "kind": "alert",
        "recipient": recipient,
        "channel": "slack",
        "address": recipient,
        "state": "queued",
        "reason": "",
        "message": {},
        "not_before": long_ago,
        "expires_at": later,
        "attempts": 0,
        **changes,
    }
    with writing(engine) as connection:
        connection.execute(insert(deliveries).values(**row))


def allowed(engine: Engine, settings: Settings, moment: str) -> set[str]:
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    hours = read_hours(engine, settings=settings)
    with reading(engine) as connection:
        return set(connection.execute(select(deliveries.c.recipient).where(hours.allow(now))).scalars())


@pytest.fixture
def office(engine: Engine) -> Engine:
    """Ann in Berlin, Bob in New York, Chandra in Kolkata, a channel of the US team, and somebody else."""
    fill(engine)
    return engine


def fill(engine: Engine) -> None:
    hire(engine, "ann", time_zone="Europe/Berlin")
    hire(engine, "bob", time_zone="America/New_York")
    hire(engine, "chandra", time_zone="Asia/Calcutta")
    for recipient in ("ann", "bob", "chandra", "C0US", "revops"):
        queue_row(engine, recipient)


US_TEAM = {"where": {"region": "US"}, "slack": "C0US", "time_zone": "America/New_York"}


def test_both_dialects_keep_the_hours(either_engine: Engine, tmp_path: Path) -> None:
    fill(either_engine)
    settings = Settings(home=tmp_path, delivery={"channel_map": [US_TEAM]})
    assert allowed(either_engine, settings, "2026-04-03T13:00") == {"bob", "C0US"}


@pytest.mark.parametrize(
    ("moment", "who"),
    [
        ("2026-03-02T14:00", {"ann", "bob", "chandra", "C0US", "revops"}),
        ("2026-04-03T13:00", {"bob", "C0US"}),  # Good Friday in Germany and India
        ("2026-01-26T14:00", {"ann", "bob", "C0US", "revops"}),  # Republic Day in India
        ("2026-07-03T14:00", {"ann", "chandra", "revops"}),  # half past seven in the evening in Kolkata
        ("2026-03-06T19:30", {"bob", "C0US"}),  # Friday evening in Berlin
        ("2026-03-07T14:00", set()),
        ("2026-03-09T06:59", {"chandra"}),
        ("2026-03-09T07:00", {"ann", "chandra", "revops"}),
        ("2026-03-30T05:59", {"chandra"}),  # clocks have gone forward in Berlin
        ("2026-03-30T06:00", {"ann", "chandra", "revops"}),
        ("2026-10-26T06:59", {"chandra"}),  # and back
        ("2026-10-26T07:00", {"ann", "chandra", "revops"}),
        ("2026-03-09T11:59", {"ann", "chandra", "revops"}),
        ("2026-03-09T12:00", {"ann", "chandra", "revops", "bob", "C0US"}),  # New York is on summer time
    ],
)
def test_what_is_queued_leaves_in_working_hours_only(
    office: Engine, tmp_path: Path, moment: str, who: set[str]
) -> None:
    settings = Settings(home=tmp_path, delivery={"channel_map": [US_TEAM]})
    assert allowed(office, settings, moment) == who


def test_notices_to_operations_and_files_leave_at_any_hour(engine: Engine, settings: Settings) -> None:
    queue_row(engine, "operations", kind="operations")
    queue_row(engine, "ann", channel="folder")
    assert allowed(engine, settings, "2026-12-25T02:00") == {"operations", "ann"}


def test_a_year_whose_holidays_are_not_all_announced_counts_those_that_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    republic_day, day_after = date(2039, 1, 26), date(2039, 1, 27)
    assert (is_workday(republic_day, "IN"), is_workday(day_after, "IN")) == (False, True)
    (told,) = caplog.messages
    assert told.startswith("public holidays of IN in 2039 may be incomplete: ")


def test_holidays_can_be_switched_off(office: Engine, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, delivery={"holidays": False})
    assert allowed(office, settings, "2026-04-03T13:00") == {"ann", "bob", "chandra", "C0US", "revops"}
