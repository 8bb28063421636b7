"""How rows that were set aside are read by the settings of this moment, without a drop of their own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, select

from dealwatch.crm.contract import OBJECTS
from dealwatch.crm.drops import find_drops
from dealwatch.crm.files import Chunk
from dealwatch.crm.pages import Plan, Table, plan_of
from dealwatch.crm.sheets import Sheet
from dealwatch.errors import ExtractRefused
from dealwatch.history.terms import Terms, id_column_of, reads_a_source
from dealwatch.knobs import FileMapping, Join, RecordMapping, Source
from dealwatch.settings import Settings
from dealwatch.sources import AnySource
from dealwatch.tables import extract_runs

_KEPT = ("values", "decimal", "date_format", "known_only_at_close")


def read_again(
    connection: Connection, name: str, source: AnySource, *, settings: Settings
) -> tuple[tuple[Sheet, ...], Terms]:
    """The source's sheets, without a row in them, by its mapping of this moment; and what their rows mean.

    There are none of a live source from which nothing was ever read.
    """
    tracked = None
    if isinstance(source, Source):
        sheets = list(_of_files(name, source, settings=settings))
    else:
        plan = _plan(connection, name)
        tables = plan.tables if plan is not None else ()
        sheets = [_of_table(name, source, table) for table in tables if table.object in OBJECTS]
        tracked = plan.tracked if plan is not None else None
    deals = [sheet for sheet in sheets if sheet.object == "deals"]
    marked = [mark for sheet in deals for mark in sheet.mapping.known_only_at_close]
    ids = {sheet.file: id_column_of(sheet.mapping) for sheet in deals}
    column = next(iter(ids.values()), "deal_id")
    return tuple(sheets), Terms("none", tracked, tuple(dict.fromkeys(marked)), ids, column)


def _plan(connection: Connection, name: str) -> Plan | None:
    c = extract_runs.c
    query = (
        select(c.plan)
        .where(
            c.source == name,
            c.plan.is_not(None),
            c.state.in_(("landed", "remembered")),
            reads_a_source(),  # a read of a few deals has not every table
        )
        .order_by(c.extracted_at.desc(), c.extract_id)
        .limit(1)
    )
    stored = connection.execute(query).scalar_one_or_none()
    return None if stored is None else plan_of(stored)


def _of_files(name: str, source: Source, *, settings: Settings) -> Iterator[Sheet]:
    folder = _newest_folder(name, source, settings)
    for object_ in OBJECTS:
        mapping: FileMapping | None = getattr(source, object_)
        if mapping is not None:
            path = folder / mapping.file
            where = f"sources.{name}.{object_}"
            yield Sheet(object_, path.name, path, mapping, where, _no_rows)


def _newest_folder(name: str, source: Source, settings: Settings) -> Path:
    """Where files that are joined lie; of drops that are fetched there are none here."""
    if source.is_fetched:
        return Path(source.url or source.path)
    try:
        return find_drops(name, source, settings=settings, now=datetime.max.replace(tzinfo=UTC))[-1].folder
    except (ExtractRefused, IndexError):
        return source.path


def _of_table(name: str, source: AnySource, table: Table) -> Sheet:
    """A table of the last plan, with what the settings say by now of its words, marks and columns."""
    assert table.object is not None
    own: RecordMapping | None = getattr(source, table.object, None)
    mapping = table.mapping if own is None else _over(table, own)
    return Sheet(
        object=table.object,
        file=table.name,
        path=Path(f"{name}: {table.name}"),
        mapping=mapping,
        where=f"sources.{name}.{table.object}",
        chunks=_no_rows,
        beside=_nothing_beside,
    )


def _over(table: Table, own: RecordMapping) -> RecordMapping:
    there = {ours: theirs for ours, theirs in own.columns.items() if theirs in table.columns}
    columns = {**table.mapping.columns, **there}
    left = set(table.mapping.columns.values()) - set(columns.values())
    ignore = (*table.mapping.ignore, *sorted(left))
    update = {key: getattr(own, key) for key in _KEPT} | {"columns": columns, "ignore": ignore}
    return table.mapping.model_copy(update=update)


def _no_rows() -> Iterator[Chunk]:
    return iter(())


def _nothing_beside(_: Join) -> None:
    """What is joined is there only while a source is read; such a row is taken up by the next extract."""
