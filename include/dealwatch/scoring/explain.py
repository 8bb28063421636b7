"""Where a probability comes from: one contribution per fact group, exact through the calibrator.

A game is played by the eight groups of facts. A coalition S of groups is worth

    v(S) = calibrated(what the forest expects of the row when the facts of S are known)

where the forest averages what it does not know by the training rows that went each way (`coalitions`). A
group's contribution is its Shapley value: its gain v(S with it) - v(S), averaged over all orders in which the
groups may become known. Hence base + contributions = p_loss, where base = v(nothing known) is the same for
every row. Because the game is played on the calibrated output, the curve needs no approximation. A stage's
shift of the curve is part of the game: it counts in the coalitions that know the stage's facts.
"""

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.scoring.facts import FACTS, GROUPS

if TYPE_CHECKING:
    from dealwatch.scoring.coalitions import Nodes
    from dealwatch.scoring.forest import Bundle

Floats = NDArray[np.float64]
_ROWS = 2_048  # rows explained at once: 256 coalitions of each are 4 MB
_KNOWS_STAGE = (np.arange(1 << len(GROUPS))[:, None] >> GROUPS.index("stage")) & 1  # a line a coalition


@dataclass(frozen=True)
class Explanation:
    """p_loss = base + the row's contributions (one column per group of GROUPS, in that order)."""

    base: float
    contributions: Floats
    p_loss: Floats


def explain(bundle: "Bundle", facts: pl.DataFrame) -> Explanation:
    """Every row's probability and what each group of facts adds to it or takes away."""
    # Imported here because importing it compiles it, and most of what imports this file explains nothing.
    from dealwatch.scoring.coalitions import expectations

    nodes = nodes_of(bundle)
    contributions = np.empty((facts.height, len(GROUPS)))
    p_loss = np.empty(facts.height)
    for start in range(0, facts.height, _ROWS):
        part = slice(start, start + _ROWS)
        expected = expectations(nodes, bundle.inputs(facts[part]), groups=len(GROUPS))
        worth = worth_of(bundle, expected, facts[part])
        contributions[part], p_loss[part] = shapley(worth), worth[-1]
    roots = nodes.loss_rate[nodes.begins[:-1]]
    base = float(bundle.calibrator(np.array([roots.mean()]))[0])
    return Explanation(base, contributions, p_loss)


def worth_of(bundle: "Bundle", expected: Floats, facts: pl.DataFrame) -> Floats:
    """What each coalition (a line) is worth for each row of `facts`, given what the forest expects then."""
    return bundle.calibrator(expected, _KNOWS_STAGE * bundle.calibrator.shifts(facts["stage"]))


def shapley(worth: Floats) -> Floats:
    """Rows x groups: each group's Shapley value, from the worth of every coalition.

    worth: 2**groups x rows; in line k the groups whose bits are set in k are known. Sums run coalition by
    coalition over all rows at once, so a row's value does not depend on its neighbours.
    """
    groups = len(worth).bit_length() - 1
    values = np.zeros((groups, worth.shape[1]))
    for group in range(groups):
        for others in range(len(worth)):
            if not others >> group & 1:
                orders = groups * comb(groups - 1, others.bit_count())
                values[group] += (worth[others | 1 << group] - worth[others]) / orders
    return values.T


def nodes_of(bundle: "Bundle") -> "Nodes":
    """The forest's nodes, each with the group that it asks."""
    from dealwatch.scoring.coalitions import Nodes

    group_of_fact = {fact.name: GROUPS.index(fact.group) for fact in FACTS}
    group_of_column = np.empty(bundle.forest.n_features_in_, dtype=np.int64)
    for fact, columns in bundle.columns_of_fact().items():
        group_of_column[columns] = group_of_fact[fact]
    return Nodes.of([tree.tree_ for tree in bundle.forest.estimators_], group_of_column)
