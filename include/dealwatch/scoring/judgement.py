"""Where a model is good and where it is not: its quality out of time by stage and by size of the deal."""

from itertools import pairwise
from typing import Any

import polars as pl

from dealwatch.scoring.forest import UNKNOWN
from dealwatch.scoring.quality import Quality, quality
from dealwatch.settings import Settings

LEAST = 20  # won and lost deals; below, a slice's numbers say nothing and are left unknown
_BANDS = 3  # bands of amount that hold alike many rows
_LEFT_OUT = {"reliability", "calibration_error", "rows"}


def by_slices(judged: pl.DataFrame, *, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Quality of the judged rows (see `trial.train`) under `by_stage` and `by_amount`: a row a slice."""
    seed = settings.scoring.seed
    return {
        "by_stage": [_row(name, rows, seed) for name, rows in parted(judged, "stage")],
        "by_amount": [_row(name, rows, seed) for name, rows in amount_bands(judged)],
    }


def parted(rows: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    """The rows by what the column says, in the order of its words; an unknown one has a name too."""
    named = rows.with_columns(pl.col(column).cast(pl.String).fill_null(UNKNOWN))
    return [(name, named.filter(pl.col(column) == name)) for name in named[column].unique().sort()]


def amount_bands(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The rows in bands of alike many rows by `amount`, by name; without an amount, a band of its own."""
    known = rows.filter(pl.col("amount").is_not_null())
    amounts = known["amount"]
    cuts = (amounts.quantile(n / _BANDS, "nearest") for n in range(1, _BANDS))
    edges = [float("-inf"), *sorted({float(cut) for cut in cuts if cut is not None}), float("inf")]
    bands = []
    for low, high in pairwise(edges):
        inside = known.filter((pl.col("amount") > low) & (pl.col("amount") <= high))
        if inside.height:
            bands.append((_name(low, high), inside))
    unknown = rows.filter(pl.col("amount").is_null())
    return [*bands, *([("(no amount)", unknown)] if unknown.height else [])]


def _name(low: float, high: float) -> str:
    if low == float("-inf"):
        return "any amount" if high == float("inf") else f"up to {high:,.0f}"
    return f"above {low:,.0f}" if high == float("inf") else f"{low:,.0f} to {high:,.0f}"


def _row(name: str, rows: pl.DataFrame, seed: int) -> dict[str, Any]:
    deals = rows.group_by("deal_id").agg(pl.col("lost").max())
    lost = int(deals["lost"].sum())
    if min(lost, deals.height - lost) < LEAST:
        found = Quality(rows.height, deals.height, deals.height - lost, lost)
    else:
        columns = (rows[column].to_numpy() for column in ("lost", "deal_id", "raw"))
        found = quality(*columns, p=rows["p_loss"].to_numpy(), seed=seed)
    told = {key: value for key, value in found.as_dict().items() if key not in _LEFT_OUT}
    return {"name": name, "n": found.rows, **told}
