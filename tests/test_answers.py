"""What answering an alert does: what is kept, what it promises, and what is refused."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from alert_samples import MONDAY, Deal, at, extract, hire, know, prove, score_morning
from dealwatch.alerts.episodes.answers import Answer, Recorded, record, standing_of
from dealwatch.alerts.speaking.queue import speak
from dealwatch.errors import DecisionRefused, NotFound
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alert_events, alerts, deal_snapshots, deals
from dealwatch.warehouse import reading, writing

NOON = timedelta(hours=6)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", sources={"crm": {"path": tmp_path}})


@pytest.fixture
def told(engine: Engine, settings: Settings) -> Engine:
    """Ann was told of a stall on Monday; the deal closes on 20 May, its next step is on the 6th."""
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
        (fingerprint,) = set(connection.execute(select(alerts.c.fingerprint)).scalars())
        given = {"fingerprint": fingerprint, "by": "ann", "via": "shell", "at": at(MONDAY) + NOON, **changes}
        return record(connection, Answer(kind=kind, **given), settings=settings)


def everything(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def the_alert(engine: Engine) -> tuple[str, Any]:
    (alert,) = everything(engine, alerts)
    return alert["state"], alert["quiet_until"]


def test_got_it_is_a_week_of_quiet(told: Engine, settings: Settings) -> None:
    made = answer(told, settings, "acknowledged")
    assert made == Recorded(True, "Got it. Quiet until 9 Mar 2026 unless it gets worse.")
    (row,) = everything(told, alert_actions)
    assert (row["kind"], row["by"], row["until"]) == ("acknowledged", "ann", at("2026-03-09"))
    assert the_alert(told) == ("acknowledged", at("2026-03-09"))
    events = [(e["at"], e["reason"]) for e in everything(told, alert_events) if e["kind"] == "acknowledged"]
    assert events == [(at(MONDAY) + NOON, "by ann")]


@pytest.mark.parametrize(
    ("choice", "last", "sentence"),
    [
        ("1", "2026-03-03", "Snoozed. Quiet until 3 Mar 2026 unless it gets worse."),
        ("3", "2026-03-05", "Snoozed. Quiet until 5 Mar 2026 unless it gets worse."),
        ("7", "2026-03-09", "Snoozed. Quiet until 9 Mar 2026 unless it gets worse."),
        ("next_step", "2026-03-06", "Snoozed. Quiet until 6 Mar 2026 unless it gets worse."),
        (
            "close_date",
            "2026-05-01",
            "Snoozed. Quiet until the close date moves, 1 May 2026 at the latest, unless it gets worse.",
        ),
    ],
)
def test_a_snooze_says_when_it_ends(
    told: Engine, settings: Settings, choice: str, last: str, sentence: str
) -> None:
    assert answer(told, settings, "snoozed", choice=choice, reason=" in legal ").sentence == sentence
    assert the_alert(told) == ("snoozed", at(last))
    assert [row["reason"] for row in everything(told, alert_actions)] == ["in legal"]
    assert f"by ann, {choice}: in legal" in [event["reason"] for event in everything(told, alert_events)]


def test_no_snooze_is_longer_than_the_settings_allow(told: Engine, settings: Settings) -> None:
    short = Settings(home=settings.home, alerts={"snooze_max_days": 2})
    made = answer(told, short, "snoozed", choice="next_step", reason="in legal")
    assert made.sentence == "Snoozed. Quiet until 4 Mar 2026 unless it gets worse."


@pytest.mark.parametrize(
    ("kind", "thanks"),
    [
        ("already_knew", "Noted that you knew already."),
        ("false_alarm", "Noted as a false alarm."),
        ("useful", "Noted as useful."),
    ],
)
def test_feedback_keeps_quiet_too_and_counts_once_a_person(
    told: Engine, settings: Settings, kind: str, thanks: str
) -> None:
    made = answer(told, settings, kind)
    assert made == Recorded(True, f"{thanks} Quiet until 9 Mar 2026 unless it gets worse.")
    assert answer(told, settings, kind, at=at("2026-03-04")) == Recorded(False, made.sentence)
    assert answer(told, settings, kind, by="max").is_new
    assert [row["by"] for row in everything(told, alert_actions)] == ["ann", "max"]
    assert the_alert(told)[0] == "acknowledged"


def test_a_second_click_changes_nothing(told: Engine, settings: Settings) -> None:
    first = answer(told, settings, "snoozed", choice="3", reason="3 days", delivery_id="x")
    before = [everything(told, table) for table in (alert_actions, alert_events, alerts)]
    again = answer(
        told,
        settings,
        "snoozed",
        choice="3",
        reason="3 days",
        delivery_id="x",
        at=at(MONDAY) + NOON + timedelta(seconds=3),
    )
    assert again == Recorded(False, first.sentence)
    assert [everything(told, table) for table in (alert_actions, alert_events, alerts)] == before


def test_the_same_answer_on_another_day_promises_more(told: Engine, settings: Settings) -> None:
    answer(told, settings, "acknowledged")
    assert answer(told, settings, "acknowledged", at=at("2026-03-03")).is_new
    assert the_alert(told) == ("acknowledged", at("2026-03-10"))


def test_a_snooze_replaces_what_held_and_nothing_else_shortens_it(told: Engine, settings: Settings) -> None:
    answer(told, settings, "acknowledged")
    answer(told, settings, "snoozed", choice="1", reason="tomorrow")
    assert the_alert(told) == ("snoozed", at("2026-03-03"))
    answer(told, settings, "snoozed", choice="close_date", reason="in legal")
    assert answer(told, settings, "useful").sentence == (
        "Noted as useful. Quiet until 1 May 2026 unless it gets worse."
    )
    assert the_alert(told) == ("snoozed", at("2026-05-01"))
    assert answer(told, settings, "snoozed", choice="1", reason="tomorrow", by="ann").is_new
    assert the_alert(told) == ("snoozed", at("2026-03-03"))


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("acknowledged", {"fingerprint": "nobody's"}, "no such alert"),
        ("ignored", {}, "'ignored' is no answer; there are acknowledged, snoozed"),
        ("snoozed", {"choice": "8", "reason": "r"}, "'8' is no way to snooze; there are 1, 3, 7"),
        ("snoozed", {"choice": "3"}, "needs a reason"),
        ("snoozed", {"choice": "3", "reason": " "}, "needs a reason"),
        ("useful", {"choice": "3"}, "only a snooze has a choice"),
        ("acknowledged", {"by": ""}, "needs a name"),
        ("snoozed", {"choice": "next_step", "reason": "r", "at": at("2026-03-06")}, "no next step to come"),
        ("snoozed", {"choice": "3", "reason": "r", "at": at("2026-03-20")}, "over since 3 Mar 2026 .cleared"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_no_row(
    told: Engine, settings: Settings, kind: str, changes: dict[str, Any], reason: str
) -> None:
    if changes.get("at") == at("2026-03-20"):
        resolve(told, settings)
    with pytest.raises(DecisionRefused, match=reason):
        answer(told, settings, kind, **changes)
    assert everything(told, alert_actions) == []


def resolve(engine: Engine, settings: Settings) -> None:
    """The stall is over on Tuesday."""
    score_morning(engine, "2026-03-03", [Deal("1")])
    speak(engine, settings=settings, as_of=at("2026-03-03"), now=at("2026-03-03"))


@pytest.mark.parametrize(
    ("choice", "reason"), [("next_step", "no next step to come"), ("close_date", "no close date")]
)
def test_a_snooze_cannot_wait_for_a_date_that_is_not_there(
    told: Engine, settings: Settings, choice: str, reason: str
) -> None:
    with writing(told) as connection:
        connection.execute(update(deal_snapshots).values(next_step_on=None, close_date=None))
    with pytest.raises(DecisionRefused, match=reason):
        answer(told, settings, "snoozed", choice=choice, reason="r")


def test_feedback_is_welcome_when_the_alert_is_over(told: Engine, settings: Settings) -> None:
    resolve(told, settings)
    made = answer(told, settings, "useful", at=at("2026-03-04"))
    assert made == Recorded(True, "Noted as useful. The alert is over, so there is nothing to keep quiet.")
    assert the_alert(told) == ("resolved", None)
    assert not answer(told, settings, "useful", at=at("2026-03-05")).is_new
    speak(told, settings=settings, as_of=at(MONDAY), now=at("2026-03-05"))
    assert the_alert(told) == ("resolved", None)


def test_feedback_counts_again_for_another_episode(told: Engine, settings: Settings) -> None:
    answer(told, settings, "useful")
    resolve(told, settings)
    score_morning(told, "2026-03-25", [Deal("1", {"stage_stall": 1})])
    speak(told, settings=settings, as_of=at("2026-03-25"), now=at("2026-03-25"))
    assert answer(told, settings, "useful", at=at("2026-03-25") + NOON).is_new


def test_the_alerts_of_a_deal_are_named(told: Engine) -> None:
    noon = at(MONDAY) + NOON
    quiet = {"deal_id": "2", "source": "crm", "created_at": at("2026-01-05"), "is_deleted": False}
    know(told, deals, quiet)
    with reading(told) as connection:
        assert [rule for _, rule in standing_of(connection, "1", None, noon)] == ["stage_stall"]
        assert standing_of(connection, "1", "stage_stall", noon) == standing_of(connection, "1", None, noon)
        with pytest.raises(DecisionRefused, match="no alert is open for the deal 2"):
            standing_of(connection, "2", None, noon)
        with pytest.raises(NotFound, match="there is no deal '3'"):
            standing_of(connection, "3", None, noon)
        with pytest.raises(DecisionRefused, match="of the rule other .*; open are: stage_stall"):
            standing_of(connection, "1", "other", noon)


def test_the_fold_finds_what_recording_left(told: Engine, settings: Settings) -> None:
    """The alert's state and event are written at once; the next fold comes to the same."""
    answer(told, settings, "acknowledged")
    answer(told, settings, "snoozed", choice="7", reason="in legal", at=at(MONDAY) + 2 * NOON)
    before = [sorted(map(repr, everything(told, table))) for table in (alert_events, alerts)]
    speak(told, settings=settings, as_of=at(MONDAY), now=at(MONDAY) + 3 * NOON)
    assert [sorted(map(repr, everything(told, table))) for table in (alert_events, alerts)] == before


def test_both_dialects_keep_the_same(either_engine: Engine, either_settings: Settings) -> None:
    hire(either_engine, "ann")
    extract(either_engine, "2026-03-31")
    score_morning(either_engine, MONDAY, [Deal("1", {"stage_stall": 1}, close_date=date(2026, 5, 20))])
    speak(either_engine, settings=either_settings, as_of=at(MONDAY), now=at(MONDAY))
    for kind, said in (("snoozed", {"choice": "close_date", "reason": "r"}), ("useful", {})):
        assert answer(either_engine, either_settings, kind, **said).is_new
        assert not answer(either_engine, either_settings, kind, **said).is_new
    assert the_alert(either_engine) == ("snoozed", at("2026-05-01"))
    score_morning(either_engine, "2026-03-03", [Deal("1", {"stage_stall": 1}, close_date=date(2026, 5, 20))])
    speak(either_engine, settings=either_settings, as_of=at("2026-03-03"), now=at("2026-03-03"))
    assert the_alert(either_engine) == ("snoozed", at("2026-05-01"))
