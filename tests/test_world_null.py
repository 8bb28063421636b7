"""In a world whose outcomes depend on nothing, dealwatch claims no evidence and interrupts nobody."""

import pytest

from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deliveries, model_versions, rule_evidence
from year import MONTHS, lived_through, rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return lived_through("null", tmp_path_factory.mktemp("null"), seed=7)


def test_no_model_passes_the_gate(world: Settings) -> None:
    versions = rows(world, model_versions.c.status, model_versions.c.reason)
    assert versions.height == len(MONTHS)
    assert versions["status"].unique().to_list() == ["refused"]
    assert rows(world, deal_scores.c.method)["method"].unique().to_list() == ["rules"]


def test_no_rule_is_called_evidence(world: Settings) -> None:
    evidence = rows(world, rule_evidence.c.rule, rule_evidence.c.alerted, rule_evidence.c.proven)
    assert evidence["alerted"].max() > 300, "nothing was measured, so nothing is shown"
    assert evidence.filter("proven").is_empty()


def test_nothing_interrupts(world: Settings) -> None:
    messages = rows(world, deliveries.c.kind, deliveries.c.state)
    assert messages.height > 1000, "no would-be message at all, so nothing is shown"
    assert set(messages["kind"]) == {"digest"}
    assert set(messages["state"]) == {"not_sent"}
