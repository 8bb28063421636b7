"""Raw records of a landed drop, read back as columns."""

import json
from collections.abc import Iterator

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.crm.contract import COLUMNS, Object
from dealwatch.tables import raw_records
from dealwatch.warehouse import frame

SLICE_ROWS = 200_000
_FEW_ROWS = 50_000  # where all but one column is dropped again


def raw_rows(connection: Connection, extract_id: str, object_: Object) -> pl.DataFrame:
    """The records of one object of a drop, in the order of the file: all text, in the contract's columns."""
    return pl.concat(raw_slices(connection, extract_id, object_))


def raw_column(connection: Connection, extract_id: str, object_: Object, name: str) -> pl.Series:
    """One column of the records of an object, in the same order; null where the drop does not tell it."""
    missing = pl.repeat(None, pl.len(), dtype=pl.String).alias(name)
    return pl.concat(
        rows.select(name if name in rows.columns else missing).to_series()
        for rows in raw_slices(connection, extract_id, object_, rows=_FEW_ROWS)
    )


def raw_slices(
    connection: Connection, extract_id: str, object_: Object, *, rows: int = SLICE_ROWS
) -> Iterator[pl.DataFrame]:
    """The same, some at a time; at least one slice, which is empty when the drop has no such file.

    Every record of one file has the same columns.
    """
    c = raw_records.c
    query = select(c.row, c.record).where(c.extract_id == extract_id, c.object == object_).order_by(c.row)
    found = frame(connection, query.limit(rows))
    names = list(json.loads(found["record"][0])) if len(found) else list(COLUMNS[object_])
    told = pl.Struct(dict.fromkeys(names, pl.String))
    while True:
        yield found["record"].str.json_decode(told).struct.unnest()
        if len(found) < rows:
            return
        found = frame(connection, query.where(c.row > found["row"][-1]).limit(rows))
