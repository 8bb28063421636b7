"""Each table of a night's plan: what is asked of Salesforce for it, and what its columns are to us.

A request is text, so that another process goes on with the same one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from dealwatch.crm.contract import Object
from dealwatch.crm.mapping import ours_by_theirs
from dealwatch.crm.pages import Table
from dealwatch.crm.salesforce.api import Described
from dealwatch.crm.salesforce.fields import Fields
from dealwatch.crm.salesforce.history import COLUMNS as CHANGES
from dealwatch.crm.salesforce.rates import Rates, ToldRate
from dealwatch.knobs import RecordMapping

DEALS = "Opportunity"
HAPPENED_AT = "HappenedAt"
_DEAL = "Opportunity."
LATE_EVENTS, ALL_IDS = "Event of late", "All ids"  # asked for beside the others, and not on every night
CREATED_OF_DEAL = f"{_DEAL}CreatedDate"

Shape = Literal["plain", "deals", "states", "tracked", "tasks"]
Describe = Callable[[str], Mapping[str, Described] | None]

_STATES = ("Amount", "CloseDate", "StageName")  # of OpportunityHistory, without being tracked
_HISTORY = {
    "deal_id": "OpportunityId",
    "changed_at": "CreatedDate",
    "field": "Field",
    "old_value": "OldValue",
    "new_value": "NewValue",
}
_OWNERS = {
    "owner_id": "Id",
    "name": "Name",
    "email": "Email",
    "manager_id": "ManagerId",
    "time_zone": "TimeZoneSidKey",
    "active": "IsActive",
}
_TASKS = {"deal_id": "WhatId", "happened_at": HAPPENED_AT, "kind": "TaskSubtype", "by": "OwnerId"}
_EVENTS = {"deal_id": "WhatId", "happened_at": "StartDateTime", "kind": "EventSubtype", "by": "OwnerId"}


@dataclass(frozen=True)
class Request:
    """A query and what becomes of its rows.

    until: the begin of the extract. money: the fields to bring to one currency, `into`, by `rates` as
    `Rates.told` writes them. names: of a history's fields, theirs and ours; links: those of theirs that come
    once by name and once by id. parts: the queries to ask one by one by REST, in place of `soql`, when deals
    are asked for by id.
    """

    soql: str
    asked: tuple[str, ...]
    until: str
    deleted: bool = False
    shape: Shape = "plain"
    money: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    into: str = ""
    rates: tuple[ToldRate, ...] = ()
    parts: tuple[str, ...] = ()

    def text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def of(text: str) -> "Request":
        told = json.loads(text)
        lists = {name: tuple(told[name]) for name in ("asked", "money", "links", "parts") if name in told}
        pairs = {name: tuple(map(tuple, told[name])) for name in ("names", "rates")}
        return Request(**(told | lists | pairs))


@dataclass(frozen=True)
class Night:
    """When the extract begins, since when changes are asked for (None: everything), and what we may see.

    rates: in an org of several currencies, those that amounts are brought to one by. without: objects that
    are left out on purpose. ids: the deals that are asked for, and no others; without any, all.
    """

    begun: datetime
    since: datetime | None
    describe: Describe
    rates: Rates | None = None
    without: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def money(self, fields: Sequence[str]) -> dict[str, Any]:
        """What a request says of the fields that are brought to one currency."""
        if self.rates is None or not fields:
            return {}
        return {"money": tuple(fields), "into": self.rates.target, "rates": self.rates.told()}

    def sees(self, object_: str, fields: Sequence[str]) -> list[str]:
        """Those of the fields that are there for us."""
        known = self.describe(object_) or {} if object_ not in self.without else {}
        return [field for field in fields if field.lower() in known]

    def named(self, field: str = "Id") -> str:
        """That a field is one of the ids, which are letters and digits only."""
        return f"{field} IN ({', '.join(map(_quoted, self.ids))})" if self.ids else ""

    @property
    def changed(self) -> str:
        return f"SystemModstamp >= {_stamp(self.since)}" if self.since else ""

    def scope(self, of: str = "") -> str:
        """Which deals are told; `of` leads to them from another object."""
        if self.ids:
            return self.named(f"{of}Id")
        return f"{of}IsClosed = false OR {of}{self.changed}" if self.since else ""


def _quoted(id_: str) -> str:
    if not (id_.isascii() and id_.isalnum() and len(id_) == 18):
        raise ValueError("an id of Salesforce has 18 letters and digits")
    return f"'{id_}'"


def select(fields: Sequence[str], object_: str, *conditions: str) -> str:
    """SOQL. Names come from describe, and values are instants of ours: nothing of it is anybody's text."""
    told = [condition for condition in conditions if condition]
    joined = " AND ".join(f"({one})" if " OR " in one and len(told) > 1 else one for one in told)
    return f"SELECT {', '.join(fields)} FROM {object_}{f' WHERE {joined}' if told else ''}"  # noqa: S608


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def deals(fields: Fields, night: Night) -> Table:
    request = Request(
        select(fields.asked, DEALS, night.scope()),
        fields.asked,
        night.begun.isoformat(),
        shape="deals",
        **night.money(fields.money),
    )
    return Table(DEALS, fields.columns, "deals", fields.mapping, request.text())


def states(fields: Fields, night: Night) -> tuple[Table, list[str]] | None:
    """What OpportunityHistory keeps of every deal, and our names of it; None when we may see none of it."""
    ours = _trackable(fields)
    kept = [name for name in night.sees("OpportunityHistory", _STATES) if name in ours]
    in_currency = night.sees("OpportunityHistory", ["CurrencyIsoCode"]) if "Amount" in fields.money else []
    if "Amount" in fields.money and not in_currency:
        kept = [name for name in kept if name != "Amount"]  # it could not be told in the deal's own currency
    if not kept:
        return None
    asked = ["Id", "OpportunityId", "CreatedDate", *kept]
    asked += [*in_currency, CREATED_OF_DEAL] if in_currency else []
    request = Request(
        select(asked, "OpportunityHistory", night.scope(of=_DEAL)),
        tuple(asked),
        night.begun.isoformat(),
        shape="states",
        **night.money(["Amount"] if in_currency and "Amount" in kept else []),
        names=tuple((name, name) for name in kept),
    )
    return _history("OpportunityHistory", request), [ours[name] for name in kept]


def tracked(fields: Fields, night: Night, kept: frozenset[str] | None) -> tuple[Table, list[str]] | None:
    """The history of fields that the org tracks (`kept`; None: it does not say), and our names of them."""
    ours = _trackable(fields)
    known = night.describe(DEALS) or {}
    # Its amounts do not say their currency.
    wanted = [name for name in sorted({*ours} - {*_STATES} - {*fields.money}) if "." not in name]
    wanted = [name for name in wanted if name.lower() in known and (kept is None or name in kept)]
    if not wanted or not night.sees("OpportunityFieldHistory", ["NewValue"]):
        return None
    asked = ["OpportunityId", "CreatedDate", "Field", "OldValue", "NewValue", "DataType"]
    names, links = [], []
    for name in wanted:
        field = known[name.lower()]
        own = {name, field.relationship} if field.relationship and not name.endswith("__c") else {name}
        names += [(theirs, name) for theirs in sorted(own)]
        links += sorted(own) if field.to else []
    # What is older than a year or so is told by queryAll only, which tells what is deleted, too.
    request = Request(
        select(asked, "OpportunityFieldHistory", "IsDeleted = false", night.scope(of=_DEAL)),
        tuple(asked),
        night.begun.isoformat(),
        deleted=True,
        shape="tracked",
        names=tuple(names),
        links=tuple(links),
    )
    return _history("OpportunityFieldHistory", request), [] if kept is None else [ours[n] for n in wanted]


def _trackable(fields: Fields) -> dict[str, str]:
    """Our names by theirs, of the fields that may have a history."""
    told = fields.mapping
    late = {*told.known_only_at_close, "deal_id", "created_at", "closed_at", "outcome", "currency"}
    return {theirs: name for theirs, name in ours_by_theirs(told).items() if name not in late}


def _history(name: str, request: Request) -> Table:
    return Table(name, CHANGES, "deal_history", RecordMapping(columns=_HISTORY), request.text())


def touches(night: Night) -> list[Table]:
    """Tasks that are done and events that began; those of old are told by queryAll only.

    Of deals that we see: a touch of another would only lie in quarantine. An event counts once it begins, and
    may be written down afterwards, so that it is asked for in two ways.
    """
    own = night.named("WhatId") or f"WhatId IN ({select(['Id'], DEALS, 'IsDeleted = false')})"
    there = [own, "IsDeleted = false"]
    found = []
    if night.sees("Task", ["WhatId"]):
        asked = ["WhatId", "CompletedDateTime", "ActivityDate", "LastModifiedDate", "TaskSubtype", "OwnerId"]
        conditions = [*there, "IsClosed = true", night.changed]
        found.append(_plain("Task", "Task", _TASKS, night, asked, conditions, "tasks"))
    if night.sees("Event", ["WhatId"]):
        began = f"StartDateTime <= {_stamp(night.begun)}"
        ways = {"Event": night.changed}
        if night.since:
            ways[LATE_EVENTS] = f"StartDateTime >= {_stamp(night.since)}"
        for name, way in ways.items():
            found.append(_plain(name, "Event", _EVENTS, night, [*_EVENTS.values()], [*there, began, way]))
    return found


def _plain(
    name: str,
    object_: str,
    columns: Mapping[str, str],
    night: Night,
    asked: Sequence[str],
    conditions: Sequence[str],
    shape: Shape = "plain",
) -> Table:
    """Touches of one kind, without what is hidden from us."""
    asked = night.sees(object_, asked)
    own = {ours: theirs for ours, theirs in columns.items() if theirs in asked or theirs == HAPPENED_AT}
    soql = select(asked, object_, *conditions)
    request = Request(soql, tuple(asked), night.begun.isoformat(), deleted=True, shape=shape)
    return Table(name, tuple(own.values()), "activities", RecordMapping(columns=own), request.text())


def owners(night: Night) -> Table:
    seen = night.sees("User", [*_OWNERS.values()])
    return _listed("User", "owners", {o: t for o, t in _OWNERS.items() if t in seen}, night, "User")


def recycled(night: Night) -> Table:
    """The deals in the recycle bin."""
    columns = {"deal_id": "Id", "is_deleted": "IsDeleted"}
    return _listed(
        "Recycle bin",
        "deletions",
        columns,
        night,
        DEALS,
        night.named(),
        "IsDeleted = true",
        night.changed,
        deleted=True,
    )


def one_by_one(plans: Sequence[Sequence[Table]]) -> tuple[Table, ...]:
    """Plans that ask the same of different deals as one, whose queries are asked one by one."""
    tables = []
    for same in zip(*plans, strict=True):
        asked = [Request.of(table.request) for table in same]
        request = replace(asked[0], parts=tuple(one.soql for one in asked))
        tables.append(replace(same[0], request=request.text()))
    return tuple(tables)


def all_ids(night: Night) -> Table:
    return _listed(ALL_IDS, "ids", {"deal_id": "Id"}, night, DEALS)


def _listed(
    name: str,
    feeds: Object,
    columns: Mapping[str, str],
    night: Night,
    object_: str,
    *conditions: str,
    deleted: bool = False,
) -> Table:
    asked = tuple(columns.values())
    request = Request(select(asked, object_, *conditions), asked, night.begun.isoformat(), deleted)
    return Table(name, asked, feeds, RecordMapping(columns=dict(columns)), request.text())
