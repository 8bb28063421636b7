"""How a landed drop is to be understood: what absence means, what its history tells, where its ids stand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, or_

from dealwatch.crm.pages import Plan, plan_of
from dealwatch.crm.sheets import Covers
from dealwatch.knobs import RecordMapping, Source
from dealwatch.sources import LiveSource
from dealwatch.tables import extract_runs


@dataclass(frozen=True)
class Terms:
    """What the plan of a live source, or the settings of file drops, say about a drop as a whole.

    tracked: fields whose every change the history tells; None: those of which it has a row.
    id_columns: by file, or table, of deals: the source's column of their id.
    """

    covers: Covers
    tracked: tuple[str, ...] | None
    known_only_at_close: tuple[str, ...]
    id_columns: Mapping[str, str]
    id_column: str = "deal_id"

    @property
    def closes_with_stage(self) -> bool:
        """Whether the stage's whole history is told, and is all there is that tells when a deal closed."""
        return self.tracked is not None and "stage" in self.tracked and "outcome" not in self.tracked

    def id_in(self, file: str) -> str:
        return self.id_columns.get(file, self.id_column)


def terms_of(stored_plan: dict[str, Any] | None, source: Source | LiveSource) -> Terms:
    """The terms of a drop from what its run keeps; a drop of files keeps none, and the settings tell."""
    if stored_plan is not None:
        return terms_of_plan(plan_of(stored_plan))
    known_only_at_close = source.deals.known_only_at_close
    return Terms("all", None, known_only_at_close, {}, id_column_of(source.deals))


def terms_of_plan(plan: Plan) -> Terms:
    tables = [table for table in plan.tables if table.object in ("deals", "ids")]
    marked = [name for table in plan.feeding("deals") for name in table.mapping.known_only_at_close]
    return Terms(
        covers=plan.covers,
        tracked=plan.tracked,
        known_only_at_close=tuple(dict.fromkeys(marked)),
        id_columns={table.name: id_column_of(table.mapping) for table in tables},
    )


def reads_a_source() -> ColumnElement[bool]:
    """Whether a run read its source, rather than the few deals that events named.

    Only such a run says how fresh a source is, how large, what changed since when, and what is wrong with it.
    """
    return or_(extract_runs.c.covers.is_(None), extract_runs.c.covers != "some")


def id_column_of(mapping: RecordMapping) -> str:
    """The source's column of the deal's id."""
    return mapping.columns.get("deal_id", "deal_id")
