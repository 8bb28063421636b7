"""What is asked of a warehouse: one query a table, ordered by a key, made of names that were checked."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from dealwatch.checks import is_plain_name
from dealwatch.crm.contract import COLUMNS, Object
from dealwatch.crm.pages import Table
from dealwatch.crm.sql.catalog import Catalog, Found
from dealwatch.crm.sql.text import Key
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import RecordMapping
from dealwatch.sources import Sql, SqlMapping

# Histories before deals: a deal that moves after its history was read is told by its row tonight and by its
# history tomorrow; the other way round it would seem to move back.
READ_IN_ORDER: tuple[Object, ...] = ("deal_history", "activities", "owners", "deals")
Shape = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Query:
    """One table of a plan.

    rows: selects the columns under the names the page gives them, and the key's columns beside them.
    key: names of selected columns by which rows are put in order; ties are kept together, and none is null.
    columns: of the page, once `shape` has been at its text; `shape` leaves out no row.
    tables: those of a preset that it needs not, and would miss.
    """

    name: str
    object: Object | None
    rows: sa.SelectBase
    key: tuple[str, ...]
    columns: tuple[str, ...]
    mapping: RecordMapping = RecordMapping()
    shape: Shape | None = None
    tables: tuple[str, ...] = ()

    @property
    def table(self) -> Table:
        return Table(self.name, self.columns, self.object, self.mapping, " ".join(self.tables))


def ordered(query: Query, after: Key | None) -> sa.Select[Any]:
    """The query's rows after a key, in the key's order; the key's columns come first."""
    rows = query.rows.subquery("told")
    keys = [rows.c[name] for name in query.key]
    others = [column for column in rows.c if column.name not in query.key]
    asked = sa.select(*keys, *others).order_by(*keys)
    return asked if after is None else asked.where(_beyond(keys, after))


def counted(query: Query, after: Key | None) -> sa.Select[Any]:
    """How many rows come after a key, and how many of all have no key."""
    rows = query.rows.subquery("told")
    keys = [rows.c[name] for name in query.key]
    is_keyless = sa.or_(*(key.is_(None) for key in keys))
    is_told = sa.true() if after is None else _beyond(keys, after)
    return sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((is_told, 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(sa.case((is_keyless, 1), else_=0)), 0),
    )


def _beyond(keys: Sequence[sa.ColumnElement[object]], after: Key) -> sa.ColumnElement[bool]:
    """Rows after the key; spelt out, for not every database compares rows. The first bound is for indexes."""
    steps = [
        sa.and_(*(key == value for key, value in zip(keys[:n], after[:n], strict=True)), keys[n] > after[n])
        for n in range(len(keys))
    ]
    return steps[0] if len(steps) == 1 else sa.and_(keys[0] >= after[0], sa.or_(*steps))


def template_queries(source: Sql, catalog: Catalog) -> list[Query]:
    """The queries of a source whose settings say which table is what."""
    queries: list[Query] = []
    for object_ in READ_IN_ORDER:
        mapping: SqlMapping | None = getattr(source, object_)
        if mapping is None:
            continue
        for join in mapping.joins:
            if join.file not in {query.name for query in queries}:
                columns = dict.fromkeys([*join.on.values(), *join.take.values()])
                queries.append(
                    _joined(catalog.get(join.file), join.file, tuple(columns), tuple(join.on.values()))
                )
        queries.append(_template(object_, mapping, catalog))
    return queries


def _template(object_: Object, mapping: SqlMapping, catalog: Catalog) -> Query:
    table = catalog.get(mapping.table or "")
    keys = [name for join in mapping.joins for name in join.on]
    usual = [
        name
        for name in COLUMNS[object_]
        if table.has(name) and name not in mapping.columns and name not in mapping.ignore
    ]
    # A join may name its key by our word for it.
    keys = [name for name in keys if name not in mapping.columns]
    columns = tuple(dict.fromkeys([*mapping.columns.values(), *keys, *usual]))
    rows = sa.select(*(table.col(name).label(name) for name in dict.fromkeys([*mapping.key, *columns])))
    if mapping.deleted:
        rows = rows.where(sa.not_(table.flag(mapping.deleted)))
    plain = RecordMapping.model_validate(mapping.model_dump(include=set(RecordMapping.model_fields)))
    return Query(object_, object_, rows, mapping.key, columns, plain)


def _joined(table: Found, name: str, columns: tuple[str, ...], key: tuple[str, ...]) -> Query:
    picked = [table.col(column).label(column) for column in columns]
    # A row without the key can be joined to nothing.
    there = [table.col(column).is_not(None) for column in key]
    return Query(name, None, sa.select(*picked).where(*there), key, columns)


def refuse_vanished(
    now: Sequence[Query], before: Sequence[Table], *, without: Collection[str], asked: Collection[str]
) -> None:
    """Raises ExtractRefused when what was read last time is gone, though the settings still want it.

    before: the tables of the last plan, which the reader of another kind of source may have made.
    without: tables left out on purpose. asked: the deals' columns that are asked for.
    """
    if not all(map(is_plain_name, " ".join(table.request for table in before).split())):
        return
    used = {name for query in now for name in query.tables}
    gone = {name for table in before for name in table.request.split()} - used - {*without}
    of_deals = {column for query in now if query.object == "deals" for column in query.columns}
    told = {column for table in before if table.object == "deals" for column in table.columns}
    gone |= {f"deals' {column}" for column in (told & {*asked}) - of_deals}
    if gone:
        raise ExtractRefused(
            f"{', '.join(sorted(gone))} was read last time and is gone, or may not be read; bring it back, "
            "or leave it out on purpose (a table by without, a column by ignore of deals)"
        )
