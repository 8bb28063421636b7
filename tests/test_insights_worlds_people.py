"""In a company with planted causes the weak rep and the weak drivers are found, and nobody else is named."""

from datetime import UTC, datetime
from typing import Any

import pytest

from company_ledger import company
from dealwatch.insights.drivers import drivers
from dealwatch.insights.forecast import forecast
from dealwatch.insights.known import Known, known_of
from dealwatch.insights.reps import reps
from dealwatch.insights.windows import last_days
from dealwatch.settings import Settings

HERE = Settings(time_zone="UTC")
T = datetime(2026, 10, 31, 6, tzinfo=UTC)
DEALS, DAYS, SEED = 8_000, 730, 7
World = tuple[Known, dict[str, Any]]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> World:
    ledger, truth = company("planted", tmp_path_factory.mktemp("p"), deals=DEALS, days=DAYS, seed=SEED)
    return known_of(ledger, T, HERE), truth


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Known:
    ledger, _ = company("null", tmp_path_factory.mktemp("n"), deals=DEALS, days=DAYS, seed=SEED)
    return known_of(ledger, T, HERE)


def test_the_weak_rep_is_the_only_one_below_what_was_to_be_expected(planted: World) -> None:
    known, truth = planted
    found = reps(known, last_days(T, HERE))
    told = [one for one in found.reps if one.index.low is not None and one.index.high is not None]
    assert found.differ and len(told) == len(found.reps) > 20
    apart = [one.owner_id for one in told if not (one.index.low or 0) <= 100 <= (one.index.high or 0)]
    assert apart == [truth["weak_rep"]]


def test_the_weak_source_and_product_are_the_drivers(planted: World) -> None:
    known, truth = planted
    found = drivers(known).found
    assert {one.value for one in found} == {truth["weak_lead_source"], truth["weak_product_type"]}
    assert all((one.odds_ratio.high or 9) < 1 for one in found)


def test_where_nothing_acts_nobody_is_named(null: Known) -> None:
    assert not reps(null, last_days(T, HERE)).differ
    assert drivers(null).found == ()


def test_where_age_tells_the_variant_that_knows_it_is_published(planted: World) -> None:
    known, _ = planted
    found = forecast(known)
    bias = {name: record.bias for name, record in found.records.items()}
    assert found.published == "survival" and found.records["survival"].moments == 12
    assert (bias["survival"].low or 1) < 0 < (bias["survival"].high or -1)
    assert (bias["seed"].high or 0) < (bias["weighted"].value or 0) < 0  # aging takes away what is due
