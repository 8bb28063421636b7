"""What was planted is found again: the explanation gives each cause its due, in order of what it does."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from dealwatch import jobs
from dealwatch.company.process import DRIVERS, PRODUCT_TYPES, STAGES, Slope
from dealwatch.history.ledger import read_ledger
from dealwatch.knobs import Scoring, Source
from dealwatch.moments import morning_of, mornings
from dealwatch.scoring.coalitions import Nodes, expectations
from dealwatch.scoring.explain import shapley
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.forest import Bundle
from dealwatch.scoring.panel import followed_panel
from dealwatch.scoring.trial import bundle_at
from dealwatch.settings import Settings
from dealwatch.warehouse import connect, reading

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
UNTIL = date(2026, 6, 30)
PLANTED = {
    "silence": (
        *("days_since_touch", "days_since_news", "days_since_in", "days_since_out"),
        *("days_since_touch_2", "days_since_touch_3", "days_since_touch_5"),
        *("days_since_named", "days_since_unnamed", "touch_days", "touch_day_share"),
        *("touches_7d", "touches_14d", "touches_30d", "touches_all", "touches_in_stage"),
    ),
    "stall": ("days_in_stage", "cumulative_days_in_stage", "stage_share", "loss_chance"),
    "weak lead source": ("lead_source_win_rate",),
    "push": ("times_pushed", "days_pushed"),
    "weak product type": ("product_type_win_rate",),
    "planned step": ("has_next_step", "days_to_next_step"),
    "weak rep": ("owner_win_rate",),
}
INNOCENT = {
    "industry": ("industry_win_rate",),
    "region": ("region_win_rate",),
    "amount changed": ("amount_change_pct",),
    "handed over": ("owner_changes",),
    "load": ("owner_open_deals",),
    "quarter end": ("days_to_quarter_end", "is_quarter_end"),
}


def planted_log_odds(facts: pl.DataFrame, weak: dict[str, str]) -> dict[str, Floats]:
    """What the simulator adds to each deal's log-odds of losing against moving on, cause by cause."""
    typical = {stage.name: stage.typical_days for stage in STAGES}
    factor = {kind.name: kind.stage_factor for kind in PRODUCT_TYPES}
    usual = np.array([typical[s] * factor[p] for s, p in facts.select("stage", "product_type").iter_rows()])

    def slope(of: Slope, fact: Floats, slows: Slope | None = None) -> Floats:
        ratio = of.ratio / (slows.ratio if slows else 1.0)
        return np.log(ratio) * np.clip((fact - of.above) / of.per, 0, of.most)

    def flat(ratio: float, holds: pl.Series) -> Floats:
        return np.log(ratio) * holds.fill_null(False).to_numpy()

    return {
        "silence": slope(DRIVERS.silence, facts["days_since_touch"].to_numpy(), DRIVERS.silence_slows),
        "stall": slope(DRIVERS.stall, facts["days_in_stage"].to_numpy() / usual, DRIVERS.stall_slows),
        "weak lead source": flat(DRIVERS.weak_source, facts["lead_source"] == weak["weak_lead_source"]),
        "push": slope(DRIVERS.push, facts["times_pushed"].fill_null(0).to_numpy()),
        "weak product type": flat(DRIVERS.weak_product, facts["product_type"] == weak["weak_product_type"]),
        "planned step": flat(DRIVERS.planned_step, facts["has_next_step"]),
        "weak rep": flat(DRIVERS.weak_rep, facts["owner_id"] == weak["weak_rep"]),
    }


def explained(bundle: Bundle, facts: pl.DataFrame, causes: dict[str, tuple[str, ...]]) -> dict[str, Floats]:
    """Shapley values as in every morning, but with the facts that tell of one cause as a group."""
    group = np.full(bundle.forest.n_features_in_, len(causes))  # all the others together
    for number, names in enumerate(causes.values()):
        for name in names:
            group[bundle.columns_of_fact()[name]] = number
    nodes = Nodes.of([tree.tree_ for tree in bundle.forest.estimators_], group)
    worth = bundle.calibrator(expectations(nodes, bundle.inputs(facts), groups=len(causes) + 1))
    return dict(zip(causes, shapley(worth).T, strict=False))


def test_planted_causes_are_found_in_their_order_and_innocent_facts_come_last(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, sources={"crm": Source(path=tmp_path / "drop")}, scoring=Scoring(trees=100)
    )
    jobs.simulate("planted", tmp_path / "drop", deals=8_000, days=730, seed=7, until=UNTIL)
    jobs.upgrade(settings)
    jobs.extract(settings, now=datetime(2026, 6, 30, 22, tzinfo=UTC))
    engine, as_of = connect(settings), morning_of(UNTIL, settings)
    with reading(engine) as connection:
        ledger = read_ledger(connection)
    engine.dispose()
    bundle = bundle_at(followed_panel(ledger, as_of, settings=settings), as_of, settings=settings)
    assert bundle is not None
    facts = facts_at(ledger, mornings(date(2026, 5, 1), UNTIL, settings)[::20], settings=settings)
    truth = json.loads((tmp_path / "drop" / "truth.json").read_text())
    planted = planted_log_odds(facts, truth)
    found = explained(bundle, facts, PLANTED)

    does = {name: float(np.abs(odds - odds.mean()).mean()) for name, odds in planted.items()}
    size = {name: float(np.abs(values).mean()) for name, values in found.items()}
    innocent = {n: float(np.abs(v).mean()) for n, v in explained(bundle, facts, INNOCENT).items()}
    assert list(does) == sorted(does, key=lambda name: -does[name]), "PLANTED is in another order"
    # Pushed deals are mostly stalled ones, by which the forest knows them already: of those only the sign.
    size.pop("push")
    tiers = [["silence"], ["stall"], ["weak lead source", "weak product type"], ["planned step", "weak rep"]]
    lowest = [min(size[name] for name in tier) for tier in tiers]
    highest = [max(size[name] for name in tier) for tier in tiers]
    assert all(
        low > high for low, high in zip(lowest, [*highest[1:], max(innocent.values())], strict=True)
    ), (
        size,
        innocent,
    )
    for name, odds in planted.items():
        assert np.corrcoef(odds, found[name])[0, 1] > 0.5, f"{name} is not told where it acts"
