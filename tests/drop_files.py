"""File drops written as text in a test, extracted, and what the warehouse then holds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from dealwatch.history.extract import extract
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.tables import WALL_CLOCK_COLUMNS, deal_changes, deals, metadata, quarantine
from dealwatch.warehouse import reading

NOW = datetime(2026, 3, 2, 5, tzinfo=UTC)
DEALS = "deal_id,name,amount,stage,owner_id,created_at,close_date,closed_at,outcome\n"
HISTORY = "deal_id,changed_at,field,old_value,new_value\n"
ACTIVITIES = "deal_id,happened_at,kind,direction,by\n"


def write_drop(folder: Path, **files: str) -> Path:
    """A drop's files; each a name of the contract and its text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def with_source(settings: Settings, path: Path, **changes: Any) -> Settings:
    """The settings with one source `crm` in that folder; other settings by name."""
    source = Source.model_validate({"path": path, **changes.pop("source", {})})
    return settings.model_copy(update={"sources": {"crm": source}, "time_zone": "UTC", **changes})


def extracted(
    engine: Engine, settings: Settings, folder: Path, now: datetime = NOW, **files: str
) -> dict[str, int]:
    """Write a drop's files into the source's folder, or into one of a day below it, and extract."""
    write_drop(folder, **files)
    return extract(engine, "crm", settings=settings, now=now)


def changes(engine: Engine, *fields: str) -> list[tuple[Any, ...]]:
    """deal_id, field, old, new, happened and known, in the ledger's order; of some fields."""
    c = deal_changes.c
    query = select(c.deal_id, c.field, c.old_value, c.new_value, c.happened_at, c.known_at).order_by(
        c.deal_id, c.field, c.known_at, c.happened_at, c.seq
    )
    if fields:
        query = query.where(c.field.in_(fields))
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def current(engine: Engine, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of the deals as they stand, by deal_id."""
    query = select(*(deals.c[name] for name in columns)).order_by(deals.c.deal_id)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def set_aside(engine: Engine) -> list[tuple[Any, ...]]:
    """object, row, field and reason of what waits in quarantine."""
    c = quarantine.c
    query = select(c.object, c.row, c.field, c.reason).order_by(c.object, c.row).where(c.settled_by.is_(None))
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def contents(engine: Engine) -> dict[str, list[str]]:
    """Every table's rows, wall-clock columns aside, in an order of their own."""
    found = {}
    with reading(engine) as connection:
        for table in metadata.sorted_tables:
            columns = [column for column in table.columns if column.name not in WALL_CLOCK_COLUMNS]
            found[table.name] = sorted(str(tuple(row)) for row in connection.execute(select(*columns)))
    return found


def at(text: str) -> datetime:
    """A moment in UTC: `at("2026-03-01 14:00")`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
