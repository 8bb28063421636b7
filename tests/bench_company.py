"""The companies that `make bench` measures: one of 10,000 deals, and larger ones that are copies of it.

A copy has the same history under deal ids of its own, so what is learned stays the same while deals grow.
"""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Table

from dealwatch import jobs
from dealwatch.knobs import Scoring, Source
from dealwatch.settings import Settings
from dealwatch.tables import activities, deal_changes

UNTIL = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 5, tzinfo=UTC)
FIRST = 10_000


def settings_of(folder: Path) -> Settings:
    """A company's settings; the panel reaches half a year back."""
    crm = Source(path=folder / "drop")
    return Settings(home=folder, sources={"crm": crm}, scoring=Scoring(panel_months=6, auto_approve=True))


def found(folder: Path) -> None:
    """The company of 10,000 deals in `folder`: landed, and a model trained three weeks ago."""
    jobs.simulate("planted", folder / "drop", deals=FIRST, days=548, seed=1, until=UNTIL)
    settings = settings_of(folder)
    jobs.upgrade(settings)
    jobs.extract(settings, now=MORNING)
    jobs.train(settings, as_of=MORNING - timedelta(days=21))


def multiply(first: Path, folder: Path, deals: int) -> None:
    """A company of so many deals in `folder`: the ledger of the first one, again and again."""
    shutil.copytree(first, folder)
    with closing(sqlite3.connect(folder / "dealwatch.db", isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("ATTACH ? AS first", [str(first / "dealwatch.db")])
        for table, key in ((deal_changes, "change_id"), (activities, "activity_id")):
            _copy(connection, table, key, round(deals / FIRST) - 1)


def _copy(connection: sqlite3.Connection, table: Table, key: str, copies: int) -> None:
    """Each row of the first company again; keys begin with the copy's number, so all come in their order."""
    where = "FROM main.sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    indices = connection.execute(f"SELECT name, sql {where}", [table.name]).fetchall()
    for name, _ in indices:
        connection.execute(f"DROP INDEX main.{name}")
    own = {key: f"'~' || :number || {key}", "deal_id": "deal_id || '-' || :number"}
    columns = ", ".join(own.get(name, f'"{name}"') for name in table.columns.keys())
    names = ", ".join(f'"{name}"' for name in table.columns.keys())
    for number in range(1, copies + 1):
        rows = f"SELECT {columns} FROM first.{table.name} ORDER BY {key}"
        connection.execute(f"INSERT INTO main.{table.name} ({names}) {rows}", {"number": f"{number:04}"})
    for _, sql in indices:
        connection.execute(sql)
