"""Days worked on in any order and again, mixed with people's answers, end in the same alerts and events."""

import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from alert_samples import Deal, at, close, extract, hire, prove, score_morning
from dealwatch import migrations
from dealwatch.alerts.episodes.answers import Answer, record
from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.speaking.queue import speak
from dealwatch.errors import DecisionRefused
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alert_events, alert_mornings, alerts, deliveries, tellings
from dealwatch.warehouse import connect, reading, rows_of, writing

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "5"))
DAYS = ["2026-03-05", "2026-03-06", "2026-03-07", "2026-03-09", "2026-03-10", "2026-03-12", "2026-03-26"]
LATER = "2026-04-10"
RULES = ("stage_stall", "wobbly")
WOBBLY = """title = "Likely lost"
say = "Scores {score:.0f}."
why = "So it is."
action = "Call the buyer."
send_to = ["owner"]
cooldown_days = 3
when = "score > 60"
"""


@dataclass(frozen=True)
class Said:
    """Somebody's answer about a deal's alert, some hours after a day's morning."""

    day: str
    hours: int
    deal_id: str
    rule: str
    kind: str
    choice: str = ""

    @property
    def at(self) -> datetime:
        return at(self.day) + timedelta(hours=self.hours)


@dataclass(frozen=True)
class World:
    """What is scored each day, which deals end, and what people answer."""

    book: dict[str, list[Deal]]
    endings: dict[str, str]  # deal -> day
    answers: tuple[Said, ...]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with people, evidence and rules, to copy for each example."""
    home = tmp_path_factory.mktemp("template")
    rules = home / "rules"
    rules.mkdir()
    shutil.copy(Settings().alerts.rules / "stage_stall.toml", rules)
    (rules / "wobbly.toml").write_text(WOBBLY, encoding="utf-8")
    engine = connect(Settings(home=home))
    migrations.upgrade(engine)
    for owner_id in ("ann", "bob"):
        hire(engine, owner_id)
    prove(engine, "stage_stall", "wobbly")
    extract(engine, "2026-03-31")
    engine.dispose()
    return home


@st.composite
def worlds(draw: st.DrawFn) -> World:
    book = {}
    for day in DAYS:
        book[day] = [
            Deal(
                deal_id,
                {
                    rule: level
                    for rule in RULES
                    if (level := draw(st.sampled_from([None, 0, 1, 1, 1, 2]))) is not None
                },
                owner_id=draw(st.sampled_from(["ann", "ann", "ann", "bob", ""])),
                amount=draw(st.sampled_from([100.0, 100.0, 130.0])),
                close_date=draw(st.sampled_from([date(2026, 9, 1), date(2026, 9, 1), date(2026, 3, 20)])),
            )
            for deal_id in ("1", "2")
        ]
    endings = draw(st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from(DAYS), max_size=1))
    said = st.builds(
        Said,
        day=st.sampled_from(DAYS),
        hours=st.integers(0, 23),
        deal_id=st.sampled_from(["1", "2"]),
        rule=st.sampled_from(RULES),
        kind=st.sampled_from(["acknowledged", "snoozed", "snoozed", "useful"]),
        choice=st.sampled_from(["1", "3", "7", "close_date"]),
    )
    answers = draw(st.lists(said, min_size=1, max_size=5, unique_by=lambda one: (one.day, one.hours)))
    return World(book, endings, tuple(sorted(answers, key=lambda one: one.at)))


Step = tuple[str, Any]  # score or alert with a day, or answer


@st.composite
def orders(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Each day is scored and then alerted, some again; the days in any order, mixed with each other."""
    days = draw(st.permutations(DAYS)) + draw(st.lists(st.sampled_from(DAYS), max_size=3))
    waiting: list[str] = []
    steps: list[tuple[str, str]] = []
    for day in days:
        steps.append(("score", day))
        waiting.append(day)
        while waiting and draw(st.booleans()):
            steps.append(("alert", waiting.pop(draw(st.integers(0, len(waiting) - 1)))))
    return steps + [("alert", day) for day in draw(st.permutations(waiting))]


class House:
    """A warehouse of its own, and what can be done there."""

    def __init__(self, template: Path, folder: str, world: World) -> None:
        home = Path(folder) / "home"
        shutil.copytree(template, home)
        self.world = world
        self.settings = Settings(
            home=home,
            sources={"crm": {"path": home}},
            alerts={"rules": home / "rules", "holdout_share": 0.3, "daily_budget": 1},
        )
        self.engine: Engine = connect(self.settings)
        for deal_id, day in world.endings.items():
            close(self.engine, deal_id, day)

    def work(self, steps: Sequence[Step], *, now: str | None = None) -> None:
        """Do the steps; on the day itself, unless all of it happens on a later one."""
        for step, what in steps:
            if step == "score":
                score_morning(self.engine, what, self.world.book[what])
            elif step == "alert":
                then = at(now or what) + timedelta(minutes=1)
                speak(self.engine, settings=self.settings, as_of=at(what), now=then)
            else:
                self.answer(what)

    def answer(self, said: Said) -> None:
        scope = ""
        fingerprint = digest(self.settings.tenant, said.rule, said.deal_id, scope)
        choice = said.choice if said.kind == "snoozed" else ""
        given = Answer(fingerprint, said.kind, "ann", "slack", said.at, choice, choice)
        with writing(self.engine) as connection:
            try:
                record(connection, given, settings=self.settings)
            except DecisionRefused:
                pass  # the alert was not open then

    def keep(self, answered: Sequence[Any]) -> None:
        """The answers that another house recorded, in its words."""
        with writing(self.engine) as connection:
            for row in answered:
                connection.execute(alert_actions.insert().values(**row._asdict()))

    def contents(self, *tables: Any) -> dict[str, list[str]]:
        with reading(self.engine) as connection:
            return {table.name: sorted(map(repr, rows_of(connection, select(table)))) for table in tables}

    def answered(self) -> Sequence[Any]:
        with reading(self.engine) as connection:
            return rows_of(connection, select(alert_actions))


def lived(world: World) -> list[Step]:
    """Each day scored and alerted on its morning, with the answers in between."""
    days = [(at(day), 0, step, day) for day in sorted(world.book) for step in ("score", "alert")]
    said = [(one.at, 1, "answer", one) for one in world.answers]
    return [(step, what) for _, _, step, what in sorted([*days, *said], key=lambda one: one[:2])]


@effort(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), order=orders())
def test_any_order_of_days_with_the_answers_given_ends_in_the_same_tables(
    template: Path, world: World, order: list[tuple[str, str]]
) -> None:
    """The answers are those that people could give on the days themselves; all days are past by then."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        ordered, shuffled = House(template, one, world), House(template, two, world)
        ordered.work(lived(world), now=LATER)
        shuffled.keep(ordered.answered())
        shuffled.work(order, now=LATER)
        told = (alerts, alert_events, alert_mornings, deliveries, tellings)
        assert shuffled.contents(*told) == ordered.contents(*told)


@effort(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), order=orders())
def test_days_lived_and_worked_out_again_keep_their_alerts_and_events(
    template: Path, world: World, order: list[tuple[str, str]]
) -> None:
    """Every morning was live, so all was said and held for good; working on them again changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(template, folder, world)
        house.work(lived(world))
        house.work([("alert", DAYS[-1])])  # the last answers came after it
        told = (alerts, alert_events, deliveries, tellings)
        before = house.contents(*told)
        house.work(order, now=LATER)
        assert house.contents(*told) == before


@effort(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), order=orders(), data=st.data())
def test_answers_that_arrive_between_the_days_end_in_the_same_tables(
    template: Path, world: World, order: list[tuple[str, str]], data: st.DataObject
) -> None:
    """The days in any order, and each answer recorded at some point of the work, if it can be by then."""
    steps: list[Step] = list(order)
    for said in world.answers:
        steps.insert(data.draw(st.integers(0, len(steps))), ("answer", said))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        mixed, ordered = House(template, one, world), House(template, two, world)
        mixed.work(steps, now=LATER)
        mixed.work([("alert", DAYS[-1])], now=LATER)
        ordered.keep(mixed.answered())
        ordered.work([(step, day) for day in DAYS for step in ("score", "alert")], now=LATER)
        told = (alerts, alert_events, alert_mornings, deliveries, tellings)
        assert mixed.contents(*told) == ordered.contents(*told)


@pytest.mark.slow
def test_ninety_days_backfilled_in_any_order_are_as_in_order(template: Path) -> None:
    """With answers that were given at the time; nothing is queued, and the receipt is the same.

    An alert of one day takes in all days scored by then, so a few of them do for all.
    """
    shuffle = random.Random(7)
    days = [f"{date(2026, 1, 5) + timedelta(days=number)}" for number in range(90)]
    book = {day: [_wavering(deal_id, number) for deal_id in "12345"] for number, day in enumerate(days)}
    answers = tuple(
        Said(day, 5, deal_id, rule, kind, choice)
        for day, deal_id, rule, kind, choice in (
            ("2026-01-15", "1", "stage_stall", "acknowledged", ""),
            ("2026-01-20", "2", "wobbly", "snoozed", "close_date"),
            ("2026-02-03", "3", "stage_stall", "snoozed", "7"),
            ("2026-03-02", "4", "wobbly", "useful", ""),
        )
    )
    world = World(book, {"5": days[60]}, answers)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        ordered, shuffled = House(template, one, world), House(template, two, world)
        ordered.work(lived(world), now=LATER)
        answered = ordered.answered()
        assert len(answered) == len(answers)
        shuffled.keep(answered)
        for number, day in enumerate(shuffle.sample(days, len(days))):
            shuffled.work([("score", day)] + [("alert", day)] * (number % 8 == 0), now=LATER)
        shuffled.work([("alert", days[-1])], now=LATER)
        told = (alerts, alert_events, alert_mornings, deliveries, tellings)
        assert shuffled.contents(*told) == ordered.contents(*told)
        assert not [row for row in shuffled.contents(deliveries)["deliveries"] if "'queued'" in row]


def _wavering(deal_id: str, number: int) -> Deal:
    """A deal whose alerts come and go over the days, each deal at its own pace."""
    pace = int(deal_id)
    held = {"stage_stall": 1 + (number // 40) % 2} if (number // (7 + pace)) % 3 else {}
    if (number + pace) % 9 > 2:
        held["wobbly"] = 1
    owner_id = "ann" if number < 30 + pace else "bob"
    return Deal(deal_id, held, owner_id, amount=100.0 * pace, close_date=date(2026, 4, 1 + number // 50))
