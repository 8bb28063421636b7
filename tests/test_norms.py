"""Norms: what was known of waiting times by then, with open deals censored and other endings competing."""

import warnings
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from dealwatch.knobs import Pipeline
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.norms import CENSORED, COMPETING, EVENT, cumulative_incidence, norms_of
from dealwatch.settings import Settings
from ledger_rows import at, deal, ledger

DAY = 86_400_000_000
STAGES = ("Qualify", "Propose", "Negotiate")
WIN_NORMS = [f"segment_win_p{q}_days" for q in (50, 80, 95)]
STAGE_NORMS = [f"stage_p{q}_days" for q in (50, 80, 95)]


def settings_of(**pipeline: Any) -> Settings:
    return Settings(time_zone="UTC", pipeline=Pipeline(stages=STAGES, norm_minimum=5, **pipeline))


def days(*values: float) -> np.ndarray:
    return np.array([round(value * DAY) for value in values], dtype=np.int64)


def incidence(ended: list[tuple[float, int]], running: list[float]) -> list[tuple[float, float]]:
    times, shares = cumulative_incidence(
        days(*(t for t, _ in ended)), np.array([o for _, o in ended]), days(*running)
    )
    return [(time / DAY, share) for time, share in zip(times, shares, strict=True)]


def test_incidence_by_hand() -> None:
    # Day 1: one of 5 wins. Day 2: one of 4 is lost. One has waited for 3 days so far. Day 4: one of 2 wins.
    ended = [(1.0, EVENT), (2.0, COMPETING), (4.0, EVENT), (5.0, COMPETING)]
    times, shares = zip(*incidence(ended, [3.0]), strict=True)
    assert times == (1.0, 2.0, 4.0, 5.0)
    assert shares == pytest.approx((1 / 5, 1 / 5, 1 / 5 + 3 / 5 / 2, 1 / 5 + 3 / 5 / 2))


def test_who_is_censored_when_something_ends_was_still_at_risk() -> None:
    assert incidence([(1.0, EVENT)], [1.0]) == [(1.0, 0.5)]
    assert incidence([(1.0, CENSORED), (1.0, EVENT)], []) == [(1.0, 0.5)]


def test_a_norm_is_a_quantile_among_those_it_happens_to() -> None:
    ended = [(float(day), EVENT) for day in range(1, 11)]
    lost = [(0.5, COMPETING)] * 90
    outcome = np.array([o for _, o in [*lost, *ended]])
    assert norms_of(days(*(t for t, _ in [*lost, *ended])), outcome, days()) == (5.0, 8.0, 10.0)


def test_losses_before_the_first_win_leave_the_norms_where_they_are() -> None:
    wins = [(1.3, EVENT), (2.0, COMPETING), (2.5, EVENT), (4.0, EVENT), (7.0, EVENT), (7.5, EVENT)]
    open_ = [1.5, 3.0, 9.0]
    quick = [(0.01, COMPETING)] * 500

    def norms(ended: list[tuple[float, int]]) -> tuple[float, ...]:
        return norms_of(days(*(t for t, _ in ended)), np.array([o for _, o in ended]), days(*open_))

    assert norms([*quick, *wins]) == norms(wins)


@pytest.mark.slow  # importing lifelines takes seconds
@pytest.mark.parametrize("seed", range(20))
def test_incidence_is_what_lifelines_says(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifelines import AalenJohansenFitter

        random = np.random.default_rng(seed)
        n = int(random.integers(5, 60))
        length = random.integers(1, 12, n)  # many ties
        outcome = random.integers(0, 3, n)
        outcome[0] = EVENT
        fitter = AalenJohansenFitter(calculate_variance=False, jitter_level=1e-9, seed=seed)
        # lifelines moves ties apart at random, so each end is moved apart here, events of interest first.
        apart = np.lexsort((np.arange(n), length))
        spread = np.empty(n)
        spread[apart] = length[apart] + np.arange(n) * 1e-4
        fitter.fit(spread, outcome, event_of_interest=EVENT)
    is_open = outcome == CENSORED
    us = np.round(spread * DAY).astype(np.int64)
    order = np.argsort(us[~is_open])
    times, shares = cumulative_incidence(us[~is_open][order], outcome[~is_open][order], np.sort(us[is_open]))
    theirs = fitter.cumulative_density_.iloc[:, 0]
    at_times = theirs.to_numpy()[
        np.searchsorted(theirs.index.to_numpy(), times / DAY + 1e-7, side="right") - 1
    ]
    assert shares == pytest.approx(at_times, abs=1e-9)


def test_tied_ends_count_together() -> None:
    # Day 1: of four, two win and one is lost, all at risk of everything at that instant.
    assert incidence([(1.0, EVENT), (1.0, COMPETING), (1.0, EVENT), (2.0, EVENT)], []) == [
        (1.0, 0.5),
        (2.0, 0.75),
    ]


def win_norms(deals: dict[str, Any], moment: datetime, **pipeline: Any) -> dict[str, list[float | None]]:
    rows = facts_at(ledger(deals), [moment], settings=settings_of(**pipeline))
    return {row["deal_id"]: [row[name] for name in WIN_NORMS] for row in rows.iter_rows(named=True)}


def closed(outcome: str, took: int, **fields: Any) -> dict[str, Any]:
    """A deal created on 1 January 2026 and closed so many days later."""
    return deal("2026-01-01", outcome=[(f"2026-01-{1 + took:02}", outcome)], **fields)


def test_time_to_win_is_learned_from_wins_losses_and_open_deals() -> None:
    deals = {f"w{n}": closed("won", n) for n in (2, 4, 6, 8, 10)} | {"l": closed("lost", 1)}
    assert win_norms(deals | {"d": deal("2026-02-01")}, at("2026-02-01"))["d"] == [6.0, 8.0, 10.0]
    # Three open for five days: after the loss 8 wait, 2 are won by day 4, three share the other 6/8.
    late = {f"d{n}": deal("2026-01-27") for n in range(3)}
    assert win_norms(deals | late, at("2026-02-01"))["d0"] == [6.0, 10.0, 10.0]
    # Open for 3, 9 and 1 days: 7, 5, 4, 3 and 1 wait at the wins; 13, 28, 43, 58, 89 in 100 are won by them.
    mixed = {"x": deal("2026-01-29"), "y": deal("2026-01-23"), "z": deal("2026-01-31")}
    assert win_norms(deals | mixed, at("2026-02-01"))["x"] == [8.0, 10.0, 10.0]


def test_a_norm_needs_its_minimum_of_wins() -> None:
    deals = {f"w{n}": closed("won", n) for n in (2, 4, 6, 8)} | {f"l{n}": closed("lost", n) for n in (2, 3)}
    asking = {"d": deal("2026-02-01")}
    assert win_norms(deals | asking, at("2026-02-01"))["d"] == [None] * 3
    assert win_norms(deals | asking | {"w": closed("won", 9)}, at("2026-02-01"))["d"] == [6.0, 8.0, 9.0]


def test_a_thin_segment_borrows_from_the_next_wider_one() -> None:
    def wins(lengths: list[int], product: str, region: str) -> dict[str, Any]:
        return {
            f"{product}{region}{n}": closed("won", n, product_type=product, region=region) for n in lengths
        }

    deals = wins([1, 2, 3, 4, 5], "Core", "North") | wins([11], "Core", "South") | wins([21], "Edge", "South")
    asking = {
        "core north": deal("2026-02-01", product_type="Core", region="North"),
        "core south": deal("2026-02-01", product_type="Core", region="South"),
        "edge south": deal("2026-02-01", product_type="Edge", region="South"),
        "unheard": deal("2026-02-01"),
    }
    norms = win_norms(deals | asking, at("2026-02-01"))
    assert [norms[d] for d in asking] == [[3, 4, 5], [3, 5, 11], [4, 11, 21], [4, 11, 21]]
    by_region = win_norms(deals | asking, at("2026-02-01"), segment_by=("region", "product_type"))
    assert [by_region[d] for d in asking] == [[3, 4, 5], [4, 11, 21], [4, 11, 21], [4, 11, 21]]


def test_wins_not_known_yet_and_deals_reopened_do_not_count() -> None:
    deals = {f"w{n}": closed("won", n) for n in (2, 4, 6, 8, 10)} | {"d": deal("2026-01-11")}
    assert win_norms(deals, at("2026-01-10 23:59:59")) == {"w10": [None] * 3}
    assert win_norms(deals, at("2026-01-11"))["d"] == [6.0, 8.0, 10.0]
    deals["w10"]["outcome"].append(("2026-01-12", None))
    assert win_norms(deals, at("2026-01-12"))["d"] == [None] * 3


def test_a_deleted_deal_is_censored_when_it_went() -> None:
    deals = {f"w{n}": closed("won", n) for n in (1, 2, 3, 4, 9)}
    gone = {f"x{n}": deal("2026-01-01", deleted=[("2026-01-06", "true")]) for n in range(20)}
    # As nobody knows how they would have ended, the one deal won after they went stands for them all.
    assert win_norms(deals | gone | {"d": deal("2026-02-01")}, at("2026-02-01"))["d"] == [9.0, 9.0, 9.0]


def stage_norms(deals: dict[str, Any], moment: datetime, **pipeline: Any) -> dict[str, list[float | None]]:
    rows = facts_at(ledger(deals), [moment], settings=settings_of(**pipeline))
    return {row["deal_id"]: [row[name] for name in STAGE_NORMS] for row in rows.iter_rows(named=True)}


def path(*steps: tuple[int, str], outcome: tuple[int, str] | None = None) -> dict[str, Any]:
    """A deal created on 1 January 2026; steps and outcome by day of January."""
    ends = {"outcome": [(f"2026-01-{outcome[0]:02}", outcome[1])]} if outcome else {}
    return deal("2026-01-01", stage=[(f"2026-01-{day:02}", stage) for day, stage in steps], **ends)


def test_a_stage_is_left_forwards_by_a_later_stage_or_a_win() -> None:
    deals = {
        "a": path((1, "Propose"), (2, "Negotiate")),
        "b": path((1, "Propose"), outcome=(3, "won")),
        "c": path(
            (1, "Propose"), (4, "Negotiate"), (6, "Propose"), (11, "Negotiate")
        ),  # two spells: 3 and 5 days
        "d": path((1, "Propose"), (1 + 4, "Negotiate")),
        "asking": deal("2026-01-31", stage="Propose"),
    }
    assert stage_norms(deals, at("2026-01-31"))["asking"] == [3.0, 4.0, 5.0]


def test_moves_back_and_losses_compete_and_the_waiting_are_censored() -> None:
    forward = {f"f{n}": path((1, "Propose"), (1 + n, "Negotiate")) for n in (2, 4, 6, 8, 10)}
    back = {f"b{n}": path((1, "Propose"), (2, "Qualify")) for n in range(4)}
    lost = {f"l{n}": path((1, "Propose"), outcome=(2, "lost")) for n in range(4)}
    asking = {"asking": deal("2026-01-31", stage="Propose")}
    assert stage_norms(forward | back | lost | asking, at("2026-01-31"))["asking"] == [6.0, 8.0, 10.0]
    # Twenty that have waited for seven days: the moves by then are 3 of 25, the other two stand for the rest.
    waiting = {f"w{n}": deal("2026-01-24", stage="Propose") for n in range(20)}
    assert stage_norms(forward | waiting | asking, at("2026-01-31"))["asking"] == [8.0, 10.0, 10.0]


def test_the_stage_of_the_closing_instant_is_no_open_stage() -> None:
    deals = {
        f"d{n}": path((1, "Propose"), (1 + n, "Closed"), outcome=(1 + n, "won")) for n in (2, 4, 6, 8, 10)
    } | {"asking": deal("2026-01-31", stage="Propose")}
    learned = Settings(time_zone="UTC", pipeline=Pipeline(norm_minimum=5))
    row = facts_at(ledger(deals), [at("2026-01-31")], settings=learned).row(0, named=True)
    assert [row[name] for name in STAGE_NORMS] == [6.0, 8.0, 10.0]
    assert row["stage_reached"] == 0.0  # the only open stage there is


def test_stage_norms_pool_upward_within_the_stage_only() -> None:
    deals = {f"f{n}": path((1, "Propose"), (1 + n, "Negotiate")) for n in (2, 4, 6, 8, 10)}
    deals["asking"] = deal("2026-01-31", stage="Propose", product_type="Core", region="North")
    deals["other"] = deal("2026-01-31", stage="Qualify", product_type="Core", region="North")
    norms = stage_norms(deals, at("2026-01-31"))
    assert norms["asking"] == [6.0, 8.0, 10.0] and norms["other"] == [None] * 3


def test_shares_of_norms_and_long_cycles_follow() -> None:
    deals = {
        f"w{n}": path((1, "Qualify"), (1 + n, "Propose"), outcome=(1 + 2 * n, "won")) for n in (1, 2, 3, 4, 5)
    }
    deals["old"] = deal("2026-01-20", stage="Qualify")
    deals["new"] = deal("2026-01-29", stage="Qualify")
    deals["odd"] = deal("2026-01-20", stage="Negotiate")
    rows = facts_at(ledger(deals), [at("2026-01-31")], settings=settings_of())
    told = {
        row["deal_id"]: [row[n] for n in ("age_share", "stage_share", "is_long_cycle")]
        for row in rows.iter_rows(named=True)
    }
    assert rows["segment_win_p50_days"].unique().to_list() == [6.0]
    assert told["new"] == [pytest.approx(2 / 6), pytest.approx(2 / 3), False]
    assert told["old"] == [pytest.approx(11 / 6), pytest.approx(11 / 3), True]
    assert told["odd"] == [pytest.approx(11 / 6), None, True]
