"""On histories nobody here wrote: the loans are predicted, the others honestly are not."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealwatch import migrations
from dealwatch.history.extract import extract
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.moments import morning_of, mornings
from dealwatch.scoring.evaluate import evaluate
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.leaks import give_aways
from dealwatch.scoring.panel import training_panel
from dealwatch.scoring.registry import champion_at, store
from dealwatch.scoring.score import score
from dealwatch.scoring.succession import promote
from dealwatch.scoring.trial import Trained, train
from dealwatch.settings import Settings
from dealwatch.settings import load as load_settings
from dealwatch.tables import deal_scores, deal_snapshots
from dealwatch.warehouse import connect, put, reading, writing
from test_score import NO_RULES

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXAMPLES = Path(__file__).resolve().parents[1] / "include" / "examples"
Land = Callable[..., tuple[Settings, Engine, Ledger]]


@pytest.fixture
def land(real_data: Path, tmp_path: Path) -> Iterator[Land]:
    """Extract one of the real data sets by its example settings."""
    engines = []

    def landed(name: str, *, now: datetime, **deals: object) -> tuple[Settings, Engine, Ledger]:
        settings = load_settings(EXAMPLES / f"{name}.toml")
        source = settings.sources[name]
        mapping = source.deals.model_copy(update=deals)
        source = source.model_copy(update={"path": real_data / name, "deals": mapping})
        settings = settings.model_copy(update={"home": tmp_path, "sources": {name: source}})
        engine = connect(settings)
        engines.append(engine)
        migrations.upgrade(engine)
        extract(engine, name, settings=settings, now=now)
        with reading(engine) as connection:
            return settings, engine, read_ledger(connection)

    yield landed
    for engine in engines:
        engine.dispose()


def with_fewer_trees(settings: Settings) -> Settings:
    """Enough to be refused by: what a forest finds where there is nothing does not grow with its size."""
    return settings.model_copy(update={"scoring": settings.scoring.model_copy(update={"trees": 30})})


def trained_at(ledger: Ledger, day: date, settings: Settings) -> Trained:
    as_of = morning_of(day, settings)
    return train(training_panel(ledger, as_of, settings=settings), as_of, settings=settings)


def test_a_month_of_loans_is_scored_well_on_outcomes_that_came_later(land: Land) -> None:
    settings, engine, ledger = land("loans", now=datetime(2012, 4, 1, tzinfo=UTC))
    trained = trained_at(ledger, date(2012, 1, 15), settings)
    assert trained.may_alert, trained.reason
    assert trained.metrics["auc"] > 0.78 and trained.metrics["brier"] < 0.18
    _, prior, *others = trained.metrics["rivals"]
    assert prior["name"] == "segment prior"
    assert prior["auc_difference_low"] > 0.05 and prior["brier_difference_high"] < 0
    assert min(rival["auc_difference"] for rival in others) > -0.005
    first, last = date(2012, 1, 16), date(2012, 2, 15)
    with writing(engine, alone="models") as connection:
        version = store(connection, settings, trained, morning_of(date(2012, 1, 15), settings))
        promote(connection, settings, version, as_of=morning_of(date(2012, 1, 15), settings))
        model, _ = champion_at(connection, settings, morning_of(first, settings))
        facts = facts_at(ledger, mornings(first, last, settings), settings=settings)
        put(connection, deal_scores, score(facts, model, NO_RULES, settings=settings))
        put(
            connection,
            deal_snapshots,
            facts.select(c.name for c in deal_snapshots.c if c.name in facts.columns),
        )
        report = evaluate(connection, first, last, settings)
    (part,) = report.pooled
    assert part.p_loss is not None and part.p_loss.rows > 25_000
    assert part.p_loss.auc is not None and part.p_loss.auc > 0.765
    assert part.p_loss.brier is not None and part.p_loss.brier < 0.1825
    assert part.p_loss.brier_skill_low is not None and part.p_loss.brier_skill_low > 0.15
    assert give_aways(ledger) == []


def test_the_challenge_is_refused_early_and_late_because_nothing_in_it_tells(land: Land) -> None:
    settings, _, ledger = land("challenge", now=datetime(2024, 8, 2, tzinfo=UTC))
    for day in (date(2023, 10, 1), date(2024, 8, 1)):
        trained = trained_at(ledger, day, with_fewer_trees(settings))
        assert trained.usable and not trained.may_alert
        assert re.fullmatch(r"no evidence: AUC ([^.]|\.\d)*\.", trained.reason), "not one sentence"
        assert trained.metrics["auc"] < 0.53, f"{day}: a leak, for its columns are independent of the outcome"


def test_the_reseller_is_refused_and_its_open_deals_are_scored_by_rules_alone(land: Land) -> None:
    settings, engine, ledger = land("reseller", now=datetime(2018, 1, 5, tzinfo=UTC))
    assert give_aways(ledger) == []
    day = date(2018, 1, 2)
    trained = trained_at(ledger, day, with_fewer_trees(settings))
    assert not trained.may_alert and trained.reason.startswith("no evidence: AUC 0.")
    with writing(engine, alone="models") as connection:
        store(connection, settings, trained, morning_of(day, settings))
        model, reason = champion_at(connection, settings, morning_of(day, settings))
    assert model is None and reason == trained.reason
    facts = facts_at(ledger, [morning_of(day, settings)], settings=settings)
    scored = score(facts, model, NO_RULES, settings=settings)
    assert scored.height > 1_500 and scored["method"].unique().to_list() == ["rules"]


def test_the_resellers_close_value_is_caught_when_nobody_marked_it(land: Land) -> None:
    _, _, ledger = land("reseller", now=datetime(2018, 1, 5, tzinfo=UTC), known_only_at_close=())
    ((field, sentence),) = give_aways(ledger)
    assert field == "close_value" and "known_only_at_close" in sentence
