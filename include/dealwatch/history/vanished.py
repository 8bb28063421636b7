"""Deals that are gone: told so by the source, or left out of a drop that tells all of its kind."""

import polars as pl
from sqlalchemy import Connection, func, select

from dealwatch.crm.sheets import Arrival
from dealwatch.errors import ExtractRefused
from dealwatch.history.raw import raw_column
from dealwatch.history.terms import Terms
from dealwatch.tables import deals, quarantine
from dealwatch.warehouse import frame, rows_of

# Below this many, a share says nothing: one of two deals may well be gone.
FEW_DEALS = 20


def vanished_deals(connection: Connection, extract_id: str, source_name: str, terms: Terms) -> pl.DataFrame:
    """Known deals of the source that are gone by this drop: deal_id, is_open, and is_told when it says so.

    A deal whose row is in quarantine is not gone. A row that does not even say whose it is may be any deal's,
    so then none counts as gone but those that are told.
    """
    known = frame(
        connection,
        select(deals.c.deal_id, deals.c.outcome).where(deals.c.source == source_name, ~deals.c.is_deleted),
    )
    known = known.select("deal_id", pl.col("outcome").is_null().alias("is_open"))
    gone, back = told_deletions(connection, extract_id)
    told = known.filter(pl.col("deal_id").is_in(gone.implode()))
    set_aside = _set_aside_ids(connection, extract_id, terms)
    if set_aside is None or terms.covers == "some":
        return told.with_columns(is_told=pl.lit(True))
    there = [raw_column(connection, extract_id, "deals", "deal_id"), back, set_aside]
    if terms.covers == "ids":
        there.append(raw_column(connection, extract_id, "ids", "deal_id"))
    missing = known.filter(~pl.col("deal_id").is_in(pl.concat([*there, gone]).implode()))
    if terms.covers == "open":
        missing = missing.filter("is_open")
    return pl.concat([told.with_columns(is_told=pl.lit(True)), missing.with_columns(is_told=pl.lit(False))])


def told_deletions(connection: Connection, extract_id: str) -> tuple[pl.Series, pl.Series]:
    """Ids that the source says are deleted, and ids that it says are not."""
    ids = raw_column(connection, extract_id, "deletions", "deal_id")
    is_gone = raw_column(connection, extract_id, "deletions", "is_deleted").fill_null("true") == "true"
    return ids.filter(is_gone), ids.filter(~is_gone)


def told_alive(connection: Connection, extract_id: str, terms: Terms) -> pl.Series:
    """Ids of deals that the drop says are there, beside those whose rows it tells."""
    _, back = told_deletions(connection, extract_id)
    if terms.covers != "ids":
        return back
    return pl.concat([back, raw_column(connection, extract_id, "ids", "deal_id")])


def _set_aside_ids(connection: Connection, extract_id: str, terms: Terms) -> pl.Series | None:
    query = select(quarantine.c.file, quarantine.c.record).where(
        quarantine.c.extract_id == extract_id, quarantine.c.object.in_(("deals", "ids"))
    )
    ids = [(row.record.get(terms.id_in(row.file)) or "").strip() for row in rows_of(connection, query)]
    return pl.Series("deal_id", ids, dtype=pl.String) if all(ids) else None


def refuse_a_drop_that_lacks_too_much(
    connection: Connection, arrival: Arrival, extract_id: str, terms: Terms, most: float
) -> None:
    """Raise when so many open deals are gone that the export is more likely broken than the deals deleted.

    Deals that the source says are deleted do not count: nothing is broken then.
    """
    lacking = pl.col("is_open") & ~pl.col("is_told")
    gone = vanished_deals(connection, extract_id, arrival.source, terms).filter(lacking).height
    known = connection.execute(
        select(func.count()).where(
            deals.c.source == arrival.source, ~deals.c.is_deleted, deals.c.outcome.is_(None)
        )
    ).scalar_one()
    if known >= FEW_DEALS and gone > most * known:
        raise ExtractRefused(
            f"{arrival.place}: {gone} of {known} open deals are not in it any more. "
            f"Nothing was kept. Check the export's filter; if the deals were really deleted, raise "
            f"max_vanished_share in [sources.{arrival.source}] (it is {most}) for this drop"
        )
