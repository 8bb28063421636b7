"""What Fivetran does to every table it fills, and what a history of stages says of a deal's end.

It marks rows that are gone (`_fivetran_deleted`), and in history mode it keeps every version of a row
(`_fivetran_start`, `_fivetran_end`), of which one is true (`_fivetran_active`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from dealwatch.crm.sql.catalog import Catalog, Found
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import RecordMapping
from dealwatch.sources import Sql

log = logging.getLogger(__name__)
Part = sa.Select[*tuple[Any, ...]]
MOVES = ("deal_id", "changed_at", "field", "old_value", "new_value")
MOVE_KEY = ("deal_id", "changed_at", "field", "nth")


def is_versioned(table: Found) -> bool:
    """Whether the table is in history mode."""
    return table.has("_fivetran_start", "_fivetran_active")


def is_standing(table: Found) -> sa.ColumnElement[bool]:
    """Rows that are there at present: the true version, and not deleted."""
    gone = sa.or_(table.flag("_fivetran_deleted"), table.flag("is_deleted"))
    return sa.and_(sa.not_(gone), table.flag("_fivetran_active") if is_versioned(table) else sa.true())


def outcomes(stage: Any, is_won: Any, is_lost: Any, is_preferred: Any) -> sa.Subquery:
    """What each stage means: stage, outcome (won, lost, null for open); rows in use overrule others."""

    def told(condition: Any) -> sa.ColumnElement[int]:
        in_use = sa.case((sa.and_(is_preferred, condition), 1), (is_preferred, 0))
        return sa.func.coalesce(sa.func.max(in_use), sa.func.max(sa.case((condition, 1), else_=0)))

    outcome = sa.case((told(is_won) == 1, "won"), (told(is_lost) == 1, "lost"))
    return sa.select(stage.label("stage"), outcome.label("outcome")).group_by(stage).subquery()


def changes_of(
    deal_id: Any, at: Any, values: Mapping[str, Any], *, order: Sequence[Any], where: Sequence[Any]
) -> list[Part]:
    """The changes between the states of each deal, its first state from nothing; one select a field."""
    parts = []
    for field, value in values.items():
        window: dict[str, Any] = {"partition_by": deal_id, "order_by": [at, *order]}
        states = (
            sa.select(
                deal_id.label("deal_id"),
                at.label("changed_at"),
                value.label("new"),
                sa.func.lag(value).over(**window).label("old"),
                sa.func.row_number().over(**window).label("nth"),
            )
            .where(*where)
            .subquery()
        )
        parts.append(
            sa.select(
                states.c.deal_id,
                states.c.changed_at,
                sa.literal(field).label("field"),
                sa.cast(states.c.old, sa.String).label("old_value"),
                sa.cast(states.c.new, sa.String).label("new_value"),
                states.c.nth,
            ).where(states.c.new.is_distinct_from(states.c.old), states.c.changed_at.is_not(None))
        )
    return parts


def together(parts: Sequence[Part]) -> sa.SelectBase:
    return parts[0] if len(parts) == 1 else sa.union_all(*parts)


def without_closed_first(moves: Part, meaning: sa.FromClause) -> Part:
    """Moves of stages that begin with the day somebody switched history on, not with the deal.

    Of a deal that was closed by then, the first state tells nothing of when it closed.
    """
    moved = moves.subquery()
    closed = sa.select(meaning.c.stage).where(meaning.c.outcome.is_not(None))
    return sa.select(*moved.c).where(sa.or_(moved.c.nth > 1, moved.c.new_value.not_in(closed)))


def closings(moves: Part, meaning: sa.FromClause) -> sa.Subquery:
    """When each deal came last to an outcome it had not before: deal_id, outcome, closed_at."""
    moved = moves.subquery()
    before = meaning.alias()
    is_news = sa.and_(meaning.c.outcome.is_not(None), meaning.c.outcome.is_distinct_from(before.c.outcome))
    return (
        sa.select(
            moved.c.deal_id,
            meaning.c.outcome,
            sa.func.max(moved.c.changed_at).label("closed_at"),
        )
        .select_from(
            moved.join(meaning, meaning.c.stage == moved.c.new_value).outerjoin(
                before, before.c.stage == moved.c.old_value
            )
        )
        .where(is_news)
        .group_by(moved.c.deal_id, meaning.c.outcome)
        .subquery()
    )


@dataclass(frozen=True)
class Fields:
    """Which columns of the deals, and of their accounts, feed which of our fields.

    fixed: cannot be mapped otherwise. usual: read unless the settings map another column or ignore it.
    """

    fixed: Mapping[str, str]
    usual: Mapping[str, str]
    beside: str  # how a column of the account is written, as account.

    def asked(self, source: Sql) -> dict[str, str]:
        """Our field -> column, as the settings have it."""
        told = source.deals
        for name, column in self.fixed.items():
            if told.columns.get(name, column) != column:
                raise ExtractRefused(f"the preset tells {name} itself; take it out of the columns of deals")
        usual = {
            name: column
            for name, column in self.usual.items()
            if name not in told.ignore and column not in told.ignore and name not in told.columns
        }
        return {**self.fixed, **usual, **told.columns}

    def selected(self, source: Sql, deal: Found, account: Found | None) -> dict[str, Any]:
        """Our field -> the column that is there. Raises ExtractRefused when one lacks that has to be."""
        found: dict[str, Any] = {}
        for name, column in self.asked(source).items():
            is_beside = column.startswith(self.beside)
            table, bare = (account, column.removeprefix(self.beside)) if is_beside else (deal, column)
            if table is not None and table.has(bare):
                found[name] = table.col(bare)
            elif name in source.deals.columns or name in self.fixed or name == "created_at":
                deal.col(column)  # says what is missing
            else:
                log.info("there is no column %s for %s, so it stays empty", column, name)
        return found


def plain_mapping(source: Sql) -> RecordMapping:
    """What the settings say of values; the preset's rows have our names already."""
    kept = {"values", "known_only_at_close", "decimal", "date_format"}
    return RecordMapping.model_validate(source.deals.model_dump(include=kept))


def optional(catalog: Catalog, *names: str) -> dict[str, Found]:
    """Those tables of the preset that are there, said in the log."""
    found = {name: table for name in names if (table := catalog.find(name)) is not None}
    log.info("beside the deals there are: %s", ", ".join(found) or "no tables")
    return found
