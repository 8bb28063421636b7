"""A message that was answered before it left does not leave, and says why."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from alert_samples import MONDAY, Deal, at, extract, hire, prove, score_morning
from dealwatch.alerts.episodes.answers import Answer, record
from dealwatch.alerts.speaking.queue import speak
from dealwatch.delivery.claims import settle
from dealwatch.delivery.outbox import deliver
from dealwatch.settings import Settings
from dealwatch.tables import alerts, deliveries
from dealwatch.warehouse import reading, rows_of, writing

STALL = {"stage_stall": 1}
TUESDAY, SECOND_MONDAY = "2026-03-03", "2026-03-09"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The shipped rule of stalls, told to the manager too."""
    rules = tmp_path / "rules"
    rules.mkdir()
    text = (Settings().alerts.rules / "stage_stall.toml").read_text(encoding="utf-8")
    told_to = text.replace('send_to = ["owner"]', 'send_to = ["owner", "manager"]')
    (rules / "stage_stall.toml").write_text(told_to, encoding="utf-8")
    shutil.copy(Settings().alerts.rules / "close_date_passed.toml", rules)
    return Settings(
        home=tmp_path / "home", sources={"crm": {"path": tmp_path}}, alerts={"rules": rules, "digest_top": 5}
    )


@pytest.fixture
def world(engine: Engine) -> Engine:
    hire(engine, "ann", manager_id="max")
    hire(engine, "max")
    prove(engine, "stage_stall", "close_date_passed")
    extract(engine, "2026-03-31")
    return engine


def live(engine: Engine, settings: Settings, day: str, *deals: Deal) -> None:
    score_morning(engine, day, deals)
    speak(engine, settings=settings, as_of=at(day), now=at(day) + MINUTE)


def answer(
    engine: Engine, settings: Settings, when: Any, kind: str = "acknowledged", deal_id: str = "1", **said: Any
) -> None:
    with writing(engine) as connection:
        (fingerprint,) = connection.execute(
            select(alerts.c.fingerprint).where(alerts.c.deal_id == deal_id, alerts.c.rule == "stage_stall")
        ).scalars()
        record(connection, Answer(fingerprint, kind, "ann", "slack", when, **said), settings=settings)


def left(engine: Engine, day: str, now: Any) -> list[tuple[str, str, str]]:
    """The morning's messages once the queue was gone through: recipient, state and reason."""
    settle(engine, now)
    query = select(deliveries).where(deliveries.c.as_of == at(day))
    with reading(engine) as connection:
        return sorted((row.recipient, row.state, row.reason) for row in rows_of(connection, query))


@pytest.mark.parametrize(
    ("kind", "said", "reason"),
    [("useful", {}, "acknowledged"), ("snoozed", {"choice": "3", "reason": "3 days"}, "snoozed")],
)
def test_an_answer_spares_the_owner_the_news_but_nobody_else(
    world: Engine, settings: Settings, kind: str, said: dict[str, str], reason: str
) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, at(MONDAY) + HOUR, kind, **said)
    assert left(world, MONDAY, at(MONDAY) + 2 * HOUR) == [("ann", "cancelled", reason), ("max", "queued", "")]


def test_an_answer_spares_everyone_the_reminder(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    live(world, settings, SECOND_MONDAY, Deal("1", STALL))
    answer(world, settings, at(SECOND_MONDAY) + HOUR)
    assert left(world, SECOND_MONDAY, at(SECOND_MONDAY) + 2 * HOUR) == [
        ("ann", "cancelled", "acknowledged"),
        ("max", "cancelled", "acknowledged"),
    ]


def test_what_got_worse_after_the_answer_leaves(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, at(MONDAY) + HOUR)
    live(world, settings, TUESDAY, Deal("1", {"stage_stall": 2}))
    assert left(world, TUESDAY, at(TUESDAY) + HOUR) == [("ann", "queued", ""), ("max", "queued", "")]


def test_an_answer_to_come_or_over_spares_nothing(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, at(MONDAY) + 3 * HOUR, "snoozed", choice="1", reason="tomorrow")
    assert ("ann", "queued", "") in left(world, MONDAY, at(MONDAY) + 2 * HOUR)
    assert ("ann", "queued", "") in left(world, MONDAY, at(TUESDAY))
    assert ("ann", "cancelled", "snoozed") in left(world, MONDAY, at(TUESDAY) - MINUTE)


def test_a_digest_leaves_while_one_of_its_alerts_is_unanswered(world: Engine, settings: Settings) -> None:
    prove(world, "stage_stall", proven=False)
    live(world, settings, MONDAY, Deal("1", STALL), Deal("2", STALL))
    answer(world, settings, at(MONDAY) + HOUR)
    assert ("ann", "queued", "") in left(world, MONDAY, at(MONDAY) + 2 * HOUR)
    answer(world, settings, at(MONDAY) + 2 * HOUR, deal_id="2")
    assert ("ann", "cancelled", "acknowledged") in left(world, MONDAY, at(MONDAY) + 3 * HOUR)


def test_a_message_about_one_alert_does_not_leave_for_its_riders(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", {"stage_stall": 2, "close_date_passed": 1}))
    answer(world, settings, at(MONDAY) + HOUR)
    assert ("ann", "cancelled", "acknowledged") in left(world, MONDAY, at(MONDAY) + 2 * HOUR)


def test_between_two_deliveries_no_sender_takes_it_either(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, at(MONDAY) + HOUR)
    told = [
        deliver(world, settings=settings, now=lambda n=n: at(MONDAY) + n * HOUR, dry=True) for n in (0, 2)
    ]
    assert [one["would_send"] for one in told] == [2, 1]


def test_what_was_spared_is_told_when_the_quiet_is_over(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, at(MONDAY) + HOUR)
    settle(world, at(MONDAY) + 2 * HOUR)
    live(world, settings, SECOND_MONDAY, Deal("1", STALL))
    assert ("ann", "queued", "") in left(world, SECOND_MONDAY, at(SECOND_MONDAY) + HOUR)
