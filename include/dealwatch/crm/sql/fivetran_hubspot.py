"""Fivetran's HubSpot schema: deal, deal_pipeline_stage, deal_property_history and what is beside them.

Won and lost come from deal_pipeline_stage: closed_won tells won, and a chance of nothing tells lost, which is
how HubSpot itself defines its two ends. Never a label.
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
    optional,
    outcomes,
    plain_mapping,
    together,
)
from dealwatch.crm.sql.queries import Query
from dealwatch.sources import Sql

FIELDS = Fields(
    fixed={"deal_id": "deal_id", "stage": "deal_pipeline_stage_id"},
    usual={
        "name": "property_dealname",
        "amount": "property_amount",
        "currency": "property_deal_currency_code",
        "owner_id": "owner_id",
        "created_at": "property_createdate",
        "close_date": "property_closedate",
        "next_step_on": "property_notes_next_activity_date",
        "product_type": "property_dealtype",
        "lead_source": "property_hs_analytics_source",
        "account": "company.property_name",
        "industry": "company.property_industry",
        "region": "company.property_country",
    },
    beside="company.",
)
_TRACKED = {
    "dealstage": "stage",
    "amount": "amount",
    "closedate": "close_date",
    "hubspot_owner_id": "owner_id",
}
_KINDS = ("call", "email", "meeting", "note", "task")
_ENGAGEMENTS = tuple(f"engagement_{kind}" for kind in _KINDS)
_HISTORIES = ("deal_property_history", "deal_stage")  # the first that is there
_TABLES = (*_HISTORIES, "owner", "company", "deal_company", "engagement_deal")


def hubspot_queries(source: Sql, catalog: Catalog) -> tuple[list[Query], tuple[str, ...]]:
    """The preset's queries, histories before deals; and the fields whose every change they tell."""
    deal, stage = catalog.get("deal"), catalog.get("deal_pipeline_stage")
    beside = optional(catalog, *_TABLES, "engagement", *_ENGAGEMENTS)
    told = _moves(deal, beside)
    queries = []
    if told:
        rows = together(list(told.values()))
        used = tuple(name for name in _HISTORIES if name in beside)[:1]
        queries.append(Query("history", "deal_history", rows, MOVE_KEY, MOVES, shape=_plain, tables=used))
    if "engagement_deal" in beside:
        queries += _touches(deal, beside)
    if "owner" in beside:
        queries.append(_owners(beside["owner"]))
    queries.append(_deals(source, deal, stage, beside, told.get("stage")))
    return queries, tuple(told)


def _moves(deal: Found, beside: dict[str, Found]) -> dict[str, Part]:
    """By field, its changes: HubSpot keeps each value that a property took."""
    if "deal_property_history" in beside:
        history = beside["deal_property_history"]
        return {
            field: _changes(history, "timestamp", deal, field, [history.col("name") == name])
            for name, field in _TRACKED.items()
        }
    if "deal_stage" in beside:
        return {"stage": _changes(beside["deal_stage"], "date_entered", deal, "stage", [])}
    return {}


def _changes(history: Found, at: str, deal: Found, field: str, where: list[Any]) -> Part:
    there = deal.alias("there")
    standing = sa.select(there.col("deal_id")).where(is_standing(there))
    own = [sa.not_(history.flag("_fivetran_deleted")), history.col("deal_id").in_(standing), *where]
    (part,) = changes_of(
        history.col("deal_id"), history.col(at), {field: history.col("value")}, order=[], where=own
    )
    return part


def _plain(moves: pl.DataFrame) -> pl.DataFrame:
    """Older histories tell an instant as milliseconds since 1970."""
    is_instant = pl.col("field") == "close_date"

    def read(name: str) -> pl.Expr:
        value = pl.col(name)
        number = pl.when(value.str.contains(r"^\d{11,14}$")).then(value).cast(pl.Int64, strict=False)
        instant = pl.from_epoch(number, "ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        return pl.when(is_instant & instant.is_not_null()).then(instant).otherwise(value).alias(name)

    return moves.with_columns(read("old_value"), read("new_value"))


def _touches(deal: Found, beside: dict[str, Found]) -> list[Query]:
    """Calls, e-mails, meetings, notes and tasks: that they took place, never what they say."""
    link = beside["engagement_deal"]
    apart = {name: beside[name] for name in _ENGAGEMENTS if name in beside and _time_of(beside[name])}
    if not apart and "engagement" in beside and _time_of(beside["engagement"]):
        apart = {"engagement": beside["engagement"]}
    return [_touch(name, table, link, deal) for name, table in apart.items()]


def _time_of(table: Found) -> str | None:
    names = ("property_hs_timestamp", "timestamp", "property_hs_createdate", "created_at")
    return next((name for name in names if table.has(name)), None)


def _touch(name: str, table: Found, link: Found, deal: Found) -> Query:
    there = deal.alias("there")
    standing = sa.select(there.col("deal_id")).where(is_standing(there))
    own_id = table.col("engagement_id" if table.has("engagement_id") else "id")
    at = table.col(_time_of(table) or "")
    kind = table.col("type") if name == "engagement" and table.has("type") else sa.literal(name[11:] or name)
    by = next(
        (table.col(one) for one in ("property_hubspot_owner_id", "owner_id") if table.has(one)), sa.null()
    )
    rows = (
        sa.select(
            own_id.label("id"),
            link.col("deal_id").label("deal_id"),
            at.label("happened_at"),
            kind.label("kind"),
            by.label("by"),
        )
        .select_from(table.clause.join(link.clause, link.col("engagement_id") == own_id))
        .where(is_standing(table), is_standing(link), link.col("deal_id").in_(standing))
        .where(at <= sa.func.current_timestamp())
    )
    columns = ("deal_id", "happened_at", "kind", "by")
    used = (name, "engagement_deal")
    return Query(name, "activities", rows, ("id", "deal_id"), columns, tables=used)


def _owners(owner: Found) -> Query:
    first, last = (sa.func.coalesce(owner.col(name), "") for name in ("first_name", "last_name"))
    rows = sa.select(
        owner.col("owner_id").label("owner_id"),
        sa.func.trim(first + sa.literal(" ") + last).label("name"),
        owner.col("email").label("email"),
    ).where(sa.not_(owner.flag("_fivetran_deleted")))
    return Query("owners", "owners", rows, ("owner_id",), ("owner_id", "name", "email"), tables=("owner",))


def _deals(source: Sql, deal: Found, stage: Found, beside: dict[str, Found], moves: Part | None) -> Query:
    company, link = (beside.get(name) for name in ("company", "deal_company"))
    company = company.alias("of_deal") if company is not None and link is not None else None
    picked = FIELDS.selected(source, deal, company)
    is_won = stage.flag("closed_won")
    is_lost = stage.flag("is_closed") if stage.has("is_closed") else stage.col("probability") == 0
    meaning = outcomes(stage.col("stage_id"), is_won, is_lost, sa.not_(stage.flag("_fivetran_deleted")))
    joined: Any = deal.clause.outerjoin(meaning, meaning.c.stage == deal.col("deal_pipeline_stage_id"))
    if company is not None and link is not None:
        first = sa.select(
            link.col("deal_id").label("deal_id"), sa.func.min(link.col("company_id")).label("company")
        )
        of = first.where(is_standing(link)).group_by(link.col("deal_id")).subquery()
        joined = joined.outerjoin(of, of.c.deal_id == deal.col("deal_id"))
        same = sa.and_(company.col("id") == of.c.company, is_standing(company))
        joined = joined.outerjoin(company.clause, same)
    at: Any = sa.null()
    if moves is not None:
        closed = closings(moves, meaning.alias())
        same = sa.and_(closed.c.deal_id == deal.col("deal_id"), closed.c.outcome == meaning.c.outcome)
        joined, at = joined.outerjoin(closed, same), closed.c.closed_at
    is_closed = meaning.c.outcome.is_not(None)
    rows = (
        sa.select(
            *(column.label(name) for name, column in picked.items()),
            meaning.c.outcome.label("outcome"),
            sa.case((is_closed, at)).label("closed_at"),
            sa.case((is_closed, deal.col("property_closedate"))).label("closed_on"),
        )
        .select_from(joined)
        .where(is_standing(deal))
    )
    columns = (*picked, "outcome", "closed_at")
    used = ("company", "deal_company") if company is not None else ()
    return Query("deals", "deals", rows, ("deal_id",), columns, plain_mapping(source), _closed, used)


def _closed(deals: pl.DataFrame) -> pl.DataFrame:
    """Without a move that closed it, its close date tells; no deal closed before it was created."""
    at, created = pl.coalesce("closed_at", "closed_on"), pl.col("created_at")
    return deals.with_columns(pl.when(at < created).then(created).otherwise(at).alias("closed_at"))
