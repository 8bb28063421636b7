"""How each open deal has been touched by then: when, how often, by whom, in which way, and at what pace.

A touch counts from when it had happened and was known, so a meeting in the calendar is none yet. Counts run
along a deal's touches in that order: the last one known by a moment holds them.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.scoring.spells import Grid, Lives, microseconds

TOUCH_WINDOWS = (7, 14, 30)
EARLIER_TOUCHES = (2, 3, 5)  # counted back from the last one, which is the first
_ORDER = ("deal", "known_at", "happened_at")


def touches(activities: pl.DataFrame, lives: Lives, grid: Grid, *, time_zone: str) -> pl.DataFrame:
    """The touches of each pair of the grid; `activities` carry `deal`, a number; days are of `time_zone`.

    Columns: last_touch_at, touch_2_at and so on (the last but one), last_in_at, last_out_at, last_named_at,
    last_unnamed_at, last_touch_kind, last_touch_is_unnamed, last_touch_hour, touches_all, touches_unnamed,
    touch_days, same_kind_touches, people_touching, touches_before_..d (those that left the window),
    touches_before_stage, and has_touches, has_directions and has_people: whether anything of the kind was
    known of any deal by then.
    """
    counted = activities.with_columns(known_at=pl.max_horizontal("known_at", "happened_at")).sort(
        *_ORDER, maintain_order=True
    )
    told = grid.latest(_counted(counted, time_zone)).with_columns(pl.col("last_touch_kind").cast(pl.String))
    windows = [_left_the_window(counted, grid, days) for days in TOUCH_WINDOWS]
    known = {
        "has_touches": counted,
        "has_directions": counted.filter(pl.col("direction").is_not_null()),
        "has_people": counted.filter(pl.col("by").is_not_null()),
    }
    used = pl.DataFrame([_is_used(rows, grid).alias(name) for name, rows in known.items()])
    return pl.concat([told, *windows, _before_stage(counted, lives, grid), used], how="horizontal")


def _counted(counted: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """Each touch with what is known of its deal's touches up to it."""

    def latest(which: pl.Expr) -> pl.Expr:
        return pl.when(which).then("happened_at").cum_max().forward_fill().over("deal")

    unnamed, local = pl.col("by").is_null(), pl.col("happened_at").dt.convert_time_zone(time_zone)
    is_new = pl.struct("deal", "by").is_first_distinct() & ~unnamed
    is_new_day = pl.struct("deal", local.dt.date().alias("day")).is_first_distinct()
    return counted.select(
        "deal",
        "known_at",
        *(pl.col("happened_at").shift(n - 1).over("deal").alias(f"touch_{n}_at") for n in EARLIER_TOUCHES),
        last_touch_at=pl.col("happened_at").cum_max().over("deal"),
        last_in_at=latest(pl.col("direction") == "in"),
        last_out_at=latest(pl.col("direction") == "out"),
        last_named_at=latest(~unnamed),
        last_unnamed_at=latest(unnamed),
        last_touch_kind="kind",
        last_touch_is_unnamed=unnamed,
        last_touch_hour=local.dt.hour() + local.dt.minute() / 60,
        touches_all=pl.int_range(1, pl.len() + 1).over("deal"),
        touches_unnamed=unnamed.cast(pl.Int64).cum_sum().over("deal"),
        touch_days=is_new_day.cast(pl.Int64).cum_sum().over("deal"),
        same_kind_touches=pl.int_range(1, pl.len() + 1).over("deal", "kind"),
        people_touching=is_new.cast(pl.Int64).cum_sum().over("deal"),
    )


def _left_the_window(counted: pl.DataFrame, grid: Grid, days: int) -> pl.DataFrame:
    """A touch leaves the window so many days after it happened; known later than that, it never enters."""
    left = pl.max_horizontal("known_at", pl.col("happened_at") + pl.duration(days=days))
    old = counted.select("deal", left.alias("known_at")).sort("deal", "known_at")
    number = pl.int_range(1, pl.len() + 1).over("deal")
    return grid.latest(old.with_columns(number.alias(f"touches_before_{days}d")))


def _before_stage(counted: pl.DataFrame, lives: Lives, grid: Grid) -> pl.DataFrame:
    """How many touches were known when the deal's present stretch began."""
    known = microseconds(counted["known_at"])
    deal = counted["deal"].to_numpy().astype(np.int64)
    run, place = np.unique(lives.timeline["run"].gather(grid.row).to_numpy(), return_inverse=True)
    asked = lives.runs.select("deal", "begun_at")[run]
    before = _count_before(
        deal, known, asked["deal"].to_numpy().astype(np.int64), microseconds(asked["begun_at"])
    )
    return pl.DataFrame({"touches_before_stage": before[place]})


def _count_before(
    deal: NDArray[np.int64], known: NDArray[np.int64], asked: NDArray[np.int64], begun: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many rows (sorted by deal and known) each asked deal had up to the instant, itself included."""
    row = np.concatenate([np.zeros(len(deal), dtype=np.int64), np.ones(len(asked), dtype=np.int64)])
    order = np.lexsort((-row, np.concatenate([known, begun]), np.concatenate([deal, asked])))
    passed = np.cumsum(row[order] == 0)
    at = np.empty(len(order), dtype=np.int64)
    at[order] = passed
    return at[len(deal) :] - np.searchsorted(deal, asked, side="left")


def _is_used(rows: pl.DataFrame, grid: Grid) -> pl.Series:
    """Whether anything of the kind was known of any deal by each moment; if not, a blank means unknown."""
    first = microseconds(rows["known_at"]).min(initial=np.iinfo(np.int64).max)
    return pl.Series((grid.moments >= first)[grid.moment])
