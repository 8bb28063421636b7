"""A live source of literal tables, for tests that say what one night tells."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Engine

from dealwatch.crm.pages import Page, Past, Plan, Table
from dealwatch.crm.sheets import Covers
from dealwatch.history.extract import extract
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import HubSpot
from drop_files import at

DEAL = ("deal_id", "stage", "amount", "created_at", "closed_at", "outcome")
OPEN = ("Demo", "100", "2026-01-05T09:00:00Z", None, None)
LOST = ("Lost", "100", "2026-01-05T09:00:00Z", "2026-02-01T09:00:00Z", "lost")
MOVE = ("deal_id", "changed_at", "field", "old_value", "new_value")
Row = tuple[str | None, ...]


class Tables:
    """Tells tables of rows, the columns in the contract's names; `pages` of rows at once, or all."""

    def __init__(
        self,
        now: str = "2026-03-02 04:00",
        *,
        covers: Covers = "open",
        tracked: tuple[str, ...] | None = ("stage",),
        columns: tuple[str, ...] = DEAL,
        deletions: list[Row] | None = None,
        ids: list[str] | None = None,
        deal_history: list[Row] | None = None,
        **deals: list[Row],
    ) -> None:
        self.now, self.covers, self.tracked = at(now), covers, tracked
        self.rows: dict[str, list[Row]] = dict(deals)
        self.tables = [Table(name, columns, "deals") for name in deals]
        if deal_history is not None:
            self._add(Table("deal_history", MOVE, "deal_history"), deal_history)
        if deletions is not None:
            self._add(Table("deletions", ("deal_id", "is_deleted"), "deletions"), deletions)
        if ids is not None:
            self._add(Table("ids", ("deal_id",), "ids"), [(one,) for one in ids])

    def _add(self, table: Table, rows: list[Row]) -> None:
        self.tables.append(table)
        self.rows[table.name] = rows

    def close(self) -> None:
        self.is_closed = True

    def plan(self, past: Past) -> Plan:
        return Plan(tuple(self.tables), self.now, self.covers, self.tracked)

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        rows = self.rows[table.name]
        schema = dict.fromkeys(table.columns, pl.String)
        yield Page(table.name, pl.DataFrame(rows, schema=schema, orient="row"), None, len(rows))


def mapped(table: Table, **columns: str) -> Table:
    return Table(table.name, table.columns, table.object, RecordMapping(columns=columns))


def with_crm(settings: Settings, **changes: Any) -> Settings:
    """The settings with one live source `crm`; other settings by name."""
    source = HubSpot.model_validate({"kind": "hubspot", **changes.pop("source", {})})
    return settings.model_copy(update={"sources": {"crm": source}, "time_zone": "UTC", **changes})


def told(engine: Engine, settings: Settings, reader: Any, now: datetime | None = None) -> dict[str, int]:
    """One night's extract of what the reader tells."""
    return extract(
        engine,
        "crm",
        settings=settings,
        now=now or reader.now,
        readers={"hubspot": lambda _name, _settings: reader},
    )
