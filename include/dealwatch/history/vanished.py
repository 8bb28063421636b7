"""Deals that a full drop leaves out: deleted at the source, unless the drop looks incomplete."""

import polars as pl
from sqlalchemy import Connection, func, select

from dealwatch.crm.drops import Drop
from dealwatch.errors import ExtractRefused
from dealwatch.history.raw import raw_rows
from dealwatch.knobs import Source
from dealwatch.tables import deals, quarantine
from dealwatch.warehouse import frame, rows_of

# Below this many, a share says nothing: one of two deals may well be gone.
FEW_DEALS = 20


def vanished_deals(connection: Connection, extract_id: str, source_name: str, source: Source) -> pl.DataFrame:
    """Known deals of the source that the drop leaves out: deal_id, is_open.

    A deal whose row is in quarantine is not gone. A row that does not even say whose it is may be any deal's,
    so then none counts as gone.
    """
    set_aside = _set_aside_ids(connection, extract_id, source)
    known = frame(
        connection,
        select(deals.c.deal_id, deals.c.outcome).where(deals.c.source == source_name, ~deals.c.is_deleted),
    )
    if set_aside is None:
        known = known.clear()
    told = [raw_rows(connection, extract_id, "deals")["deal_id"], pl.Series(set_aside or [], dtype=pl.String)]
    gone = known.filter(~pl.col("deal_id").is_in(pl.concat(told).implode()))
    return gone.select("deal_id", pl.col("outcome").is_null().alias("is_open"))


def _set_aside_ids(connection: Connection, extract_id: str, source: Source) -> list[str] | None:
    query = select(quarantine.c.record).where(
        quarantine.c.extract_id == extract_id, quarantine.c.object == "deals"
    )
    column = source.deals.columns.get("deal_id", "deal_id")
    ids = [(row.record.get(column) or "").strip() for row in rows_of(connection, query)]
    return ids if all(ids) else None


def refuse_a_drop_that_lacks_too_much(
    connection: Connection, drop: Drop, extract_id: str, source: Source
) -> None:
    """Raise when so many open deals are gone that the export is more likely broken than the deals deleted."""
    gone = vanished_deals(connection, extract_id, drop.source, source).filter("is_open").height
    known = connection.execute(
        select(func.count()).where(
            deals.c.source == drop.source, ~deals.c.is_deleted, deals.c.outcome.is_(None)
        )
    ).scalar_one()
    if known >= FEW_DEALS and gone > source.max_vanished_share * known:
        raise ExtractRefused(
            f"{drop.folder / source.deals.file}: {gone} of {known} open deals are not in it any more. "
            f"Nothing was kept. Check the export's filter; if the deals were really deleted, raise "
            f"max_vanished_share in [sources.{drop.source}] (it is {source.max_vanished_share}) for this drop"
        )
