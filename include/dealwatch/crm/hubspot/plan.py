"""What to ask HubSpot for: the properties that the mapping means, checked against those the account has."""

import logging
from collections.abc import Callable, Mapping, Sequence

from dealwatch.crm.hubspot.answers import Stage
from dealwatch.crm.hubspot.rows import CLOSED_AT, COMPANY, NEEDED, OUTCOME, Asked
from dealwatch.crm.hubspot.touches import KINDS
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import RecordMapping

log = logging.getLogger(__name__)

TOUCHES = tuple(KINDS)
# What only HubSpot itself can say; the mapping cannot take it from elsewhere.
FIXED = {"deal_id": "hs_object_id", "stage": "dealstage", "outcome": OUTCOME, "closed_at": CLOSED_AT}
# What every account has, unless the mapping says another property or ignores it.
USUAL = {
    "name": "dealname",
    "account": f"{COMPANY}name",
    "amount": "amount",
    "currency": "deal_currency_code",
    "owner_id": "hubspot_owner_id",
    "created_at": "createdate",
    "close_date": "closedate",
    "next_step_on": "notes_next_activity_date",
    "industry": f"{COMPANY}industry",
    "region": f"{COMPANY}country",
    "product_type": "dealtype",
    "lead_source": "hs_analytics_source",
}
# Of these every change is told, where they are properties of the deal.
_WITH_HISTORY = ("stage", "amount", "close_date", "owner_id")


def mapping_of(
    told: RecordMapping, known: Mapping[str, str], of_companies: Callable[[], Mapping[str, str]]
) -> RecordMapping:
    """The mapping in full: what the settings say over what is usual, without what the account lacks.

    `known` are the deals' properties with their types, `of_companies` asks for the companies'. Raises
    ExtractRefused when a property that the settings name, or one that has to be, is not there.
    """
    for name, source in FIXED.items():
        if told.columns.get(name, source) != source:
            raise ExtractRefused(f"HubSpot tells {name} itself; take {name} out of the mapping's columns")
    usual = {
        name: source
        for name, source in USUAL.items()
        if source not in told.ignore and name not in told.ignore and name not in told.columns
    }
    columns = {**FIXED, **usual, **told.columns}
    companies = of_companies() if any(source.startswith(COMPANY) for source in columns.values()) else {}
    there = {*known, *(COMPANY + name for name in companies), *FIXED.values()}
    absent = {name: source for name, source in columns.items() if source not in there}
    for name, source in absent.items():
        if name in told.columns or name == "created_at":
            raise ExtractRefused(
                f"HubSpot has no property {source!r}, or the key may not see it, but it is mapped to {name}; "
                "write the internal name, or let the key read it"
            )
        log.warning("HubSpot has no property %r for %s, so it stays empty", source, name)
    if missing := [name for name in NEEDED if name not in known]:
        raise ExtractRefused(f"the key may not see the deals' property {missing[0]!r}; let it read deals")
    kept = {name: source for name, source in columns.items() if name not in absent}
    return told.model_copy(update={"columns": kept})


def refuse_vanished(mapping: RecordMapping, last: RecordMapping, told: RecordMapping) -> None:
    """Raises ExtractRefused when a usual property that was read last time is gone, so that it stood still.

    mapping, last: in full, of tonight and of last time. told: what the settings say.
    """
    for name, source in USUAL.items():
        is_ignored = name in told.ignore or source in told.ignore
        if last.columns.get(name) == source and name not in mapping.columns and not is_ignored:
            raise ExtractRefused(
                f"HubSpot's property {source!r} was read last time and is gone, or the key may not see it "
                "any more; let the key read it, or add it to ignore of deals"
            )


def asked_of(
    mapping: RecordMapping, known: Mapping[str, str], stages: Sequence[Stage], *, until: str, is_first: bool
) -> Asked:
    """What to ask of every deal for a mapping in full."""
    columns = tuple(dict.fromkeys(mapping.columns.values()))
    wanted = [*columns, *NEEDED]
    return Asked(
        columns=columns,
        history=tuple(mapping.columns[name] for name in _tracked(mapping)),
        instants=tuple(dict.fromkeys(name for name in wanted if known.get(name) == "datetime")),
        days=tuple(dict.fromkeys(name for name in wanted if known.get(name) == "date")),
        stages=_meanings(stages),
        until=until,
        is_first=is_first,
    )


def tracked_by(mapping: RecordMapping) -> tuple[str, ...]:
    """The deals' fields, in our names, whose every change the history tells."""
    return (*_tracked(mapping), "outcome")


def _tracked(mapping: RecordMapping) -> list[str]:
    return [name for name in _WITH_HISTORY if "." not in mapping.columns.get(name, ".")]


def _meanings(stages: Sequence[Stage]) -> dict[str, str]:
    """What each stage means; one that two pipelines understand differently is unclear."""
    found: dict[str, str] = {}
    for stage in stages:
        same = found.setdefault(stage.id, stage.outcome) == stage.outcome
        found[stage.id] = stage.outcome if same else "unclear"
    return found
