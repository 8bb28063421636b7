"""Each message says what moved the score since its reader last read of the deal, and the points sum."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from alert_samples import Deal, at, extract, hire, prove, score_morning
from dealwatch.alerts.speaking.news import first_clause
from dealwatch.alerts.speaking.queue import speak
from dealwatch.alerts.speaking.why_now import Change, in_words, why_now
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import reading, rows_of

STALL = {"stage_stall": 1}
MON, TUE, NEXT_MON, NEXT_TUE = "2026-03-02", "2026-03-03", "2026-03-09", "2026-03-10"

PARTS = st.lists(
    st.builds(
        lambda name, kind, points: {"name": name, "kind": kind, "points": points},
        st.sampled_from(["stage", "activity", "age", "owner", "stage_stall", "amount"]),
        st.sampled_from(["group", "rule"]),
        st.integers(-40, 60),
    ),
    max_size=12,
)


def total(parts: list[dict[str, Any]]) -> int:
    return sum(part["points"] for part in parts)


@given(before=PARTS, now=PARTS)
@effort(max_examples=300)
def test_the_changes_sum_to_the_change_of_the_score(
    before: list[dict[str, Any]], now: list[dict[str, Any]]
) -> None:
    changes = why_now(before, now)
    assert sum(change.points for change in changes) == total(now) - total(before)
    assert all(change.points for change in changes)
    for has_owner in (True, False):
        told = in_words(changes, {"stage_stall": "Stalled in its stage"}, has_owner=has_owner)
        shown = [int(re.search(r"[+-]\d+$", line)[0]) for line in told]  # type: ignore[index]
        assert len(told) <= 4
        assert sum(shown) == total(now) - total(before)
        assert has_owner or not any(line.startswith("Ownership ") for line in told)


def test_the_three_largest_changes_are_named_and_the_rest_is_one_sum() -> None:
    changes = (
        Change("stage", "group", 9),
        Change("stage_stall", "rule", 8),
        Change("activity", "group", -3),
        Change("age", "group", 1),
        Change("amount", "group", -2),
    )
    assert in_words(changes, {"stage_stall": "Stalled in its stage"}) == (
        "Stage timing +9",
        "rule Stalled in its stage +8",
        "Activity -3",
        "everything else -1",
    )
    assert in_words((), {}) == ()


def test_a_title_has_the_first_clause_of_a_suggestion() -> None:
    assert first_clause("Agree a dated next step with the buyer, or move the deal out.") == (
        "agree a dated next step with the buyer"
    )
    assert first_clause("ROI first.") == "ROI first"
    assert first_clause("Call, then write.") == "call, then write"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home", sources={"crm": {"path": tmp_path}}, alerts={"manager_digest": False}
    )


@pytest.fixture
def world(engine: Engine) -> Engine:
    for owner_id in ("ann", "bob"):
        hire(engine, owner_id)
    prove(engine, "stage_stall")
    extract(engine, "2026-03-31")
    return engine


def live(engine: Engine, settings: Settings, day: str, *deals: Deal) -> dict[str, Any]:
    """Score a day and alert on it, that day; the card of the one message."""
    score_morning(engine, day, deals)
    speak(engine, settings=settings, as_of=at(day), now=at(day) + timedelta(minutes=1))
    return card_of(engine, day)


def card_of(engine: Engine, day: str) -> dict[str, Any]:
    with reading(engine) as connection:
        rows = rows_of(connection, select(deliveries).where(deliveries.c.as_of == at(day)))
    return rows[0].message["cards"][0] | {"title": rows[0].message["title"]} if rows else {}


def test_a_first_message_compares_with_a_week_ago(world: Engine, settings: Settings) -> None:
    live(world, settings, MON, Deal("1", score=50, groups=(("stage", 10),)))
    card = live(world, settings, NEXT_MON, Deal("1", STALL, score=62, groups=(("stage", 25),)))
    assert (card["was_score"], card["was_on"]) == (50, MON)
    assert card["changes"] == ["Stage timing +15", "The model's base -3"]
    assert card["news"] == ""
    assert card["path"] == [{"on": MON, "score": 50}, {"on": NEXT_MON, "score": 62}]


def test_without_an_earlier_score_there_are_only_reasons(world: Engine, settings: Settings) -> None:
    card = live(world, settings, MON, Deal("1", STALL, score=62))
    assert (card["was_score"], card["changes"], card["path"]) == (
        None,
        [],
        [{"on": MON, "score": 62}],
    )
    assert card["reasons"] == ["Stage timing (+15)"]  # the headline has the days


def test_a_later_message_compares_with_what_the_last_one_told(world: Engine, settings: Settings) -> None:
    live(world, settings, MON, Deal("1", STALL, score=50, groups=(("stage", 10),)))
    live(world, settings, NEXT_MON, Deal("1", score=99))  # not told of
    # What is scored anew later does not change what the reader has read.
    score_morning(world, MON, [Deal("1", STALL, score=11)])
    card = live(world, settings, NEXT_TUE, Deal("1", {"stage_stall": 2}, score=70, groups=(("stage", 21),)))
    assert (card["was_score"], card["was_on"]) == (50, MON)
    assert card["changes"] == ["Stage timing +11", "The model's base +9"]


def test_what_got_worse_is_said_first(world: Engine, settings: Settings) -> None:
    live(world, settings, MON, Deal("1", STALL, amount=1000.0))
    card = live(world, settings, TUE, Deal("1", {"stage_stall": 2}, amount=1400.0))
    assert card["news"] == "More urgent: amount +40%, from slow to stuck"
    assert card["title"] == "Deal 1 is more urgent: agree a dated next step with the buyer"


def test_a_reminder_says_that_it_is_one_and_whether_it_is_the_last(world: Engine, settings: Settings) -> None:
    days = [MON, NEXT_MON, "2026-03-16"]
    news = [live(world, settings, day, Deal("1", STALL))["news"] for day in days]
    assert news == ["", "First reminder", "Second reminder, the last one"]
    assert card_of(world, days[2])["title"].startswith("Reminder, Deal 1: ")


def test_who_takes_a_deal_over_is_told_so(world: Engine, settings: Settings) -> None:
    live(world, settings, MON, Deal("1", STALL, owner_id="ann"))
    card = live(world, settings, TUE, Deal("1", STALL, owner_id="bob"))
    assert card["news"] == "Handed over to you"
    assert card["title"].startswith("Now yours, Deal 1: ")


def test_a_backfill_changes_nothing_in_the_next_live_message(world: Engine, settings: Settings) -> None:
    """A live morning looks back on live ones: filling in the days between does not show."""
    days = [(at(MON) + timedelta(days=n)).date().isoformat() for n in range(8)]
    for day in days[:-1]:  # scored and folded, days later, so never live
        score_morning(world, day, [Deal("1", score=40)])
        speak(world, settings=settings, as_of=at(day), now=at(NEXT_MON) + timedelta(minutes=1))
    card = live(world, settings, days[-1], Deal("1", STALL, score=60))
    assert (card["was_score"], card["path"]) == (None, [{"on": NEXT_MON, "score": 60}])
