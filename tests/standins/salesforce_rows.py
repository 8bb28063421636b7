"""Records written into a Salesforce by sObject Collections: each by itself, refused as the org would."""

import json
import re
from datetime import date
from typing import Any

from standins.salesforce_org import AUDIT, Field

MOST = 200
_FIXED = {"Id", *(one.partition(":")[0] for one in AUDIT.split())}
_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
_LENGTHS = {"string": 255, "textarea": 32_000, "picklist": 255}


class Refused(Exception):
    def __init__(self, status: int, code: str, words: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.words = status, code, words


def form_of(field: Field, *, is_fixed: bool) -> dict[str, Any]:
    """What describe says of a field's form."""
    values = [*field.values, *field.inactive]
    return {
        "length": field.length or _LENGTHS.get(field.type, 0),
        "precision": field.precision if field.type in {"double", "currency", "percent"} else 0,
        "scale": field.scale,
        "digits": 0,
        "calculated": field.is_formula,
        "updateable": not (is_fixed or field.is_formula or field.name in _FIXED),
        "htmlFormatted": field.is_rich,
        "restrictedPicklist": bool(values),
        "picklistValues": [
            {"active": one in field.values, "defaultValue": False, "label": one.title(), "value": one}
            for one in values
        ],
    }


def updated(sf: Any, body: bytes) -> list[dict[str, Any]]:
    """A result for each record, in their order; what is committed is committed though others are refused."""
    told = json.loads(body)
    if {*told} != {"allOrNone", "records"} or told["allOrNone"] is not False:
        raise Refused(400, "INVALID_FIELD", "the stand-in wants allOrNone = false, and records")
    records = told["records"]
    if not 0 < len(records) <= MOST:
        raise Refused(400, "EXCEEDED_MAX_SIZE_REQUEST", f"record limit reached: {MOST}")
    fields = sf.org.fields("Opportunity")
    for record in records:
        if record.get("attributes") != {"type": "Opportunity"} or "id" not in record:
            raise Refused(400, "INVALID_INPUT", "a record without its type or its id")
        for name, value in _values(record).items():
            _readable(fields.get(name.lower()), name, value)
    sf.batches.append([record["id"] for record in records])
    seen: set[str] = set()
    results = [_one(sf, record, fields, seen) for record in records]
    return results


def _values(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in {"attributes", "id"}}


def _readable(field: Field | None, name: str, value: Any) -> None:
    """A request that cannot be parsed into the object's fields is refused as a whole."""
    if field is None:
        raise Refused(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type Opportunity")
    kinds: tuple[type, ...] = (int, float) if field.type in {"double", "int", "percent"} else (str,)
    if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
        raise Refused(400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {field.type}")
    if field.type == "date" and value is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise Refused(400, "JSON_PARSER_ERROR", "Cannot deserialize instance of date")


def _one(sf: Any, record: dict[str, Any], fields: dict[str, Field], seen: set[str]) -> dict[str, Any]:
    id_, org = record["id"], sf.org
    if not _ID.fullmatch(id_):
        return _no("MALFORMED_ID", "bad id", ["Id"])
    if id_ in seen:
        return _no("DUPLICATE_VALUE", f"duplicate id in list: {id_}")
    seen.add(id_)
    rows = org.rows("Opportunity")
    if id_ not in rows["Id"]:
        return _no("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    if org.get("Opportunity", id_)["IsDeleted"]:
        return _no("ENTITY_IS_DELETED", "entity is deleted")
    if sf.row_faults.get(id_):
        return _no(sf.row_faults[id_].popleft(), "canary-words about canary-deal")
    values = _values(record)
    for name, value in values.items():
        field = fields[name.lower()]
        if field.name in org.fixed or field.is_formula or field.name in _FIXED:
            words = f"Unable to create/update fields: {field.name}. Please check the security settings"
            return _no("INVALID_FIELD_FOR_INSERT_UPDATE", words, [field.name])
        if wrong := _fault(field, value):
            return _no(wrong, "the value does not fit", [field.name])
    taken = {fields[name.lower()].name: _typed(fields[name.lower()], value) for name, value in values.items()}
    org.update("Opportunity", id_, **taken)
    sf.updates.append((id_, taken))
    return {"id": id_, "success": True, "errors": []}


def _fault(field: Field, value: Any) -> str:
    if isinstance(value, str) and field.type in _LENGTHS:
        units = len(value.encode("utf-16-le")) // 2
        if units > (field.length or _LENGTHS[field.type]):
            return "STRING_TOO_LONG"
        if field.values and value not in field.values:
            return "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    if isinstance(value, int | float) and abs(value) >= 10 ** (field.precision - field.scale):
        return "NUMBER_OUTSIDE_VALID_RANGE"
    return ""


def _typed(field: Field, value: Any) -> Any:
    if value is None or field.type != "date":
        return float(value) if value is not None and field.type in {"double", "percent"} else value
    return date.fromisoformat(value)


def _no(code: str, words: str, fields: list[str] | None = None) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": words, "fields": fields or []}]}
