"""Look into a Salesforce org that let us in: fields, mapping, histories, currencies, stages, and the cost.

A dozen or so small requests; no job is made, and no record is read but stages and rates.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache

from dealwatch.crm.api import Declined
from dealwatch.crm.connecting import Field, Kind, Notes, Stage, absent, check_stages
from dealwatch.crm.salesforce.api import Described, Salesforce
from dealwatch.crm.salesforce.fields import COLUMNS_OF_OURS, NEEDED, WELCOME, Describe, fields_of, named
from dealwatch.crm.salesforce.queries import Night, states, tracked
from dealwatch.crm.salesforce.rates import rates_of
from dealwatch.errors import ExtractRefused
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce as Source

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("currency", "double", "int", "percent", "long"), "number"),
    **dict.fromkeys(("date", "datetime"), "date"),
    **dict.fromkeys(("id", "reference"), "id"),
    "boolean": "flag",
    **dict.fromkeys(("address", "location", "base64", "anyType", "complexvalue"), "other"),
}
# What is read beside deals, and what is lost when it is hidden.
_BESIDE = {
    "OpportunityHistory": (
        ("StageName", "Amount", "CloseDate"),
        "the history of stage, amount and close date",
    ),
    "OpportunityFieldHistory": (("NewValue",), "the history of tracked fields"),
    "User": (("Name", "Email"), "names and addresses of owners, so that nobody can be told"),
    "Task": (("WhatId",), "tasks done on deals"),
    "Event": (("WhatId",), "meetings about deals"),
}
_STATES_A_DEAL, _ROWS_A_REQUEST, _ROWS_A_SECOND = 8, 25_000, 5_000


class Org:
    """An org that let us in."""

    def __init__(
        self, notes: Notes, wire: Salesforce, name: str, settings: Settings, source: Source, begun: datetime
    ) -> None:
        self.notes, self.wire, self.settings, self.source = notes, wire, settings, source
        self.where, self.begun = f"sources.{name}.deals", begun
        self.describe: Describe = cache(wire.describe)

    def visit(self) -> tuple[tuple[Field, ...], dict[str, str], tuple[Stage, ...]] | None:
        known = self.describe("Opportunity")
        if not known:
            self.notes.missing(
                "objects", "Opportunity is not there for us", "Grant read and View All on Opportunity."
            )
            return None
        self.notes.ok("objects", f"Opportunity shows us {len(known)} fields")
        self._beside()
        usual = self._mapping()
        self._histories()
        self._currencies(known)
        stages = self._stages()
        self._cost()
        parents = self.describe("Account") or {}
        fields = [_field(one) for one in known.values()]
        fields += [_field(one, "Account.") for one in parents.values() if _is_plain(one)]
        fields = [one for one in fields if one.name not in _NOT_DEALS and one.kind != "other"]
        return tuple(fields), usual, stages

    def _beside(self) -> None:
        hidden = []
        for object_, (fields, what) in _BESIDE.items():
            known = self.describe(object_) or {}
            lacking = [one for one in fields if one.lower() not in known]
            if lacking:
                told = object_ if not known else f"{object_}.{', '.join(lacking)}"
                hidden.append(told)
                self.notes.warn("objects", f"{told} is hidden from us: without {what}", _GRANTS[object_])
        seen = [object_ for object_ in _BESIDE if not any(one.startswith(object_) for one in hidden)]
        if seen:
            self.notes.ok("objects", f"{', '.join(seen)} can be read")

    def _mapping(self) -> dict[str, str]:
        """What is read without a line of the settings; whatever is mapped and missing is noted."""
        own, is_whole = self.source.deals, True
        known = self.describe("Opportunity") or {}
        for ours, theirs in own.columns.items():
            if theirs in COLUMNS_OF_OURS:
                continue
            try:
                found = named(theirs, self.describe)
            except ExtractRefused as error:
                self.notes.refused("mapping", error)
                self.notes.absent.add(theirs)
                is_whole = False
                continue
            if found is None:
                hint = ", or let the user see the field by field-level security"
                absent(self.notes, ours, theirs, self._names(theirs), where=self.where, hint=hint)
                is_whole = False
        if is_whole:
            try:
                fields_of(own, self.describe, where=self.where)
                mapped = (
                    f"{len(own.columns)} lines of the settings" if own.columns else "no line of the settings"
                )
                self.notes.ok("mapping", f"every field of it is there ({mapped})")
            except ExtractRefused as error:
                self.notes.refused("mapping", error)
        wished = {
            ours: theirs
            for ours, theirs in WELCOME.items()
            if ours not in own.columns and theirs not in own.ignore
        }
        unseen = [t for t in wished.values() if t != "CurrencyIsoCode" and named(t, self.describe) is None]
        if unseen:
            self.notes.warn(
                "mapping", f"hidden from us, and left out: {', '.join(unseen)}", "Let the user see them."
            )
        usual = {**{o: t for o, t in NEEDED.items() if t not in COLUMNS_OF_OURS}, **wished}
        return {o: t for o, t in usual.items() if t not in unseen and (t in _ACROSS or t.lower() in known)}

    def _names(self, theirs: str) -> list[str]:
        parent, _, _ = theirs.rpartition(".")
        if not parent:
            return [one.name for one in (self.describe("Opportunity") or {}).values()]
        return [f"Account.{one.name}" for one in (self.describe("Account") or {}).values()]

    def _histories(self) -> None:
        try:
            fields = fields_of(self.source.deals, self.describe, where=self.where)
        except ExtractRefused:
            return
        night, kept = Night(self.begun, None, self.describe), self.wire.tracked_fields()
        ours = [
            name for told in (states(fields, night), tracked(fields, night, kept)) if told for name in told[1]
        ]
        untold = [n for n in fields.mapping.columns if n not in ours and n not in _NEVER]
        self.notes.ok("history", f"every change is told of {', '.join(ours) or 'nothing'}")
        if kept is None:
            self.notes.warn(
                "history",
                "we may not ask which fields are tracked, so a field without history proves nothing",
                "Grant View Setup and Configuration.",
            )
        late = [name for name in untold if name in ("owner_id", "next_step_on", *_TOLD_ANYWAY)]
        if late:
            self.notes.warn(
                "history",
                f"no history of {', '.join(late)}: what they were before the first extract nobody knows, and "
                "rules about them gain evidence from then on only",
                "Turn field history tracking on for them; it tells from that day on.",
            )

    def _currencies(self, known: Mapping[str, Described]) -> None:
        if "currencyisocode" not in known:
            self.notes.ok("currency", "one; amounts are taken as they are")
            return
        try:
            types = self.wire.all_rows("CurrencyType", ["IsoCode", "ConversionRate", "IsCorporate"])
            target = rates_of(types, None, self.source.currency).target
        except ExtractRefused as error:
            self.notes.refused("currency", error, "Set currency to one that the org has.")
            return
        lacking = types.filter(types["ConversionRate"].is_null())["IsoCode"].to_list()
        dated = "dated rates" if self.describe("DatedConversionRate") is not None else "fixed rates only"
        self.notes.ok("currency", f"{len(types)} of them; amounts are brought to {target} by {dated}")
        if lacking:
            self.notes.warn(
                "currency", f"no rate for {', '.join(lacking)}: their amounts stay empty", "Enter the rates."
            )

    def _stages(self) -> tuple[Stage, ...]:
        try:
            rows = self.wire.all_rows(
                "OpportunityStage", ["ApiName", "SortOrder", "IsClosed", "IsWon", "IsActive"]
            )
        except Declined as error:
            self.notes.warn(
                "stages", f"may not be asked for ({error.code})", "They come with the deals anyway."
            )
            return ()
        words = self.source.deals.values.get("stage", {})
        told = [
            Stage(
                row["ApiName"],
                words.get(row["ApiName"], row["ApiName"]),
                "open" if row["IsClosed"] != "true" else "won" if row["IsWon"] == "true" else "lost",
                row["IsActive"] != "false",
            )
            for row in sorted(rows.to_dicts(), key=lambda row: int(row["SortOrder"] or 0))
            if row["ApiName"]
        ]
        check_stages(self.notes, told, self.settings, tells="by IsClosed and IsWon, in order")
        return tuple(told)

    def _count(self, object_: str, condition: str = "") -> int:
        where = f" WHERE {condition}" if condition else ""
        told = self.wire.session.get(
            self.wire.session.path("query"),
            {"q": f"SELECT COUNT() FROM {object_}{where}"},  # noqa: S608
        )
        return int(told.data["totalSize"])

    def _cost(self) -> None:
        every, open_ = self._count("Opportunity"), self._count("Opportunity", "IsClosed = false")
        says = f"{every:,} that we see, {open_:,} of them open"
        if every:
            self.notes.ok(
                "deals", f"{says}; fewer than an administrator sees means that View All is not granted"
            )
        else:
            self.notes.warn("deals", "we see none", "Grant View All on Opportunity, unless the org is empty.")
        rows = every * (2 + _STATES_A_DEAL)
        requests = 50 + rows // _ROWS_A_REQUEST
        minutes = max(1, round(rows / _ROWS_A_SECOND / 60))
        self.notes.ok(
            "first extract",
            f"about {requests:,} requests and {minutes:,} min, and what Salesforce takes for its "
            "jobs; later nights read the open deals and what changed",
        )


_NEVER = ("deal_id", "created_at", "closed_at", "outcome", "currency")
_TOLD_ANYWAY = ("stage", "amount", "close_date")
_ACROSS = ("Account.Name", "Account.Industry")
_NOT_DEALS = frozenset(
    "IsDeleted IsClosed IsWon SystemModstamp LastModifiedDate LastModifiedById CreatedById MasterRecordId "
    "LastViewedDate LastReferencedDate LastActivityDate LastStageChangeDate Description CampaignId "
    "RecordTypeId Account.Id".split()
)
_GRANTS = {
    "OpportunityHistory": "Grant read on the fields of Opportunity that it keeps.",
    "OpportunityFieldHistory": "Turn field history tracking on, and grant read on the tracked fields.",
    "User": "Grant View All Users.",
    "Task": "Grant read on Task, or do without touches.",
    "Event": "Grant read on Event, or do without touches.",
}


def _is_plain(one: Described) -> bool:
    return one.type not in ("id", "reference", "boolean", "date", "datetime")


def _field(one: Described, parent: str = "") -> Field:
    return Field(parent + one.name, _KINDS.get(one.type, "text"), one.label)
