"""Pages of a live source, kept one by one until all are there: no page is lost or doubled by a crash.

Each page is kept in one transaction with the place after it, and only by who was at the place before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from dealwatch.crm.pages import Page, Plan, Table, check_page, plan_of
from dealwatch.errors import SourceDown
from dealwatch.tables import extract_pages, extract_runs, extract_tables
from dealwatch.warehouse import reading, rows_of, writing


@dataclass(frozen=True)
class Held:
    """An extract whose pages are coming in."""

    extract_id: str
    source: str
    plan: Plan


@dataclass(frozen=True)
class Progress:
    """How far a table is read. `place` None: nothing is read, or all of it."""

    pages: int
    rows: int
    total: int | None
    place: str | None
    is_complete: bool
    read_at: datetime | None = None


def held_extract(connection: Connection, source: str) -> Any | None:
    """The run of the source's extract whose pages are coming in, if there is one."""
    c = extract_runs.c
    return connection.execute(select(extract_runs).where(c.source == source, c.state == "reading")).first()


def is_there(connection: Connection, extract_id: str) -> bool:
    """Whether there is an extract of this id, in whatever state."""
    query = select(func.count()).where(extract_runs.c.extract_id == extract_id)
    return bool(connection.execute(query).scalar_one())


def hold(connection: Connection, held: Held, *, asked_by: str, now: datetime) -> None:
    """Begin to keep the pages of a plan."""
    run = {
        "extract_id": held.extract_id,
        "source": held.source,
        "drop_name": held.plan.begun_at.isoformat(),
        "extracted_at": held.plan.begun_at,
        "state": "reading",
        **dict.fromkeys(("records", "quarantined", "changes"), 0),
        "covers": held.plan.covers,
        "cursor": held.plan.begun_at,
        "plan": held.plan.as_json(),
        "asked_by": asked_by,
        "recorded_at": now,
    }
    connection.execute(insert(extract_runs).values(**run))
    tables = [
        {"extract_id": held.extract_id, "name": table.name, "number": number, **_nothing()}
        for number, table in enumerate(held.plan.tables)
    ]
    connection.execute(insert(extract_tables), tables)


def _nothing() -> dict[str, Any]:
    return {"pages": 0, "rows": 0, "total": None, "place": None, "is_complete": False, "read_at": None}


def held_from(run: Any) -> Held:
    return Held(run.extract_id, run.source, plan_of(run.plan))


def let_go(connection: Connection, extract_id: str, *, landed: bool = False) -> None:
    """Forget an extract's pages, and unless they have landed the extract with them."""
    for table in (extract_pages, extract_tables):
        connection.execute(delete(table).where(table.c.extract_id == extract_id))
    if not landed:
        c = extract_runs.c
        connection.execute(delete(extract_runs).where(c.extract_id == extract_id, c.state == "reading"))


def begin_again(engine: Engine, extract_id: str, table: Table) -> None:
    """Forget one table's pages: its place leads nowhere any more."""
    with writing(engine) as connection:
        pages, tables = extract_pages.c, extract_tables.c
        connection.execute(
            delete(extract_pages).where(pages.extract_id == extract_id, pages.name == table.name)
        )
        connection.execute(
            update(extract_tables)
            .where(tables.extract_id == extract_id, tables.name == table.name)
            .values(**_nothing())
        )


def progress(connection: Connection, extract_id: str) -> dict[str, Progress]:
    """How far each table is read, in the plan's order."""
    c = extract_tables.c
    found = rows_of(connection, select(extract_tables).where(c.extract_id == extract_id).order_by(c.number))
    return {
        row.name: Progress(row.pages, row.rows, row.total, row.place, row.is_complete, row.read_at)
        for row in found
    }


def progress_of(engine: Engine, extract_id: str, table: Table) -> Progress:
    """How far a table is read; raises SourceDown when another run took the extract away."""
    with reading(engine) as connection:
        found = progress(connection, extract_id).get(table.name)
    if found is None:
        raise SourceDown(_ELSEWHERE)
    return found


_ELSEWHERE = "another run reads the same source at the same time, so this one stops; let one of them end"


def keep(engine: Engine, held: Held, table: Table, so_far: Progress, page: Page) -> Progress:
    """Store a page and the place after it; how far the table is read by then.

    Raises SourceDown when the table is not where it was, because another run has gone on with it.
    """
    rows = check_page(page, table)
    after = Progress(
        pages=so_far.pages + 1,
        rows=so_far.rows + rows.height,
        total=so_far.total if page.total is None else page.total,
        place=page.place,
        is_complete=page.place is None,
        read_at=max((at for at in (so_far.read_at, page.read_at) if at is not None), default=None),
    )
    c = extract_tables.c
    where = (c.extract_id == held.extract_id, c.name == table.name, c.pages == so_far.pages)
    with writing(engine) as connection:
        moved = connection.execute(update(extract_tables).where(*where, ~c.is_complete).values(**vars(after)))
        if moved.rowcount != 1:
            raise SourceDown(_ELSEWHERE)
        put_page(connection, held.extract_id, table, after.pages, rows)
    return after


def put_page(connection: Connection, extract_id: str, table: Table, number: int, rows: pl.DataFrame) -> None:
    """Store a page's rows, checked, under its number in the table; nothing of an empty one."""
    if rows.height:
        values = {"number": number, "rows": rows.height, "payload": _packed(rows)}
        connection.execute(insert(extract_pages).values(extract_id=extract_id, name=table.name, **values))


def kept_rows(
    connection: Connection, extract_id: str, table: Table, columns: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    """A table's rows page by page, as they were told; of some columns."""
    c = extract_pages.c
    own = (c.extract_id == extract_id, c.name == table.name)
    numbers = connection.execute(select(c.number).where(*own).order_by(c.number)).scalars().all()
    for number in numbers:
        payload = connection.execute(select(c.payload).where(*own, c.number == number)).scalar_one()
        yield _unpacked(payload, columns)


def _packed(rows: pl.DataFrame) -> bytes:
    """A page as it is kept."""
    into = BytesIO()
    rows.write_ipc(into, compression="zstd")
    return into.getvalue()


def _unpacked(payload: bytes, columns: Sequence[str] | None) -> pl.DataFrame:
    return pl.read_ipc(BytesIO(payload), columns=None if columns is None else list(columns))
