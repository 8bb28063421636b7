"""Ninety days backfilled with everything on: nothing goes out, all has a reason, later days say the same."""

import random
import shutil
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from alert_samples import Deal, at, close, extract, hire, know, prove, score_morning
from dealwatch import migrations
from dealwatch.alerts.episodes.answers import Answer, record
from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.reasons import REASONS
from dealwatch.alerts.speaking.queue import speak
from dealwatch.settings import Settings
from dealwatch.tables import (
    alert_events,
    alert_mornings,
    alert_signals,
    alerts,
    deliveries,
    recipient_choices,
    tellings,
)
from dealwatch.warehouse import connect, reading, rows_of, writing

pytestmark = pytest.mark.slow

DAYS = [f"{date(2026, 1, 13) + timedelta(days=number)}" for number in range(90)]
NEXT = f"{date(2026, 1, 13) + timedelta(days=90)}"
ANSWERED = (DAYS[1], DAYS[84], DAYS[86])
PEOPLE = {"ann": "Europe/Berlin", "bob": "America/New_York", "eve": "Asia/Kolkata"}
_EXPECTED = {
    "acknowledged",
    "snoozed",
    "holdout",
    "unconfirmed",
    "budget",
    "unproven_rule",
    "recipient_choice",
}
WAVERING = """title = "Likely lost"
say = "Scores {score:.0f}."
why = "So it is."
action = "Call the buyer."
send_to = ["owner", "manager"]
cooldown_days = 3
when = "score > 60"
"""


@pytest.fixture
def book() -> dict[str, list[Deal]]:
    """Rules that hold for some days and then do not, of deals that grow, near their date and change hands."""
    chance = random.Random(11)
    found: dict[str, list[Deal]] = {day: [] for day in [*DAYS, NEXT]}
    for n in range(14):
        levels = {"stage_stall": 0, "critical_risk": 0, "lifecycle_breach": 0, "wavering": 0}
        owner_id, amount = chance.choice([*PEOPLE, ""]), chance.choice([300.0, 20_000.0, 90_000.0])
        for day in found:
            levels = {
                rule: level if chance.random() < 0.9 else chance.choice([0, 0, 1, 2])
                for rule, level in levels.items()
            }
            owner_id = owner_id if chance.random() < 0.98 else chance.choice([*PEOPLE, ""])
            amount *= 1.3 if chance.random() < 0.01 else 1
            held = {
                rule: min(level, 1) if rule == "critical_risk" else level for rule, level in levels.items()
            }
            found[day].append(
                Deal(
                    f"D{n}",
                    {rule: level for rule, level in held.items() if level},
                    owner_id=owner_id,
                    amount=amount,
                    score=90 if held["critical_risk"] else 65,
                    close_date=date(2026, 3, 1) + timedelta(days=5 * n),
                    region=("EMEA", "AMER", "APAC", None)[n % 4],
                )
            )
    return found


def opened(home: Path) -> tuple[Engine, Settings]:
    """A warehouse of an organisation that has switched everything on."""
    rules = home / "rules"
    shutil.copytree(Settings().alerts.rules, rules)
    (rules / "wavering.toml").write_text(WAVERING, encoding="utf-8")
    settings = Settings(
        home=home,
        slack_token="token",
        smtp={"host": "mail.example.com"},
        teams={"amer": "https://x.logic.azure.com/hook"},
        sources={"crm": {"path": home}},
        alerts={"rules": rules, "manager_digest": True, "holdout_share": 0.2, "daily_budget": 2},
        delivery={
            "channel_map": [
                {"where": {"region": "EMEA"}, "slack": "C0123ABCD"},
                {"where": {"region": "AMER"}, "teams": "amer"},
                {"where": {"region": "APAC"}, "email": "apac@example.com"},
            ],
            "leadership_amount": 50_000,
            "leadership": ["cro@example.com"],
            "operations_email": "operations@example.com",
            "revops_email": "revops@example.com",
        },
    )
    engine = connect(settings)
    migrations.upgrade(engine)
    for owner_id, zone in PEOPLE.items():
        hire(engine, owner_id, manager_id="max", time_zone=zone, slack_user_id=f"U{owner_id}")
    hire(engine, "max", time_zone="Europe/Berlin")
    prove(engine, "stage_stall", "critical_risk", "wavering")
    extract(engine, "2026-12-31")
    close(engine, "D13", DAYS[70])
    for number, (who, choice) in enumerate([("bob", "digest_only"), ("eve", "nothing")]):
        moment = at(DAYS[20 + 10 * number])
        until = date(2026, 3, 20) if choice == "nothing" else None
        row = {"choice_id": who, "at": moment, "recipient": who, "choice": choice, "until": until}
        know(engine, recipient_choices, {**row, "by": who, "via": "slack", "recorded_at": moment})
    return engine, settings


def live(engine: Engine, settings: Settings, book: dict[str, list[Deal]], day: str) -> None:
    """A day as it comes: scored and told, delivered, and some of it answered by noon on some days."""
    score_morning(engine, day, book[day])
    speak(engine, settings=settings, as_of=at(day), now=at(day) + timedelta(minutes=1))
    with writing(engine) as connection:
        is_queued = deliveries.c.state == "queued"
        gone = {"state": "sent", "sent_at": at(day) + timedelta(hours=3), "provider_ref": "C1:17.5"}
        connection.execute(update(deliveries).where(is_queued).values(gone))
    if day in ANSWERED:
        answer(engine, settings, at(day) + timedelta(hours=6))


def answer(engine: Engine, settings: Settings, moment: datetime) -> None:
    """Somebody answers some of what stands, each in another way."""
    ways = [("acknowledged", ""), ("snoozed", "7"), ("snoozed", "close_date"), ("useful", "")]
    with writing(engine) as connection:
        c = alerts.c
        query = select(c.fingerprint).where(c.resolved_at.is_(None)).order_by(c.deal_id, c.rule)
        marks = connection.execute(query).scalars().all()[::3]
        for number, mark in enumerate(marks):
            kind, choice = ways[number % len(ways)]
            given = Answer(mark, kind, "ann", "slack", moment, choice, reason="The buyer is away.")
            record(connection, given, settings=settings)


def rows(engine: Engine, query: Any) -> list[str]:
    """What is found, whole; the row's own words would cut long messages."""
    with reading(engine) as connection:
        return sorted(str(tuple(row)) for row in rows_of(connection, query))


def spoken(engine: Engine, day: str | None = None) -> list[str]:
    """Every message that went or is to go; a backfill may find that its alert is older, which renames it."""
    c = deliveries.c
    query = select(*(column for column in c if column is not c.alert_id)).where(c.state != "not_sent")
    return rows(engine, query if day is None else query.where(c.as_of == at(day)))


def receipts(engine: Engine, lived: Sequence[str]) -> list[Any]:
    """The messages of the mornings that were not lived."""
    with reading(engine) as connection:
        query = select(deliveries).where(deliveries.c.as_of.not_in([at(day) for day in lived]))
        return rows_of(connection, query)


def silent_without_reason(engine: Engine) -> set[tuple[datetime, str]]:
    with reading(engine) as connection:
        signals = rows_of(connection, select(alert_signals).where(alert_signals.c.level > 0))
        told = {(row.as_of, row.fingerprint) for row in rows_of(connection, select(tellings))}
        held = rows_of(connection, select(alert_events).where(alert_events.c.kind == "held"))
    assert len(signals) > 1000 and _EXPECTED <= {row.reason for row in held} <= set(REASONS)
    standing = {(row.as_of, digest("default", row.rule, row.deal_id, row.scope)) for row in signals}
    return standing - told - {(row.at, row.fingerprint) for row in held}


def test_ninety_days_with_everything_on_send_nothing_and_change_no_morning_to_come(
    book: dict[str, list[Deal]], tmp_path: Path
) -> None:
    """Two weeks were lived. Then one warehouse gets all ninety days, the lived again, in a shuffled order;
    another only has the days between scored, and a third knows nothing of them."""
    lived = [*DAYS[:7], *DAYS[83:]]
    (one, its), (scored, of_scored), (bare, of_bare) = (opened(tmp_path / name) for name in "abc")
    everywhere = ((one, its), (scored, of_scored), (bare, of_bare))
    for day in lived:
        for engine, settings in everywhere:
            live(engine, settings, book, day)
    before = spoken(one)
    for number, day in enumerate(random.Random(7).sample(DAYS, len(DAYS)), 1):
        score_morning(one, day, book[day])
        if number % 3 == 0:
            assert speak(one, settings=its, as_of=at(day), now=at(NEXT))["queued"] == 0
    for day in DAYS[7:83]:
        score_morning(scored, day, book[day])

    assert len(before) > 30 and spoken(one) == before
    receipt = receipts(one, lived)
    assert {(row.state, row.reason) for row in receipt} == {("not_sent", "past_day")}
    assert {row.channel for row in receipt} == {"slack", "teams", "email"}
    assert {row.kind for row in receipt} == {"alert", "digest", "manager_digest", "channel_digest"}
    assert {row.recipient for row in receipt} >= {*PEOPLE, "max", "cro@example.com", "revops"}
    assert silent_without_reason(one) == set()

    for engine, settings in everywhere:
        score_morning(engine, NEXT, book[NEXT])
        speak(engine, settings=settings, as_of=at(NEXT), now=at(NEXT) + timedelta(minutes=1))
    assert len(spoken(scored, NEXT)) > 8
    assert spoken(one) == spoken(scored)
    for table in (alerts, alert_events, alert_mornings, deliveries, tellings):
        assert rows(one, select(table)) == rows(scored, select(table))
    assert spoken(one, NEXT) == spoken(bare, NEXT)
