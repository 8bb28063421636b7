"""What came true is compared with the promise: by deal, as at the trial, and beyond what matters little."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from dealwatch.knobs import Scoring
from dealwatch.scoring.realised import LEAST, MARGINS, Realised, judged_at, realised
from dealwatch.settings import Settings
from ledger_rows import at, deal, ledger

SETTINGS = Settings(time_zone="UTC", scoring=Scoring(panel_months=12))
START = datetime(2026, 1, 4, 6, tzinfo=UTC)
TRIAL = {
    "auc": 0.8,
    "auc_low": 0.78,
    "auc_high": 0.82,
    "brier_skill": 0.3,
    "brier_skill_low": 0.27,
    "brier_skill_high": 0.33,
    "loss_rate": 0.5,
    "deals": 2000,
    "reliability": [
        {"n": 100, "p": 0.2, "rate": 0.25},
        {"n": 300, "p": 0.7, "rate": 0.69},
    ],
}


def rows(*, signal: float, offset: float = 0.0, deals: int = 1500, mornings: int = 3) -> pl.DataFrame:
    """Deals with probabilities that come true when `signal` is 1 and `offset` 0; each on some mornings."""
    random = np.random.default_rng(1)
    p = 1 / (1 + np.exp(-random.normal(0, 1.5, deals)))
    true = np.clip(0.5 + signal * (p - 0.5) + offset, 0, 1)
    lost = (random.random(deals) < true).astype(np.int8)
    deal = np.repeat(np.arange(deals), mornings)
    return pl.DataFrame(
        {
            "as_of": [START + timedelta(weeks=n) for _ in range(deals) for n in range(mornings)],
            "deal_id": [f"d{n:04}" for n in deal],
            "stage": ["Propose" if n % 3 else "Demo" for n in deal],
            "p_loss": p[deal],
            "lost": lost[deal],
        }
    )


def of(found: list[Realised], kind: str, subject: str = "overall") -> Realised:
    (one,) = [one for one in found if (one.kind, one.subject) == (kind, subject)]
    return one


def test_what_comes_true_as_promised_is_no_alarm() -> None:
    found = realised(rows(signal=1.0), TRIAL, settings=SETTINGS)
    for kind in ("auc", "brier_skill", "bias"):
        assert of(found, kind).p > 0.05, kind
        assert of(found, kind).deals == 1500


def test_what_ranks_worse_than_promised_is_seen() -> None:
    found = realised(rows(signal=0.4), TRIAL, settings=SETTINGS)
    for kind in ("auc", "brier_skill"):
        one = of(found, kind)
        assert one.p < 1e-4 and one.value < one.threshold < one.expected, kind


def test_more_losses_than_foretold_are_seen_on_either_side() -> None:
    more, fewer = (
        of(realised(rows(signal=1.0, offset=by), TRIAL, settings=SETTINGS), "bias") for by in (0.15, -0.15)
    )
    assert more.p < 1e-4 and more.value > more.threshold > 0.05
    assert fewer.p < 1e-4 and fewer.value < fewer.threshold < -0.05


def test_nearer_to_right_than_the_trial_is_never_worse() -> None:
    far_off = TRIAL | {"reliability": [{"n": 1, "p": 0.5, "rate": 0.7}], "slope": 0.5}
    found = realised(rows(signal=1.0), far_off | {"slope_low": 0.45, "slope_high": 0.55}, settings=SETTINGS)
    assert of(found, "bias").p > 0.99 and of(found, "bias").expected == pytest.approx(0.2)
    assert of(found, "slope").p > 0.99 and of(found, "slope").value > 0.9


def test_the_bias_of_the_trial_itself_is_what_is_expected() -> None:
    assert of(realised(rows(signal=1.0), TRIAL, settings=SETTINGS), "bias").expected == pytest.approx(0.005)


def test_a_difference_too_small_to_matter_is_none_however_many_deals_show_it() -> None:
    sure = TRIAL | {"deals": 10**9, "auc_low": 0.7999, "auc_high": 0.8001}
    found = of(realised(rows(signal=1.0, deals=20_000, mornings=1), sure, settings=SETTINGS), "auc")
    assert abs(found.value - 0.8) < MARGINS["auc"] + 0.03
    promised = sure | {
        "auc": found.value + MARGINS["auc"] / 2,
        "auc_low": found.value,
        "auc_high": found.value,
    }
    assert (
        of(realised(rows(signal=1.0, deals=20_000, mornings=1), promised, settings=SETTINGS), "auc").p > 0.5
    )


def test_the_mornings_of_a_deal_do_not_narrow_an_interval() -> None:
    once = of(realised(rows(signal=1.0, mornings=1), TRIAL, settings=SETTINGS), "bias")
    often = of(realised(rows(signal=1.0, mornings=9), TRIAL, settings=SETTINGS), "bias")
    assert often.deals == once.deals
    assert often.high - often.low == pytest.approx(once.high - once.low)


def test_a_stage_is_compared_with_what_was_promised_for_it_and_with_nothing_else() -> None:
    by_stage = TRIAL | {
        "by_stage": [{**TRIAL, "name": "Demo", "auc": 0.95, "auc_low": 0.94, "auc_high": 0.96}]
    }
    found = realised(rows(signal=1.0), by_stage, settings=SETTINGS)
    assert of(found, "auc", "Demo").p < 0.01
    assert of(found, "auc", "Propose").p is None
    assert of(found, "auc", "overall").p > 0.05


def test_scores_of_several_models_are_history_and_compared_with_nothing() -> None:
    found = realised(rows(signal=1.0), None, settings=SETTINGS)
    assert of(found, "auc").value is not None
    assert {one.p for one in found} == {None}


def test_too_few_outcomes_are_not_judged() -> None:
    assert realised(rows(signal=1.0, deals=LEAST), TRIAL, settings=SETTINGS) == []
    assert {one.subject for one in realised(rows(signal=1.0, deals=180), TRIAL, settings=SETTINGS)} == {
        "overall",
        "Propose",
    }


def test_only_mornings_of_which_most_deals_have_ended_are_judged() -> None:
    deals = {
        f"d{week:02}{n}": deal(
            f"2026-{1 + week // 4:02}-{1 + week % 4 * 7:02} 03:00",
            stage="A",
            outcome=[(f"2026-{1 + (week + 2 * n) // 4:02}-{2 + (week + 2 * n) % 4 * 7:02}", "lost")],
        )
        for week in range(24)
        for n in (1, 3, 5)
    }
    known = ledger(deals)
    moment = at("2026-07-01 06:00")
    mornings = [at("2026-01-04 06:00") + timedelta(weeks=n) for n in range(25)]
    scored = pl.DataFrame(
        [{"as_of": m, "deal_id": d, "p_loss": 0.5} for m in mornings for d in deals],
        schema_overrides={"as_of": pl.Datetime("us", "UTC")},
    )
    judged = judged_at(known, scored, moment, settings=SETTINGS)
    assert 0 < judged["as_of"].n_unique() < 25
    last = judged["as_of"].max()
    assert moment - timedelta(days=100) < last <= moment - timedelta(days=30)  # type: ignore[operator]
    open_then = scored.filter(pl.col("as_of") == last).join(judged, on=["as_of", "deal_id"], how="semi")
    assert open_then.height > 0
    earlier = judged_at(known, scored, moment - timedelta(days=7), settings=SETTINGS)
    assert earlier["as_of"].max() < last  # type: ignore[operator]
