"""How long deals take and how fast the pipeline earns, against numbers worked out by hand."""

from dataclasses import replace
from datetime import date, timedelta
from math import exp, log

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

from dealwatch.insights.cycles import by_cohort, change_between, change_by_close, restricted_mean
from dealwatch.insights.pace import FACTORS, pace
from dealwatch.insights.windows import quarter_of
from ledger_rows import at
from review_rows import UTC_SETTINGS, Life, begun, ended, known_at

FOUR = [
    ended("2026-01-01", "2026-01-11", won=True, amount="100"),
    ended("2026-01-01", "2026-01-31", won=True, amount="300"),
    ended("2026-01-01", "2026-01-21", won=False, amount="500"),
    begun("2026-01-22", amount="40"),
]


def day(text: str, plus: float) -> str:
    return f"{at(text) + timedelta(days=plus):%Y-%m-%d %H:%M}"


def steady(first: str, days: int, *, cycle: float = 20.0) -> list[Life]:
    """Two deals a day, one won and one lost, each closed after so many days."""
    return [
        ended(day(first, n), day(first, n + cycle), won=won, amount="100")
        for n in range(days)
        for won in (True, False)
    ]


def test_efficiency_is_worked_out_by_hand() -> None:
    found = pace(known_at("2026-02-01", FOUR))
    assert found.rem.value == pytest.approx(2 / 3 * 200 / 20)  # win rate x won size / won cycle
    assert found.velocity.value == pytest.approx(1 * 2 / 3 * 200 / 20)
    assert found.rem_exposure.value == pytest.approx(400 / (10 + 30 + 20 + 10))
    assert found.rem_published.value == pytest.approx(2 / 3 * 300 / 20)
    assert found.pvs_published.value == pytest.approx(400 / (20 * 3))
    assert found.rem.low is None and found.rem.why  # three closed deals are no sample


def test_exposure_counts_only_days_and_money_of_the_window() -> None:
    lives = [
        ended("2024-01-01", "2026-01-02", won=True, amount="730"),
        ended("2024-01-01", "2024-02-01", won=True),
    ]
    found = pace(known_at("2026-01-02", lives))
    assert found.rem_exposure.value == pytest.approx(730 / 365)


def test_worthless_wins_are_no_size() -> None:
    worthless = [ended("2026-01-01", "2026-01-31", won=True, amount=amount) for amount in ("0", "-9")]
    assert pace(known_at("2026-02-01", [*FOUR, *worthless])).rem.value == pytest.approx(4 / 5 * 200 / 25)


def test_without_a_win_there_is_no_pace_and_a_reason() -> None:
    lost = pace(known_at("2026-02-01", [ended("2026-01-01", "2026-01-11", won=False, amount="1")]))
    assert lost.rem.value is None and lost.rem.why == "no deal with an amount was won in this time."
    assert lost.rem_exposure.value == 0.0
    nothing = pace(known_at("2026-02-01", [begun("2026-01-01")]))
    assert nothing.rem.value is None and nothing.rem.why == "no deal was closed in this time"


def test_several_currencies_are_refused() -> None:
    mixed = [*FOUR, ended("2026-01-01", "2026-01-11", won=True, amount="1", currency="GBP")]
    found = pace(known_at("2026-02-01", mixed))
    for one in (
        found.rem,
        found.rem_exposure,
        found.velocity,
        found.pvs,
        *found.factors,
        found.rem_published,
    ):
        assert one.value is None and "GBP" in one.why


def test_velocity_against_the_year_before_is_the_product_of_its_factors() -> None:
    lives = steady("2023-06-01", 800, cycle=20) + steady("2025-08-09", 200, cycle=30)
    found = pace(known_at("2026-03-01", lives))
    assert found.pvs.value is not None and found.pvs.low is not None
    logs = sum(log(one.value or 0) for one in found.factors)
    assert logs == pytest.approx(log(found.pvs.value / 100), abs=1e-9)
    assert [one.name for one in found.factors] == [f"pvs_{name}" for name in FACTORS]
    assert (found.factors[3].value or 0) < 1  # cycles got longer, which takes velocity away


def test_a_year_before_that_began_too_late_is_no_comparison() -> None:
    found = pace(known_at("2026-03-01", steady("2024-03-05", 700)))
    assert found.pvs.value is None
    assert found.pvs.why == (
        "the first deal known began on 2024-03-05; a year to compare with needs deals since 2024-02-10."
    )


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(0.01, 1e6))
def test_money_scales_with_amounts_and_rates_do_not(scale: float) -> None:
    known = known_at("2026-02-01", FOUR)
    larger = replace(
        known,
        closed=known.closed.with_columns(pl.col("amount") * scale),
        open=known.open.with_columns(pl.col("amount") * scale),
    )
    before, after = pace(known), pace(larger)
    for name in ("rem", "rem_exposure", "velocity", "rem_published", "pvs_published"):
        assert getattr(after, name).value == pytest.approx(scale * getattr(before, name).value)


def test_a_cohort_that_was_not_followed_is_refused_and_others_are_compared_within_the_same_days() -> None:
    lives = steady("2025-01-01", 360, cycle=20)
    known = known_at("2025-12-20", lives)
    first, last = by_cohort(known, [quarter_of(date(2025, m, 1), UTC_SETTINGS) for m in (1, 10)])
    assert first.mean.value == pytest.approx(20) and first.median.value == pytest.approx(20)
    assert last.mean.value is None and last.mean.why.startswith("deals take up to 20 days to close;")
    assert change_between(first, last).value is None


def test_cycles_by_close_date_are_refused_where_history_begins_or_nothing_new_came() -> None:
    """Two hundred deals a quarter, all with the same cycles: only the choice of closed deals differs."""
    days = [5, 20, 50, 80, 110]
    lives = [
        ended(day("2025-01-01", n), day("2025-01-01", n + days[n % 5]), won=n % 2 == 0) for n in range(360)
    ]
    known = known_at("2026-06-01", lives)
    first, middle, next_one, last = (
        quarter_of(one, UTC_SETTINGS)
        for one in (date(2025, 1, 1), date(2025, 7, 1), date(2025, 10, 1), date(2026, 1, 1))
    )
    found = by_cohort(known, [first, middle])
    refused = change_by_close(known, first, last, found)
    assert refused.value is None
    for said in (
        "+",
        "by close date",
        "the first began on 2025-01-01",
        "0 deals began in 2026Q1",
        "cohorts take",
    ):
        assert said in refused.why
    unborn = quarter_of(date(2024, 7, 1), UTC_SETTINGS)
    told = "the first deal known began on 2025-01-01, after 2024Q3"
    assert told in change_by_close(known, unborn, last, found).why
    fair = change_by_close(known, middle, next_one, found)
    assert (
        fair.value == pytest.approx(0.0, abs=0.1) and fair.low is not None and fair.low < 0 < (fair.high or 0)
    )


def test_a_company_that_grew_may_be_compared_and_one_without_deals_may_not() -> None:
    """Ten times the deals of a year ago are no reason to refuse what closed a year ago."""
    lives = [
        ended(day(first, n / often), day(first, n / often + 5 + n % 11), won=True)
        for first, days, often in (("2024-01-01", 400, 1), ("2025-02-05", 330, 10))
        for n in range(days * often)
    ]
    windows = [quarter_of(date(year, 10, 1), UTC_SETTINGS) for year in (2024, 2025)]
    assert change_by_close(known_at("2026-01-20", lives), *windows, []).value == pytest.approx(0, abs=0.1)
    assert change_by_close(known_at("2026-01-20", []), *windows, []).value is None


def test_cohorts_that_differ_are_told_with_an_interval() -> None:
    rng = np.random.default_rng(7)
    lives = [
        ended(day(f, n / 10), day(f, n / 10 + rng.uniform(0.8, 1.2) * long), won=True)
        for f, long in (("2025-01-01", 20.0), ("2025-04-01", 30.0))
        for n in range(300)
    ]
    before, after = by_cohort(
        known_at("2025-12-01", lives), [quarter_of(date(2025, m, 1), UTC_SETTINGS) for m in (1, 4)]
    )
    change = change_between(before, after)
    assert change.low is not None and change.high is not None
    assert change.low < 0.5 < change.high and change.high - change.low < 0.1


def test_the_restricted_mean_is_that_of_lifelines() -> None:
    rng = np.random.default_rng(3)
    days = np.round(rng.exponential(30, 200), 1)
    is_closed = rng.random(200) < 0.7
    mean, _ = restricted_mean(days, is_closed, 40.0)
    fitted = KaplanMeierFitter().fit(pd.Series(days), is_closed)
    assert mean == pytest.approx(restricted_mean_survival_time(fitted, t=40.0))


def test_the_interval_of_the_restricted_mean_covers_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(11), 0
    truth = 30 * (1 - exp(-40 / 30))
    for _ in range(300):
        wait, follow = rng.exponential(30, 100), rng.uniform(20, 90, 100)
        mean, variance = restricted_mean(np.minimum(wait, follow), wait <= follow, 40.0)
        covered += abs(mean - truth) <= 1.96 * variance**0.5
    assert 0.90 <= covered / 300 <= 0.985


def test_a_median_is_null_while_half_are_open() -> None:
    lives = [begun(day("2025-01-01", n)) for n in range(40)] + steady("2025-01-01", 15, cycle=3)
    lives += steady("2024-01-01", 300, cycle=3)
    (found,) = by_cohort(known_at("2025-12-01", lives), [quarter_of(date(2025, 1, 1), UTC_SETTINGS)])
    assert found.deals == 70 and found.still_open == 40
    assert found.median.value is None and found.median.why == "fewer than half of its deals have closed."


def test_what_is_known_later_changes_no_earlier_pace() -> None:
    later = [*FOUR, ended("2026-02-02", "2026-02-05", won=True, amount="1000")]
    assert pace(known_at("2026-02-01", FOUR)) == pace(known_at("2026-02-01", later))
