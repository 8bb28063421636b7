"""How long deals take, by when they were created; and why the same by when they closed is often no answer.

Deals that closed in a quarter are a choice of deals: the first quarter of a history holds only quick ones,
and one in which nothing new began only slow ones. A cohort of creation has no such gap once it was followed
for long enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.cohorts import horizon, too_young
from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure
from dealwatch.insights.statistics import Curve, Z, kaplan_meier
from dealwatch.insights.windows import YEAR_DAYS, Window
from dealwatch.moments import local_day

FEWEST = 30
_DAY = 86_400_000_000.0
_A_DAY = timedelta(days=1)
_SLACK = 0.5  # of the usual number of new deals; a window with fewer holds mostly old ones

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """The deals created in a quarter: how many, of them open, and how long they take to close.

    mean: days to close, a deal still open for longer than `within` days counting as that; the same `within`
    for all cohorts that are compared. median: by Kaplan and Meier, whatever is still open.
    """

    quarter: Window
    deals: int
    still_open: int
    within: float | None
    mean: Measure
    median: Measure


def by_cohort(known: Known, quarters: Sequence[Window]) -> list[Cohort]:
    """Cycle times of the deals created in each quarter; null where they were not followed for long enough."""
    usual = horizon(known)
    followed = [(known.as_of - quarter.until).total_seconds() / 86_400 for quarter in quarters]
    ripe = [days for days in followed if usual is not None and days >= usual]
    within = min(ripe, default=None)
    return [_cohort(known, quarter, usual, within) for quarter in quarters]


def _cohort(known: Known, quarter: Window, usual: float | None, within: float | None) -> Cohort:
    days, is_closed = _waits(known, quarter.holds("created_at"))
    n, still_open = len(days), int((~is_closed).sum())
    why = _unripe(known, quarter, n, usual)
    if why or within is None:
        nulls = (Measure.null(name, why, n=n, kind="days") for name in ("cycle_mean", "cycle_median"))
        return Cohort(quarter, n, still_open, None, *nulls)
    curve = kaplan_meier(days, is_closed)
    mean, variance = restricted_mean(days, is_closed, within)
    half = Z * float(np.sqrt(variance))
    shown = Measure("cycle_mean", mean, n, low=max(mean - half, 0.0), high=mean + half, kind="days")
    return Cohort(quarter, n, still_open, within, shown, _median(curve, n))


def _unripe(known: Known, quarter: Window, n: int, usual: float | None) -> str:
    if n < FEWEST:
        came = "1 deal was" if n == 1 else f"{n} deals were"
        return f"{came} created in this time; it takes {FEWEST}."
    return too_young(known, quarter, usual)


def restricted_mean(days: Floats, is_closed: NDArray[np.bool_], within: float) -> tuple[float, float]:
    """The mean of min(wait, within) and its variance, where some waits still go on."""
    curve = kaplan_meier(np.minimum(days, within), is_closed & (days <= within))
    times = np.append(curve.times[curve.times < within], within)
    before = np.append(1.0, curve.value[: len(times) - 1])
    area = before * np.diff(np.append(0.0, times))
    beyond = area[::-1].cumsum()[::-1]
    mean = float(area.sum())
    # Greenwood's steps: what each closing takes away of the area that is left after it.
    steps = np.diff(np.append(0.0, _greenwood(curve)))[: len(times) - 1]
    return mean, float((beyond[1:] ** 2 * steps).sum())


def _greenwood(curve: Curve) -> Floats:
    return np.divide(curve.variance, curve.value**2, out=np.zeros_like(curve.value), where=curve.value > 0)


def _median(curve: Curve, n: int) -> Measure:
    middle = curve.reached(0.5)
    if middle is None:
        return Measure.null("cycle_median", "fewer than half of its deals have closed.", n=n, kind="days")
    half = Z * np.sqrt(curve.variance)
    low, high = (curve.times[curve.value + side * half <= 0.5] for side in (-1, 1))
    if not len(high):
        return Measure("cycle_median", middle, n, why="too few deals for an interval.", kind="days")
    return Measure("cycle_median", middle, n, low=float(low[0]), high=float(high[0]), kind="days")


def change_between(before: Cohort, after: Cohort) -> Measure:
    """By which share the mean cycle of one cohort differs from another's: 0.1 is a tenth longer."""
    name = "cycle_change"
    for one in (before, after):
        if one.mean.value is None:
            return Measure.null(name, f"{one.quarter.name}: {one.mean.why}", n=one.deals, kind="ratio")
    return _change(name, before.mean, after.mean)


def change_by_close(known: Known, before: Window, after: Window, cohorts: Sequence[Cohort]) -> Measure:
    """The published comparison: mean cycles of the deals closed in two windows; null where they are a choice.

    cohorts: what the same deals say by creation, which the reason tells beside.
    """
    name = "cycle_change_by_close_date"
    first, second = (
        known.closed.filter(window.holds("closed_at"))["cycle_days"] for window in (before, after)
    )
    n, means = len(first) + len(second), [one.mean.value for one in cohorts if one.mean.value is not None]
    refused = [reason for window in (before, after) if (reason := chosen(known, window))]
    refused += [
        f"{len(days)} deals were closed in {window.name}; it takes {FEWEST}"
        for window, days in ((before, first), (after, second))
        if len(days) < FEWEST
    ]
    if not refused:
        return _change(name, _mean_of("by_close_date", first), _mean_of("by_close_date", second))
    told = f" By creation, cohorts take {min(means):.1f} to {max(means):.1f} days." if means else ""
    return Measure.null(name, f"{_claim(first, second)}{'; '.join(refused)}.{told}", n=n, kind="ratio")


def _claim(first: pl.Series, second: pl.Series) -> str:
    """What is refused, in figures, where there are any."""
    before, after = first.mean(), second.mean()
    if not isinstance(before, float) or not isinstance(after, float) or before <= 0:
        return ""
    return (
        f"{after / before - 1:+.0%} by close date ({before:.1f} to {after:.1f} days) compares different "
        "choices of deals: "
    )


def whole_from(known: Known) -> datetime | None:
    """From when on deals of all usual lengths can have closed; what closed before are the quick ones."""
    begun = pl.concat([known.closed["created_at"], known.open["created_at"]])
    first, usual = begun.min(), horizon(known)
    return first + usual * _A_DAY if isinstance(first, datetime) and usual is not None else None


def chosen(known: Known, window: Window) -> str:
    """Why the deals closed in a window are not those that usually close; empty when nothing says so."""
    begun = pl.concat([known.closed["created_at"], known.open["created_at"]])
    first, usual = begun.min(), horizon(known)
    if not isinstance(first, datetime) or usual is None:
        return f"no deal was closed by the end of {window.name}"
    reach = (window.until - first) / _A_DAY
    day = local_day(first, known.settings)
    if reach <= 0:
        return f"the first deal known began on {day}, after {window.name}"
    if reach - window.days < usual:
        return f"none closed in {window.name} can be older than {reach:.0f} days, the first began on {day}"
    year_before = max(first, window.after - YEAR_DAYS * _A_DAY)
    before = int(begun.is_between(year_before, window.after, closed="right").sum())
    inside = int(begun.is_between(window.after, window.until, closed="right").sum())
    over = (min(known.as_of, window.until) - window.after) / (window.after - year_before)
    if inside < _SLACK * before * over:
        return (
            f"{inside} deals began in {window.name}, where {before * over:.0f} would at the pace"
            " of the year before: most that closed are old"
        )
    return ""


def _mean_of(name: str, cycles: pl.Series) -> Measure:
    days = cycles.to_numpy()
    mean, half = float(days.mean()), Z * float(days.std(ddof=1)) / len(days) ** 0.5
    return Measure(name, mean, len(days), low=max(mean - half, 0.0), high=mean + half, kind="days")


def _change(name: str, before: Measure, after: Measure) -> Measure:
    """The ratio of two independent means less 1, its interval on the scale of logs."""
    assert before.value is not None and after.value is not None
    n = before.n + after.n
    if not before.value or not after.value:
        return Measure.null(name, "deals that close at once have no length to compare.", n=n, kind="ratio")
    ratio = float(np.log(after.value / before.value))
    spread = float(np.hypot(_relative(before), _relative(after)))
    low, high = float(np.expm1(ratio - spread)), float(np.expm1(ratio + spread))
    return Measure(name, float(np.expm1(ratio)), n, low=low, high=high, kind="ratio")


def _relative(mean: Measure) -> float:
    """Half of a mean's interval, in units of itself."""
    assert mean.value and mean.low is not None and mean.high is not None
    return (mean.high - mean.low) / 2 / mean.value


def _waits(known: Known, which: pl.Expr | None = None) -> tuple[Floats, NDArray[np.bool_]]:
    """Days to the closing or so far, and whether it has come, of the deals that are asked for."""
    chosen = pl.lit(True) if which is None else which
    closed, still = known.closed.filter(chosen), known.open.filter(chosen)
    days = np.concatenate([closed["cycle_days"].to_numpy(), still["age_days"].to_numpy()])
    return np.maximum(days, 0.0), np.arange(len(days)) < closed.height
