"""Do probabilities mean what they say? Recalibration line, bins against what happened, and the mean gap.

The line is Cox's (1958): log-odds of the outcome = intercept + slope x log-odds of p. A slope of 1 with an
intercept of 0 is a forecast to be believed; below 1 it was too sure of itself, above 1 too timid.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 10
_EDGE = 1e-6  # a p of 0 or 1 has no log-odds
_STEPS = 50
_Z = 1.959963984540054  # 95%, two-sided


@dataclass(frozen=True)
class Bin:
    """Rows of like p: what was said of them on average (`p`), and the share that came to be (`rate`).

    The interval is Wilson's on the effective number of rows: those of one deal are no independent witnesses.
    """

    low: float
    high: float
    n: int
    deals: int
    p: float
    rate: float
    rate_low: float
    rate_high: float


@dataclass(frozen=True)
class Line:
    """The recalibration line, and what each deal adds to its equations at the solution (a row a deal)."""

    intercept: float
    slope: float
    gradient: Floats  # two columns
    curvature: Floats  # three columns: with the intercept alone, mixed, with the slope alone

    def redrawn(self, times: Floats) -> tuple[float, float]:
        """Intercept and slope with each deal counted `times` times: one Newton step from the solution.

        As good as solving anew to the first order (Moulton and Zeger 1991), and it never runs away.
        """
        (down, up), (a, b, c) = times @ self.gradient, times @ self.curvature
        pivot = a * c - b * b
        if pivot <= 0:
            return np.nan, np.nan
        return self.intercept + (c * down - b * up) / pivot, self.slope + (a * up - b * down) / pivot


def recalibration(p: Floats, outcome: Floats, deal: NDArray[np.intp], *, deals: int) -> Line | None:
    """The line through these rows, or None when there is none: p does not vary, or it parts the outcomes."""
    x = log_odds(p)
    rate = outcome.mean()
    if not 0 < rate < 1 or np.ptp(x) < 1e-9:
        return None
    intercept, slope = float(np.log(rate / (1 - rate))), 0.0
    for _ in range(_STEPS):
        fitted = 1 / (1 + np.exp(-np.clip(intercept + slope * x, -500, 500)))
        missed, spread = outcome - fitted, fitted * (1 - fitted)
        a, b, c = spread.sum(), (spread * x).sum(), (spread * x * x).sum()
        pivot, down, up = a * c - b * b, missed.sum(), (missed * x).sum()
        if pivot <= 1e-12:
            return None
        step = (c * down - b * up) / pivot, (a * up - b * down) / pivot
        intercept, slope = intercept + step[0], slope + step[1]
        if max(abs(step[0]), abs(step[1])) < 1e-8:
            gradient = [np.bincount(deal, part, deals) for part in (missed, missed * x)]
            curvature = [np.bincount(deal, part, deals) for part in (spread, spread * x, spread * x * x)]
            return Line(intercept, slope, np.column_stack(gradient), np.column_stack(curvature))
    return None


def bins_of(p: Floats, outcome: Floats, deal: NDArray[np.intp], *, most: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal count by rising p, so that each rests on as much; equal p are never parted.

    Bins of equal width would leave most of them next to empty where p crowds.
    """
    edges = np.unique(np.quantile(p, np.arange(1, most) / most))
    place = np.searchsorted(edges, p, side="left")
    return tuple(bin_of(p[place == n], outcome[place == n], deal[place == n]) for n in np.unique(place))


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance between what was said and what happened (ECE); chance alone keeps it above 0."""
    return float(np.average([abs(b.p - b.rate) for b in bins], weights=[b.n for b in bins]))


def chance_error(p: Floats, deal: NDArray[np.intp], bins: tuple[Bin, ...], *, draws: int, seed: int) -> float:
    """How large that distance gets by chance (97.5th percentile) when each p is the truth about its deal.

    All rows of a deal end alike, so outcomes are drawn by deal, from its mean p.
    """
    place = np.searchsorted([b.high for b in bins[:-1]], p, side="left")
    rows = np.zeros((int(deal.max()) + 1, len(bins)))
    np.add.at(rows, (deal, place), 1.0)
    mean = np.bincount(deal, p) / rows.sum(axis=1)
    random = np.random.default_rng(seed)
    drawn = [np.abs(((random.random(len(mean)) < mean) - mean) @ rows).sum() for _ in range(draws)]
    return float(np.percentile(drawn, 97.5)) / len(p)


def bin_of(p: Floats, outcome: Floats, deal: NDArray[Any]) -> Bin:
    """One bin of all these rows."""
    n, rate = len(p), float(outcome.mean())
    _, own = np.unique(deal, return_inverse=True)
    missed = np.bincount(own, outcome - rate)
    variance = (missed**2).sum() / n**2 * len(missed) / max(1, len(missed) - 1)
    effective = min(n, rate * (1 - rate) / variance) if variance > 0 else len(missed)
    low, high = wilson(rate, max(1.0, effective))
    return Bin(float(p.min()), float(p.max()), n, len(missed), float(p.mean()), rate, low, high)


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval of a rate seen on `n` independent witnesses."""
    middle = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * float(np.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2)))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def log_odds(p: Floats) -> Floats:
    """Log-odds; 0 and 1 are taken as a millionth away from themselves."""
    safe = np.clip(np.asarray(p, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(safe / (1 - safe)), dtype=np.float64)
