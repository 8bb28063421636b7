"""Where a probability comes from: one contribution per fact group, exact through the calibrator.

Two steps. Path attribution splits a tree's output along the path that a row takes: each split hands the
change of the loss rate from parent to child to the group of the fact it asked, so base + contributions =
the forest's raw output. The calibrator bends that sum, so on top a game is played: v(S) = calibrated(base +
raw contributions of the groups in S), and each group gets its Shapley value over all subsets of the eight.
Those values sum to p_loss - v(nothing) exactly. What is attributed in raw terms depends on the order of
splits in a path; the game itself is exact.
"""

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.scoring.calibration import Calibrator
from dealwatch.scoring.facts import FACTS, GROUPS

if TYPE_CHECKING:
    from dealwatch.scoring.forest import Bundle

Floats = NDArray[np.float64]
_ROWS = 4_000  # rows explained at once: 256 coalitions of each are 8 MB
_LEAF = -1


@dataclass(frozen=True)
class Explanation:
    """p_loss = base + the row's contributions (one column per group of GROUPS, in that order)."""

    base: float
    contributions: Floats
    p_loss: Floats


def explain(bundle: "Bundle", facts: pl.DataFrame) -> Explanation:
    """Every row's probability and what each group of facts adds to it or takes away."""
    forest = _Paths.of(bundle)
    contributions = np.empty((facts.height, len(GROUPS)))
    p_loss = np.empty(facts.height)
    for start in range(0, facts.height, _ROWS):
        part = slice(start, start + _ROWS)
        raw = forest.contributions(bundle, facts[part])
        contributions[part], p_loss[part] = shapley(bundle.calibrator, forest.base, raw)
    base = float(bundle.calibrator(np.array([forest.base]))[0])
    return Explanation(base, contributions, p_loss)


def shapley(calibrator: Calibrator, base: float, raw: Floats) -> tuple[Floats, Floats]:
    """Shapley values of v(S) = calibrator(base + sum of raw over S), and v(all), row by row.

    Subset sums are built by doubling, so column k of `worth` is the subset whose bits are k.
    """
    groups = raw.shape[1]
    sums = np.full((len(raw), 1 << groups), base)
    for group in range(groups):
        half = 1 << group
        sums[:, half : 2 * half] = sums[:, :half] + raw[:, group : group + 1]
    worth = calibrator(sums)
    subsets = np.arange(1 << groups)
    size = np.array([int(subset).bit_count() for subset in subsets])
    values = np.empty_like(raw)
    for group in range(groups):
        without = subsets[(subsets >> group) & 1 == 0]
        share = np.array([1 / (groups * comb(groups - 1, int(n))) for n in size[without]])
        gains = (worth[:, without | 1 << group] - worth[:, without]) * share
        values[:, group] = np.ascontiguousarray(gains).sum(axis=1)  # in this layout a row's sum is its own
    return values, worth[:, -1]


@dataclass(frozen=True)
class _Paths:
    """What each group contributed on the way to each node; the nodes of all trees in one table."""

    base: float
    offsets: NDArray[np.int64]
    table: Floats

    @classmethod
    def of(cls, bundle: "Bundle") -> "_Paths":
        trees = [tree.tree_ for tree in bundle.forest.estimators_]
        offsets = np.cumsum([0, *[tree.node_count for tree in trees]])
        group_of = _group_of_column(bundle)
        table = np.concatenate([_paths_of_tree(tree, group_of) for tree in trees]) / len(trees)
        base = float(sum(tree.value[0, 0, 1] for tree in trees)) / len(trees)
        return cls(base, offsets[:-1], table)

    def contributions(self, bundle: "Bundle", facts: pl.DataFrame) -> Floats:
        """Raw contribution per row and group, added tree by tree so that a row's sum is always the same."""
        leaves = bundle.leaves(facts) + self.offsets
        total = np.zeros((facts.height, len(GROUPS)))
        for tree in range(leaves.shape[1]):
            total += self.table[leaves[:, tree]]
        return total


def _group_of_column(bundle: "Bundle") -> NDArray[np.int64]:
    """The group, by its place in GROUPS, of each column that the forest sees."""
    group_of_fact = {fact.name: GROUPS.index(fact.group) for fact in FACTS}
    groups = np.empty(bundle.forest.n_features_in_, dtype=np.int64)
    for fact, columns in bundle.columns_of_fact().items():
        groups[columns] = group_of_fact[fact]
    return groups


def _paths_of_tree(tree: Any, group_of: NDArray[np.int64]) -> Floats:
    """Row n: what each group contributed on the way from the root to node n."""
    rate = tree.value[:, 0, 1]
    paths = np.zeros((tree.node_count, len(GROUPS)))
    inner = np.array([0], dtype=np.int64)
    while len(inner):
        inner = inner[tree.children_left[inner] != _LEAF]
        group = group_of[tree.feature[inner]]
        for children in (tree.children_left[inner], tree.children_right[inner]):
            paths[children] = paths[inner]
            paths[children, group] += rate[children] - rate[inner]
        inner = np.concatenate([tree.children_left[inner], tree.children_right[inner]])
    return paths
