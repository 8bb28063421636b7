"""What HubSpot answers about objects: lists, batches by id, associations, search.

As its specification of 2026-03 and 2026-09 and recorded answers have it. Where the two differ (a value that
is null may be left out; a related id may be a number), `Habits` says which way this account goes.
"""

from collections.abc import Callable
from typing import Any

from standins.hubspot_desk import (
    Body,
    Desk,
    Reply,
    Request,
    error,
    few,
    fields_of,
    flag,
    from_token,
    invalid,
    kind_named,
    limit_of,
    names,
    paging,
    token,
)
from standins.hubspot_portal import Record, iso

MOST = 100  # objects in a page or a batch
MOST_WITH_HISTORY = 50
MOST_LINKS = 1000  # records in one question for associations
MOST_FOUND = 10_000  # how far a search can be paged
PRIMARY, PLAIN = 5, 341  # types of association from a deal to a company


def list_page(desk: Desk, named: list[str], request: Request) -> Reply:
    """One page of the objects of a kind, by id."""
    kind, query = kind_named(named[0]), request.query
    with_history = names(query.get("propertiesWithHistory"))
    limit = limit_of(query, most=MOST_WITH_HISTORY if with_history else MOST)
    after = from_token(query.get("after"))
    wanted, links = names(query.get("properties")), names(query.get("associations"))
    desk.note_unknown(kind, [*wanted, *with_history])
    is_archived = flag(query, "archived")
    records, has_more = desk.portal.page(kind, is_archived=is_archived, after=after, limit=limit)
    told = [_told(desk, kind, record, wanted, with_history, links) for record in records]
    return 200, {"results": told, **(paging(token(records[-1].id), request) if has_more else {})}


def read_batch(desk: Desk, named: list[str], request: Request) -> Reply:
    """Objects by id, in no order; those that are not there make it a 207."""
    kind = kind_named(named[0])
    body = fields_of(request.body, "inputs", "properties", "propertiesWithHistory")
    with_history, wanted = body.get("propertiesWithHistory", []), body.get("properties", [])
    ids = [one["id"] for one in body["inputs"]]
    few(ids, MOST_WITH_HISTORY if with_history else MOST)
    desk.note_unknown(kind, [*wanted, *with_history])
    is_archived = flag(request.query, "archived")
    found, missing = [], []
    for id_ in ids:
        record = desk.portal.records[kind].get(desk.portal.merged.get(id_, id_))
        if record is None or (record.archived is not None) != is_archived:
            missing.append(id_)
        else:
            found.append(_told(desk, kind, record, wanted, with_history, []))
    desk.chance.shuffle(found)
    reply: Body = {"status": "COMPLETE", "results": found, **_times(desk)}
    if not missing:
        return 200, reply
    told = error("OBJECT_NOT_FOUND", "Could not get some objects", context={"ids": missing})
    return 207, {**reply, "numErrors": 1, "errors": [told]}


def read_links(desk: Desk, named: list[str], request: Request) -> Reply:
    """Which objects are associated with each of the given ones, a page of them each."""
    kind, other = (kind_named(name) for name in named)
    if kind != "deals":
        raise invalid("the stand-in knows what is linked with deals only")
    body = fields_of(request.body, "inputs")
    few([one["id"] for one in body["inputs"]], MOST_LINKS)
    results: list[Body] = []
    lonely: list[str] = []
    for one in body["inputs"]:
        record = desk.portal.records[kind].get(one["id"])
        linked = record.linked.get(other, []) if record is not None else []
        start = from_token(one.get("after"))
        part = linked[start : start + desk.habits.links_a_page]
        if not part:
            lonely.append(one["id"])
            continue
        following = start + len(part)
        to = [_link(desk, id_, is_primary=is_primary) for id_, is_primary in part]
        more = paging(token(following), request) if following < len(linked) else {}
        results.append({"from": {"id": one["id"]}, "to": to, **more})
    reply: Body = {"status": "COMPLETE", "results": results, **_times(desk)}
    if not lonely:
        return 200, reply
    return 207, {**reply, "numErrors": len(lonely), "errors": [_no_link(kind, other, id_) for id_ in lonely]}


def search(desk: Desk, named: list[str], request: Request) -> Reply:
    """Up to 10,000 objects; what changed a moment ago is not in the index."""
    kind = kind_named(named[0])
    needed = {"after", "filterGroups", "limit", "properties", "sorts"}
    body = fields_of(request.body, *needed)
    if absent := sorted(needed - set(body)):
        raise invalid(f"{absent[0]} is required")
    limit, after = int(body["limit"]), int(body["after"] or 0)
    if not 0 < limit <= 200:
        raise invalid("limit must be at most 200")
    if after + limit > MOST_FOUND:
        raise invalid("a search cannot be paged beyond 10000 results")
    fits = _filter(body["filterGroups"])
    until = desk.portal.now - desk.habits.index_lag_ms
    live = (r for r in desk.portal.live(kind) if r.updated <= until and fits(r))
    found = sorted(live, key=lambda r: int(r.id))
    part = [_told(desk, kind, r, body["properties"], [], []) for r in found[after : after + limit]]
    more = {"paging": {"next": {"after": str(after + limit)}}} if after + limit < len(found) else {}
    return 200, {"total": len(found), "results": part, **more}


def _filter(groups: Any) -> Callable[[Record], bool]:
    """One filter by a list of values; the stand-in knows no other."""
    if not groups:
        return lambda _: True
    try:
        [[one]] = [group["filters"] for group in groups]
        name, values = one["propertyName"], one["values"]
    except (ValueError, KeyError, TypeError):
        raise invalid("the stand-in knows one filter by values") from None
    if one["operator"] != "IN" or not 0 < len(values) <= 100:
        raise invalid("the stand-in knows one filter by values")
    return lambda record: record.value(name) in values


def _told(
    desk: Desk, kind: str, record: Record, wanted: list[str], with_history: list[str], links: list[str]
) -> Body:
    known = desk.portal.defined[kind]
    asked = [n for n in dict.fromkeys(["hs_object_id", *wanted, *with_history]) if n in known]
    values = {name: record.value(name) for name in asked}
    if desk.habits.leaves_out_nulls:
        values = {name: value for name, value in values.items() if value is not None}
    told: Body = {
        "id": record.id,
        "properties": values,
        "createdAt": iso(record.created),
        "updatedAt": iso(record.updated),
        "archived": record.archived is not None,
        "url": f"https://app.hubspot.com/contacts/1/record/0-3/{record.id}",
    }
    if record.archived is not None:
        told["archivedAt"] = iso(record.archived)
    if with_history:
        told["propertiesWithHistory"] = {
            name: _items(desk, record, name) for name in with_history if name in known
        }
    found = {other: _list_links(desk, other, record) for other in links if record.linked.get(other)}
    return told | ({"associations": found} if found else {})


def _items(desk: Desk, record: Record, name: str) -> list[Body]:
    newest_first = record.history.get(name, [])[::-1][: desk.habits.history_cap]
    return [
        {"value": value, "timestamp": iso(at), "sourceType": source, "sourceId": "userId:9586504"}
        for at, value, source in newest_first
    ]


def _list_links(desk: Desk, other: str, record: Record) -> Body:
    """In a list a link is told by type; the primary company has a second entry."""
    every: list[Body] = []
    for id_, is_primary in record.linked[other]:
        word = {"companies": "company"}.get(other, other.removesuffix("s"))
        if is_primary or other != "companies":
            every.append({"id": id_, "type": f"deal_to_{word}"})
        if other == "companies":
            every.append({"id": id_, "type": f"deal_to_{word}_unlabeled"})
    part = every[: desk.habits.links_in_a_list]
    more = {"paging": {"next": {"after": token(len(part))}}} if len(every) > len(part) else {}
    return {"results": part, **more}


def _link(desk: Desk, id_: str, *, is_primary: bool) -> Body:
    types: list[Body] = [{"category": "HUBSPOT_DEFINED", "typeId": PLAIN, "label": None}]
    if is_primary:
        types.append({"category": "HUBSPOT_DEFINED", "typeId": PRIMARY, "label": "Primary"})
    return {"toObjectId": int(id_) if desk.habits.numeric_links else id_, "associationTypes": types}


def _no_link(kind: str, other: str, id_: str) -> Body:
    return error(
        "OBJECT_NOT_FOUND",
        f"No {other} is associated with {kind} {id_}.",
        subCategory="crm.associations.NO_ASSOCIATIONS_FOUND",
        context={"fromObjectId": [id_], "fromObjectType": [kind], "toObjectType": [other]},
    )


def _times(desk: Desk) -> Body:
    return {"startedAt": iso(desk.portal.now), "completedAt": iso(desk.portal.now)}
