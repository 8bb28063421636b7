"""What an org showed us last time and hides tonight: a deal's field, an object, a part of the history."""

from collections.abc import Sequence

from dealwatch.crm.pages import Plan
from dealwatch.crm.salesforce.fields import WELCOME
from dealwatch.crm.salesforce.queries import ALL_IDS, LATE_EVENTS, Request
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import RecordMapping

_STATES = "OpportunityHistory"
# The org may stop to track the fields that the first one tells of.
_MAY_MISS = frozenset({"OpportunityFieldHistory", LATE_EVENTS, ALL_IDS})


def requests_of(plan: Plan) -> dict[str, Request]:
    """By table what a plan asks for; nothing of one that another kind of source, or another release, made."""
    try:
        return {table.name: Request.of(table.request) for table in plan.tables}
    except (KeyError, TypeError, ValueError):
        return {}


def refuse_hidden(whole: Plan, last: Plan, *, own: RecordMapping, without: Sequence[str]) -> None:
    """Raises ExtractRefused when something is not there for us any more that the settings still want.

    Its values would stand still, and every deal would seem untouched, without a word.
    whole: what there is tonight. own: the settings' mapping of deals.
    """
    now, before = requests_of(whole), requests_of(last)
    if not before:
        return
    objects = {*before} - {*now, *without, *_MAY_MISS}
    wished = {name: field for name, field in WELCOME.items() if field not in own.ignore}
    there = {name for table in whole.feeding("deals") for name in table.mapping.columns}
    fields = {
        field
        for table in last.feeding("deals")
        for name, field in table.mapping.columns.items()
        if wished.get(name) == field and name not in there
    }
    columns = {field for table in whole.feeding("deals") for field in table.mapping.columns.values()}
    if _STATES in now and _STATES in before:
        lost = {theirs for theirs, _ in before[_STATES].names} - {theirs for theirs, _ in now[_STATES].names}
        fields |= {f"{_STATES}.{theirs}" for theirs in lost & columns}
    if gone := sorted(objects | fields):
        raise ExtractRefused(
            f"Salesforce showed us {', '.join(gone)} last time and does not any more; give our user the "
            "right to read it, or leave it out on purpose: a field by ignore of deals, an object by without"
        )
