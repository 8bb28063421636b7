"""A warehouse that somebody else fills, made in a test of plain rows, and what reading it tells."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.pool import NullPool

from dealwatch.crm.pages import Page, Past, Plan, Table
from dealwatch.crm.sql.reader import SqlReader, open_sql
from dealwatch.history.extract import extract
from dealwatch.settings import Settings
from dealwatch.sources import Sql

TYPES: dict[type, Any] = {bool: sa.Boolean, int: sa.BigInteger, float: sa.Float}


class Filled:
    """Tables of rows; a column's type is that of its first value, text where there is none."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, poolclass=NullPool)

    def fill(self, name: str, columns: str, *rows: Sequence[Any]) -> None:
        names = columns.split()
        typed = []
        for place, column in enumerate(names):
            value = next((row[place] for row in rows if row[place] is not None), "")
            kind = sa.DateTime(timezone=True) if is_instant(value) else TYPES.get(type(value), sa.Text)
            typed.append(sa.Column(column, kind))
        table = sa.Table(name, sa.MetaData(), *typed)
        with self.engine.begin() as connection:
            table.drop(connection, checkfirst=True)
            table.create(connection)
        self.add(name, columns, *rows)

    def add(self, name: str, columns: str, *rows: Sequence[Any]) -> None:
        """Rows as they are written; SQLite keeps an instant as its text."""
        names = columns.split()
        table = sa.table(name, *map(sa.column, names))
        with self.engine.begin() as connection:
            for row in rows:
                connection.execute(table.insert().values(dict(zip(names, row, strict=True))))

    def run(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement))


def is_instant(value: Any) -> bool:
    return isinstance(value, str) and value[4:5] == "-" and value.endswith("+00:00")


def at(text: str) -> str:
    """`2026-03-02 04:00` as an instant both kinds of database take."""
    return f"{text}:00+00:00"


def with_sql(settings: Settings, url: str, **source: Any) -> Settings:
    made = Sql.model_validate({"kind": "sql", "url": SecretStr(url), **source})
    return settings.model_copy(update={"sources": {"crm": made}, "time_zone": "UTC"})


class Watched:
    """A reader whose pages are counted; `at_page` is called before each, with its number from 1."""

    def __init__(self, reader: SqlReader, at_page: Any = None) -> None:
        self.reader, self.at_page = reader, at_page
        self.sizes: dict[str, list[int]] = {}
        self.n = 0

    def close(self) -> None:
        self.reader.close()

    def plan(self, past: Past) -> Plan:
        return self.reader.plan(past)

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        for page in self.reader.pages(table, place):
            self.n += 1
            if self.at_page is not None:
                self.at_page(self.n, page)
            self.sizes.setdefault(table.name, []).append(page.rows.height)
            yield page


def read_now(engine: sa.Engine, settings: Settings, at_page: Any = None) -> Watched:
    """One night's extract at the warehouse's own time."""
    watched = Watched(open_sql("crm", settings), at_page)
    now = watched.plan(Past()).begun_at + timedelta(minutes=1)
    extract(engine, "crm", settings=settings, now=now, readers={"sql": lambda _n, _s: watched})
    return watched


def told_rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    """All rows of one table as the reader tells them."""
    reader = open_sql("crm", settings)
    (found,) = [one for one in reader.plan(Past()).tables if one.name == table]
    rows = [row for page in reader.pages(found, None) for row in page.rows.to_dicts()]
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
