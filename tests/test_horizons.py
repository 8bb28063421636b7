"""Chances of losing a deal within so many days: who counts, and what may be told of it."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from dealwatch.scoring.calibration import Calibrator
from dealwatch.scoring.horizons import COLUMNS, Leaves, capped, chances_within, followed
from dealwatch.scoring.panel import followed_panel, training_panel
from dealwatch.scoring.score import score
from dealwatch.scoring.trial import Trained, train
from dealwatch.settings import Settings
from ledger_rows import at, deal, ledger
from made_up_facts import PANEL_UNTIL, SMALL, made_up_facts, made_up_panel, small_training
from test_score import NO_RULES

UTC_SETTINGS = Settings(time_zone="UTC")
JUST = Calibrator(0.0, 1.0, np.empty(0), np.empty(0))  # leaves a chance as it is


@pytest.fixture(scope="module")
def trained() -> Trained:
    return small_training()


def company() -> pl.DataFrame:
    """A panel of 2 March: one deal lost after 19 days, one won, one open since January, one deleted."""
    return followed_panel(
        ledger(
            {
                "gone": deal("2026-01-01 09:00", stage="A", deleted=[("2026-01-25", "true")]),
                "lost": deal("2026-01-01 09:00", stage="A", outcome=[("2026-01-20", "lost")]),
                "open": deal("2026-01-01 09:00", stage="A"),
                "won": deal("2026-01-10 09:00", stage="A", outcome=[("2026-02-10", "won")]),
            }
        ),
        at("2026-03-02 03:00"),
        settings=UTC_SETTINGS,
    )


def test_an_open_deal_counts_as_not_lost_on_the_mornings_watched_for_long_enough() -> None:
    rows = followed(company(), 30, until=at("2026-03-02 03:00"))
    last = rows.group_by("deal_id").agg(pl.col("lost_within").max(), pl.col("as_of").max()).sort("deal_id")
    assert last["deal_id"].to_list() == ["lost", "open", "won"]
    assert last["lost_within"].to_list() == [1, 0, 0]
    assert rows["as_of"].max() <= at("2026-01-31 03:00")  # type: ignore[operator]
    assert rows.group_by("deal_id").agg(pl.col("weight").sum().round(9))["weight"].to_list() == [1.0] * 3


def test_a_deal_lost_after_the_horizon_was_not_lost_within_it() -> None:
    late = followed_panel(
        ledger({"d": deal("2026-01-01 09:00", stage="A", outcome=[("2026-02-15", "lost")])}),
        at("2026-04-02 03:00"),
        settings=UTC_SETTINGS,
    )
    by_days = {days: followed(late, days, until=at("2026-04-02 03:00")) for days in (30, 60)}
    early = pl.col("as_of") < at("2026-01-16 00:00")
    assert by_days[30].filter(early)["lost_within"].unique().to_list() == [0]
    assert by_days[30].filter(~early)["lost_within"].unique().to_list() == [1]
    assert by_days[60]["lost_within"].unique().to_list() == [1]


def test_what_became_known_later_than_the_moment_is_no_loss_yet() -> None:
    told_late = (
        pl.when(pl.col("deal_id") == "lost").then(pl.lit(at("2026-02-20"))).cast(pl.Datetime("us", "UTC"))
    )
    panel = company().with_columns(outcome_known_at=told_late)
    before, after = (followed(panel, 7, until=at(day)) for day in ("2026-02-10", "2026-02-21"))
    assert before.height and before["lost_within"].sum() == 0
    assert after.filter(pl.col("lost_within") == 1)["deal_id"].unique().to_list() == ["lost"]


def test_the_training_panel_is_the_followed_one_without_open_deals() -> None:
    there = company()
    assert there.filter(pl.col("lost").is_null())["deal_id"].unique().to_list() == ["open"]
    closed = ledger({"open": deal("2026-01-01 09:00", stage="A")})
    assert training_panel(closed, at("2026-03-02 03:00"), settings=UTC_SETTINGS).is_empty()


def test_no_horizon_is_above_a_longer_one_nor_above_p_loss() -> None:
    raw = np.array([[0.5, 0.4, 0.9], [0.1, 0.2, 0.3]])
    found = capped(raw, (JUST, JUST, JUST), np.array([0.7, 0.25]))
    told = np.column_stack([found[name] for name in COLUMNS])
    assert told == pytest.approx(np.array([[0.4, 0.4, 0.7], [0.1, 0.2, 0.25]]))
    assert list(capped(raw, (JUST, None, None), np.ones(2))) == ["p_loss_30"]


def test_scores_carry_the_horizons_and_a_rows_never_depend_on_its_neighbours(trained: Trained) -> None:
    assert trained.bundle is not None
    facts = made_up_facts(300, seed=4)
    p = np.linspace(0.01, 0.99, 300)
    found = chances_within(trained.bundle, facts, p)
    assert list(found)[::-1] == list(COLUMNS)
    alone = chances_within(trained.bundle, facts[7:8], p[7:8])
    assert all(alone[name][0] == found[name][7] for name in COLUMNS)
    assert (found["p_loss_30"] <= found["p_loss_60"]).all() and (found["p_loss_90"] <= p).all()


def test_rules_alone_tell_no_horizon() -> None:
    scored = score(made_up_facts(3), None, NO_RULES, settings=Settings())
    assert scored.select(COLUMNS).null_count().row(0) == (3, 3, 3)


def test_horizons_are_found_again_on_later_rows(trained: Trained) -> None:
    for told in trained.metrics["horizons"]:
        assert told["auc_low"] > 0.6 and told["brier_skill_low"] > 0, told


def test_a_history_shorter_than_a_horizon_says_so_and_leaves_it_null() -> None:
    short = made_up_panel(600, signal=2.0, weeks=26)
    trained = train(short, PANEL_UNTIL - timedelta(weeks=24), settings=Settings(scoring=SMALL))
    assert trained.bundle is not None
    by_days = {told["days"]: told for told in trained.metrics["horizons"]}
    assert "auc" in by_days[30] and by_days[90]["reason"].startswith("too short a history")
    found = chances_within(trained.bundle, made_up_facts(5), np.ones(5))
    assert "p_loss_90" not in found and "p_loss_30" in found


def test_leaves_are_averaged_tree_by_tree() -> None:
    leaves = Leaves(np.array([0, 2]), np.array([[0.0, 0.2, 0.4, 0.8]] * 3))
    assert leaves.mean(np.array([[1, 0], [0, 1]]))[:, 0] == pytest.approx([0.3, 0.4])


def test_quality_is_told_by_stage_and_by_amount(trained: Trained) -> None:
    by_stage, by_amount = trained.metrics["by_stage"], trained.metrics["by_amount"]
    assert {row["name"] for row in by_stage} >= {"Negotiate", "Propose", "Qualify"}
    assert len([row for row in by_amount if row["name"] != "(no amount)"]) == 3
    assert sum(row["n"] for row in by_stage) == sum(row["n"] for row in by_amount) == trained.judged.height
    unknown = [row for row in by_amount if row["name"] == "(no amount)"]
    assert all(row["auc"] is None for row in unknown if min(row["won"], row["lost"]) < 20)
