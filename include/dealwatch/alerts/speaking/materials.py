"""What a morning's decisions and messages are made of, read from the warehouse in bulk."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, and_, or_, select

from dealwatch.alerts.episodes.cooldowns import Standing, Telling, Tenure
from dealwatch.alerts.episodes.keeping import DEALS, LIVE_STATES, Folded, Line
from dealwatch.alerts.rules.rule import Rule
from dealwatch.alerts.speaking.choices import choices_at
from dealwatch.alerts.speaking.decisions import Choice, Spoken, reach
from dealwatch.delivery.routes import Person, read_people
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import (
    alert_signals,
    deal_features,
    deal_scores,
    deal_snapshots,
    deliveries,
    rule_evidence,
    tellings,
)
from dealwatch.warehouse import as_json, frame, rows_of

VIRTUAL = ("past_day", "dry_run")  # receipts of what would have been said, had the morning been live


@dataclass(frozen=True)
class Known:
    """What does not change from morning to morning."""

    rules: Mapping[str, Rule]
    people: Mapping[str, Person]
    evidence: Sequence[Mapping[str, Any]]  # in order of measured_as_of
    settings: Settings
    tenures: Mapping[tuple[str, str], tuple[Tenure, ...]] = field(default_factory=dict)  # by alert and owner
    mornings: Sequence[datetime] = ()  # all scored ones, in order
    lived: Sequence[datetime] = ()  # those that were live, in order


def _by_fingerprint() -> dict[str, dict[datetime, Telling]]:
    return defaultdict(dict)


def _by_listener() -> dict[tuple[str, str], dict[str, dict[datetime, Telling]]]:
    return defaultdict(_by_fingerprint)


@dataclass
class Memory:
    """What was said, by fingerprint and morning: one telling a morning, however many heard it.

    `all` and `live` are what owners and those beside them were told; what is heard is the same, and the
    summaries of shared channels and managers, by line and recipient.
    """

    all: dict[str, dict[datetime, Telling]] = field(default_factory=_by_fingerprint)
    live: dict[str, dict[datetime, Telling]] = field(default_factory=_by_fingerprint)
    all_heard: dict[tuple[str, str], dict[str, dict[datetime, Telling]]] = field(default_factory=_by_listener)
    live_heard: dict[tuple[str, str], dict[str, dict[datetime, Telling]]] = field(
        default_factory=_by_listener
    )

    def of(
        self, *, is_live: bool
    ) -> tuple[dict[str, dict[datetime, Telling]], dict[tuple[str, str], dict[str, dict[datetime, Telling]]]]:
        """What was said to whom, in truth or had all mornings been live; and the same by listener."""
        return (self.live, self.live_heard) if is_live else (self.all, self.all_heard)

    def add(self, telling: Telling, *, is_live: bool, kind: str, recipient: str) -> None:
        """Remember a telling by a message of a kind."""
        line = kind if kind in ("manager_digest", "channel_digest") else "alert"
        for told, heard in [self.of(is_live=True), self.of(is_live=False)][0 if is_live else 1 :]:
            heard[line, recipient][telling.fingerprint].setdefault(telling.as_of, telling)
            if line == "alert":
                told[telling.fingerprint].setdefault(telling.as_of, telling)


def read_known(connection: Connection, rules: Sequence[Rule], settings: Settings) -> Known:
    evidence = frame(connection, select(rule_evidence).where(rule_evidence.c.segment == "")).sort(
        "measured_as_of", "rule", "level"
    )
    return Known({rule.name: rule for rule in rules}, read_people(connection), evidence.to_dicts(), settings)


def records_by(
    evidence: Sequence[Mapping[str, Any]], morning: datetime, rules: Mapping[str, Rule]
) -> dict[tuple[str, int], Mapping[str, Any]]:
    """The newest record of each rule and level that a morning could know; evidence in order of its moment.

    What a rule was before it was changed is no record of what it is.
    """
    return {
        (row["rule"], row["level"]): row
        for row in evidence
        if row["measured_as_of"] <= morning and _is_record_of(rules.get(row["rule"]), row)
    }


def _is_record_of(rule: Rule | None, row: Mapping[str, Any]) -> bool:
    return rule is None or row["condition"] in (None, rule.condition_of(row["level"]))


def read_memory(connection: Connection, folded: Folded, line: Line = DEALS) -> Memory:
    """What was said of the alerts of a line since the oldest of those that stand opened."""
    memory = Memory()
    if folded.standing.is_empty():
        return memory
    since = folded.standing["opened_at"].min()
    is_receipt = and_(deliveries.c.state == "not_sent", deliveries.c.reason.in_(VIRTUAL))
    is_seen = or_(deliveries.c.state.in_(LIVE_STATES), is_receipt)
    rows = frame(
        connection,
        select(tellings, deliveries.c.state, deliveries.c.recipient, deliveries.c.kind.label("message_kind"))
        .join(deliveries, deliveries.c.delivery_id == tellings.c.delivery_id)
        .where(tellings.c.as_of >= since, is_seen, line.holds(tellings.c.fingerprint)),
    )
    for row in rows.sort("as_of", "fingerprint", "delivery_id").iter_rows(named=True):
        is_live = row.pop("state") in LIVE_STATES
        row.pop("delivery_id")
        kind, recipient = row.pop("message_kind"), row.pop("recipient")
        memory.add(Telling(**row), is_live=is_live, kind=kind, recipient=recipient)
    return memory


def spoken_on(connection: Connection, morning: datetime) -> dict[tuple[str, str, str], Spoken]:
    """What recipients get this live morning already: from an earlier run of it, or waiting from before.

    A second run has only the rest to give, and so has a morning after one whose messages never left: both
    mornings' messages arrive together.
    """
    c = deliveries.c
    is_waiting = and_(c.as_of < morning, c.state == "queued", c.kind == "alert", c.expires_at > morning)
    said = select(c.recipient, c.channel, c.address, c.kind).where(or_(c.as_of == morning, is_waiting))
    kinds: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in rows_of(connection, said):
        kinds[reach(row.recipient, row.channel, row.address)].append(row.kind)
    return {who: Spoken(what.count("alert"), "digest" in what) for who, what in kinds.items()}


def choices_on(connection: Connection, morning: datetime, settings: Settings) -> dict[str, Choice]:
    """How each person wants to be told on a morning."""
    return choices_at(connection, morning, settings=settings)


def deals_on(connection: Connection, morning: datetime) -> dict[str, dict[str, Any]]:
    """Snapshot and score of the deals that a rule holds for on a morning, side by side."""
    snapshot, scored = deal_snapshots.c, deal_scores.c
    query = (
        select(
            snapshot.deal_id,
            snapshot.name,
            snapshot.account,
            snapshot.stage,
            snapshot.amount,
            snapshot.currency,
            snapshot.close_date,
            snapshot.next_step_on,
            snapshot.industry,
            snapshot.region,
            snapshot.product_type,
            snapshot.lead_source,
            scored.score,
            scored.band,
            scored.p_loss,
            scored.method,
            scored.model_version,
            scored.points,
            scored.reasons,
            scored.action,
        )
        .join(deal_scores, and_(scored.deal_id == snapshot.deal_id, scored.as_of == snapshot.as_of))
        .where(snapshot.as_of == morning, snapshot.deal_id.in_(_flagged_on(morning)))
    )
    return {row["deal_id"]: row for row in frame(connection, query).iter_rows(named=True)}


def _flagged_on(morning: datetime) -> Select[Any]:
    return select(alert_signals.c.deal_id).where(alert_signals.c.as_of == morning)


def facts_on(connection: Connection, morning: datetime) -> dict[str, str]:
    query = select(deal_features.c.deal_id, deal_features.c.facts).where(
        deal_features.c.as_of == morning, deal_features.c.deal_id.in_(_flagged_on(morning))
    )
    return dict(frame(connection, query).iter_rows())


def standing_on(
    rows: pl.DataFrame | None,
    deals: Mapping[str, Mapping[str, Any]],
    morning: datetime,
    known: Known,
) -> list[Standing]:
    """The morning's open alerts, with what is at risk: the amount times the chance of losing it."""
    if rows is None:
        return []
    found = []
    for row in rows.iter_rows(named=True):
        deal = deals.get(row["deal_id"])
        if deal is None:
            continue
        chance = row["score"] / 100 if deal["p_loss"] is None else deal["p_loss"]
        is_near = _is_near(deal["close_date"], morning, known.settings)
        found.append(
            replace(
                Standing.of(row, at_risk=row["amount"] * chance, is_close_near=is_near),
                is_held_out=row["is_held_out"],
                tenures=known.tenures.get((row["alert_id"], row["owner_id"]), ()),
                scored=as_json({"model": deal["model_version"], "points": json.loads(deal["points"])}),
            )
        )
    return found


def _is_near(close_date: date | None, morning: datetime, settings: Settings) -> bool:
    if close_date is None:
        return False
    left = (close_date - local_day(morning, settings)).days
    return 0 <= left <= settings.alerts.close_date_near_days
