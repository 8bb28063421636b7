"""How easily chance alone makes a figure, from the figure and its interval; None where it has none."""

from math import log1p

from scipy import stats

from dealwatch.insights.measure import Measure
from dealwatch.insights.statistics import Z, homogeneity


def p_of(measure: Measure) -> float | None:
    """Of a difference that would be 0 in truth, by the width of its interval."""
    return _p(measure.value, measure.low, measure.high)


def p_of_ratio(measure: Measure) -> float | None:
    """Of a ratio less 1 that would be 0 in truth, on the scale of logs."""
    if measure.value is None or measure.low is None or measure.high is None or measure.low <= -1:
        return None
    return _p(log1p(measure.value), log1p(measure.low), log1p(measure.high))


def p_of_shares(first: Measure, second: Measure) -> float | None:
    """Of two shares of separate deals that would be one in truth (Pearson)."""
    if first.value is None or second.value is None:
        return None
    found = homogeneity([first.value * first.n, second.value * second.n], [first.n, second.n])
    return None if found is None else found.p


def _p(value: float | None, low: float | None, high: float | None) -> float | None:
    if value is None or low is None or high is None or not high > low:
        return None
    return float(2 * stats.norm.sf(abs(value) * 2 * Z / (high - low)))
