"""Whether a column of the open deals looks as it did: PSI, judged by how much of it chance explains.

PSI sums (q - p) ln(q / p) over bins. The usual "0.1 is a shift" is no constant: without drift PSI is about
(1/n + 1/m) times chi-squared with one degree less than there are bins, so a hundred deals pass 0.1 two times
in five. A bound here goes by the numbers of deals, and by how much past mornings differed among themselves:
facts shared by many deals (an owner's win rate) and facts of the calendar move each month without drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]
BINS = 10
DEALS_A_BIN = 10  # of the recent deals; with fewer the chi-squared would not hold
CHANCE = 0.01  # how often chance alone may pass a bound
PAST_MORNINGS = 4  # fewer cannot say how much a column moves from month to month
_RARE = 0.01  # levels below this share of the reference are taken together
_NOTHING = 0.5  # added to each bin, so that an empty one has a logarithm


@dataclass(frozen=True)
class Stability:
    """One column compared: its PSI, the bound that chance passes once in a hundred, and its p-value.

    usual: how many times more than independent deals the past mornings differed among themselves; at least 1.
    deals: recent deals; reference_deals: what the reference is worth in independent deals.
    """

    psi: float
    threshold: float
    p: float
    usual: float
    deals: int
    reference_deals: float


def threshold(reference: float, recent: float, bins: int, *, usual: float = 1.0) -> float:
    """The PSI that `recent` against `reference` deals pass by chance in one of a hundred comparisons."""
    return float(usual * (1 / reference + 1 / recent) * chi2.ppf(1 - CHANCE, max(bins - 1, 1)))


def psi(first: Floats, second: Floats) -> float:
    """The population stability index of two rows of counts over the same bins."""
    p, q = ((counts + _NOTHING) / (counts + _NOTHING).sum() for counts in (first, second))
    return float(((q - p) * np.log(q / p)).sum())


def stability(
    past: pl.DataFrame,
    recent: pl.Series,
    *,
    since: Literal["year", "last"] = "year",
    usual: float | None = None,
) -> Stability | None:
    """Compare recent deals, one row each, with past mornings' (as_of, deal_id, value; a deal may repeat).

    since: "year" compares with all past mornings, "last" with the last one alone, and takes from the others
    only how much mornings differ. usual: that, when it is known. None without deals, and where fewer than
    PAST_MORNINGS mornings cannot say what is usual.
    """
    mornings = past["as_of"].n_unique()
    if past.is_empty() or recent.is_empty() or (usual is None and mornings < PAST_MORNINGS):
        return None
    most = int(np.clip(recent.len() // DEALS_A_BIN, 2, BINS))
    place = binned(past["value"], most)
    codes, row = place(past["value"]), past["as_of"].rank("dense").to_numpy().astype(np.int64) - 1
    now = place(recent)
    width = int(max(codes.max(), now.max())) + 1
    table = np.zeros((mornings, width))
    np.add.at(table, (row, codes), 1.0)
    counts = np.bincount(now, minlength=width).astype(np.float64)
    kept = (table.sum(axis=0) + counts) > 0
    table, counts = table[:, kept], counts[kept]
    share = independent(past["deal_id"]) / past.height
    if since == "year":
        before, deals, others = table.sum(axis=0), share * past.height, table
    else:
        before, deals, others = table[-1], float(table[-1].sum()), table[:-1]
    usual = _usual(others, share) if usual is None else usual
    size, bins = counts.sum(), len(counts)
    found = psi(before, counts)
    scaled = found / (usual * (1 / deals + 1 / size))
    return Stability(
        psi=found,
        threshold=threshold(deals, size, bins, usual=usual),
        p=float(chi2.sf(scaled, bins - 1)) if bins > 1 else 1.0,
        usual=usual,
        deals=int(size),
        reference_deals=deals,
    )


def independent(deals: pl.Series) -> float:
    """What rows of repeated deals are worth in deals seen once, were a deal's rows all alike (Kish)."""
    times = deals.value_counts()["count"].to_numpy().astype(np.float64)
    return float(times.sum() ** 2 / (times**2).sum())


def binned(reference: pl.Series, most: int) -> Any:
    """A function from values to bins 0, 1, ...: at most `most` bins of numbers, levels of anything else.

    Unknown values have the first bin. Numbers are cut at the reference's quantiles; levels rare or absent in
    the reference share a bin.
    """
    known = reference.drop_nulls()
    if reference.dtype.is_numeric():
        numbers = known.drop_nans().cast(pl.Float64).to_numpy()
        shares = np.arange(1, most) / most
        edges = np.unique(np.quantile(numbers, shares, method="inverted_cdf")) if len(numbers) else numbers
        return lambda values: _of_numbers(values, edges[edges < numbers.max()] if len(edges) else edges)
    tally = known.cast(pl.String).value_counts().filter(pl.col("count") >= _RARE * max(len(known), 1))
    levels = {name: n + 2 for n, name in enumerate(tally[known.name].sort())}
    return lambda values: np.array(
        [0 if value is None else levels.get(value, 1) for value in values.cast(pl.String)], dtype=np.int64
    )


def _of_numbers(values: pl.Series, edges: Floats) -> NDArray[np.int64]:
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.where(np.isnan(numbers), 0, 1 + np.searchsorted(edges, numbers, side="left")).astype(np.int64)


def _usual(table: Floats, share: float) -> float:
    """How far each past morning stood from the others, as a multiple of what independent deals would give."""
    if table.shape[1] < 2:
        return 1.0
    whole = table.sum(axis=0)
    ratios = [
        psi(whole - counts, counts)
        / ((1 / (share * (whole - counts).sum()) + 1 / counts.sum()) * (table.shape[1] - 1))
        for counts in table
    ]
    return float(max(1.0, np.mean(ratios)))


def false_discovery(p: Sequence[float]) -> Floats:
    """Benjamini-Hochberg: for each p-value the least share of false findings at which it counts as one."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")[::-1]
    ranks = np.arange(len(values), 0, -1)
    found = np.empty(len(values))
    found[order] = np.minimum.accumulate(np.minimum(1.0, values[order] * len(values) / ranks))
    return found
