"""The series says what each weekly review said at the time, and holds forecasts against what came."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, delete, update

from dealwatch.insights.forecast import came
from dealwatch.insights.review import Review
from dealwatch.insights.series import NOT_TOLD, OPEN, Week, forecasts_held, weeks
from dealwatch.tables import pipeline_metrics, reviews
from dealwatch.warehouse import reading, writing
from kept_reviews import composed, some_deals, store
from review_rows import UTC_SETTINGS, begun, ended, known_at

MONDAYS = ("2026-03-16", "2026-03-23", "2026-03-30", "2026-04-06", "2026-04-13")


@pytest.fixture(scope="module")
def made() -> list[Review]:
    """Reviews of three Mondays before the quarter's end and two after it, the newest first, and a month's."""
    deals = some_deals()
    weekly = [composed(day, deals) for day in reversed(MONDAYS)]
    return [*weekly, composed("2026-04-01", deals, "month")]


@pytest.fixture
def told(engine: Engine, made: list[Review]) -> Engine:
    for review in made:
        store(engine, review)
    return engine


def series(engine: Engine) -> list[Week]:
    with reading(engine) as connection:
        return weeks(connection, UTC_SETTINGS)


def test_each_week_is_told_as_its_review_told_it_the_oldest_first(told: Engine, made: list[Review]) -> None:
    found = series(told)
    assert [one.span.name for one in found] == ["2026-W11", "2026-W12", "2026-W13", "2026-W14", "2026-W15"]
    assert [one.quarter for one in found] == ["2026Q1"] * 3 + ["2026Q2"] * 2
    review = made[len(MONDAYS) - 1]
    assert found[0].win_rate.value == pytest.approx(review.headline[0].value)
    assert found[0].win_rate.n == review.headline[0].n > 0
    shares = review.figures["pipeline"]
    assert {name: one.value for name, one in found[0].open.items()} == {
        name: shares.filter(name=name)["value"].item() for name in OPEN
    }


def test_a_forecast_is_held_against_what_its_quarter_brought_once_that_is_over(told: Engine) -> None:
    found = series(told)
    won = 7 * 100.0  # every other one of the quarter's 13 Mondays, the first among them
    assert [one.came.value if one.came else None for one in found] == [won] * 3 + [None] * 2
    assert forecasts_held(found) == found[:3]


def test_what_came_is_counted_by_hand() -> None:
    lives = [
        ended("2025-12-01", "2025-12-31 23:59", won=True, amount="1"),  # the quarter before
        ended("2025-12-01", "2026-01-01 00:00", won=True, amount="10"),
        ended("2026-01-01", "2026-03-31 23:59", won=True, amount="100"),
        ended("2026-01-01", "2026-02-01", won=False, amount="1000"),
        ended("2026-01-01", "2026-04-01 00:00", won=True, amount="10000"),  # the running quarter
        ended("2026-01-01", "2026-02-01", won=True),
    ]
    over, money = came(known_at("2026-04-20", lives))
    assert (over.name, money.value, money.n, money.low) == ("2026Q1", 110.0, 2, 110.0)
    assert came(known_at("2026-04-20", []))[1].why == "no deal has closed yet."
    mixed = [begun("2026-01-01", amount="1", currency="EUR"), begun("2026-01-01", amount="1", currency="USD")]
    refused = came(known_at("2026-04-20", [*lives, *mixed]))[1]
    assert refused.value is None and "currenc" in refused.why


def test_a_week_reviewed_again_later_stays_as_it_was_published(told: Engine) -> None:
    before = series(told)
    store(told, composed("2026-03-18", some_deals()))
    assert series(told) == before


def test_it_is_read_from_the_figures_alone_and_what_a_review_did_not_tell_says_so(told: Engine) -> None:
    before = series(told)
    with writing(told) as connection:
        connection.execute(delete(reviews))
    assert series(told) == before
    with writing(told) as connection:
        c = pipeline_metrics.c
        connection.execute(delete(pipeline_metrics).where(c.name == "stalled_share"))
        unknown = {"value": None, "low": None, "high": None, "why": "nobody knows"}
        is_it = (c.name == "win_rate") & (c.as_of == datetime(2026, 3, 16, 6, tzinfo=UTC))
        connection.execute(update(pipeline_metrics).where(is_it).values(**unknown))
    first = series(told)[0]
    assert (first.open["stalled_share"].value, first.open["stalled_share"].why) == (None, NOT_TOLD)
    assert (first.win_rate.value, first.win_rate.why) == (None, "nobody knows")


def test_without_reviews_there_is_no_series(engine: Engine) -> None:
    assert series(engine) == []
