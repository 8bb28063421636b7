"""Which rows in quarantine may not be replayed, because newer or better word of the deal was told."""

import json
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, or_, select

from dealwatch.crm.sheets import Batch
from dealwatch.crm.values import instant_of
from dealwatch.history.knowing import Moments
from dealwatch.history.ledger import CHANGE_ORDER
from dealwatch.history.raw import raw_column
from dealwatch.history.terms import Terms, reads_a_source
from dealwatch.tables import deal_changes, extract_runs
from dealwatch.warehouse import among, frame

_KEYS = {"deals": "deal_id", "owners": "owner_id"}


def superseded(
    connection: Connection, name: str, waiting: pl.DataFrame, terms: Terms
) -> tuple[pl.DataFrame, pl.Series]:
    """Rows that are overtaken, with `by`, the run that did it; and places of rows that only wait on.

    A drop settles what it overtakes when it lands; this finds what an earlier release, or an event between
    two drops, left. Of two rows of one deal in the same drop the first usable one was taken; the other
    waits on.
    """
    nothing = waiting.clear().with_columns(pl.lit(None, pl.String).alias("by"))
    idle = [pl.Series("place", [], dtype=pl.Int64)]
    found = [nothing]
    for object_ in _KEYS:
        rows = waiting.filter(pl.col("object") == object_).with_columns(
            pl.struct("record", "file")
            .map_elements(partial(_id_in, object_=object_, terms=terms), return_dtype=pl.String)
            .alias("id")
        )
        if rows.is_empty():
            continue
        newest = _newest_whole(connection, name)
        by_drop = (
            rows.filter(pl.col("extracted_at") < newest["extracted_at"][0]) if len(newest) else rows.clear()
        )
        found.append(by_drop.with_columns(pl.lit(newest["extract_id"][0] if len(newest) else "").alias("by")))
        rows = rows.join(by_drop.select("place"), on="place", how="anti")
        is_last = (pl.col("id") == "") | pl.col("id").is_last_distinct()
        last = rows.filter(pl.col("id") != "").group_by("id").agg(pl.col("extract_id").last().alias("by"))
        doubled = rows.filter(~is_last).join(last, on="id")
        found.append(doubled.filter(pl.col("by") != pl.col("extract_id")))
        idle.append(doubled.filter(pl.col("by") == pl.col("extract_id"))["place"])
        rows = rows.filter(is_last)
        for (extract_id,), part in rows.group_by("extract_id"):
            told = raw_column(connection, str(extract_id), object_, _KEYS[object_])  # type: ignore[arg-type]
            idle.append(part.filter(pl.col("id").is_in(told.implode()))["place"])
        if object_ == "deals":
            found.append(_by_events(connection, name, rows))
    columns = nothing.columns
    return pl.concat([one.select(columns) for one in found]), pl.concat(idle)


def lie_behind(connection: Connection, name: str, batch: Batch, moments: Moments) -> pl.Series:
    """Rows of a history that tell of a time before the newest change that the ledger has of the same field.

    What a replay adds is read after all that was known before, so such a row would stand as the newest word.
    Of changes at one instant the one that leads on from what stands comes after it.
    """
    c, group = deal_changes.c, ["deal_id", "field"]
    rows = batch.rows
    happened = instant_of(pl.col("changed_at"), zone=moments.zone.key, end="end", latest=moments.extracted_at)
    query = select(*(c[one] for one in (*CHANGE_ORDER, "new_value"))).where(
        c.source == name, among(c.deal_id, rows["deal_id"].unique(), connection)
    )
    stands = (
        frame(connection, query)
        .sort(CHANGE_ORDER)
        .group_by(group)
        .agg(pl.col("new_value").last().alias("=stands"), pl.col("happened_at").max().alias("=newest"))
    )
    told = rows.with_columns(happened.alias("=happened")).join(stands, on=group)
    leads_on = pl.col("old_value").eq_missing(pl.col("=stands"))
    is_level = pl.col("=happened") == pl.col("=newest")
    return told.filter((pl.col("=happened") < pl.col("=newest")) | (is_level & ~leads_on))["row"]


def _id_in(row: dict[str, Any], *, object_: str, terms: Terms) -> str:
    record = json.loads(row["record"])
    column = terms.id_in(row["file"]) if object_ == "deals" else "owner_id"
    return (record.get(column) or "").strip()


def newest_drop(connection: Connection, name: str) -> Any | None:
    """extract_id and extracted_at of the newest drop that landed; None when none did.

    A read of a few deals for events is none: it says nothing of the others.
    """
    c = extract_runs.c
    query = select(c.extract_id, c.extracted_at).where(
        c.source == name, c.state.in_(("landed", "remembered")), reads_a_source()
    )
    return connection.execute(query.order_by(c.extracted_at.desc(), c.extract_id).limit(1)).one_or_none()


def _newest_whole(connection: Connection, name: str) -> pl.DataFrame:
    """The newest drop that told of all deals."""
    c = extract_runs.c
    query = select(c.extract_id, c.extracted_at).where(
        c.source == name, c.state.in_(("landed", "remembered")), or_(c.covers.is_(None), c.covers == "all")
    )
    return frame(connection, query.order_by(c.extracted_at.desc(), c.extract_id).limit(1))


def _by_events(connection: Connection, name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of deals of which the ledger learnt more after their drop, but for what replays added."""
    c, r = deal_changes.c, extract_runs.c
    replays = select(r.recorded_at).where(r.source == name, r.state == "replayed")
    query = (
        select(c.deal_id, func.max(c.recorded_at, type_=c.recorded_at.type).label("told_at"))
        .where(c.source == name, among(c.deal_id, rows["id"], connection), c.recorded_at.not_in(replays))
        .group_by(c.deal_id)
    )
    later = frame(connection, query)
    over = rows.join(later, left_on="id", right_on="deal_id").filter(
        pl.col("told_at") > pl.col("recorded_at")
    )
    return over.with_columns(pl.lit("an event").alias("by"))
