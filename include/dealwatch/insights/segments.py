"""Which part of the business a deal belongs to: one column, or a pair of columns, in words."""

from collections.abc import Sequence
from itertools import combinations

import polars as pl

UNKNOWN = "(unknown)"
SMALL = "(small cells)"  # joint cells with too few deals, together
COLUMNS = ("industry", "region", "product_type", "lead_source", "owner_id")
AMOUNT_BAND, LAST_STAGE = "amount_band", "last_stage"
DIMENSIONS = (*COLUMNS, AMOUNT_BAND, LAST_STAGE)
PAIRS = tuple(combinations(("industry", "region", "product_type", "lead_source", AMOUNT_BAND), 2))
# What a deal has only once it is closed: it describes how deals ended, and foretells nothing.
POST_HOC = (LAST_STAGE,)
BANDS = ("small", "mid", "large")
CELL_MINIMUM = 30


def name_of(by: Sequence[str]) -> str:
    """A dimension's name: its column, or the columns of a pair."""
    return " x ".join(by)


def with_bands(rows: pl.DataFrame, *, refused: str = "") -> pl.DataFrame:
    """Adds `amount_band`: the terciles of these rows' amounts; null without an amount or where refused.

    Two times that are compared have to be banded together, or a deal's band would move with the others'.
    """
    amounts = rows["amount"].drop_nulls()
    if refused or amounts.is_empty():
        return rows.with_columns(pl.lit(None, dtype=pl.Categorical()).alias(AMOUNT_BAND))
    low, high = (amounts.quantile(share, "linear") for share in (1 / 3, 2 / 3))
    band = (
        pl.when(pl.col("amount") <= low)
        .then(pl.lit(BANDS[0]))
        .when(pl.col("amount") <= high)
        .then(pl.lit(BANDS[1]))
        .when(pl.col("amount").is_not_null())
        .then(pl.lit(BANDS[2]))
    )
    return rows.with_columns(band.cast(pl.Categorical()).alias(AMOUNT_BAND))


def labelled(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Adds `segment`: the value of the column, or of both joined; unknown is a value like others."""
    values = [pl.col(name).cast(pl.String).fill_null(UNKNOWN) for name in by]
    return rows.with_columns(pl.concat_str(values, separator=" x ").cast(pl.Categorical()).alias("segment"))


def without_small(rows: pl.DataFrame, minimum: int = CELL_MINIMUM) -> pl.DataFrame:
    """Labelled rows with the segments of too few deals put together into one."""
    is_small = pl.len().over("segment") < minimum
    joined = pl.when(is_small).then(pl.lit(SMALL)).otherwise(pl.col("segment").cast(pl.String))
    return rows.with_columns(joined.cast(pl.Categorical()).alias("segment"))
