"""Properties of HubSpot's deals written by the hundred: 200, 207 with errors, or 400 for the whole batch."""

import re

from standins.hubspot_desk import Body, Desk, Reply, Request, error, few, fields_of, invalid, kind_named
from standins.hubspot_portal import Record, definition, iso

MOST = 100


def update_batch(desk: Desk, named: list[str], request: Request) -> Reply:
    """Every input has an id and properties, all of them text; what fits is committed."""
    kind = kind_named(named[0])
    inputs = fields_of(request.body, "inputs")["inputs"]
    for one in inputs:
        fields_of(one, "id", "properties", "objectWriteTraceId")
        if not isinstance(one["id"], str) or not all(isinstance(v, str) for v in one["properties"].values()):
            raise invalid("Invalid input JSON")
    few([one["id"] for one in inputs], MOST)
    for one in inputs:
        for name, value in one["properties"].items():
            _check(desk, name, value)
        if one["id"] in desk.poison:
            raise invalid("Property values were not valid: canary-words")
    results: list[Body] = []
    errors: list[Body] = []
    for one in inputs:
        record = desk.portal.records[kind].get(desk.portal.merged.get(one["id"], one["id"]))
        if record is None or record.archived is not None:
            errors += [] if desk.habits.is_silent_about_unknown else [_gone(desk, one)]
        elif desk.row_faults.get(one["id"]):
            category = desk.row_faults[one["id"]].popleft()
            errors.append(error(category, "canary-words", context=_context(desk, one)))
        else:
            desk.portal.change(
                kind, record.id, desk.portal.now, **{k: v or None for k, v in _of(one).items()}
            )
            desk.updates.append((record.id, _of(one)))
            results.append(_told(record, one))
    desk.chance.shuffle(results)
    reply: Body = {"status": "COMPLETE", "results": results, "startedAt": iso(0), "completedAt": iso(0)}
    if len(results) == len(inputs):
        return 200, reply
    return 207, {**reply, "numErrors": len(errors), "errors": errors}


def _of(one: Body) -> dict[str, str]:
    return dict(one["properties"])


def _told(record: Record, one: Body) -> Body:
    values = {name: record.value(name) for name in one["properties"]}
    told = {"id": record.id, "properties": values, "createdAt": iso(record.created), "archived": False}
    return {**told, "updatedAt": iso(record.updated), "objectWriteTraceId": one.get("objectWriteTraceId")}


def _gone(desk: Desk, one: Body) -> Body:
    return error("OBJECT_NOT_FOUND", "Could not get some objects", context=_context(desk, one))


def _context(desk: Desk, one: Body) -> Body:
    if desk.habits.names_by_trace:
        return {"objectWriteTraceId": [one["objectWriteTraceId"]]}
    return {"ids": [one["id"]]}


def _check(desk: Desk, name: str, value: str) -> None:
    """A value that does not fit its property turns the whole batch down."""
    if name not in desk.portal.defined["deals"]:
        raise invalid(f"Property {name} does not exist")
    told = definition(name, *desk.portal.defined["deals"][name], now=0) | desk.portal.own.get(name, {})
    if told["hubspotDefined"] and name.startswith("hs_"):
        raise invalid(f"{name} is a read-only property")
    options = [one["value"] for one in told["options"]]
    forms = {"number": r"-?\d+(\.\d+)?", "date": r"\d{4}-\d\d-\d\d"}
    fits = re.fullmatch(forms.get(told["type"], r"(?s).{0,65536}"), value)
    if value and (not fits or (options and value not in options)):
        raise invalid(f"{name}: not a value of type {told['type']}")
