"""What goes with winning, of what was known when a deal began: odds ratios, each held against the others.

This is about which deals are won, not about what to change: a lead source with better odds may bring better
buyers. What happens along the way (stalls, silence, pushes) is judged day by day by the forest, whose shares
stand beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from dealwatch.insights.entry import Design, Term, design, entry_facts
from dealwatch.insights.known import Known
from dealwatch.insights.logistic import Fit, fit
from dealwatch.insights.measure import Measure
from dealwatch.insights.statistics import Z, adjusted

FEWEST = 40  # won, and as many lost
FALSE_SHARE = 0.10  # of what is called a driver
_TOO_FEW = "it takes {0} won and {0} lost deals; there are {1} and {2}."

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Driver:
    """A value's odds of winning against the feature's most common value, all else known at the start equal.

    points: by how many percentage points the average deal's chance to be won differs.
    q: the share of false ones among all drivers at least this clear (Benjamini-Hochberg).
    """

    feature: str
    value: str
    reference: str
    odds_ratio: Measure
    points: Measure
    q: float | None

    @property
    def is_found(self) -> bool:
        return self.q is not None and self.q < FALSE_SHARE


@dataclass(frozen=True)
class Drivers:
    """Every value's odds, the clearest first, and whether all of them together tell anything.

    p: of the likelihood-ratio test against no driver at all; None when there are too few deals, and `why`
    says so. n: the deals they were learned from.
    forest: share of the forest's points by group of facts, largest first; empty without a model.
    """

    drivers: tuple[Driver, ...]
    n: int
    p: float | None
    why: str = ""
    forest: tuple[tuple[str, float], ...] = ()

    @property
    def found(self) -> tuple[Driver, ...]:
        return tuple(driver for driver in self.drivers if driver.is_found)


def drivers(known: Known, *, days: int = 365, forest: Mapping[str, float] | None = None) -> Drivers:
    """The drivers among deals closed in the past `days`; forest: mean absolute points by group of facts."""
    recent = pl.col("closed_at") > pl.lit(known.as_of) - pl.duration(days=days)
    deals = entry_facts(known.closed.filter(recent), known.moves)
    won, lost = int(deals["won"].sum()), int((~deals["won"]).sum())
    shares = _shares(forest or {})
    if min(won, lost) < FEWEST:
        why = _TOO_FEW.format(FEWEST, won, lost)
        return Drivers((), won + lost, None, why, shares)
    made = design(deals)
    n: Floats = np.bincount(made.cell, minlength=len(made.x)).astype(np.float64)
    wins: Floats = np.bincount(made.cell, weights=deals["won"].to_numpy(), minlength=len(made.x)).astype(
        np.float64
    )
    found = fit(made.x, wins, n)
    none = fit(made.x[:, :1], wins, n)
    p = float(chi2.sf(2 * (found.log_likelihood - none.log_likelihood), max(len(made.terms), 1)))
    return Drivers(_told(made, found, n), won + lost, p, forest=shares)


def _told(made: Design, found: Fit, n: Floats) -> tuple[Driver, ...]:
    beta, sd = found.beta[1:], np.sqrt(np.diag(found.covariance)[1:])
    q = adjusted(2 * norm.sf(np.abs(beta) / sd)) if len(beta) else beta
    order = np.lexsort([np.arange(len(beta)), q])
    return tuple(_driver(made, found, n, int(at), float(sd[at]), float(q[at])) for at in order)


def _driver(made: Design, found: Fit, n: Floats, at: int, sd: float, q: float) -> Driver:
    term, beta = made.terms[at], float(found.beta[1 + at])
    if not found.settled:
        why = "won and lost deals are parted by a value, which has no odds."
        ratio = Measure.null("odds_ratio", why, n=term.deals, kind="ratio")
        points = Measure.null("win_points", why, n=term.deals, kind="points")
        return Driver(term.feature, term.value, term.reference, ratio, points, None)
    effects = beta, beta - Z * sd, beta + Z * sd
    odds, low, high = (float(np.exp(effect)) for effect in effects)
    ratio = Measure("odds_ratio", odds, term.deals, low=low, high=high, kind="ratio")
    moved, less, more = (100 * _points(made, term, found.beta, effect, n) for effect in effects)
    points = Measure("win_points", moved, term.deals, low=less, high=more, kind="points")
    return Driver(term.feature, term.value, term.reference, ratio, points, q)


def _points(made: Design, term: Term, beta: Floats, effect: float, n: Floats) -> float:
    """How much likelier the average deal is won with the value than with its reference."""
    x = made.x.copy()
    for number, other in enumerate(made.terms):
        if other.feature == term.feature:
            x[:, 1 + number] = 0
    without = x @ beta
    p = [1 / (1 + np.exp(-(without + part))) for part in (effect, 0.0)]
    return float(((p[0] - p[1]) * n).sum() / n.sum())


def _shares(forest: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    total = sum(forest.values())
    if total <= 0:
        return ()
    return tuple(
        (name, size / total) for name, size in sorted(forest.items(), key=lambda kv: (-kv[1], kv[0]))
    )
