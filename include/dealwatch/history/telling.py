"""A drop beside what was known before it: the frames from which its changes are worked out."""

import hashlib
from typing import Any

import polars as pl
from sqlalchemy import Column, ColumnElement, Connection, select, true

from dealwatch.crm.contract import COLUMNS, DATES
from dealwatch.crm.values import instant_of, plain_numbers
from dealwatch.history.changes import CHANGE, Told
from dealwatch.history.found_before import found_before
from dealwatch.history.knowing import Moments
from dealwatch.history.sequence import with_sequence
from dealwatch.history.slices import Rows
from dealwatch.history.terms import Terms
from dealwatch.tables import deal_changes, deals
from dealwatch.warehouse import among, frame

_INSTANT_TEXT = "%Y-%m-%dT%H:%M:%S%.6fZ"


def told_of(connection: Connection, rows: Rows, name: str, terms: Terms, moments: Moments) -> Told:
    """What the rows of a drop, or of a slice of its deals, tell, beside what is known of those deals."""
    drop = _drop_deals(rows.deals, moments)
    history = _tracked(rows.history, moments)
    if terms.closes_with_stage:
        drop = _closed_no_sooner(drop, history)
    own = rows.deal_ids
    known = _known_deals(connection, name, drop.columns, own)
    if known.is_empty():
        is_news = pl.Series("is_news", [True]).new_from_index(0, history.height)
    else:
        is_news = _is_news(connection, history, name, own)
    return Told(
        deals=drop,
        known=known,
        history=history.with_columns(is_news.alias("is_news")),
        stored=_stored(connection, name, moments, own),
        known_only_at_close=terms.known_only_at_close,
        tracked=rows.tracked,
        alive=rows.alive,
    )


def _is_news(connection: Connection, history: pl.DataFrame, name: str, ids: pl.Series | None) -> pl.Series:
    """Whether each tracked change is one that the ledger has neither as told nor as found by comparing."""
    c = deal_changes.c
    asked = select(c.change_id).where(c.source == name, of_deals(c.deal_id, ids, connection))
    is_news = ~change_ids(history).is_in(frame(connection, asked)["change_id"].implode())
    moved = history.filter(is_news)["deal_id"].unique()
    if moved.is_empty():
        return is_news
    columns = [c[column] for column in ("change_id", *CHANGE) if column not in ("told", "seq")]
    of_them = (c.source == name, of_deals(c.deal_id, moved, connection))
    known = frame(connection, select(*columns).where(*of_them))
    found = known.filter(identified(known)["change_id"] == known["change_id"])
    numbered = history.with_row_index("row")
    own = numbered.filter(pl.col("deal_id").is_in(moved.implode()))
    return is_news & ~numbered["row"].is_in(found_before(own, found, known).implode())


def of_deals(column: Column[Any], ids: pl.Series | None, connection: Connection) -> ColumnElement[bool]:
    """Whether a row is of one of these deals; of any, without ids."""
    return true() if ids is None else among(column, ids, connection)


def _drop_deals(rows: pl.DataFrame, moments: Moments) -> pl.DataFrame:
    zone = moments.zone.key
    created = instant_of(pl.col("created_at"), zone=zone, end="start", latest=moments.extracted_at)
    closed = instant_of(pl.col("closed_at"), zone=zone, end="end", latest=moments.extracted_at)
    return rows.with_columns(
        created.alias("=created"),
        closed.alias("=closed"),
        pl.col("closed_at").str.to_date("%Y-%m-%d", strict=False).alias("=closes_on"),
        created.dt.strftime(_INSTANT_TEXT).alias("created_at"),
        pl.when(pl.col("outcome") != "open").then("outcome").alias("outcome"),
    ).drop("closed_at")


def _closed_no_sooner(drop: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """The deals, none closed before it came into the stage it is in: a close date may long have been over.

    Else its outcome would be known while it was open.
    """
    moves = history.filter(pl.col("field") == "stage").group_by("deal_id", maintain_order=True)
    last = moves.agg(pl.col("new_value").last().alias("=stage"), pl.col("happened_at").last().alias("=moved"))
    rows = drop.join(last, on="deal_id", how="left", maintain_order="left")
    is_later = (pl.col("=stage") == pl.col("stage")) & (pl.col("=moved") > pl.col("=closed"))
    return rows.with_columns(
        pl.when(is_later).then("=moved").otherwise("=closed").alias("=closed"),
        pl.when(is_later.fill_null(False).not_()).then("=closes_on").alias("=closes_on"),
    ).drop("=stage", "=moved")


def _tracked(rows: pl.DataFrame, moments: Moments) -> pl.DataFrame:
    """The drop's tracked changes in sequence; `told` is their own stamp and first value, as delivered.

    A day that is not over is cut at the extract, so its instant differs from drop to drop; its text does not.
    """
    happened = instant_of(pl.col("changed_at"), zone=moments.zone.key, end="end", latest=moments.extracted_at)
    old = "old_told" if "old_told" in rows.columns else "old_value"
    told = pl.concat_str("changed_at", pl.col(old).fill_null("\x00"), separator="\x1f")
    return with_sequence(
        rows.select(
            "deal_id",
            "field",
            "old_value",
            "new_value",
            happened.alias("happened_at"),
            told.alias("told"),
        )
    )


def _stored(connection: Connection, name: str, moments: Moments, ids: pl.Series | None) -> pl.DataFrame:
    query = select(*(deal_changes.c[column] for column in CHANGE if column != "told")).where(
        deal_changes.c.source == name,
        deal_changes.c.known_at >= moments.extracted_at,
        of_deals(deal_changes.c.deal_id, ids, connection),
    )
    return frame(connection, query)


def _known_deals(
    connection: Connection, name: str, columns: list[str], ids: pl.Series | None
) -> pl.DataFrame:
    """This source's deals as they stand, in the text of the ledger, with the drop's columns."""
    of_them = of_deals(deals.c.deal_id, ids, connection)
    known = frame(connection, select(deals).where(deals.c.source == name, of_them))
    plain = [column for column in COLUMNS["deals"] if column in columns and column != "deal_id"]
    others = [c for c in columns if c not in (*COLUMNS["deals"], "=created", "=closed", "=closes_on")]
    attributes = pl.col("attributes").str.json_decode(pl.Struct(dict.fromkeys(others, pl.String)))
    text: dict[str, pl.Expr] = {
        "amount": plain_numbers(pl.col("amount").cast(pl.String)),
        "created_at": pl.col("created_at").dt.strftime(_INSTANT_TEXT),
        **{date: pl.col(date).dt.strftime("%Y-%m-%d") for date in DATES},
    }
    return known.select(
        "deal_id",
        pl.col("is_deleted").alias("=is_deleted"),
        pl.col("closed_at").alias("=closed"),
        *(text.get(column, pl.col(column)).alias(column) for column in plain),
        *(attributes.struct.field(column).alias(column) for column in others),
    )


def identified(changes: pl.DataFrame) -> pl.DataFrame:
    """Changes with their `change_id`."""
    if "told" not in changes.columns:
        changes = changes.with_columns(told=pl.lit(None, dtype=pl.String))
    return changes.with_columns(change_ids(changes).alias("change_id"))


def change_ids(changes: pl.DataFrame) -> pl.Series:
    """A tracked change is itself whenever it is told; one found by comparing belongs to that moment."""
    found = [
        pl.col("old_value").fill_null("\x00"),
        pl.col("happened_at").dt.strftime(_INSTANT_TEXT),
        pl.col("known_at").dt.strftime(_INSTANT_TEXT) if "known_at" in changes.columns else pl.lit(""),
    ]
    parts = [
        pl.col("deal_id"),
        pl.col("field"),
        pl.col("new_value").fill_null("\x00"),
        pl.coalesce("told", pl.concat_str(found, separator="\x1f")),
    ]
    return digests(changes.select(pl.concat_str(parts, separator="\x1f").alias("id"))["id"])


def digests(text: pl.Series) -> pl.Series:
    """A short digest of each text, the same on every machine and in every version."""
    told = [hashlib.blake2b(value.encode(), digest_size=16).hexdigest() for value in text]
    return pl.Series(text.name, told, dtype=pl.String)
