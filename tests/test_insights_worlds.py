"""In a company with planted causes they are found and come first; where nothing acts, nothing is found."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from company_ledger import company
from dealwatch.insights.known import Known, known_of
from dealwatch.insights.lost_value import excess_lost_value
from dealwatch.insights.movement import Clock, bridge, bridges
from dealwatch.insights.rates import SINGLE, WIN_RATE, differences, segments
from dealwatch.insights.segments import POST_HOC
from dealwatch.insights.windows import earlier, last_days, quarter_of
from dealwatch.settings import Settings

UTC_ALL_DAY = Settings(time_zone="UTC")
T = datetime(2026, 10, 31, 6, tzinfo=UTC)
DEALS, DAYS, SEED = 12_000, 730, 7
World = tuple[Known, dict[str, Any]]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> World:
    ledger, truth = company("planted", tmp_path_factory.mktemp("p"), deals=DEALS, days=DAYS, seed=SEED)
    return known_of(ledger, T, UTC_ALL_DAY), truth


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> World:
    ledger, truth = company("null", tmp_path_factory.mktemp("n"), deals=8_000, days=DAYS, seed=SEED)
    return known_of(ledger, T, UTC_ALL_DAY), truth


def flagged(world: World) -> pl.DataFrame:
    known, _ = world
    rows = segments(known, last_days(T, UTC_ALL_DAY)).filter(name=WIN_RATE)
    return rows.filter(~pl.col("by").is_in(POST_HOC), pl.col("q") < 0.1).sort("value")


def test_the_planted_weak_ones_come_first_and_the_innocent_do_not_come(planted: World) -> None:
    _, truth = planted
    weak = {truth[name] for name in ("weak_rep", "weak_product_type", "weak_lead_source")}
    found = flagged(planted).filter(~pl.col("by").is_in(["amount_band"]))  # its bands are the products again
    assert set(found["segment"][:3]) == weak
    assert not set(found["by"]) & {"region", "industry"}
    assert set(found.filter(by="owner_id")["segment"]) == {truth["weak_rep"]}


def test_where_nothing_acts_no_segment_is_found(null: World) -> None:
    assert flagged(null).is_empty()
    for by in SINGLE:
        if by[0] not in POST_HOC:
            test = differences(null[0], last_days(T, UTC_ALL_DAY), by)
            assert test is not None and test.p > 0.01


def shift_of(world: World, clock: Clock) -> tuple[float, float]:
    """The mix effect of the quarter with the planted shift, and what the answer sheet makes it."""
    known, truth = world
    after = quarter_of(date.fromisoformat(truth["mix_shift"]["first_day"]), UTC_ALL_DAY)
    told = bridge(known, earlier(after, UTC_ALL_DAY), after, ("product_type",), clock=clock)
    rates = truth["measured"]["win_rate_by_product_type"]
    cells = told.cells.with_columns(true=pl.col("segment").replace_strict(rates, return_dtype=pl.Float64()))
    assert told.mix.value is not None
    return told.mix.value, 100 * cells.select(((pl.col("w1") - pl.col("w0")) * pl.col("true")).sum()).item()


def test_the_planted_shift_of_the_mix_is_found_within_half_a_point(planted: World) -> None:
    found, planned = shift_of(planted, "created_at")
    assert planned < -3
    assert found == pytest.approx(planned, abs=0.5)


def test_the_same_shift_where_all_kinds_are_won_alike_is_no_finding(null: World) -> None:
    known, truth = null
    after = quarter_of(date.fromisoformat(truth["mix_shift"]["first_day"]), UTC_ALL_DAY)
    told = {one.by: one for one in bridges(known, earlier(after, UTC_ALL_DAY), after)}
    starter = told["product_type"].cells.filter(segment="Starter").row(0, named=True)
    assert starter["w1"] > starter["w0"] + 0.1 and not starter["is_flagged"]
    assert abs(shift_of(null, "closed_at")[1]) < 0.5


def test_of_all_dimensions_the_shifted_product_moved_the_win_rate_most(planted: World) -> None:
    known, truth = planted
    after = quarter_of(date.fromisoformat(truth["mix_shift"]["first_day"]), UTC_ALL_DAY)
    told = bridges(known, earlier(after, UTC_ALL_DAY), after)
    cells = pl.concat(one.cells.with_columns(by=pl.lit(one.by)) for one in told).sort("q")
    assert cells.select("by", "segment").row(0) == ("product_type", "Starter")
    assert cells["is_flagged"][0] and abs(cells["mix"][0]) > abs(cells["rate"][0])
    assert {one.change.value for one in told} == {told[0].change.value}


def test_a_quarter_that_is_not_over_long_enough_has_no_account_by_creation(planted: World) -> None:
    known, _ = planted
    latest = quarter_of(date(2026, 8, 1), UTC_ALL_DAY)
    told = bridge(known, earlier(latest, UTC_ALL_DAY), latest, ("region",), clock="created_at")
    assert told.change.value is None and "days to close" in told.change.why


def test_money_is_lost_where_the_weak_ones_are(planted: World) -> None:
    known, truth = planted
    told = excess_lost_value(known, last_days(T, UTC_ALL_DAY), ("lead_source",))
    assert told["segment"][0] == truth["weak_lead_source"]
    assert told["low"][0] > 0


def test_a_review_of_the_past_knows_nothing_of_later(tmp_path: Path) -> None:
    ledger, _ = company("planted", tmp_path, deals=1_500, days=400, seed=3)
    then = datetime(2026, 7, 1, 6, tzinfo=UTC)
    whole, cut = (known_of(one, then, UTC_ALL_DAY) for one in (ledger, ledger.known_at(then)))
    window = last_days(then, UTC_ALL_DAY)
    assert whole.closed.height > 300
    assert segments(whole, window).equals(segments(cut, window))
    assert whole.open.equals(cut.open) and whole.spells.equals(cut.spells) and whole.moves.equals(cut.moves)
