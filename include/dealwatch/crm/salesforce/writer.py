"""Our scores into custom fields of Salesforce's opportunities, 200 a call; each record succeeds by itself."""

import logging
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from dealwatch.crm.api import Declined
from dealwatch.crm.bodies import Broken, read_json
from dealwatch.crm.salesforce.login import Session
from dealwatch.crm.salesforce.opening import session_of
from dealwatch.crm.writing import Row, State, Target, Verdict, words_of
from dealwatch.errors import SettingsError
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce

log = logging.getLogger(__name__)

_DEALS = "Opportunity"
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,79}")
# Another transaction holds the record or its account, or the org is busy with its own automation.
_BUSY = {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT"}
_GONE = {"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"}
_REFUSED = {
    "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
    "NUMBER_OUTSIDE_VALID_RANGE",
    "STRING_TOO_LONG",
}
_STATES: dict[str, State] = {
    **dict.fromkeys(_BUSY, "busy"),
    **dict.fromkeys(_GONE, "gone"),
    **dict.fromkeys(_REFUSED, "refused"),
}
_TURNS, _PAUSE_SECONDS = 3, 5.0  # for records that are busy
_NUMBERS, _TEXTS = {"double", "int"}, {"string", "textarea"}
_DIGITS = 3  # of a score before the point
_SHORTEST = 40  # a reason in fewer characters says nothing


class SalesforceWriter:
    """One org as it is written to; `where` is the write_back's place in the settings."""

    most = 200

    def __init__(self, session: Session, *, where: str) -> None:
        self._session, self._where = session, where
        self.place = session.login.origin

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)

    def targets(self, fields: Mapping[str, str], bands: Sequence[str]) -> dict[str, Target]:
        """See `Writer.targets`; what describe shows us is what we may write."""
        known = self._described()
        return {
            value: _target(value, known.get(field.lower()), field, bands, where=f"[{self._where}] {value}")
            for value, field in fields.items()
        }

    def _described(self) -> dict[str, Mapping[str, Any]]:
        missing: Declined | None = None
        try:
            told = self._session.get(self._session.path(f"sobjects/{_DEALS}/describe")).data
        except Declined as error:
            if error.status != 404:
                raise
            missing = error
        if missing is not None:
            raise SettingsError(f"[{self._where}] Salesforce shows us no {_DEALS} ({missing})")
        if not told.get("updateable", True):
            raise SettingsError(
                f"[{self._where}] our user may not edit {_DEALS}; let it by a permission set, or name the "
                "connection of a user who may"
            )
        return {one["name"].lower(): one for one in told["fields"]}

    def write(self, rows: Sequence[Row]) -> list[Verdict]:
        """See `Writer.write`; records that are busy get some more turns."""
        found: dict[str, Verdict] = {}
        left = list(rows)
        for turn in range(_TURNS):
            found |= {verdict.deal_id: verdict for verdict in self._sent(left)}
            left = [row for row in left if found[row.deal_id].state == "busy"]
            if not left:
                break
            if turn < _TURNS - 1:
                log.info("Salesforce: %d records are locked, and tried again", len(left))
                self._session.sleep(_PAUSE_SECONDS * (turn + 1))
        return [found[row.deal_id] for row in rows]

    def _sent(self, rows: Sequence[Row]) -> list[Verdict]:
        records = [{"attributes": {"type": _DEALS}, "id": row.deal_id, **row.values} for row in rows]

        def reads(body: bytes, _: Mapping[str, str]) -> list[Verdict]:
            told = read_json(body)
            if not isinstance(told, list) or len(told) != len(rows):
                raise Broken("not a result for each record")
            return [_verdict(row, one) for row, one in zip(rows, told, strict=True)]

        path = self._session.path("composite/sobjects")
        body = {"allOrNone": False, "records": records}
        verdicts: list[Verdict] = self._session.send("PATCH", path, json=body, reads=reads).data
        return verdicts


def _verdict(row: Row, told: Any) -> Verdict:
    """What one result says of its record; results come in the order of the records."""
    if not isinstance(told, dict) or not isinstance(told.get("success"), bool):
        raise Broken("a result that is none")
    if told["success"]:
        if str(told.get("id"))[:15] != row.deal_id[:15]:
            raise Broken("a result of another record")
        return Verdict(row.deal_id, "written")
    errors = told.get("errors")
    code = errors[0].get("statusCode") if isinstance(errors, list) and errors else ""
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else "UNKNOWN"
    return Verdict(row.deal_id, _STATES.get(code, "failed"), code)


def _target(
    value: str, told: Mapping[str, Any] | None, field: str, bands: Sequence[str], *, where: str
) -> Target:
    """The field, when it takes our value; SettingsError with what to mend when it does not."""
    if told is None:
        raise SettingsError(
            f"{where} = {field!r} is no field of {_DEALS}, or is hidden from our user; make it, and give our "
            "user edit access by field-level security"
        )
    field, kind = told["name"], told["type"]
    if not told.get("custom", True) or told.get("calculated") or not told.get("updateable", True):
        is_made = "is a formula" if told.get("calculated") else "may not be edited by our user"
        raise SettingsError(
            f"{where} = {field!r} {is_made}; name a custom field that field-level security lets it edit"
        )
    length = told.get("length") or None
    match value:
        case "score" if kind in _NUMBERS:
            whole = told.get("precision", 18) - told.get("scale", 0) if kind != "int" else _DIGITS
            if whole < _DIGITS:
                raise SettingsError(f"{where} = {field!r} has {whole} digits; a score needs {_DIGITS}")
            return Target(field, "number")
        case "band" if kind == "picklist":
            active = {one["label"]: one["value"] for one in told.get("picklistValues", ()) if one["active"]}
            return Target(field, "text", words=words_of(active, bands, where=f"{where} = {field!r}"))
        case "band" | "reason" if kind in _TEXTS and not told.get("htmlFormatted"):
            shortest = max(map(len, bands)) if value == "band" else _SHORTEST
            if length is not None and length < shortest:
                raise SettingsError(f"{where} = {field!r} holds {length} characters; make it {shortest}")
            return Target(field, "text", length)
        case "as_of" if kind == "date":
            return Target(field, "day")
    wanted = {
        "score": "a number",
        "band": "a text or a picklist",
        "reason": "a text or a long text area, without formatting",
        "as_of": "a date",
    }[value]
    raise SettingsError(f"{where} = {field!r} is of type {kind}; it has to be {wanted}")


def open_writer(name: str, settings: Settings) -> SalesforceWriter:
    """The writer of the source of that name; SettingsError when there is no connection."""
    source = settings.sources[name]
    if not isinstance(source, Salesforce):
        raise TypeError(f"the source {name} is no Salesforce")
    return SalesforceWriter(session_of(name, source, *source.writer), where=f"sources.{name}.write_back")
