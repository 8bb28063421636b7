"""A message in Slack shows what became of its alert, and what is said anew joins its thread."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from alert_samples import MONDAY, Deal, at, close, extract, hire, prove, score_morning
from dealwatch.alerts.episodes.answers import Answer, record
from dealwatch.alerts.speaking.queue import Notify, speak
from dealwatch.delivery.outbox import deliver
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import writing
from outbox_rows import connected
from standins.slack import Slack

TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"
STALLED = Deal("1", {"stage_stall": 1}, name="Northwind")


@pytest.fixture
def slack(slack: Slack) -> Slack:
    slack.members["ann@example.com"] = "U0ANN"
    return slack


@pytest.fixture
def told(settings: Settings, tmp_path: Path, slack: Slack) -> Settings:
    """Settings by which people are reached in Slack."""
    found = connected(settings, slack, channels=["slack", "email"])
    return found.model_copy(update={"sources": {"crm": Source(path=tmp_path)}})


@pytest.fixture
def world(engine: Engine) -> Engine:
    hire(engine, "ann", slack_user_id="U0ANN")
    prove(engine, "stage_stall")
    extract(engine, "2026-04-30")
    return engine


def morning(
    engine: Engine,
    settings: Settings,
    day: str,
    *deals: Deal,
    notify: Notify = "auto",
    send: bool = True,
    late: int = 0,
) -> int:
    """Score a day, alert, and deliver at nine; how many messages and changes were queued."""
    score_morning(engine, day, deals)
    now = at(day) + timedelta(minutes=1 + late)
    queued = speak(engine, settings=settings, as_of=at(day), now=now, notify=notify)["queued"]
    if send:
        deliver(engine, settings=settings, now=lambda: now + timedelta(hours=3))
    return queued


def changes(engine: Engine) -> list[Any]:
    query = select(deliveries).where(deliveries.c.kind == "update").order_by(deliveries.c.as_of)
    with engine.connect() as connection:
        return list(connection.execute(query))


def states(engine: Engine) -> list[str]:
    return [row.message["state"] for row in changes(engine)]


def posted(slack: Slack) -> list[dict[str, Any]]:
    return slack.messages["D0ANN"]


def answer(engine: Engine, settings: Settings, day: str, kind: str, **more: Any) -> None:
    with writing(engine) as connection:
        fingerprint = connection.execute(select(deliveries.c.fingerprint)).scalars().first()
        moment = at(day) + timedelta(hours=4)
        given = {"fingerprint": fingerprint, "by": "ann@example.com", "via": "slack", "at": moment, **more}
        record(connection, Answer(kind=kind, **given), settings=settings)


def test_a_deal_that_was_won_is_shown_on_its_message_once(
    world: Engine, told: Settings, slack: Slack
) -> None:
    assert morning(world, told, MONDAY, STALLED) == 1
    close(world, "1", TUESDAY, value="won")
    assert morning(world, told, TUESDAY) == 1
    first, note = posted(slack)
    assert first["edits"] == 1 and note["text"] == "Resolved 3 Mar 2026: won"
    assert note["thread_ts"] == first["ts"]
    for day in (TUESDAY, WEDNESDAY, THURSDAY):
        assert morning(world, told, day) == 0
    assert first["edits"] == 1 and len(posted(slack)) == 2 and states(world) == ["Resolved 3 Mar 2026: won"]


def test_what_got_worse_is_shown_on_the_message_and_told_in_its_thread_for_all_to_see(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    assert morning(world, told, TUESDAY, Deal("1", {"stage_stall": 2}, name="Northwind")) == 2
    first, second = posted(slack)
    assert states(world) == ["More urgent since 3 Mar 2026: up to level 2"] and first["edits"] == 1
    assert second["thread_ts"] == first["ts"] and second["is_broadcast"]
    assert changes(world)[0].follows is None, "the message that tells of it is note enough"


def test_an_answer_is_shown_with_the_name_of_who_gave_it(world: Engine, told: Settings, slack: Slack) -> None:
    morning(world, told, MONDAY, STALLED)
    answer(world, told, MONDAY, "acknowledged")
    assert morning(world, told, TUESDAY, STALLED) == 1
    assert states(world) == ["Acknowledged by Ann, quiet until 9 Mar 2026 unless it gets worse"]
    answer(world, told, TUESDAY, "snoozed", choice="3", reason="the buyer is away", by="eve")
    morning(world, told, WEDNESDAY, STALLED)
    assert states(world)[1:] == ["Snoozed by eve until 6 Mar 2026 unless it gets worse"]
    assert morning(world, told, THURSDAY, STALLED) == 0
    assert len(posted(slack)) == 1 and posted(slack)[0]["edits"] == 2


def test_an_alert_that_returns_is_open_again_and_its_next_end_is_noted_again(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    morning(world, told, TUESDAY)
    morning(world, told, WEDNESDAY, STALLED)
    morning(world, told, THURSDAY)
    assert states(world) == [
        "Resolved 3 Mar 2026: what it was about is over",
        "Open again since 4 Mar 2026",
        "Resolved 5 Mar 2026: what it was about is over",
    ]
    assert [m["text"] for m in posted(slack) if m.get("thread_ts")] == states(world)[::2]


def test_a_change_that_did_not_go_out_gives_way_to_the_next(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    morning(world, told, TUESDAY, send=False)
    morning(world, told, WEDNESDAY, STALLED)
    assert [(row.state, row.reason) for row in changes(world)] == [
        ("cancelled", "no_longer_wanted"),
        ("sent", ""),
    ]
    assert posted(slack)[0]["edits"] == 1


def test_a_resolution_that_a_backfill_moves_leaves_no_second_note(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    morning(world, told, WEDNESDAY)
    score_morning(world, TUESDAY, [])
    now = at(WEDNESDAY) + timedelta(hours=5)
    assert speak(world, settings=told, as_of=at(TUESDAY), now=now)["queued"] == 0, (
        "a backfill changes nothing"
    )
    morning(world, told, THURSDAY)
    assert states(world) == [
        "Resolved 4 Mar 2026: what it was about is over",
        "Resolved 3 Mar 2026: what it was about is over",
    ]
    assert len(posted(slack)) == 2 and posted(slack)[0]["edits"] == 2


@pytest.mark.parametrize("state", ["cancelled", "not_sent", "dead", "queued", "uncertain"])
def test_what_was_not_sent_is_not_changed(world: Engine, told: Settings, slack: Slack, state: str) -> None:
    morning(world, told, MONDAY, STALLED, send=False)
    with writing(world) as connection:
        connection.execute(update(deliveries).values(state=state))
    assert morning(world, told, TUESDAY, send=False) == 0 and posted(slack) == []


def test_a_dry_morning_and_one_whose_data_is_stale_change_nothing(
    world: Engine, told: Settings, slack: Slack, tmp_path: Path
) -> None:
    morning(world, told, MONDAY, STALLED)
    assert morning(world, told, TUESDAY, notify="dry") == 0
    stale = told.model_copy(update={"sources": {"other": Source(path=tmp_path)}})
    morning(world, stale, WEDNESDAY)
    assert changes(world) == []
    assert morning(world, told, THURSDAY) == 1, "it is shown when the data is fit to tell of again"


def test_a_message_of_a_month_ago_is_left_alone(world: Engine, told: Settings, slack: Slack) -> None:
    morning(world, told, MONDAY, STALLED)
    assert morning(world, told, "2026-04-02") == 0 and changes(world) == []


def test_messages_by_e_mail_and_digests_are_left_alone(world: Engine, told: Settings, slack: Slack) -> None:
    prove(world, "stage_stall", proven=False)
    morning(world, told, MONDAY, STALLED)
    assert [m["text"].startswith("Look at this deal") for m in posted(slack)] == [True]
    assert morning(world, told, TUESDAY) == 0 and changes(world) == []


def test_an_alert_that_opens_anew_after_weeks_starts_a_message_of_its_own(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    morning(world, told, TUESDAY)
    assert morning(world, told, "2026-03-24", STALLED) == 1
    assert posted(slack)[-1].get("thread_ts") is None


def shown(message: dict[str, Any]) -> str:
    return str([message["blocks"], message["attachments"]])


def test_a_message_whose_alert_is_over_asks_for_nothing_any_more(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    first = posted(slack)[0]
    asked = shown(first)
    assert "Do next" in asked and "false_alarm" in asked
    morning(world, told, WEDNESDAY)
    assert "Do next" not in shown(first) and "false_alarm" not in shown(first)
    score_morning(world, TUESDAY, [])
    morning(world, told, THURSDAY)
    assert first["edits"] == 2 and "Resolved 3 Mar 2026" in shown(first)
    assert "false_alarm" not in shown(first), "a second word on the end brings no buttons back"


def test_an_end_that_moves_twice_leaves_one_note(world: Engine, told: Settings, slack: Slack) -> None:
    morning(world, told, MONDAY, STALLED)
    morning(world, told, THURSDAY)
    for missed, next_day in ((WEDNESDAY, FRIDAY), (TUESDAY, "2026-03-09")):
        score_morning(world, missed, [])
        morning(world, told, next_day)
    assert [text[:15] for text in states(world)] == ["Resolved 5 Mar ", "Resolved 4 Mar ", "Resolved 3 Mar "]
    assert len(posted(slack)) == 2


def test_an_end_that_the_data_takes_back_is_taken_back_on_the_message(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    morning(world, told, TUESDAY)
    first = posted(slack)[0]
    morning(world, told, TUESDAY, STALLED, late=10)
    assert "Resolved" not in shown(first) and "false_alarm" in shown(first)
    assert states(world)[-1] == "Open after all: the data that ended it was corrected"
    assert morning(world, told, WEDNESDAY, STALLED) == 0, "that is said once"
    morning(world, told, THURSDAY)
    assert "Resolved 5 Mar 2026" in shown(first) and len(posted(slack)) == 3


def test_an_end_that_is_taken_back_and_told_again_the_same_morning_is_shown(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    for late, deals in enumerate([(), (STALLED,), ()]):
        morning(world, told, TUESDAY, *deals, late=10 * late)
    assert "Resolved 3 Mar 2026" in shown(posted(slack)[0])


def test_the_note_of_an_end_that_did_not_go_out_goes_with_the_next_word_on_it(
    world: Engine, told: Settings, slack: Slack
) -> None:
    morning(world, told, MONDAY, STALLED)
    morning(world, told, WEDNESDAY, send=False)
    score_morning(world, TUESDAY, [])
    morning(world, told, THURSDAY)
    assert [m["text"] for m in posted(slack)[1:]] == ["Resolved 3 Mar 2026: what it was about is over"]
