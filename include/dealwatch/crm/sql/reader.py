"""Read a warehouse that somebody else fills from the CRM: whole tables, by key, in one snapshot each.

Each table is read in one read-only transaction that sees one state of it, counted in the same transaction.
A retry goes on after the last key that was kept: rows that came behind it since are left to the next night.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from dealwatch.crm.pages import Page, Past, Plan, Table
from dealwatch.crm.sql.catalog import Catalog
from dealwatch.crm.sql.connection import engine_of, one_state
from dealwatch.crm.sql.errors import told
from dealwatch.crm.sql.fivetran_hubspot import FIELDS as OF_HUBSPOT
from dealwatch.crm.sql.fivetran_hubspot import hubspot_queries
from dealwatch.crm.sql.fivetran_salesforce import FIELDS as OF_SALESFORCE
from dealwatch.crm.sql.fivetran_salesforce import salesforce_queries
from dealwatch.crm.sql.queries import Query, counted, ordered, refuse_vanished, template_queries
from dealwatch.crm.sql.text import Key, check_key, is_same_key, place_of, read_place, text_of
from dealwatch.errors import ExtractRefused, SettingsError
from dealwatch.settings import Settings
from dealwatch.sources import Sql

log = logging.getLogger(__name__)
_T = TypeVar("_T")
FIELDS = {"fivetran_salesforce": OF_SALESFORCE, "fivetran_hubspot": OF_HUBSPOT}
_MOST_ALIKE = 20  # pages of rows that share one key, until the key is of no use


def open_sql(name: str, settings: Settings) -> "SqlReader":
    """A reader of the source of that name. Raises SettingsError when its URL cannot be used."""
    source = settings.sources[name]
    if not isinstance(source, Sql):
        raise TypeError(f"{name} is no SQL source")
    if not source.is_mapped:
        raise SettingsError(
            f"[sources.{name}] says of no table what it is; name a preset, or let "
            f"`python -m dealwatch connect {name}` draft it"
        )
    return SqlReader(name, source, engine_of(name, source, url_of(name, source)))


def url_of(name: str, source: Sql) -> str:
    """Where the warehouse is; SettingsError when nothing says it."""
    if source.url is None:
        connection = source.connection or name
        raise SettingsError(
            f"[sources.{name}] has no URL: make the Airflow connection {connection!r}, or set "
            f"AIRFLOW_CONN_{connection.upper()} or DEALWATCH_SOURCES__{name.upper()}__URL"
        )
    return source.url.get_secret_value()


class SqlReader:
    """Tells the tables of a warehouse."""

    def __init__(self, name: str, source: Sql, engine: sa.Engine) -> None:
        self._name, self._source, self._engine = name, source, engine

    def close(self) -> None:
        self._engine.dispose()

    def plan(self, past: Past) -> Plan:
        with self.connected() as connection:
            now = self.clock(connection)
            queries, tracked = self.queries(connection)
        if past.last is not None:
            asked = FIELDS[self._source.preset].asked(self._source) if self._source.preset else ()
            refuse_vanished(queries, past.last.tables, without=self._source.without, asked=asked)
        return Plan(tuple(query.table for query in queries), now, "all", tracked)

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        with self.connected() as connection:
            queries, _ = self.queries(connection)
            query = next((one for one in queries if one.name == table.name), None)
            gone = {*table.columns}.difference(query.columns if query else ())
            if query is None or gone:
                raise ExtractRefused(
                    f"{self._name}: {table.name} has lost {', '.join(sorted(gone))} since the extract began; "
                    "bring it back"
                )
            yield from self._pages(connection, replace(query, columns=table.columns), place)

    def _pages(self, connection: sa.Connection, query: Query, place: str | None) -> Iterator[Page]:
        after, rows = read_place(place) if place else (None, 0)
        now = self.clock(connection)
        left, keyless = self.asked(lambda: tuple(connection.execute(counted(query, after)).one()))
        where = f"{self._name}: {query.name}"
        if keyless:
            raise ExtractRefused(
                f"{where}: {', '.join(query.key)} is empty in {keyless:,} rows; name as key columns that "
                "every row fills"
            )
        total = rows + int(left)
        for part, last, is_end in self._parts(connection, query, after):
            rows += len(part)
            frame = self._frame(query, part)
            yield Page(query.name, frame, None if is_end else place_of(last, rows), total, now)

    def _parts(
        self, connection: sa.Connection, query: Query, after: Key | None
    ) -> Iterator[tuple[list[Any], Key, bool]]:
        """Rows in the key's order, as many as a page has and those of its last key; the key; whether it ends.

        Rows of one key are never parted, for a place after half of them would lose the others.
        """
        size, width = self._source.page_rows, len(query.key)
        streaming = connection.execution_options(stream_results=True, max_row_buffer=min(size, 5_000))
        result = self.asked(lambda: streaming.execute(ordered(query, after)))
        try:
            yield from self._cut_up(result, query, width)
        finally:
            result.close()

    def _cut_up(
        self, result: sa.CursorResult[Any], query: Query, width: int
    ) -> Iterator[tuple[list[Any], Key, bool]]:
        size, where = self._source.page_rows, f"{self._name}: {query.name}"
        waiting: list[Any] = []
        while found := self.asked(lambda: result.fetchmany(size)):
            waiting += found
            check_key(tuple(found[-1][:width]), query.key, where)
            while len(waiting) > size and (cut := _cut(waiting, size, width)):
                ready, waiting = waiting[:cut], waiting[cut:]
                yield ready, tuple(ready[-1][:width]), False
            if len(waiting) > _MOST_ALIKE * size:
                raise ExtractRefused(
                    f"{where}: more than {_MOST_ALIKE * size:,} rows have the same {', '.join(query.key)}; "
                    "add columns to the key that tell them apart"
                )
        yield waiting, (), True

    def _frame(self, query: Query, rows: list[Any]) -> pl.DataFrame:
        """The rows as text, under the names that the page gives them."""
        zone = ZoneInfo(self._source.stored_zone)
        names = [*query.key, *(c.name for c in query.rows.selected_columns if c.name not in query.key)]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        try:
            series = [
                pl.Series(name, [text_of(value, zone) for value in values], dtype=pl.String)
                for name, values in zip(names, columns, strict=True)
                if name in query.columns or query.shape is not None
            ]
        except TypeError as error:
            raise ExtractRefused(
                f"{self._name}: {query.name} holds a value of type {error}, which is no text; leave it out"
            ) from None
        frame = pl.DataFrame(series)
        return (query.shape(frame) if query.shape else frame).select(query.columns)

    def catalog(self, connection: sa.Connection) -> Catalog:
        """The tables of the schema."""
        source = self._source

        def columns_of(table: sa.TableClause) -> Collection[str]:
            nothing: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(table).where(sa.false())
            return self.asked(lambda: list(connection.execute(nothing).keys()))

        def names() -> list[str]:
            inspector = sa.inspect(connection)
            views = inspector.get_view_names(source.in_schema)
            return [*inspector.get_table_names(source.in_schema), *views]

        return Catalog(self.asked(names), source.in_schema, columns_of, source.without)

    def queries(self, connection: sa.Connection) -> tuple[list[Query], tuple[str, ...] | None]:
        """What is asked of each table, and the fields whose history is told; raises ExtractRefused."""
        source, catalog = self._source, self.catalog(connection)
        match source.preset:
            case "fivetran_salesforce":
                return salesforce_queries(source, catalog)
            case "fivetran_hubspot":
                return hubspot_queries(source, catalog)
        return template_queries(source, catalog), None

    def clock(self, connection: sa.Connection) -> datetime:
        """The warehouse's own clock; one without a zone tells UTC."""
        told_now = self.asked(lambda: connection.execute(sa.select(sa.func.current_timestamp())).scalar_one())
        now = datetime.fromisoformat(told_now) if isinstance(told_now, str) else told_now
        return (now if now.tzinfo else now.replace(tzinfo=UTC)).astimezone(UTC)

    def connected(self) -> sa.Connection:
        """A read-only transaction that sees one state of the warehouse, where the database can do that."""
        connection = self.asked(self._engine.connect)
        try:
            return self.asked(lambda: one_state(connection, self._source))
        except BaseException:
            connection.close()
            raise

    def asked(self, do: Callable[[], _T]) -> _T:
        """What the database answers; its errors in our words, which hold no statement, value or URL."""
        try:
            return do()
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            said = told(self._name, error, self._source.statement_timeout_seconds)
        raise said  # out here, so that the database's own error does not hang on it


def _cut(rows: list[Any], size: int, width: int) -> int:
    """How many rows make a page, about `size`, that ends with the last row of its key; 0: not seen yet."""
    keys = [tuple(row[:width]) for row in rows]
    near = (*range(size, 0, -1), *range(size + 1, len(rows)))
    return next((cut for cut in near if not is_same_key(keys[cut - 1], keys[cut])), 0)
