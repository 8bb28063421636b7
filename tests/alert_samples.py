"""Scored mornings for tests of alerts, written straight into the warehouse: only what matters is named."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from sqlalchemy import Engine

from dealwatch.moments import morning_of
from dealwatch.settings import Settings
from dealwatch.tables import (
    alert_signals,
    deal_changes,
    deal_features,
    deal_scores,
    deal_snapshots,
    extract_runs,
    owners,
    rule_evidence,
    scored_mornings,
)
from dealwatch.warehouse import add_missing, as_json, put, replace, writing

MONDAY = "2026-03-02"
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


def at(day: str) -> datetime:
    return morning_of(date.fromisoformat(day), Settings())


def rows_frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The rows as a frame, without columns that hold nothing."""
    made = pl.DataFrame(list(rows), infer_schema_length=None)
    return made.select(name for name, type_ in made.schema.items() if type_ != pl.Null)


@dataclass(frozen=True)
class Deal:
    """An open deal on a morning, and the levels at which rules hold for it."""

    deal_id: str
    held: dict[str, int] = field(default_factory=dict)
    owner_id: str = "ann"
    amount: float = 1000.0
    score: int = 60
    p_loss: float | None = 0.5
    name: str | None = None
    stage: str = "Proposal"
    scope: str = ""
    close_date: date | None = None
    next_step_on: date | None = None
    region: str | None = None
    groups: tuple[tuple[str, int], ...] = ()  # points of fact groups; the base has the rest of the score


def score_morning(engine: Engine, day: str, deals: Sequence[Deal]) -> None:
    """What scoring leaves behind for a morning."""
    moment = at(day)
    snapshots, features, scores, signals = [], [], [], []
    for deal in deals:
        key = {"as_of": moment, "deal_id": deal.deal_id}
        snapshots.append(
            {
                **key,
                "name": deal.name or f"Deal {deal.deal_id}",
                "account": "Acme",
                "stage": deal.stage,
                "amount": deal.amount,
                "currency": "EUR",
                "owner_id": deal.owner_id or None,
                "close_date": deal.close_date,
                "next_step_on": deal.next_step_on,
                "region": deal.region,
                "created_at": LONG_AGO,
                "stage_entered_at": LONG_AGO,
            }
        )
        facts = {"stage": deal.stage, "age_days": 90.0, "days_in_stage": 40.0, "stage_p80_days": 20.0}
        facts["stage_p95_days"] = 30.0
        features.append({**key, "facts": as_json(facts)})
        scores.append(
            {
                **key,
                "score": deal.score,
                "band": "Critical" if deal.score > 75 else "High",
                "p_loss": deal.p_loss,
                "method": "hybrid" if deal.p_loss is not None else "rules",
                "model_version": "m1" if deal.p_loss is not None else None,
                "points": as_json(_points(deal)),
                "reasons": as_json([{"group": "stage", "sentence": "40 days in its stage", "points": 15}]),
                "action": "Call the buyer.",
            }
        )
        for rule, level in deal.held.items():
            signals.append(
                {
                    "as_of": moment,
                    "rule": rule,
                    "deal_id": deal.deal_id,
                    "level": level,
                    "scope": deal.scope if rule == "stage_stall" else "",
                    "owner_id": deal.owner_id,
                    "amount": deal.amount,
                    "score": deal.score,
                }
            )
    with writing(engine) as connection:
        for table, rows in (
            (deal_snapshots, snapshots),
            (deal_features, features),
            (deal_scores, scores),
            (alert_signals, signals),
            (scored_mornings, [{"as_of": moment, "deals": len(deals), "is_folded": False}]),
        ):
            replace(connection, table, table.c.as_of == moment, rows_frame(rows))


def _points(deal: Deal) -> list[dict[str, Any]]:
    base = deal.score - sum(points for _, points in deal.groups)
    parts = [("base", "base", base), *((name, "group", points) for name, points in deal.groups)]
    return [{"name": name, "kind": kind, "points": points} for name, kind, points in parts]


def know(engine: Engine, table: Any, *rows: dict[str, Any]) -> None:
    with writing(engine) as connection:
        put(connection, table, rows_frame(rows))


def hire(engine: Engine, owner_id: str, **changes: Any) -> None:
    person = {
        "owner_id": owner_id,
        "source": "crm",
        "name": owner_id.title(),
        "email": f"{owner_id}@example.com",
        "manager_id": None,
        "time_zone": None,
        "slack_user_id": None,
        "is_active": True,
    }
    know(engine, owners, {**person, **changes})


def prove(
    engine: Engine,
    *rules: str,
    levels: tuple[int, ...] = (1, 2, 3),
    proven: bool = True,
    lift_low: float = 1.2,
) -> None:
    """A record for each rule and level, from long before."""
    rows = [
        {
            "rule": rule,
            "level": level,
            "segment": "",
            "measured_as_of": LONG_AGO,
            "alerted": 142,
            "lost": 88,
            "base_rate": 0.41,
            "lift": 1.51,
            "lift_low": lift_low if proven else 0.9,
            "lift_high": 1.9,
            "proven": proven,
            "months": 12,
        }
        for rule in rules
        for level in levels
    ]
    know(engine, rule_evidence, *rows)


def extract(engine: Engine, day: str, source: str = "crm") -> None:
    """The CRM was read just before a day's morning."""
    know(
        engine,
        extract_runs,
        {
            "extract_id": f"{source} {day}",
            "source": source,
            "drop_name": day,
            "extracted_at": at(day),
            "state": "remembered",
            "records": 1,
            "quarantined": 0,
            "changes": 1,
            "recorded_at": at(day),
        },
    )


def close(
    engine: Engine, deal_id: str, day: str, *, field_name: str = "outcome", value: str = "lost"
) -> None:
    """The ledger hears that a deal ended (or came back) just before a day's morning."""
    row = {
        "change_id": f"{deal_id} {field_name} {day}",
        "deal_id": deal_id,
        "field": field_name,
        "old_value": None,
        "new_value": value,
        "happened_at": at(day),
        "known_at": at(day),
        "seq": 0,
        "recorded_at": at(day),
        "source": "crm",
    }
    with writing(engine) as connection:
        add_missing(connection, deal_changes, rows_frame([row]))
