"""In a world whose causes are planted, scores foresee outcomes and what interrupts has been proven."""

from datetime import date

import pytest

from dealwatch.scoring.evaluate import evaluate
from dealwatch.settings import Settings
from dealwatch.tables import deliveries, rule_evidence
from dealwatch.warehouse import connect, reading
from year import lived_through, rows, scores_that_do_not_sum

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return lived_through("planted", tmp_path_factory.mktemp("planted"), seed=7, trees=40)


def test_the_scores_foresee_the_outcomes(world: Settings) -> None:
    with reading(connect(world)) as connection:
        report = evaluate(connection, date(2026, 5, 1), date(2026, 8, 31), world)
    (pooled,) = [part for part in report.pooled if part.method == "hybrid"]
    assert pooled.score.auc is not None and pooled.score.auc >= 0.75
    assert pooled.p_loss is not None
    assert pooled.p_loss.auc is not None and pooled.p_loss.auc >= 0.75
    assert pooled.p_loss.brier_skill_low is not None and pooled.p_loss.brier_skill_low > 0.1
    assert pooled.p_loss.slope_low is not None and pooled.p_loss.slope_high is not None
    assert pooled.p_loss.slope_low <= 1 <= pooled.p_loss.slope_high


def test_points_sum_to_the_score_for_every_deal_of_half_a_year(world: Settings) -> None:
    judged, wrong = scores_that_do_not_sum(world)
    assert judged > 65_000 and wrong.is_empty()


def test_stalls_and_breaches_are_proven_and_interrupt(world: Settings) -> None:
    proven = rows(world, rule_evidence.c.rule, rule_evidence.c.proven).filter("proven")
    assert {"stage_stall", "lifecycle_breach"} <= set(proven["rule"])
    assert "alert" in set(rows(world, deliveries.c.kind)["kind"])
