"""Other models are judged on the forest's own rows, and every difference has an interval."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from dealwatch.knobs import Pipeline, Scoring
from dealwatch.scoring.rivals import compared, predictions, rivals, segment_prior
from dealwatch.settings import Settings
from made_up_facts import PANEL_UNTIL, SMALL, made_up_panel, small_training

SETTINGS = Settings(scoring=SMALL)
NAMES = ["forest", "segment prior", "logistic regression", "gradient boosting"]


@pytest.mark.slow
def test_training_says_how_far_the_forest_is_ahead_of_each() -> None:
    found = small_training().metrics["rivals"]
    assert [row["name"] for row in found] == NAMES
    prior = found[1]
    assert prior["auc_difference_low"] > 0, "the prior knows nothing of what drives these losses"
    assert prior["brier_difference_high"] < 0
    for row in found[1:]:
        assert row["auc_difference"] == pytest.approx(found[0]["auc"] - row["auc"])
        assert row["auc_difference_low"] <= row["auc_difference"] <= row["auc_difference_high"]


@pytest.mark.slow
def test_a_rival_learns_from_what_was_known_at_the_moment() -> None:
    panel, moment = made_up_panel(400, signal=2.0), PANEL_UNTIL - timedelta(weeks=15)
    later = panel.filter(pl.col("as_of") >= moment)
    judged = later.with_columns(raw=pl.lit(0.5), p_loss=pl.lit(0.5))
    turned = panel.with_columns(
        lost=pl.when(pl.col("outcome_known_at") > moment).then(1 - pl.col("lost")).otherwise("lost")
    )
    first, second = (rivals(rows, judged, moment, settings=SETTINGS) for rows in (panel, turned))
    assert first == second


def test_the_prior_is_the_smoothed_loss_rate_of_stage_and_segment() -> None:
    learned = pl.DataFrame(
        {
            "stage": ["A"] * 30 + ["B"] * 10,
            "region": ["N"] * 40,
            "lost": [1] * 30 + [0] * 10,
            "weight": [1.0] * 40,
        }
    )
    later = pl.DataFrame({"stage": ["A", "B", "C", None], "region": ["N"] * 4})
    settings = Settings(pipeline=Pipeline(segment_by=("region",)), scoring=Scoring())
    found = segment_prior(learned, later, settings=settings)
    assert found == pytest.approx([45 / 50, 15 / 30, 0.75, 0.75])


def test_facts_nobody_ever_knew_stop_no_rival() -> None:
    panel = made_up_panel(200, signal=2.0).with_columns(days_to_close=pl.lit(None, dtype=pl.Float64))
    said = predictions(panel, panel, settings=SETTINGS)
    assert all(((p > 0) & (p < 1)).all() for p in said.values())


def test_against_itself_nothing_differs() -> None:
    p = np.linspace(0.1, 0.9, 50)
    rows = pl.DataFrame(
        {
            "deal_id": [f"d{n}" for n in range(50)],
            "lost": [n % 3 == 0 for n in range(50)],
            "raw": p,
            "p_loss": p,
        }
    ).with_columns(pl.col("lost").cast(pl.Int8))
    (_, twin) = compared(rows, {"twin": p}, settings=SETTINGS)
    assert [twin[f"auc_difference{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]
    assert [twin[f"brier_difference{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]
