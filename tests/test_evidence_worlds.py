"""In a company where losing has causes the rules that name them are proven; where it has none, none is."""

from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

from dealwatch import migrations
from dealwatch.alerts.evidence import records
from dealwatch.alerts.rules import load_rules
from dealwatch.company.world import simulate
from dealwatch.history.extract import extract
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.moments import morning_of
from dealwatch.settings import Settings
from dealwatch.warehouse import connect, reading

UNTIL = date(2026, 3, 2)
pytestmark = pytest.mark.slow


def company(world: Literal["planted", "null"], folder: Path) -> tuple[Ledger, Settings]:
    settings = Settings(home=folder / "home", sources={"crm": {"path": folder / "drop"}})
    simulate(world, deals=6000, days=540, seed=7, until=UNTIL, out=folder / "drop")
    engine = connect(settings)
    migrations.upgrade(engine)
    extract(engine, "crm", settings=settings, now=morning_of(UNTIL, settings))
    with reading(engine) as connection:
        ledger = read_ledger(connection)
    engine.dispose()
    return ledger, settings


def proven(ledger: Ledger, settings: Settings) -> set[tuple[str, int]]:
    rules = load_rules(settings.alerts.rules)
    rows = records(ledger, morning_of(UNTIL, settings), rules, settings=settings)
    assert rows.filter(pl.col("alerted") >= settings.alerts.evidence_minimum).height >= 5
    return set(rows.filter("proven").select("rule", "level").iter_rows())


def tossed_again(ledger: Ledger, seed: int) -> Ledger:
    """The same company, each closed deal's outcome decided by another coin."""
    closes = (pl.col("field") == "outcome") & pl.col("new_value").is_in(["won", "lost"])
    closed = ledger.changes.filter(closes)["deal_id"].unique().sort()
    random = np.random.default_rng(seed)
    coin = pl.DataFrame(
        {"deal_id": closed, "coin": np.where(random.random(len(closed)) < 0.43, "won", "lost")}
    )
    tossed = ledger.changes.join(coin, on="deal_id", how="left", maintain_order="left").with_columns(
        new_value=pl.when(closes).then("coin").otherwise("new_value")
    )
    return Ledger(changes=tossed.drop("coin"), activities=ledger.activities)


def test_where_losing_has_causes_the_rules_that_name_them_are_proven(tmp_path: Path) -> None:
    found = proven(*company("planted", tmp_path))
    assert {("stage_stall", 1), ("stage_stall", 2), ("lifecycle_breach", 2)} <= found


def test_where_losing_has_no_cause_no_rule_is_proven(tmp_path: Path) -> None:
    ledger, settings = company("null", tmp_path)
    worlds = [ledger, *(tossed_again(ledger, seed) for seed in range(9))]
    assert sum(bool(proven(world, settings)) for world in worlds) <= 1
