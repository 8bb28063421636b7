"""What explaining costs and what path attribution gets wrong: `python tests/bench_explain.py [HOME]`.

Measured on the planted company of `bench_company`, made in HOME if it is not there yet. Seconds are CPU of
this process; compare the ratios.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from dealwatch.scoring.explain import explain, nodes_of, shapley, worth_of
from dealwatch.scoring.facts import GROUPS
from dealwatch.scoring.forest import Bundle

Floats = NDArray[np.float64]
POINTS = 60  # what a probability of one is worth in a score


def path_attribution(trees: list[Any], inputs: Any, group_of: Any, groups: int) -> tuple[float, Floats]:
    """The rival: each split hands its change of the loss rate to its group. Base, and rows x groups."""
    base, total = 0.0, np.zeros((len(inputs), groups))
    for tree in trees:
        rate, paths = tree.value[:, 0, 1], np.zeros((tree.node_count, groups))
        for node in np.flatnonzero(tree.children_left >= 0):  # parents stand before their children
            for child in (tree.children_left[node], tree.children_right[node]):
                paths[child] = paths[node]
                paths[child, group_of[tree.feature[node]]] += rate[child] - rate[node]
        base += rate[0] / len(trees)
        total += paths[tree.apply(inputs)] / len(trees)
    return base, total


def order_bias_of_two_facts() -> tuple[Floats, Floats]:
    """A deal is lost if and only if both facts hold: shares by path attribution and by Shapley values."""
    from dealwatch.scoring.coalitions import Nodes, expectations

    inputs = np.array([[a, b] for a in (0, 1) for b in (0, 1)], dtype=np.float32)
    tree = DecisionTreeClassifier(random_state=1).fit(inputs, [0, 0, 0, 1]).tree_
    both, group_of = inputs[-1:], np.array([0, 1])
    _, by_path = path_attribution([tree], both, group_of, 2)
    return by_path[0], shapley(expectations(Nodes.of([tree], group_of), both, groups=2))[0]


def bias_in_points(bundle: Bundle, facts: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """Per group: mean and largest difference in points between path attribution and Shapley values.

    Both through the curve: the rival's raw shares add up within a coalition, and the same game is played.
    """
    nodes = nodes_of(bundle)
    group_of = np.zeros(bundle.forest.n_features_in_, dtype=np.int64)
    inner = nodes.column >= 0
    group_of[nodes.column[inner]] = np.log2(nodes.group[inner]).astype(np.int64)
    trees = [tree.tree_ for tree in bundle.forest.estimators_]
    base, raw = path_attribution(trees, bundle.inputs(facts), group_of, len(GROUPS))
    sums = np.full((1 << len(GROUPS), facts.height), base)
    for group in range(len(GROUPS)):
        sums[1 << group : 2 << group] = sums[: 1 << group] + raw[:, group]
    apart = POINTS * np.abs(shapley(worth_of(bundle, sums, facts)) - explain(bundle, facts).contributions)
    return {group: (float(apart[:, n].mean()), float(apart[:, n].max())) for n, group in enumerate(GROUPS)}


def unwrapped_shap(forest: Any, inputs: Any) -> Floats:
    """What shap's path-dependent TreeExplainer says of the raw share of lost deals."""
    import shap

    explainer = shap.TreeExplainer(forest, feature_perturbation="tree_path_dependent")
    return np.asarray(explainer.shap_values(inputs, check_additivity=False))[..., 1]


def cpu_per_thousand(work: Callable[[], Any], rows: int) -> float:
    """CPU seconds per 1,000 rows, the best of three."""
    spent = []
    for _ in range(3):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return min(spent) * 1_000 / rows


def measure(bundle: Bundle, facts: pl.DataFrame) -> dict[str, float]:
    """CPU seconds per 1,000 rows of predicting, of ours and of shap, in this process."""
    facts = facts[:1_000]
    few = bundle.inputs(facts[:50])
    return {
        "predict": cpu_per_thousand(lambda: bundle.raw(facts), facts.height),
        "explain": cpu_per_thousand(lambda: explain(bundle, facts), facts.height),
        "shap.TreeExplainer": cpu_per_thousand(lambda: unwrapped_shap(bundle.forest, few), len(few)),
    }


def main() -> None:
    before = time.process_time()
    import dealwatch.scoring.coalitions  # noqa: F401

    print(f"import numba and compile {time.process_time() - before:.2f}, then per 1,000 deals:")
    import bench_company
    from bench import _model

    with tempfile.TemporaryDirectory() as made:
        home = Path(sys.argv[1] if len(sys.argv) > 1 else made)
        if not (home / "drop").exists():
            bench_company.found(home)
        bundle, facts = _model(home)
    trees = [tree.tree_ for tree in bundle.forest.estimators_]
    nodes = np.mean([tree.node_count for tree in trees])
    print(f"{len(trees)} trees of {nodes:.0f} nodes, {bundle.forest.n_features_in_} columns")
    for name, seconds in measure(bundle, facts).items():
        print(f"{name:26}{seconds:8.3f}")
    by_path, by_shapley = order_bias_of_two_facts()
    print(f"lost only if both hold: path attribution {by_path}, Shapley {by_shapley}")
    for group, (mean, largest) in bias_in_points(bundle, facts[:1_000]).items():
        print(f"{group:12}{mean:6.2f} points apart on average, {largest:6.2f} at most")


if __name__ == "__main__":
    main()
