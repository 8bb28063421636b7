"""The smallest company that has everything: a history that landed, and two models, one after the other."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, Table, select

from dealwatch import jobs
from dealwatch.history.ledger import read_ledger
from dealwatch.knobs import Scoring, Source
from dealwatch.scoring.forest import Bundle
from dealwatch.scoring.panel import followed_panel
from dealwatch.scoring.trial import Trained, bundle_at
from dealwatch.settings import Settings
from dealwatch.warehouse import connect, frame, reading
from model_samples import promoted

DAY = date(2026, 3, 2)
MORNING, NEXT = datetime(2026, 3, 2, 6, tzinfo=UTC), datetime(2026, 3, 3, 6, tzinfo=UTC)
BEFORE = MORNING - timedelta(days=21)  # when the first model was trained
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class SmallCompany:
    """A home that knows its files as of an hour before MORNING, and the versions that served, in order."""

    folder: Path
    versions: tuple[str, str]

    def copied(self, folder: Path) -> Settings:
        """The settings of a copy of home and files that may be broken."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return settled(folder)


def settled(folder: Path) -> Settings:
    knobs = Scoring(trees=10, train_minimum=10, panel_every_days=14)
    source = Source(path=folder / "files", max_vanished_share=1.0)
    return Settings(home=folder / "home", time_zone="UTC", sources={"crm": source}, scoring=knobs)


def founded(folder: Path) -> SmallCompany:
    """A company of 160 deals in 200 days. So few pass no gate: its models are promoted all the same."""
    settings = settled(folder)
    jobs.simulate("planted", folder / "files", deals=160, days=200, seed=5, until=DAY)
    jobs.upgrade(settings)
    jobs.extract(settings, now=MORNING - HOUR)
    first, second = (promoted_by_hand(settings, grown(settings, at), at) for at in (BEFORE, MORNING))
    return SmallCompany(folder, (first, second))


def grown(settings: Settings, moment: datetime) -> Bundle:
    with opened(settings) as connection:
        panel = followed_panel(read_ledger(connection), moment, settings=settings)
    bundle = bundle_at(panel, moment, settings=settings)
    assert bundle is not None
    return bundle


def promoted_by_hand(settings: Settings, bundle: Bundle, moment: datetime) -> str:
    engine = connect(settings)
    try:
        return promoted(engine, settings, Trained(bundle, {}, True, True, "by hand."), moment)
    finally:
        engine.dispose()


@contextmanager
def opened(settings: Settings) -> Iterator[Connection]:
    engine = connect(settings)
    with reading(engine) as connection:
        yield connection
    engine.dispose()


def rows(settings: Settings, table: Table, moment: datetime | None = MORNING) -> pl.DataFrame:
    """What a table says of a morning, or of all there is, by its key."""
    query = select(table) if moment is None else select(table).where(table.c.as_of == moment)
    with opened(settings) as connection:
        found = frame(connection, query)
    return found.sort([column.name for column in table.primary_key])
