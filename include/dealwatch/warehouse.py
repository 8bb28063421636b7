"""The warehouse: SQLite (WAL) or PostgreSQL behind one door; every dialect difference lives here.

Reads come back as Polars frames, read in bulk. Writes go in bulk too and are idempotent: `add_missing` adds
what is not there, `replace` writes a slice anew, `put` updates by primary key.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import (
    JSON,
    URL,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Date,
    DateTime,
    Engine,
    Float,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    collate,
    create_engine,
    delete,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from dealwatch.errors import NotReady, SettingsError, WarehouseDown
from dealwatch.settings import Settings
from dealwatch.tables import Instant, metadata

INSTANT = pl.Datetime("us", "UTC")  # how frames carry moments
_READ_ROWS = 50_000
_WRITE_ROWS = 10_000
_BUSY_MILLISECONDS = 120_000
_CACHE_KILOBYTES = 32_000  # SQLite's 2,000 hold not even the inner pages of a large ledger's trees


def connect(settings: Settings, *, patience_seconds: int | None = None) -> Engine:
    """An engine for the settings' warehouse; the SQLite file's folder is made when missing.

    patience_seconds: how long to wait for other writers; somebody who clicked cannot wait for a whole fold.
    Errors do not show the rows that were written: logs are read by people who may not see the CRM.
    Raises SettingsError for a URL that leads to no warehouse of ours and a folder that cannot be made.
    """
    url = _url(settings)
    if url.get_backend_name() == "sqlite":
        if url.database:
            _make_folder(Path(url.database).parent)
        engine = create_engine(url, connect_args={"timeout": _BUSY_MILLISECONDS / 1000}, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        waits = {} if patience_seconds is None else {"connect_timeout": patience_seconds}
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=waits)
    if patience_seconds is not None:
        is_sqlite = engine.dialect.name == "sqlite"
        event.listen(
            engine, "connect", _sqlite_waits(patience_seconds) if is_sqlite else _waits(patience_seconds)
        )
    return engine


def _sqlite_waits(seconds: int) -> Callable[[Any, Any], None]:
    return lambda connection, _record: connection.execute(f"PRAGMA busy_timeout={seconds * 1000}")


def _waits(seconds: int) -> Callable[[Any, Any], None]:
    def limit(connection: Any, _record: Any) -> None:
        connection.autocommit = True  # what a transaction sets would end with it
        connection.execute(f"SET lock_timeout = '{seconds}s'")
        connection.execute(f"SET statement_timeout = '{seconds}s'")
        connection.autocommit = False

    return limit


_SPOKEN = ("sqlite+pysqlite", "postgresql+psycopg")
_SET_BY = "warehouse_url (DEALWATCH_WAREHOUSE_URL, the settings file or the connection dealwatch_warehouse)"


def _url(settings: Settings) -> URL:
    """The warehouse's URL; what is wrong with it is said without showing it, for it holds a password."""
    remedy = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE, or leave it out for SQLite in `home`"
    try:
        url = make_url(settings.url)
        spoken = f"{url.get_backend_name()}+{url.get_driver_name()}"
    except (ArgumentError, ValueError):
        raise SettingsError(f"{_SET_BY} is no database URL; {remedy}") from None
    if spoken not in _SPOKEN:
        raise SettingsError(
            f"{_SET_BY} begins with {url.drivername}, which dealwatch does not speak; {remedy}"
        )
    return url


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{folder}: the warehouse's folder cannot be made ({error.strerror}); "
            "let DEALWATCH_HOME, or `home` in the settings file, name a folder that we may write to"
        ) from None


def in_memory() -> Engine:
    """A warehouse with the schema and no rows, which is gone when it is disposed: to try things out in."""
    engine = create_engine("sqlite+pysqlite://", poolclass=StaticPool, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    metadata.create_all(engine)
    return engine


def knock(engine: Engine) -> None:
    """Raise WarehouseDown when the warehouse does not answer, NotReady when what is there is no database."""
    where = engine.url.set(query={}).render_as_string(hide_password=True)
    try:
        engine.connect().close()
    except OperationalError as error:
        reason = " ".join(str(error.orig).split()).rstrip(".?")
        raise WarehouseDown(
            f"the warehouse {where} does not answer ({reason}); mend that, or {_SET_BY}"
        ) from None
    except DatabaseError as error:
        raise NotReady(
            f"the warehouse {where} cannot be read: {error.orig}. Restore it from a backup, or move it away, "
            "run `python -m dealwatch db upgrade` and extract again"
        ) from None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's driver must not begin on its own: `writing` does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA cache_size=-{_CACHE_KILOBYTES}")
    cursor.close()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the warehouse for the length of the block."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
        try:
            yield connection
        finally:
            connection.rollback()


@contextmanager
def writing(engine: Engine, *, alone: str | None = None) -> Iterator[Connection]:
    """One transaction: all of the block or nothing.

    `alone` names work that must not run twice at once ("fold"): writers of that name queue up, so what one
    reads cannot be changed by another before it has written. SQLite has one writer anyway.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif alone is not None:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"dealwatch {alone}"}
            )
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def frame(connection: Connection, query: Select[Any]) -> pl.DataFrame:
    """The query's rows as a frame with the tables' types.

    Instants arrive as `Datetime("us", "UTC")`, JSON as its text.
    """
    return pl.concat(frames(connection, query))


def frames(connection: Connection, query: Select[Any]) -> Iterator[pl.DataFrame]:
    """As `frame`, slice by slice and at least one, so that no more is held than is kept of each.

    The driver's rows are taken as they are: an object per row would double the time.
    """
    schema = _types(query.selected_columns)
    plain = [_as_stored(column, connection.dialect.name) for column in query.selected_columns]
    asked = query.with_only_columns(*plain, maintain_column_froms=True)
    result = connection.execute(asked.execution_options(stream_results=True))
    stored = {name: _stored_type(type_, connection.dialect.name) for name, type_ in schema.items()}
    typed = [_typed(name, type_, stored[name]) for name, type_ in schema.items()]
    is_first = True
    try:
        while (rows := _driver_rows(result)) or is_first:
            yield pl.DataFrame(rows, schema=stored, orient="row").select(typed)
            is_first = False
            if not rows:
                return
    finally:
        result.close()


def _driver_rows(result: CursorResult[Any]) -> list[Any]:
    rows: list[Any] = list(result.cursor_strategy.fetchmany(result, result.cursor, _READ_ROWS))
    return rows


def _stored_type(type_: pl.DataType, dialect: str) -> pl.DataType:
    """What the driver hands over for a column of that type."""
    if dialect != "sqlite":
        return pl.Datetime("us") if type_ == INSTANT else type_
    if type_ == pl.Boolean():
        return pl.Int64()
    return pl.String() if type_ in (INSTANT, pl.Date()) else type_


def _typed(name: str, type_: pl.DataType, stored: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    if type_ == INSTANT:
        clock = value.str.to_datetime(_SQLITE_CLOCK, time_unit="us") if stored == pl.String() else value
        return clock.dt.replace_time_zone("UTC")
    if type_ == pl.Date() and stored == pl.String():
        return value.str.to_date("%Y-%m-%d")
    return value.cast(type_)


_SQLITE_CLOCK = "%Y-%m-%d %H:%M:%S%.f"


def schema_of(table: Table, *names: str) -> dict[str, pl.DataType]:
    """A table's columns, or those named, in that order, with the types that `frame` reads them in."""
    return _types(table.c[name] for name in names or table.columns.keys())


def _types(columns: Iterable[Any]) -> dict[str, pl.DataType]:
    return {column.name: _polars_type(column) for column in columns}


def _polars_type(column: Any) -> pl.DataType:
    if isinstance(column.type, Instant):
        return INSTANT
    if isinstance(column.type, Date):
        return pl.Date()
    if isinstance(column.type, Boolean):
        return pl.Boolean()
    if isinstance(column.type, Integer):
        return pl.Int64()
    if isinstance(column.type, Float):
        return pl.Float64()
    return pl.String()


def _as_stored(column: Any, dialect: str) -> Any:
    """Skip SQLAlchemy's per-value conversion where Polars converts whole columns."""
    if isinstance(column.type, JSON):
        return column.cast(postgresql.TEXT).label(column.name) if dialect == "postgresql" else _text(column)
    if dialect == "sqlite" and isinstance(column.type, Instant | Date):
        return _text(column)
    if isinstance(column.type, Instant):
        return func.timezone("UTC", column, type_=DateTime()).label(column.name)
    return column


def _text(column: Any) -> Any:
    from sqlalchemy import type_coerce

    return type_coerce(column, Text).label(column.name)


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
    stored = rows.select(_to_sqlite(table.c[name]) for name in names)
    insert_sql = str(compiled)
    for part in stored.iter_slices(_WRITE_ROWS):
        connection.exec_driver_sql(insert_sql, part.rows())
    after = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
    return int(after) - int(before)


def _to_sqlite(column: Column[Any]) -> pl.Expr:
    value = pl.col(column.name)
    if isinstance(column.type, Instant):
        return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    if isinstance(column.type, Date):
        return value.dt.strftime("%Y-%m-%d")
    if isinstance(column.type, Boolean):
        return value.cast(pl.Int8)
    return value


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
        for part in rows.select(_to_csv(table.c[name]) for name in rows.columns).iter_slices(_WRITE_ROWS):
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


def _to_csv(column: Column[Any]) -> pl.Expr:
    value = pl.col(column.name)
    if isinstance(column.type, Instant):
        return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%d %H:%M:%S%.6f+00")
    if isinstance(column.type, Date):
        return value.dt.strftime("%Y-%m-%d")
    return value


def as_json(value: Any) -> str:
    """JSON text that is the same for the same value, for the frames' JSON columns."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def rows_of(connection: Connection, query: Select[Any]) -> Sequence[Any]:
    """A few rows as objects; for bulk use `frame`."""
    return connection.execute(query).all()


def instant(moment: datetime) -> pl.Expr:
    """A moment as a Polars literal of the frames' instant type."""
    return pl.lit(moment.astimezone(UTC)).cast(INSTANT)


def unclaimed(query: Select[Any]) -> Select[Any]:
    """The rows that nobody else is claiming, held until the transaction ends; use inside `writing`.

    PostgreSQL passes over rows that another claimant holds. SQLite ignores the clause: it has one writer.
    """
    return query.with_for_update(skip_locked=True)
