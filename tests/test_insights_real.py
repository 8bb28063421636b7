"""On real data: what others claimed of it is not repeated, and the review runs on a true history."""

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from conftest import ROOT
from dealwatch import migrations
from dealwatch.history.extract import extract
from dealwatch.insights.cohorts import cohort_win_rate, horizon
from dealwatch.insights.known import Known, read
from dealwatch.insights.measure import measures_of
from dealwatch.insights.movement import Bridge, bridges
from dealwatch.insights.rates import (
    SINGLE,
    WIN_RATE,
    differences,
    revenue_weighted,
    segments,
    win_rate,
)
from dealwatch.insights.stages import (
    HAZARD,
    LOSS_SHARE,
    NO_HISTORY,
    conversion,
    hazards,
    loss_share_changes,
    loss_shares,
    stage_win_rates,
)
from dealwatch.insights.statistics import beta_binomial
from dealwatch.insights.windows import Window, last_days, quarter_of, quarters
from dealwatch.settings import load
from dealwatch.warehouse import connect, reading
from drop_files import at

pytestmark = pytest.mark.real


def landed(name: str, real_data: Path, home: Path, *, now: datetime, as_of: datetime) -> Known:
    """What was known of one of the data sets, landed by its example settings."""
    settings = load(ROOT / "include" / "examples" / f"{name}.toml")
    moved = settings.sources[name].model_copy(update={"path": real_data / name})
    settings = settings.model_copy(update={"home": home, "sources": {name: moved}})
    engine = connect(settings)
    migrations.upgrade(engine)
    extract(engine, name, settings=settings, now=now)
    with reading(engine) as connection:
        found = read(connection, as_of, settings)
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> Known:
    from conftest import REAL_DATA

    if not (REAL_DATA / "challenge").is_dir():
        pytest.skip(f"real data is not at {REAL_DATA}; set DEALWATCH_REAL_DATA")
    now = at("2024-08-01 05:00")
    return landed("challenge", REAL_DATA, tmp_path_factory.mktemp("c"), now=now, as_of=at("2024-08-01 06:00"))


def everything(known: Known) -> Window:
    return last_days(known.as_of, known.settings, 2_000)


def moved(known: Known, first: date, then: date) -> dict[str, Bridge]:
    before, after = (quarter_of(day, known.settings) for day in (first, then))
    return {one.by: one for one in bridges(known, before, after)}


def test_the_challenges_totals(challenge: Known) -> None:
    rate, money = (metric(challenge, everything(challenge)) for metric in (win_rate, revenue_weighted))
    assert (rate.value, rate.n) == (0.4526, 5_000)
    assert (money.value, money.n_eff) == (pytest.approx(0.46099, abs=1e-5), pytest.approx(2_370, abs=1))


@pytest.mark.parametrize(
    ("by", "chi2", "degrees"),
    [
        ("last_stage", 5.4, 4),
        ("industry", 3.0, 4),
        ("lead_source", 1.2, 3),
        ("region", 0.3, 3),
        ("product_type", 0.1, 2),
    ],
)
def test_no_segment_leaks_or_shines_beyond_chance(
    challenge: Known, by: str, chi2: float, degrees: int
) -> None:
    test = differences(challenge, everything(challenge), (by,))
    assert test is not None
    assert (round(test.chi2, 1), test.degrees) == (chi2, degrees)
    assert test.p > 0.2


def test_no_segment_of_any_dimension_is_told_apart(challenge: Known) -> None:
    rows = segments(challenge, everything(challenge)).filter(name=WIN_RATE)
    assert rows["by"].n_unique() == len(SINGLE)
    assert rows["q"].min() > 0.15  # type: ignore[operator]


def test_no_rep_is_better_than_another(challenge: Known) -> None:
    reps = segments(challenge, everything(challenge), [("owner_id",)]).filter(name=WIN_RATE)
    prior = beta_binomial(reps["won"], reps["n"])
    assert prior is not None and prior.between == 0
    assert reps["shrunk"].n_unique() == 1
    assert 100 * (reps["value"].max() - reps["value"].min()) == pytest.approx(10.9, abs=0.1)  # type: ignore[operator]


def test_cycles_that_tripled_by_closing_are_flat_by_creation(challenge: Known) -> None:
    """A close date without a clock time is the end of its day, hence a day more than the file's own count."""
    told = {one.name: one for one in quarters(challenge.as_of, challenge.settings, count=6)}
    began = [
        challenge.closed.filter(told[name].holds("created_at"))["cycle_days"].mean()
        for name in ("2023Q1", "2023Q2", "2023Q3", "2023Q4", "2024Q1")
    ]
    assert 63.3 < min(began) and max(began) < 65.7  # type: ignore[type-var,operator]
    closed = {
        name: challenge.closed.filter(quarter_of(day, challenge.settings).holds("closed_at"))[
            "cycle_days"
        ].mean()
        for name, day in (("first", date(2023, 1, 1)), ("last", date(2024, 7, 1)))
    }
    assert closed == {"first": pytest.approx(35.8 + 1, abs=0.1), "last": pytest.approx(112.4 + 1, abs=0.2)}


def test_the_rise_of_a_quarter_is_no_mix_by_any_dimension(challenge: Known) -> None:
    told = moved(challenge, date(2023, 8, 1), date(2023, 11, 1))
    assert len(told) == len(SINGLE) - 1
    for one in told.values():
        assert one.change.value == pytest.approx(4.7, abs=0.05)
        assert one.mix.value is not None and -0.15 < one.mix.value < 0.15
        assert one.mix.low is not None and one.mix.high is not None and one.mix.low < 0 < one.mix.high


def test_the_published_impacts_come_out_and_none_is_told(challenge: Known) -> None:
    told = moved(challenge, date(2024, 2, 1), date(2024, 5, 1))
    cells = pl.concat(one.cells for one in told.values())
    published = dict(cells.select("segment", "published").iter_rows())
    expected = {"Core": -1.94, "Pro": -1.44, "FinTech": -1.33, "India": -1.21}
    assert {name: round(published[name], 2) for name in expected} == expected
    assert not cells["is_flagged"].any() and cells["q"].min() > 0.5  # type: ignore[operator]


def test_the_published_rise_of_losses_in_the_last_stage_is_chance(challenge: Known) -> None:
    before, after = (quarter_of(date(2024, month, 1), challenge.settings) for month in (2, 5))
    shares = [
        loss_shares(challenge, window).filter(stage="Closed", name=LOSS_SHARE)["value"].item()
        for window in (before, after)
    ]
    assert shares == [pytest.approx(0.176, abs=5e-4), pytest.approx(0.221, abs=5e-4)]
    rise = loss_share_changes(challenge, before, after).filter(stage="Closed").row(0, named=True)
    assert rise["low"] < 0 < rise["high"] and rise["q"] > 0.5
    assert set(hazards(challenge, after)["why"]) == {NO_HISTORY}


def test_a_cohorts_rate_is_told_once_it_is_old_enough(challenge: Known) -> None:
    days = horizon(challenge)
    assert days == pytest.approx(110, abs=1)
    told = [
        cohort_win_rate(challenge, one, days)
        for one in quarters(challenge.as_of, challenge.settings, count=6)
    ]
    assert [one.value is None for one in told] == [False] * 5 + [True]
    known = told[:5]
    assert max(one.low or 0 for one in known) < min(one.high or 1 for one in known)  # all of them overlap


@pytest.mark.slow
def test_the_loans_read_sensibly(real_data: Path, tmp_path: Path) -> None:
    known = landed("loans", real_data, tmp_path, now=at("2012-03-20 05:00"), as_of=at("2012-03-14 06:00"))
    window = last_days(known.as_of, known.settings)
    assert known.stages == tuple(known.settings.pipeline.stages)
    assert win_rate(known, window).value == pytest.approx(0.1757, abs=1e-3)
    rates = [one.value or 0 for one in measures_of(stage_win_rates(known, window))]
    assert rates == sorted(rates)  # the further an application came, the more often it was approved
    on = dict(conversion(known, window).select("stage", "value").iter_rows())
    assert on["Submitted"] == pytest.approx(0.563, abs=5e-3) and on["Finalized"] > 0.99
    hazard = hazards(known, window).filter(name=HAZARD).sort("value", descending=True)
    assert hazard["stage"][0] == "Submitted" and hazard["low"][0] > hazard["high"][1]
    assert loss_shares(known, window).filter(name=LOSS_SHARE)["value"].sum() == pytest.approx(1)
