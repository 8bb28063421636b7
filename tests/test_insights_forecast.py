"""What will be won: chances by age, four variants, each one's own past error, and two quarters' money."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from dealwatch.insights.forecast import Forecast, forecast, least_biased
from dealwatch.insights.known import Known
from dealwatch.insights.rapv import VARIANTS, rapv
from dealwatch.insights.replay import month_starts, past_origins, replayed, rewound
from dealwatch.insights.statistics import Z
from dealwatch.insights.win_curves import WinCurve, waits, win_curves
from ledger_rows import at
from review_rows import UTC_SETTINGS, Life, begun, ended, known_at


def day(text: str, plus: float) -> str:
    return f"{at(text) + timedelta(days=plus):%Y-%m-%d %H:%M}"


def copies(of: tuple[tuple[int, bool], ...], times: int, first: str = "2025-01-01") -> list[Life]:
    """Deals of so many days, won or not, each so many times, all begun on one day."""
    return [ended(first, day(first, days), won=won, amount="100") for days, won in of for _ in range(times)]


WAITS = copies(((10, True), (20, False), (30, True), (40, False)), 10)  # F: 1/4 from 10, 1/2 from 30


def aged(*ages: float, moment: str = "2026-01-01") -> list[Life]:
    return [begun(day(moment, -age), amount="100") for age in ages]


def test_chances_by_age_are_the_curves_closed_form() -> None:
    days, how = waits(known_at("2026-01-01", WAITS))
    curve, ages = WinCurve.of(days, how), np.array([0.0, 15.0, 35.0, 300.0])
    assert curve.between(ages, 0, np.inf) == pytest.approx([1 / 2, (1 / 2 - 1 / 4) / (3 / 4), 0, 0])
    assert curve.between(ages, 0, 20) == pytest.approx([1 / 4, (1 / 2 - 1 / 4) / (3 / 4), 0, 0])


@given(ages=st.lists(st.floats(0, 200), min_size=1, max_size=5), cut=st.floats(0, 100))
@settings(max_examples=15, deadline=None)
def test_a_chance_is_the_sum_of_its_spans(ages: list[float], cut: float) -> None:
    known = known_at("2026-01-01", [*WAITS, *aged(*ages)])
    curves = win_curves(known)
    assert curves is not None
    whole = curves.between(0, cut) + curves.between(cut, np.inf)
    assert whole == pytest.approx(curves.ever(), abs=1e-12)


def test_a_segment_with_fifty_closed_deals_has_a_curve_of_its_own() -> None:
    by_region = UTC_SETTINGS.model_copy(
        update={"pipeline": UTC_SETTINGS.pipeline.model_copy(update={"segment_by": ("region",)})}
    )
    lives = [
        ended("2025-01-01", day("2025-01-01", 10 + n % 7), won=won, region=region)
        for region, won, deals in (("EMEA", True, 50), ("APAC", False, 50), ("LATAM", True, 49))
        for n in range(deals)
    ]
    lives += [begun("2025-12-31", region=region) for region in ("EMEA", "APAC", "LATAM")]
    curves = win_curves(known_at("2026-01-01", lives, settings=by_region))
    assert curves is not None
    assert curves.ever() == pytest.approx([1, 0, 99 / 149])  # LATAM goes by everyone's


def test_newcomers_win_what_one_a_day_would() -> None:
    curves = win_curves(known_at("2026-01-01", WAITS))
    assert curves is not None
    each_day = [curves.everyone.wins.at(45 - begin)[0] for begin in np.arange(0.005, 45, 0.01)]
    assert curves.everyone.wins_of_newcomers(45) == pytest.approx(sum(each_day) * 0.01, rel=1e-3)


SEGMENTED = [
    ended("2025-01-01", "2025-01-11", won=True, amount="10", region="EMEA", industry="SaaS"),
    ended("2025-01-01", "2025-01-21", won=False, amount="10", region="EMEA", industry="SaaS"),
    ended("2025-01-01", "2025-01-31", won=False, amount="10", region="APAC", industry="SaaS"),
    begun("2025-12-12", amount="1000", region="EMEA", industry="SaaS"),  # 20 days old
    begun("2025-12-31", amount="500", region="LATAM"),
]


def test_the_published_form_is_the_mean_of_segment_rates_times_aging() -> None:
    known = known_at("2026-01-01", SEGMENTED)
    rate = (1 / 2 + 1 / 3) / 2  # of EMEA and of SaaS; nobody told a product type
    assert VARIANTS["weighted"](known) == pytest.approx([rate, 1 / 3])
    cycle = (15 + 20) / 2
    assert VARIANTS["seed"](known) == pytest.approx([rate * cycle / 20, 1 / 3])
    found = rapv(known, "seed")
    p = np.array([rate * cycle / 20, 1 / 3])
    a = np.array([1000.0, 500.0])
    assert found.value.value == pytest.approx((a * p).sum())
    half = Z * np.sqrt((a**2 * p * (1 - p)).sum())
    assert found.value.low == pytest.approx(max((a * p).sum() - half, 0))
    assert found.value.high == pytest.approx(min((a * p).sum() + half, 1500))
    assert found.gap.value == pytest.approx(1 - (a * p).sum() / 1500)
    assert found.value.n_eff == pytest.approx(1500**2 / (1000**2 + 500**2))


def test_a_variant_without_chances_is_null_with_its_reason() -> None:
    known = known_at("2026-01-01", SEGMENTED)
    assert "most were not scored" in rapv(known, "model").value.why
    assert "no deal has closed" in rapv(known_at("2026-01-01", SEGMENTED[3:]), "weighted").value.why
    assert "no deal is open" in rapv(known_at("2026-01-01", SEGMENTED[:3]), "survival").value.why
    pounds = [*SEGMENTED, begun("2025-12-31", amount="1", currency="GBP")]
    assert "GBP" in rapv(known_at("2026-01-01", pounds), "weighted").value.why


def test_the_model_stands_in_for_few_unscored_deals_only() -> None:
    known = known_at("2026-01-01", [*WAITS, *aged(*[1.0] * 20)])

    def scored(missing: int) -> Known:
        told = pl.Series("p_loss", [None] * missing + [0.25] * (20 - missing), dtype=pl.Float64)
        return replace(known, open=known.open.with_columns(told))

    assert VARIANTS["model"](scored(0)) == pytest.approx([0.75] * 20)
    assert VARIANTS["model"](scored(1)) == pytest.approx([0.5] + [0.75] * 19)
    assert np.isnan(VARIANTS["model"](scored(3))[:3]).all()


def test_a_rewound_moment_is_what_was_known_then() -> None:
    lives = [
        ended("2025-01-01", "2025-02-01", won=True, amount=[("2025-01-01", "5"), ("2025-01-20", "8")]),
        ended("2025-01-02", "2025-03-01", won=False, amount=[("2025-01-02", "7"), ("2025-02-20", "9")]),
        ended("2025-02-20", "2025-03-01", won=True, amount="1"),
        begun(
            "2025-01-03",
            amount=[("2025-01-03", "1"), ("2025-01-09", "2"), ("2025-02-20", "3"), ("2025-03-02", "4")],
        ),
        begun("2025-01-03", amount=[("2025-02-20", "3")]),
    ]
    then = "2025-02-10 06:00"
    exact, again = known_at(then, lives), rewound(known_at("2025-04-01", lives), at(then))
    shared = ["deal_id", "created_at", "amount", "age_days", "p_loss"]
    assert exact.open.height == 3
    assert_frame_equal(again.open.select(shared), exact.open.select(shared))
    assert_frame_equal(again.closed, exact.closed)
    assert all(told(again) == pytest.approx(told(exact), nan_ok=True) for told in VARIANTS.values())


def coins(first: str, days: int, *, share: float = 0.5, seed: int = 1) -> list[Life]:
    """Four deals a day, each won by a coin, closed after 5 to 45 days that say nothing."""
    rng = np.random.default_rng(seed)
    return [
        ended(
            day(first, n / 4),
            day(first, n / 4 + rng.uniform(5, 45)),
            won=bool(rng.random() < share),
            amount="100",
        )
        for n in range(4 * days)
    ]


COINS = known_at("2026-01-20", coins("2025-01-01", 384))


def test_aging_is_found_to_be_wrong_and_a_fair_variant_is_published() -> None:
    found = forecast(COINS)
    records = found.records
    assert found.published in ("survival", "weighted") and records[found.published].moments >= 9
    bias = {name: record.bias for name, record in records.items()}
    assert bias["seed"].high is not None and bias["seed"].high < 0  # by construction too low
    fair = bias["weighted"]
    assert fair.low is not None and fair.high is not None and fair.low < 0 < fair.high
    assert bias["model"].value is None and bias["model"].why
    assert found.why.startswith("least biased of 3 variants over")
    smallest = min(abs(one.value) for one in bias.values() if one.value is not None)
    assert abs(bias[found.published].value or 9) == smallest


def test_moments_are_ripe_months_and_twelve_at_most() -> None:
    origins = past_origins(COINS)
    assert [f"{one.as_of:%m-%d %H}" for one in origins][-1] == "12-01 06"  # January is too young
    assert len(origins) <= 12 and all(one.closed.height >= 200 for one in origins)
    assert month_starts(COINS)[-1] == at("2026-01-01 06:00")
    assert all((one.closed["closed_at"] <= one.as_of).all() for one in origins)


def test_without_enough_months_nothing_is_judged_and_the_reason_told() -> None:
    young = known_at("2025-03-20", coins("2025-01-01", 78))
    records = replayed(young, past_origins(young))
    assert records["weighted"].bias.why == "it can be judged by 0 earlier months; it takes 3."
    variants = {name: rapv(young, name) for name in VARIANTS}
    assert least_biased(variants, records)[0] == "survival"


def test_the_future_of_a_moment_reaches_it_by_outcomes_alone() -> None:
    """The chances told at a moment are the same whatever comes later."""
    lives = coins("2025-01-01", 200)
    later = [*lives, *copies(((3, True),), 300, first="2025-07-20")]
    before, after = (
        rewound(known_at(moment, deals), at("2025-05-01 06:00"))
        for moment, deals in (("2025-07-10", lives), ("2025-12-01", later))
    )
    assert before.open["deal_id"].equals(after.open["deal_id"])
    for told in (VARIANTS["survival"], VARIANTS["weighted"], VARIANTS["seed"]):
        assert told(before).tolist() == told(after).tolist()


def test_a_quarter_is_won_and_open_and_new_and_the_next_one_has_nothing_won() -> None:
    found: Forecast = forecast(COINS)
    this, following = found.this_quarter, found.next_quarter
    assert (this.window.name, following.window.name) == ("2026Q1", "2026Q2")
    for quarter in (this, following):
        parts = [quarter.won.value, quarter.of_open.value, quarter.of_new.value]
        assert quarter.total.value == pytest.approx(sum(part or 0 for part in parts))
    assert following.won.value == 0 and (this.won.value or 0) > 0
    # Four coins a day at 100 win 200 a day; no deal takes more than 45 days.
    assert following.total.value == pytest.approx(91 * 200, rel=0.1)
    spans = (this.of_open.value or 0) + (following.of_open.value or 0)
    assert spans == pytest.approx(found.rapv.value.value, rel=1e-6)


def test_no_new_deals_lately_means_none_are_expected() -> None:
    dry = known_at("2026-06-20", coins("2025-01-01", 384))
    assert forecast(dry).next_quarter.total.value == 0.0


@given(scale=st.floats(0.01, 1e6))
@settings(max_examples=5, deadline=None)
def test_money_scales_and_shares_do_not(scale: float) -> None:
    larger = replace(COINS, open=COINS.open.with_columns(pl.col("amount") * scale))
    for variant in ("survival", "weighted", "seed"):
        before, after = rapv(COINS, variant), rapv(larger, variant)
        assert after.value.value == pytest.approx(scale * (before.value.value or 0))
        assert after.gap.value == pytest.approx(before.gap.value)
