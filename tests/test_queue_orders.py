"""Mornings worked on in any order, repeated, interleaved or all at once end in the same tables."""

import shutil
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from alert_samples import Deal, at, close, extract, hire, prove, score_morning
from dealwatch import migrations
from dealwatch.alerts.speaking.queue import speak
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alert_mornings, alerts, deliveries, scored_mornings, tellings
from dealwatch.warehouse import connect, reading, rows_of

pytestmark = pytest.mark.slow

DAYS = ["2026-03-05", "2026-03-06", "2026-03-07", "2026-03-09", "2026-03-10", "2026-03-26"]
RULES = ("critical_risk", "stage_stall", "lifecycle_breach")
LIVE = "2026-03-09"
IN_ORDER = [(step, day) for day in DAYS for step in ("score", "alert")]
Book = dict[str, list[Deal]]
Step = tuple[str, str]  # score or alert, day


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with people, evidence and a lost deal, to copy for each example."""
    home = tmp_path_factory.mktemp("template")
    engine = connect(Settings(home=home))
    migrations.upgrade(engine)
    hire(engine, "ann")
    hire(engine, "bob", manager_id="ann", is_active=False)
    prove(engine, "critical_risk", "stage_stall")
    prove(engine, "lifecycle_breach", proven=False)
    extract(engine, "2026-03-31")
    close(engine, "1", "2026-03-10")
    engine.dispose()
    return home


@st.composite
def books(draw: st.DrawFn) -> Book:
    """What is scored each day: three deals, each with any rules at any levels."""
    book: Book = {}
    for day in DAYS:
        deals = []
        for deal_id, owner_id in (("1", "ann"), ("2", "bob"), ("3", "")):
            held = {rule: draw(st.sampled_from([None, None, 0, 1, 2])) for rule in RULES}
            amount = draw(st.sampled_from([100.0, 130.0]))
            levels = {rule: level for rule, level in held.items() if level is not None}
            deals.append(Deal(deal_id, levels, owner_id=owner_id, amount=amount))
        book[day] = deals
    return book


@st.composite
def schedules(draw: st.DrawFn) -> list[Step]:
    """Each day is scored and then alerted, some again; the days in any order, mixed with each other."""
    days = draw(st.permutations(DAYS)) + draw(st.lists(st.sampled_from(DAYS), max_size=4))
    waiting: list[str] = []
    steps: list[Step] = []
    for day in days:
        steps.append(("score", day))
        waiting.append(day)
        while waiting and draw(st.booleans()):
            steps.append(("alert", waiting.pop(draw(st.integers(0, len(waiting) - 1)))))
    return steps + [("alert", day) for day in draw(st.permutations(waiting))]


def tables_after(
    template: Path,
    book: Book,
    steps: Sequence[Step],
    now: str,
    *,
    lived: Book | None = None,
    lived_at: str = LIVE,
) -> dict[str, list[Any]]:
    """The tables after the steps, by the book; another may have been lived before, up to its LIVE morning."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(template, home)
        settings = Settings(
            home=home, sources={"crm": {"path": home}}, alerts={"daily_budget": 1, "digest_top": 1}
        )
        engine = connect(settings)
        if lived is not None:
            before = [
                step for day in DAYS[: DAYS.index(LIVE) + 1] for step in (("score", day), ("alert", day))
            ]
            work(engine, settings, lived, before, lived_at)
        work(engine, settings, book, steps, now)
        rows = contents(engine)
        engine.dispose()
    return rows


def work(engine: Engine, settings: Settings, book: Book, steps: Sequence[Step], now: str) -> None:
    for step, day in steps:
        if step == "score":
            score_morning(engine, day, book[day])
        else:
            speak(engine, settings=settings, as_of=at(day), now=at(now) + timedelta(hours=1))


def contents(engine: Engine) -> dict[str, list[Any]]:
    with reading(engine) as connection:
        return {
            table.name: sorted(
                repr(tuple(_without_past(row._asdict()).values()))
                for row in rows_of(connection, select(table))
            )
            for table in (alerts, alert_events, alert_mornings, deliveries, scored_mornings, tellings)
        }


def _without_past(row: dict[str, Any]) -> dict[str, Any]:
    """A live message is written once: what it tells of earlier days is what was scored by then."""
    if row.get("message") and row["state"] == "queued":
        cards = [{**card, "path": []} for card in row["message"]["cards"]]
        return {**row, "message": {**row["message"], "cards": cards, "sections": []}}
    return row


@pytest.mark.parametrize("now", [DAYS[-1], "2026-04-10"], ids=["the last is live", "all are past"])
@effort(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(book=books(), steps=schedules())
def test_any_order_of_days_ends_in_the_same_tables(
    template: Path, now: str, book: Book, steps: list[Step]
) -> None:
    expected = tables_after(template, book, IN_ORDER, now)
    assert tables_after(template, book, steps, now) == expected
    assert any(expected.values())


@effort(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lived=books(), book=books(), steps=schedules())
def test_so_it_does_when_the_book_changes_around_a_live_morning(
    template: Path, lived: Book, book: Book, steps: list[Step]
) -> None:
    expected = tables_after(template, book, IN_ORDER, "2026-04-10", lived=lived)
    assert tables_after(template, book, steps, "2026-04-10", lived=lived) == expected
    at_once = [*[("score", day) for day in DAYS[::-1]], ("alert", DAYS[-1])]
    assert tables_after(template, book, at_once, "2026-04-10", lived=lived) == expected


def test_a_live_mornings_silence_and_message_follow_a_renamed_alert(template: Path) -> None:
    """The rule holds no more on the first day, so what the live morning said and held is of a later alert."""
    both = [Deal("1", {"stage_stall": 1}, amount=500.0), Deal("2", {"stage_stall": 1})]
    lived: Book = {day: both if day >= "2026-03-06" else [] for day in DAYS}
    book: Book = {day: both if day >= "2026-03-07" else [] for day in DAYS}
    first, last = ("2026-03-06", DAYS[-1])
    scored = [("score", first), ("score", LIVE), ("score", last)]
    expected = tables_after(template, book, [*scored, ("alert", first)], "2026-04-10", lived=lived)
    for order in ([last, first], [LIVE, last, first], [last]):
        steps = [*scored, *[("alert", day) for day in order]]
        assert tables_after(template, book, steps, "2026-04-10", lived=lived) == expected
    known = {row.split("'")[1] for row in expected["alerts"]}
    then = repr(at(LIVE))
    (silence,) = [row for row in expected["alert_events"] if "'held', 'budget'" in row and then in row]
    (message,) = [row for row in expected["deliveries"] if "'alert'" in row and "'queued'" in row]
    assert silence.split("'")[1] in known and message.split("'")[3] in known


@pytest.mark.parametrize("lived_at", [LIVE, "2026-04-10"], ids=["one was live", "all were past"])
def test_mornings_scored_anew_and_alerted_once_are_as_if_day_by_day(template: Path, lived_at: str) -> None:
    """A rule changed: all is scored again, and one alert of the last morning takes it in."""
    old: Book = {day: [Deal("1", {"stage_stall": 1}), Deal("2")] for day in DAYS}
    new: Book = {day: [Deal("1"), Deal("2", {"stage_stall": 1})] for day in DAYS}
    rescored = [("score", day) for day in DAYS]
    once = [*rescored, ("alert", DAYS[-1])]
    daily = [*rescored, *[("alert", day) for day in DAYS]]
    expected = tables_after(template, new, daily, "2026-04-10", lived=old, lived_at=lived_at)
    assert tables_after(template, new, once, "2026-04-10", lived=old, lived_at=lived_at) == expected
    assert all("'2'" in row for row in expected["alerts"])


def test_scored_at_once_and_alerted_once_is_the_same_too(template: Path) -> None:
    book: Book = {
        day: [Deal("1", {"stage_stall": 1 + n % 2}), Deal("2", {"critical_risk": n % 2}, owner_id="bob")]
        for n, day in enumerate(DAYS)
    }
    at_once = [*[("score", day) for day in DAYS], ("alert", DAYS[-1])]
    expected = tables_after(template, book, IN_ORDER, "2026-04-10")
    assert tables_after(template, book, at_once, "2026-04-10") == expected
    assert len(expected["deliveries"]) > 3 and len(expected["alerts"]) == 2
