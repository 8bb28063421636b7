"""Each estimator agrees with a library that others wrote, or with what a pencil gives."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import AalenJohansenFitter, KaplanMeierFitter
from scipy import stats

from dealwatch.insights.measure import Measure, measured, measures_of
from dealwatch.insights.statistics import (
    BLOCKS,
    Floats,
    Prior,
    aalen_johansen,
    adjusted,
    beta_binomial,
    bootstrap,
    effective,
    gamma_poisson,
    homogeneity,
    kaplan_meier,
    wilson,
)

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def ratio(sums: Floats) -> Floats:
    return np.asarray(sums[:, 0] / sums[:, 1])


@given(COUNTS)
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    won, closed = counts
    low, high = wilson([won], [closed])
    theirs = stats.binomtest(won, closed).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert low[0] <= won / closed <= high[0]


def test_no_deals_have_no_interval() -> None:
    assert np.isnan(wilson([0], [0])).all()


def test_equal_weights_count_each_and_one_large_one_counts_alone() -> None:
    assert effective([3.0, 3.0, 3.0]) == pytest.approx(3)
    assert effective([1e9, 1.0, 1.0]) == pytest.approx(1, abs=1e-6)
    assert effective([0.0]) is None


def waits(count: int, seed: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    return random.choice(np.arange(1, 40), count).astype(float), random.integers(0, 3, count)


def test_kaplan_meier_is_lifelines() -> None:
    length, outcome = waits(300, 1)
    ours = kaplan_meier(length, outcome == 1)
    theirs = KaplanMeierFitter().fit(length, outcome == 1)
    assert theirs.predict(ours.times).to_numpy() == pytest.approx(ours.value, abs=1e-12)
    bounds = theirs.confidence_interval_survival_function_
    assert len(bounds) >= len(ours.times)
    assert theirs.median_survival_time_ == ours.reached(0.5)


def test_greenwoods_variance_is_the_binomial_one_without_censoring() -> None:
    curve = kaplan_meier([1.0, 2.0, 3.0, 4.0], [True] * 4)
    assert curve.value == pytest.approx([0.75, 0.5, 0.25, 0.0])
    assert curve.variance == pytest.approx([0.75 * 0.25 / 4, 0.25 / 4, 0.75 * 0.25 / 4, 0.0])


def test_aalen_johansen_is_lifelines_with_its_variance() -> None:
    random = np.random.default_rng(2)
    length = random.permutation(500)[:200].astype(float)  # lifelines draws lots among ties
    outcome = random.integers(0, 3, 200)
    ours = aalen_johansen(length, outcome)
    theirs = AalenJohansenFitter(calculate_variance=True).fit(length, outcome, event_of_interest=1)
    curve = theirs.cumulative_density_.iloc[:, 0]
    assert curve.reindex(ours.times).to_numpy() == pytest.approx(ours.value, abs=1e-12)
    assert theirs.variance_.reindex(ours.times).to_numpy()[:-1] == pytest.approx(ours.variance[:-1], rel=1e-6)


@given(st.integers(0, 50))
def test_incidences_of_all_endings_and_survival_sum_to_one(seed: int) -> None:
    length, outcome = waits(60, seed)
    won, lost = aalen_johansen(length, outcome), aalen_johansen(length, np.array([0, 2, 1])[outcome])
    still = kaplan_meier(length, outcome > 0)
    assert won.value + lost.value + still.value == pytest.approx(np.ones(len(won.times)), abs=1e-12)


def test_without_open_deals_the_incidence_ends_at_the_share_won() -> None:
    curve = aalen_johansen([1.0, 2.0, 3.0, 4.0], [1, 2, 2, 1])
    assert curve.at(99) == (0.5, pytest.approx(0.25 / 4))
    assert curve.at(0.5) == (0.0, 0.0)
    assert curve.at(1.0)[0] == 0.25


def test_the_drawn_interval_of_a_mean_is_that_of_its_normal_one() -> None:
    values = np.random.default_rng(3).normal(10, 2, 400)
    low, high = bootstrap(np.stack([values, np.ones(400)], axis=1), ratio, seed=1)[:, 0]
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 6)


def test_a_deal_told_twice_is_drawn_once() -> None:
    values = np.random.default_rng(3).normal(10, 2, 400)
    rows = np.stack([values, np.ones(400)], axis=1)
    once = bootstrap(rows, ratio, seed=1)
    twice = bootstrap(np.concatenate([rows, rows]), ratio, seed=1, clusters=np.tile(np.arange(400), 2))
    assert twice == pytest.approx(once)


def test_blocks_of_many_deals_vary_as_the_deals_do() -> None:
    values = np.random.default_rng(4).exponential(1.0, 50 * BLOCKS)
    rows = np.stack([values, np.ones(len(values))], axis=1)
    low, high = bootstrap(rows, ratio, seed=1)[:, 0]
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(len(values)), rel=0.1)


def test_few_deals_and_undefined_replicates_have_no_interval() -> None:
    assert np.isnan(bootstrap(np.ones((4, 2)), ratio, seed=1)).all()
    one_of_many = np.zeros((50, 2))
    one_of_many[0] = 1
    assert np.isnan(bootstrap(one_of_many, ratio, seed=1)).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_never_fall_and_stay_in_order(p_values: list[float]) -> None:
    q = adjusted(p_values)
    assert (q >= np.array(p_values) - 1e-12).all() and (q <= 1).all()
    order = np.argsort(p_values)
    assert (np.diff(q[order]) >= -1e-12).all()


def test_adjusted_by_hand_and_past_what_is_not_there() -> None:
    q = adjusted([0.01, np.nan, 0.02, 0.5])
    assert q[[0, 2, 3]] == pytest.approx([0.03, 0.03, 0.5])
    assert np.isnan(q[1])


def test_homogeneity_by_hand() -> None:
    found = homogeneity([30, 20, 0], [50, 50, 0])
    assert found is not None
    assert (found.chi2, found.degrees) == (pytest.approx(4.0), 1)
    assert found.p == pytest.approx(0.0455, abs=1e-4)
    assert homogeneity([5], [10]) is None
    assert homogeneity([10, 10], [10, 10]) is None


def test_differences_no_larger_than_chance_are_no_differences() -> None:
    even = beta_binomial([50, 51, 49], [100, 100, 100])
    assert even == Prior(pytest.approx(0.5), 0.0, inf)  # type: ignore[arg-type]
    assert even.rate([99], [100]) == pytest.approx([0.5])


def test_true_differences_are_found_again() -> None:
    random = np.random.default_rng(5)
    rates = random.beta(20, 30, 4000)
    closed = random.integers(20, 300, 4000)
    prior = beta_binomial(random.binomial(closed, rates), closed)
    assert prior is not None
    assert prior.mean == pytest.approx(0.4, abs=0.005)
    assert prior.between == pytest.approx(0.4 * 0.6 / 51, rel=0.1)
    assert prior.weight == pytest.approx(50, rel=0.1)
    assert prior.rate([0, 40], [0, 100]) == pytest.approx([prior.mean, prior.mean], abs=0.01)


def test_kleinmans_numerator_is_the_chi_square_of_homogeneity() -> None:
    won, closed = np.array([12, 30, 41]), np.array([40, 60, 90])
    test, prior = homogeneity(won, closed), beta_binomial(won, closed)
    assert test is not None and prior is not None
    room = closed.sum() - (closed**2).sum() / closed.sum() - 2
    share = max(test.chi2 - 2, 0) / room
    assert prior.between == pytest.approx(share * prior.mean * (1 - prior.mean))


def test_the_gamma_prior_is_found_again() -> None:
    random = np.random.default_rng(6)
    expected = random.uniform(5, 60, 5000)
    observed = random.poisson(expected * random.gamma(8, 1 / 8, 5000))
    assert gamma_poisson(observed, expected) == pytest.approx(8, rel=0.1)
    assert gamma_poisson([10, 20], [10, 20]) == inf
    assert gamma_poisson([], []) == inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": float("nan"), "why": "x"},
        {"value": 0.5, "low": 0.1, "why": "x"},
        {"value": 0.5, "low": 0.6, "high": 0.4},
        {"value": None, "low": 0.1, "high": 0.2},
        {"value": None},
        {"value": 0.5},
    ],
)
def test_a_figure_without_what_makes_it_one_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="wr: "):
        Measure("wr", **{"n": 3, **wrong})  # type: ignore[arg-type]


def test_figures_are_rows_and_back() -> None:
    told = [Measure("wr", 0.5, 10, low=0.2, high=0.8), Measure.null("wr", "none closed")]
    rows = measured(told, segment=["a", "b"])
    assert rows["segment"].to_list() == ["a", "b"]
    assert measures_of(rows) == told
    assert [one.is_known for one in told] == [True, False]
