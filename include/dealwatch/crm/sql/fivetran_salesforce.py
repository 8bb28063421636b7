"""Fivetran's Salesforce schema: opportunity, opportunity_stage and what is beside them.

Won and lost come from opportunity_stage. Histories come from opportunity_history, from the versions of an
opportunity in history mode, and of owners from opportunity_field_history.
"""

from typing import Any

import polars as pl
import sqlalchemy as sa

from dealwatch.crm.sql.catalog import Catalog, Found
from dealwatch.crm.sql.fivetran import (
    MOVE_KEY,
    MOVES,
    Fields,
    Part,
    changes_of,
    closings,
    is_standing,
    is_versioned,
    optional,
    outcomes,
    plain_mapping,
    together,
    without_closed_first,
)
from dealwatch.crm.sql.queries import Query
from dealwatch.sources import Sql

FIELDS = Fields(
    fixed={"deal_id": "id", "stage": "stage_name"},
    usual={
        "name": "name",
        "amount": "amount",
        "currency": "currency_iso_code",
        "owner_id": "owner_id",
        "created_at": "created_date",
        "close_date": "close_date",
        "lead_source": "lead_source",
        "account": "account.name",
        "industry": "account.industry",
    },
    beside="account.",
)
_OWNER = {
    "owner_id": "id",
    "name": "name",
    "email": "email",
    "manager_id": "manager_id",
    "time_zone": "time_zone_sid_key",
    "active": "is_active",
}
_IN_STATES = {"stage": "stage_name", "amount": "amount", "close_date": "close_date"}
_HISTORIES = ("opportunity_history", "opportunity_field_history")
_TABLES = (*_HISTORIES, "account", "user", "task", "event")
_VERSIONS = "opportunity_versions"  # so to say: those that history mode keeps


def salesforce_queries(source: Sql, catalog: Catalog) -> tuple[list[Query], tuple[str, ...]]:
    """The preset's queries, histories before deals; and the fields whose every change they tell."""
    deal = catalog.get("opportunity")
    beside = optional(catalog, *_TABLES)
    stage = catalog.get("opportunity_stage")
    is_kept = is_versioned(deal) and _VERSIONS not in source.without
    told = _moves(deal, beside, _meaning(stage), is_kept=is_kept)
    parts, tracked = list(told.values()), tuple(told)
    queries = []
    if parts:
        used = (*(name for name in _HISTORIES if name in beside), *([_VERSIONS] if is_kept else []))
        rows = together(parts)
        queries.append(Query("history", "deal_history", rows, MOVE_KEY, MOVES, shape=_with_days, tables=used))
    queries += [_touches(name, deal, beside[name]) for name in ("task", "event") if name in beside]
    if "user" in beside:
        queries.append(_owners(beside["user"]))
    queries.append(_deals(source, deal, stage, beside, told.get("stage")))
    return queries, tracked


def _moves(deal: Found, beside: dict[str, Found], meaning: sa.Subquery, *, is_kept: bool) -> dict[str, Part]:
    """By field, its changes."""
    told: dict[str, Part] = {}
    if is_kept:
        told |= _states(deal, "id", "_fivetran_start", [], deal)
        told |= {"stage": without_closed_first(told["stage"], meaning)}
    if "opportunity_history" in beside:  # whole since a deal's creation, and not only since history mode
        told |= _states(beside["opportunity_history"], "opportunity_id", "created_date", ["id"], deal)
    if "opportunity_field_history" in beside and "owner_id" not in told:
        told["owner_id"] = _owner_changes(beside["opportunity_field_history"], deal)
    return told


def _meaning(stage: Found) -> sa.Subquery:
    word = stage.col("api_name" if stage.has("api_name") else "master_label")
    in_use = sa.and_(is_standing(stage), stage.flag("is_active") if stage.has("is_active") else sa.true())
    return outcomes(word, stage.flag("is_won"), stage.flag("is_closed"), in_use)


def _states(states: Found, deal_id: str, at: str, order: list[str], deal: Found) -> dict[str, Part]:
    """By field the changes between the states that a table keeps of each deal."""
    known = {**_IN_STATES, **({"owner_id": "owner_id"} if states is deal else {})}
    fields = {field: column for field, column in known.items() if states.has(column)}
    gone = sa.or_(states.flag("is_deleted"), states.flag("_fivetran_deleted"))
    parts = changes_of(
        states.col(deal_id),
        states.col(at),
        {field: states.col(column) for field, column in fields.items()},
        order=[states.col(name) for name in order],
        where=[sa.not_(gone), states.col(deal_id).in_(_ids(deal))],
    )
    return dict(zip(fields, parts, strict=True))


def _owner_changes(history: Found, deal: Found) -> Part:
    """Salesforce tells a change of owner twice, by names and by ids; the ids of users begin with 005."""
    own = [history.col("opportunity_id").in_(_ids(deal)), sa.not_(history.flag("is_deleted"))]
    new, old = history.col("new_value"), history.col("old_value")
    by_id = [sa.cast(value, sa.String).like("005%") for value in (new, old)]
    moves: Part = sa.select(
        history.col("opportunity_id").label("deal_id"),
        history.col("created_date").label("changed_at"),
        sa.literal("owner_id").label("field"),
        sa.cast(old, sa.String).label("old_value"),
        sa.cast(new, sa.String).label("new_value"),
        sa.literal(0).label("nth"),
    ).where(history.col("field") == "Owner", sa.or_(*by_id), *own)
    return moves


def _ids(deal: Found) -> Part:
    there = deal.alias("there")
    return sa.select(there.col("id")).where(is_standing(there))


def _with_days(moves: pl.DataFrame) -> pl.DataFrame:
    """A close date is a day, also where it is stored as midnight."""
    is_day = pl.col("field") == "close_date"
    return moves.with_columns(
        pl.when(is_day).then(pl.col(name).str.slice(0, 10)).otherwise(name).alias(name)
        for name in ("old_value", "new_value")
    )


def _touches(name: str, deal: Found, table: Found) -> Query:
    """Tasks that were done and events that took place; never a subject or a text."""
    if name == "task":
        at, also, kind = "completed_date_time", "activity_date", "task_subtype"
        is_done = table.flag("is_closed") if table.has("is_closed") else sa.true()
    else:
        at, also, kind = "start_date_time", "activity_date", "event_subtype"
        is_done = table.col(at) <= sa.func.current_timestamp()
    nothing = sa.null()
    rows = sa.select(
        table.col("id").label("id"),
        table.col("what_id").label("deal_id"),
        (table.col(at) if table.has(at) else nothing).label("happened_at"),
        (table.col(also) if table.has(also) else nothing).label("on"),
        (table.col(kind) if table.has(kind) else sa.literal(name)).label("kind"),
        (table.col("owner_id") if table.has("owner_id") else nothing).label("by"),
    ).where(is_standing(table), is_done, table.col("what_id").in_(_ids(deal)))
    columns = ("deal_id", "happened_at", "kind", "by")
    return Query(name, "activities", rows, ("id",), columns, shape=_at_or_on, tables=(name,))


def _at_or_on(touches: pl.DataFrame) -> pl.DataFrame:
    return touches.with_columns(
        pl.coalesce("happened_at", pl.col("on").str.slice(0, 10)).alias("happened_at")
    )


def _owners(user: Found) -> Query:
    there = {name: column for name, column in _OWNER.items() if user.has(column)}
    rows = sa.select(*(user.col(column).label(name) for name, column in there.items())).where(
        is_standing(user)
    )
    return Query("owners", "owners", rows, ("owner_id",), tuple(there), tables=("user",))


def _deals(source: Sql, deal: Found, stage: Found, beside: dict[str, Found], moves: Part | None) -> Query:
    account = beside["account"].alias("of_deal") if "account" in beside else None
    picked = FIELDS.selected(source, deal, account)
    meaning = _meaning(stage)
    # A stage that is in no list any more means what the deal itself says.
    own = sa.case((deal.flag("is_won"), "won"), (deal.flag("is_closed"), "lost"))
    outcome = sa.case((meaning.c.stage.is_not(None), meaning.c.outcome), else_=own)
    joined: Any = deal.clause.outerjoin(meaning, meaning.c.stage == deal.col("stage_name"))
    if account is not None:
        of_deal = sa.and_(account.col("id") == deal.col("account_id"), is_standing(account))
        joined = joined.outerjoin(account.clause, of_deal)
    moments: list[Any] = []
    if moves is not None:
        closed = closings(moves, meaning.alias())
        joined = joined.outerjoin(
            closed, sa.and_(closed.c.deal_id == deal.col("id"), closed.c.outcome == outcome)
        )
        moments.append(closed.c.closed_at)
    if deal.has("last_stage_change_date"):
        moments.append(deal.col("last_stage_change_date"))
    at = sa.func.coalesce(*moments) if len(moments) > 1 else moments[0] if moments else sa.null()
    rows = (
        sa.select(
            *(column.label(name) for name, column in picked.items()),
            outcome.label("outcome"),
            sa.case((outcome.is_not(None), at)).label("closed_at"),
            sa.case((outcome.is_not(None), deal.col("close_date"))).label("closed_on"),
        )
        .select_from(joined)
        .where(is_standing(deal))
    )
    columns = (*picked, "outcome", "closed_at")
    used = ("account",) if account is not None else ()
    return Query("deals", "deals", rows, ("deal_id",), columns, plain_mapping(source), _closed, used)


def _closed(deals: pl.DataFrame) -> pl.DataFrame:
    """Without a move that closed it, its close date tells; no deal closed before it was created."""
    on = pl.col("closed_on").str.slice(0, 10)
    at = pl.coalesce("closed_at", on)
    created = pl.col("created_at")
    is_before = at.str.slice(0, 10) < created.str.slice(0, 10)
    days = [pl.col(name).str.slice(0, 10).alias(name) for name in ("close_date",) if name in deals.columns]
    return deals.with_columns(pl.when(is_before).then(created).otherwise(at).alias("closed_at"), *days)
