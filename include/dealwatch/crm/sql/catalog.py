"""What tables and columns a warehouse has, found by the names a preset or a mapping knows them by."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from dealwatch.checks import is_plain_name
from dealwatch.errors import ExtractRefused


def _bare(name: str) -> str:
    """`stage_name`, `StageName` and `STAGE_NAME` are the same to a preset."""
    return name.casefold().replace("_", "")


@dataclass(frozen=True)
class Found:
    """A table that is there. columns: bare name -> the name as it is written there."""

    name: str
    clause: sa.TableClause
    columns: Mapping[str, str]

    def has(self, *names: str) -> bool:
        return all(_bare(name) in self.columns for name in names)

    def col(self, name: str) -> sa.ColumnClause[object]:
        """The column of that name. Raises ExtractRefused when the table lacks it."""
        if not self.has(name):
            raise ExtractRefused(
                f"{self.name}: there is no column {name!r}, or the role may not read it; "
                f"the table has {', '.join(sorted(self.columns.values()))}"
            )
        return self.clause.c[self.columns[_bare(name)]]

    def flag(self, name: str) -> sa.ColumnElement[bool]:
        """A column as a condition: empty and absent is no."""
        if not self.has(name):
            return sa.false()
        return sa.func.coalesce(sa.type_coerce(self.col(name), sa.Boolean), sa.false()) == sa.true()

    def alias(self, name: str) -> "Found":
        """The same table once more, for a second part in one query."""
        clause = sa.table(self.clause.name, *map(sa.column, self.columns.values()), schema=self.clause.schema)
        aliased = clause.alias(name)
        return Found(self.name, aliased, self.columns)  # type: ignore[arg-type]


@dataclass
class Catalog:
    """The tables of one schema. names: those there are; `ask` tells a table's columns."""

    names: Collection[str]
    schema: str | None
    ask: Callable[[sa.TableClause], Collection[str]]
    without: Collection[str] = ()
    _known: dict[str, Found] = field(default_factory=dict)

    def find(self, name: str) -> Found | None:
        """The table of that name, or None when it is not there or left out on purpose."""
        if name in self.without:
            return None
        if name not in self._known:
            same = [one for one in self.names if one == name] or [
                one for one in self.names if _bare(one) == _bare(name)
            ]
            if not same:
                return None
            if len(same) > 1:
                raise ExtractRefused(f"tables {' and '.join(sorted(same))} are both there for {name}")
            self._known[name] = self._asked(name, same[0])
        return self._known[name]

    def get(self, name: str) -> Found:
        """The table of that name. Raises ExtractRefused when it is not there."""
        found = self.find(name)
        if found is None:
            where = f"schema {self.schema}" if self.schema else "the connection's schema"
            raise ExtractRefused(
                f"{name}: no such table in {where}, or the role may not see it; correct the name or "
                "in_schema, or grant the right to read it"
            )
        return found

    def _asked(self, name: str, written: str) -> Found:
        bare_table = sa.table(written, schema=self.schema)
        columns = [column for column in self.ask(bare_table) if is_plain_name(column)]
        clause = sa.table(written, *map(sa.column, columns), schema=self.schema)
        return Found(name, clause, {_bare(column): column for column in columns})
