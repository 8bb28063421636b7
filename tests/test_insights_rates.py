"""Win rates by count, money, segment and cohort: by hand on few deals, and what is not defined is null."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dealwatch.insights.cohorts import cohort_win_rate, created, horizon
from dealwatch.insights.known import known_of
from dealwatch.insights.lost_value import excess_lost_value
from dealwatch.insights.measure import Measure, measures_of
from dealwatch.insights.rates import (
    WEIGHTED,
    WIN_RATE,
    differences,
    published_win_rates,
    revenue_weighted,
    segments,
    size_effect,
    win_rate,
)
from dealwatch.insights.segments import PAIRS, UNKNOWN
from dealwatch.insights.statistics import aalen_johansen
from dealwatch.insights.windows import Window
from insight_samples import FIRST, IN_FIRST, SECOND, SETTINGS, closed_deal, known, many
from ledger_rows import at, deal, ledger

AMOUNTS = st.lists(st.tuples(st.booleans(), st.floats(0.01, 1e9)), min_size=6, max_size=30)

FEW = settings(max_examples=20, deadline=None)


def test_a_win_rate_is_of_the_windows_deals_alone() -> None:
    told = win_rate(known(*many(30, 20), *many(0, 7, IN_FIRST)), SECOND)
    theirs = stats.binomtest(30, 50).proportion_ci(method="wilson")
    assert (told.value, told.n) == (0.6, 50)
    assert (told.low, told.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


@pytest.mark.parametrize("metric", [win_rate, revenue_weighted, size_effect])
def test_of_no_deals_there_is_no_rate_and_it_is_not_zero(metric: object) -> None:
    told = metric(known(*many(3, 3)), FIRST)  # type: ignore[operator]
    assert isinstance(told, Measure)
    assert (told.value, told.n, told.low) == (None, 0, None)
    assert "closed in this time" in told.why


def test_money_weighs_deals_and_says_how_many_that_are_worth() -> None:
    rows = [closed_deal(True, amount=90.0), *many(0, 9, amount=10.0), closed_deal(True, amount=None)]
    told = revenue_weighted(known(*rows), SECOND)
    assert (told.value, told.n) == (0.5, 10)
    assert told.n_eff == pytest.approx(180**2 / (90**2 + 9 * 10**2))
    assert told.low is not None and told.high is not None and told.low < 0.5 < told.high
    effect = size_effect(known(*rows), SECOND)
    assert effect.value == pytest.approx(100 * (0.5 - 0.1))
    assert effect.kind == "points"


def test_money_of_two_currencies_is_refused_and_counts_are_not() -> None:
    mixed = known(*many(3, 3, currency="USD"), *many(3, 3))
    assert revenue_weighted(mixed, SECOND).value is None
    assert "(EUR, USD)" in revenue_weighted(mixed, SECOND).why
    assert win_rate(mixed, SECOND).value == 0.5
    rows = segments(mixed, SECOND, [("region",)])
    assert rows.filter(name=WEIGHTED)["value"].to_list() == [None]
    assert "(EUR, USD)" in rows.filter(name=WEIGHTED)["why"].item()
    assert segments(mixed, SECOND, [("amount_band",)])["segment"].unique().to_list() == [UNKNOWN]
    assert "(EUR, USD)" in excess_lost_value(mixed, SECOND, ("region",))["why"].item()


def test_deals_that_weigh_nothing_do_not_count_by_money() -> None:
    told = revenue_weighted(
        known(*many(5, 5, amount=2.0), *many(9, 0, amount=-3.0), *many(4, 0, amount=0.0)), SECOND
    )
    assert (told.value, told.n) == (0.5, 10)


@FEW
@given(AMOUNTS, st.floats(0.001, 1000))
def test_scaling_amounts_leaves_rates_as_they_are(deals: list[tuple[bool, float]], factor: float) -> None:
    plain = known(*(closed_deal(won, amount=amount) for won, amount in deals))
    scaled = known(*(closed_deal(won, amount=amount * factor) for won, amount in deals))
    ours, theirs = revenue_weighted(plain, SECOND), revenue_weighted(scaled, SECOND)
    assert theirs.value == pytest.approx(ours.value)
    assert theirs.n_eff == pytest.approx(ours.n_eff)
    assert (theirs.low is None) == (ours.low is None)
    if ours.low is not None:
        assert theirs.low == pytest.approx(ours.low, abs=1e-9)


def test_equal_amounts_have_no_size_effect() -> None:
    told = size_effect(known(*many(30, 20)), SECOND)
    assert told.value == pytest.approx(0)


def test_segments_by_hand() -> None:
    rows = segments(known(*many(30, 10, region="EMEA"), *many(10, 30, region=None)), SECOND, [("region",)])
    by_count = rows.filter(name=WIN_RATE)
    assert by_count.select("segment", "won", "n", "value").rows() == [
        (UNKNOWN, 10, 40, 0.25),
        ("EMEA", 30, 40, 0.75),
    ]
    # Two segments that are the whole: each against the other is the chi-square of the table.
    table = stats.chi2_contingency([[30, 10], [10, 30]], correction=False)
    assert by_count["p"].to_list() == pytest.approx([table.pvalue] * 2)
    assert 0.25 < by_count["shrunk"][0] < 0.5
    assert all(one.is_known for one in measures_of(rows))


def test_a_segment_has_by_money_only_the_deals_with_money() -> None:
    rows = known(*many(4, 4, region="a", amount=5.0), *many(3, 0, region="a", amount=None))
    told = segments(rows, SECOND, [("region",)]).sort("name").select("name", "won", "n", "value").rows()
    assert told == [(WEIGHTED, 4, 8, 0.5), (WIN_RATE, 7, 11, 7 / 11)]


def test_some_segment_of_many_always_looks_good_and_q_knows() -> None:
    lucky = [
        row
        for n in range(40)
        for row in many(50 + (15 if n == 7 else 0), 50 - (15 if n == 7 else 0), owner_id=str(n))
    ]
    rows = segments(known(*lucky), SECOND, [("owner_id",)]).filter(name=WIN_RATE)
    best = rows.sort("p").row(0, named=True)
    assert best["segment"] == "7" and best["p"] < 0.0035 and best["q"] == pytest.approx(40 * best["p"])


def test_chance_differences_are_shrunk_away() -> None:
    rows = segments(known(*many(51, 49, region="a"), *many(49, 51, region="b")), SECOND, [("region",)])
    assert rows.filter(name=WIN_RATE)["shrunk"].to_list() == pytest.approx([0.5, 0.5])
    test = differences(known(*many(51, 49, region="a"), *many(49, 51, region="b")), SECOND, ("region",))
    assert test is not None and test.p == pytest.approx(stats.chi2.sf(0.08, 1))


def test_the_published_rate_falls_with_every_deal_still_open() -> None:
    lives = {f"w{n}": deal("2026-04-10", region="a", outcome=[("2026-05-20", "won")]) for n in range(3)}
    lives |= {f"o{n}": deal("2026-04-10", region="a") for n in range(9)}
    told = published_win_rates(known_of(ledger(lives), at("2026-06-01"), SETTINGS), SECOND, "region")
    assert told.rows() == [("a", 3, 12, 0.25)]


def test_pairs_have_cells_and_bands_have_thirds() -> None:
    rows = [closed_deal(n % 2 == 0, amount=float(n), industry="x", region="y") for n in range(1, 31)]
    told = segments(known(*rows), SECOND, [("industry", "region"), ("amount_band",)])
    assert told.filter(by="industry x region", name=WIN_RATE)["segment"].to_list() == ["x x y"]
    bands = told.filter(by="amount_band", name=WIN_RATE)
    assert dict(bands.select("segment", "n").iter_rows()) == {"large": 10, "mid": 10, "small": 10}
    assert len(PAIRS) == 10


def test_every_deal_is_in_one_segment_of_each_dimension() -> None:
    rows = known(*many(4, 3, region="a", industry="i"), *many(2, 5), closed_deal(True, amount=None))
    told = segments(rows, SECOND).filter(name=WIN_RATE).group_by("by").agg(pl.col("n", "won").sum())
    assert set(told["n"]) == {15} and set(told["won"]) == {7}


def test_excess_lost_value_by_hand() -> None:
    rows = known(*many(10, 10, region="a", amount=10.0), *many(10, 30, region="b", amount=5.0))
    told = excess_lost_value(rows, SECOND, ("region",))
    by_segment = {row["segment"]: row for row in told.iter_rows(named=True)}
    assert (by_segment["b"]["lost"], by_segment["b"]["closed"]) == (150.0, 200.0)
    assert by_segment["b"]["value"] == pytest.approx(150 - 200 * 250 / 400)
    assert by_segment["a"]["value"] == pytest.approx(-25)
    assert told["segment"].to_list() == ["b", "a"]


@FEW
@given(AMOUNTS)
def test_excess_losses_sum_to_nothing_and_grow_with_the_amounts(deals: list[tuple[bool, float]]) -> None:
    rows = [closed_deal(won, amount=amount, region=str(n % 3)) for n, (won, amount) in enumerate(deals)]
    told = excess_lost_value(known(*rows), SECOND, ("region",))
    whole = sum(amount for _, amount in deals)
    assert told["value"].sum() / whole == pytest.approx(0, abs=1e-9)
    doubled = [row | {"amount": 2 * row["amount"]} for row in rows]
    twice = excess_lost_value(known(*doubled), SECOND, ("region",)).sort("segment")["value"].to_numpy()
    assert twice / whole == pytest.approx(2 * told.sort("segment")["value"].to_numpy() / whole, abs=1e-9)


COHORT = Window("cohort", at("2026-01-01"), at("2026-02-01"))


def test_a_cohort_counts_the_deals_still_open() -> None:
    lives = {f"w{n}": deal("2026-01-10", outcome=[("2026-01-20", "won")]) for n in range(6)}
    lives |= {f"l{n}": deal("2026-01-10", outcome=[("2026-02-09", "lost")]) for n in range(3)}
    lives |= {f"o{n}": deal("2026-01-10", stage="A") for n in range(3)}
    found = known_of(ledger(lives), at("2026-06-01"), SETTINGS)
    days = horizon(found)
    assert days == 30
    told = cohort_win_rate(found, COHORT, days)
    assert (told.value, told.n) == (0.5, 12)
    rows = created(found)
    curve = aalen_johansen(rows["days"].to_numpy(), rows["outcome"].to_numpy())
    assert told.value == pytest.approx(curve.at(days)[0])


def test_a_cohort_that_had_no_time_yet_has_no_rate() -> None:
    rows = known(*many(9, 9, days=100))
    young = Window("young", at("2026-05-01"), at("2026-06-30"))
    assert "no deal was created" in cohort_win_rate(rows, young, 100.0).why
    told = cohort_win_rate(rows, Window("all", at("2025-01-01"), at("2026-06-30")), horizon(rows))
    assert told.value is None and told.n == 18
    assert "take up to 100 days" in told.why and "have had 1" in told.why
    assert (
        "no deal has been closed"
        in cohort_win_rate(
            known_of(ledger({"o": deal("2026-01-10")}), at("2026-06-01"), SETTINGS), COHORT, None
        ).why
    )


def test_ten_late_winners_do_not_stretch_the_horizon_of_a_hundred() -> None:
    rows = known(*many(45, 45, days=20), *many(10, 0, days=300))
    assert horizon(rows) == 20
    assert np.isclose(
        cohort_win_rate(rows, Window("all", at("2025-01-01"), at("2026-05-01")), 20.0).value or 0, 0.45
    )
