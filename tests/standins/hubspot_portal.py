"""What a HubSpot account holds, in memory: records with their histories, pipelines, owners, properties.

Every value is text or null, as on the wire. A test changes the account through the verbs below, each with the
moment at which it happened (milliseconds since 1970), and may ask it for the truth.
"""

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Value = str | None
Item = tuple[int, Value, str]  # when, value, sourceType
TOUCHES = ("calls", "emails", "meetings", "notes", "tasks")
KINDS = ("deals", "companies", *TOUCHES)

# name -> (type, label); what every account has of each object, as far as anybody here asks for it
DEFINED: dict[str, dict[str, tuple[str, str]]] = {
    "deals": {
        "hs_object_id": ("number", "Record ID"),
        "dealname": ("string", "Deal Name"),
        "dealstage": ("enumeration", "Deal Stage"),
        "pipeline": ("enumeration", "Pipeline"),
        "amount": ("number", "Amount"),
        "deal_currency_code": ("enumeration", "Currency"),
        "closedate": ("datetime", "Close Date"),
        "createdate": ("datetime", "Create Date"),
        "hs_createdate": ("datetime", "HubSpot Create Date"),
        "hs_lastmodifieddate": ("datetime", "Last Modified Date"),
        "hubspot_owner_id": ("enumeration", "Deal owner"),
        "dealtype": ("enumeration", "Deal Type"),
        "hs_analytics_source": ("enumeration", "Original Traffic Source"),
        "notes_next_activity_date": ("datetime", "Next Activity Date"),
        "contract_ends_on": ("date", "Contract ends on"),
        "hs_deal_stage_probability": ("number", "Deal probability"),
        "hs_is_closed_lost": ("bool", "Is closed lost"),
        "hs_merged_object_ids": ("enumeration", "Merged record IDs"),
        "description": ("string", "Deal Description"),
    },
    "companies": {
        "hs_object_id": ("number", "Record ID"),
        "name": ("string", "Company name"),
        "industry": ("enumeration", "Industry"),
        "country": ("string", "Country/Region"),
        "state": ("string", "State/Region"),
        "phone": ("string", "Phone Number"),
    },
    **{
        kind: {
            "hs_object_id": ("number", "Record ID"),
            "hs_timestamp": ("datetime", "Activity date"),
            "hubspot_owner_id": ("enumeration", "Activity assigned to"),
            "hs_createdate": ("datetime", "Create date"),
        }
        for kind in TOUCHES
    },
}
DEFINED["calls"] |= {
    "hs_call_direction": ("enumeration", "Call direction"),
    "hs_call_status": ("enumeration", "Call status"),
    "hs_call_body": ("string", "Call notes"),
}
DEFINED["emails"] |= {
    "hs_email_direction": ("enumeration", "Email direction"),
    "hs_email_text": ("string", "Text body"),
}
DEFINED["meetings"] |= {
    "hs_meeting_start_time": ("datetime", "Meeting start time"),
    "hs_meeting_outcome": ("enumeration", "Meeting outcome"),
    "hs_meeting_body": ("string", "Meeting description"),
}
DEFINED["notes"] |= {"hs_note_body": ("string", "Note body")}
DEFINED["tasks"] |= {
    "hs_task_status": ("enumeration", "Task status"),
    "hs_task_type": ("enumeration", "Task type"),
    "hs_task_completion_date": ("datetime", "Completed at"),
    "hs_task_body": ("string", "Notes"),
}


def milliseconds(text: str) -> int:
    """An ISO moment as HubSpot counts; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def iso(ms: int) -> str:
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


@dataclass(slots=True)
class Record:
    """One object; `history` is oldest first, and its last item is the property's value."""

    id: str
    created: int
    updated: int
    history: dict[str, list[Item]] = field(default_factory=dict)
    archived: int | None = None
    # other kind -> [(id, is the primary one)]
    linked: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)

    def value(self, name: str) -> Value:
        items = self.history.get(name)
        return items[-1][1] if items else None


@dataclass
class Stage:
    """A stage of a pipeline; the metadata are texts, and so may be missing or odd."""

    id: str
    label: str
    metadata: dict[str, str]
    archived: bool = False


@dataclass
class Pipeline:
    id: str
    label: str
    stages: list[Stage]


@dataclass
class Owner:
    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    type: str = "PERSON"
    is_archived: bool = False


def stage(id_: str, label: str, probability: str, *, is_closed: bool = False) -> Stage:
    return Stage(id_, label, {"isClosed": str(is_closed).lower(), "probability": probability})


def default_pipeline() -> Pipeline:
    return Pipeline(
        "default",
        "Sales Pipeline",
        [
            stage("appointmentscheduled", "Appointment Scheduled", "0.2"),
            stage("qualifiedtobuy", "Qualified To Buy", "0.4"),
            stage("contractsent", "Contract Sent", "0.9"),
            stage("closedwon", "Closed Won", "1.0", is_closed=True),
            stage("closedlost", "Closed Lost", "0.0", is_closed=True),
        ],
    )


@dataclass
class Portal:
    """The account. `now` is its clock; only search looks at it (its index lags)."""

    records: dict[str, dict[str, Record]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    pipelines: list[Pipeline] = field(default_factory=lambda: [default_pipeline()])
    owners: list[Owner] = field(default_factory=list)
    defined: dict[str, dict[str, tuple[str, str]]] = field(
        default_factory=lambda: {kind: dict(names) for kind, names in DEFINED.items()}
    )
    own: dict[str, dict[str, Any]] = field(default_factory=dict)  # custom properties of deals, as they differ
    merged: dict[str, str] = field(default_factory=dict)  # the id that is gone -> the one in its place
    now: int = 0
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(33_995_947_220, 7))
    order: dict[tuple[str, bool], list[int]] = field(
        default_factory=dict
    )  # ids as listed; rebuilt when stale
    archive_order: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, kind: str, at: int, id_: str | None = None, **properties: Value) -> Record:
        """A new record; deals get the dates that HubSpot gives them unless the test gives others."""
        record = Record(id_ or str(next(self.ids)), at, at)
        self.records[kind][record.id] = record
        self.order.pop((kind, False), None)
        given = {"hs_object_id": record.id, "hs_createdate": iso(at), **properties}
        if kind == "deals":
            given = {"createdate": iso(at), "hs_lastmodifieddate": iso(at), "pipeline": "default", **given}
        for name, value in given.items():
            record.history[name] = [(at, value, "CRM_UI")]
        self.now = max(self.now, at)
        return record

    def change(self, kind: str, id_: str, at: int, **properties: Value) -> None:
        record = self.records[kind][id_]
        for name, value in properties.items():
            record.history.setdefault(name, []).append((at, value, "CRM_UI"))
        record.updated = max(record.updated, at)
        record.history["hs_lastmodifieddate"] = [(at, iso(at), "CALCULATED")]
        self.now = max(self.now, at)

    def define(self, name: str, type_: str, **more: Any) -> None:
        """A custom property of deals; `options` are its choices, the rest is as the endpoint tells it."""
        choices = more.pop("options", ())
        self.defined["deals"][name] = (type_, name.title())
        options = [{"label": one.title(), "value": one, "hidden": False} for one in choices]
        writable = {"archivable": True, "readOnlyDefinition": False, "readOnlyValue": False}
        told = {"hubspotDefined": False, "options": options, "modificationMetadata": writable}
        self.own[name] = {**told, **({"fieldType": "number"} if type_ == "number" else {}), **more}

    def link(self, deal_id: str, kind: str, id_: str, *, is_primary: bool = False) -> None:
        """Associate a company or a touch with a deal; a touch counts as a change of the deal."""
        deal = self.records["deals"][deal_id]
        deal.linked.setdefault(kind, []).append((id_, is_primary))
        if kind in TOUCHES:
            deal.updated = max(deal.updated, self.records[kind][id_].created)

    def archive(self, kind: str, id_: str, at: int) -> None:
        self.records[kind][id_].archived = at
        self._reorder(kind)

    def restore(self, kind: str, id_: str) -> None:
        self.records[kind][id_].archived = None
        self._reorder(kind)

    def purge(self, kind: str, id_: str) -> None:
        """Gone from the recycling bin too, as after 90 days."""
        del self.records[kind][id_]
        self._reorder(kind)

    def merge(self, first: str, second: str, at: int) -> Record:
        """Two deals become a third, with both histories; the first one's values hold."""
        deals = self.records["deals"]
        one, other = deals[first], deals[second]
        new = Record(str(next(self.ids)), min(one.created, other.created), at)
        for name in {*one.history, *other.history}:
            items = sorted([*other.history.get(name, []), *one.history.get(name, [])], key=lambda i: i[0])
            if (value := one.value(name)) != items[-1][1]:
                items.append((at, value, "MERGE_OBJECTS"))
            new.history[name] = items
        for kind in {*one.linked, *other.linked}:
            new.linked[kind] = [*one.linked.get(kind, []), *other.linked.get(kind, [])]
        new.history["hs_object_id"] = [(at, new.id, "MERGE_OBJECTS")]
        new.history["hs_merged_object_ids"] = [(at, f"{first};{second}", "MERGE_OBJECTS")]
        for id_ in (first, second):
            del deals[id_]
            self.merged[id_] = new.id
        deals[new.id] = new
        self._reorder("deals")
        self.now = max(self.now, at)
        return new

    def _reorder(self, kind: str) -> None:
        self.order.pop((kind, False), None)
        self.order.pop((kind, True), None)

    def page(self, kind: str, *, is_archived: bool, after: int, limit: int) -> tuple[list[Record], bool]:
        """The next records by id, and whether more follow."""
        known = self.order.get((kind, is_archived))
        if known is None:
            chosen = (r for r in self.records[kind].values() if (r.archived is not None) == is_archived)
            known = self.order[kind, is_archived] = sorted(int(record.id) for record in chosen)
        start = bisect_right(known, after)
        part = known[start : start + limit]
        return [self.records[kind][str(id_)] for id_ in part], start + limit < len(known)

    def live(self, kind: str) -> list[Record]:
        return [record for record in self.records[kind].values() if record.archived is None]

    def stage_metadata(self, stage_id: Value) -> dict[str, str]:
        """The metadata of a stage, empty for one that no pipeline has."""
        every = {one.id: one.metadata for pipeline in self.pipelines for one in pipeline.stages}
        return every.get(stage_id or "", {})


def definition(name: str, type_: str, label: str, *, now: int) -> dict[str, Any]:
    """A property as the properties endpoint tells it."""
    return {
        "name": name,
        "label": label,
        "type": type_,
        "fieldType": {"enumeration": "select", "bool": "booleancheckbox"}.get(type_, "text"),
        "groupName": "information",
        "description": "",
        "options": [],
        "hubspotDefined": True,
        "calculated": False,
        "hidden": False,
        "archived": False,
        "createdAt": iso(0),
        "updatedAt": iso(now),
        "modificationMetadata": {"archivable": False, "readOnlyDefinition": True, "readOnlyValue": False},
    }
