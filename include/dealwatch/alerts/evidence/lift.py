"""Are the deals that a rule flags lost more often than deals like them? The lift, and how sure it is.

A flagged deal is compared with the other deals of its stratum: open on the same morning, in the same stage
and of about the same age. The interval comes from drawing whole deals again and again (a Poisson bootstrap),
because one deal stands beside many on many mornings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

REPLICATES = 1_000
_DRAWN_AT_ONCE = 2_000_000  # numbers of a matrix held in memory together

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Lift:
    """What became of flagged deals that had others beside them, against those others."""

    alerted: int
    lost: int
    base_rate: float | None = None
    lift: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Flagged:
    """Deals that a rule flagged, in order of their group, each with the stratum it was in that morning."""

    deals: Indices
    strata: Indices
    groups: Indices  # the number of each deal's group, ascending; each group is told for itself


@dataclass(frozen=True)
class Panel:
    """Deals that have ended, numbered, and the strata in which they stood."""

    lost: Weights  # by deal
    seats: csr_matrix  # strata x deals: one where the deal was in the stratum

    @classmethod
    def of(cls, lost: Weights, deals: Indices, strata: Indices) -> "Panel":
        """From rows of deal and stratum."""
        shape = (int(strata.max(initial=-1)) + 1, len(lost))
        seats = csr_matrix((np.ones(len(deals), dtype=np.float32), (strata, deals)), shape=shape)
        return cls(lost, seats)


def lifts(
    cases: Sequence[tuple[Panel, Sequence[Flagged]]], *, deviations: Sequence[float], seed: int
) -> list[list[list[Lift]]]:
    """The lift of each group of each flagged set of each panel; panels are of the same deals.

    deviations: by panel, how many standard deviations an interval spans to each side, on the scale of
    logarithms.
    """
    whole = [[_sums(panel, one, counts) for one, counts in _counted(panel, sets)] for panel, sets in cases]
    drawn: list[list[list[Floats]]] = [[[] for _ in sets] for _, sets in cases]
    for weights in _draws(cases[0][0], seed):
        for (panel, sets), into in zip(cases, drawn, strict=True):
            others = _Others.of(panel, weights)
            for one, ratios in zip(sets, into, strict=True):
                alerted, lost, expected = _sums(panel, one, others)
                ratios.append(_ratio(lost, expected))
    return [
        [
            _told(sums, np.concatenate(ratios, axis=1), deviation)
            for sums, ratios in zip(panel_sums, panel_ratios, strict=True)
        ]
        for panel_sums, panel_ratios, deviation in zip(whole, drawn, deviations, strict=True)
    ]


@dataclass(frozen=True)
class _Others:
    """By replicate (a column): how often each deal counts; how many are in each stratum, and are lost."""

    weights: Weights
    everyone: Weights
    losers: Weights

    @classmethod
    def of(cls, panel: Panel, weights: Weights) -> "_Others":
        return cls(weights, panel.seats @ weights, panel.seats @ (weights * panel.lost[:, None]))


def _counted(panel: Panel, sets: Sequence[Flagged]) -> Iterator[tuple[Flagged, _Others]]:
    """The sets with each deal counted once."""
    once = _Others.of(panel, np.ones((len(panel.lost), 1), dtype=np.float32))
    for one in sets:
        yield one, once


def _draws(panel: Panel, seed: int) -> Iterator[Weights]:
    """Weights of whole deals, Poisson(1) each, which is drawing deals with replacement; some at a time."""
    random = np.random.default_rng(seed)
    deals = len(panel.lost)
    at_once = min(REPLICATES, max(1, _DRAWN_AT_ONCE // max(1, *panel.seats.shape)))
    for start in range(0, REPLICATES, at_once):
        size = (min(at_once, REPLICATES - start), deals)
        # Drawn replicate by replicate, so that how many are drawn at once changes nothing.
        yield random.poisson(1.0, size=size).T.astype(np.float32, order="C")


def _sums(panel: Panel, one: Flagged, others: _Others) -> tuple[Floats, Floats, Floats]:
    """By group and replicate: flagged deals, losses among them, and losses expected of the deals beside them.

    A flagged deal is no witness of what is usual beside it; without another one it does not count.
    """
    own = others.weights[one.deals]
    lost = own * panel.lost[one.deals][:, None]
    beside = others.everyone[one.strata] - own
    losers = others.losers[one.strata] - lost
    has = beside > 0
    expected = own * np.divide(losers, beside, out=np.zeros(losers.shape), where=has)
    starts = np.flatnonzero(np.diff(one.groups, prepend=-1))
    if not len(starts):
        nothing = np.zeros((0, others.weights.shape[1]))
        return nothing, nothing, nothing
    return (
        np.add.reduceat(own * has, starts, axis=0, dtype=np.float64),
        np.add.reduceat(lost * has, starts, axis=0, dtype=np.float64),
        np.add.reduceat(expected, starts, axis=0, dtype=np.float64),
    )


def _ratio(lost: Floats, expected: Floats) -> Floats:
    return np.divide(lost, expected, out=np.full_like(lost, np.nan), where=expected > 0)


def _told(sums: tuple[Floats, Floats, Floats], ratios: Floats, deviations: float) -> list[Lift]:
    alerted, lost, expected = (one[:, 0] for one in sums)
    found = []
    for n in range(len(alerted)):
        if not alerted[n]:
            found.append(Lift(0, 0))
            continue
        lift = float(lost[n] / expected[n]) if expected[n] else None
        low, high = _interval(lift, ratios[n], deviations)
        base = float(expected[n] / alerted[n])
        found.append(Lift(int(alerted[n]), int(lost[n]), base, lift, low, high))
    return found


def _interval(lift: float | None, ratios: Floats, deviations: float) -> tuple[float | None, float | None]:
    """On the logarithm's scale; nothing where too few deals make one."""
    if not lift or not (np.isfinite(ratios) & (ratios > 0)).all():
        return None, None
    spread = float(np.exp(deviations * np.log(ratios).std(ddof=1)))
    return lift / spread, lift * spread
