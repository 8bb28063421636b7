"""Rows in quarantine of which a later drop tells again: they are out of date, whatever is mended.

Replaying one would put an older word over a newer one.
"""

import json
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.crm.sheets import Arrival
from dealwatch.history.quarantine import settle
from dealwatch.history.terms import Terms
from dealwatch.tables import quarantine
from dealwatch.warehouse import rows_of


def overtake(
    connection: Connection,
    arrival: Arrival,
    extract_id: str,
    terms: Terms,
    *,
    told: pl.Series,
    now: datetime,
) -> None:
    """Settle rows of earlier drops that this one tells again, well or badly. told: ids it tells well, or as
    gone.

    A drop that tells all deals overtakes every one of them, one with owners every owner. Of histories and
    touches the same record, faulty once more, overtakes itself: a row that is usable by now is no second one.
    """
    c = quarantine.c
    waiting = rows_of(
        connection, select(quarantine).where(c.source == arrival.source, c.settled_by.is_(None))
    )
    earlier = [row for row in waiting if row.extract_id != extract_id]
    if not earlier:
        return
    mine = [row for row in waiting if row.extract_id == extract_id]
    again = {_content(row) for row in mine}
    ids = {*told, *(deal_of(row, terms) for row in mine if row.object == "deals")} - {None}
    has_owners = any(sheet.object == "owners" for sheet in arrival.sheets)
    is_whole = terms.covers == "all"
    over = [
        row._mapping
        for row in earlier
        if _content(row) in again
        or row.object in ("deletions", "ids")  # which are of their own night
        or (row.object == "deals" and (is_whole or deal_of(row, terms) in ids))
        or (row.object == "owners" and has_owners)
    ]
    settle(connection, over, by=extract_id, as_="overtaken", now=now)


def deal_of(row: Any, terms: Terms) -> str | None:
    """Whose a row of deals in quarantine is, if it says so."""
    return (row.record.get(terms.id_in(row.file)) or "").strip() or None


def _content(row: Any) -> tuple[str, str, str]:
    return row.object, row.file, json.dumps(row.record, sort_keys=True)
