"""Reps and win drivers: what goes with winning, told apart from chance, against made-up deals."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression

from dealwatch.insights.drivers import drivers
from dealwatch.insights.entry import design, entry_facts
from dealwatch.insights.known import Known
from dealwatch.insights.logistic import chances, fit
from dealwatch.insights.reps import NO_EVIDENCE, expected, reps
from dealwatch.insights.windows import last_days
from ledger_rows import at
from review_rows import UTC_SETTINGS, ended, known_at

NOW = "2026-01-01"
YEAR = last_days(at(NOW), UTC_SETTINGS)


def made(deals: int, *, seed: int, weak_rep: float = 0.0, weak_source: float = 0.0, team: int = 12) -> Known:
    """Closed deals of reps and sources; one rep and one source take so much off a chance of one half."""
    rng, known = np.random.default_rng(seed), known_at(NOW, [])
    rep = rng.integers(team, size=deals)
    source = rng.choice(["Inbound", "Outbound", "Partner"], p=[0.4, 0.3, 0.3], size=deals)
    closed = pl.DataFrame(
        {
            "deal_id": [f"d{n:05}" for n in range(deals)],
            "won": rng.random(deals) < 0.5 - weak_rep * (rep == 0) - weak_source * (source == "Outbound"),
            "amount": rng.integers(100, 1000, size=deals).astype(np.float64),
            "owner_id": [f"rep{n:02}" for n in rep],
            "lead_source": source,
            "cycle_days": 90.0,
        }
    ).with_columns(created_at=at("2025-06-01"), closed_at=at("2025-09-01"))
    empty = known.closed.schema
    told = [pl.col(name) if name in closed.columns else pl.lit(None).alias(name) for name in empty]
    return replace(known, closed=closed.select(told).cast(dict(empty)))


NULL, WEAK = made(2400, seed=4), made(2400, seed=4, weak_rep=0.3)


def test_alike_reps_have_no_index_and_the_reason_says_so() -> None:
    found = reps(NULL, YEAR)
    assert not found.differ and len(found.reps) == 12
    assert {one.index.why for one in found.reps} == {NO_EVIDENCE}
    assert all(one.index.value is None for one in found.reps)
    assert (
        found.chance_gap.low is not None and found.raw_gap is not None and found.chance_gap.high is not None
    )
    assert found.chance_gap.low < found.raw_gap < found.chance_gap.high  # as large as chance makes it
    assert found.chance_p is not None and found.chance_p > 0.05
    assert found.gap.value is not None and found.gap.value < found.raw_gap / 2


def test_a_weak_rep_is_found_and_nobody_else() -> None:
    found = reps(WEAK, YEAR)
    assert found.differ and found.chance_p is not None and found.chance_p < 0.01
    below = [one.owner_id for one in found.reps if one.index.high is not None and one.index.high < 100]
    assert below == ["rep00"]
    weak = found.reps[0]
    assert weak.index.value == pytest.approx(40, abs=15)  # 20% won where 50% were to be expected
    assert weak.won / weak.closed < (weak.rate.value or 0) < 0.5  # drawn to everyone's


def test_what_a_rep_is_given_is_not_held_against_them() -> None:
    """A rep with only weak leads wins less, and no less than anybody would of these."""
    rng = np.random.default_rng(2)
    lives = []
    for n in range(3000):
        rep = n % 10
        source = "Outbound" if rep == 0 or rng.random() < 0.3 else "Inbound"
        won = bool(rng.random() < (0.25 if source == "Outbound" else 0.6))
        lives.append(ended("2025-06-01", "2025-09-01", won=won, owner_id=f"rep{rep}", lead_source=source))
    found = reps(known_at(NOW, lives), YEAR)
    burdened = found.reps[0]
    assert burdened.expected == pytest.approx(75, abs=8) and burdened.won / burdened.closed < 0.35
    assert not found.differ


def test_expected_wins_come_from_a_fit_without_the_rep() -> None:
    found, facts = reps(WEAK, YEAR), entry_facts(WEAK.closed, WEAK.moves)
    others = facts.filter(pl.col("owner_id").cast(pl.String) != "rep00")
    theirs = facts.filter(pl.col("owner_id").cast(pl.String) == "rep00")
    both = design(facts)
    is_other = (facts["owner_id"].cast(pl.String) != "rep00").to_numpy()
    x = both.x[both.cell]
    plain = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-10).fit(
        x[is_other][:, 1:], others["won"].to_numpy()
    )
    wins = plain.predict_proba(x[~is_other][:, 1:])[:, 1].sum()
    assert found.reps[0].closed == theirs.height
    assert found.reps[0].expected == pytest.approx(wins, rel=1e-4)


def test_all_that_is_said_of_reps_is_for_managers() -> None:
    assert reps(WEAK, YEAR).audience == "managers" == reps(known_at(NOW, []), YEAR).audience


def test_few_deals_or_reps_make_no_figures() -> None:
    few = reps(made(100, seed=1), YEAR)  # about eight deals each
    assert few.reps == () and few.variance.why == "0 reps have 30 closed deals; it takes two."
    assert reps(known_at(NOW, []), YEAR).gap.why == "no deal was closed in this time"


def test_chance_passes_for_differences_as_often_as_it_says() -> None:
    told = []
    for seed in range(100):
        known = made(600, seed=seed, team=8)
        facts = entry_facts(known.closed, known.moves)
        told.append(expected(facts, sorted(set(facts["owner_id"].cast(pl.String)))).p)
    assert sum(p < 0.05 for p in told) <= 11 and 35 <= sum(p < 0.5 for p in told) <= 65


def test_without_other_facts_the_test_is_pearsons_chi_square() -> None:
    known = WEAK.closed.with_columns(lead_source=None, amount=None).cast(dict(WEAK.closed.schema))
    facts = entry_facts(known, WEAK.moves)
    counts = (
        facts.group_by(pl.col("owner_id").cast(pl.String))
        .agg(pl.col("won").sum(), n=pl.len())
        .sort("owner_id")
    )
    table = np.stack([counts["won"], counts["n"] - counts["won"]])
    pearson = stats.chi2_contingency(table, correction=False).pvalue
    assert expected(facts, counts["owner_id"].to_list()).p == pytest.approx(pearson, rel=1e-3)


def test_a_variance_that_chance_makes_is_no_evidence() -> None:
    found = [reps(made(600, seed=seed, team=8), YEAR) for seed in range(12)]
    doubtful = [one for one in found if one.variance.value and one.p is not None and one.p >= 0.05]
    assert doubtful and {rep.index.value for one in doubtful for rep in one.reps} == {None}


@pytest.mark.parametrize("world", [NULL, WEAK, made(2400, seed=9, weak_source=0.25)])
def test_the_regression_is_that_of_statsmodels(world: Known) -> None:
    sm = pytest.importorskip("statsmodels.api", reason="statsmodels is a tool of development")
    facts = entry_facts(world.closed, world.moves)
    cells = design(facts)
    n = np.bincount(cells.cell).astype(np.float64)
    won = np.bincount(cells.cell, weights=facts["won"].to_numpy()).astype(np.float64)
    ours = fit(cells.x, won, n)
    theirs = sm.Logit(facts["won"].to_numpy().astype(float), cells.x[cells.cell]).fit(disp=0)
    assert ours.settled
    assert ours.beta == pytest.approx(theirs.params, abs=1e-6)
    assert np.sqrt(np.diag(ours.covariance)) == pytest.approx(theirs.bse, rel=1e-5)
    assert ours.log_likelihood == pytest.approx(theirs.llf, rel=1e-9)


def test_a_value_that_parts_won_from_lost_has_no_odds() -> None:
    lives = [
        ended("2025-06-01", "2025-09-01", won=region == "EMEA", region=region)
        for region in ("EMEA", "APAC")
        for _ in range(60)
    ]
    found = drivers(known_at(NOW, lives))
    assert [one.odds_ratio.value for one in found.drivers] == [None]
    assert found.drivers[0].odds_ratio.why == "won and lost deals are parted by a value, which has no odds."


def test_a_weak_source_is_the_only_driver_found() -> None:
    found = drivers(made(2400, seed=9, weak_source=0.25))
    assert [one.value for one in found.found][:1] == ["Outbound"]
    first = found.drivers[0]
    assert (first.feature, first.is_found) == ("lead_source", True)
    assert first.odds_ratio.low is not None and first.odds_ratio.high is not None
    assert first.odds_ratio.low < (0.25 / 0.75) / 1 < first.odds_ratio.high
    assert first.points.value == pytest.approx(-25, abs=6)
    assert found.p is not None and found.p < 1e-6


def test_without_signal_no_driver_is_found() -> None:
    found = drivers(NULL)
    assert found.found == () and found.p is not None and found.p > 0.05 and len(found.drivers) >= 4


def test_few_deals_have_no_drivers_and_say_how_many_it_takes() -> None:
    found = drivers(made(60, seed=1))
    assert (
        found.drivers == () and found.p is None and found.why.startswith("it takes 40 won and 40 lost deals;")
    )


def test_a_driver_is_made_of_what_was_known_at_the_start() -> None:
    """An amount raised for deals about to be won is no driver: bands are of what a deal began with."""
    lives = [
        ended(
            "2025-06-01",
            "2025-09-01",
            won=n % 2 == 0,
            amount=[("2025-06-01", str(100 + n % 30)), ("2025-08-31", "9000" if n % 2 == 0 else "1")],
        )
        for n in range(300)
    ]
    known = known_at(NOW, lives)
    assert set(known.closed["amount"]) == {9000.0, 1.0}
    bands = entry_facts(known.closed, known.moves).group_by("amount_band", "won").len()
    assert bands.height == 6 and bands["len"].min() == bands["len"].max() == 50
    found = drivers(known)
    assert found.found == () and all(one.odds_ratio.value is not None for one in found.drivers)


def test_rare_values_are_one_and_what_is_not_told_is_a_value() -> None:
    lives = [ended("2025-06-01", "2025-09-01", won=True, region="EMEA") for _ in range(40)]
    lives += [ended("2025-06-01", "2025-09-01", won=True, region=f"R{n}") for n in range(5)]
    lives += [ended("2025-06-01", "2025-09-01", won=True) for _ in range(31)]
    facts = entry_facts(*(getattr(known_at(NOW, lives), name) for name in ("closed", "moves")))
    assert dict(facts.group_by("region").len().iter_rows()) == {"EMEA": 40, "(other)": 5, "(none)": 31}


def test_the_forests_shares_stand_beside_and_sum_to_one() -> None:
    found = drivers(NULL, forest={"stage": 3.0, "owner": 1.0, "money": 0.0})
    assert found.forest == (("stage", 0.75), ("owner", 0.25), ("money", 0.0))
    assert drivers(NULL).forest == ()


@given(st.floats(0.01, 1e6))
@settings(max_examples=5, deadline=None)
def test_currency_changes_no_band(scale: float) -> None:
    scaled = NULL.closed.with_columns(pl.col("amount") * scale)
    none = NULL.moves.clear()
    assert entry_facts(scaled, none)["amount_band"].equals(entry_facts(NULL.closed, none)["amount_band"])


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    x = np.column_stack([np.ones(4), [0, 1, 0, 1], [0, 0, 1, 1]])
    won, n = np.array([3.0, 5, 2, 9]), np.array([10.0, 11, 12, 13])
    cold = fit(x, won, n)
    assert fit(x, won, n, start=cold.beta + 0.3).beta == pytest.approx(cold.beta, abs=1e-8)
    assert (chances(x, cold.beta) * n).sum() == pytest.approx(won.sum())
