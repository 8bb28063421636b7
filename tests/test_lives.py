"""The life of an alert between opening and end: answers, handovers, confirmation and the holdout."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from alert_samples import MONDAY, Deal, at, close, extract, hire, prove, score_morning
from dealwatch.alerts.episodes.answers import Answer, record
from dealwatch.alerts.episodes.holdout import is_drawn
from dealwatch.alerts.speaking.queue import speak
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alert_events, alerts, deal_snapshots, deliveries, tellings
from dealwatch.warehouse import reading, rows_of, writing

STALL = {"stage_stall": 1}
TUESDAY, WEDNESDAY, THURSDAY = "2026-03-03", "2026-03-04", "2026-03-05"
SECOND_MONDAY, SECOND_TUESDAY = "2026-03-09", "2026-03-10"
NOON = timedelta(hours=6)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", sources={"crm": {"path": tmp_path}})


@pytest.fixture
def world(engine: Engine) -> Engine:
    hire(engine, "ann", manager_id="max")
    hire(engine, "bob", manager_id="max")
    hire(engine, "max")
    prove(engine, "stage_stall", "lifecycle_breach", "critical_risk", "close_date_passed")
    extract(engine, "2026-03-31")
    return engine


def live(engine: Engine, settings: Settings, day: str, *deals: Deal) -> None:
    score_morning(engine, day, deals)
    speak(engine, settings=settings, as_of=at(day), now=at(day) + timedelta(minutes=1))


def answer(
    engine: Engine, settings: Settings, kind: str, when: datetime, deal_id: str = "1", **said: Any
) -> None:
    newest = select(alerts.c.fingerprint).where(alerts.c.deal_id == deal_id, alerts.c.resolved_at.is_(None))
    with writing(engine) as connection:
        for fingerprint in connection.execute(newest).scalars().all():
            given = Answer(fingerprint, kind, "ann", "shell", when, **said)
            record(connection, given, settings=settings)


def said(engine: Engine) -> list[tuple[str, str, str]]:
    """What was queued or would have been for an owner: day, recipient, and as what."""
    query = (
        select(tellings.c.as_of, deliveries.c.recipient, tellings.c.kind)
        .join(deliveries, deliveries.c.delivery_id == tellings.c.delivery_id)
        .where(deliveries.c.kind != "manager_digest")
        .order_by(tellings.c.as_of, deliveries.c.recipient)
    )
    with reading(engine) as connection:
        return [(f"{row.as_of:%m-%d}", row.recipient, row.kind) for row in rows_of(connection, query)]


def held(engine: Engine) -> list[tuple[str, str]]:
    query = select(alert_events).where(alert_events.c.kind == "held").order_by(alert_events.c.at)
    with reading(engine) as connection:
        return [(f"{row.at:%m-%d}", row.reason) for row in rows_of(connection, query)]


def events(engine: Engine) -> list[tuple[str, str, str]]:
    is_life = alert_events.c.kind != "held"
    query = select(alert_events).where(is_life).order_by(alert_events.c.at, alert_events.c.kind)
    with reading(engine) as connection:
        return [(f"{row.at:%m-%d}", row.kind, row.reason) for row in rows_of(connection, query)]


def states(engine: Engine) -> list[tuple[str, str | None]]:
    query = select(alerts.c.state, alerts.c.owner_id).order_by(alerts.c.deal_id, alerts.c.opened_at)
    with reading(engine) as connection:
        return [(row.state, row.owner_id) for row in rows_of(connection, query)]


def test_an_acknowledged_alert_is_quiet_for_a_week_and_then_reminds(
    world: Engine, settings: Settings
) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, "acknowledged", at(TUESDAY) + NOON)
    for day in (WEDNESDAY, SECOND_MONDAY):
        live(world, settings, day, Deal("1", STALL))
        assert states(world) == [("acknowledged", "ann")]
    assert held(world) == [("03-04", "acknowledged"), ("03-09", "acknowledged")]
    live(world, settings, SECOND_TUESDAY, Deal("1", STALL))
    assert said(world) == [("03-02", "ann", "new"), ("03-10", "ann", "reminder")]
    assert states(world) == [("open", "ann")]
    assert events(world) == [("03-02", "opened", "level 1"), ("03-03", "acknowledged", "by ann")]


def test_a_snooze_ends_on_the_morning_it_names(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", {"critical_risk": 1}))
    answer(world, settings, "snoozed", at(MONDAY) + NOON, choice="7", reason="on holiday")
    for day in (THURSDAY, SECOND_MONDAY):
        live(world, settings, day, Deal("1", {"critical_risk": 1}))
    assert held(world) == [("03-05", "snoozed")]
    assert said(world) == [("03-02", "ann", "new"), ("03-09", "ann", "reminder")]


@pytest.mark.parametrize("kind", ["snoozed", "false_alarm"])
def test_an_answer_to_a_message_is_one_to_all_it_tells(world: Engine, settings: Settings, kind: str) -> None:
    deal = Deal("1", {"critical_risk": 1, "stage_stall": 1}, next_step_on=date(2026, 3, 27))
    live(world, settings, MONDAY, deal)
    lead = select(deliveries).where(deliveries.c.kind == "alert", deliveries.c.recipient == "ann")
    with writing(world) as connection:
        (told,) = rows_of(connection, lead)
        of_snooze = {"choice": "next_step", "reason": "on holiday"} if kind == "snoozed" else {}
        given = Answer(told.fingerprint, kind, "ann", "slack", at(MONDAY) + NOON, **of_snooze)
        for _ in range(2):
            record(connection, replace(given, delivery_id=told.delivery_id), settings=settings)
        kinds = dict(rows_of(connection, select(alert_actions.c.rule, alert_actions.c.kind)))  # type: ignore[arg-type]
    assert kinds == {"critical_risk": kind, "stage_stall": "snoozed" if of_snooze else "acknowledged"}
    quiet = "snoozed" if of_snooze else "acknowledged"
    assert states(world) == [(quiet, "ann"), (quiet, "ann")]
    live(world, settings, "2026-03-06", deal)
    live(world, settings, SECOND_MONDAY if of_snooze else "2026-03-06", deal)
    assert {day for day, _, _ in said(world)} == {"03-02"}


@pytest.mark.parametrize("kind", ["acknowledged", "snoozed"])
@pytest.mark.parametrize(
    "worse",
    [
        Deal("1", {"stage_stall": 2}),
        Deal("1", STALL, amount=1250.0),
        Deal("1", STALL, close_date=date(2026, 3, 17)),
    ],
    ids=["level", "amount", "close date"],
)
def test_what_gets_worse_ends_the_quiet_for_good_and_is_told_once(
    world: Engine, settings: Settings, kind: str, worse: Deal
) -> None:
    said_of = {"choice": "7", "reason": "r"} if kind == "snoozed" else {}
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, kind, at(MONDAY) + NOON, **said_of)
    live(world, settings, TUESDAY, worse)
    assert said(world) == [("03-02", "ann", "new"), ("03-03", "ann", "escalated")]
    assert states(world) == [("open", "ann")]
    live(world, settings, WEDNESDAY, worse)
    assert held(world) == [("03-04", "cooldown")]


def test_what_was_worse_when_it_was_answered_is_known(world: Engine, settings: Settings) -> None:
    """The level rose on a Saturday; whoever answers on Sunday has it before them."""
    live(world, settings, "2026-03-06", Deal("1", STALL))
    live(world, settings, "2026-03-07", Deal("1", {"stage_stall": 2}))
    answer(world, settings, "acknowledged", at("2026-03-08"))
    live(world, settings, SECOND_MONDAY, Deal("1", {"stage_stall": 2}))
    assert said(world) == [("03-06", "ann", "new")]
    assert held(world) == [("03-07", "not_business_day"), ("03-09", "acknowledged")]


def test_a_snooze_until_the_close_date_moves_ends_when_it_does(world: Engine, settings: Settings) -> None:
    before, later = (Deal("1", STALL, close_date=date(2026, 6, day)) for day in (1, 2))
    live(world, settings, MONDAY, before)
    answer(world, settings, "snoozed", at(MONDAY) + NOON, choice="close_date", reason="in legal")
    live(world, settings, "2026-03-16", before)
    live(world, settings, "2026-03-17", later)
    assert held(world) == [("03-16", "snoozed")]
    assert said(world) == [("03-02", "ann", "new"), ("03-17", "ann", "reminder")]
    live(world, settings, "2026-03-24", before)
    assert said(world)[-1] == ("03-24", "ann", "reminder")


def test_a_snooze_until_the_close_date_moves_ends_after_sixty_days(world: Engine, settings: Settings) -> None:
    deal = Deal("1", STALL, close_date=date(2026, 9, 1))
    live(world, settings, MONDAY, deal)
    answer(world, settings, "snoozed", at(MONDAY) + NOON, choice="close_date", reason="in legal")
    extract(world, "2026-04-30")
    extract(world, "2026-05-01")
    for day in ("2026-04-30", "2026-05-01"):
        live(world, settings, day, deal)
    assert held(world) == [("04-30", "snoozed")]
    assert said(world)[-1] == ("05-01", "ann", "reminder")


def test_a_snooze_until_the_next_step_ends_on_its_day(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", {"critical_risk": 1}))
    with writing(world) as connection:
        connection.execute(update(deal_snapshots).values(next_step_on=date(2026, 3, 6)))
    answer(world, settings, "snoozed", at(MONDAY) + NOON, choice="next_step", reason="meeting")
    for day in (THURSDAY, "2026-03-06"):
        live(world, settings, day, Deal("1", {"critical_risk": 1}))
    assert held(world) == [("03-05", "snoozed")]
    assert said(world)[-1] == ("03-06", "ann", "reminder")


def test_a_new_owner_is_told_anew_and_not_bound(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, "acknowledged", at(MONDAY) + NOON)
    live(world, settings, TUESDAY, Deal("1", STALL, owner_id="bob"))
    assert said(world) == [("03-02", "ann", "new"), ("03-03", "bob", "new")]
    assert states(world) == [("open", "bob")]
    assert ("03-03", "handed_over", "from ann to bob") in events(world)
    live(world, settings, WEDNESDAY, Deal("1", STALL, owner_id="bob"))
    assert held(world) == [("03-04", "cooldown")]


def test_an_owner_who_gets_the_deal_back_is_as_they_left_it(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, "acknowledged", at(MONDAY) + NOON)
    live(world, settings, TUESDAY, Deal("1", STALL, owner_id=""))
    live(world, settings, WEDNESDAY, Deal("1", STALL))
    assert held(world)[-1] == ("03-04", "acknowledged")
    assert states(world) == [("acknowledged", "ann")]
    live(world, settings, SECOND_TUESDAY, Deal("1", STALL))
    assert said(world)[-1] == ("03-10", "ann", "reminder")
    handed = [event for event in events(world) if event[1] == "handed_over"]
    assert handed == [
        ("03-03", "handed_over", "from ann to nobody"),
        ("03-04", "handed_over", "from nobody to ann"),
    ]


def test_an_answer_does_not_carry_to_the_next_episode(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL, close_date=date(2026, 9, 1)))
    answer(world, settings, "snoozed", at(MONDAY) + NOON, choice="close_date", reason="r")
    live(world, settings, TUESDAY, Deal("1"))
    live(world, settings, "2026-03-20", Deal("1", STALL, close_date=date(2026, 9, 1)))
    assert said(world) == [("03-02", "ann", "new"), ("03-20", "ann", "new")]
    assert states(world) == [("resolved", "ann"), ("open", "ann")]


def test_it_does_when_the_same_episode_reopens(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL, close_date=date(2026, 9, 1)))
    answer(world, settings, "snoozed", at(MONDAY) + NOON, choice="close_date", reason="r")
    live(world, settings, TUESDAY, Deal("1"))
    assert states(world) == [("resolved", "ann")]
    live(world, settings, "2026-03-17", Deal("1", STALL, close_date=date(2026, 9, 1)))
    assert held(world) == [("03-17", "snoozed")]
    assert states(world) == [("snoozed", "ann")]


def test_a_changed_setting_leaves_what_is_settled(world: Engine, settings: Settings) -> None:
    held = ["2026-03-02", "2026-03-04"]
    for day in (MONDAY, TUESDAY, WEDNESDAY, THURSDAY):
        live(world, settings, day, Deal("1", STALL if day in held else {}))
    with reading(world) as connection:
        (before,) = rows_of(connection, select(alerts))
    strict = Settings(home=settings.home, sources={"crm": {"path": settings.home}}, alerts={"reopen_days": 0})
    live(world, strict, "2026-03-30", Deal("1", STALL))
    with reading(world) as connection:
        after = rows_of(connection, select(alerts).order_by(alerts.c.opened_at))
    assert (after[0], [row.opened_at for row in after]) == (before, [at(MONDAY), at("2026-03-30")])


def test_a_snoozed_alert_ends_with_its_deal(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", STALL))
    answer(world, settings, "snoozed", at(MONDAY) + NOON, choice="7", reason="r")
    live(world, settings, TUESDAY, Deal("1", STALL))
    close(world, "1", WEDNESDAY, value="won")
    live(world, settings, WEDNESDAY)
    assert states(world) == [("resolved", "ann")]
    assert events(world)[-1] == ("03-04", "resolved", "won")


def test_a_past_morning_knows_only_the_answers_given_by_then(world: Engine, settings: Settings) -> None:
    live(world, settings, MONDAY, Deal("1", {"critical_risk": 1}))
    answer(world, settings, "acknowledged", at("2026-03-06"))
    past = [TUESDAY, WEDNESDAY, THURSDAY, "2026-03-06"]
    for day in past:
        score_morning(world, day, [Deal("1", {"critical_risk": 1})])
        speak(world, settings=settings, as_of=at(day), now=at("2026-03-20"))
    assert held(world) == [
        ("03-03", "cooldown"),
        ("03-04", "cooldown"),
        ("03-05", "past_day"),
        ("03-06", "acknowledged"),
    ]


def test_a_held_out_deal_is_silent_and_known_to_be(world: Engine, settings: Settings) -> None:
    half = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"holdout_share": 0.5})})
    deal_ids = [str(number) for number in range(1, 9)]
    out = {deal_id for deal_id in deal_ids if is_drawn(deal_id, 0.5, settings)}
    assert 0 < len(out) < 8
    deals = [Deal(one, {"stage_stall": 2, "critical_risk": 1}, amount=float(one)) for one in deal_ids]
    live(world, half, MONDAY, *deals)
    with reading(world) as connection:
        rows = rows_of(connection, select(alerts.c.deal_id, alerts.c.rule, alerts.c.is_held_out))
        assert {row.deal_id for row in rows if row.is_held_out} == out
        assert len([row for row in rows if row.is_held_out]) == 2 * len(out)
        cards = [
            card["deal_id"]
            for row in rows_of(connection, select(deliveries.c.message, deliveries.c.kind))
            if row.kind != "manager_digest"
            for card in row.message["cards"]
        ]
    assert sorted(cards) == sorted(set(deal_ids) - out)
    assert [reason for _, reason in held(world)].count("holdout") == 2 * len(out)


def test_a_changed_share_leaves_open_episodes_as_they_were_drawn(world: Engine, settings: Settings) -> None:
    def shared(share: float) -> Settings:
        return settings.model_copy(
            update={"alerts": settings.alerts.model_copy(update={"holdout_share": share})}
        )

    live(world, shared(0.0), MONDAY, Deal("1", STALL))
    live(world, shared(0.99), TUESDAY, Deal("1", STALL), Deal("2", STALL))
    assert assigned(world) == {"1": False, "2": True}
    live(world, shared(0.0), WEDNESDAY, Deal("1", STALL), Deal("2", STALL), Deal("3", STALL))
    assert assigned(world) == {"1": False, "2": True, "3": False}
    score_morning(world, "2026-02-27", [Deal("2", STALL)])
    speak(world, settings=shared(0.0), as_of=at("2026-02-27"), now=at(WEDNESDAY))
    assert assigned(world) == {"1": False, "2": True, "3": False}


def assigned(engine: Engine) -> dict[str, bool]:
    with reading(engine) as connection:
        return {
            row.deal_id: row.is_held_out
            for row in rows_of(connection, select(alerts.c.deal_id, alerts.c.is_held_out))
        }


def test_the_draw_is_the_share_of_the_deals(settings: Settings) -> None:
    drawn = sum(is_drawn(f"deal {number}", 0.1, settings) for number in range(10_000))
    assert 900 < drawn < 1100
    assert not any(is_drawn(f"deal {number}", 0.0, settings) for number in range(100))
