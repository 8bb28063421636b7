"""Rows of Salesforce as rows of deals: how a deal ended and when, and when a task was done."""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from dealwatch.crm.salesforce.fields import CLOSED_AT, OUTCOME

_INSTANT = "%Y-%m-%dT%H:%M:%S.000Z"


def with_end(rows: pl.DataFrame, *, until: datetime) -> pl.DataFrame:
    """The rows with outcome (won, lost, null) and the moment of the close.

    Salesforce keeps no such moment. The last change of stage is it; where that is not kept, the close date,
    if it is over, else the last change of all. It is never before the creation: what was taken over from an
    older CRM closed as it was created.
    """
    is_closed, is_won = pl.col("IsClosed") == "true", pl.col("IsWon") == "true"
    created, changed = _instant("CreatedDate"), _instant("LastModifiedDate")
    moved = _instant("LastStageChangeDate") if "LastStageChangeDate" in rows.columns else pl.lit(None, _TYPE)
    # A day counts from its last second, so only a day that is over everywhere is taken.
    day = pl.col("CloseDate").str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    ended = (day + pl.duration(days=1, seconds=-1)).dt.replace_time_zone("UTC")
    over = pl.when(ended <= pl.lit(until, _TYPE)).then(ended)
    closed = pl.max_horizontal(created, pl.coalesce(moved, over, changed))
    return rows.with_columns(
        pl.when(is_won & is_closed).then(pl.lit("won")).when(is_closed).then(pl.lit("lost")).alias(OUTCOME),
        pl.when(is_closed).then(closed.dt.strftime(_INSTANT)).alias(CLOSED_AT),
    )


_TYPE = pl.Datetime("us", "UTC")


def with_moment(rows: pl.DataFrame) -> pl.DataFrame:
    """Tasks with the moment they were done: as it is kept, else the day due, unless that was to come."""
    changed = pl.col("LastModifiedDate")
    due = pl.when(pl.col("ActivityDate") <= changed.str.slice(0, 10)).then("ActivityDate")
    done = [pl.col(name) for name in ("CompletedDateTime",) if name in rows.columns]
    return rows.with_columns(pl.coalesce(*done, due, changed).alias("HappenedAt"))


def _instant(name: str) -> pl.Expr:
    return pl.col(name).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC"
    )


def renamed(rows: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The values of column Field under the names we use, other rows left out."""
    known = pl.col("Field").replace_strict(dict(names), default=None, return_dtype=pl.String)
    return rows.with_columns(known.alias("Field")).filter(pl.col("Field").is_not_null())


def with_whole_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """A history's rows with ids of 15 letters, if it tells such, in the 18 that rows of deals have."""
    short = pl.concat([rows["OldValue"], rows["NewValue"]]).unique().drop_nulls()
    short = short.filter(short.str.contains(r"^[A-Za-z0-9]{15}$"))
    whole = [whole_id(id_) for id_ in short]
    is_id = pl.col("DataType") == "EntityId"
    return rows.with_columns(
        pl.when(is_id).then(pl.col(name).replace(short.to_list(), whole)).otherwise(name).alias(name)
        for name in ("OldValue", "NewValue")
    )


def whole_id(id_: str) -> str:
    """An id of 15 letters, which case tells apart, with the 3 that say which of them are capitals."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    fives = (id_[start : start + 5] for start in (0, 5, 10))
    return id_ + "".join(
        letters[sum(1 << n for n, one in enumerate(five) if one.isupper())] for five in fives
    )
