"""A stored review read back is the one that was composed, whatever it had to say."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, insert

from company_ledger import company
from dealwatch import migrations
from dealwatch.insights.composing import compose
from dealwatch.insights.keeping import as_plain, keep
from dealwatch.insights.kept import SHAPES, frame_of, kept, kept_spans
from dealwatch.insights.known import known_of
from dealwatch.insights.page import html
from dealwatch.insights.review import Period, Review
from dealwatch.settings import Settings
from dealwatch.tables import reviews
from dealwatch.warehouse import as_json, connect, reading, writing
from review_rows import begun, ended, known_at

ZONE = Settings(time_zone="Europe/Berlin")
MONDAY = datetime(2026, 8, 31, 4, tzinfo=UTC)
FEW = [begun("2026-02-01", amount="5"), ended("2026-01-01", "2026-01-21", won=True, amount="100")]
FRAME = pl.DataFrame({"of": ["what nobody knows yet"]})
NOTHING = ("bridge", "concentration", "drivers", "forest", "segments")  # empty where there is no deal


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Review]:
    """Reviews of companies that have much to say, nothing much, next to nothing, and nothing at all."""
    found = {"empty": compose(known_at("2026-03-01", []), "week")}
    found["few"] = compose(known_at("2026-03-01", FEW), "month")
    mixed = [
        {**life, "currency": [("2026-01-01", code)]} for life, code in zip(FEW, ("EUR", "USD"), strict=True)
    ]
    found["two currencies"] = compose(known_at("2026-03-01", mixed), "week")
    for world in ("planted", "leaking", "null"):
        ledger, _ = company(world, tmp_path_factory.mktemp(world), deals=1_500, days=540, seed=3)
        period: Period = "month" if world == "null" else "week"
        found[world] = compose(known_of(ledger, MONDAY, ZONE), period)
    return found


def through_json(review: Review, engine: Engine) -> Review:
    """Stored and read back."""
    row = {"as_of": review.as_of, "period": review.period, "span": review.span.name, "said": 0, "refused": 0}
    days = {"first_on": review.span.until.date(), "last_on": review.span.until.date()}
    with writing(engine) as connection:
        connection.execute(reviews.delete())
        connection.execute(insert(reviews).values(**row, **days, review=as_plain(review)))
    with reading(engine) as connection:
        found = kept(connection, review.as_of, review.period)
    assert found is not None
    return found


def test_a_review_read_back_is_the_one_that_was_composed(composed: dict[str, Review], engine: Engine) -> None:
    for world, review in composed.items():
        again = through_json(review, engine)
        assert as_plain(again) == as_plain(review), world
        assert as_json(as_plain(again)) == as_json(as_plain(review)), world
        assert [type(one) for one in again.findings] == [type(one) for one in review.findings]
        assert (again.span, again.window, again.before) == (review.span, review.window, review.before)
        assert again.top("managers") and again.top() or world in ("empty", "few", "two currencies")
    assert len(composed["leaking"].findings) > 3 and composed["empty"].figures["bridge"].is_empty()


def test_its_frames_have_their_columns_and_types_even_when_they_are_empty(
    composed: dict[str, Review], engine: Engine
) -> None:
    for world, review in composed.items():
        again = through_json(review, engine)
        assert set(again.figures) == set(review.figures) == set(SHAPES), world
        for name, rows in again.figures.items():
            assert rows.schema == pl.Schema(SHAPES[name]), (world, name)
            # Of a list without a value polars tells no type, and means all of them.
            told = {key: kind for key, kind in review.figures[name].schema.items() if kind != pl.Null()}
            assert {key: rows.schema[key] for key in told} == told, (world, name)
            assert rows.columns == review.figures[name].columns, (world, name)
    assert all(composed["empty"].figures[name].is_empty() for name in NOTHING)


def test_rows_stored_before_a_column_was_thought_of_have_it_as_null() -> None:
    made = frame_of([{"a": 1.5, "later": "x"}], {"a": pl.Float64(), "on": pl.Date(), "b": pl.Int64()})
    assert made.to_dicts() == [{"a": 1.5, "on": None, "b": None, "later": "x"}]
    assert made.schema["on"] == pl.Date and made.schema["b"] == pl.Int64
    assert frame_of([], {}).is_empty()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Engine, Settings]]:
    settings = ZONE.model_copy(update={"home": tmp_path})
    made = connect(settings)
    migrations.upgrade(made)
    yield made, settings
    made.dispose()


def test_a_review_stored_before_a_frame_was_thought_of_has_it_empty_and_can_be_drawn(
    composed: dict[str, Review], engine: Engine
) -> None:
    review = composed["planted"]
    old = {name: frame for name, frame in review.figures.items() if name not in ("forecast", "stages")}
    again = through_json(replace(review, figures={**old, "of a later release": FRAME}), engine)
    assert again.figures["forecast"].is_empty() and again.figures["stages"].is_empty()
    assert again.figures["of a later release"].equals(FRAME)
    assert review.span.name in html(again, "managers")


def test_all_that_are_kept_are_listed_the_newest_first(house: tuple[Engine, Settings]) -> None:
    engine, settings = house
    first = MONDAY - timedelta(weeks=1)
    with reading(engine) as connection:
        assert kept_spans(connection) == [] and kept(connection, MONDAY, "week") is None
    for as_of, period in ((first, "week"), (MONDAY, "week"), (first, "month")):
        keep(engine, as_of, period, settings=settings)  # type: ignore[arg-type]
    with reading(engine) as connection:
        told = [(one.name, one.period, one.first_on.isoformat()) for one in kept_spans(connection)]
        assert told == [
            ("2026-W35", "week", "2026-08-24"),
            ("2026-W34", "week", "2026-08-17"),
            ("2026-07", "month", "2026-07-01"),
        ]
        assert [one.name for one in kept_spans(connection, "month")] == ["2026-07"]
        review = kept(connection, first, "week")
        assert review is not None and review.span.name == "2026-W34" and kept(connection, first, "month")
