"""What a review reads of the ledger: the state at a moment, and nothing that came later."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import Engine

from dealwatch.history.ledger import read_ledger
from dealwatch.history.stored import StoredLedger
from dealwatch.insights.known import Known, known_of, read, scores_by
from dealwatch.insights.windows import earlier, last_days, month_of, quarter_of, quarters, week_of
from dealwatch.knobs import Pipeline
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from dealwatch.warehouse import INSTANT, put, reading, writing
from ledger_rows import at, deal, ledger
from small_company import MORNING, NEXT, SmallCompany, opened

SETTINGS = Settings(time_zone="UTC", pipeline=Pipeline(stages=("A", "B", "C")))
BERLIN = Settings(time_zone="Europe/Berlin")
T = at("2026-03-01 06:00")
FRAMES = ("closed", "open", "spells", "moves")
LIVES = {
    "gone": deal("2026-01-01", stage="A", amount="5", deleted=[("2026-01-02", "true")]),
    "lost": deal(
        "2026-01-01",
        stage=[("2026-01-01", "A"), ("2026-01-03", "B"), ("2026-01-05", "A"), ("2026-01-11", "Closed Lost")],
        amount=[("2026-01-01", "100"), ("2026-01-04", "80"), ("2026-02-01", "1")],
        owner_id=[("2026-01-01", "ann"), ("2026-02-01", "heir")],
        region="EMEA",
        outcome=[("2026-01-11", "lost")],
    ),
    "open": deal(
        "2026-02-01",
        stage=[("2026-02-01", "A"), ("2026-02-21 06:00", "C")],
        amount="7",
        currency="USD",
        owner_id=[("2026-02-01", "ann"), ("2026-02-03", "bob")],
        close_date=[("2026-02-01", "2026-03-01"), ("2026-02-09", "2026-04-01"), ("2026-02-10", "2026-04-01")],
        next_step_on="2026-03-02",
    ),
    "reopened": deal(
        "2026-01-01",
        stage=[("2026-01-01", "B"), ("2026-01-05", "Closed Lost"), ("2026-01-09", "B")],
        outcome=[("2026-01-05", "lost"), ("2026-01-09", "")],
    ),
    "won": deal(
        "2026-01-01", stage=[("2026-01-01", "A"), ("2026-01-21", "Won")], outcome=[("2026-01-21", "won")]
    ),
}


def known(lives: dict[str, dict[str, list[tuple[str, str | None]]]] = LIVES, moment: datetime = T) -> Known:
    return known_of(ledger(lives), moment, SETTINGS)


def test_a_closed_deal_is_as_it_was_when_it_closed() -> None:
    row = known().closed.filter(deal_id="lost").row(0, named=True)
    assert row == {
        "deal_id": "lost",
        "created_at": at("2026-01-01"),
        "closed_at": at("2026-01-11"),
        "won": False,
        "amount": 80.0,
        "currency": None,
        "owner_id": "ann",
        "industry": None,
        "region": "EMEA",
        "product_type": None,
        "lead_source": None,
        "last_stage": "A",
        "cycle_days": 10.0,
    }


def test_an_open_deal_is_as_it_is() -> None:
    row = known().open.filter(deal_id="open").row(0, named=True)
    assert (row["amount"], row["currency"], row["stage"], row["owner_id"]) == (7.0, "USD", "C", "bob")
    assert (row["close_date"], row["next_step_on"]) == (date(2026, 4, 1), date(2026, 3, 2))
    assert (row["age_days"], row["days_in_stage"]) == (28.25, 8.0)
    assert (row["p_loss"], row["scored_at"]) == (None, None)


def test_deleted_deals_are_nowhere_and_reopened_ones_are_open() -> None:
    found = known()
    assert found.closed["deal_id"].to_list() == ["lost", "won"]
    assert found.open["deal_id"].to_list() == ["open", "reopened"]
    assert "gone" not in {*found.spells["deal_id"], *found.moves["deal_id"]}


def test_a_duplicate_is_no_deal_once_it_is_closed_as_one() -> None:
    twins = {
        "a": deal("2026-01-01", stage="A", outcome=[("2026-01-09", "lost")], why=[("2026-01-09", "Price")]),
        "b": deal(
            "2026-01-01", stage="A", outcome=[("2026-01-09", "lost")], why=[("2026-01-09", "Duplicate")]
        ),
        "c": deal("2026-01-01", stage="A", why="Duplicate"),
    }
    pipeline = Pipeline(reason_column="why", no_deal_reasons=("Duplicate", "Invalid"))
    found = known_of(ledger(twins), T, Settings(time_zone="UTC", pipeline=pipeline))
    assert found.closed["deal_id"].to_list() == ["a"]
    assert found.spells["deal_id"].to_list() == ["a", "c"]
    assert known(twins).closed["deal_id"].to_list() == ["a", "b"]


def test_the_newest_scored_morning_by_then_is_the_one(engine: Engine) -> None:
    columns = {"score": 50, "band": "Medium", "method": "hybrid", "points": "[]", "reasons": "[]"}
    given = [(MORNING - timedelta(days=2), "a", 0.9), (MORNING, "a", 0.4), (NEXT, "a", 0.1), (NEXT, "b", 0.2)]
    scores = [{"as_of": at, "deal_id": deal_id, "p_loss": p, **columns} for at, deal_id, p in given]
    with writing(engine, alone="test") as connection:
        put(connection, deal_scores, pl.DataFrame(scores, schema_overrides={"as_of": INSTANT}))
    with reading(engine) as connection:
        found = scores_by(connection, NEXT - timedelta(seconds=1))
        assert found.rows() == [("a", 0.4, MORNING)]
        assert scores_by(connection, MORNING - timedelta(days=9)).is_empty()


def test_spells_say_where_they_led() -> None:
    rows = known().spells.select("deal_id", "stage", "to", "nth").rows()
    assert rows == [
        ("lost", "A", "forward", 1),
        ("lost", "B", "backward", 1),
        ("lost", "A", "lost", 2),
        ("open", "A", "forward", 1),
        ("open", "C", None, 1),
        ("reopened", "B", "other", 1),  # the loss was taken back
        ("reopened", "B", None, 2),
        ("won", "A", "won", 1),
    ]
    spell = known().spells.row(1, named=True)
    assert (spell["entered_at"], spell["left_at"]) == (at("2026-01-03"), at("2026-01-05"))
    assert known().stages == ("A", "B", "C")


def test_moves_tell_each_value_and_the_one_before() -> None:
    rows = known().moves.filter(deal_id="open").select("field", "happened_at", "old", "new").rows()
    assert rows == [
        ("amount", at("2026-02-01"), None, "7"),
        ("close_date", at("2026-02-01"), None, "2026-03-01"),
        ("close_date", at("2026-02-09"), "2026-03-01", "2026-04-01"),
    ]


def test_a_source_that_tells_stages_at_the_close_alone_tells_the_last_one() -> None:
    at_close = {"a": deal("2026-01-01", stage=[("2026-01-09", "Demo")], outcome=[("2026-01-09", "lost")])}
    assert known(at_close).closed["last_stage"].to_list() == ["Demo"]
    both = at_close | {"b": deal("2026-01-01", stage="A")}
    assert known(both).closed["last_stage"].to_list() == [None]


def test_nothing_is_known_of_nothing() -> None:
    empty = known({})
    assert [getattr(empty, name).height for name in FRAMES] == [0, 0, 0, 0]
    assert empty.closed.schema == known().closed.schema
    assert empty.spells.schema == known().spells.schema


@pytest.mark.parametrize("moment", ["2026-01-02 06:00", "2026-01-04", "2026-01-11", "2026-02-09"])
def test_later_data_changes_no_earlier_review(moment: str) -> None:
    then, whole = at(moment), ledger(LIVES)
    earlier_ledger = whole.known_at(then)
    for name in FRAMES:
        ours = getattr(known_of(whole, then, SETTINGS), name)
        assert_frame_equal(ours, getattr(known_of(earlier_ledger, then, SETTINGS), name))


def test_what_is_known_late_is_not_known_early() -> None:
    late = ledger(LIVES, known_later=timedelta(days=30))
    assert known_of(late, at("2026-02-09"), SETTINGS).closed["deal_id"].to_list() == []
    assert known_of(late, at("2026-02-10"), SETTINGS).closed["deal_id"].to_list() == ["lost"]


def test_the_warehouse_and_memory_tell_the_same_and_slices_do_not_matter(
    small_company: SmallCompany, tmp_path: Path
) -> None:
    settings = small_company.copied(tmp_path / "copy")
    with opened(settings) as connection:
        stored, whole = read(connection, MORNING, settings), read_ledger(connection)
        sliced = known_of(StoredLedger(connection, MORNING, rows_a_slice=500), MORNING, settings)
    ours = known_of(whole, MORNING, settings)
    assert stored.closed.height > 50 and stored.open.height > 5 and stored.moves.height > 50
    for name in FRAMES:
        assert_frame_equal(getattr(stored, name), getattr(ours, name))
        assert_frame_equal(getattr(sliced, name), getattr(ours, name))


def test_days_are_of_the_organisations_clock() -> None:
    spring = datetime(2026, 3, 29, 4, tzinfo=UTC)  # 06:00 in Berlin, an hour after clocks went forward
    assert last_days(spring, BERLIN, 1).after == datetime(2026, 3, 28, 5, tzinfo=UTC)
    autumn = datetime(2026, 10, 25, 5, tzinfo=UTC)
    assert last_days(autumn, BERLIN, 1).after == datetime(2026, 10, 24, 4, tzinfo=UTC)
    assert last_days(autumn, BERLIN, 1).days == pytest.approx(25 / 24)


def test_quarters_hold_each_instant_once() -> None:
    first, second = quarters(at("2026-07-01"), BERLIN, count=2)
    assert (first.name, second.name) == ("2026Q1", "2026Q2")
    assert second.after == datetime(2026, 3, 31, 21, 59, 59, 999999, tzinfo=UTC)
    assert first.until == second.after
    edge = pl.DataFrame({"at": [datetime(2026, 3, 31, 22, tzinfo=UTC)]}).cast(pl.Datetime("us", "UTC"))
    assert [edge.select(one.holds("at")).item() for one in (first, second)] == [False, True]
    last = pl.DataFrame({"at": [first.until]}).cast(pl.Datetime("us", "UTC"))
    assert [last.select(one.holds("at")).item() for one in (first, second)] == [True, False]
    assert earlier(second, BERLIN, quarters=4).name == "2025Q2"


def test_a_fiscal_year_is_named_after_the_year_it_ends_in() -> None:
    july = Settings(time_zone="UTC", pipeline=Pipeline(fiscal_year_starts=7))
    assert quarter_of(date(2026, 8, 5), july).name == "FY2027Q1"
    assert quarter_of(date(2026, 6, 30), july).name == "FY2026Q4"
    assert quarter_of(date(2027, 1, 1), july).name == "FY2027Q3"
    february = Settings(time_zone="UTC", pipeline=Pipeline(fiscal_year_starts=2))
    assert quarter_of(date(2026, 1, 31), february).name == "FY2026Q4"
    assert quarter_of(date(2026, 2, 1), february).name == "FY2027Q1"


def test_weeks_and_months_have_their_names() -> None:
    assert week_of(date(2027, 1, 3), BERLIN).name == "2026-W53"
    assert week_of(date(2026, 3, 29), BERLIN).days == pytest.approx(7 - 1 / 24)
    assert month_of(date(2026, 10, 25), BERLIN).name == "2026-10"
    assert month_of(date(2026, 12, 31), BERLIN).until == datetime(
        2026, 12, 31, 22, 59, 59, 999999, tzinfo=UTC
    )
