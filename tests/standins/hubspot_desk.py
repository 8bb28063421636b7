"""The state behind a stand-in HubSpot, the errors it answers with, and how it reads what it is asked."""

import base64
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from standins.hubspot_portal import KINDS, TOUCHES, Portal

VERSIONS = ("2026-03", "2026-09")
ALL_SCOPES = frozenset(
    {
        "crm.objects.deals.read",
        "crm.objects.companies.read",
        "crm.objects.owners.read",
        "sales-email-read",
        *(f"crm.objects.{kind}.read" for kind in TOUCHES if kind != "emails"),
    }
)

Body = dict[str, Any]
Reply = tuple[int, Body]


class Wrong(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.reply: Reply = (status, error(category, message, **more))


def error(category: str, message: str, **more: Any) -> Body:
    return {
        "status": "error",
        "message": message,
        "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
        "category": category,
        **more,
    }


def invalid(message: str) -> Wrong:
    return Wrong(400, "VALIDATION_ERROR", message)


@dataclass
class Habits:
    """How this account writes what is not fixed."""

    leaves_out_nulls: bool = False
    numeric_links: bool = False
    history_cap: int | None = None  # newest items told of each history
    index_lag_ms: int = 30_000
    is_silent_about_unknown: bool = False  # a batch update passes over ids it does not know
    names_by_trace: bool = False  # errors of a batch update name deals by their trace id only
    links_a_page: int = 500
    links_in_a_list: int = 100


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None


@dataclass
class Desk:
    """Who is asked. `in_vain` collects properties asked for that the account does not have."""

    portal: Portal
    habits: Habits = field(default_factory=Habits)
    scopes: set[str] = field(default_factory=lambda: set(ALL_SCOPES))
    versions: tuple[str, ...] = VERSIONS
    in_vain: list[tuple[str, str]] = field(default_factory=list)
    updates: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # id, properties, as committed
    row_faults: dict[str, deque[str]] = field(default_factory=dict)  # per id: categories of its next errors
    poison: set[str] = field(default_factory=set)  # ids that turn down the batch they are in
    chance: Random = field(default_factory=lambda: Random(7))
    used_today: int = 0
    allowed_today: int = 625_000

    def needs(self, *any_of: str) -> None:
        if any_of and not self.scopes & set(any_of):
            more = {
                "message": "One or more of the following scopes are required.",
                "context": {"requiredGranularScopes": list(any_of)},
            }
            message = "This app hasn't been granted all required scopes to make this call."
            raise Wrong(403, "MISSING_SCOPES", message, errors=[more])

    def note_unknown(self, kind: str, names: list[str]) -> None:
        """Such names are ignored, as documented; a test wants to know."""
        self.in_vain += [(kind, name) for name in names if name not in self.portal.defined[kind]]


def token(place: object) -> str:
    """A cursor as HubSpot writes them: opaque, and with a percent sign in it."""
    text = f"MC0yL-{place}"
    padded = text + "." * (len(text) % 3 == 0)
    return base64.b64encode(padded.encode()).decode().replace("=", "%3D")


def from_token(told: str | None) -> int:
    if not told:
        return 0
    try:
        return int(
            base64.b64decode(told.replace("%3D", "="), validate=True).decode().partition("-")[2].strip(".")
        )
    except ValueError:
        raise invalid("the paging cursor is none of ours") from None


def paging(after: str, request: Request) -> Body:
    """The next page; its link leads to a host of its own, which nobody should follow."""
    link = f"https://elsewhere.example{request.path}?after={after}"
    return {"paging": {"next": {"after": after, "link": link}}}


def kind_named(name: str) -> str:
    if name not in KINDS:
        raise invalid("Unable to infer object type from the path")
    return name


def names(told: str | None) -> list[str]:
    return [name for name in (told or "").split(",") if name]


def flag(query: Mapping[str, str], name: str) -> bool:
    told = query.get(name, "false")
    if told not in {"true", "false"}:
        raise invalid(f"{name} must be true or false")
    return told == "true"


def limit_of(query: Mapping[str, str], *, most: int, usual: int = 10) -> int:
    told = query.get("limit", str(usual))
    if not told.isdigit() or not 0 < int(told) <= most:
        raise invalid(f"limit must be between 1 and {most}")
    return int(told)


def fields_of(body: Any, *known: str) -> dict[str, Any]:
    if not isinstance(body, dict) or set(body) - set(known):
        raise invalid("Invalid input JSON")
    found: dict[str, Any] = json.loads(json.dumps(body))
    return found


def few(ids: list[str], most: int) -> None:
    if not 0 < len(ids) <= most:
        raise invalid(f"between 1 and {most} inputs are allowed")
    if len(set(ids)) < len(ids):
        raise invalid("Duplicate IDs found in batch input")
