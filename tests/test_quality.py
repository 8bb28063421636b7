"""Quality says what is true of probabilities whose truth is known, and nothing where nothing is known."""

import json
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from dealwatch.scoring.quality import Calibration, Quality, calibration, difference, quality
from dealwatch.scoring.reliability import bins_of, log_odds, recalibration, wilson

Array = NDArray[np.float64]


def world(deals: int = 800, mornings: int = 5, seed: int = 0) -> tuple[Array, Array, Array]:
    """Outcome, deal and true chance of rows: each deal is seen on several mornings."""
    random = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-1.5 * random.normal(size=deals)))
    lost = (random.random(deals) < chance).astype(float)
    deal = np.repeat(np.arange(deals), mornings)
    return lost[deal], deal, chance[deal]


def sharpened(p: Array, by: float) -> Array:
    return np.asarray(1 / (1 + np.exp(-by * log_odds(p))))


def judged(p: Array, lost: Array, deal: Array) -> Quality:
    return quality(lost, deal, p, p=p, seed=1)


def test_ranks_are_measured_as_the_textbook_does_ties_included() -> None:
    lost, deal, p = world()
    coarse = np.round(p, 1)
    found = judged(coarse, lost, deal)
    assert found.auc == pytest.approx(roc_auc_score(lost, coarse))
    assert found.average_precision == pytest.approx(average_precision_score(lost, coarse))


def test_the_lift_is_the_loss_rate_of_the_riskiest_tenth_over_that_of_all() -> None:
    lost = np.array([1.0, 1, 0, 1, 0, 0, 0, 0, 0, 0] + [0.0] * 10)
    found = quality(lost, np.arange(20), -np.arange(20.0), p=None, seed=1)
    assert found.lift == pytest.approx((2 / 2) / (3 / 20))
    tied = quality(lost, np.arange(20), np.zeros(20), p=None, seed=1)
    assert tied.lift == pytest.approx(1.0)


def test_a_mornings_auc_compares_deals_of_that_morning_only() -> None:
    lost, ranking = np.array([1.0, 0, 1, 0]), np.array([2.0, 1, 20, 10])
    mornings = np.array([1, 1, 2, 2])
    found = quality(lost, np.arange(4), ranking, p=None, seed=1, mornings=mornings)
    assert found.morning_auc == 1.0 and found.auc == 0.75


def test_true_chances_have_a_slope_of_one_and_bins_that_cover_the_truth() -> None:
    covered = 0
    for seed in range(10):
        lost, deal, p = world(seed=seed)
        found = judged(p, lost, deal)
        assert found.slope_low is not None and found.slope_high is not None
        covered += found.slope_low <= 1 <= found.slope_high
        assert sum(b.rate_low <= b.p <= b.rate_high for b in found.reliability) >= 8
    assert covered >= 9


def test_overconfidence_shows_as_a_slope_below_one_and_timidity_above() -> None:
    lost, deal, p = world()
    bold, timid = (judged(sharpened(p, by), lost, deal) for by in (2.0, 0.5))
    assert bold.slope_high is not None and bold.slope_high < 1
    assert timid.slope_low is not None and timid.slope_low > 1
    plain = judged(p, lost, deal)
    assert bold.calibration_error and plain.calibration_error
    assert bold.calibration_error > 2 * plain.calibration_error


def test_saying_too_much_of_everything_shows_in_the_intercept() -> None:
    lost, deal, p = world()
    raised = 1 / (1 + np.exp(-(log_odds(p) + 1)))
    found = judged(raised, lost, deal)
    assert found.intercept_high is not None and found.intercept_high < 0


def test_the_line_is_logistic_regression_and_a_redrawn_line_close_to_solving_anew() -> None:
    lost, deal, p = world()
    line = recalibration(p, lost, deal, deals=800)
    assert line is not None
    x = log_odds(p).reshape(-1, 1)
    peer = LogisticRegression(C=1e12, tol=1e-10).fit(x, lost)
    assert (line.intercept, line.slope) == pytest.approx((peer.intercept_[0], peer.coef_[0, 0]), abs=1e-4)
    drawn = np.random.default_rng(3).integers(800, size=800)
    times = np.bincount(drawn, minlength=800).astype(float)
    anew = LogisticRegression(C=1e12, tol=1e-10).fit(x, lost, sample_weight=times[deal])
    assert line.redrawn(times)[1] == pytest.approx(anew.coef_[0, 0], abs=0.01)


def test_more_mornings_of_the_same_deals_make_no_interval_narrower() -> None:
    few, many = (judged(*rows[::-1]) for rows in map(_turned, (world(mornings=1), world(mornings=20))))
    for name in ("auc", "brier_skill", "slope"):
        a, b = (getattr(q, f"{name}_high") - getattr(q, f"{name}_low") for q in (few, many))
        assert b == pytest.approx(a)
    assert few.reliability[0].rate_high == pytest.approx(many.reliability[0].rate_high)


def _turned(rows: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    lost, deal, p = rows
    return deal, lost, p


def test_bins_hold_alike_many_rows_and_never_part_equal_probabilities() -> None:
    lost, deal, p = world(1000, 1)
    bins = bins_of(p, lost, deal)
    assert [b.n for b in bins] == [100] * 10
    assert all(a.high < b.low for a, b in pairwise(bins))
    lumpy = bins_of(np.r_[np.full(900, 0.3), np.full(100, 0.8)], lost, deal)
    assert [b.n for b in lumpy] == [900, 100]


def test_a_bin_without_a_loss_still_has_an_interval() -> None:
    (found,) = bins_of(np.full(40, 0.1), np.zeros(40), np.repeat(np.arange(10), 4))
    assert (found.rate, found.rate_low) == (0.0, 0.0)
    assert found.rate_high == pytest.approx(wilson(0.0, 10)[1]) == pytest.approx(0.2775, abs=1e-4)


@pytest.mark.parametrize("lost", [np.ones(4), np.zeros(0)])
def test_one_outcome_alone_leaves_everything_unknown(lost: Array) -> None:
    found = quality(lost, np.arange(len(lost)), lost, p=lost, seed=1)
    counts = {"rows", "deals", "won", "lost"}
    assert not any(value for name, value in found.as_dict().items() if name not in counts)
    assert found.rows == len(lost)


def test_what_has_no_slope_says_so() -> None:
    lost = np.array([0.0, 1, 0, 1])
    constant = quality(lost, np.arange(4), lost, p=np.full(4, 0.5), seed=1)
    assert constant.slope is None and constant.brier_skill == 0.0
    parted = quality(lost, np.arange(4), lost, p=np.array([0.1, 0.9, 0.2, 0.8]), seed=1)
    assert parted.slope is None and parted.auc == 1.0


def test_quality_can_be_written_as_json() -> None:
    lost, deal, p = world(60, 2)
    told = json.loads(json.dumps(judged(p, lost, deal).as_dict(), allow_nan=False))
    assert set(told["reliability"][0]) == {
        "low",
        "high",
        "n",
        "deals",
        "p",
        "rate",
        "rate_low",
        "rate_high",
    }


def test_a_difference_is_surer_than_two_intervals_side_by_side() -> None:
    lost, deal, p = world()
    noisy = sharpened(p, 1.0) + 0.08 * np.random.default_rng(2).normal(size=len(p))
    noisy = np.clip(noisy, 0.01, 0.99)
    found = difference(lost, deal, (p, p), (noisy, noisy), seed=1)
    assert found.auc_low is not None and found.auc_low > 0
    assert found.brier_high is not None and found.brier_high < 0
    same = difference(lost, deal, (p, p), (p, None), seed=1)
    assert (same.auc, same.auc_low, same.auc_high, same.brier) == (0.0, 0.0, 0.0, None)


def test_the_bias_is_what_was_lost_beyond_what_was_said_with_an_interval_by_deals() -> None:
    lost, deal, p = world()
    plain, low = judged(p, lost, deal), judged(p - 0.1, lost, deal)
    assert plain.bias == pytest.approx(lost.mean() - p.mean())
    assert plain.bias is not None and low.bias == pytest.approx(plain.bias + 0.1)
    assert plain.bias_low is not None and plain.bias_high is not None and plain.bias_low < 0 < plain.bias_high
    error = np.bincount(deal, lost - p - plain.bias).std() / 5 / np.sqrt(800)
    assert (plain.bias_high - plain.bias_low) / 3.92 == pytest.approx(error, rel=0.15)


def test_probabilities_mean_what_they_say_only_when_slope_and_bias_both_do() -> None:
    lost, deal, p = world()
    assert calibration(judged(p, lost, deal)) == Calibration("right", "right")
    lowered = judged(1 / (1 + np.exp(1.5 - log_odds(p))), lost, deal)
    assert lowered.slope_low is not None and lowered.slope_high is not None
    assert lowered.slope_low < 1 < lowered.slope_high, "the slope alone would pass it"
    assert calibration(lowered) == Calibration("right", "high") and calibration(lowered).is_off
    assert calibration(judged(sharpened(p, 2.0), lost, deal)).slope == "low"
    assert calibration(judged(sharpened(p, 0.5), lost, deal)).slope == "high"
    assert calibration(judged(np.minimum(p + 0.2, 0.999), lost, deal)).bias == "low"


def test_many_deals_make_no_fault_of_what_nobody_would_act_on() -> None:
    found = Quality(
        *(20_000, 20_000, 9_000, 11_000),
        **{"slope": 0.88, "slope_low": 0.85, "slope_high": 0.91},
        **{"bias": 0.02, "bias_low": 0.01, "bias_high": 0.03},
    )
    assert calibration(found) == Calibration("near", "near") and not calibration(found).is_off
    assert calibration(found, near_slope=0.05).is_off and calibration(found, near_bias=0.01).is_off


def test_two_dozen_deals_are_too_few_to_say() -> None:
    lost, deal, p = world(24, 3)
    found = calibration(judged(p, lost, deal))
    assert found == Calibration("unsure", "unsure") and not found.is_sure and not found.is_off
    nothing = calibration(Quality(0, 0, 0, 0))
    assert nothing == Calibration("unknown", "unknown") and nothing.is_off


def test_a_calibration_error_stands_beside_what_chance_alone_makes() -> None:
    beyond = 0
    for seed in range(10):
        lost, deal, p = world(100, seed=seed)
        found = judged(p, lost, deal)
        assert found.calibration_error and found.calibration_error_chance
        beyond += found.calibration_error > found.calibration_error_chance
    assert beyond <= 1, "these are true chances: all of the error is chance's"
    off = judged(p - 0.2, lost, deal)
    assert off.calibration_error and off.calibration_error_chance
    assert off.calibration_error > 1.2 * off.calibration_error_chance


def test_brier_scores_and_loss_rate_come_with_intervals() -> None:
    lost, deal, p = world()
    found = judged(p, lost, deal).as_dict()
    for name in ("loss_rate", "brier", "brier_constant"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
