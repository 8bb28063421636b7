"""How likely an open deal of some age is won, now or within a span of days, by what deals like it did.

Won and lost compete, so the curve of wins is Aalen and Johansen's: with F its height and S the share of deals
still open at an age t, a deal that got to t is won later with the chance (F(inf) - F(t)) / S(t).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.known import Known
from dealwatch.insights.statistics import CENSORED, COMPETING, EVENT, Curve, aalen_johansen, kaplan_meier

OWN_CURVE = 50  # closed deals of a segment before it has a curve of its own
_LEAST = 10  # deals that ended later; beyond the age that has fewer, the curve tells nothing

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WinCurve:
    """The wins and the survival of some deals; `last`: the age up to which enough of them ended later."""

    wins: Curve
    alive: Curve
    last: float

    @classmethod
    def of(cls, days: Floats, how: NDArray[np.int64]) -> "WinCurve":
        """The curve of waits; how: CENSORED, EVENT (won) or COMPETING (lost)."""
        ended = days[how != CENSORED]
        last = float(np.partition(ended, -_LEAST)[-_LEAST]) if len(ended) >= _LEAST else 0.0
        return cls(aalen_johansen(days, how), kaplan_meier(days, how != CENSORED), last)

    def between(self, ages: Floats, after: float, until: float) -> Floats:
        """The chance at each age to be won more than `after` and at most `until` days from now."""
        # Just before the age at which the last ones that count began to end, so that somebody is at risk.
        known = np.minimum(ages, np.nextafter(self.last, -1.0))
        wins = _heights(self.wins, known + until) - _heights(self.wins, known + after)
        return _chances(wins, _heights(self.alive, known))

    def wins_of_newcomers(self, days: float) -> float:
        """Deal-days won: with one deal beginning a day, how many are won within the next so many days."""
        jumps = np.diff(self.wins.value, prepend=0.0)
        return float((jumps * np.maximum(days - self.wins.times, 0.0)).sum())


@dataclass(frozen=True)
class WinCurves:
    """Everyone's curve and those of segments with enough closed deals; of: each open deal's, or -1."""

    everyone: WinCurve
    own: tuple[WinCurve, ...]
    of: NDArray[np.int64]
    ages: Floats

    def ever(self) -> Floats:
        """The chance of each open deal to be won in the end, as far as known; NaN where nothing has ended."""
        return self.between(0.0, np.inf)

    def between(self, after: float, until: float) -> Floats:
        """The chance of each open deal to be won more than `after` and at most `until` days from now."""
        found = self.everyone.between(self.ages, after, until)
        for number, curve in enumerate(self.own):
            mine = self.of == number
            found[mine] = curve.between(self.ages[mine], after, until)
        return found


def win_curves(known: Known) -> WinCurves | None:
    """The curves of everyone and of each segment of `pipeline.segment_by`; None without a closed deal."""
    if known.closed.is_empty():
        return None
    columns = list(known.settings.pipeline.segment_by)
    days, how = waits(known)
    everyone = WinCurve.of(days, how)
    ages = np.maximum(known.open["age_days"].to_numpy(), 0.0)
    if not columns:
        return WinCurves(everyone, (), np.full(len(ages), -1, dtype=np.int64), ages)
    segment = _segments(known, columns)
    closed = known.closed.height
    big = np.flatnonzero(np.bincount(segment[:closed]) >= OWN_CURVE)
    own = tuple(WinCurve.of(days[segment == number], how[segment == number]) for number in big)
    place = np.full(int(segment.max()) + 1, -1, dtype=np.int64)
    place[big] = np.arange(len(big))
    return WinCurves(everyone, own, place[segment[closed:]], ages)


def waits(known: Known) -> tuple[Floats, NDArray[np.int64]]:
    """Days to the closing or so far, of closed deals and then of open ones; and how each ended."""
    days = np.concatenate([known.closed["cycle_days"].to_numpy(), known.open["age_days"].to_numpy()])
    how = np.zeros(len(days), dtype=np.int64)
    how[: known.closed.height] = np.where(known.closed["won"].to_numpy(), EVENT, COMPETING)
    return np.maximum(days, 0.0), how


def _segments(known: Known, columns: Sequence[str]) -> NDArray[np.int64]:
    """A number for each combination of values, of closed deals and then of open ones."""
    words = pl.col(columns).cast(pl.String).fill_null("")
    both = pl.concat([known.closed.select(words), known.open.select(words)])
    named = both.unique().sort(columns).with_row_index("segment")
    numbers = both.join(named, on=columns, how="left", maintain_order="left")["segment"]
    return np.asarray(numbers.to_numpy(), dtype=np.int64)


def _heights(curve: Curve, at: Floats) -> Floats:
    """The curve at each of many times."""
    place = np.searchsorted(curve.times, at, side="right")
    return np.append(curve.start, curve.value)[place]


def _chances(wins: Floats, among: Floats) -> Floats:
    found: Floats = np.divide(wins, among, out=np.full(len(wins), np.nan), where=among > 0)
    return np.clip(found, 0.0, 1.0)
