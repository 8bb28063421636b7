"""An explanation is exact: it sums to the probability, and a slow oracle that follows every path agrees."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from dealwatch.scoring.calibration import Calibrator
from dealwatch.scoring.explain import explain, shapley
from dealwatch.scoring.facts import FACTS, GROUPS
from dealwatch.scoring.forest import Bundle, table
from made_up_facts import made_up_facts, small_training


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    trained = small_training().bundle
    assert trained is not None
    return trained


def raw_oracle(bundle: Bundle, row: np.ndarray) -> tuple[float, dict[str, float]]:
    """Follow one row down each tree, step by step."""
    group_of = {fact.name: fact.group for fact in FACTS}
    of_column = {
        int(c): group_of[name] for name, columns in bundle.columns_of_fact().items() for c in columns
    }
    base, sums = 0.0, dict.fromkeys(GROUPS, 0.0)
    for estimator in bundle.forest.estimators_:
        tree, node = estimator.tree_, 0
        path = np.flatnonzero(tree.decision_path(row.reshape(1, -1).astype(np.float32)).toarray()[0])
        base += tree.value[0, 0, 1] / len(bundle.forest.estimators_)
        for node, child in zip(path, path[1:], strict=False):
            step = tree.value[child, 0, 1] - tree.value[node, 0, 1]
            sums[of_column[int(tree.feature[node])]] += step / len(bundle.forest.estimators_)
    return base, sums


def shapley_oracle(curve: Calibrator, base: float, raw: list[float]) -> list[float]:
    """The definition: over all subsets without a player, the weighted gain of adding it."""
    n = len(raw)

    def worth(players: tuple[int, ...]) -> float:
        return float(curve(np.array([base + sum(raw[p] for p in players)]))[0])

    return [
        sum(
            factorial(size) * factorial(n - size - 1) / factorial(n) * (worth((*rest, player)) - worth(rest))
            for size in range(n)
            for rest in combinations([p for p in range(n) if p != player], size)
        )
        for player in range(n)
    ]


def test_contributions_sum_to_the_probability(bundle: Bundle) -> None:
    facts = made_up_facts(500, seed=9)
    explained = explain(bundle, facts)
    assert np.abs(explained.base + explained.contributions.sum(axis=1) - explained.p_loss).max() < 1e-9


def test_the_probability_is_the_calibrated_forest(bundle: Bundle) -> None:
    facts = made_up_facts(500, seed=9)
    direct = bundle.calibrator(bundle.raw(facts))
    assert explain(bundle, facts).p_loss == pytest.approx(direct, abs=1e-12)


def test_a_slow_oracle_agrees(bundle: Bundle) -> None:
    facts = made_up_facts(5, seed=10)
    explained = explain(bundle, facts)
    columns = bundle.pipeline["columns"].transform(table(facts))
    for n in range(facts.height):
        base, raw = raw_oracle(bundle, columns[n])
        expected = shapley_oracle(bundle.calibrator, base, [raw[group] for group in GROUPS])
        assert explained.contributions[n] == pytest.approx(expected, abs=1e-12)


def test_a_row_is_explained_alike_alone_and_among_others(bundle: Bundle) -> None:
    facts = made_up_facts(60, seed=11)
    together = explain(bundle, facts)
    alone = [explain(bundle, facts[n : n + 1]) for n in range(60)]
    assert [float(one.p_loss[0]) for one in alone] == together.p_loss.tolist()
    assert [one.contributions[0].tolist() for one in alone] == together.contributions.tolist()


def test_no_rows_need_no_explanation(bundle: Bundle) -> None:
    assert explain(bundle, made_up_facts(3).clear()).p_loss.tolist() == []


def test_groups_that_do_the_same_get_the_same_share() -> None:
    curve = Calibrator(0.0, 3.0, np.empty(0), np.empty(0))
    values, whole = shapley(curve, 0.3, np.array([[0.2, 0.2, 0.0]]))
    assert values[0, 0] == pytest.approx(values[0, 1])
    assert values[0, 2] == 0
    assert values.sum() == pytest.approx(whole[0] - curve(np.array([0.3]))[0])
