"""The forest learns from the past only, is the same each time, and is refused when it has nothing to say."""

import hashlib
import io
import os
import subprocess
import sys
from datetime import timedelta

import joblib
import numpy as np
import polars as pl
import pytest
from sklearn.tree import DecisionTreeClassifier

from dealwatch.knobs import Scoring
from dealwatch.scoring.calibration import ISOTONIC_FROM, STAGE_DEALS, fit_calibrator, with_stages
from dealwatch.scoring.forest import MODEL_FACTS, Bundle, wipe_padding
from dealwatch.scoring.quality import quality
from dealwatch.scoring.trial import Trained, train
from dealwatch.settings import Settings
from made_up_facts import PANEL_UNTIL, SMALL, made_up_facts, made_up_panel, small_training


@pytest.fixture(scope="module")
def trained() -> Trained:
    return small_training()


def digest(trained: Trained) -> str:
    buffer = io.BytesIO()
    joblib.dump(trained.bundle, buffer)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def p_loss(bundle: Bundle, facts: pl.DataFrame) -> np.ndarray:
    return bundle.p_loss(facts)


def test_a_signal_is_found_and_passes_the_gate(trained: Trained) -> None:
    assert trained.bundle is not None and trained.usable and trained.may_alert
    assert trained.metrics["auc_low"] > 0.6 and trained.metrics["brier_skill_low"] > 0
    assert trained.metrics["n_won"] + trained.metrics["n_lost"] == trained.metrics["n_deals"]
    assert trained.metrics["first_morning"] < trained.metrics["last_morning"] < PANEL_UNTIL.isoformat()
    assert trained.reason.startswith("AUC 0.")


def test_without_a_signal_the_gate_refuses_and_says_why() -> None:
    trained = small_training(signal=0.0)
    assert trained.usable and not trained.may_alert
    assert trained.reason.startswith("no evidence: AUC 0.")
    assert "must pass 0.55" in trained.reason


def test_too_few_deals_train_nothing() -> None:
    few = train(made_up_panel(30, signal=2), PANEL_UNTIL, settings=Settings(scoring=SMALL))
    assert few.bundle is None and not few.usable and not few.may_alert
    assert few.reason.startswith("too little history: ")


def test_an_empty_panel_trains_nothing() -> None:
    nothing = train(made_up_panel(30, signal=2).clear(), PANEL_UNTIL, settings=Settings(scoring=SMALL))
    assert nothing.bundle is None and "0 won and 0 lost" in nothing.reason


def test_enough_to_train_may_still_be_too_few_to_alert() -> None:
    settings = Settings(scoring=SMALL.model_copy(update={"alert_minimum": 500}))
    trained = train(made_up_panel(600, signal=2.0), PANEL_UNTIL, settings=settings)
    assert trained.usable and not trained.may_alert
    assert trained.reason.endswith("alerting takes 500 of each.")


@pytest.mark.slow
def test_the_same_panel_gives_the_same_bytes_whatever_the_threads_and_order_of_rows(trained: Trained) -> None:
    litter = [
        np.full(64 * n, 255, dtype=np.uint8) for n in range(1, 2000)
    ]  # memory that is not zero when reused
    del litter
    one = Settings(scoring=SMALL.model_copy(update={"threads": 1}))
    shuffled = made_up_panel(600, signal=2.0).sample(fraction=1.0, shuffle=True, seed=3)
    assert digest(train(shuffled, PANEL_UNTIL, settings=one)) == digest(trained)


def test_no_byte_of_a_stored_tree_is_left_to_chance() -> None:
    tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]).tree_
    state = tree.__getstate__()
    nodes = state["nodes"].copy()
    gap = nodes.dtype.fields["missing_go_to_left"][1] + 1
    assert gap < nodes.dtype.itemsize, "there is no padding to check"
    nodes.view(np.uint8).reshape(len(nodes), -1)[:, gap:] = 7
    tree.__setstate__(state | {"nodes": nodes})
    wipe_padding(tree)
    wiped = tree.__getstate__()["nodes"]
    assert not wiped.view(np.uint8).reshape(len(wiped), -1)[:, gap:].any()
    assert (wiped == state["nodes"]).all()


@pytest.mark.slow
def test_another_process_makes_the_same_bytes(trained: Trained) -> None:
    code = "import test_forest as t; print(t.digest(t.small_training()))"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    assert run.stdout.strip() == digest(trained)


@pytest.mark.slow
def test_outcomes_after_the_training_moment_change_nothing() -> None:
    as_of = PANEL_UNTIL - timedelta(weeks=8)
    panel = made_up_panel(600, signal=2.0)
    turned = panel.with_columns(
        lost=pl.when(pl.col("outcome_known_at") > as_of).then(1 - pl.col("lost")).otherwise(pl.col("lost"))
    )
    assert not turned.equals(panel)
    first, second = (train(p, as_of, settings=Settings(scoring=SMALL)) for p in (panel, turned))
    assert digest(first) == digest(second) and first.metrics == second.metrics


def test_a_driver_is_asked_more_than_an_innocent_fact(trained: Trained) -> None:
    assert trained.bundle is not None
    weight = trained.bundle.forest.feature_importances_
    by_fact = {name: weight[columns].sum() for name, columns in trained.bundle.columns_of_fact().items()}
    assert set(sorted(by_fact, key=lambda name: -by_fact[name])[:2]) == {"days_since_touch", "times_pushed"}
    assert sum(by_fact.values()) == pytest.approx(1)


def test_unknown_facts_stages_never_seen_and_absurd_numbers_still_get_a_probability(trained: Trained) -> None:
    assert trained.bundle is not None
    facts = made_up_facts(3).with_columns(amount=pl.Series([1e300, -1e300, None]), stage=pl.lit("Brand new"))
    empty = facts.with_columns(pl.lit(None, dtype=facts.schema[f.name]).alias(f.name) for f in MODEL_FACTS)
    for frame in (facts, empty):
        found = p_loss(trained.bundle, frame)
        assert ((found > 0) & (found < 1)).all()


def test_a_curve_of_few_deals_is_a_line_and_of_many_bends_but_never_falls() -> None:
    raw = np.random.default_rng(1).random(4000)
    lost = np.random.default_rng(2).random(4000) < raw**2
    few, many = (fit_calibrator(raw, lost, deals=n) for n in (ISOTONIC_FROM - 1, ISOTONIC_FROM))
    assert (few.method, many.method) == ("sigmoid", "isotonic")
    grid = np.linspace(0, 1, 500)
    for curve in (few, many):
        assert (np.diff(curve(grid)) > 0).all()
        assert ((curve(grid) > 0) & (curve(grid) < 1)).all()
    assert many(np.array([0.5]))[0] == pytest.approx(0.25, abs=0.05)


def test_a_ranking_that_is_upside_down_is_not_turned_round() -> None:
    raw = np.linspace(0.1, 0.9, 100)
    curve = fit_calibrator(raw, raw < 0.5, deals=100)
    assert curve(raw) == pytest.approx(np.full(100, 0.5))


def test_quality_of_a_known_case() -> None:
    lost, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])
    found = quality(lost, np.array(["a", "b", "c", "d"]), p, p=p, seed=1)
    assert (found.rows, found.deals, found.won, found.lost) == (4, 4, 2, 2)
    assert found.auc == pytest.approx(0.75)
    assert found.brier == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert found.brier_skill == pytest.approx(1 - 0.185 / 0.25)


def test_ties_count_half_and_one_outcome_alone_has_no_auc() -> None:
    deals = np.array(["a", "b"])
    assert quality(np.array([0, 1]), deals, np.array([5, 5]), p=None, seed=1).auc == 0.5
    assert quality(np.array([1, 1]), deals, np.array([5, 5]), p=None, seed=1).auc is None
    assert quality(np.array([0, 1]), deals, np.array([5, 5]), p=None, seed=1).brier is None


def test_an_interval_grows_when_the_rows_are_the_same_few_deals() -> None:
    random = np.random.default_rng(4)
    p = random.random(60)
    lost = (random.random(60) < p).astype(float)
    once = quality(lost, np.arange(60), p, p=p, seed=1)
    again = quality(np.tile(lost, 20), np.tile(np.arange(60), 20), np.tile(p, 20), p=np.tile(p, 20), seed=1)
    assert once.auc_low is not None and once.auc_high is not None
    assert again.auc == pytest.approx(once.auc)
    assert again.auc_low == pytest.approx(once.auc_low) and again.auc_high == pytest.approx(once.auc_high)
    assert once.auc_high - once.auc_low > 0.1


@pytest.mark.slow
def test_knobs_reach_the_forest() -> None:
    settings = Settings(scoring=Scoring(trees=12, max_depth=3, train_minimum=20, alert_minimum=20))
    bundle = train(made_up_panel(400, signal=2), PANEL_UNTIL, settings=settings).bundle
    assert bundle is not None
    assert len(bundle.forest.estimators_) == 12
    assert max(tree.get_depth() for tree in bundle.forest.estimators_) <= 3


def test_each_stage_is_drawn_from_the_curve_towards_what_came_true_there() -> None:
    raw = np.full(400, 0.5)
    rows = pl.DataFrame(
        {
            "deal_id": [f"d{n}" for n in range(400)],
            "stage": ["Many"] * 300 + ["Few"] * 10 + ["As said"] * 88 + [None] * 2,
            "lost": [1] * 240 + [0] * 60 + [1] * 10 + [0, 1] * 45,
        }
    )
    plain = fit_calibrator(np.linspace(0, 1, 400), np.linspace(0, 1, 400) > 0.5, deals=400)
    curve = with_stages(plain, raw, rows)
    said = float(plain(np.array([0.5]))[0])
    p = curve(np.full(5, 0.5), curve.shifts(pl.Series(["Many", "Few", "As said", "Unseen", None])))
    assert p[0] == pytest.approx((300 * 0.8 + STAGE_DEALS * said) / (300 + STAGE_DEALS))
    assert p[1] == pytest.approx((10 + STAGE_DEALS * said) / (10 + STAGE_DEALS))
    assert p[2:] == pytest.approx([said] * 3, abs=1e-3)
