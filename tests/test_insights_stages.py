"""Stages by hand: what goes on, what is lost where, and whether that is more than passes through."""

import numpy as np
import pytest

from dealwatch.insights.known import Known, known_of
from dealwatch.insights.measure import measures_of
from dealwatch.insights.stages import (
    EXCESS,
    HAZARD,
    LOSS_SHARE,
    LOSS_SHARE_BY_MONEY,
    NO_HISTORY,
    conversion,
    hazard_changes,
    hazards,
    loss_share_changes,
    loss_shares,
    stage_win_rates,
)
from insight_samples import FIRST, IN_FIRST, IN_SECOND, SECOND, SETTINGS, T, closed_deal, known
from ledger_rows import deal, ledger


def company() -> Known:
    """20 go through A and B and are won, 10 are lost in A, 6 go from B back to A and are lost, 4 are open."""
    lives = {}
    for n in range(20):
        stages = [("2026-04-02", "A"), ("2026-04-09", "B")]
        lives[f"w{n}"] = deal("2026-04-02", stage=stages, amount="1", outcome=[("2026-05-02", "won")])
    for n in range(10):
        lives[f"l{n}"] = deal("2026-04-02", stage="A", amount="3", outcome=[("2026-05-02", "lost")])
    for n in range(6):
        stages = [("2026-04-02", "A"), ("2026-04-09", "B"), ("2026-04-16", "A")]
        lives[f"b{n}"] = deal("2026-04-02", stage=stages, amount="5", outcome=[("2026-05-02", "lost")])
    for n in range(4):
        lives[f"o{n}"] = deal("2026-04-02", stage="A", amount="5")
    return known_of(ledger(lives), T, SETTINGS)


def by_stage(rows: object, name: str) -> dict[str, float]:
    return dict(rows.filter(name=name).select("stage", "value").iter_rows())  # type: ignore[attr-defined]


def test_a_win_is_a_way_forwards_and_an_open_stay_is_no_exit() -> None:
    rows = conversion(company(), SECOND)
    a, b = measures_of(rows)
    # A: 26 on to B, 10 + 6 lost; four stay. Those six leave A twice, so 36 deals make 42 exits.
    assert (a.value, a.n, a.n_eff) == (26 / 42, 42, 36)
    assert (b.value, b.n) == (20 / 26, 26)
    assert rows["stage"].to_list() == ["A", "B"]


def test_who_ever_entered_a_stage_counts_once_in_its_win_rate() -> None:
    a, b = measures_of(stage_win_rates(company(), SECOND))
    assert (a.value, a.n) == (20 / 36, 36)
    assert (b.value, b.n) == (20 / 26, 26)


def test_shares_of_losses_are_of_the_last_open_stage_and_sum_to_one() -> None:
    rows = loss_shares(company(), SECOND)
    assert by_stage(rows, LOSS_SHARE) == {"A": 1.0, "B": 0.0}
    told = known(
        *(closed_deal(False, last_stage=stage, amount=float(n + 1)) for n, stage in enumerate("AABBBC")),
        closed_deal(False, last_stage=None, amount=3.0),
        closed_deal(True, last_stage="A"),
    )
    rows = loss_shares(told, SECOND)
    assert by_stage(rows, LOSS_SHARE) == pytest.approx(
        {"A": 2 / 7, "B": 3 / 7, "C": 1 / 7, "(unknown)": 1 / 7}
    )
    assert by_stage(rows, LOSS_SHARE_BY_MONEY) == pytest.approx(
        {"A": 3 / 24, "B": 12 / 24, "C": 6 / 24, "(unknown)": 3 / 24}
    )
    assert all(one.is_known for one in measures_of(rows))


def test_hazards_by_hand() -> None:
    rows = hazards(company(), SECOND)
    # 16 losses from A, entered 36 + 6 + 4 times, none from B, entered 26 times.
    assert by_stage(rows, HAZARD) == pytest.approx({"A": 16 / 46, "B": 0.0})
    mean = 16 / 72
    assert by_stage(rows, EXCESS) == pytest.approx({"A": 16 - 46 * mean, "B": -26 * mean})
    excess = measures_of(rows.filter(name=EXCESS))
    assert excess[0].low is not None and excess[0].low > 0
    assert rows.filter(name=EXCESS)["q"].max() < 0.05  # type: ignore[operator]
    none = measures_of(rows.filter(name=HAZARD, stage="B"))[0]
    assert none.low is None and "alike" in none.why  # 26 without a loss are no proof that there is none


def flow(
    stage: str, when: object, lost: int, of: int, start: int
) -> tuple[list[dict[str, object]], list[tuple[object, ...]]]:
    """So many deals through a stage, so many of them lost there; numbered from `start`."""
    rows = [closed_deal(n >= lost, when, last_stage=stage) for n in range(of)]  # type: ignore[arg-type]
    spells = [(f"{start + n:06}", stage, when, when, "lost" if n < lost else "won", 1) for n in range(of)]
    return rows, spells


def flows(*told: tuple[str, object, int, int]) -> Known:
    rows: list[dict[str, object]] = []
    spells: list[tuple[object, ...]] = []
    for one in told:
        more, stays = flow(*one, start=len(rows))
        rows, spells = rows + more, spells + stays
    return known(*rows, spells=spells)


def test_a_stage_that_is_as_it_was_is_no_leak_however_much_it_loses() -> None:
    told = flows(
        ("A", IN_FIRST, 80, 100),
        ("B", IN_FIRST, 10, 100),
        ("A", IN_SECOND, 80, 100),
        ("B", IN_SECOND, 40, 100),
    )
    rows = hazard_changes(told, FIRST, SECOND)
    a, b = measures_of(rows)
    assert (a.value, b.value) == (pytest.approx(0), pytest.approx(30))
    assert rows["q"][0] > 0.5 and rows["q"][1] < 0.001
    assert b.low is not None and 0 < b.low < 30


def test_a_share_of_losses_rises_when_others_fall_and_its_stage_does_not() -> None:
    told = flows(
        ("A", IN_FIRST, 50, 100),
        ("B", IN_FIRST, 50, 100),
        ("A", IN_SECOND, 50, 100),
        ("B", IN_SECOND, 5, 100),
    )
    share = by_stage(loss_share_changes(told, FIRST, SECOND), "stage_loss_share_change")
    hazard = by_stage(hazard_changes(told, FIRST, SECOND), "stage_hazard_change")
    assert share["A"] == pytest.approx(100 * (50 / 55 - 0.5))
    assert hazard["A"] == pytest.approx(0)
    assert sum(share.values()) == pytest.approx(0)


def test_equal_hazards_have_no_excess_whatever_the_volume() -> None:
    rows = hazards(flows(("A", IN_SECOND, 60, 300), ("B", IN_SECOND, 10, 50)), SECOND)
    assert list(by_stage(rows, EXCESS).values()) == pytest.approx([0, 0])
    assert rows.filter(name=EXCESS)["p"].min() > 0.9  # type: ignore[operator]
    assert np.isclose(by_stage(rows, HAZARD)["A"], by_stage(rows, HAZARD)["B"])


def test_the_visits_of_a_deal_are_drawn_together() -> None:
    rows = [closed_deal(n >= 15, last_stage="A") for n in range(30)]
    visits = [(f"{n:06}", "A", IN_SECOND, IN_SECOND, "other", nth) for n in range(30) for nth in range(4)]
    told = measures_of(hazards(known(*rows, spells=visits), SECOND))[0]
    assert told.value == 15 / 120 and told.low is not None and told.high is not None
    assert told.high - told.low == pytest.approx(2 * 1.96 * (0.25 / 30) ** 0.5 / 4, rel=0.15)


@pytest.mark.parametrize("metric", [conversion, stage_win_rates, hazards])
def test_without_a_history_of_stages_the_reason_is_told(metric: object) -> None:
    told = known(closed_deal(False, last_stage="A"))
    for one in measures_of(metric(told, SECOND)):  # type: ignore[operator]
        assert (one.value, one.why) == (None, NO_HISTORY)
    assert hazard_changes(told, FIRST, SECOND)["why"].to_list() == [NO_HISTORY]
    assert by_stage(loss_shares(told, SECOND), LOSS_SHARE) == {"A": 1.0}


def test_of_a_time_without_losses_or_exits_nothing_is_told() -> None:
    told = company()
    assert conversion(told, FIRST)["value"].to_list() == [None, None]
    assert stage_win_rates(told, FIRST)["value"].to_list() == [None, None]
    assert set(loss_shares(told, FIRST)["why"]) == {
        "no deal was lost in this time",
        "no deal closed in this time has an amount",
    }
    assert loss_share_changes(told, FIRST, SECOND)["value"].to_list() == [None]
    assert {one.why for one in measures_of(hazards(told, FIRST))} == {
        "no deal entered this stage in this time"
    }
    assert hazard_changes(told, FIRST, SECOND)["value"].to_list() == [None, None]
