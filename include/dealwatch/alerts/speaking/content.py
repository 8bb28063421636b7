"""What a message says: cards from the morning's scores and facts, the rules' sentences and their records."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dealwatch.alerts.episodes.cooldowns import Standing
from dealwatch.alerts.rules.rule import Rule
from dealwatch.alerts.speaking.decisions import Item, Planned
from dealwatch.alerts.speaking.digests import ItemLine, deal_url, digest_of
from dealwatch.alerts.speaking.news import sentence_of, title_of, word_of
from dealwatch.alerts.speaking.since_yesterday import Day
from dealwatch.alerts.speaking.why_now import Past, in_words, label_of, reader_of, why_now
from dealwatch.delivery.messages import DealCard, Message, PathPoint
from dealwatch.delivery.routes import Person
from dealwatch.delivery.wording import LINE_LENGTH, NAME_LENGTH, clean, weekday
from dealwatch.history.freshness import Incident
from dealwatch.settings import Settings

_IN_RISK = {"score", "band"}  # what each deal's line tells anyway


@dataclass(frozen=True)
class Material:
    """A morning's rows by deal, and what is known of the rules by then."""

    as_of: datetime
    deals: Mapping[str, Mapping[str, Any]]  # snapshot and score, side by side
    facts: Mapping[str, str]  # the facts as JSON
    rules: Mapping[str, Rule]
    records: Mapping[tuple[str, int], Mapping[str, Any]]  # newest evidence by rule and level
    note: str = ""  # how old the data is, when it is not of the day
    people: Mapping[str, Person] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    day: Day | None = None  # beside the deals of a digest


def message_of(planned: Planned, material: Material, *, settings: Settings) -> Message:
    """The message for a plan."""
    cards = tuple(_card(item, planned, material, settings=settings) for item in planned.items)
    footer = _footer(planned.items, material, settings=settings)
    bands = settings.scoring.bands
    if planned.kind == "alert":
        said = planned.items[0].lead
        rule = material.rules[said.standing.rule]
        reader = reader_of(planned)
        word = word_of(said, reader, material.past, settings)
        name = clean(cards[0].name, NAME_LENGTH) or clean(cards[0].deal_id, NAME_LENGTH)
        title = title_of(said, reader, name, cards[0].action or rule.action or rule.title, word)
        return Message(kind="alert", title=title, cards=cards, bands=bands, footer=footer)
    message = digest_of(
        planned,
        cards,
        _lines(planned, material, settings),
        material.day,
        _titles(material),
        settings=settings,
    )
    return message.model_copy(update={"bands": bands, "footer": footer})


def operations_message(
    fault: Incident, as_of: datetime, *, note: str = "", is_again: bool = False, settings: Settings
) -> Message:
    """What the people who run dealwatch are told when a morning's data is not fit to alert on.

    `is_again`: it was fit when the morning was worked out before, and its alerts are on their way.
    """
    return Message(
        kind="operations",
        title=f"Check the CRM extract: no {'more ' if is_again else ''}deal alerts go out this morning",
        intro=f"{fault.sentence} {fault.remedy} Deal alerts wait until the data is whole and fresh.",
        footer=f"Morning of {local_time(as_of, settings)}. "
        f"{note or 'Deals were scored on the data there is'}.",
    )


def record_line(record: Mapping[str, Any] | None) -> str:
    """A rule's track record in one line, or that it has none worth the name."""
    if record is None:
        return "unproven: this rule's record is not measured yet"
    alerted, lost, base = record["alerted"], record["lost"], record["base_rate"]
    period = f"last {record['months']} months"
    if not alerted or base is None:
        return f"unproven: no such deal of the {period} can be judged"
    text = f"{period}: {lost} of {alerted} such deals lost ({lost / alerted:.0%}); similar deals {base:.0%}"
    return text if record["proven"] else f"unproven: {text}"


def _card(item: Item, planned: Planned, material: Material, *, settings: Settings) -> DealCard:
    """One deal. A shared place reads nothing about its owner: no name, and no reason that judges them."""
    lead = item.lead.standing
    rule = material.rules[lead.rule]
    row = material.deals[lead.deal_id]
    facts = {**row, **json.loads(material.facts.get(lead.deal_id, "{}"))}
    reader, past = reader_of(planned), material.past
    before = past.befores.get(reader, {}).get(lead.deal_id)
    reasons = json.loads(row["reasons"])
    is_about_owner = planned.route.is_shared and any(one["group"] == "owner" for one in reasons)
    own_action = row["action"] if rule.uses_score and not is_about_owner else ""
    record = material.records.get((rule.name, rule.at(lead.level).level))
    said, headline = _told(item, material, facts)
    return DealCard(
        deal_id=lead.deal_id,
        fingerprint=lead.fingerprint if planned.kind == "alert" else "",
        name=row["name"] or row["account"] or lead.deal_id,
        account=row["account"],
        amount=row["amount"],
        currency=row["currency"] or settings.currency,
        stage=row["stage"] or "no stage",
        close_date=row["close_date"],
        owner=_owner(lead, planned, material),
        score=row["score"],
        was_score=before.score if before else None,
        was_on=before.on if before else None,
        is_new_model=before is not None and before.model_version != row["model_version"],
        band=row["band"],
        news=sentence_of(item.lead, rule, reader, past, settings),
        headline=headline,
        changes=in_words(
            why_now(before.points, json.loads(row["points"])),
            _titles(material),
            has_owner=not planned.route.is_shared,
        )
        if before
        else (),
        reasons=tuple(
            _reason(one, said) for one in reasons if not (planned.route.is_shared and one["group"] == "owner")
        ),
        record=record_line(record),
        is_unproven=record is None or not record["proven"],
        action=own_action or rule.action,
        action_evidence="effect not yet measured" if own_action or rule.action else "",
        path=tuple(PathPoint(on=on, score=score) for on, score in past.paths.get(lead.deal_id, ()))
        if planned.kind == "alert"
        else (),
        url=deal_url(lead.deal_id, settings),
    )


def _told(item: Item, material: Material, facts: Mapping[str, Any]) -> tuple[set[str], str]:
    """The fact groups that the rules' sentences speak of, and as many whole sentences as a line takes.

    What only tells the score is left out beside others: the line begins with it.
    """
    told = [(material.rules[one.standing.rule], one.standing.level) for one in item.said]
    by_rule = [(rule.about, rule.at(level).say) for rule, level in told]
    rest = [one for one in by_rule if not one[1].names or set(one[1].names) - _IN_RISK]
    spoken = rest or by_rule
    sentences = [saying.about(facts) for _, saying in spoken]
    for count in range(len(sentences), 0, -1):
        left = len(sentences) - count
        more = [f"And {left} more {'rule' if left == 1 else 'rules'}."] if left else []
        line = " ".join([*sentences[:count], *more])
        if len(line) <= LINE_LENGTH:
            break
    return {about for about, _ in spoken[:count]}, line


def _owner(lead: Standing, planned: Planned, material: Material) -> str | None:
    """Whose deal it is, for a person who is not the owner; a shared place reads no names."""
    if planned.route.is_shared or planned.route.recipient not in material.people:
        return None
    owner = material.people.get(lead.owner_id)
    return owner.name if owner and lead.owner_id != planned.route.recipient else None


def _lines(planned: Planned, material: Material, settings: Settings) -> list[ItemLine]:
    """The same deals as lines of a list, and after them those that are only counted."""
    reader = reader_of(planned)
    return [
        ItemLine(
            owner_id=item.lead.standing.owner_id,
            word=word_of(item.lead, reader, material.past, settings),
            rule=material.rules[item.lead.standing.rule].title,
            at_risk=item.lead.standing.at_risk,
            currency=material.deals[item.lead.standing.deal_id]["currency"] or settings.currency,
        )
        for item in planned.counted
    ]


def _titles(material: Material) -> dict[str, str]:
    return {name: rule.title for name, rule in material.rules.items()}


def _reason(reason: Mapping[str, Any], said: Container[str]) -> str:
    """A reason with its points; what a rule's sentence says already is only named."""
    group = reason["group"]
    return f"{label_of(group) if group in said else reason['sentence'].rstrip('.')} ({reason['points']:+d})"


def _footer(items: Sequence[Item], material: Material, *, settings: Settings) -> str:
    row = material.deals[items[0].lead.standing.deal_id]
    how = f"model {row['model_version']}" if row["method"] != "rules" else "rules alone, no usable model"
    spoke = sorted({one.standing.rule for item in items for one in item.said})
    told = f"{'rule' if len(spoke) == 1 else 'rules'} {', '.join(spoke)}"
    parts = (f"Data as of {local_time(material.as_of, settings)}", material.note, how, told)
    return " · ".join(part for part in parts if part)


def local_time(moment: datetime, settings: Settings) -> str:
    """`Mon 2 Mar 2026, 06:00 Europe/Berlin`."""
    local = moment.astimezone(settings.zone)
    return f"{weekday(local.date())} {local:%Y, %H:%M} {settings.time_zone}"
