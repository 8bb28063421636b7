"""What the forest expects of a row when only some groups of facts are known, for every set of groups.

The expectation of one tree at one node, for a set S of known groups (a coalition):

    at a leaf                        its share of lost deals
    split on a fact of a group in S  the expectation of the child that the row goes to
    split on any other fact          the mean of both children's, weighted by the training rows in them

This is EXPVALUE, the path-dependent conditional expectation of Lundberg et al., "From local explanations to
global understanding with explainable AI for trees", Nature Machine Intelligence 2 (2020), 56-67, with groups
of facts in the place of single facts. TreeSHAP avoids one walk per coalition because single facts have too
many; eight groups have 256, so all of them are computed at once, and 32 rows beside each other.

Two things make it quick. A node depends on S only through the groups asked at it or below it, so nodes near
the leaves, which are most, have few cases. And all rows take the same steps, so the processor handles
several at once.

Importing this module compiles the loop (about 1.5 CPU seconds): import it where it is used. Airflow imports
it before it forks tasks, and those find it compiled. Nothing is kept on disk: a cache of machine code would
be run unverified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROWS_ABREAST = 32  # wide enough for any processor, few enough to stay in its cache
_LEAF = -1


@dataclass(frozen=True)
class Nodes:
    """The nodes of all trees in one table, tree after tree; a node, its left subtree, then its right one.

    That is the order in which scikit-learn grows a tree when the number of leaves is not limited.
    """

    begins: NDArray[np.int64]  # where each tree begins, and the end
    depth: int
    column: NDArray[np.int64]  # the column asked; below zero at a leaf
    threshold: Floats
    missing_left: NDArray[np.bool_]
    left_share: Floats  # of the training rows in the node, the share that went left
    loss_rate: Floats
    group: NDArray[np.uint64]  # the bit of the group of the column asked; none at a leaf

    @classmethod
    def of(cls, trees: Sequence[Any], group_of_column: NDArray[np.int64]) -> "Nodes":
        """From scikit-learn's `tree_` objects and the group's number of each column."""
        column = _joined([tree.feature for tree in trees])
        bits = np.uint64(1) << group_of_column.astype(np.uint64)
        return cls(
            begins=np.cumsum([0, *[tree.node_count for tree in trees]]),
            depth=max(tree.max_depth for tree in trees),
            column=column,
            threshold=_joined([tree.threshold for tree in trees]),
            missing_left=_joined([tree.missing_go_to_left for tree in trees]).astype(np.bool_),
            left_share=_joined([_left_share(tree) for tree in trees]),
            loss_rate=_joined([tree.value[:, 0, 1] for tree in trees]),
            group=np.where(column >= 0, bits[column], np.uint64(0)),
        )


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.ascontiguousarray(np.concatenate(parts))


def _left_share(tree: Any) -> Floats:
    rows, left = tree.weighted_n_node_samples, tree.children_left
    return np.asarray(np.where(left == _LEAF, 0.0, rows[left] / rows), dtype=np.float64)


def expectations(nodes: Nodes, inputs: NDArray[np.float32], *, groups: int) -> Floats:
    """The forest's expectation by coalition and row.

    inputs: rows x columns, as the forest takes them; NaN is unknown. Returns 2**groups x rows: in line k the
    groups whose bits are set in k are known. The last line is the forest's own output.
    """
    rows, columns = inputs.shape
    padded = np.zeros((columns, rows + -rows % ROWS_ABREAST), dtype=np.float32)
    padded[:, :rows] = inputs.T
    sums = np.zeros((1 << groups, padded.shape[1]))
    _add_trees(
        nodes.begins,
        nodes.depth,
        nodes.column,
        nodes.threshold,
        nodes.missing_left,
        nodes.left_share,
        nodes.loss_rate,
        nodes.group,
        padded,
        sums,
    )
    return np.asarray(sums[:, :rows] / (len(nodes.begins) - 1))


def _add_trees_in_python(
    begins: Any,
    depth: Any,
    column: Any,
    threshold: Any,
    missing_left: Any,
    left_share: Any,
    loss_rate: Any,
    group: Any,
    inputs: Any,
    sums: Any,
) -> None:
    """Add each tree's expectations to `sums` (coalitions x rows); rows in blocks of ROWS_ABREAST.

    A tree read backwards is a sum in postfix notation: a leaf puts its value on a stack, a split takes two
    results off (the left child's is on top) and puts its own on. A result holds one line for each coalition
    of the groups asked below (`asked`, a mask); a coalition S finds its line at S & asked. Every block is
    computed alike, so a row gets the same bytes whatever rows stand beside it.
    """
    abreast = min(ROWS_ABREAST, inputs.shape[1])  # not a constant: loops unrolled in full are slower
    stack = np.zeros((depth + 3, sums.shape[0], abreast))
    asked = np.zeros(depth + 3, np.uint64)
    # Where each level of the stack is kept: a result and the space that it frees swap places.
    place = np.arange(depth + 3).astype(np.uint64)
    goes_left = np.zeros(abreast, np.bool_)
    for start in range(0, inputs.shape[1], abreast):
        for tree in range(len(begins) - 1):
            top = 0
            for node in range(begins[tree + 1] - 1, begins[tree] - 1, -1):
                if column[node] < 0:
                    stack[place[top], 0, :] = loss_rate[node]
                    asked[top] = 0
                    top += 1
                    continue
                of_left, of_right, own = asked[top - 1], asked[top - 2], group[node]
                of_node = of_left | of_right | own
                left, right, own_place = place[top - 1], place[top - 2], place[top]
                place[top], place[top - 2] = right, own_place
                asked[top - 2] = of_node
                top -= 1
                at_most, lacking = threshold[node], missing_left[node]
                for row in range(abreast):
                    fact = inputs[column[node], start + row]
                    goes_left[row] = (fact <= at_most) | (lacking & np.isnan(fact))
                to_left, to_right = left_share[node], 1.0 - left_share[node]
                known = of_node
                while True:  # over all coalitions of the groups asked here and below, down to the empty one
                    in_left, in_right = known & of_left, known & of_right
                    if known & own:
                        for row in range(abreast):
                            stack[own_place, known, row] = (
                                stack[left, in_left, row] if goes_left[row] else stack[right, in_right, row]
                            )
                    else:
                        for row in range(abreast):
                            stack[own_place, known, row] = (
                                to_left * stack[left, in_left, row] + to_right * stack[right, in_right, row]
                            )
                    if known == 0:
                        break
                    known = (known - np.uint64(1)) & of_node
            # No views of arrays in these loops: counting them in and out costs three times the arithmetic.
            for known in range(np.uint64(sums.shape[0])):
                for row in range(abreast):
                    sums[known, start + row] += stack[place[0], known & asked[0], row]


# The types are named so that it is compiled here, once; sums keep the order written, for equal bytes.
_add_trees = njit(
    "void(int64[::1], int64, int64[::1], float64[::1], boolean[::1], float64[::1], float64[::1], uint64[::1],"
    " float32[:, ::1], float64[:, ::1])"
)(_add_trees_in_python)
