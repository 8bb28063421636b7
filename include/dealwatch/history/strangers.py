"""Rows about deals that are not ours to know: set aside when they land, taken up once their deal is known."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, bindparam, delete, select

from dealwatch.crm.contract import Object
from dealwatch.crm.drops import FAULTS, Batch, Drop, reread
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.tables import deals, quarantine
from dealwatch.warehouse import frame

UNKNOWN_DEAL = "no deal is known by the id "
_ABOUT_DEALS: tuple[Object, ...] = ("deal_history", "activities")


@dataclass
class Known:
    """Deal ids of this source known before, those that its drop tells, and those that other sources own."""

    before: pl.Series
    told: list[pl.Series]
    elsewhere: pl.Series

    def own(self) -> pl.Series:
        return pl.concat([self.before, *self.told])


def known_ids(connection: Connection, source: str) -> Known:
    own = frame(connection, select(deals.c.deal_id).where(deals.c.source == source))
    others = frame(connection, select(deals.c.deal_id).where(deals.c.source != source))
    return Known(before=own["deal_id"], told=[], elsewhere=others["deal_id"])


def without_strangers(batch: Batch, known: Known) -> Batch:
    """Set aside rows of deals that another source owns, and history and activities of deals nobody knows."""
    if batch.object == "owners":
        return batch
    if batch.object == "deals":
        is_strange = pl.col("deal_id").is_in(known.elsewhere.implode())
        reason = pl.format("deal {} already belongs to another source", "deal_id")
        remedy = "Make the ids of the two sources differ, for example by a prefix."
    else:
        is_strange = ~pl.col("deal_id").is_in(known.own().implode())
        reason = pl.format("{}{}", pl.lit(UNKNOWN_DEAL), "deal_id")
        remedy = "Deliver the deal, or mend its own row if that is in quarantine; this row is then taken up."
    strange = batch.rows.filter(is_strange).select(
        "row",
        pl.lit("deal_id").alias("field"),
        reason.alias("reason"),
        pl.lit(remedy).alias("remedy"),
        "record",
    )
    faulty = pl.concat([batch.faulty, strange.select(*FAULTS)]).sort("row")
    return Batch(batch.object, batch.path, batch.rows.filter(~is_strange), faulty)


def taken_up(
    connection: Connection, drop: Drop, source: Source, *, settings: Settings, known: Known
) -> Iterator[Batch]:
    """Rows of earlier drops that waited in quarantine for a deal which is known by this drop; they leave it.

    Their `row` is negative: it is no line of this drop's file.
    """
    waiting = frame(
        connection,
        select(quarantine).where(
            quarantine.c.source == drop.source,
            quarantine.c.object.in_(_ABOUT_DEALS),
            quarantine.c.field == "deal_id",
            quarantine.c.reason.startswith(UNKNOWN_DEAL, autoescape=True),
        ),
    ).sort("extract_id", "object", "row")
    ready = waiting.filter(pl.col("reason").str.strip_prefix(UNKNOWN_DEAL).is_in(known.own().implode()))
    for object_ in _ABOUT_DEALS:
        rows = ready.filter(pl.col("object") == object_).with_columns(
            pl.col("record").map_elements(_header, return_dtype=pl.String).alias("header"),
            (-1 - pl.int_range(pl.len())).alias("place"),
        )
        for part in rows.partition_by("header", maintain_order=True):
            try:
                batch = reread(
                    object_,
                    part.select(pl.col("place").alias("row"), "record"),
                    drop,
                    source,
                    settings=settings,
                )
            except ExtractRefused:  # written in columns that the mapping of this day does not know
                continue
            _leave(connection, part.filter(pl.col("place").is_in(batch.rows["row"].implode())))
            yield batch


def _header(record: str) -> str:
    return json.dumps(list(json.loads(record)))


def _leave(connection: Connection, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        return
    c = quarantine.c
    statement = delete(quarantine).where(
        c.extract_id == bindparam("of_extract"),
        c.object == bindparam("of_object"),
        c.row == bindparam("of_row"),
    )
    keys = rows.select(of_extract="extract_id", of_object="object", of_row="row")
    connection.execute(statement, keys.to_dicts())
