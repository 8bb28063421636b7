"""The paths of a stand-in HubSpot: which there are, what each takes and needs, and who answers it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from standins.hubspot_desk import (
    Body,
    Desk,
    Reply,
    Request,
    Wrong,
    flag,
    from_token,
    invalid,
    kind_named,
    limit_of,
    paging,
    token,
)
from standins.hubspot_objects import list_page, read_batch, read_links, search
from standins.hubspot_portal import TOUCHES, Pipeline, definition, iso
from standins.hubspot_updates import update_batch

DAY = 86_400_000


def answer(desk: Desk, request: Request) -> Reply:
    """The status and the body; every error has its own."""
    try:
        return _answer(desk, request)
    except Wrong as wrong:
        return wrong.reply


def _answer(desk: Desk, request: Request) -> Reply:
    parts = request.path.strip("/").split("/")
    route = next((route for route in ROUTES if route.fits(request.method, parts)), None)
    if route is None:
        raise Wrong(404, "OBJECT_NOT_FOUND", "resource not found")
    named = route.named(parts)
    if named.pop("{v}") not in desk.versions:
        raise Wrong(404, "OBJECT_NOT_FOUND", "there is no such version")
    if unknown := sorted(set(request.query) - set(route.query)):
        raise invalid(f"unknown query parameter {unknown[0]}")
    kinds = list(named.values())
    desk.needs(*route.scopes(kinds))
    return route.answer(desk, kinds, request)


@dataclass(frozen=True)
class Route:
    """A path of the API: `{v}` is the version, other braces are names."""

    method: str
    path: str
    query: tuple[str, ...]
    scopes: Callable[[list[str]], tuple[str, ...]]
    answer: Callable[[Desk, list[str], Request], Reply]

    def fits(self, method: str, parts: list[str]) -> bool:
        known = self.path.split("/")
        return (
            method == self.method
            and len(parts) == len(known)
            and all(ours[0] == "{" or ours == part for ours, part in zip(known, parts, strict=True))
        )

    def named(self, parts: list[str]) -> dict[str, str]:
        known = self.path.split("/")
        return {ours: part for ours, part in zip(known, parts, strict=True) if ours[0] == "{"}


def pipelines(desk: Desk, kinds: list[str], request: Request) -> Reply:
    told = [_pipeline(one, place) for place, one in enumerate(desk.portal.pipelines)]
    return 200, {"results": told if kinds[0] == "deals" else []}


def _pipeline(pipeline: Pipeline, place: int) -> Body:
    stages = [
        {
            "id": stage.id,
            "label": stage.label,
            "displayOrder": nth,
            "metadata": stage.metadata,
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            **_stamps(),
        }
        for nth, stage in enumerate(pipeline.stages)
        if not stage.archived
    ]
    return {
        "id": pipeline.id,
        "label": pipeline.label,
        "displayOrder": place,
        "stages": stages,
        **_stamps(),
    }


def _stamps() -> Body:
    return {"archived": False, "createdAt": iso(0), "updatedAt": iso(0)}


def owners(desk: Desk, kinds: list[str], request: Request) -> Reply:
    is_archived, limit = flag(request.query, "archived"), limit_of(request.query, most=500, usual=100)
    after = from_token(request.query.get("after"))
    chosen = [owner for owner in desk.portal.owners if owner.is_archived == is_archived]
    told: list[dict[str, Any]] = [
        {
            "id": owner.id,
            "email": owner.email,
            "type": owner.type,
            "firstName": owner.first_name,
            "lastName": owner.last_name,
            "userId": None if is_archived else int(owner.id) + 1,
            **_stamps(),
            "archived": owner.is_archived,
        }
        for owner in chosen[after : after + limit]
    ]
    has_more = after + limit < len(chosen)
    return 200, {"results": told, **(paging(token(after + limit), request) if has_more else {})}


def properties(desk: Desk, kinds: list[str], request: Request) -> Reply:
    known = desk.portal.defined[kind_named(kinds[0])]
    own = desk.portal.own if kinds[0] == "deals" else {}
    told = [definition(n, *one, now=desk.portal.now) | own.get(n, {}) for n, one in known.items()]
    return 200, {"results": told}


def usage(desk: Desk, kinds: list[str], request: Request) -> Reply:
    told = {
        "name": "private-apps-api-calls-daily",
        "usageLimit": desk.allowed_today,
        "currentUsage": desk.used_today,
        "collectedAt": iso(desk.portal.now),
        "fetchStatus": "SUCCESS",
        "resetsAt": iso((desk.portal.now // DAY + 1) * DAY),
    }
    return 200, {"results": [told]}


def details(desk: Desk, kinds: list[str], request: Request) -> Reply:
    return 200, {
        "portalId": 123456,
        "accountType": "STANDARD",
        "timeZone": "Europe/Berlin",
        "companyCurrency": "EUR",
        "additionalCurrencies": [],
        "utcOffset": "+01:00",
        "uiDomain": "app.hubspot.com",
    }


def _object_scopes(kinds: list[str]) -> tuple[str, ...]:
    """Any of these; who may read contacts may read their touches, but for what e-mails say."""
    kind = kinds[-1]
    if kind == "emails":
        return ("sales-email-read", "crm.objects.emails.read")
    own = f"crm.objects.{kind}.read"
    return (own, "crm.objects.contacts.read") if kind in TOUCHES else (own,)


def _write_scopes(kinds: list[str]) -> tuple[str, ...]:
    return (f"crm.objects.{kinds[-1]}.write",)


def _schema_scopes(kinds: list[str]) -> tuple[str, ...]:
    return (*_object_scopes(kinds), f"crm.schemas.{kinds[0]}.read")


def _owner_scopes(kinds: list[str]) -> tuple[str, ...]:
    return ("crm.objects.owners.read",)


def _no_scopes(kinds: list[str]) -> tuple[str, ...]:
    return ()


_LISTING = ("limit", "after", "archived", "associations", "properties", "propertiesWithHistory")
_DEFINITIONS = ("archived", "dataSensitivity", "locale", "properties")
_ASSOCIATIONS = "crm/associations/{v}/{kind}/{other}/batch/read"
ROUTES = (
    Route("GET", "crm/objects/{v}/{kind}", _LISTING, _object_scopes, list_page),
    Route("POST", "crm/objects/{v}/{kind}/batch/read", ("archived",), _object_scopes, read_batch),
    Route("POST", "crm/objects/{v}/{kind}/batch/update", (), _write_scopes, update_batch),
    Route("POST", "crm/objects/{v}/{kind}/search", (), _object_scopes, search),
    Route("POST", _ASSOCIATIONS, (), _object_scopes, read_links),
    Route("GET", "crm/pipelines/{v}/{kind}", (), _schema_scopes, pipelines),
    Route("GET", "crm/owners/{v}", ("limit", "after", "archived", "email"), _owner_scopes, owners),
    Route("GET", "crm/properties/{v}/{kind}", _DEFINITIONS, _schema_scopes, properties),
    Route("GET", "account-info/{v}/api-usage/daily/private-apps", (), _no_scopes, usage),
    Route("GET", "account-info/{v}/details", (), _no_scopes, details),
)
