"""A simulated company as a HubSpot account: its file drop, told the way HubSpot would hold it."""

from pathlib import Path
from typing import Any

import polars as pl

from dealwatch.company.files import STAGE_NAMES
from standins.hubspot_portal import Item, Owner, Pipeline, Portal, Record, iso, milliseconds, stage

FIRST_ID = 10_000_000
_ENDS = {"Closed Won": "1.0", "Closed Lost": "0.0"}
_PROPERTIES = {
    "stage": "dealstage",
    "amount": "amount",
    "close_date": "closedate",
    "owner_id": "hubspot_owner_id",
    "next_step_on": "notes_next_activity_date",
}
_WAYS = {
    "email": ("emails", "hs_email_direction", {"in": "INCOMING_EMAIL", "out": "EMAIL"}),
    "call": ("calls", "hs_call_direction", {"in": "INBOUND", "out": "OUTBOUND"}),
    "meeting": ("meetings", "", {}),
}


def stage_ids() -> dict[str, str]:
    """HubSpot's ids of the company's stages by their names."""
    return {name: str(9001 + number) for number, name in enumerate(STAGE_NAMES)}


def deal_id_of(ours: str) -> str:
    """HubSpot's id of a deal of the drop."""
    return str(FIRST_ID + int(ours.rpartition("-")[2]))


def account_of(folder: Path, *, now: int) -> Portal:
    """The account as it stands; `now` in milliseconds, not before the drop's end."""
    portal = Portal()
    ids = stage_ids()
    stages = [stage(id_, name, _ENDS.get(name, "0.5"), is_closed=name in _ENDS) for name, id_ in ids.items()]
    portal.pipelines = [Pipeline("default", "Sales", stages)]
    for row in _rows(folder / "owners.csv"):
        owner = Owner(person_of(row["owner_id"]) or "", row["name"] or "", email=row["email"] or "")
        owner.is_archived = row["active"] == "false"
        portal.owners.append(owner)
    histories: dict[str, dict[str, list[Item]]] = {}
    for row in _rows(folder / "deal_history.csv"):
        name = _PROPERTIES[row["field"]]
        items = histories.setdefault(row["deal_id"], {}).setdefault(name, [])
        items.append((milliseconds(row["changed_at"]), _value(row["field"], row["new_value"], ids), "CRM_UI"))
    companies: dict[str, str] = {}
    for row in _rows(folder / "deals.csv"):
        _add_deal(portal, row, histories.get(row["deal_id"], {}), companies, ids)
    for row in _rows(folder / "activities.csv"):
        kind, way, words = _WAYS.get(row["kind"], ("notes", "", {}))
        moment = milliseconds(row["happened_at"])
        values: dict[str, str | None] = {"hs_timestamp": iso(moment)}
        if way:
            values[way] = words.get(row["direction"])
        touch = portal.add(kind, moment, None, **values)
        portal.link(deal_id_of(row["deal_id"]), kind, touch.id)
    portal.now = now
    return portal


def _add_deal(
    portal: Portal,
    row: dict[str, Any],
    history: dict[str, list[Item]],
    companies: dict[str, str],
    ids: dict[str, str],
) -> None:
    created = milliseconds(row["created_at"])
    given = {
        "dealname": row["name"],
        "deal_currency_code": row["currency"],
        "dealtype": row["product_type"],
        "hs_analytics_source": row["lead_source"],
        **{property_: _value(name, row[name], ids) for name, property_ in _PROPERTIES.items()},
    }
    record: Record = portal.add("deals", created, deal_id_of(row["deal_id"]), **given)
    record.history |= history
    record.updated = max(items[-1][0] for items in record.history.values())
    account = row["account"]
    if account not in companies:
        told = {"name": account, "industry": row["industry"], "country": row["region"]}
        companies[account] = portal.add("companies", created, None, **told).id
    portal.link(record.id, "companies", companies[account], is_primary=True)


def _value(field: str, value: str | None, ids: dict[str, str]) -> str | None:
    if value is None:
        return None
    if field in {"close_date", "next_step_on"}:
        return f"{value}T12:00:00.000Z"
    return person_of(value) if field == "owner_id" else ids.get(value, value)


def person_of(ours: str | None) -> str | None:
    """HubSpot's id of an owner of the drop."""
    return str(700 + int(ours.rpartition("-")[2])) if ours else None


def _rows(path: Path) -> list[dict[str, Any]]:
    return pl.read_csv(path, infer_schema=False).to_dicts()
