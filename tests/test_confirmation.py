"""A rule about the score waits for a second morning; what waits is held, and says why."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from alert_samples import MONDAY, Deal, at, extract, hire, prove, score_morning
from dealwatch.alerts.rules.rule import load_rule
from dealwatch.alerts.speaking.queue import speak
from dealwatch.errors import SettingsError
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alerts, deliveries
from dealwatch.warehouse import reading, rows_of

RULE = """title = "Likely lost"
say = "Scores {score:.0f}."
why = "So it is."
action = "Call the buyer."
send_to = ["owner"]
cooldown_days = 3
when = "score > 60"
"""
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (f"2026-03-{day:02d}" for day in (3, 4, 5, 6))
HIGH, LOW = Deal("1", {"likely_lost": 1}), Deal("1")
KEPT = Deal("1", {"likely_lost": 0})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "likely_lost.toml").write_text(RULE, encoding="utf-8")
    return Settings(
        home=tmp_path / "home", sources={"crm": {"path": tmp_path}}, alerts={"rules": tmp_path / "rules"}
    )


@pytest.fixture
def world(engine: Engine) -> Engine:
    hire(engine, "ann")
    prove(engine, "likely_lost")
    extract(engine, "2026-03-31")
    return engine


def told(engine: Engine, settings: Settings, mornings: dict[str, Deal]) -> list[tuple[str, str, str]]:
    """Each morning lived in order; what happened to the alert, and the messages, by day."""
    for day, deal in mornings.items():
        score_morning(engine, day, [deal])
        speak(engine, settings=settings, as_of=at(day), now=at(day))
    return happened(engine)


def happened(engine: Engine) -> list[tuple[str, str, str]]:
    with reading(engine) as connection:
        events = rows_of(connection, select(alert_events).order_by(alert_events.c.at, alert_events.c.kind))
        messages = rows_of(connection, select(deliveries).order_by(deliveries.c.as_of))
    return sorted(
        [(f"{row.at:%m-%d}", row.kind, row.reason) for row in events]
        + [(f"{row.as_of:%m-%d}", "message", row.reason) for row in messages]
    )


def test_it_opens_on_the_second_scored_morning_in_a_row(world: Engine, settings: Settings) -> None:
    assert told(world, settings, {MONDAY: HIGH, WEDNESDAY: HIGH}) == [
        ("03-02", "held", "unconfirmed"),
        ("03-04", "message", ""),
        ("03-04", "opened", "level 1"),
    ]
    with reading(world) as connection:
        assert connection.execute(select(alerts.c.opened_at)).scalars().all() == [at(WEDNESDAY)]


def test_one_morning_alone_opens_nothing(world: Engine, settings: Settings) -> None:
    waited = told(
        world, settings, {MONDAY: HIGH, TUESDAY: LOW, WEDNESDAY: HIGH, THURSDAY: KEPT, FRIDAY: HIGH}
    )
    assert waited == [(day, "held", "unconfirmed") for day in ("03-02", "03-04", "03-06")]


def test_once_open_it_stays_while_it_holds_at_all(world: Engine, settings: Settings) -> None:
    waited = told(
        world, settings, {MONDAY: HIGH, TUESDAY: HIGH, WEDNESDAY: KEPT, THURSDAY: HIGH, FRIDAY: LOW}
    )
    assert [event for event in waited if event[1] != "held"] == [
        ("03-03", "message", ""),
        ("03-03", "opened", "level 1"),
        ("03-06", "resolved", "cleared"),
    ]


def test_to_reopen_takes_two_mornings_as_well(world: Engine, settings: Settings) -> None:
    days = {MONDAY: HIGH, TUESDAY: HIGH, WEDNESDAY: LOW, THURSDAY: HIGH, FRIDAY: HIGH}
    assert [event for event in told(world, settings, days) if event[0] >= "03-05"] == [
        ("03-05", "held", "unconfirmed"),
        ("03-06", "message", ""),
        ("03-06", "reopened", "level 1"),
    ]


def test_what_a_live_morning_held_as_unconfirmed_stays_so(world: Engine, settings: Settings) -> None:
    """A backfill finds that the alert was open by then; what was not said then was not said."""
    told(world, settings, {MONDAY: HIGH})
    score_morning(world, "2026-02-27", [HIGH])
    speak(world, settings=settings, as_of=at("2026-02-27"), now=at(MONDAY))
    assert happened(world) == [
        ("02-27", "held", "unconfirmed"),
        ("03-02", "held", "unconfirmed"),
        ("03-02", "opened", "level 1"),
    ]


def test_a_live_silence_outlives_a_backfill_that_changes_nothing(world: Engine, settings: Settings) -> None:
    told(world, settings, {MONDAY: HIGH})
    score_morning(world, "2026-02-27", [LOW])
    speak(world, settings=settings, as_of=at("2026-02-27"), now=at(MONDAY))
    assert happened(world) == [("03-02", "held", "unconfirmed")]


@pytest.mark.parametrize(
    ("line", "mornings"), [("", 2), ("confirm_mornings = 1", 1), ("confirm_mornings = 10", 10)]
)
def test_a_rule_says_how_many_mornings(tmp_path: Path, line: str, mornings: int) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RULE + line, encoding="utf-8")
    assert load_rule(path).confirm_mornings == mornings
    path.write_text(RULE.replace("score", "age_days"), encoding="utf-8")
    assert load_rule(path).confirm_mornings == 1


@pytest.mark.parametrize("value", ["0", "11", "true", '"2"'])
def test_another_number_is_refused_with_line_and_remedy(tmp_path: Path, value: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f"{RULE}confirm_mornings = {value}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"r\.toml:8: confirm_mornings: write (1 to 10|a whole number)"):
        load_rule(path)
