"""The kept pages of a live source as a drop: what its tables feed, in order, and the moment it speaks for."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, func, select

from dealwatch.crm.contract import LIVE_OBJECTS, Object
from dealwatch.crm.files import Chunk
from dealwatch.crm.pages import Table
from dealwatch.crm.sheets import KEYS, Arrival, Sheet
from dealwatch.history.staging import Held, kept_rows, progress
from dealwatch.knobs import Join
from dealwatch.tables import extract_runs

# Rows worked on at once; a CRM's rows are wider than a file's, and JSON of each is made twice.
_CHUNK_ROWS = 20_000


def arrival_of_pages(connection: Connection, held: Held) -> Arrival:
    """The pages as a drop; the connection has to stay open while its sheets are read."""
    sheets: list[Sheet] = []
    repeats = 0
    for object_ in LIVE_OBJECTS:
        own, doubled = _sheets(connection, held, object_)
        sheets += own
        repeats += doubled
    of_deals = held.plan.feeding("deals")[0]
    return Arrival(
        source=held.source,
        name=held.plan.begun_at.isoformat(),
        extracted_at=_speaks_for(connection, held),
        place=_place(held, of_deals),
        sheets=tuple(sheets),
        covers=held.plan.covers,
        repeats=repeats,
    )


def _speaks_for(connection: Connection, held: Held) -> datetime:
    """The end of reading by the source's clock: what happened by then may have been told.

    What happened before it and was not told, because its page had been read, is late news of the next drop.
    The clock comes in whole seconds, so the second has to be over; and no drop speaks for an earlier moment
    than the one before it.
    """
    told = [one.read_at for one in progress(connection, held.extract_id).values() if one.read_at is not None]
    ended = max(told).replace(microsecond=0) + timedelta(seconds=1) if told else held.plan.begun_at
    c = extract_runs.c
    query = select(func.max(c.extracted_at, type_=c.extracted_at.type)).where(
        c.source == held.source, c.state != "reading"
    )
    before: datetime | None = connection.execute(query).scalar_one()
    earliest = [] if before is None else [before + timedelta(microseconds=1)]
    return max(held.plan.begun_at, ended, *earliest)


def _sheets(connection: Connection, held: Held, object_: Object) -> tuple[list[Sheet], int]:
    """The sheets of one object, its rows counted on from table to table; and how many ids came twice."""
    tables = held.plan.feeding(object_)
    rows = progress(connection, held.extract_id)
    begins, starts = 0, []
    for table in tables:
        starts.append(begins)
        begins += rows[table.name].rows
    last, repeats = _last_rows(connection, held, tables, starts)
    sheets = [
        Sheet(
            object=object_,
            file=table.name,
            path=_place(held, table),
            mapping=table.mapping,
            where=f"sources.{held.source}.{object_}",
            chunks=partial(_chunks, connection, held, table, start, last),
            beside=partial(_beside, connection, held),
        )
        for table, start in zip(tables, starts, strict=True)
    ]
    return sheets, repeats


def _place(held: Held, table: Table) -> Path:
    return Path(f"{held.source}: {table.name}")


def _last_rows(
    connection: Connection, held: Held, tables: Sequence[Table], starts: Sequence[int]
) -> tuple[pl.Series | None, int]:
    """The rows to take when ids came twice: of each id the one told last; and how many are left out.

    A list that changes while it is paged through tells a row twice, and two tables may tell the same one.
    """
    parts = [pl.DataFrame(schema={"id": pl.String, "row": pl.Int64})]
    for table, start in zip(tables, starts, strict=True):
        key = KEYS.get(table.object) if table.object is not None else None
        column = table.mapping.columns.get(key, key) if key else None
        if column not in table.columns:
            return None, 0  # nothing is told once, or the mapping will be refused for it
        row = start
        for page in kept_rows(connection, held.extract_id, table, [column]):
            ids = page.select(pl.col(column).str.strip_chars().alias("id"))
            parts.append(ids.with_columns(pl.int_range(1 + row, 1 + row + pl.len()).alias("row")))
            row += page.height
    rows = pl.concat(parts)
    is_named = pl.col("id").is_not_null() & (pl.col("id") != "")
    last = rows.filter(is_named).group_by("id").agg(pl.col("row").max())
    repeats = rows.filter(is_named).height - last.height
    if not repeats:
        return None, 0
    return pl.concat([last["row"], rows.filter(~is_named)["row"]]), repeats


def _chunks(
    connection: Connection, held: Held, table: Table, start: int, last: pl.Series | None
) -> Iterator[Chunk]:
    """The table's rows as a file's: counted from 1, the columns marked; at least one chunk."""
    row = start
    waiting = [_empty(table)]
    for page in kept_rows(connection, held.extract_id, table):
        numbered = page.select(
            pl.int_range(1 + row, 1 + row + pl.len(), dtype=pl.Int64).alias("row"),
            *(pl.col(name).alias(f"={name}") for name in table.columns),
        )
        row += page.height
        waiting.append(numbered)
        if sum(one.height for one in waiting) >= _CHUNK_ROWS:
            yield _chunk(waiting, last)
            waiting = [_empty(table)]
    if len(waiting) > 1 or row == start:
        yield _chunk(waiting, last)


def _chunk(pages: list[pl.DataFrame], last: pl.Series | None) -> Chunk:
    rows = pl.concat(pages)
    return Chunk(rows if last is None else rows.filter(pl.col("row").is_in(last.implode())))


def _empty(table: Table) -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.Int64, **{f"={name}": pl.String for name in table.columns}})


def _beside(connection: Connection, held: Held, join: Join) -> tuple[Path, Iterator[Chunk]] | None:
    """The plan's table that a join names, each key once, as it was told last."""
    table = next((table for table in held.plan.tables if table.name == join.file), None)
    if table is None:
        return None
    needed = [*dict.fromkeys([*join.on.values(), *join.take.values()])]
    if any(name not in table.columns for name in needed):
        return _place(held, table), iter([Chunk(_empty(table))])
    rows = pl.concat(
        [pl.DataFrame(schema=dict.fromkeys(needed, pl.String))]
        + list(kept_rows(connection, held.extract_id, table, needed))
    )
    keys = [pl.col(name).str.strip_chars() for name in join.on.values()]
    last = rows.filter(pl.struct(keys).is_last_distinct())
    marked = last.select(
        pl.int_range(1, 1 + pl.len(), dtype=pl.Int64).alias("row"),
        *(pl.col(name).alias(f"={name}") for name in needed),
    )
    return _place(held, table), iter([Chunk(marked)])
