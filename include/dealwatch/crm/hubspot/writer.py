"""Our scores into custom properties of HubSpot's deals, 100 a call.

A batch of which some deals are unknown is answered by 207: with an error that names them, or with nothing but
the results of the others. A value that HubSpot will not have may turn the whole batch down (400): then its
parts are sent, down to the deal.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from dealwatch.crm.api import Declined
from dealwatch.crm.http import Client
from dealwatch.crm.hubspot.answers import Thing, errors_of, things_of
from dealwatch.crm.hubspot.api import HubSpot
from dealwatch.crm.hubspot.opening import client_of
from dealwatch.crm.writing import Row, State, Target, Verdict, words_of
from dealwatch.errors import SettingsError, SourceDown
from dealwatch.settings import Settings
from dealwatch.sources import HubSpot as Source

_UNKNOWN_DEAL = "OBJECT_NOT_FOUND"
_STATES: dict[str, State] = {
    _UNKNOWN_DEAL: "gone",
    "VALIDATION_ERROR": "refused",
    **dict.fromkeys(("CONFLICT", "INTERNAL_ERROR", "LOCKED", "RATE_LIMITS"), "busy"),
}
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,79}")
_LONGEST_TEXT = 65_536
_PROBES = 3  # deals refused one by one, in a row, until it is no matter of single deals
_ONE_CHOICE = {"select", "radio"}
_IDS = ("id", "objectWriteTraceId")


class HubSpotWriter:
    """One account as one key may write to it; `where` is the write_back's place in the settings."""

    most = 100

    def __init__(self, api: HubSpot, client: Client, *, where: str) -> None:
        self._api, self._client, self._where = api, client, where
        self.place = client.origin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def targets(self, fields: Mapping[str, str], bands: Sequence[str]) -> dict[str, Target]:
        """See `Writer.targets`."""
        known = self._api.definitions("deals")
        return {
            value: _target(value, known.get(field), field, bands, where=f"[{self._where}] {value}")
            for value, field in fields.items()
        }

    def write(self, rows: Sequence[Row]) -> list[Verdict]:
        """See `Writer.write`."""
        return self._written(rows, _Patience(_PROBES))

    def _written(self, rows: Sequence[Row], patience: "_Patience") -> list[Verdict]:
        if patience.is_over:
            return [Verdict(row.deal_id, "failed", patience.code) for row in rows]  # not sent
        try:
            status, told = self._api.update("deals", [_input(row) for row in rows])
        except Declined as error:
            declined = error
        else:
            patience.begin_again()
            return _verdicts(rows, status, told)
        if declined.status == 409:
            return [Verdict(row.deal_id, "busy", declined.code or "CONFLICT") for row in rows]
        if declined.status != 400:
            raise declined
        if len(rows) == 1:
            patience.lose(declined.code or "VALIDATION_ERROR")
            return [Verdict(rows[0].deal_id, "refused", patience.code)]
        half = len(rows) // 2
        return [*self._written(rows[:half], patience), *self._written(rows[half:], patience)]


class _Patience:
    """How many deals in a row may be refused by themselves before a batch is given up."""

    def __init__(self, probes: int) -> None:
        self._probes, self._left, self.code = probes, probes, ""

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def begin_again(self) -> None:
        self._left = self._probes

    def lose(self, code: str) -> None:
        self._left, self.code = self._left - 1, code


def _input(row: Row) -> dict[str, Any]:
    """HubSpot takes text for every type, and the empty one for nothing; it names the trace id in errors."""
    values = {name: "" if value is None else str(value) for name, value in row.values.items()}
    return {"id": row.deal_id, "properties": values, "objectWriteTraceId": row.deal_id}


def _verdicts(rows: Sequence[Row], status: int, told: Mapping[str, Any]) -> list[Verdict]:
    """What an answer says of each deal. One that a 207 does not speak of is none that HubSpot knows."""
    written = {str(thing[key]) for thing in things_of(told, "batch/update") for key in _IDS if key in thing}
    named: dict[str, str] = {}
    others = ""
    for error in errors_of(told, "batch/update"):
        code = str(error.get("category", ""))
        code = code if _CODE.fullmatch(code) else "UNKNOWN"
        ids = [*_named_in(error)]
        named |= dict.fromkeys(ids, code)
        others = others if ids else code
    silent = [row for row in rows if row.deal_id not in written and row.deal_id not in named]
    if silent and status != 207:
        raise SourceDown(f"HubSpot: {len(rows) - len(silent)} answers to {len(rows)} updates")
    return [
        Verdict(row.deal_id, "written")
        if row.deal_id in written
        else _verdict(row.deal_id, named.get(row.deal_id, others))
        for row in rows
    ]


def _named_in(error: Thing) -> Iterable[str]:
    context = error.get("context")
    told = context if isinstance(context, Mapping) else {}
    for key in ("ids", *_IDS):
        yield from map(str, told[key]) if isinstance(told.get(key), list) else ()


def _verdict(deal_id: str, code: str) -> Verdict:
    code = code or _UNKNOWN_DEAL
    return Verdict(deal_id, _STATES.get(code, "failed"), code)


def _target(value: str, told: Thing | None, field: str, bands: Sequence[str], *, where: str) -> Target:
    """The property, when it takes our value; SettingsError with what to mend when it does not."""
    where = f"{where} = {field!r}"
    if told is None:
        raise SettingsError(
            f"{where} is no property of deals; make it in HubSpot, and write its internal name"
        )
    is_fixed = dict(told.get("modificationMetadata") or {}).get("readOnlyValue")
    if told.get("hubspotDefined") or told.get("calculated") or is_fixed:
        raise SettingsError(f"{where} is HubSpot's own, calculated or read-only; name a custom property")
    kind, form = told.get("type"), told.get("fieldType")
    match value:
        case "score" if kind == "number":
            return Target(field, "number")
        case "band" if kind == "enumeration" and form in _ONE_CHOICE:
            options = {str(one["label"]): str(one["value"]) for one in told.get("options", ())}
            return Target(field, "text", words=words_of(options, bands, where=where))
        case "band" | "reason" if kind == "string" and form != "html":
            return Target(field, "text", _LONGEST_TEXT)
        case "as_of" if kind == "date":
            return Target(field, "day")
    wanted = {
        "score": "a number",
        "band": "a text or a choice of one",
        "reason": "a text, without formatting",
        "as_of": "a date",
    }[value]
    raise SettingsError(f"{where} is of type {kind} ({form}); it has to be {wanted}")


def open_writer(name: str, settings: Settings) -> HubSpotWriter:
    """The writer of the source of that name; SettingsError when it has no key."""
    source = settings.sources[name]
    if not isinstance(source, Source):
        raise TypeError(f"the source {name} is no HubSpot")
    client = client_of(name, source, *source.writer)
    api = HubSpot(client, version=source.version)
    return HubSpotWriter(api, client, where=f"sources.{name}.write_back")
