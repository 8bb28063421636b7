"""In a company with causes the model finds them and holds up later; in one without it is refused."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dealwatch import migrations
from dealwatch.company.world import simulate
from dealwatch.history.extract import extract
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.moments import morning_of, mornings
from dealwatch.scoring.evaluate import evaluate
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.forest import Bundle
from dealwatch.scoring.panel import outcomes_at, training_panel
from dealwatch.scoring.quality import quality
from dealwatch.scoring.registry import champion_at, store
from dealwatch.scoring.score import score
from dealwatch.scoring.succession import promote
from dealwatch.scoring.trial import train
from dealwatch.settings import Settings, Source
from dealwatch.settings import load as load_settings
from dealwatch.tables import deal_scores, deal_snapshots
from dealwatch.warehouse import connect, put, reading, writing
from test_score import NO_RULES

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[1] / "include" / "examples" / "demo.toml"
UNTIL = date(2026, 6, 30)


@dataclass(frozen=True)
class World:
    settings: Settings
    ledger: Ledger


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> object:
    @cache
    def made(name: str, deals: int, days: int, seed: int) -> World:
        home = tmp_path_factory.mktemp(name)
        simulate(name, deals=deals, days=days, seed=seed, until=UNTIL, out=home / "drop")  # type: ignore[arg-type]
        sources = {"demo": Source(path=home / "drop")}
        settings = load_settings(DEMO).model_copy(update={"home": home, "sources": sources})
        engine = connect(settings)
        migrations.upgrade(engine)
        extract(engine, "demo", settings=settings, now=datetime(2026, 6, 30, 22, tzinfo=UTC))
        with reading(engine) as connection:
            ledger = read_ledger(connection)
        engine.dispose()
        return World(settings, ledger)

    return made


def later_rows(there: World, first: date, last: date) -> pl.DataFrame:
    """Facts of these mornings, of deals whose outcome came later."""
    moments = mornings(first, last, there.settings)[::5]
    facts = facts_at(there.ledger, moments, settings=there.settings)
    outcomes = outcomes_at(there.ledger, datetime(2026, 7, 1, tzinfo=UTC))
    return (
        facts.join(outcomes, on="deal_id")
        .filter(pl.col("closed_at") > pl.col("as_of"))
        .sort("as_of", "deal_id")
    )


def auc(bundle: Bundle, rows: pl.DataFrame) -> float:
    found = quality(rows["lost"].to_numpy(), rows["deal_id"].to_numpy(), bundle.raw(rows), p=None, seed=1).auc
    assert found is not None
    return found


def test_scores_of_the_planted_world_hold_up_on_later_outcomes(world: object) -> None:
    there = world("planted", 6000, 548, 7)  # type: ignore[operator]
    trained_on, first, last = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 31)
    as_of = morning_of(trained_on, there.settings)
    trained = train(
        training_panel(there.ledger, as_of, settings=there.settings), as_of, settings=there.settings
    )
    assert trained.may_alert, trained.reason
    engine = connect(there.settings)
    with writing(engine, alone="models") as connection:
        promote(connection, there.settings, store(connection, there.settings, trained, as_of), as_of=as_of)
        model, _ = champion_at(connection, there.settings, morning_of(first, there.settings))
        facts = facts_at(there.ledger, mornings(first, last, there.settings), settings=there.settings)
        put(connection, deal_scores, score(facts, model, NO_RULES, settings=there.settings))
        put(
            connection,
            deal_snapshots,
            facts.select(c.name for c in deal_snapshots.c if c.name in facts.columns),
        )
        (part,) = evaluate(connection, first, last, there.settings).pooled
    engine.dispose()
    assert part.method == "hybrid" and part.p_loss is not None
    assert part.score.auc is not None and part.score.auc >= 0.75
    assert part.p_loss.auc is not None and part.p_loss.auc >= 0.75
    assert part.p_loss.brier_skill_low is not None and part.p_loss.brier_skill_low > 0.1


DRIVERS = {
    "stall": ("days_in_stage", "cumulative_days_in_stage", "stage_share", "loss_chance"),
    "silence": (
        *("days_since_touch", "days_since_news", "days_since_in", "days_since_out"),
        *("touches_7d", "touches_14d", "touches_30d", "touches_all", "touches_in_stage"),
    ),
    "push": ("times_pushed", "days_pushed"),
    "weak rep": ("owner_win_rate",),
    "weak product type": ("product_type_win_rate",),
    "weak lead source": ("lead_source_win_rate",),
    "planned step": ("has_next_step", "days_to_next_step"),
}
INNOCENT = {
    "industry": ("industry_win_rate",),
    "region": ("region_win_rate",),
    "amount changed": ("amount_change_pct",),
    "handed over": ("owner_changes",),
    "load": ("owner_open_deals",),
    "quarter end": ("days_to_quarter_end", "is_quarter_end"),
}


def test_the_planted_drivers_rank_above_the_innocent_facts(world: object) -> None:
    """Shuffle the facts that tell of one cause, and see how much of the AUC on later outcomes goes."""
    there = world("planted", 12_000, 730, 7)  # type: ignore[operator]
    as_of = morning_of(date(2026, 2, 1), there.settings)
    panel = training_panel(there.ledger, as_of, settings=there.settings)
    bundle = train(panel, as_of, settings=there.settings).bundle
    assert bundle is not None
    rows = later_rows(there, date(2026, 2, 2), date(2026, 3, 15))
    whole, random = auc(bundle, rows), np.random.default_rng(0)

    def missed(names: tuple[str, ...]) -> float:
        lost = []
        for _ in range(4):
            order = random.permutation(rows.height)
            lost.append(whole - auc(bundle, rows.with_columns(rows[name].gather(order) for name in names)))
        return float(np.mean(lost))

    drivers = {name: missed(facts) for name, facts in DRIVERS.items()}
    innocent = {name: missed(facts) for name, facts in INNOCENT.items()}
    assert min(drivers.values()) > max(innocent.values()), (drivers, innocent)
    assert min(drivers["stall"], drivers["silence"]) > 0.02


@pytest.mark.parametrize("seed", [7, 8])
def test_without_causes_the_gate_refuses_month_after_month(world: object, seed: int) -> None:
    there = world("null", 6000, 548, seed)  # type: ignore[operator]
    for months in (0, 2, 5):
        as_of = morning_of(UNTIL - timedelta(days=30 * months), there.settings)
        trained = train(
            training_panel(there.ledger, as_of, settings=there.settings), as_of, settings=there.settings
        )
        assert trained.usable and not trained.may_alert
        assert trained.reason.startswith("no evidence: AUC 0.")
