"""Visit a warehouse: does it let us read, which tables are there, what are they to us, how many rows.

A handful of queries: names, counts and the words of stages; no row is read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dealwatch.crm.connecting import Field, Kind, Notes, Stage, Visit, absent, check_stages, guessed_stages
from dealwatch.crm.contract import REQUIRED, Object
from dealwatch.crm.guessing import LIKELY, guesses
from dealwatch.crm.sql.catalog import Catalog, Found
from dealwatch.crm.sql.connection import engine_of
from dealwatch.crm.sql.fivetran import Fields
from dealwatch.crm.sql.queries import Query, counted
from dealwatch.crm.sql.reader import FIELDS, SqlReader, url_of
from dealwatch.errors import DealwatchError, ExtractRefused, SourceDown
from dealwatch.settings import Settings
from dealwatch.sources import Sql, SqlMapping

_PRESETS = {
    "fivetran_salesforce": ("opportunity", "opportunity_stage"),
    "fivetran_hubspot": ("deal", "deal_pipeline_stage"),
}
_OTHERS: Mapping[Object, str] = {
    "deal_history": r"histor|changes|moves|audit",
    "activities": r"activit|task|touch|meeting|engagement",
    "owners": r"owner|user|rep|people|employee",
}
_DEALS = re.compile(r"deal|opportunit|opps?\b|pipeline", re.IGNORECASE)
_MOST_STAGES = 60
_GONE = ("is_deleted", "deleted", "_fivetran_deleted", "is_gone", "archived")


def visit_sql(name: str, settings: Settings, *, now: datetime) -> Visit:
    """What we find in the warehouse of that source."""
    source, notes = settings.sources[name], Notes()
    assert isinstance(source, Sql)
    try:
        reader = SqlReader(name, source, engine_of(name, source, url_of(name, source)))
        with reader.connected() as connection:
            return _Warehouse(notes, reader, connection, name, settings, source).visit(now)
    except (DealwatchError, SourceDown) as error:
        notes.refused("connection" if not notes.findings else "requests", error)
    return Visit(tuple(notes.findings))


class _Warehouse:
    def __init__(
        self,
        notes: Notes,
        reader: SqlReader,
        connection: sa.Connection,
        name: str,
        settings: Settings,
        source: Sql,
    ) -> None:
        self.notes, self.reader, self.connection = notes, reader, connection
        self.name, self.settings, self.source = name, settings, source
        self.requests = 2

    def visit(self, now: datetime) -> Visit:
        self.notes.ok("connection", f"{self.connection.dialect.name}, in a transaction that may only read")
        self.notes.clock(self.reader.clock(self.connection), now)
        catalog = self.reader.catalog(self.connection)
        where = f"schema {self.source.in_schema}" if self.source.in_schema else "the connection's schema"
        if not catalog.names:
            remedy = "Correct in_schema, or grant the role USAGE on it and SELECT on its tables."
            self.notes.missing("tables", f"we see none in {where}", remedy)
            return self._done()
        self.notes.ok("tables", f"{len(catalog.names)} tables and views in {where}")
        if self.source.preset is None and (fitting := _preset_of(catalog)):
            self._no_preset(fitting)
            if not self.source.is_mapped:
                return self._done()
        if not self.source.is_mapped:
            return self._drafted(catalog)
        return self._mapped(catalog)

    def _no_preset(self, fitting: str) -> None:
        says = (
            f"the tables look like those of {fitting.replace('_', ' of ', 1).replace('fivetran', 'Fivetran')}"
        )
        remedy = (
            f'Write preset = "{fitting}" in [sources.{self.name}]: it knows tables, stages and histories.'
        )
        note = self.notes.warn if self.source.is_mapped else self.notes.missing
        note("mapping", says, remedy)

    def _mapped(self, catalog: Catalog) -> Visit:
        """What the settings say, held against what is there."""
        fields: tuple[Field, ...] = ()
        if self.source.preset is None:
            for object_, mapping in _mappings(self.source):
                found = self._columns(object_, mapping, catalog)
                if object_ == "deals" and found is not None:
                    fields = tuple(self._fields(found))
        try:
            queries, tracked = self.reader.queries(self.connection)
        except ExtractRefused as error:
            if all(one.verdict != "missing" for one in self.notes.findings):
                self.notes.refused("mapping", error)
            return self._done(fields=fields)
        self.notes.ok("mapping", f"tables: {', '.join(query.name for query in queries)}")
        self._histories(queries, tracked)
        usual: dict[str, str] = {}
        if self.source.preset is not None:
            preset = FIELDS[self.source.preset]
            fields = tuple(self._of_preset(catalog, preset))
            usual = {**preset.fixed, **preset.usual}
            usual = {ours: theirs for ours, theirs in usual.items() if ours not in self.source.deals.columns}
        derived = ("outcome", "closed_at") if usual else ()
        stages = self._counted(queries)
        return self._done(fields=fields, usual=usual, derived=derived, stages=stages)

    def _of_preset(self, catalog: Catalog, preset: Fields) -> Iterator[Field]:
        deals = "opportunity" if self.source.preset == "fivetran_salesforce" else "deal"
        for name, prefix in ((deals, ""), (preset.beside.removesuffix("."), preset.beside)):
            table = catalog.find(name)
            for one in self._fields(table) if table is not None else ():
                if not one.name.startswith("_fivetran") and one.kind not in ("flag", "other"):
                    yield replace(one, name=prefix + one.name)

    def _columns(self, object_: str, mapping: SqlMapping, catalog: Catalog) -> Found | None:
        try:
            found = catalog.get(mapping.table or "")
        except ExtractRefused as error:
            self.notes.refused("mapping", error)
            return None
        where = f"sources.{self.name}.{object_}"
        for ours, theirs in mapping.columns.items():
            if not found.has(theirs):
                absent(self.notes, ours, theirs, found.columns.values(), where=where)
        return found

    def _histories(self, queries: Sequence[Query], tracked: Sequence[str] | None) -> None:
        if tracked:
            self.notes.ok("history", f"every change is told of {', '.join(tracked)}")
        elif not any(query.object == "deal_history" for query in queries):
            self.notes.warn(
                "history",
                "none: changes come from comparing night with night, and nothing can be looked back on",
                "Have the CRM's history tables synced too, or turn on Fivetran's history mode."
                if self.source.preset
                else f"Name the table that has it in [sources.{self.name}.deal_history].",
            )

    def _counted(self, queries: Sequence[Query]) -> tuple[Stage, ...]:
        stages: tuple[Stage, ...] = ()
        for query in (one for one in queries if one.object == "deals"):
            rows, keyless = self._one(counted(query, None))
            self.notes.ok("deals", f"{rows:,} rows in {query.name}")
            if keyless:
                says = f"{', '.join(query.key)} is empty in {keyless:,} rows of {query.name}"
                self.notes.missing("mapping", says, "Name as key columns that every row fills.")
            stages = stages or self._stages(query)
        told = sum(self._one(counted(query, None))[0] for query in queries if query.object != "deals")
        self.notes.ok("first extract", f"every night reads all tables: {told:,} rows beside those of deals")
        return stages

    def _stages(self, query: Query) -> tuple[Stage, ...]:
        """The words of the stage's column, when they are few enough to be stages."""
        rows = query.rows.subquery("told")
        column = rows.c.get(query.mapping.columns.get("stage", "stage"))
        ends = rows.c.get(query.mapping.columns.get("outcome", "outcome"))
        if column is None:
            return ()
        end = sa.null() if ends is None else sa.func.max(ends)
        asked = sa.select(column, end, sa.func.count()).group_by(column).limit(_MOST_STAGES + 1)
        self.requests += 1
        found = self.reader.asked(lambda: self.connection.execute(asked).all())
        if len(found) > _MOST_STAGES:
            self.notes.warn(
                "stages", f"more than {_MOST_STAGES} words in the stage's column", "Is it the right column?"
            )
            return ()
        words = query.mapping.values.get("stage", {})
        told = {str(row[0]): _end(row[1]) for row in found if row[0] is not None}
        stages = guessed_stages(told, words, is_told=self.source.preset is not None)
        check_stages(self.notes, stages, self.settings, tells="in the table, in no order")
        return stages

    def _drafted(self, catalog: Catalog) -> Visit:
        """A draft of a source of which the settings say no table."""
        named = [one for one in catalog.names if _DEALS.search(one)] or list(catalog.names)
        tables = [found for one in sorted(named)[:20] if (found := catalog.find(one)) is not None]
        best = max(tables, key=lambda one: self._fit("deals", one), default=None)
        if best is None or self._fit("deals", best) == 0:
            self.notes.missing(
                "mapping", "no table looks like deals", f"Name it: [sources.{self.name}.deals] table = ..."
            )
            return self._done()
        says = f"nothing says which table is what; {best.name} looks like the deals"
        self.notes.missing("mapping", says, "Read the draft below, correct it, and paste it.")
        extra: dict[str, Any] = {"table": best.name, "key": self._key(best)}
        gone = next((best.columns[_bare(one)] for one in _GONE if best.has(one)), None)
        if gone:
            extra["deleted"] = gone
        fields = tuple(one for one in self._fields(best) if one.name not in (gone, "_fivetran_synced"))
        return self._done(fields=fields, extra=extra, others=self._others(catalog, best))

    def _others(self, catalog: Catalog, deals: Found) -> dict[str, dict[str, Any]]:
        others: dict[str, dict[str, Any]] = {}
        for object_, called in _OTHERS.items():
            named = [one for one in catalog.names if re.search(called, one, re.IGNORECASE)]
            tables = [t for one in sorted(named)[:20] if (t := catalog.find(one)) and t.name != deals.name]
            best = max(tables, key=lambda one: self._fit(object_, one), default=None)
            if best is not None and self._fit(object_, best):
                found = guesses(object_, list(self._fields(best)))
                columns = {ours: guess.field for ours, guess in found.items() if guess.sure >= LIKELY}
                others[object_] = {"table": best.name, "key": self._key(best), "columns": columns}
        return others

    def _fit(self, object_: Object, table: Found) -> float:
        """How well a table's columns make the object: 0 when something it needs looks like nothing."""
        found = guesses(object_, list(self._fields(table)))
        needed = [found.get(name) for name in REQUIRED[object_]]
        if any(one is None or one.sure < LIKELY for one in needed):
            return 0.0
        return sum(one.sure for one in found.values())

    def _fields(self, table: Found) -> Iterator[Field]:
        inspector = sa.inspect(self.connection)
        described = self.reader.asked(
            lambda: inspector.get_columns(table.clause.name, schema=self.source.in_schema)
        )
        there = set(table.columns.values())
        for one in described:
            if one["name"] in there:
                yield Field(str(one["name"]), _kind(one["type"]))

    def _key(self, table: Found) -> list[str]:
        inspector = sa.inspect(self.connection)
        told = self.reader.asked(
            lambda: inspector.get_pk_constraint(table.clause.name, schema=self.source.in_schema)
        )
        if told and told["constrained_columns"]:
            return list(told["constrained_columns"])
        found = guesses("deals", list(self._fields(table)))
        guess = found.get("deal_id")
        return [guess.field] if guess else [next(iter(table.columns.values()))]

    def _one(self, query: sa.Select[Any]) -> tuple[int, int]:
        self.requests += 1
        row = self.reader.asked(lambda: self.connection.execute(query).one())
        return int(row[0]), int(row[1])

    def _done(self, **more: Any) -> Visit:
        missing = frozenset(self.notes.absent)
        return Visit(
            tuple(self.notes.findings), absent=missing, ordered=False, requests=self.requests, **more
        )


def _mappings(source: Sql) -> Iterator[tuple[Object, SqlMapping]]:
    yield "deals", source.deals
    for object_ in ("deal_history", "activities", "owners"):
        mapping: SqlMapping | None = getattr(source, object_)
        if mapping is not None:
            yield object_, mapping


def _preset_of(catalog: Catalog) -> str | None:
    for preset, tables in _PRESETS.items():
        found = [catalog.find(one) for one in tables]
        if all(one is not None and one.has("_fivetran_synced") for one in found):
            return preset
    return None


def _bare(name: str) -> str:
    return name.casefold().replace("_", "")


def _end(told: Any) -> str | None:
    word = str(told or "").casefold()
    return word if word in ("won", "lost") else None


def _kind(type_: Any) -> Kind:
    """The kind of a column; what a database keeps as text may be anything."""
    if isinstance(type_, sa.Boolean):
        return "flag"
    if isinstance(type_, (sa.Date, sa.DateTime)):
        return "date"
    if isinstance(type_, (sa.Integer, sa.Numeric)):
        return "number"
    return "text" if isinstance(type_, (sa.String, sa.Uuid)) else "other"
