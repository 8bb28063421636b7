"""Frames out of the warehouse and into it, in bulk."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Select,
    Table,
    Text,
    bindparam,
    collate,
    delete,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from dealwatch.warehouse.columns import INSTANT, as_stored, stored_type, to_csv, to_sqlite, typed, types_of

_READ_ROWS = 50_000
_WRITE_ROWS = 10_000


def frame(connection: Connection, query: Select[Any]) -> pl.DataFrame:
    """The query's rows as a frame with the tables' types.

    Instants arrive as `Datetime("us", "UTC")`, JSON as its text.
    """
    return pl.concat(frames(connection, query))


def frames(connection: Connection, query: Select[Any]) -> Iterator[pl.DataFrame]:
    """As `frame`, slice by slice and at least one, so that no more is held than is kept of each.

    The driver's rows are taken as they are: an object per row would double the time.
    """
    schema = types_of(query.selected_columns)
    plain = [as_stored(column, connection.dialect.name) for column in query.selected_columns]
    asked = query.with_only_columns(*plain, maintain_column_froms=True)
    result = connection.execute(asked.execution_options(stream_results=True))
    stored = {name: stored_type(type_, connection.dialect.name) for name, type_ in schema.items()}
    values = [typed(name, type_, stored[name]) for name, type_ in schema.items()]
    is_first = True
    try:
        while (rows := _driver_rows(result)) or is_first:
            yield pl.DataFrame(rows, schema=stored, orient="row").select(values)
            is_first = False
            if not rows:
                return
    finally:
        result.close()


def _driver_rows(result: CursorResult[Any]) -> list[Any]:
    rows: list[Any] = list(result.cursor_strategy.fetchmany(result, result.cursor, _READ_ROWS))
    return rows


def rows_of(connection: Connection, query: Select[Any]) -> Sequence[Any]:
    """A few rows as objects; for bulk use `frame`."""
    return connection.execute(query).all()


def among(column: Column[Any], values: pl.Series, connection: Connection) -> ColumnElement[bool]:
    """Whether a text column holds one of many values, as one parameter."""
    if connection.dialect.name == "postgresql":
        return column == func.any(bindparam(None, values.to_list(), type_=postgresql.ARRAY(Text)))
    listed = func.json_each(bindparam(None, as_json(values.to_list()), type_=Text)).table_valued("value")
    return column.in_(select(listed.c.value))


def bytewise(column: Column[Any], connection: Connection) -> ColumnElement[str]:
    """A text column in the order in which frames are sorted."""
    return collate(column, "C") if connection.dialect.name == "postgresql" else column


def add_missing(connection: Connection, table: Table, rows: pl.DataFrame) -> int:
    """Insert the rows whose primary key is not there yet; how many were new."""
    return _insert(connection, table, rows, on_conflict="nothing")


def put(connection: Connection, table: Table, rows: pl.DataFrame) -> int:
    """Insert the rows, or update those whose primary key is there; how many were given."""
    return _insert(connection, table, rows, on_conflict="update")


def replace(connection: Connection, table: Table, where: ColumnElement[bool], rows: pl.DataFrame) -> int:
    """Write a slice of a table anew: what `where` matches goes, the rows come; how many there are.

    Run inside one transaction, so that nobody sees the slice half written.
    """
    connection.execute(delete(table).where(where))
    return _insert(connection, table, rows, on_conflict="raise")


def _insert(connection: Connection, table: Table, rows: pl.DataFrame, *, on_conflict: str) -> int:
    if rows.is_empty():
        return 0
    unknown = set(rows.columns) - set(table.columns.keys())
    if unknown:
        raise ValueError(f"{table.name} has no columns {sorted(unknown)}")
    if connection.dialect.name == "postgresql":
        return _copy(connection, table, rows, on_conflict=on_conflict)
    statement: Any = sqlite.insert(table)
    keys = list(table.primary_key.columns)
    if on_conflict == "nothing":
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    elif on_conflict == "update":
        changed = {name: statement.excluded[name] for name in rows.columns if not table.c[name].primary_key}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    before = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
    compiled = statement.compile(dialect=connection.dialect, column_keys=rows.columns)
    names = compiled.positiontup or []
    stored = rows.select(to_sqlite(table.c[name]) for name in names)
    insert_sql = str(compiled)
    for part in stored.iter_slices(_WRITE_ROWS):
        connection.exec_driver_sql(insert_sql, part.rows())
    after = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
    return int(after) - int(before)


def _copy(connection: Connection, table: Table, rows: pl.DataFrame, *, on_conflict: str) -> int:
    """COPY into a staging table, then one INSERT: twenty times the rows per second of row inserts."""
    names = [connection.dialect.identifier_preparer.quote(name) for name in rows.columns]
    target = connection.dialect.identifier_preparer.format_table(table)
    columns = ", ".join(names)
    staging = f"staging_{table.name}"
    connection.exec_driver_sql(f"CREATE TEMP TABLE IF NOT EXISTS {staging} (LIKE {target}) ON COMMIT DROP")
    connection.exec_driver_sql(f"ALTER TABLE {staging} ADD COLUMN IF NOT EXISTS staged bigserial")
    connection.exec_driver_sql(f"TRUNCATE {staging}")
    for column in table.columns:
        if column.name not in rows.columns:
            quoted = connection.dialect.identifier_preparer.quote(column.name)
            connection.exec_driver_sql(f"ALTER TABLE {staging} ALTER COLUMN {quoted} DROP NOT NULL")
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {staging} ({columns}) FROM STDIN (FORMAT csv, NULL '\\N')") as copy:
        for part in rows.select(to_csv(table.c[name]) for name in rows.columns).iter_slices(_WRITE_ROWS):
            copy.write(part.write_csv(include_header=False, null_value="\\N", quote_style="non_numeric"))
    keys = ", ".join(connection.dialect.identifier_preparer.quote(c.name) for c in table.primary_key.columns)
    rest = [n for name, n in zip(rows.columns, names, strict=True) if not table.c[name].primary_key]
    conflict = {
        "raise": "",
        "nothing": f"ON CONFLICT ({keys}) DO NOTHING",
        "update": f"ON CONFLICT ({keys}) DO UPDATE SET " + ", ".join(f"{n} = excluded.{n}" for n in rest),
    }[on_conflict]
    insert = f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {staging} ORDER BY staged {conflict}"  # noqa: S608
    return int(connection.exec_driver_sql(insert).rowcount)


def as_json(value: Any) -> str:
    """JSON text that is the same for the same value, for the frames' JSON columns."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def instant(moment: datetime) -> pl.Expr:
    """A moment as a Polars literal of the frames' instant type."""
    return pl.lit(moment.astimezone(UTC)).cast(INSTANT)
