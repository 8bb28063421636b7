"""In a world whose outcomes depend on nothing, dealwatch claims no evidence and interrupts nobody."""

from datetime import date
from pathlib import Path

import pytest

from company_ledger import whole
from dealwatch import jobs
from dealwatch.knobs import Scoring, Source
from dealwatch.moments import morning_of
from dealwatch.scoring.panel import followed_panel
from dealwatch.scoring.trial import train
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deliveries, model_versions, rule_evidence
from model_samples import without_rivals
from year import QUARTERS, lived_through, rows, scores_that_do_not_sum

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # A model that is refused each time need not be a good one.
    return lived_through(
        "null", tmp_path_factory.mktemp("null"), deals=4000, seed=7, trees=10, quarters=QUARTERS[2:]
    )


def test_no_model_passes_the_gate(world: Settings) -> None:
    versions = rows(world, model_versions.c.status, model_versions.c.reason)
    assert versions.height == 2
    assert versions["status"].unique().to_list() == ["refused"]
    assert rows(world, deal_scores.c.method)["method"].unique().to_list() == ["rules"]


def test_no_rule_is_called_evidence(world: Settings) -> None:
    evidence = rows(world, rule_evidence.c.rule, rule_evidence.c.alerted, rule_evidence.c.proven)
    assert evidence["alerted"].max() > 300, "nothing was measured, so nothing is shown"
    assert evidence.filter("proven").is_empty()


def test_nothing_interrupts(world: Settings) -> None:
    messages = rows(world, deliveries.c.kind, deliveries.c.state)
    assert messages.height > 500, "no would-be message at all, so nothing is shown"
    assert set(messages["kind"]) == {"digest", "manager_digest"}
    assert set(messages["state"]) == {"not_sent"}


def test_points_sum_to_the_score_for_every_deal_of_half_a_year(world: Settings) -> None:
    judged, wrong = scores_that_do_not_sum(world)
    assert judged > 65_000 and wrong.is_empty()


def verdict(folder: Path, seed: int) -> tuple[bool, str]:
    """Whether a null company of 800 deals in a year passes the gate, and what the gate says."""
    until = date(2026, 6, 30)
    knobs = Scoring(trees=10, panel_every_days=14)
    settings = Settings(home=folder, sources={"crm": Source(path=folder / "drop")}, scoring=knobs)
    as_of = morning_of(until, settings)
    jobs.simulate("null", folder / "drop", deals=800, days=365, seed=seed, until=until)
    panel = followed_panel(whole(folder / "drop"), as_of, settings=settings)
    with without_rivals():
        trained = train(panel, as_of, settings=settings)
    return trained.may_alert, trained.reason


def test_in_ten_worlds_the_gate_refuses_at_least_nine_for_want_of_evidence(tmp_path: Path) -> None:
    told = [verdict(tmp_path / str(seed), seed) for seed in range(1, 11)]
    assert sum(not passed and reason.startswith("no evidence: ") for passed, reason in told) >= 9, told
