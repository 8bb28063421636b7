"""A made-up company's ledger, straight from its files: known at once, without a warehouse in between."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import polars as pl

from dealwatch.company.world import simulate
from dealwatch.history.ledger import CHANGE_ORDER, TOUCH_ORDER, Ledger
from dealwatch.warehouse import INSTANT

UNTIL = date(2026, 11, 1)
_TOUCH_COLUMNS = ("deal_id", "happened_at", "known_at", "kind", "direction", "by")
_FIXED = ("created_at", "currency", "industry", "region", "product_type", "lead_source")


def company(
    world: Literal["planted", "null", "leaking"], folder: Path, *, deals: int, days: int, seed: int
) -> tuple[Ledger, dict[str, Any]]:
    """The company's ledger without touches, and its answer sheet."""
    simulate(world, deals=deals, days=days, seed=seed, until=UNTIL, out=folder)
    nothing = {name: pl.String() for name in TOUCH_ORDER} | {"happened_at": INSTANT, "known_at": INSTANT}
    changes = _changes(folder, _FIXED)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return Ledger(changes, pl.DataFrame(schema=nothing)), truth


def whole(folder: Path) -> Ledger:
    """The ledger, touches included, of the company whose files are in the folder; each row known at once."""
    touches = pl.read_csv(folder / "activities.csv", infer_schema=False)
    at = pl.col("happened_at").str.to_datetime("%+").cast(INSTANT)
    touches = touches.with_columns(happened_at=at, known_at=at)
    return Ledger(
        _changes(folder, (*_FIXED, "name", "account")), touches.select(_TOUCH_COLUMNS).sort(TOUCH_ORDER)
    )


def _changes(folder: Path, known_at_once: Sequence[str]) -> pl.DataFrame:
    told = pl.read_csv(folder / "deals.csv", infer_schema=False)
    history = pl.read_csv(folder / "deal_history.csv", infer_schema=False)
    fixed = told.unpivot(
        known_at_once, index=["deal_id", "created_at"], variable_name="field", value_name="new_value"
    )
    closed = told.filter(pl.col("outcome").is_not_null())
    parts = [
        history.select("deal_id", "field", "old_value", "new_value", at="changed_at"),
        _known(fixed, "created_at").with_columns(
            new_value=pl.when(pl.col("field") == "created_at")
            .then(pl.col("new_value").str.replace("+00:00", "Z", literal=True))
            .otherwise("new_value")
        ),
        _known(closed.with_columns(field=pl.lit("outcome"), new_value="outcome"), "closed_at"),
    ]
    changes = pl.concat(parts).with_columns(happened_at=pl.col("at").str.to_datetime("%+").cast(INSTANT))
    changes = changes.with_columns(known_at="happened_at", seq=pl.lit(0, dtype=pl.Int64)).drop("at")
    columns = ("deal_id", "field", "old_value", "new_value", "happened_at", "known_at", "seq")
    return changes.select(columns).sort(CHANGE_ORDER)


def _known(rows: pl.DataFrame, when: str) -> pl.DataFrame:
    old = pl.lit(None, dtype=pl.String()).alias("old_value")
    return rows.select("deal_id", "field", old, "new_value", at=when)
