"""What answering an alert does: what is kept, what it promises, and what is refused."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from alert_samples import MONDAY, Deal, at, extract, hire, prove, score_morning
from dealwatch.alerts.answers import KINDS, SNOOZES, Answer, Recorded, record, standing_of
from dealwatch.alerts.queue import speak
from dealwatch.errors import DecisionRefused
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alert_events, alerts, deal_snapshots
from dealwatch.warehouse import reading, rows_of, writing

NOON = timedelta(hours=6)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", sources={"crm": {"path": tmp_path}})


@pytest.fixture
def told(engine: Engine, settings: Settings) -> Engine:
    """Ann was told of a stall on Monday; the deal closes on 20 March, its next step is on the 6th."""
    hire(engine, "ann")
    prove(engine, "stage_stall")
    extract(engine, "2026-03-31")
    score_morning(engine, MONDAY, [Deal("1", {"stage_stall": 1}, close_date=date(2026, 5, 20))])
    with writing(engine) as connection:
        connection.execute(update(deal_snapshots).values(next_step_on=date(2026, 3, 6)))
    speak(engine, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    return engine


def answer(engine: Engine, settings: Settings, kind: str, **changes: Any) -> Recorded:
    """Ann's answer on Monday at noon, but for the changes."""
    with writing(engine) as connection:
        (fingerprint,) = connection.execute(select(alerts.c.fingerprint)).scalars().all()
        given = {"fingerprint": fingerprint, "by": "ann", "via": "shell", "at": at(MONDAY) + NOON, **changes}
        return record(connection, Answer(kind=kind, **given), settings=settings)


def everything(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def test_got_it_is_a_week_of_quiet(told: Engine, settings: Settings) -> None:
    made = answer(told, settings, "acknowledged")
    assert made == Recorded(True, "Got it. Quiet until 9 Mar 2026 unless it gets worse.")
    (row,) = everything(told, alert_actions)
    assert (row["kind"], row["by"], row["until"]) == ("acknowledged", "ann", at("2026-03-09"))
    (alert,) = everything(told, alerts)
    assert (alert["state"], alert["quiet_until"]) == ("acknowledged", at("2026-03-09"))
    assert [
        (e["at"], e["reason"]) for e in everything(told, alert_events) if e["kind"] == "acknowledged"
    ] == [(at(MONDAY) + NOON, "by ann")]


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("1", "Snoozed. Quiet until 3 Mar 2026 unless it gets worse."),
        ("3", "Snoozed. Quiet until 5 Mar 2026 unless it gets worse."),
        ("7", "Snoozed. Quiet until 9 Mar 2026 unless it gets worse."),
        ("next_step", "Snoozed. Quiet until 6 Mar 2026 unless it gets worse."),
        (
            "close_date",
            "Snoozed. Quiet until the close date moves, 1 May 2026 at the latest, unless it gets worse.",
        ),
    ],
)
def test_a_snooze_says_when_it_ends(told: Engine, settings: Settings, choice: str, sentence: str) -> None:
    assert answer(told, settings, "snoozed", choice=choice, reason="in legal").sentence == sentence
    (alert,) = everything(told, alerts)
    assert alert["state"] == "snoozed"
    assert everything(told, alert_actions)[0]["reason"] == "in legal"
    assert f"by ann, {choice}: in legal" in [e["reason"] for e in everything(told, alert_events)]
