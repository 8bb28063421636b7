"""PSI is judged by how much of it chance explains: by the numbers of deals, and by what past months did."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from dealwatch.scoring.stability import (
    Stability,
    binned,
    false_discovery,
    independent,
    psi,
    stability,
    threshold,
)

START = datetime(2026, 1, 4, 5, tzinfo=UTC)
MORNINGS = 13


def past(values: np.ndarray, deals: np.ndarray | None = None) -> pl.DataFrame:
    """Thirteen mornings four weeks apart: a row of values each; every row a deal of its own unless told."""
    rows = np.arange(values.size).reshape(values.shape) if deals is None else deals
    mornings = [START + timedelta(weeks=4 * n) for n in range(len(values)) for _ in range(values.shape[1])]
    return pl.DataFrame(
        {"as_of": mornings, "deal_id": [f"d{n}" for n in rows.ravel()], "value": values.ravel()},
        schema_overrides={"as_of": pl.Datetime("us", "UTC")},
    )


def compared(random: np.random.Generator, recent: np.ndarray, **options: object) -> Stability:
    found = stability(past(random.normal(size=(MORNINGS, 240))), pl.Series(recent), **options)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(("deals", "bound"), [(100, 0.224), (300, 0.079), (600, 0.043)])
def test_the_bound_goes_by_the_numbers_of_deals(deals: int, bound: float) -> None:
    assert threshold(3000, deals, 10) == pytest.approx(bound, abs=5e-4)
    assert threshold(3000, deals, 10, usual=2.0) == pytest.approx(2 * threshold(3000, deals, 10))


@pytest.mark.parametrize("deals", [100, 300])
def test_without_drift_chance_passes_the_bound_once_in_a_hundred(deals: int) -> None:
    random = np.random.default_rng(5)
    edges = np.quantile(random.normal(size=3000), np.arange(1, 10) / 10)

    def counts(rows: int) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, random.normal(size=rows)), minlength=10).astype(float)

    passed = np.mean([psi(counts(3000), counts(deals)) > threshold(3000, deals, 10) for _ in range(3000)])
    assert 0.004 < passed < 0.02


def test_psi_is_the_sum_over_bins() -> None:
    p, q = np.array([600.0, 400.0]), np.array([400.0, 600.0])
    assert psi(p, q) == pytest.approx(0.4 * np.log(1.5), rel=5e-3)
    assert psi(p, p) == 0.0


def test_a_shift_is_seen_and_no_shift_is_not() -> None:
    random = np.random.default_rng(1)
    same, moved = (compared(random, random.normal(by, size=300)) for by in (0.0, 0.5))
    assert same.p > 0.05 and same.psi < same.threshold
    assert moved.p < 1e-6 and moved.psi > moved.threshold


def test_rows_of_one_deal_do_not_make_more_deals() -> None:
    values = np.random.default_rng(2).normal(size=240)
    recent = pl.Series(np.random.default_rng(3).normal(0.3, 1.0, 120))
    every_month = np.tile(np.arange(240), (MORNINGS, 1))
    repeated = stability(past(np.tile(values, (MORNINGS, 1)), every_month), recent)
    once = stability(past(values.reshape(4, 60)), recent, usual=1.0)
    assert repeated is not None and once is not None
    assert repeated.reference_deals == once.reference_deals == 240
    assert repeated.threshold == pytest.approx(once.threshold)
    assert repeated.psi == pytest.approx(once.psi, rel=0.05)


def test_repeated_deals_are_worth_less_the_more_unevenly_they_repeat() -> None:
    assert independent(pl.Series(["a", "b", "c", "d"])) == 4
    assert independent(pl.Series(["a", "a", "b", "b"])) == 2
    assert independent(pl.Series(["a", "a", "a", "b"])) == pytest.approx(1.6)


def test_what_every_month_does_is_no_drift() -> None:
    random = np.random.default_rng(4)
    of_the_month = random.normal(size=(MORNINGS + 1, 1)) + random.normal(0, 0.2, size=(MORNINGS + 1, 200))
    found = stability(past(of_the_month[:-1]), pl.Series(of_the_month[-1]))
    assert found is not None
    assert found.usual > 10
    assert found.psi < found.threshold


def test_against_the_last_morning_alone_only_its_deals_count() -> None:
    random = np.random.default_rng(6)
    found = compared(random, random.normal(size=300), since="last")
    assert found.reference_deals == 240
    assert compared(random, random.normal(size=300)).reference_deals == 240 * MORNINGS


def test_too_few_months_say_nothing() -> None:
    assert stability(past(np.zeros((3, 50))), pl.Series(np.ones(50))) is None
    assert stability(past(np.zeros((MORNINGS, 50))), pl.Series([], dtype=pl.Float64)) is None


def test_levels_flags_numbers_and_the_unknown_have_bins_of_their_own() -> None:
    levels = pl.Series("v", ["a"] * 99 + ["b"] * 99 + ["rare"] + [None])
    assert binned(levels, 10)(pl.Series(["a", "b", "rare", "new", None])).tolist() == [2, 3, 1, 1, 0]
    flags = pl.Series("v", [True, False, None])
    assert binned(flags, 10)(pl.Series([False, True, None])).tolist() == [2, 3, 0]
    numbers = pl.Series("v", [float(n) for n in range(1, 101)])
    assert binned(numbers, 4)(pl.Series([1.0, 25.0, 26.0, 1e9, -5.0, None])).tolist() == [1, 1, 2, 4, 1, 0]
    assert binned(pl.Series("v", [0.0, 0.0, 0.0, 1.0]), 10)(pl.Series([0.0, 1.0])).tolist() == [1, 2]
    assert binned(pl.Series("v", [None, None], dtype=pl.Float64), 10)(pl.Series([None, 2.0])).tolist() == [
        0,
        1,
    ]


def test_fewer_deals_have_fewer_bins() -> None:
    random = np.random.default_rng(7)
    few = compared(random, random.normal(size=30))
    assert few.threshold == pytest.approx(threshold(few.reference_deals, 30, 3, usual=few.usual))


def test_false_discoveries_are_controlled_over_all_columns() -> None:
    q = false_discovery([0.005, 0.009, 0.02, 0.05, 0.9])
    assert q.tolist() == pytest.approx([0.0225, 0.0225, 1 / 30, 0.0625, 0.9])
    assert false_discovery([]).tolist() == []
    assert false_discovery([0.02] * 4).tolist() == pytest.approx([0.02] * 4)
