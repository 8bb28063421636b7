"""Which week or month a review is about, what it compares, and on which mornings it is made."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealwatch.insights.periods import due, periods, spans
from dealwatch.insights.review import Period
from dealwatch.moments import morning_of
from dealwatch.settings import Settings
from ledger_rows import at

BERLIN = Settings(time_zone="Europe/Berlin")


def test_mondays_review_is_about_the_week_before_and_thirteen_weeks_against_thirteen() -> None:
    told = periods(at("2026-10-26 06:00"), "week", BERLIN)
    assert told.span.name == "2026-W43"
    # The week in which clocks went back is an hour longer than others.
    assert told.span.days == pytest.approx(7 + 1 / 24)
    assert told.window.until == told.span.until and told.before.until == told.window.after
    assert (told.window.name, told.before.name) == ("13 weeks to 2026-W43", "13 weeks to 2026-W30")
    assert told.year_before.name == "13 weeks to 2025-W43"


def test_the_first_workdays_review_is_about_the_month_before_and_three_months_against_three() -> None:
    told = periods(at("2026-01-01 06:00"), "month", BERLIN)
    assert told.span.name == "2025-12"
    assert (told.window.name, told.before.name) == ("3 months to 2025-12", "3 months to 2025-09")
    assert told.year_before.name == "3 months to 2024-12"
    assert told.before.until == told.window.after


@given(st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1)), st.sampled_from(["week", "month"]))
def test_nothing_of_a_review_is_later_than_its_moment(when: datetime, period: Period) -> None:
    as_of = when.replace(tzinfo=UTC)
    told = periods(as_of, period, BERLIN)
    assert told.span.until < as_of
    assert told.window.until == told.span.until and told.before.until == told.window.after
    assert told.window.after <= told.span.after and told.year_before.until < told.before.until
    assert as_of - told.span.until < timedelta(days=8 if period == "week" else 33)


def test_a_series_ends_with_the_span_and_leaves_no_gap() -> None:
    for period in ("week", "month"):
        span = periods(at("2026-04-15 06:00"), period, BERLIN).span
        told = spans(span, period, BERLIN, count=20)
        assert told[-1] == span and len(told) == 20
        assert all(first.until == then.after for first, then in zip(told, told[1:], strict=False))


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 10, 26), ["week"]),
        (date(2026, 10, 27), []),
        (date(2026, 11, 1), []),  # a Sunday
        (date(2026, 11, 2), ["week", "month"]),
        (date(2026, 8, 3), ["week", "month"]),  # the 1st was a Saturday
        (date(2026, 10, 1), ["month"]),
        (date(2026, 10, 2), []),
    ],
)
def test_weeks_are_due_on_mondays_and_months_on_their_first_workday(day: date, expected: list[str]) -> None:
    assert due(morning_of(day, BERLIN), BERLIN) == expected


def test_every_month_of_twenty_years_has_one_review_within_its_first_three_days() -> None:
    days = [date(2020, 1, 1) + timedelta(days=n) for n in range(20 * 365)]
    found = [day for day in days if "month" in due(morning_of(day, BERLIN), BERLIN)]
    assert len(found) == len({(day.year, day.month) for day in days})
    assert {day.day for day in found} == {1, 2, 3} and all(day.weekday() < 5 for day in found)
