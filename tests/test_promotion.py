"""A challenger meets the champion on outcomes that neither has seen; what follows keeps to its bounds."""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest

from dealwatch.knobs import Scoring
from dealwatch.scoring.artefacts import packed
from dealwatch.scoring.promotion import Comparison, advice, band_changes, compare, outcome_of, share_moved
from dealwatch.scoring.quality import Difference, Quality
from dealwatch.scoring.registry import Model
from dealwatch.scoring.trial import _refusal, bundle_at
from dealwatch.settings import Settings
from made_up_facts import PANEL_UNTIL, SMALL, START, made_up_facts, made_up_panel
from test_score import NO_RULES

SETTINGS = Settings(scoring=SMALL)
SINCE = START + timedelta(weeks=28)


@pytest.fixture(scope="module")
def panel() -> pl.DataFrame:
    return made_up_panel(900, signal=2.0)


def model(panel: pl.DataFrame, moment: datetime = SINCE, **knobs: object) -> Model:
    bundle = bundle_at(panel, moment, settings=Settings(scoring=SMALL.model_copy(update=knobs)))
    assert bundle is not None
    return Model("v1", moment, bundle, {})


def meet(panel: pl.DataFrame, champion: Model, settings: Settings = SETTINGS) -> Comparison:
    return compare(panel, champion, PANEL_UNTIL, earlier=lambda: panel, settings=settings)


def without_sense(panel: pl.DataFrame) -> pl.DataFrame:
    """The panel with the outcomes of other deals."""
    outcomes = panel.unique("deal_id").sort("deal_id").select("deal_id", "lost")
    turned = outcomes.with_columns(lost=pl.col("lost").shift(7).fill_null(0))
    return panel.drop("lost").join(turned, on="deal_id").sort("as_of", "deal_id")


def test_the_same_recipe_from_the_same_moment_is_exactly_as_good(panel: pl.DataFrame) -> None:
    found = meet(panel, model(panel))
    assert found.outcome == "as good" and min(found.won, found.lost) >= 40
    assert (found.difference.auc, found.difference.brier) == (0, 0)
    assert found.difference.auc_low == found.difference.auc_high == 0


@pytest.mark.slow
def test_the_twin_learns_from_the_panel_of_the_champions_moment_alone(panel: pl.DataFrame) -> None:
    champion = model(panel)
    earlier = panel.filter(pl.col("as_of") < SINCE)
    first, second = (
        compare(panel, champion, PANEL_UNTIL, earlier=lambda rows=rows: rows, settings=SETTINGS)
        for rows in (earlier, without_sense(earlier))
    )
    assert first.outcome == "as good" and second.outcome == "not as good"


def test_a_champion_that_learned_nothing_is_beaten_beyond_doubt(panel: pl.DataFrame) -> None:
    found = meet(panel, model(without_sense(panel)))
    assert found.outcome == "better"
    assert found.difference.auc is not None and found.difference.auc > 0.2
    assert "better on " in found.sentence() and "Brier -" in found.sentence()


def test_a_poorer_recipe_is_not_as_good(panel: pl.DataFrame) -> None:
    poor = Settings(scoring=SMALL.model_copy(update={"min_leaf_weight_share": 0.45}))
    assert meet(panel, model(panel), poor).outcome == "not as good"


def test_the_twin_has_seen_no_outcome_that_it_is_judged_on(panel: pl.DataFrame) -> None:
    later = pl.col("outcome_known_at") > SINCE
    turned = panel.with_columns(lost=pl.when(later).then(1 - pl.col("lost")).otherwise("lost"))
    assert panel.filter(later).height > 500
    first, second = (bundle_at(rows, SINCE, settings=SETTINGS) for rows in (panel, turned))
    assert packed(first) == packed(second) != b""


def test_too_few_outcomes_since_the_champion_tell_nothing(panel: pl.DataFrame) -> None:
    strict = Settings(scoring=SMALL.model_copy(update={"compare_minimum": 5000}))
    few = meet(panel, model(panel), strict)
    assert few.outcome == "unknown" and few.won > 40 and "too few deals to compare" in few.sentence()
    same_moment = meet(panel, model(panel, PANEL_UNTIL))
    assert (same_moment.outcome, same_moment.won, same_moment.lost) == ("unknown", 0, 0)


@pytest.mark.parametrize(
    ("auc", "brier", "outcome"),
    [
        ((0.01, 0.03), (-0.02, 0.001), "better"),  # ranks better beyond doubt
        ((-0.009, 0.03), (-0.02, -0.001), "better"),  # says better probabilities beyond doubt
        ((-0.009, 0.03), (-0.02, 0.004), "as good"),
        ((0, 0), (0, 0), "as good"),
        ((0.01, 0.03), (0.001, 0.006), "not as good"),  # its ranking does not buy worse probabilities
        ((-0.011, 0.03), (-0.02, -0.001), "not as good"),
        ((None, None), (None, None), "unknown"),
    ],
)
def test_as_good_and_better_are_read_from_the_bad_end_of_the_intervals(
    auc: tuple[float, float], brier: tuple[float, float], outcome: str
) -> None:
    found = Difference(auc_low=auc[0], auc_high=auc[1], brier_low=brier[0], brier_high=brier[1])
    assert outcome_of(found) == outcome


@pytest.mark.parametrize(
    ("outcome", "days", "step"),
    [
        ("better", 1, "promote"),
        ("better", 91, "promote"),
        ("as good", 90, "keep"),
        ("as good", 91, "promote"),
        ("unknown", 90, "keep"),
        ("unknown", 91, "ask"),
        ("not as good", 90, "keep"),
        ("not as good", 91, "ask"),
    ],
)
def test_a_champion_gives_way_to_the_better_and_when_old_to_the_as_good(
    panel: pl.DataFrame, outcome: str, days: int, step: str
) -> None:
    champion = model(panel)
    judged = Comparison(SINCE, 50, 50, Difference(0, 0, 0, 0, 0, 0), outcome)  # type: ignore[arg-type]
    found, reason = advice(champion, judged, SINCE + timedelta(days=days), settings=SETTINGS)
    assert found == step and f"{days} days old" in reason


def test_without_a_champion_the_gate_is_enough() -> None:
    assert advice(None, None, SINCE, settings=SETTINGS)[0] == "promote"


def test_each_open_deal_is_shown_under_both_models(panel: pl.DataFrame) -> None:
    facts = made_up_facts(40)
    first, second = model(panel), model(without_sense(panel))
    changes = band_changes(facts, NO_RULES, first, second, settings=SETTINGS)
    assert changes["deal_id"].to_list() == sorted(facts["deal_id"])
    moved = changes.filter(pl.col("band_before") != pl.col("band_after"))
    assert 0 < share_moved(changes) == moved.height / 40 < 1
    same = band_changes(facts, NO_RULES, first, first, settings=SETTINGS)
    assert share_moved(same) == 0 and same["score_before"].equals(same["score_after"])
    alone = band_changes(facts, NO_RULES, None, first, settings=SETTINGS)
    assert alone["p_loss_before"].null_count() == 40 and alone["p_loss_after"].null_count() == 0
    none = band_changes(facts.clear(), NO_RULES, first, second, settings=SETTINGS)
    assert none.height == 0 and share_moved(none) == 0


def test_probabilities_that_are_off_beyond_doubt_are_refused() -> None:
    good = {"auc": 0.7, "auc_low": 0.65, "auc_high": 0.75}
    good |= {"brier_skill": 0.2, "brier_skill_low": 0.1, "brier_skill_high": 0.3}

    def refusal(slope: tuple[float, float, float] | None, bias: tuple[float, float, float]) -> str:
        told = dict(zip(("slope", "slope_low", "slope_high"), slope, strict=True)) if slope else {}
        told |= dict(zip(("bias", "bias_low", "bias_high"), bias, strict=True))
        found = replace(Quality(900, 900, 500, 400), **good, **told)
        return _refusal({"n_won": 500, "n_lost": 400}, found, Scoring())

    fair, right = (1.0, 0.9, 1.1), (0.0, -0.02, 0.02)
    for slope in (fair, (0.5, 0.1, 1.0), (0.7, 0.68, 0.72), (1.49, 1.4, 1.6)):
        assert refusal(slope, right) == "", slope
    for slope in ((0.66, 0.6, 0.9), (1.51, 1.4, 1.6)):
        assert f"the slope, which should be 1, is {slope[0]:.2f}" in refusal(slope, right)
    assert "is unknown" in refusal(None, right)
    assert refusal(fair, (0.09, 0.07, 0.11)) == refusal(fair, (0.12, -0.01, 0.25)) == ""
    assert "more were lost than was said by +0.18 (+0.15 to +0.21)" in refusal(fair, (0.18, 0.15, 0.21))
