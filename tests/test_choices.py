"""People say how they want to be told, and that holds until they say otherwise or their last day is over."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, func, select

from dealwatch.alerts.speaking.choices import Choice, choice_of, choices_at, choose
from dealwatch.errors import DecisionRefused
from dealwatch.settings import Settings
from dealwatch.tables import recipient_choices
from dealwatch.warehouse import reading, writing

MONDAY, TUESDAY, FRIDAY = (datetime(2026, 3, day, 8, 0, tzinfo=UTC) for day in (2, 3, 6))


def given(engine: Engine, choice: str, at: datetime, until: date | None = None, who: str = "ann") -> bool:
    with writing(engine) as connection:
        made = Choice(who, choice, by=who, via="email", at=at, until=until)
        return choose(connection, made, settings=Settings()).is_new


def held(engine: Engine, at: datetime) -> str:
    with reading(engine) as connection:
        one = choice_of(connection, "ann", at, settings=Settings()).choice
        assert choices_at(connection, at, settings=Settings()).get("ann", "everything") == one
        return one


def test_who_never_chose_gets_everything(either_engine: Engine) -> None:
    assert held(either_engine, MONDAY) == "everything"
    assert not given(either_engine, "everything", MONDAY)


def test_the_newest_choice_holds_from_its_moment(either_engine: Engine) -> None:
    given(either_engine, "digest_only", TUESDAY)
    given(either_engine, "digest_only", TUESDAY, who="bob")
    assert [held(either_engine, at) for at in (MONDAY, TUESDAY, FRIDAY)] == ["everything"] + 2 * [
        "digest_only"
    ]


def test_the_same_choice_again_is_no_row(engine: Engine) -> None:
    assert given(engine, "nothing", MONDAY, date(2026, 3, 4))
    assert not given(engine, "nothing", TUESDAY, date(2026, 3, 4))
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(recipient_choices)).scalar_one() == 1


def test_after_the_last_day_what_was_chosen_for_good_holds_again(engine: Engine) -> None:
    given(engine, "digest_only", MONDAY)
    given(engine, "nothing", TUESDAY, date(2026, 3, 5))
    last_evening = datetime(2026, 3, 5, 22, 59, tzinfo=UTC)  # 23:59 in Berlin
    assert held(engine, last_evening) == "nothing"
    assert held(engine, FRIDAY) == "digest_only"


def test_a_shortened_silence_does_not_return_to_the_longer_one(engine: Engine) -> None:
    given(engine, "nothing", MONDAY, date(2026, 6, 30))
    given(engine, "nothing", TUESDAY, date(2026, 3, 4))
    assert held(engine, FRIDAY) == "everything"


@pytest.mark.parametrize(
    ("choice", "until"),
    [
        ("never", None),
        ("nothing", None),
        ("nothing", date(2026, 3, 1)),
        ("nothing", date(2028, 3, 1)),
        ("digest_only", date(2026, 3, 9)),
    ],
)
def test_a_choice_that_means_nothing_is_refused(engine: Engine, choice: str, until: date | None) -> None:
    with pytest.raises(DecisionRefused):
        given(engine, choice, MONDAY, until)
