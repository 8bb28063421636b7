"""Deals drawn by lot: the same ones wherever and whenever, and no better or worse than the rest."""

import math

import polars as pl
import pytest

from dealwatch.scoring.lots import Draw, drawn, lot

SEED = 20120116
NAMES = pl.Series("deal_id", [f"d{n:05}" for n in range(3_000)])


def those(names: pl.Series, at_most: int, *, seed: int = SEED) -> set[str]:
    return set(names.filter(pl.Series(drawn(names, at_most, seed=seed))))


def test_a_lot_is_the_same_in_every_process_and_version() -> None:
    assert lot("panel 20120116 d00000") == 0.21003457637483283
    assert those(NAMES[:8], 3) == {"d00000", "d00004", "d00005"}
    assert 0 <= lot("a broken name \ud800") < 1


def test_the_order_of_the_deals_changes_nothing() -> None:
    once = those(NAMES, 700)
    assert len(once) == 700
    assert once == those(NAMES.reverse(), 700) == those(NAMES.shuffle(seed=3), 700)


def test_another_seed_draws_other_deals() -> None:
    assert len(those(NAMES, 700) & those(NAMES, 700, seed=1)) < 300


@pytest.mark.parametrize("at_most", [3_000, 5_000])
def test_all_are_drawn_where_there_are_no_more_than_allowed(at_most: int) -> None:
    assert those(NAMES, at_most) == set(NAMES) and those(NAMES.clear(), at_most) == set()


def test_who_is_drawn_stays_drawn_while_deals_come_and_go() -> None:
    before, after = NAMES[:2_000], NAMES[200:2_300]
    then, later, both = those(before, 700), those(after, 700), set(before) & set(after)
    kept, lost = then & both & later, (then & both) - later
    assert not ((later & both) - then) or not lost, "of the deals known both times one draw holds the other"
    assert len(lost) <= 60 and len(kept) > 550
    grown = those(NAMES[:2_100], 700)
    assert grown & set(before) <= then


def test_a_bigger_sample_holds_a_smaller_one() -> None:
    assert those(NAMES, 200) < those(NAMES, 201) < those(NAMES, 900)


@pytest.mark.parametrize("seed", range(5))
def test_the_drawn_are_like_the_rest(seed: int) -> None:
    """The share of an outcome lies where drawing 700 of 3,000 puts it in all but one case of a thousand."""
    for share, every in ((0.5, 2), (0.2, 5), (0.1, 10)):
        lost = {name for n, name in enumerate(NAMES) if n % every == 0}
        found = len(those(NAMES, 700, seed=seed) & lost) / 700
        error = math.sqrt(share * (1 - share) / 700 * (3_000 - 700) / (3_000 - 1))
        assert abs(found - share) < 3.3 * error


def test_a_draw_of_all_is_no_sample() -> None:
    assert Draw(5, 9).is_sample and not Draw(9, 9).is_sample and not Draw(0, 0).is_sample
