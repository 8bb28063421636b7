"""Rows about deals that are not ours to know: set aside when they land, taken up once their deal is known."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.crm.contract import Object
from dealwatch.crm.sheets import FAULTS, Arrival, Batch, reread
from dealwatch.errors import ExtractRefused
from dealwatch.history.quarantine import settle
from dealwatch.settings import Settings
from dealwatch.tables import deals, owners, quarantine
from dealwatch.warehouse import frame

UNKNOWN_DEAL = "no deal is known by the id "
_ABOUT_DEALS: tuple[Object, ...] = ("deal_history", "activities")


@dataclass
class Known:
    """Deal ids of this source known before, those that its drop tells, and those that other sources own.

    open: those known before as open. gone: those that the drop tells as deleted. elsewhere: deal_id, source.
    people: owner_id and email (in lower case) of owners whom other sources tell of.
    """

    before: pl.Series
    open: pl.Series
    told: list[pl.Series]
    gone: list[pl.Series]
    elsewhere: pl.DataFrame
    people: pl.DataFrame

    def own(self) -> pl.Series:
        return pl.concat([self.before, *self.told])


def known_ids(connection: Connection, source: str, *, sources: Collection[str]) -> Known:
    """What is known before a drop of the source; `sources` are those of the settings."""
    columns = (deals.c.deal_id, deals.c.outcome, deals.c.is_deleted)
    own = frame(connection, select(*columns).where(deals.c.source == source))
    is_open = pl.col("outcome").is_null() & ~pl.col("is_deleted")
    others = frame(connection, select(deals.c.deal_id, deals.c.source).where(deals.c.source != source))
    of_others = owners.c.source.in_(sorted({*sources} - {source}))
    people = frame(connection, select(owners.c.owner_id, owners.c.email).where(of_others))
    nothing = pl.Series("deal_id", [], dtype=pl.String)
    return Known(
        before=own["deal_id"],
        open=own.filter(is_open)["deal_id"],
        told=[],
        gone=[nothing],
        elsewhere=others,
        people=people.drop_nulls("email").with_columns(pl.col("email").str.to_lowercase()),
    )


def without_strangers(batch: Batch, known: Known) -> Batch:
    """Set aside rows of deals that another source owns, and history and activities of deals nobody knows.

    A deal told as deleted leaves the drop: what else it tells of it was read before, or is of no use.
    """
    if batch.object == "owners":
        return _without_namesakes(batch, known.people)
    if batch.object in ("deletions", "ids"):
        if "is_deleted" in batch.rows.columns:
            known.gone.append(batch.rows.filter(pl.col("is_deleted") == "true")["deal_id"])
        elif batch.object == "deletions":
            known.gone.append(batch.rows["deal_id"])
        own = batch.rows.filter(pl.col("deal_id").is_in(known.own().implode()))
        return Batch(batch.object, batch.file, own, batch.faulty)
    gone = pl.concat(known.gone)
    if batch.object != "deals":
        gone = gone.filter(~gone.is_in(known.before.implode()))
    if len(gone):
        left = batch.rows.filter(~pl.col("deal_id").is_in(gone.implode()))
        batch = Batch(batch.object, batch.file, left, batch.faulty)
    if batch.object == "deals":
        is_strange = pl.col("deal_id").is_in(known.elsewhere["deal_id"].implode())
        reason = pl.format("deal {} already belongs to another source", "deal_id")
        other = known.elsewhere.filter(pl.col("deal_id").is_in(batch.rows["deal_id"].implode()))["source"]
        remedy = (
            "Make the ids of the two sources differ, for example by a prefix; if it is the same source, give "
            f"the source the name that it had, {' or '.join(sorted(other.unique()))}."
        )
    else:
        is_strange = ~pl.col("deal_id").is_in(known.own().implode())
        reason = pl.format("{}{}", pl.lit(UNKNOWN_DEAL), "deal_id")
        remedy = "Deliver the deal, or mend its own row if that is in quarantine; this row is then taken up."
    return _set_aside(batch, is_strange, "deal_id", reason, remedy)


def _without_namesakes(batch: Batch, people: pl.DataFrame) -> Batch:
    """An owner whom another source tells of with an address stays as that one tells; if with another, say so.

    Nobody's messages go to whom another source means by the same id.
    """
    told = people.select("owner_id", pl.col("email").alias("=email"))
    rows = batch.rows.join(told, on="owner_id", how="left", maintain_order="left")
    own = pl.col("email").str.to_lowercase()
    kept = rows.filter(pl.col("=email").is_null() | (own != pl.col("=email")).fill_null(False))
    rest = Batch(batch.object, batch.file, kept, batch.faulty)
    reason = pl.format("owner {} is somebody else in another source", "owner_id")
    remedy = "Make the ids of the two sources' owners differ, for example by a prefix."
    judged = _set_aside(rest, pl.col("=email").is_not_null(), "owner_id", reason, remedy)
    return Batch(judged.object, judged.file, judged.rows.drop("=email"), judged.faulty)


def _set_aside(batch: Batch, is_strange: pl.Expr, field: str, reason: pl.Expr, remedy: str) -> Batch:
    strange = batch.rows.filter(is_strange).select(
        "row",
        pl.lit(field).alias("field"),
        reason.alias("reason"),
        pl.lit(remedy).alias("remedy"),
        "record",
    )
    faulty = pl.concat([batch.faulty, strange.select(*FAULTS)]).sort("row")
    return Batch(batch.object, batch.file, batch.rows.filter(~is_strange), faulty)


def taken_up(
    connection: Connection,
    arrival: Arrival,
    extract_id: str,
    *,
    settings: Settings,
    known: Known,
    now: datetime,
) -> Iterator[Batch]:
    """Rows of earlier drops that waited in quarantine for a deal known by this drop; they wait no more.

    Their `row` is negative: it is no line of this drop's file.
    """
    waiting = frame(
        connection,
        select(quarantine).where(
            quarantine.c.source == arrival.source,
            quarantine.c.settled_by.is_(None),
            quarantine.c.object.in_(_ABOUT_DEALS),
            quarantine.c.field == "deal_id",
            quarantine.c.reason.startswith(UNKNOWN_DEAL, autoescape=True),
        ),
    ).sort("extract_id", "object", "row")
    ready = waiting.filter(pl.col("reason").str.strip_prefix(UNKNOWN_DEAL).is_in(known.own().implode()))
    for object_ in _ABOUT_DEALS:
        rows = ready.filter(pl.col("object") == object_).with_columns(
            pl.col("record").map_elements(header_of, return_dtype=pl.String).alias("header"),
            (-1 - pl.int_range(pl.len())).alias("place"),
        )
        for part in rows.partition_by("file", "header", maintain_order=True):
            sheet = arrival.sheet_of(object_, part["file"][0])
            if sheet is None:  # the source has none of that kind any more
                continue
            try:
                batch = reread(
                    sheet,
                    part.select(pl.col("place").alias("row"), "record"),
                    arrival,
                    settings=settings,
                )
            except ExtractRefused:  # written in columns that the mapping of this day does not know
                continue
            used = part.filter(pl.col("place").is_in(batch.rows["row"].implode()))
            settle(connection, used.iter_rows(named=True), by=extract_id, as_="replayed", now=now)
            yield batch


def header_of(record: str) -> str:
    """The columns of a record, as text by which records can be told apart."""
    return json.dumps(list(json.loads(record)))
