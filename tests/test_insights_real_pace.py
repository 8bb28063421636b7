"""On real data: the published claims about pace, reps, forecasts and concentration, and what is so."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from dealwatch.insights.concentration import concentration
from dealwatch.insights.cycles import by_cohort, change_between, change_by_close
from dealwatch.insights.drivers import drivers
from dealwatch.insights.forecast import forecast
from dealwatch.insights.health import health
from dealwatch.insights.known import Known
from dealwatch.insights.pace import pace
from dealwatch.insights.replay import month_starts, replayed, rewound
from dealwatch.insights.reps import NO_EVIDENCE, reps
from dealwatch.insights.windows import last_days, quarter_of, quarters
from drop_files import at
from test_insights_real import challenge, everything, landed

pytestmark = pytest.mark.real
__all__ = ["challenge"]  # a fixture


def test_cycles_up_214_per_cent_is_refused_by_cohort(challenge: Known) -> None:
    """Close dates are the ends of their days, a day more than the file counts: hence 208% and not 214%."""
    settings = challenge.settings
    cohorts = by_cohort(challenge, quarters(challenge.as_of, settings, count=6)[:5])
    means = [one.mean.value or 0 for one in cohorts]
    assert means == pytest.approx([65.6, 64.9, 63.4, 64.6, 65.2], abs=0.06)
    assert all(one.still_open == 0 and one.deals > 900 for one in cohorts)
    first, last = (quarter_of(day, settings) for day in (date(2023, 1, 1), date(2024, 7, 1)))
    claim = change_by_close(challenge, first, last, cohorts)
    assert claim.value is None
    assert claim.why == (
        "+208% by close date (36.8 to 113.4 days) compares different choices of deals: none closed in"
        " 2023Q1 can be older than 90 days, the first began on 2023-01-01; 0 deals began in 2024Q3, where"
        " 255 would at the pace of the year before: most that closed are old; 29 deals were closed in"
        " 2024Q3; it takes 30. By creation, cohorts take 63.4 to 65.6 days."
    )
    truth = change_between(cohorts[0], cohorts[-1])
    assert truth.value == pytest.approx(-0.006, abs=0.001)
    assert truth.low is not None and truth.high is not None and truth.low < 0 < truth.high


def test_there_is_no_evidence_of_differences_between_reps(challenge: Known) -> None:
    found = reps(challenge, everything(challenge))
    assert len(found.reps) == 25 and not found.differ
    assert found.variance.value == 0 and found.p is not None and found.p > 0.9
    assert {one.index.why for one in found.reps} == {NO_EVIDENCE}
    assert found.raw_gap == pytest.approx(0.109, abs=0.001)
    assert found.chance_gap.value == pytest.approx(0.139, abs=0.002)
    assert found.chance_p == pytest.approx(0.91, abs=0.03)  # chance alone makes it larger nine times in ten
    assert found.gap.value == 0 and found.audience == "managers"


def test_the_published_pace_comes_out(challenge: Known) -> None:
    """186.6 by the file's count of days; a day more each, and it is 183.8."""
    found = pace(challenge)
    assert found.rem_published.value == pytest.approx(186.6 * 63.75 / 64.75, abs=0.5)
    assert found.rem_exposure.low is not None and found.velocity.value == 0  # nothing is open
    assert found.pvs.why.startswith("the first deal known began on 2023-01-01;")


def test_no_open_money_is_concentrated(challenge: Known) -> None:
    found = concentration(challenge.closed["amount"].to_numpy(), np.full(5_000, 0.45))
    assert found.top_fifth.value == pytest.approx(0.581, abs=5e-4)
    assert found.hhi.value == pytest.approx(0.00042, abs=5e-6)
    assert found.effective_deals.value == pytest.approx(2_370, abs=1)
    assert not found.is_risky


def test_aging_makes_the_forecast_worse(challenge: Known) -> None:
    """Ten starts of months: what each variant said of the open money, and what of it came.

    By the file's own days aging says 41.6%; a close date is the end of its day here, and it says 41.7%.
    """
    moments = [one for one in month_starts(challenge) if datetime(2023, 5, 2, tzinfo=UTC) < one][:10]
    assert [f"{one:%Y-%m}" for one in (moments[0], moments[-1])] == ["2023-06", "2024-03"]
    records = replayed(challenge, [rewound(challenge, moment) for moment in moments])
    told = {name: records[name].told for name in ("weighted", "seed", "survival")}

    def mean(variant: str, what: str) -> float:
        return float(np.mean([getattr(one, what) for one in told[variant]]))

    assert len(told["seed"]) == 10
    assert mean("weighted", "forecast") == pytest.approx(0.4493, abs=0.0005)
    assert mean("seed", "forecast") == pytest.approx(0.4174, abs=0.0005)
    assert mean("seed", "came") == pytest.approx(0.4626, abs=0.0005)
    assert records["seed"].bias.high is not None and records["seed"].bias.high < 0
    bias = records["weighted"].bias
    assert bias.low is not None and bias.high is not None and bias.low < 0 < bias.high


def test_nothing_known_at_the_start_drives_winning(challenge: Known) -> None:
    found = drivers(challenge, days=2_000)
    assert found.n == 5_000 and len(found.drivers) == 14
    assert found.found == () and found.p is not None and found.p > 0.2


@pytest.mark.slow
def test_the_review_of_a_morning_in_the_middle(real_data: Path, tmp_path: Path) -> None:
    as_of = at("2024-03-01 05:00")
    known = landed("challenge", real_data, tmp_path, now=at("2024-08-01 05:00"), as_of=as_of)
    found = forecast(known)
    assert found.published == "weighted" and found.why.startswith(
        "least biased of 3 variants over 9 months: -2.4%"
    )
    assert found.rapv.gap.value == pytest.approx(0.545, abs=0.002)
    card = health(known, found)
    assert card.ratio.value == pytest.approx(0.455, abs=0.002)
    assert card.stalled.value is None and card.overdue.value is None  # nothing of the kind is told
    assert card.breached.value == pytest.approx(0.042, abs=0.005)


@pytest.mark.slow
def test_the_loans_pace_reads_sensibly(real_data: Path, tmp_path: Path) -> None:
    known = landed("loans", real_data, tmp_path, now=at("2012-03-20 05:00"), as_of=at("2012-03-14 06:00"))
    found = forecast(known)
    assert found.published == "survival"  # age says much here: most that is lost is lost at once
    assert found.records["survival"].bias.value == pytest.approx(-0.035, abs=0.01)
    for other in ("weighted", "seed"):
        assert (found.records[other].bias.value or 0) < -0.5
    card = health(known, found)
    assert card.stalled.value == pytest.approx(0.53, abs=0.02) and card.overdue.value is None
    assert reps(known, last_days(known.as_of, known.settings)).differ
    amounts = {one.value: one.odds_ratio for one in drivers(known).drivers}
    assert (amounts["small"].high or 9) < 0.5  # small applications are approved less often
