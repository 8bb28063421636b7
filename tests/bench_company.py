"""The companies that `make bench` measures: one of 10,000 deals, and larger ones that are copies of it.

A copy has the same history under deal ids of its own, so what is learned stays the same while deals grow.
"""

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, literal, select
from sqlalchemy.types import String

from dealwatch import jobs
from dealwatch.settings import Scoring, Settings, Source
from dealwatch.tables import activities, deal_changes
from dealwatch.warehouse import connect, writing

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
    copies = round(deals / FIRST)
    with writing(connect(settings_of(folder))) as connection:
        for table, key in ((deal_changes, "change_id"), (activities, "activity_id")):
            indices = list(table.indexes)
            for index in indices:
                index.drop(connection)
            for number in range(1, copies):
                _copy(connection, table, key, f"-{number}")
            for index in indices:
                index.create(connection)


def _copy(connection: Connection, table, key: str, suffix: str) -> None:  # noqa: ANN001
    """Each row of the first company again; keys begin with the copy's number and so stay in order."""
    own = {key: literal(suffix, String) + table.c[key], "deal_id": table.c.deal_id + suffix}
    columns = [own.get(column.name, column).label(column.name) for column in table.columns]
    rows = select(*columns).where(~table.c[key].startswith("-"))
    connection.execute(table.insert().from_select(table.columns.keys(), rows))
