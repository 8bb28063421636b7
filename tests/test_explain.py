"""An explanation is exact: it sums to the probability, and slow oracles that follow the definitions agree."""

import hashlib
import subprocess
import sys
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from bench_explain import order_bias_of_two_facts, unwrapped_shap
from dealwatch.scoring.coalitions import ROWS_ABREAST, Nodes, expectations
from dealwatch.scoring.explain import explain, nodes_of, shapley
from dealwatch.scoring.facts import GROUPS
from dealwatch.scoring.forest import Bundle
from made_up_facts import made_up_facts, small_training

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    trained = small_training().bundle
    assert trained is not None
    return trained


def oracle(tree: Any, row: NDArray[np.float32], is_known: list[bool], node: int = 0) -> float:
    """What a tree expects of a row when only some columns are known: the definition, step by step."""
    left, right = tree.children_left[node], tree.children_right[node]
    if left == -1:
        return float(tree.value[node, 0, 1])
    column = tree.feature[node]
    if is_known[column]:
        fact = row[column]
        to_left = tree.missing_go_to_left[node] if np.isnan(fact) else fact <= tree.threshold[node]
        return oracle(tree, row, is_known, left if to_left else right)
    rows = tree.weighted_n_node_samples
    return (
        rows[left] * oracle(tree, row, is_known, left) + rows[right] * oracle(tree, row, is_known, right)
    ) / rows[node]


def oracle_of_forest(forest: RandomForestClassifier, inputs: Any, group_of: Any, groups: int) -> Floats:
    known = [[bool(coalition >> g & 1) for g in group_of] for coalition in range(1 << groups)]
    trees = [tree.tree_ for tree in forest.estimators_]
    return np.array(
        [[np.mean([oracle(tree, row, is_known) for tree in trees]) for row in inputs] for is_known in known]
    )


def grown(
    columns: int, *, depth: int | None, missing: float = 0.1, seed: int = 1, trees: int = 3
) -> tuple[RandomForestClassifier, NDArray[np.float32]]:
    """A small forest over numbers, flags and unknown values, grown from weighted rows, and four rows."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(300, columns)).astype(np.float32)
    inputs[:, ::3] = inputs[:, ::3] > 0  # flags, and categories as the pipeline encodes them
    lost = inputs.sum(axis=1) + random.normal(size=300) > 0
    inputs[random.random(inputs.shape) < missing] = np.nan
    forest = RandomForestClassifier(trees, max_depth=depth, random_state=seed)
    return forest.fit(inputs, lost, sample_weight=random.random(300)), inputs[:4]


@pytest.mark.parametrize(
    ("columns", "groups", "depth"),
    [(16, 8, 8), (8, 8, 8), (9, 3, None), (5, 1, 8), (12, 8, 1)],
    ids=["groups repeat on a path", "a fact each", "deep and few groups", "one group", "stumps"],
)
def test_a_slow_oracle_agrees_on_every_coalition(columns: int, groups: int, depth: int | None) -> None:
    forest, inputs = grown(columns, depth=depth)
    group_of = np.arange(columns) % groups
    nodes = Nodes.of([tree.tree_ for tree in forest.estimators_], group_of)
    found = expectations(nodes, inputs, groups=groups)
    assert found == pytest.approx(oracle_of_forest(forest, inputs, group_of, groups), abs=1e-12)
    assert found[-1] == pytest.approx(forest.predict_proba(inputs)[:, 1], abs=1e-15)


def test_a_tree_without_a_split_expects_its_rate() -> None:
    inputs = np.zeros((3, 2), dtype=np.float32)
    forest = RandomForestClassifier(4, random_state=1).fit(inputs, [0, 1, 1])
    nodes = Nodes.of([tree.tree_ for tree in forest.estimators_], np.array([0, 1]))
    assert len(nodes.column) == 4, "a tree has split after all"
    expected = np.mean([tree.tree_.value[0, 0, 1] for tree in forest.estimators_])
    assert expectations(nodes, inputs, groups=2) == pytest.approx(np.full((4, 3), expected))


def test_unknown_values_take_the_side_that_the_forest_sends_them_to() -> None:
    forest, _ = grown(6, depth=6, missing=0.4)
    trees = [tree.tree_ for tree in forest.estimators_]
    inner = np.concatenate([tree.missing_go_to_left[tree.children_left >= 0] for tree in trees])
    assert 0 < inner.mean() < 1, "both sides must occur"
    edge = np.array([[tree.threshold[0]] * 6 for tree in trees], dtype=np.float32)  # on the edge of a split
    inputs = np.vstack([np.full((1, 6), np.nan, dtype=np.float32), edge])
    found = expectations(Nodes.of(trees, np.arange(6)), inputs, groups=6)
    assert found[-1] == pytest.approx(forest.predict_proba(inputs)[:, 1], abs=1e-15)


def test_shapley_values_are_the_mean_gain_over_all_orders() -> None:
    worth = np.random.default_rng(1).random((16, 2))
    expected = np.zeros((2, 4))
    for order in permutations(range(4)):
        known = 0
        for player in order:
            expected[:, player] += (worth[known | 1 << player] - worth[known]) / 24
            known |= 1 << player
    assert shapley(worth) == pytest.approx(expected, abs=1e-15)


def test_groups_that_do_the_same_get_the_same_and_one_that_does_nothing_gets_nothing() -> None:
    worth = np.array([[0.1, 0.4, 0.4, 0.9] * 2]).T  # groups 0 and 1 alike, group 2 idle
    (values,) = shapley(worth)
    assert values[0] == pytest.approx(values[1])
    assert values[2] == 0
    assert values.sum() == pytest.approx(0.9 - 0.1)


def test_contributions_sum_to_the_probability(bundle: Bundle) -> None:
    explained = explain(bundle, made_up_facts(500, seed=9))
    assert np.abs(explained.base + explained.contributions.sum(axis=1) - explained.p_loss).max() < 1e-12


def test_the_probability_is_the_calibrated_forest(bundle: Bundle) -> None:
    facts = made_up_facts(500, seed=9)
    assert explain(bundle, facts).p_loss == pytest.approx(bundle.p_loss(facts), abs=1e-12)


def test_the_oracles_agree_through_the_pipeline_and_the_curve(bundle: Bundle) -> None:
    facts = made_up_facts(2, seed=10)
    group_of = np.log2(nodes_of(bundle).group[nodes_of(bundle).column >= 0]).astype(int)
    asked = nodes_of(bundle).column[nodes_of(bundle).column >= 0]
    of_column = np.zeros(bundle.forest.n_features_in_, dtype=int)
    of_column[asked] = group_of
    assert set(group_of) == set(range(len(GROUPS))), "a group is never asked"
    raw = oracle_of_forest(bundle.forest, bundle.inputs(facts), of_column, len(GROUPS))
    explained = explain(bundle, facts)
    stage = GROUPS.index("stage")
    shift = np.array(
        [[(c >> stage & 1) * s for s in bundle.calibrator.shifts(facts["stage"])] for c in range(256)]
    )
    assert shift.any(), "no stage shifts the curve"
    assert explained.contributions == pytest.approx(shapley(bundle.calibrator(raw, shift)), abs=1e-12)
    assert explained.base == pytest.approx(bundle.calibrator(raw[0])[0], abs=1e-12)


def test_a_row_is_explained_alike_alone_and_among_others(bundle: Bundle) -> None:
    facts = made_up_facts(2 * ROWS_ABREAST + 6, seed=11)
    together = explain(bundle, facts)
    alone = [explain(bundle, facts[n : n + 1]) for n in range(facts.height)]
    assert [float(one.p_loss[0]) for one in alone] == together.p_loss.tolist()
    assert [one.contributions[0].tolist() for one in alone] == together.contributions.tolist()


@pytest.mark.slow
def test_another_process_explains_to_the_same_byte_and_compiles_only_then() -> None:
    forest, inputs = grown(8, depth=8)
    nodes = Nodes.of([tree.tree_ for tree in forest.estimators_], np.arange(8))
    ours = hashlib.sha256(shapley(expectations(nodes, inputs, groups=8)).tobytes()).hexdigest()
    code = (
        "import dealwatch.scoring.score; assert 'numba' not in sys.modules, 'compiles before it must'\n"
        "import hashlib, numpy; from test_explain import *\n"
        "forest, inputs = grown(8, depth=8)\n"
        "nodes = Nodes.of([tree.tree_ for tree in forest.estimators_], numpy.arange(8))\n"
        "print(hashlib.sha256(shapley(expectations(nodes, inputs, groups=8)).tobytes()).hexdigest())"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == ours


def test_no_rows_need_no_explanation(bundle: Bundle) -> None:
    assert explain(bundle, made_up_facts(3).clear()).p_loss.tolist() == []


def test_path_attribution_depends_on_the_order_of_splits_and_shapley_values_do_not() -> None:
    by_path, by_shapley = order_bias_of_two_facts()
    assert abs(by_path[0] - by_path[1]) > 0.2
    assert by_shapley[0] == pytest.approx(by_shapley[1], abs=1e-12)


@pytest.mark.slow  # importing shap takes five seconds
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of matplotlib, which shap calls
def test_shap_agrees_where_every_group_is_one_fact() -> None:
    forest, inputs = grown(8, depth=8, missing=0.0, trees=20)
    nodes = Nodes.of([tree.tree_ for tree in forest.estimators_], np.arange(8))
    ours = shapley(expectations(nodes, inputs, groups=8))
    assert ours == pytest.approx(unwrapped_shap(forest, inputs), abs=1e-6)  # shap counts in single precision
