"""Seasons are asked of two whole years and more, and told apart from trends and from chance."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from dealwatch.insights import charts
from dealwatch.insights.composing import compose
from dealwatch.insights.drawn import kinds
from dealwatch.insights.drawn.panel import Panel
from dealwatch.insights.keeping import pipeline_rows
from dealwatch.insights.known import Known
from dealwatch.insights.review import Finding, Review
from dealwatch.insights.seasons import NO_SEASONS, seasons, within_years
from review_rows import known_at

DECEMBER = 12


def closed_over(
    begins: datetime, days: int, *, seed: int, more: float = 0.0, trend: float = 0.0, moment: str
) -> Known:
    """Six deals closed a day, each won by a coin; December adds to its chance, and so does each year."""
    rng, known = np.random.default_rng(seed), known_at(moment, [])
    when = [begins + timedelta(days=n // 6, hours=6) for n in range(6 * days)]
    december = np.array([one.month == DECEMBER for one in when])
    years = np.array([(one - begins).days // 365 for one in when])
    won = rng.random(len(when)) < 0.4 + more * december + trend * years
    told = {"deal_id": [f"d{n}" for n in range(len(when))], "closed_at": when, "created_at": when, "won": won}
    closed = pl.DataFrame(told).with_columns(cycle_days=pl.lit(0.0))
    schema = known.closed.schema
    columns = [pl.col(name) if name in closed.columns else pl.lit(None).alias(name) for name in schema]
    return replace(known, closed=closed.select(columns).cast(dict(schema)))


TWO_YEARS = datetime(2024, 1, 1, tzinfo=UTC)


def test_one_year_and_a_half_has_no_seasons() -> None:
    found = seasons(closed_over(TWO_YEARS, 700, seed=1, moment="2025-12-15"))
    assert found.months == () and found.p is None
    assert found.why == "1 whole year of closed deals; it takes 2."
    assert seasons(known_at("2026-01-01", [])).why == "0 whole years of closed deals; it takes 2."


def test_a_strong_december_is_found_and_nothing_else() -> None:
    found = seasons(closed_over(TWO_YEARS, 731, seed=2, more=0.3, moment="2026-01-10"))
    assert found.years == 2 and found.p is not None and found.p < 1e-6 and found.why == ""
    assert [one.month for one in found.months if one.is_found and (one.points.value or 0) > 0] == [DECEMBER]
    last = found.months[-1]
    assert last.points.low is not None and last.points.high is not None
    assert last.points.low < 27.5 < last.points.high  # 30 points less December's own share of the year's rate


def test_a_trend_is_no_season() -> None:
    found = seasons(closed_over(TWO_YEARS, 731, seed=3, trend=0.3, moment="2026-01-10"))
    assert found.why == NO_SEASONS and not any(one.is_found for one in found.months)


def test_chance_makes_no_seasons() -> None:
    found = seasons(closed_over(TWO_YEARS, 731, seed=6, moment="2026-01-10"))
    assert found.why == NO_SEASONS and len(found.months) == 12


def test_years_end_with_the_last_whole_month() -> None:
    known = closed_over(TWO_YEARS, 900, seed=4, moment="2026-06-10")
    found = seasons(known)
    assert found.years == 2
    whole = (pl.col("closed_at") >= datetime(2024, 6, 1, tzinfo=UTC)) & (
        pl.col("closed_at") < datetime(2026, 6, 1, tzinfo=UTC)
    )
    assert sum(one.win_rate.n for one in found.months) == known.closed.filter(whole).height


def test_of_one_year_it_is_pearsons_chi_square() -> None:
    won, closed = np.array([[30.0, 50, 45]]), np.array([[100.0, 100, 120]])
    _, _, p = within_years(won, closed)
    expected = stats.chi2_contingency(np.stack([won[0], closed[0] - won[0]]), correction=False).pvalue
    assert p == pytest.approx(expected)


def test_excesses_sum_to_nothing() -> None:
    rng = np.random.default_rng(8)
    closed = rng.integers(40, 90, (3, 12)).astype(float)
    more, spread, _ = within_years(np.round(closed * rng.random((3, 12))), closed)
    assert more.sum() == pytest.approx(0, abs=1e-9)
    assert spread.sum() == pytest.approx(0, abs=1e-9)


def reviewed(known: Known) -> tuple[Review, Finding]:
    """The week's review, and what it says, or refuses, of seasons."""
    told = compose(known, "week")
    return told, next(one for one in (*told.findings, *told.refused) if one.kind == "seasons")


def test_a_december_that_wins_more_is_said_in_the_review_with_its_years() -> None:
    told, said = reviewed(closed_over(TWO_YEARS, 800, seed=4, more=0.2, moment="2026-03-09"))
    assert said.state == "said" and said.q is not None and said.q < 0.1
    assert said.sentence.startswith("Months of the same year differ: over 2 years December won +")
    rows = told.figures["seasons"]
    assert rows.filter(name="season_points", month=12)["low"][0] > 0 and rows.height == 24
    kept = pipeline_rows(told).filter(name="season_points", scope="month 12")
    assert kept["value"][0] == pytest.approx(said.measures[0].value, rel=1e-9)


def test_seasons_that_chance_makes_are_refused_and_so_is_a_short_history() -> None:
    _, refused = reviewed(closed_over(TWO_YEARS, 800, seed=5, moment="2026-03-09"))
    assert refused.state == "refused" and "chance explains it" in refused.refusal
    short, refused = reviewed(closed_over(TWO_YEARS, 300, seed=5, moment="2024-10-28"))
    assert refused.refusal == "0 whole years of closed deals; it takes 2"
    assert short.figures["seasons"]["value"].null_count() == 2
    assert pipeline_rows(short).filter(scope="now", name="season_points")["why"][0].startswith("0 whole")


def test_seasons_have_a_picture_of_their_own() -> None:
    review, told = reviewed(closed_over(TWO_YEARS, 900, seed=1, more=0.3, moment="2026-06-15"))
    assert told.picture == "seasons" and "seasons" in charts.names_of(review, "everyone")
    (panel,) = kinds.seasons(review)
    assert isinstance(panel, Panel) and len(panel.rows) == 12
    looks = {row.name: row.marks[0].look for row in panel.rows}
    assert looks["December"] == "now" and "plain" in looks.values()
