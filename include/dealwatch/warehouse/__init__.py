"""The warehouse: SQLite (WAL) or PostgreSQL behind one door; every dialect difference lives here.

Reads come back as Polars frames, read in bulk. Writes go in bulk too and are idempotent: `add_missing` adds
what is not there, `replace` writes a slice anew, `put` updates by primary key.
"""

from dealwatch.warehouse.columns import INSTANT, schema_of
from dealwatch.warehouse.connecting import connect, in_memory, knock
from dealwatch.warehouse.frames import (
    add_missing,
    among,
    as_json,
    bytewise,
    frame,
    frames,
    instant,
    put,
    replace,
    rows_of,
)
from dealwatch.warehouse.transactions import reading, unclaimed, writing

__all__ = [
    "INSTANT",
    "add_missing",
    "among",
    "as_json",
    "bytewise",
    "connect",
    "frame",
    "frames",
    "in_memory",
    "instant",
    "knock",
    "put",
    "reading",
    "replace",
    "rows_of",
    "schema_of",
    "unclaimed",
    "writing",
]
