"""Real data lands by mapping alone, gaps are explained, and nothing is known before its time."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from conftest import ROOT
from dealwatch import migrations
from dealwatch.history.extract import extract
from dealwatch.history.ledger import Ledger, read_ledger, values_as_of
from dealwatch.history.quarantine import quarantined
from dealwatch.settings import load
from dealwatch.tables import deals
from dealwatch.warehouse import connect, frame, reading
from drop_files import at

pytestmark = pytest.mark.real


def landed(
    name: str, real_data: Path, home: Path, now: datetime
) -> tuple[dict[str, int], Ledger, pl.DataFrame, list[dict[str, Any]]]:
    """Counts, ledger, deals and quarantine of one of the data sets, by its example settings."""
    settings = load(ROOT / "include" / "examples" / f"{name}.toml")
    moved = settings.sources[name].model_copy(update={"path": real_data / name})
    settings = settings.model_copy(update={"home": home, "sources": {name: moved}})
    engine = connect(settings)
    migrations.upgrade(engine)
    counts = extract(engine, name, settings=settings, now=now)
    with reading(engine) as connection:
        found = (
            counts,
            read_ledger(connection),
            frame(connection, select(deals).order_by(deals.c.deal_id)),
            quarantined(connection),
        )
    engine.dispose()
    return found


def outcomes(rows: pl.DataFrame) -> dict[str | None, int]:
    return dict(Counter(rows["outcome"].to_list()))


@pytest.mark.slow
def test_the_loans_land_whole(real_data: Path, tmp_path: Path) -> None:
    counts, ledger, rows, aside = landed("loans", real_data, tmp_path, at("2012-03-20 05:00"))
    assert (counts["deals"], counts["activities"], len(aside)) == (13_087, 72_413, 0)
    assert outcomes(rows) == {"won": 2_246, "lost": 10_442, None: 399}
    tracked = ledger.changes.filter(pl.col("field").is_in(["stage", "owner_id"]))
    assert tracked.height == 102_723
    # What was known on a morning in the middle is what the history says up to then.
    morning = at("2012-01-16 05:00")
    history = pl.read_csv(real_data / "loans" / "deal_history.csv", infer_schema=False).filter(
        pl.col("changed_at").str.to_datetime("%+", time_zone="UTC") <= morning, pl.col("field") == "stage"
    )
    last = history.group_by("deal_id", maintain_order=True).agg(pl.col("new_value").last()).sort("deal_id")
    known = values_as_of(ledger, morning).filter(pl.col("field") == "stage").sort("deal_id")
    assert known.select("deal_id", "new_value").equals(last)


def test_the_challenge_tells_stage_and_cycle_only_at_the_close(real_data: Path, tmp_path: Path) -> None:
    counts, ledger, rows, aside = landed("challenge", real_data, tmp_path, at("2024-08-01 05:00"))
    assert (counts["deals"], len(aside)) == (5_000, 0)
    assert outcomes(rows) == {"won": 2_263, "lost": 2_737}
    closes = rows.select("deal_id", "closed_at")
    told = ledger.changes.filter(pl.col("field").is_in(["stage", "sales_cycle_days", "outcome"])).join(
        closes, on="deal_id"
    )
    assert told.height == 15_000
    assert told.filter(pl.col("known_at") < pl.col("closed_at")).is_empty()
    one = rows.row(0, named=True)
    before = values_as_of(ledger, one["closed_at"] - timedelta(seconds=1)).filter(deal_id=one["deal_id"])
    assert set(before["field"]) == {
        "amount",
        "created_at",
        "industry",
        "lead_source",
        "owner_id",
        "product_type",
        "region",
    }


def test_the_resellers_files_are_joined_and_its_gaps_explained(real_data: Path, tmp_path: Path) -> None:
    counts, ledger, rows, aside = landed("reseller", real_data, tmp_path, at("2018-01-01 05:00"))
    assert (counts["deals"], len(aside)) == (8_300, 500)
    assert outcomes(rows) == {"won": 4_238, "lost": 2_473, None: 1_589}
    assert {(row["file"], row["field"]) for row in aside} == {("sales_pipeline.csv", "created_at")}
    assert all("it cannot be told when the deal began" in row["reason"] for row in aside)
    assert all(row["record"]["deal_stage"] == "Prospecting" for row in aside)
    # Joins: every product has its list price, also the misspelt one; every agent a region.
    assert rows["amount"].null_count() == rows["region"].null_count() == 0
    assert set(rows["product_type"]) >= {"GTX Pro"} and "GTXPro" not in set(rows["product_type"])
    assert set(rows.filter(product_type="GTX Pro")["amount"]) == {4821.0}
    assert "technology" in set(rows["industry"]) and "technolgy" not in set(rows["industry"])
    missing = rows.filter(pl.col("account").is_null())
    assert missing.height == 1_088  # of 1,425; the other 337 have no date either
    assert missing["industry"].null_count() == missing.height and missing["outcome"].null_count() == 1_088
    closes = rows.select("deal_id", "closed_at")
    value = ledger.changes.filter(field="close_value").join(closes, on="deal_id")
    assert value.height == 6_711
    assert value.filter(pl.col("known_at") != pl.col("closed_at")).is_empty()
