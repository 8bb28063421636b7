"""What stands behind claims, by hand and against SciPy: chances, columns that go together, mixes held."""

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2_contingency, norm
from scipy.stats.contingency import association

from dealwatch.insights import same_mix, stages
from dealwatch.insights.actions import BETTER, action_of
from dealwatch.insights.chances import p_of, p_of_ratio, p_of_shares
from dealwatch.insights.intake import intake, unsteady
from dealwatch.insights.measure import Measure, share_of
from dealwatch.insights.movement import bridge
from dealwatch.insights.overlap import cramers_v
from dealwatch.insights.rates import segments
from dealwatch.insights.usual_mix import mix_at_usual_rates
from dealwatch.insights.windows import Window
from insight_samples import FIRST, IN_FIRST, IN_SECOND, SECOND, known, many

BOTH = Window("both", FIRST.after, SECOND.until)


def test_a_figures_chance_is_that_of_its_interval() -> None:
    drawn = Measure("x", 3.0, 9, low=3.0 - 1.96, high=3.0 + 1.96, kind="points")
    assert p_of(drawn) == pytest.approx(2 * norm.sf(3.0), rel=1e-3)
    ratio = Measure("x", np.expm1(0.5), 9, low=np.expm1(0.5 - 0.49), high=np.expm1(0.5 + 0.49), kind="ratio")
    assert p_of_ratio(ratio) == pytest.approx(2 * norm.sf(2.0), rel=1e-2)
    shares = [share_of("x", k, n, why="") for k, n in ((30, 100), (45, 110))]
    assert p_of_shares(shares[0], shares[1]) == pytest.approx(
        chi2_contingency([[30, 70], [45, 65]], correction=False).pvalue
    )


def test_what_has_no_interval_has_no_chance() -> None:
    null, exact = Measure.null("x", "nothing"), Measure("x", 5.0, 3, low=5.0, high=5.0, kind="count")
    assert [p_of(null), p_of(exact), p_of_ratio(null), p_of_shares(null, exact)] == [None] * 4


def test_columns_go_together_as_scipy_says_less_what_chance_makes() -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(4, size=3_000)
    second = np.where(rng.random(3_000) < 0.6, first % 3, rng.integers(3, size=3_000))
    rows = pl.DataFrame({"a": first, "b": second, "c": rng.integers(3, size=3_000)}).cast(pl.String)
    counts = np.zeros((4, 3), dtype=int)
    np.add.at(counts, (first, second), 1)
    assert cramers_v(rows, "a", "b") == pytest.approx(association(counts, method="cramer"), abs=0.005)
    assert cramers_v(rows, "a", "c") < 0.03
    assert cramers_v(rows.with_columns(d="a"), "a", "d") == pytest.approx(1.0)
    assert cramers_v(rows.head(1), "a", "b") == 0.0


def test_the_mix_at_usual_rates_is_the_change_of_shares_times_the_years_rates() -> None:
    """x wins 50% and y 20% of the year; y goes from a fifth to a half of what closed."""
    known_ = known(
        *many(40, 40, IN_FIRST, region="x"),
        *many(2, 18, IN_FIRST, region="y"),
        *many(25, 25, IN_SECOND, region="x"),
        *many(12, 38, IN_SECOND, region="y"),
    )
    told = mix_at_usual_rates(
        bridge(known_, FIRST, SECOND, ("region",)), segments(known_, BOTH, (("region",),))
    )
    assert told.value == pytest.approx(100 * 0.3 * (14 / 70 - 65 / 130))
    rates = {"x": 0.5, "y": 0.2}
    spread = sum(
        (sum(w[g] * rates[g] ** 2 for g in rates) - sum(w[g] * rates[g] for g in rates) ** 2) / 100
        for w in ({"x": 0.8, "y": 0.2}, {"x": 0.5, "y": 0.5})
    )
    spread += 0.3**2 * (0.25 / 130 + 0.16 / 70)
    assert told.high is not None and told.value is not None
    assert told.high - told.value == pytest.approx(100 * 1.959964 * spread**0.5, rel=1e-6)


def test_a_mix_of_nothing_has_no_figure() -> None:
    known_ = known(*many(3, 3, IN_SECOND, region="x"))
    told = mix_at_usual_rates(
        bridge(known_, FIRST, SECOND, ("region",)), segments(known_, BOTH, (("region",),))
    )
    assert told.value is None and "no deal was closed" in told.why


def test_a_stage_is_not_blamed_for_a_mix_that_every_stage_loses_more_of() -> None:
    """x loses 1 of 10 that enter A and y 5 of 10, in both times; y goes from few to most."""
    closed: list[dict[str, Any]] = []
    spells: list[tuple[Any, ...]] = []
    for when, tens in ((IN_FIRST, {"x": 9, "y": 1}), (IN_SECOND, {"x": 1, "y": 9})):
        for region, times in tens.items():
            for n in range(10 * times):
                lost = n % 10 < (1 if region == "x" else 5)
                begun = when - timedelta(days=10)
                spells.append((f"{len(closed):06}", "A", begun, when, "lost" if lost else "won", 1))
                closed += many(not lost, lost, when, region=region, last_stage="A")
    known_ = known(*closed, spells=spells)
    (raw,) = stages.hazard_changes(known_, FIRST, SECOND).rows(named=True)
    (held,) = same_mix.hazard_changes(known_, FIRST, SECOND, "region").rows(named=True)
    assert raw["value"] == pytest.approx(100 * (0.46 - 0.14)) and raw["p"] < 0.001
    assert held["value"] == pytest.approx(0.0, abs=1e-9) and held["stage"] == "A"


def test_intake_counts_deals_by_when_they_were_created() -> None:
    known_ = known(
        *many(2, 1, IN_FIRST, region="x"), *many(1, 4, IN_SECOND, region="x", days=5), *many(0, 2, IN_SECOND)
    )
    told = intake(known_, FIRST, SECOND, (("region",),))
    assert told["", ""] == (3, 7)
    assert told["region", "x"] == (3, 5) and told["region", "(unknown)"] == (0, 2)


@pytest.mark.parametrize(
    ("before", "after", "is_steady"),
    [(100, 133, True), (100, 75, True), (100, 134, False), (100, 74, False), (0, 9, False)],
)
def test_an_intake_is_steady_within_a_quarter_less_and_a_third_more(
    before: int, after: int, is_steady: bool
) -> None:
    assert (unsteady(before, after) == "") == is_steady


@pytest.mark.parametrize("kind", sorted(BETTER))
def test_what_moved_to_the_better_is_not_met_with_the_remedy_for_the_worse(kind: str) -> None:
    worse, better = action_of(kind), action_of(kind, is_better=True)
    assert worse[0] and better[0] and worse[0] != better[0] and worse[1] == better[1]


def test_what_has_one_remedy_keeps_it_whichever_way_it_moved() -> None:
    assert action_of("mix_shift", is_better=True) == action_of("mix_shift")
