"""Which fields of a Salesforce org make a deal: our usual ones, the settings' own, and what we may see."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dealwatch.crm.salesforce.api import Described
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import RecordMapping

log = logging.getLogger(__name__)

# Columns of ours beside the org's own: no standard field is called so, and custom ones end in __c.
CLOSED_AT, OUTCOME = "DealClosedAt", "DealOutcome"
COLUMNS_OF_OURS = (CLOSED_AT, OUTCOME)
CODE = "CurrencyIsoCode"
NEEDED = {
    "deal_id": "Id",
    "stage": "StageName",
    "created_at": "CreatedDate",
    "close_date": "CloseDate",
    "owner_id": "OwnerId",
    "closed_at": CLOSED_AT,
    "outcome": OUTCOME,
}
WELCOME = {
    "name": "Name",
    "amount": "Amount",
    "account": "Account.Name",
    "industry": "Account.Industry",
    "lead_source": "LeadSource",
    "currency": CODE,
}
_HELPERS = ("IsClosed", "IsWon", "CreatedDate", "CloseDate", "LastModifiedDate")
_STAGE_CHANGED = "LastStageChangeDate"
_PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)?")
_COMPOUND = frozenset({"address", "location", "base64"})

Describe = Callable[[str], Mapping[str, Described] | None]


@dataclass(frozen=True)
class Fields:
    """mapping: our names to columns. asked: the fields to select, which the columns are made of.

    money: those of them that are amounts in the deal's currency, in an org of several.
    """

    mapping: RecordMapping
    asked: tuple[str, ...]
    money: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.mapping.columns.values()))


def fields_of(own: RecordMapping, describe: Describe, *, where: str, is_written: bool = False) -> Fields:
    """The fields to read, by the settings' own mapping over ours, checked against the org's description.

    Of deals that we write to (`is_written`), the moment of the last change of stage has to be there: without
    it a close is dated by the last change of all, which may be our own.

    Raises ExtractRefused, naming all that is missing, when a field that is needed or that the settings name
    is not there for us; a field that is only welcome is left out.
    """
    if own.joins:
        raise ExtractRefused(f"[{where}] joins is for files; write a field such as Account.Industry instead")
    if own.columns.get("deal_id", "Id").lower() != "id":
        raise ExtractRefused(f"Salesforce tells deal_id itself; take it out of [{where}.columns]")
    wished = {name: field for name, field in WELCOME.items() if field not in own.ignore}
    chosen = {**wished, **NEEDED, **own.columns}
    missing, columns, money = list[str](), dict[str, str](), list[str]()
    for name, field in chosen.items():
        if field in COLUMNS_OF_OURS:
            columns[name] = field
            continue
        found = named(field, describe)
        if found is not None:
            columns[name], is_money = found
            money += [columns[name]] * is_money
        elif name in own.columns or name in NEEDED:
            missing.append(field)
        elif name != "currency":  # most orgs have one only
            log.info("%s: %s is not there for us and is left out", where, field)
    known = describe("Opportunity") or {}
    needed = [*_HELPERS, *([_STAGE_CHANGED] if is_written else [])]
    missing += [field for field in needed if field.lower() not in known]
    if missing:
        raise ExtractRefused(
            f"Salesforce shows us no {', '.join(dict.fromkeys(missing))}: each was renamed, deleted or taken "
            f"from our user. Give it read access by field-level security, or correct [{where}.columns]"
        )
    helpers = [*_HELPERS, *([_STAGE_CHANGED] if _STAGE_CHANGED.lower() in known else [])]
    told = [field for field in columns.values() if field not in COLUMNS_OF_OURS]
    mapping = own.model_copy(update={"columns": columns, "ignore": ()})
    # Amounts are brought to one currency also where nobody asks which it is.
    has_several = CODE.lower() in known and own.columns.get("currency", CODE).lower() == CODE.lower()
    helpers += [CODE] * has_several
    return Fields(mapping, tuple(dict.fromkeys([*told, *helpers])), tuple(money) if has_several else ())


def named(path: str, describe: Describe) -> tuple[str, bool] | None:
    """The field or parent's field in the org's own spelling, and whether it is the deal's own money.

    None when it is not there for us.
    """
    if not _PATH.fullmatch(path):
        raise ExtractRefused(
            f"Salesforce: {path[:80]!r} is no field; write one as Name, Name__c or Account.Name"
        )
    parent, _, own = path.rpartition(".")
    fields = describe("Opportunity") or {}
    spelled = ""
    if parent:
        link = next((one for one in fields.values() if one.relationship.lower() == parent.lower()), None)
        fields = (describe(link.to[0]) or {}) if link is not None and link.to else {}
        spelled = f"{link.relationship}." if link is not None else ""
    found = fields.get(own.lower())
    if found is None:
        return None
    if found.type in _COMPOUND:
        raise ExtractRefused(f"Salesforce: {path} is a field of several parts; map one of them")
    return spelled + found.name, found.type == "currency" and not parent
