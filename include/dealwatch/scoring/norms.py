"""How long things normally take, as known at a moment: time to leave a stage forwards, and time to win.

A norm is a quantile of the time to an event among those it will happen to. Deals still open are censored,
and what ends the wait otherwise (a loss, a move back) competes with it: the cumulative incidence of the
event is estimated by Aalen and Johansen, and the norm is the smallest time by which the wanted share of its
last value is reached. Leaving open deals out would show only the quick ones for months; counting losses as
censored would have lost deals still to be won, and wait for them. Losses before the first win (many fall
within minutes) scale the whole curve and leave its quantiles where they are. docs/decisions/0010-norms.md
gives the numbers.

A group with fewer finished events than the settings' `norm_minimum` borrows the norm of the next wider
group: the segment's columns are dropped from the right until enough is known; without enough at all there is
no norm.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.5, 0.8, 0.95)
CENSORED, EVENT, COMPETING = 0, 1, 2
_DAY = 86_400_000_000.0
_ROUNDING = 1e-12  # shares that are equal on paper are equal here

Times = NDArray[np.int64]


def cumulative_incidence(ended: Times, outcome: Times, running: Times) -> tuple[Times, NDArray[np.float64]]:
    """Aalen-Johansen: the times at which something ended and the probability of EVENT by each.

    `ended` holds times of finished waits with their `outcome` (CENSORED, EVENT or COMPETING); `running`
    those of waits still going on. Both ascend. Who is censored at the instant of an event was still at risk
    of it.
    """
    times, first = np.unique(ended[outcome != CENSORED], return_index=True)
    happened = outcome[outcome != CENSORED]
    if not len(times):
        return times, np.empty(0)
    ends = np.diff(np.append(first, len(happened)))
    events = np.add.reduceat((happened == EVENT).astype(np.int64), first)
    gone = np.searchsorted(ended, times, side="left") + np.searchsorted(running, times, side="left")
    at_risk = len(ended) + len(running) - gone
    waiting = np.cumprod(1.0 - ends / at_risk)
    before = np.concatenate(([1.0], waiting[:-1]))
    return times, np.cumsum(before * events / at_risk)


def norms_of(ended: Times, outcome: Times, running: Times) -> tuple[float, ...]:
    """The QUANTILES of the time to EVENT among those it will happen to, in days; needs one EVENT at least."""
    times, incidence = cumulative_incidence(ended, outcome, running)
    wanted = np.array(QUANTILES) * incidence[-1] - _ROUNDING
    return tuple(float(t) / _DAY for t in times[np.searchsorted(incidence, wanted, side="left")])


@dataclass(frozen=True)
class Waits:
    """Waits of one kind, each valid (known in this shape) from a moment on and up to another.

    start: when it began, for running waits; length: how long it took, for finished ones (else -1).
    ending: what ended it, a code whose meaning the caller knows; -1 while running.
    groups: one array of group codes per level, the narrowest first.
    """

    start: Times
    length: Times
    ending: Times
    known_from: Times
    known_to: Times
    groups: tuple[Times, ...]

    def level(self, number: int) -> "_Level":
        """These waits in the order that makes one level's groups contiguous and their times ascend."""
        group = self.groups[number]
        running = self.length < 0
        order = np.lexsort((np.where(running, -self.start, self.length), group, running))
        split = int(np.count_nonzero(~running))
        return _Level(waits=self, group=group, finished=order[:split], running=order[split:])


@dataclass(frozen=True)
class _Level:
    waits: Waits
    group: Times
    finished: Times
    running: Times

    def at(self, moment: int, meaning: Times) -> "_Morning":
        """What was known of the waits at a moment; `meaning` turns endings into outcomes."""
        known = self.waits.known_from <= moment
        known &= moment < self.waits.known_to
        finished, running = self.finished[known[self.finished]], self.running[known[self.running]]
        return _Morning(
            finished_group=self.group[finished],
            ended=self.waits.length[finished],
            outcome=meaning[self.waits.ending[finished]],
            running_group=self.group[running],
            running=moment - self.waits.start[running],
        )


@dataclass(frozen=True)
class _Morning:
    finished_group: Times
    ended: Times
    outcome: Times
    running_group: Times
    running: Times

    def events(self, groups: int) -> Times:
        return np.bincount(self.finished_group[self.outcome == EVENT], minlength=groups)

    def norms(self, group: int) -> tuple[float, ...]:
        low, high = np.searchsorted(self.finished_group, (group, group + 1), side="left")
        first, last = np.searchsorted(self.running_group, (group, group + 1), side="left")
        return norms_of(self.ended[low:high], self.outcome[low:high], self.running[first:last])


def norms_at(
    waits: Waits,
    asked: tuple[Times, ...],
    moment_of: Times,
    *,
    moments: Times,
    meanings: Iterable[Times],
    minimum: int,
) -> NDArray[np.float64]:
    """The norms (rows x QUANTILES) of groups at moments, each from the narrowest level that has enough.

    `asked` gives each row's group per level and `moment_of` its moment, which ascends; `meanings` says at
    each moment what the endings mean. NaN where no level has enough.
    """
    level_of = cache(waits.level)  # a wide level is seldom asked
    sizes = [
        int(max(theirs.max(initial=-1), ours.max(initial=-1))) + 1
        for theirs, ours in zip(waits.groups, asked, strict=True)
    ]
    norms = np.full((len(moment_of), len(QUANTILES)), np.nan)
    bounds = np.searchsorted(moment_of, np.arange(len(moments) + 1), side="left")
    for number, meaning in enumerate(meanings):
        rows = slice(bounds[number], bounds[number + 1])
        open_rows = np.arange(rows.start, rows.stop)
        for width, (size, groups) in enumerate(zip(sizes, asked, strict=True)):
            if not len(open_rows):
                break
            morning = level_of(width).at(int(moments[number]), meaning)
            enough = morning.events(size) >= minimum
            group = groups[open_rows]
            served = enough[group]
            for one in np.unique(group[served]):
                norms[open_rows[group == one]] = morning.norms(int(one))
            open_rows = open_rows[~served]
    return norms
