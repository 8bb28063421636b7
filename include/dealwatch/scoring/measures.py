"""What is measured of rows when each deal counts so many times: a resample is a few passes over arrays.

Each measure takes its rows once and is then called with how often each deal was drawn.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TOP = 0.1  # share of rows, riskiest first, whose loss rate is the lift's


class Ranks:
    """AUC, average precision and lift, with each deal counted `times` times.

    Rows stand in order of rank, so that each resample is a few passes over arrays.
    """

    def __init__(self, outcome: Floats, deal: NDArray[np.intp], ranking: Floats) -> None:
        order = np.argsort(ranking, kind="stable")
        self.outcome, self.deal = outcome[order], deal[order]
        self.ties = np.flatnonzero(np.r_[True, np.diff(ranking[order]) > 0])

    def __call__(self, times: Floats) -> tuple[float, float, float]:
        weight = times[self.deal]
        lost = np.add.reduceat(weight * self.outcome, self.ties)
        rows = np.add.reduceat(weight, self.ties)
        won = rows - lost
        pairs = lost.sum() * won.sum()
        if pairs == 0:
            return (np.nan,) * 3
        auc = (lost * (np.cumsum(won) - won / 2)).sum() / pairs
        caught, seen = np.cumsum(lost[::-1]), np.cumsum(rows[::-1])
        precise = np.divide(caught, seen, out=np.zeros_like(caught), where=seen > 0)
        top = TOP * seen[-1]  # of ties at its edge, their share
        lift = np.interp(top, np.r_[0, seen], np.r_[0, caught]) / (TOP * caught[-1])
        return float(auc), float((lost[::-1] * precise).sum() / caught[-1]), float(lift)


class Mornings:
    """The mean over mornings of the AUC among that morning's rows; mornings of one outcome have none."""

    def __init__(
        self, outcome: Floats, deal: NDArray[np.intp], ranking: Floats, mornings: NDArray[Any]
    ) -> None:
        _, morning = np.unique(mornings, return_inverse=True)
        order = np.lexsort((ranking, morning))
        self.outcome, self.deal = outcome[order], deal[order]
        new_morning = np.r_[True, np.diff(morning[order]) > 0]
        self.ties = np.flatnonzero(new_morning | np.r_[True, np.diff(ranking[order]) > 0])
        self.starts = np.flatnonzero(new_morning[self.ties])
        self.lengths = np.diff(np.r_[self.starts, len(self.ties)])

    def __call__(self, times: Floats) -> tuple[float]:
        weight = times[self.deal]
        lost = np.add.reduceat(weight * self.outcome, self.ties)
        won = np.add.reduceat(weight * (1 - self.outcome), self.ties)
        before = np.cumsum(won) - won
        before -= np.repeat(before[self.starts], self.lengths)
        right = np.add.reduceat(lost * (before + won / 2), self.starts)
        pairs = np.add.reduceat(lost, self.starts) * np.add.reduceat(won, self.starts)
        both = pairs > 0
        return (float((right[both] / pairs[both]).mean()) if both.any() else np.nan,)


class Means:
    """The mean over rows of a value."""

    def __init__(self, deal: NDArray[np.intp], value: Floats, *, deals: int) -> None:
        self.sums = np.column_stack([np.bincount(deal, value, deals), np.bincount(deal, minlength=deals)])

    def __call__(self, times: Floats) -> tuple[float]:
        total, rows = times @ self.sums
        return (float(total / rows),)


class Errors:
    """Brier score, the best constant's and the skill, from sums by deal."""

    def __init__(self, outcome: Floats, deal: NDArray[np.intp], p: Floats, deals: int) -> None:
        parts = (np.ones_like(outcome), outcome, (p - outcome) ** 2)
        self.sums = np.column_stack([np.bincount(deal, part, deals) for part in parts])

    def __call__(self, times: Floats) -> tuple[float, float, float]:
        rows, lost, error = times @ self.sums
        rate = lost / rows
        brier, constant = error / rows, rate * (1 - rate)
        return float(brier), float(constant), float(1 - brier / constant) if constant > 0 else np.nan
