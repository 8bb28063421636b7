"""What a message says: cards from the morning's scores and facts, the rules' sentences and their records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from dealwatch.alerts.decisions import Item, Planned
from dealwatch.alerts.rules import Rule
from dealwatch.delivery.messages import DealCard, Message
from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.history.freshness import Incident
from dealwatch.settings import Settings


@dataclass(frozen=True)
class Material:
    """A morning's rows by deal, and what is known of the rules by then."""

    as_of: datetime
    deals: Mapping[str, Mapping[str, Any]]  # snapshot and score, side by side
    facts: Mapping[str, str]  # the facts as JSON
    rules: Mapping[str, Rule]
    records: Mapping[tuple[str, int], Mapping[str, Any]]  # newest evidence by rule and level
    note: str = ""  # how old the data is, when it is not of the day


def message_of(planned: Planned, material: Material, *, settings: Settings) -> Message:
    """The message for a plan."""
    cards = tuple(_card(item, material, planned, settings=settings) for item in planned.items)
    footer = _footer(planned.items, material, settings=settings)
    if planned.kind == "alert":
        action = cards[0].action or material.rules[planned.items[0].lead.standing.rule].title
        name = clean(cards[0].name, NAME_LENGTH) or clean(cards[0].deal_id, NAME_LENGTH)
        return Message(kind="alert", title=f"{name}: {action}", cards=cards, footer=footer)
    count = len(cards) + planned.more
    whose = {"manager_digest": " of your team", "channel_digest": " of this channel"}.get(planned.kind, "")
    title = f"Look at {'this deal' if count == 1 else f'these {count} deals'}{whose} this morning"
    return Message(
        kind=planned.kind, title=title, intro=_intro(planned), cards=cards, more=planned.more, footer=footer
    )


def _intro(planned: Planned) -> str:
    """How the deals were chosen; for a manager, what the team and each owner has in sum, by name."""
    if planned.kind != "manager_digest":
        return "Ranked by the amount at risk, what is new first."
    shares = "; ".join(f"{one.name}: {one.deals} ({one.told} here)" for one in planned.team)
    deals = sum(one.deals for one in planned.team)
    return f"What is new, by owner. Deals with an open alert: {deals} in the team. {shares}."


def operations_message(fault: Incident, as_of: datetime, *, note: str = "", settings: Settings) -> Message:
    """What the people who run dealwatch are told when a morning's data is not fit to alert on."""
    return Message(
        kind="operations",
        title="Check the CRM extract: no deal alerts go out this morning",
        intro=f"{fault.sentence} {fault.remedy} Deal alerts wait until the data is whole and fresh.",
        footer=f"Morning of {_local(as_of, settings)}. {note or 'Scores from the data there is'}.",
    )


def record_line(record: Mapping[str, Any] | None) -> str:
    """A rule's track record in one line, or that it has none worth the name."""
    if record is None:
        return "unproven: this rule's record is not measured yet"
    alerted, lost, base = record["alerted"], record["lost"], record["base_rate"]
    period = f"last {record['months']} months"
    if not alerted or base is None:
        return f"unproven: no such deal was closed in the {period}"
    text = f"{period}: {lost} of {alerted} such deals lost ({lost / alerted:.0%}); similar deals {base:.0%}"
    return text if record["proven"] else f"unproven: {text}"


def _card(item: Item, material: Material, planned: Planned, *, settings: Settings) -> DealCard:
    """One deal. A shared place reads nothing about its owner: no name, and no reason that judges them."""
    lead = item.lead.standing
    rule = material.rules[lead.rule]
    row = material.deals[lead.deal_id]
    facts = {**row, **json.loads(material.facts.get(lead.deal_id, "{}"))}
    sentences = [
        material.rules[one.standing.rule].at(one.standing.level).say.about(facts) for one in item.said
    ]
    reasons = json.loads(row["reasons"])
    is_about_owner = planned.route.is_shared and any(reason["group"] == "owner" for reason in reasons)
    if is_about_owner:
        reasons = [reason for reason in reasons if reason["group"] != "owner"]
    url = settings.delivery.crm_deal_url
    return DealCard(
        deal_id=lead.deal_id,
        name=row["name"] or row["account"] or lead.deal_id,
        account=row["account"],
        amount=row["amount"],
        currency=row["currency"] or settings.currency,
        stage=row["stage"] or "no stage",
        close_date=row["close_date"],
        score=row["score"],
        band=row["band"],
        headline=" ".join(sentences),
        owner=next((one.name for one in planned.team if one.owner_id == lead.owner_id), None),
        reasons=tuple(_reason(reason) for reason in reasons),
        record=record_line(material.records.get((rule.name, rule.at(lead.level).level))),
        action=(row["action"] or rule.action) if rule.uses_score and not is_about_owner else rule.action,
        url=url.replace("{deal_id}", quote(lead.deal_id, safe="")) if url else None,
    )


def _reason(reason: Mapping[str, Any]) -> str:
    return f"{reason['sentence']} ({reason['points']:+d})"


def _footer(items: Sequence[Item], material: Material, *, settings: Settings) -> str:
    row = material.deals[items[0].lead.standing.deal_id]
    how = f"model {row['model_version']}" if row["method"] != "rules" else "rules alone, no usable model"
    spoke = sorted({one.standing.rule for item in items for one in item.said})
    told = f"rules: {', '.join(spoke)}"
    parts = [f"Data as of {_local(material.as_of, settings)}", material.note, how, told]
    return " · ".join(part for part in parts if part)


def _local(moment: datetime, settings: Settings) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%d %H:%M} {settings.time_zone}"
