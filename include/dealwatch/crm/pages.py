"""What a live source is to us: a plan of tables, each told page by page and gone on with after a crash.

A `Reader` knows the wire; it stores nothing and lands nothing. Whoever runs it keeps each page together with
its place, so that a killed run is gone on with by another worker under the same plan.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import polars as pl

from dealwatch.crm import stages as known_stages
from dealwatch.crm.contract import Object
from dealwatch.crm.sheets import Covers
from dealwatch.crm.stages import Stage
from dealwatch.knobs import RecordMapping


@dataclass(frozen=True)
class Table:
    """One table of a plan: what is asked for, and what its rows are to us.

    name: unique in the plan; quarantine and the log call it so.
    columns: the source's own names, the same on every page, also of a table without a row.
    object: which object of the contract its rows feed, or None when they are only joined to others'. Several
        tables may feed one object, each by its own mapping; of the same id the row told last stands, in the
        plan's order.
    mapping: how its columns become the contract's; a join's `file` names another table of the plan.
    request: the reader's own words for what to ask, such as a query.
    """

    name: str
    columns: tuple[str, ...]
    object: Object | None = None
    mapping: RecordMapping = RecordMapping()
    request: str = ""


@dataclass(frozen=True)
class Plan:
    """What one extract reads, decided once; a retry follows it wherever it runs.

    begun_at: the source's own clock before anything was asked; the next extract's cursor.
    covers: what absence means (`sheets.Covers`); "ids" says that a table feeds the object ids, "some" that
        the deals were asked for by id.
    tracked: the deals' fields, in our names, whose every change the history tells; None: as its rows show.
    stages: those that the source knows, in its order; none where it does not tell.
    """

    tables: tuple[Table, ...]
    begun_at: datetime
    covers: Covers = "all"
    tracked: tuple[str, ...] | None = None
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        names = [table.name for table in self.tables]
        if len({*names}) < len(names) or "deals" not in {table.object for table in self.tables}:
            raise ValueError(f"a plan has each table once, and one of deals: {', '.join(names)}")
        if (self.covers == "ids") != any(table.object == "ids" for table in self.tables):
            raise ValueError("a plan covers ids when, and only when, a table tells them")

    def feeding(self, object_: Object) -> list[Table]:
        return [table for table in self.tables if table.object == object_]

    def as_json(self) -> dict[str, Any]:
        """The plan as values that JSON can hold; `plan_of` reads them back."""
        return {
            "begun_at": self.begun_at.isoformat(),
            "covers": self.covers,
            "tracked": None if self.tracked is None else list(self.tracked),
            "stages": known_stages.as_json(self.stages),
            "tables": [
                {
                    "name": table.name,
                    "columns": list(table.columns),
                    "object": table.object,
                    "mapping": table.mapping.model_dump(mode="json"),
                    "request": table.request,
                }
                for table in self.tables
            ],
        }


def plan_of(stored: dict[str, Any]) -> Plan:
    """A plan from its stored form."""
    tables = [
        Table(
            name=table["name"],
            columns=tuple(table["columns"]),
            object=table["object"],
            mapping=RecordMapping.model_validate(table["mapping"]),
            request=table["request"],
        )
        for table in stored["tables"]
    ]
    return Plan(
        tables=tuple(tables),
        begun_at=datetime.fromisoformat(stored["begun_at"]),
        covers=stored["covers"],
        tracked=None if stored["tracked"] is None else tuple(stored["tracked"]),
        stages=known_stages.of_json(stored.get("stages", ())),
    )


@dataclass(frozen=True)
class Page:
    """Some rows of a table, and where its next page begins.

    rows: the table's columns, all text; a value that is not there is null.
    place: from which the same table can be gone on with in another process; None on the last page. A page
        may be empty, to keep a place (an id of a job) before the first rows come.
    total: how many rows the whole table has by the source's own count, where it tells.
    read_at: the source's own clock when the page was told, where it tells.
    """

    table: str
    rows: pl.DataFrame
    place: str | None
    total: int | None = None
    read_at: datetime | None = None


@dataclass(frozen=True)
class Past:
    """What was read from the source before.

    last: the plan of the newest extract that landed; its columns are those that are known.
    cursor: the source's own clock when that one began. None: everything has to be read, because nothing was,
        or because the settings changed and what was read is to be understood otherwise.
    whole_at: when an extract last told which deals there are, the closed ones included.
    """

    last: Plan | None = None
    cursor: datetime | None = None
    whole_at: datetime | None = None


class PlaceLost(Exception):
    """A place leads nowhere any more, as of a job that expired: the table has to be read from its start."""


class Reader(Protocol):
    """A live source as it is read. Errors are ExtractRefused and SourceDown, and say no secret and no row."""

    def plan(self, past: Past) -> Plan:
        """What to read this time."""

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        """The table's pages from the place on, from its start when there is none.

        Raises PlaceLost when the place leads nowhere any more.
        """

    def close(self) -> None:
        """Let go what is held open; nothing is asked any more."""


@runtime_checkable
class Lister(Protocol):
    """A reader whose source counts its deals only roughly: a list cut short looks like a whole one."""

    def still_there(self, deal_ids: Sequence[str]) -> Collection[str]:
        """Those of the deals that are there by the source's own word, asked one by one."""


class NamedReader(Protocol):
    """A live source whose deals can be asked for by id. Errors are those of `Reader`."""

    def plan_of(self, past: Past, deal_ids: Sequence[str]) -> Plan:
        """How to read these deals and their whole history; it covers some.

        Its tables are called as those of `plan` are. They are read in one go: their places lead nowhere.
        """

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        """As `Reader.pages`, from the start."""

    def close(self) -> None:
        """As `Reader.close`."""


def check_page(page: Page, table: Table) -> pl.DataFrame:
    """The page's rows in the table's order of columns; ValueError when the reader broke its word."""
    if page.table != table.name or {*page.rows.columns} != {*table.columns}:
        raise ValueError(f"a page of {page.table} ({page.rows.columns}) is none of {table.name}")
    rows = page.rows.select(table.columns)
    if any(type_ != pl.String for type_ in rows.dtypes):
        raise ValueError(f"a page of {table.name} holds what is no text")
    return rows
