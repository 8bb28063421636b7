"""Visit a HubSpot account: is the key in force, what may it read, how are the stages, what does a night cost.

A dozen or so small requests: definitions and counts, no record.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from dealwatch.crm.api import Declined
from dealwatch.crm.connecting import Field, Kind, Notes, Visit, absent, check_stages
from dealwatch.crm.connecting import Stage as Seen
from dealwatch.crm.hubspot.answers import Stage
from dealwatch.crm.hubspot.api import HubSpot
from dealwatch.crm.hubspot.opening import client_of
from dealwatch.crm.hubspot.plan import FIXED, USUAL, mapping_of, tracked_by
from dealwatch.crm.hubspot.rows import COMPANY
from dealwatch.errors import DealwatchError, ExtractRefused, SourceDown
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import HubSpot as Source

_KINDS: Mapping[str, Kind] = {"number": "number", "date": "date", "datetime": "date", "bool": "flag"}
_NOT_DEALS = ("hs_", "notes_", "hubspot_owner_assigneddate", "num_", "days_to_close", "engagements_")
_PAGE, _TOUCHES_A_REQUEST, _REQUESTS_A_SECOND, _MOST_STAGES = 50, 100, 8, 100
_TOLD_ANYWAY = ("stage", "amount", "close_date", "owner_id")


def visit_hubspot(name: str, settings: Settings, *, now: datetime) -> Visit:
    """What we find in the account of that source."""
    source, notes = settings.sources[name], Notes()
    assert isinstance(source, Source)
    try:
        client = client_of(
            name, source, source.connection, source.access, most_quota_share=1.0, tries=3, read_seconds=30
        )
        api = HubSpot(client, version=source.version)
    except DealwatchError as error:
        notes.refused("connection", error)
        return Visit(tuple(notes.findings))
    with client:
        account = _Account(notes, api, name, settings, source)
        try:
            visit = account.visit() if account.is_let_in(now) else None
        except (ExtractRefused, SourceDown) as error:
            notes.refused("requests", error)
            visit = None
    fields, usual, stages = visit or ((), {}, ())
    derived = ("outcome", "closed_at") if visit else ()
    return Visit(
        tuple(notes.findings), fields, usual, derived, frozenset(notes.absent), stages, requests=api.asked
    )


class _Account:
    def __init__(self, notes: Notes, api: HubSpot, name: str, settings: Settings, source: Source) -> None:
        self.notes, self.api, self.settings, self.source = notes, api, settings, source
        self.where = f"sources.{name}.deals"

    def is_let_in(self, now: datetime) -> bool:
        try:
            theirs = self.api.clock()
        except Declined as error:
            if error.status == 401:
                self.notes.missing(
                    "login",
                    f"the key is not in force ({error.code or error.status})",
                    "Put a service key that is in force into the connection's password.",
                )
            else:
                self.notes.refused("scopes" if error.status == 403 else "API version", error)
            return False
        except SourceDown as error:
            self.notes.refused(
                "address", error, "Check proxy and firewall; leave the connection's host empty."
            )
            return False
        self.notes.ok("login", f"the key is in force; API version {self.source.version}")
        self.notes.clock(theirs, now)
        quota = self.api.quota
        if quota is None:
            self.notes.ok(
                "quota", "not told to keys of this kind; a night stops by itself at the day's limit"
            )
        else:
            self.notes.quota(quota.used, quota.allowed, self.source.max_quota_share)
        return True

    def visit(self) -> tuple[tuple[Field, ...], dict[str, str], tuple[Seen, ...]] | None:
        deals = self._may("deals", lambda: self.api.definitions("deals"))
        if deals is None:
            return None
        companies = self._may("companies", lambda: self.api.definitions("companies"))
        self._may("owners", lambda: self.api.owners(is_archived=False))
        touches: dict[str, int | None] = {
            kind: self._may(kind, partial(self.api.count, kind)) for kind in self.source.touches
        }
        known = {name: str(one["type"]) for name, one in deals.items()}
        of_companies = {name: str(one["type"]) for name, one in (companies or {}).items()}
        usual = self._mapping(known, of_companies, has_companies=companies is not None)
        self._currencies(deals.values())
        told = self.api.stages()
        stages = self._stages(told)
        self._cost(told, touches)
        return (*_fields(deals.values()), *_fields((companies or {}).values(), COMPANY)), usual, stages

    def _may(self, kind: str, ask: Callable[[], Any]) -> Any:
        """The answer, or None when the key may not ask; a night would stop there."""
        try:
            found = ask()
        except Declined as error:
            if error.status != 403:
                raise
            remedy = str(error).rpartition("; ")[2]
            if kind in self.source.touches:
                remedy += f", or leave {kind} out of touches"
            self.notes.missing("scopes", f"the key may not read {kind}", f"{remedy[:1].upper()}{remedy[1:]}.")
            return None
        self.notes.ok("scopes", f"{kind} can be read")
        return found

    def _mapping(
        self, known: Mapping[str, str], of_companies: Mapping[str, str], *, has_companies: bool
    ) -> dict[str, str]:
        own = self.source.deals
        names = [*known, *(COMPANY + one for one in of_companies)]
        there = {*names, *FIXED.values()}
        lacking = {ours: theirs for ours, theirs in own.columns.items() if theirs not in there}
        for ours, theirs in lacking.items():
            absent(
                self.notes, ours, theirs, names, where=self.where, hint=", or let the key see the property"
            )
        usual = {o: t for o, t in {**USUAL, **_PLAIN}.items() if o not in own.columns and t not in own.ignore}
        usual = {o: t for o, t in usual.items() if o not in own.ignore and t in there}
        left = own.model_copy(update={"columns": {o: t for o, t in own.columns.items() if o not in lacking}})
        if has_companies:
            self._whole(left, known, of_companies, is_whole=not lacking)
        return usual

    def _whole(
        self, own: RecordMapping, known: Mapping[str, str], of_companies: Mapping[str, str], *, is_whole: bool
    ) -> None:
        try:
            mapping = mapping_of(own, known, lambda: of_companies)
        except ExtractRefused as error:
            self.notes.refused("mapping", error)
            return
        if is_whole:
            count = len(own.columns)
            mapped = f"{count} lines of the settings" if count else "no line of the settings"
            self.notes.ok("mapping", f"every property of it is there ({mapped})")
        tracked = tracked_by(mapping)
        self.notes.ok(
            "history", f"every change is told of {', '.join(tracked)}; others change when a night sees it"
        )
        untold = [name for name in _TOLD_ANYWAY if name not in tracked]
        if untold:
            self.notes.warn("history", f"no history of {', '.join(untold)}: they are not the deal's own")

    def _currencies(self, deals: Iterable[Mapping[str, Any]]) -> None:
        code = next((one for one in deals if one["name"] == "deal_currency_code"), None)
        several = len((code or {}).get("options") or []) > 1
        amount = self.source.deals.columns.get("amount", "amount")
        if several and amount == "amount":
            self.notes.warn(
                "currency",
                "several, and amounts are not converted",
                f'Map it in [{self.where}.columns]: amount = "amount_in_home_currency".',
            )
        else:
            self.notes.ok("currency", f"amounts are taken from {amount} as they are")

    def _stages(self, told: Sequence[Stage]) -> tuple[Seen, ...]:
        words, own = _words(told), self.source.deals.values.get("stage", {})
        seen = tuple(Seen(one.id, own.get(one.id, words[one.id]), one.outcome) for one in told)
        shown = tuple(Seen(one.id, own.get(one.id, one.id), one.outcome) for one in told)
        if not own and any(one.id != one.word for one in seen):
            ids = ", ".join(f"{one.id} = {one.word}" for one in seen if one.id != one.word)
            self.notes.ok("stages", f"told by their ids, unless the mapping translates them: {ids}")
        check_stages(
            self.notes, shown, self.settings, tells="by isClosed and probability of the pipelines, in order"
        )
        return seen

    def _cost(self, stages: Sequence[Stage], touches: Mapping[str, int | None]) -> None:
        every = self.api.count("deals")
        ids = list(dict.fromkeys(one.id for one in stages if one.outcome == "open"))
        open_ = f", {self.api.count('deals', ids):,} of them open" if 0 < len(ids) <= _MOST_STAGES else ""
        if every:
            self.notes.ok("deals", f"{every:,} that the key sees{open_}")
        else:
            self.notes.warn("deals", "the key sees none", "Is it of the right account?")
        told = sum(count or 0 for count in touches.values())
        requests = 40 + every // _PAGE + every // 100 * (1 + len(touches)) + told // _TOUCHES_A_REQUEST
        minutes = max(1, round(requests / _REQUESTS_A_SECOND / 60))
        self.notes.ok("first extract", f"about {requests:,} requests and {minutes:,} min")


_PLAIN = {name: theirs for name, theirs in FIXED.items() if "." not in theirs}


def _words(stages: Sequence[Stage]) -> dict[str, str]:
    """What people call each stage; where two of a name mean different things, with their pipeline."""
    meanings: dict[str, set[str]] = {}
    for one in stages:
        meanings.setdefault(one.label or one.id, set()).add(one.outcome)
    return {one.id: _word(one, is_plain=len(meanings[one.label or one.id]) == 1) for one in stages}


def _word(stage: Stage, *, is_plain: bool) -> str:
    label = stage.label or stage.id
    return label if is_plain else f"{label} ({stage.pipeline})"


def _fields(told: Iterable[Mapping[str, Any]], parent: str = "") -> list[Field]:
    return [
        Field(f"{parent}{one['name']}", _KINDS.get(str(one["type"]), "text"), str(one.get("label") or ""))
        for one in told
        if not str(one["name"]).startswith(_NOT_DEALS) or one["name"] in USUAL.values()
    ]
