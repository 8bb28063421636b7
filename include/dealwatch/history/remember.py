"""Remember a landed drop: its raw records into the ledger, and the deals it touches as they stand."""

import hashlib
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, select, update

from dealwatch.crm.contract import COLUMNS, DATES
from dealwatch.crm.values import instant_of, plain_numbers
from dealwatch.history.changes import CHANGE, Told, changes_of, deletions
from dealwatch.history.current import rebuild_deals
from dealwatch.history.knowing import Moments
from dealwatch.history.raw import raw_rows, raw_slices
from dealwatch.history.sequence import with_sequence
from dealwatch.history.terms import Terms, terms_of
from dealwatch.history.vanished import told_alive, vanished_deals
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.sources import LiveSource
from dealwatch.tables import activities, deal_changes, deals, extract_runs, owners, raw_records
from dealwatch.warehouse import add_missing, frame, instant, put, rows_of, writing

_INSTANT_TEXT = "%Y-%m-%dT%H:%M:%S%.6fZ"
_MOMENT = ["deal_id", "field", "known_at", "happened_at"]


def remember(
    engine: Engine,
    extract_id: str,
    name: str,
    source: Source | LiveSource,
    *,
    settings: Settings,
    now: datetime,
) -> dict[str, int]:
    """Take one landed drop into the ledger; how many changes, touches and deals that made.

    All or nothing, and once: a second call finds the drop remembered and changes nothing.
    """
    with writing(engine, alone="ledger") as connection:
        run = connection.execute(select(extract_runs).where(extract_runs.c.extract_id == extract_id)).one()
        if run.state == "remembered":
            return {"changes": 0, "activities": 0, "deals": 0}
        moments = Moments(run.extracted_at, _previous(connection, run), settings.zone, settings.morning)
        stamp = [instant(now).alias("recorded_at"), pl.lit(name).alias("source")]
        _remember_owners(connection, extract_id, name)
        terms = terms_of(run.plan, source)
        told = _told(connection, extract_id, name, terms, moments)
        gone = vanished_deals(connection, extract_id, name, terms)["deal_id"]
        changes = pl.concat(
            [_identified(changes_of(told, moments)), _identified(deletions(gone, moments))], how="diagonal"
        ).drop("told")
        changes = _after_known_ones(connection, changes, name)
        added = add_missing(connection, deal_changes, changes.with_columns(stamp))
        touches = _remember_activities(connection, extract_id, name, moments)
        touched = changes["deal_id"].unique().sort()
        rebuild_deals(connection, touched, source=name)
        _settle(connection, run, added)
    return {"changes": added, "activities": touches, "deals": len(touched)}


def _previous(connection: Connection, run: Any) -> datetime | None:
    query = select(func.max(extract_runs.c.extracted_at, type_=extract_runs.c.extracted_at.type)).where(
        extract_runs.c.source == run.source, extract_runs.c.state == "remembered"
    )
    moment: datetime | None = connection.execute(query).scalar_one()
    return moment


def _told(connection: Connection, extract_id: str, name: str, terms: Terms, moments: Moments) -> Told:
    drop = _drop_deals(raw_rows(connection, extract_id, "deals"), moments)
    history = _tracked(raw_rows(connection, extract_id, "deal_history"), moments)
    known = _known_deals(connection, name, drop.columns)
    if known.is_empty():
        is_news = pl.Series("is_news", [True]).new_from_index(0, history.height)
    else:
        there = frame(connection, select(deal_changes.c.change_id).where(deal_changes.c.source == name))
        is_news = ~_change_ids(history).is_in(there["change_id"].implode())
    return Told(
        deals=drop,
        known=known,
        history=history.with_columns(is_news.alias("is_news")),
        stored=_stored(connection, name, moments),
        known_only_at_close=terms.known_only_at_close,
        tracked=terms.tracked,
        alive=told_alive(connection, extract_id, terms),
    )


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


def _stored(connection: Connection, name: str, moments: Moments) -> pl.DataFrame:
    query = select(*(deal_changes.c[column] for column in CHANGE if column != "told")).where(
        deal_changes.c.source == name, deal_changes.c.known_at >= moments.extracted_at
    )
    return frame(connection, query)


def _known_deals(connection: Connection, name: str, columns: list[str]) -> pl.DataFrame:
    """This source's deals as they stand, in the text of the ledger, with the drop's columns."""
    known = frame(connection, select(deals).where(deals.c.source == name))
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


def _identified(changes: pl.DataFrame) -> pl.DataFrame:
    """Changes with their `change_id`."""
    if "told" not in changes.columns:
        changes = changes.with_columns(told=pl.lit(None, dtype=pl.String))
    return changes.with_columns(_change_ids(changes).alias("change_id"))


def _change_ids(changes: pl.DataFrame) -> pl.Series:
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


def _after_known_ones(connection: Connection, changes: pl.DataFrame, name: str) -> pl.DataFrame:
    """`seq` counted on where the ledger already has changes of the same deal, field and instants."""
    earliest = changes["known_at"].min()
    if earliest is None:
        return changes
    query = select(*(deal_changes.c[column] for column in (*_MOMENT, "seq"))).where(
        deal_changes.c.source == name, deal_changes.c.known_at >= earliest
    )
    last = frame(connection, query).group_by(_MOMENT).agg((pl.col("seq").max() + 1).alias("offset"))
    counted = changes.join(last, on=_MOMENT, how="left", maintain_order="left")
    return counted.with_columns(pl.col("seq") + pl.col("offset").fill_null(0)).drop("offset")


def _remember_activities(connection: Connection, extract_id: str, name: str, moments: Moments) -> int:
    """Touches, each once: rows equal in every column are the same touch."""
    slices = raw_slices(connection, extract_id, "activities")
    return sum(add_missing(connection, activities, _touches(rows, name, moments)) for rows in slices)


def _touches(rows: pl.DataFrame, name: str, moments: Moments) -> pl.DataFrame:
    happened = instant_of(
        pl.col("happened_at"), zone=moments.zone.key, end="end", latest=moments.extracted_at
    )
    own = ["kind", "direction", "by"]
    told = pl.col("happened_at").alias("told")
    touches = rows.select("deal_id", happened.alias("happened_at"), *own, told).unique().sort(pl.all())
    parts = [
        pl.col("deal_id"),
        pl.col("told"),  # its own stamp: the instant of a day that is not over differs from drop to drop
        *(pl.col(column).fill_null("\x00") for column in own),
    ]
    ids = digests(touches.select(pl.concat_str(parts, separator="\x1f").alias("activity_id"))["activity_id"])
    return touches.drop("told").with_columns(
        ids, moments.known(pl.col("happened_at")).alias("known_at"), pl.lit(name).alias("source")
    )


def _remember_owners(connection: Connection, extract_id: str, name: str) -> None:
    rows = raw_rows(connection, extract_id, "owners")
    told = rows.select(
        "owner_id",
        pl.lit(name).alias("source"),
        *(column for column in ("name", "email", "manager_id", "time_zone", "slack_user_id")),
        (pl.col("active") != "false").fill_null(True).alias("is_active"),
    )
    put(connection, owners, told)


def _settle(connection: Connection, run: Any, added: int) -> None:
    """Mark the drop remembered and let go of the raw records of drops before it, which the ledger holds."""
    connection.execute(
        update(extract_runs)
        .where(extract_runs.c.extract_id == run.extract_id)
        .values(state="remembered", changes=added)
    )
    older = [
        row.extract_id
        for row in rows_of(
            connection,
            select(extract_runs.c.extract_id).where(
                extract_runs.c.source == run.source,
                extract_runs.c.state == "remembered",
                extract_runs.c.extract_id != run.extract_id,
            ),
        )
    ]
    for extract_id in older:
        connection.execute(delete(raw_records).where(raw_records.c.extract_id == extract_id))
