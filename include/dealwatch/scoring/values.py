"""Each open deal's own values as known at a moment: amount, dates, owner, and what happened to them.

Counts and sums run along a deal's rows in the order they became known: the last row known by a moment holds
them.
"""

import numpy as np
import polars as pl

from dealwatch.scoring.spells import Grid, microseconds

NAMES = ("name", "account", "currency")


def own_values(
    changes: pl.DataFrame, amounts: pl.DataFrame, grid: Grid, *, large_quantile: float
) -> pl.DataFrame:
    """Names, amounts, dates and hand-overs of each pair of the grid; `changes` carry `deal`, a number.

    amounts: those of all deals; deal, known_at, amount.
    """
    kept = ("deal", "known_at", "new_value")
    rows = {
        field: changes.filter(pl.col("field") == field).select(kept)
        for field in (*NAMES, "close_date", "next_step_on", "owner_id")
    }
    return pl.concat(
        [
            *(grid.latest(rows[name].rename({"new_value": name})) for name in NAMES),
            grid.latest(_with_first(amounts)),
            _large_amounts(amounts, grid, large_quantile),
            grid.latest(_close_dates(rows["close_date"])),
            grid.latest(
                rows["next_step_on"].select("deal", "known_at", _day("new_value").alias("next_step_on"))
            ),
            _is_used(rows["next_step_on"], grid).alias("has_next_steps").to_frame(),
            grid.latest(_owners(rows["owner_id"])),
        ],
        how="horizontal",
    )


def _with_first(amounts: pl.DataFrame) -> pl.DataFrame:
    return amounts.with_columns(first_amount=pl.col("amount").drop_nulls().first().over("deal"))


def _large_amounts(amounts: pl.DataFrame, grid: Grid, quantile: float) -> pl.DataFrame:
    """The quantile of all deals' amounts at each moment, closed deals among them; currencies as they are."""
    known_from = microseconds(amounts["known_at"])
    known_to = microseconds(amounts.select(pl.col("known_at").shift(-1).over("deal")).to_series())
    amount = amounts["amount"].to_numpy()
    by_moment = np.full(len(grid.moments), np.nan)
    for number, moment in enumerate(grid.moments):
        known = amount[(known_from <= moment) & (moment < known_to)]
        known = known[~np.isnan(known)]
        if len(known):
            by_moment[number] = np.quantile(known, quantile)
    return pl.DataFrame({"large_amount": by_moment[grid.moment]}).fill_nan(None)


def _day(column: str) -> pl.Expr:
    return pl.col(column).str.to_date("%Y-%m-%d")


def _close_dates(rows: pl.DataFrame) -> pl.DataFrame:
    """The close date, and how often and how far it was moved to a later day than the one before."""
    before = pl.col("close_date").forward_fill().shift(1).over("deal")
    pushed = (pl.col("close_date") - before).dt.total_days().clip(lower_bound=0).fill_null(0)
    return (
        rows.with_columns(close_date=_day("new_value"))
        .with_columns(pushed=pushed)
        .select(
            "deal",
            "known_at",
            "close_date",
            times_pushed=(pl.col("pushed") > 0).cum_sum().over("deal"),
            days_pushed=pl.col("pushed").cum_sum().over("deal"),
        )
    )


def _owners(rows: pl.DataFrame) -> pl.DataFrame:
    """How often a deal went from one owner to another; its first owner is no hand-over."""
    before = pl.col("new_value").forward_fill().shift(1).over("deal")
    changed = (pl.col("new_value") != before).fill_null(False)
    return rows.select("deal", "known_at", owner_changes=changed.cum_sum().over("deal"))


def _is_used(rows: pl.DataFrame, grid: Grid) -> pl.Series:
    """Whether anything of the kind was known of any deal by each moment; if not, a blank means unknown."""
    first = microseconds(rows["known_at"]).min(initial=np.iinfo(np.int64).max)
    return pl.Series((grid.moments >= first)[grid.moment])
