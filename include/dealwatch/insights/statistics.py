"""How sure a figure is: intervals, curves of waits that compete, tests of differences, and shrinkage.

Small estimators in closed form, over whole columns at once. What SciPy has is SciPy's: chi-square and the
correction for many comparisons.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z = float(stats.norm.ppf(0.975))
REPLICATES = 1_000
BLOCKS = 2_000  # of more deals than this, so many blocks of deals are drawn
LEAST_DEALS = 5  # fewer are no sample to draw from
_UNDEFINED = 0.025  # share of replicates that may be undefined before there is no interval
_FEWEST_BLOCKS, _NUMBERS_AT_ONCE = 200, 4_000_000  # of blocks x sums
CENSORED, EVENT, COMPETING = 0, 1, 2


def wilson(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """The 95% interval of a share by Wilson, for each pair; NaN where n is 0."""
    k, of = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = k / of
        middle = (share + Z**2 / (2 * of)) / (1 + Z**2 / of)
        half = Z / (1 + Z**2 / of) * np.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    # Exactly 0 or 1 on paper; rounding must not put the share itself outside.
    return np.minimum(np.maximum(middle - half, 0.0), share), np.maximum(
        np.minimum(middle + half, 1.0), share
    )


def effective(weights: ArrayLike) -> float | None:
    """How many equal weights would tell as much as these: (sum w)^2 / sum w^2; None when all are 0."""
    w = np.asarray(weights, dtype=np.float64)
    squares = float((w**2).sum())
    return float(w.sum()) ** 2 / squares if squares > 0 else None


def bootstrap(
    rows: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    seed: int,
    clusters: Ints | None = None,
    replicates: int = REPLICATES,
) -> Floats:
    """95% intervals of a statistic of sums, from drawing whole deals: (2, statistics); NaN where undefined.

    rows: one row a deal (or several a deal, with `clusters` numbering the deals from 0), one column a sum.
    statistic: from sums (replicates x columns) to values (replicates x statistics, or replicates). What is
        not finite in a replicate is undefined there; undefined in more than a few, it has no interval.
    """
    sums = rows if clusters is None else _added(rows, clusters, int(clusters.max(initial=-1)) + 1)
    if len(sums) > BLOCKS:
        sums = _added(sums, dealt(len(sums), seed), BLOCKS)
    return percentiles(draws(sums, statistic, seed=seed, replicates=replicates))


def dealt(deals: int, seed: int, blocks: int = BLOCKS) -> Ints:
    """The block of each deal: of up to `blocks` deals each is its own, more are dealt to as many by lot.

    Sums of blocks vary as sums of deals do, and drawing 2,000 blocks costs the same for a million deals.
    """
    if deals <= blocks:
        return np.arange(deals)
    return np.random.default_rng(seed).permutation(deals) % blocks


def by_block(
    cell: Ints, values: Sequence[Floats], *, cells: int, seed: int, deal: Ints | None = None
) -> Floats:
    """Sums of each value in each cell, by block of deals: blocks x (cells x values), the values side by side.

    cell: of each row. deal: the number of each row's deal, from 0; without it each row is a deal.
    """
    deal = np.arange(len(cell)) if deal is None else deal
    deals, width = int(deal.max(initial=-1)) + 1, cells * len(values)
    blocks = min(deals, BLOCKS, max(_FEWEST_BLOCKS, _NUMBERS_AT_ONCE // max(width, 1)))
    place = (dealt(deals, seed, blocks)[deal] * cells + cell) * len(values)
    sums = np.zeros(blocks * width)
    for number, value in enumerate(values):
        sums += np.bincount(place + number, weights=value, minlength=len(sums))
    return sums.reshape(blocks, width)


def draws(
    sums: Floats, statistic: Callable[[Floats], Floats], *, seed: int, replicates: int = REPLICATES
) -> Floats:
    """A statistic of as many rows drawn anew each time: replicates x statistics; NaN where undefined."""
    if len(sums) < LEAST_DEALS:
        width = np.asarray(statistic(np.ones((1, sums.shape[1])))).reshape(1, -1).shape[1]
        return np.full((replicates, width), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.asarray(statistic(_times_drawn(len(sums), seed, replicates) @ sums))
    found = found.reshape(replicates, -1)
    return np.where(np.isfinite(found), found, np.nan)


@lru_cache(maxsize=4)
def _times_drawn(rows: int, seed: int, replicates: int) -> Floats:
    """How often each row is drawn: replicates x rows. A review asks for the same ones dozens of times."""
    weights = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=replicates)
    drawn = weights.astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def _added(rows: Floats, groups: Ints, count: int) -> Floats:
    return np.stack([np.bincount(groups, weights=column, minlength=count) for column in rows.T], axis=1)


def percentiles(drawn: Floats) -> Floats:
    """The 95% interval of each statistic of `draws`: (2, statistics)."""
    found = np.full((2, drawn.shape[1]), np.nan)
    enough = (~np.isnan(drawn)).mean(axis=0) >= 1 - _UNDEFINED
    if enough.any():
        found[:, enough] = np.nanpercentile(drawn[:, enough], (2.5, 97.5), axis=0)
    return found


def chance_of(values: ArrayLike, drawn: Floats) -> Floats:
    """The two-sided p-value of each value being 0 in truth, by the spread of its draws; NaN if undefined."""
    told = ~np.isnan(percentiles(drawn)[0])
    p = np.full(drawn.shape[1], np.nan)
    spread = np.nanstd(drawn[:, told], axis=0, ddof=1)
    found = np.asarray(values, dtype=np.float64)[told]
    # Without any spread nothing can be told from chance, unless it is nothing.
    z = np.divide(np.abs(found), spread, out=np.full(found.shape, np.nan), where=spread > 0)
    p[told] = 2 * stats.norm.sf(z)
    return p


@dataclass(frozen=True)
class Curve:
    """A step function of time with its variance: `value` holds from each of `times` to the next.

    start: its value before the first time: 1 of survival, 0 of an incidence.
    """

    times: Floats
    value: Floats
    variance: Floats
    start: float

    def at(self, time: float) -> tuple[float, float]:
        """Value and variance at a time."""
        place = int(np.searchsorted(self.times, time, side="right")) - 1
        return (self.start, 0.0) if place < 0 else (float(self.value[place]), float(self.variance[place]))

    def reached(self, value: float) -> float | None:
        """The first time at which a survival has fallen to `value`, or an incidence has risen to it."""
        is_there = self.value <= value + 1e-12 if self.start else self.value >= value - 1e-12
        return float(self.times[np.argmax(is_there)]) if is_there.any() else None


def kaplan_meier(durations: ArrayLike, is_event: ArrayLike) -> Curve:
    """The chance of lasting beyond each time, with Greenwood's variance; the others are censored."""
    times, events, _, at_risk = _risk_table(
        durations, np.where(np.asarray(is_event, dtype=bool), EVENT, CENSORED)
    )
    survival = np.asarray(np.cumprod(1 - events / at_risk), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        variance = np.where(survival > 0, survival**2 * greenwood, 0.0)
    return Curve(times, survival, variance, 1.0)


def aalen_johansen(durations: ArrayLike, outcome: ArrayLike) -> Curve:
    """The cumulative incidence of EVENT where COMPETING ends the wait too, with the delta method's variance.

    outcome: CENSORED, EVENT or COMPETING of each duration. Who is censored at the instant of an event was
    still at risk of it. The variance is Marubini and Valsecchi's.
    """
    times, events, ends, at_risk = _risk_table(durations, outcome)
    survival = np.concatenate(([1.0], np.cumprod(1 - ends / at_risk)))[:-1]
    incidence = np.cumsum(survival * events / at_risk)
    left = at_risk - ends
    # Where everybody at risk ends, nothing comes after, and the term is 0: F(t) - F(t_i) is.
    hazard = np.divide(ends, at_risk * left, out=np.zeros_like(incidence), where=left > 0)
    spread = np.cumsum(survival**2 * events * (at_risk - events) / at_risk**3)
    mixed = survival * events / at_risk**2
    variance = (
        incidence**2 * np.cumsum(hazard)
        - 2 * incidence * np.cumsum(incidence * hazard)
        + np.cumsum(incidence**2 * hazard)
        + spread
        - 2 * (incidence * np.cumsum(mixed) - np.cumsum(incidence * mixed))
    )
    return Curve(times, incidence, np.maximum(variance, 0.0), 0.0)


def _risk_table(durations: ArrayLike, outcome: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """The times at which something ended, how often by EVENT, how often at all, and how many were at risk."""
    length, how = np.asarray(durations, dtype=np.float64), np.asarray(outcome, dtype=np.int64)
    times, place = np.unique(length, return_inverse=True)
    events = np.bincount(place, weights=how == EVENT, minlength=len(times))
    ends = np.bincount(place, weights=how != CENSORED, minlength=len(times))
    here = np.bincount(place, minlength=len(times))
    at_risk = here[::-1].cumsum()[::-1]
    told = ends > 0
    table = (times, events, ends, at_risk)
    first, second, third, fourth = (np.asarray(column[told], dtype=np.float64) for column in table)
    return first, second, third, fourth


def adjusted(p_values: ArrayLike) -> Floats:
    """Benjamini and Hochberg's q-values of those p-values that are there; NaN stays NaN."""
    p = np.asarray(p_values, dtype=np.float64)
    told = ~np.isnan(p)
    q = np.full(p.shape, np.nan)
    if told.any():
        q[told] = stats.false_discovery_control(p[told], method="bh")
    return q


@dataclass(frozen=True)
class Homogeneity:
    """Could chance alone make groups differ so: Pearson's chi-square, its degrees of freedom and p."""

    chi2: float
    degrees: int
    p: float


def homogeneity(won: ArrayLike, closed: ArrayLike) -> Homogeneity | None:
    """The test that all groups share one win rate; None with fewer than two groups, or one outcome only."""
    k, n = np.asarray(won, dtype=np.float64), np.asarray(closed, dtype=np.float64)
    k, n = k[n > 0], n[n > 0]
    if len(n) < 2 or k.sum() in (0, n.sum()):
        return None
    found = stats.chi2_contingency(np.stack([k, n - k]), correction=False)
    return Homogeneity(float(found.statistic), int(found.dof), float(found.pvalue))


@dataclass(frozen=True)
class Prior:
    """What all groups together say of one more: a beta distribution around `mean`.

    between: the variance of true rates between groups; 0 when chance explains all differences, and then a
        group's own record says nothing.
    weight: a + b, how many deals the prior weighs; infinite without differences.
    """

    mean: float
    between: float
    weight: float

    def rate(self, won: ArrayLike, closed: ArrayLike) -> Floats:
        """(won + a) / (closed + a + b) of each group."""
        k, n = np.asarray(won, dtype=np.float64), np.asarray(closed, dtype=np.float64)
        own = 0.0 if self.weight == inf else n / (n + self.weight)
        plain = np.divide(k, n, out=np.full(n.shape, self.mean), where=n > 0)
        return np.asarray(self.mean + own * (plain - self.mean))


def beta_binomial(won: ArrayLike, closed: ArrayLike) -> Prior | None:
    """The prior by Kleinman's moments; None without closed deals.

    With weights n the moment equation is linear in the intraclass correlation, whose numerator is the
    chi-square of homogeneity less its degrees of freedom: differences no larger than chance give 0.
    """
    k, n = np.asarray(won, dtype=np.float64), np.asarray(closed, dtype=np.float64)
    k, n = k[n > 0], n[n > 0]
    if not len(n):
        return None
    mean = float(k.sum() / n.sum())
    alone = len(n) - 1
    room = float(n.sum() - (n**2).sum() / n.sum()) - alone
    if mean in (0.0, 1.0) or room <= 0:
        return Prior(mean, 0.0, inf)
    chi2 = float(((k - n * mean) ** 2 / (n * mean * (1 - mean))).sum())
    correlation = min(max((chi2 - alone) / room, 0.0), 1.0 - 1e-9)
    weight = 1 / correlation - 1 if correlation > 0 else inf
    return Prior(mean, correlation * mean * (1 - mean), weight)


def gamma_poisson(observed: ArrayLike, expected: ArrayLike) -> float:
    """k of (O + k) / (E + k), the gamma prior's shape by moments; infinite when chance explains all."""
    o, e = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    o, e = o[e > 0], e[e > 0]
    if not len(e):
        return inf
    excess = float(((o - e) ** 2 / e).sum()) - len(e)
    return float(e.sum()) / excess if excess > 0 else inf
