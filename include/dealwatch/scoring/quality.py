"""How good probabilities turned out to be: ranking, Brier skill and calibration, with intervals by deal.

One deal gives many rows (a row a morning), and those rows agree with each other. Intervals therefore come
from drawing whole deals anew, not rows.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dealwatch.scoring.measures import Errors, Floats, Means, Mornings, Ranks
from dealwatch.scoring.reliability import Bin, bins_of, calibration_error, chance_error, recalibration

RESAMPLES = 400
INTERVAL = (2.5, 97.5)  # percentiles of the resamples: a 95% interval
NEAR_SLOPE = 0.5  # nobody acts otherwise for a slope between 1/1.5 and 1.5 ...
NEAR_BIAS = 0.05  # ... nor for 5 more or fewer lost in 100 than was said
WIDE_SLOPE, WIDE_BIAS = 1.0, 0.2  # an interval this wide, end to end, covers the right value and much else


@dataclass(frozen=True)
class Quality:
    """Quality over rows of deals whose outcome came later; what cannot be known is None, never 0.

    brier_skill compares with the best constant there is, the loss rate of these very rows. lift is the loss
    rate of the riskiest tenth of rows over that of all. morning_auc is the mean of AUCs within one morning.
    slope and intercept are those of `reliability.recalibration`. bias is the loss rate less the mean p: above
    0, more were lost than was said. calibration_error_chance is how large that error gets by chance alone (in
    39 of 40 draws) with probabilities that mean what they say. won counts the deals never lost in any row.
    """

    rows: int
    deals: int
    won: int
    lost: int
    loss_rate: float | None = None
    loss_rate_low: float | None = None
    loss_rate_high: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    average_precision: float | None = None
    average_precision_low: float | None = None
    average_precision_high: float | None = None
    lift: float | None = None
    lift_low: float | None = None
    lift_high: float | None = None
    morning_auc: float | None = None
    morning_auc_low: float | None = None
    morning_auc_high: float | None = None
    brier: float | None = None
    brier_low: float | None = None
    brier_high: float | None = None
    brier_constant: float | None = None
    brier_constant_low: float | None = None
    brier_constant_high: float | None = None
    brier_skill: float | None = None
    brier_skill_low: float | None = None
    brier_skill_high: float | None = None
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    intercept: float | None = None
    intercept_low: float | None = None
    intercept_high: float | None = None
    bias: float | None = None
    bias_low: float | None = None
    bias_high: float | None = None
    calibration_error: float | None = None
    calibration_error_chance: float | None = None
    reliability: tuple[Bin, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"reliability": [asdict(part) for part in self.reliability]}


Fit = Literal["right", "near", "low", "high", "unsure", "unknown"]


@dataclass(frozen=True)
class Calibration:
    """Do probabilities mean what they say: how the slope lies to 1, and the bias to 0.

    right: the interval covers it; near: it does not, but so little is off that nobody acts otherwise; low and
    high: off for certain; unsure: too wide an interval to say; unknown: no such number.
    """

    slope: Fit
    bias: Fit

    @property
    def is_off(self) -> bool:
        """Something is wrong for certain, or cannot be known: a model like this may not be used."""
        return bool({self.slope, self.bias} & {"low", "high", "unknown"})

    @property
    def is_sure(self) -> bool:
        """There is enough to say so either way."""
        return self.is_off or "unsure" not in (self.slope, self.bias)


def calibration(
    found: Quality, *, near_slope: float = NEAR_SLOPE, near_bias: float = NEAR_BIAS
) -> Calibration:
    """Judge slope and bias; a slope alone would pass probabilities that are all too low or all too high."""
    least, most = 1 / (1 + near_slope), 1 + near_slope
    slope = _fit((found.slope, found.slope_low, found.slope_high), 1.0, (least, most), WIDE_SLOPE)
    bias = _fit((found.bias, found.bias_low, found.bias_high), 0.0, (-near_bias, near_bias), WIDE_BIAS)
    return Calibration(slope, bias)


def _fit(
    told: tuple[float | None, float | None, float | None],
    right: float,
    near: tuple[float, float],
    wide: float,
) -> Fit:
    value, low, high = told
    if value is None or low is None or high is None:
        return "unknown"
    if low <= right <= high:
        return "unsure" if high - low > wide else "right"
    if near[0] <= value <= near[1]:
        return "near"
    return "low" if value < right else "high"


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs on the same rows, with intervals from the same draws of deals.

    A positive auc and a negative brier speak for ours. None where there is nothing to compare.
    """

    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    brier: float | None = None
    brier_low: float | None = None
    brier_high: float | None = None


def quality(
    lost: NDArray[Any],
    deals: NDArray[Any],
    ranking: NDArray[Any],
    *,
    p: NDArray[Any] | None,
    seed: int,
    mornings: NDArray[Any] | None = None,
) -> Quality:
    """Quality of `ranking` (higher = riskier) and of the probabilities `p`, over rows tied by `deals`.

    Without `p` there is no Brier score and no calibration; without `mornings` no AUC within them. One
    outcome alone leaves all unknown but the counts.
    """
    outcome = np.asarray(lost, dtype=np.float64)
    names, deal = np.unique(np.asarray(deals), return_inverse=True)
    lost_deals = int((np.bincount(deal, outcome, len(names)) > 0).sum())
    unknown = Quality(len(outcome), len(names), len(names) - lost_deals, lost_deals)
    if len(outcome) == 0 or outcome.min() == outcome.max():
        return unknown
    found: dict[str, Any] = {}
    found |= _with_interval(("loss_rate",), Means(deal, outcome, deals=len(names)), len(names), seed)
    ranks = Ranks(outcome, deal, np.asarray(ranking, dtype=np.float64))
    found |= _with_interval(("auc", "average_precision", "lift"), ranks, len(names), seed)
    if mornings is not None:
        within = Mornings(outcome, deal, np.asarray(ranking, dtype=np.float64), np.asarray(mornings))
        found |= _with_interval(("morning_auc",), within, len(names), seed)
    if p is not None:
        chances = np.asarray(p, dtype=np.float64)
        errors = Errors(outcome, deal, chances, len(names))
        found |= _with_interval(("brier", "brier_constant", "brier_skill"), errors, len(names), seed)
        if line := recalibration(chances, outcome, deal, deals=len(names)):
            found |= _with_interval(("intercept", "slope"), line.redrawn, len(names), seed)
        missed = Means(deal, outcome - chances, deals=len(names))
        found |= _with_interval(("bias",), missed, len(names), seed)
        bins = bins_of(chances, outcome, deal)
        found |= {"reliability": bins, "calibration_error": calibration_error(bins)}
        found["calibration_error_chance"] = chance_error(chances, deal, bins, draws=RESAMPLES, seed=seed)
    return replace(unknown, **found)


def difference(
    lost: NDArray[Any],
    deals: NDArray[Any],
    ours: tuple[NDArray[Any], NDArray[Any] | None],
    theirs: tuple[NDArray[Any], NDArray[Any] | None],
    *,
    seed: int,
) -> Difference:
    """How much better `ours` is than `theirs`, each (ranking, probabilities or None), on identical rows."""
    outcome = np.asarray(lost, dtype=np.float64)
    names, deal = np.unique(np.asarray(deals), return_inverse=True)
    if len(outcome) == 0 or outcome.min() == outcome.max():
        return Difference()
    first, second = (Ranks(outcome, deal, np.asarray(r, dtype=np.float64)) for r, _ in (ours, theirs))
    found = _with_interval(("auc",), lambda t: (first(t)[0] - second(t)[0],), len(names), seed)
    if ours[1] is not None and theirs[1] is not None:
        a, b = (Errors(outcome, deal, np.asarray(p), len(names)) for p in (ours[1], theirs[1]))
        found |= _with_interval(("brier",), lambda t: (a(t)[0] - b(t)[0],), len(names), seed)
    return Difference(**found)


def _with_interval(names: tuple[str, ...], measure: Any, deals: int, seed: int) -> dict[str, float | None]:
    """Each named value of `measure`, and its interval over draws of deals; the same draws for one seed."""
    once = measure(np.ones(deals))
    draws = np.array([measure(times) for times in _draws(deals, seed)])
    found: dict[str, float | None] = {}
    for name, value, drawn in zip(names, once, draws.T, strict=True):
        known = drawn[~np.isnan(drawn)]
        low, high = np.percentile(known, INTERVAL) if len(known) else (np.nan, np.nan)
        found |= {name: _known(value), f"{name}_low": _known(low), f"{name}_high": _known(high)}
    return found


def _draws(deals: int, seed: int) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield np.bincount(generator.integers(deals, size=deals), minlength=deals).astype(np.float64)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
