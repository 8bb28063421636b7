"""A large drop's deals some at a time, each with its whole history, so that remembering holds little at once.

Raw records lie in the order in which they came. They are read once and put by, compressed, in as many parts
as it takes, each of some deals; nothing of that outlives the transaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl
from sqlalchemy import Connection, delete, insert, select

from dealwatch.crm.contract import Object
from dealwatch.history.raw import raw_column, raw_rows, raw_slices
from dealwatch.history.terms import Terms
from dealwatch.tables import extract_pages

# A first drop of so many records takes about 200 MB to remember.
RECORDS_A_PART = 60_000
_READ_ROWS = 50_000
_OF_DEALS: tuple[Object, ...] = ("deals", "deal_history")


@dataclass(frozen=True)
class Rows:
    """What a drop tells of some deals, or of all.

    tracked: fields whose every change the history tells. alive: ids told to be there beside the deals.
    deal_ids: the deals meant; None for all there are.
    """

    deals: pl.DataFrame
    history: pl.DataFrame
    tracked: tuple[str, ...]
    alive: pl.Series
    deal_ids: pl.Series | None = None


def deal_slices(
    connection: Connection, run: Any, terms: Terms, alive: pl.Series, *, at_once: int
) -> Iterator[Rows]:
    """The drop's deals and their history, all of a deal in one slice; a drop of few records in one."""
    extract_id = run.extract_id
    tracked = terms.tracked
    if tracked is None:
        told = raw_column(connection, extract_id, "deal_history", "field")
        tracked = tuple(told.unique().drop_nulls().sort())
    parts = -(-run.records // at_once)
    if parts <= 1:
        deals, history = (raw_rows(connection, extract_id, of) for of in _OF_DEALS)
        yield Rows(deals, history, tracked, alive)
        return
    names = {of: f"{extract_id} {of}" for of in _OF_DEALS}
    empty = {of: _put_by(connection, extract_id, of, names[of], parts) for of in names}
    placed = pl.DataFrame({"deal_id": alive}).with_columns(_part(parts))
    for part in range(parts):
        deals, history = (pl.concat([empty[of], *_taken(connection, names[of], part)]) for of in _OF_DEALS)
        there = placed.filter(pl.col("=part") == part)["deal_id"]
        ids = pl.concat([deals["deal_id"], history["deal_id"], there]).unique()
        yield Rows(deals, history, tracked, there, ids)
    for name in names.values():
        connection.execute(delete(extract_pages).where(extract_pages.c.extract_id == name))


def _part(parts: int) -> pl.Expr:
    return (pl.col("deal_id").hash() % parts).alias("=part")


def _put_by(connection: Connection, extract_id: str, of: Object, name: str, parts: int) -> pl.DataFrame:
    """Write an object's records in parts, each row of which has a place of its own; the records' columns."""
    number, empty = 0, pl.DataFrame()
    for rows in raw_slices(connection, extract_id, of, rows=_READ_ROWS):
        empty = rows.clear()
        for (part,), some in rows.with_columns(_part(parts)).partition_by("=part", as_dict=True).items():
            number += 1
            payload = BytesIO()
            some.drop("=part").write_ipc(payload, compression="zstd")
            values = {"rows": some.height, "payload": payload.getvalue()}
            connection.execute(
                insert(extract_pages).values(extract_id=name, name=str(part), number=number, **values)
            )
    return empty


def _taken(connection: Connection, name: str, part: int) -> Iterator[pl.DataFrame]:
    c = extract_pages.c
    found = select(c.payload).where(c.extract_id == name, c.name == str(part)).order_by(c.number)
    for payload in connection.execute(found).scalars():
        yield pl.read_ipc(BytesIO(payload))
