"""Mix and rate sum to the change exactly; what chance does is not flagged, and what is planted is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dealwatch.insights.movement import Bridge, bridge, bridges
from dealwatch.insights.segments import SMALL
from insight_samples import FIRST, IN_FIRST, IN_SECOND, SECOND, closed_deal, known, many

FEW = settings(max_examples=25, deadline=None)
DEALS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc"), st.floats(0.01, 1e6)),
    min_size=2,
    max_size=40,
)


def cell(told: Bridge, segment: str) -> dict[str, float]:
    return told.cells.filter(segment=segment).row(0, named=True)


def test_other_deals_alone_are_all_mix() -> None:
    rows = known(
        *many(80, 20, IN_FIRST, region="good"),
        *many(20, 80, IN_FIRST, region="bad"),
        *many(40, 10, region="good"),
        *many(30, 120, region="bad"),
    )
    told = bridge(rows, FIRST, SECOND, ("region",))
    assert (told.change.value, told.mix.value) == (pytest.approx(-15), pytest.approx(-15))
    assert told.rate.value == pytest.approx(0)
    bad = cell(told, "bad")
    assert (bad["w0"], bad["w1"], bad["r0"], bad["r1"]) == (0.5, 0.75, 0.2, 0.2)
    assert bad["mix"] == pytest.approx(100 * 0.25 * (0.2 - (0.5 + 0.35) / 2))
    assert told.mix.high is not None and told.mix.high < 0


def test_the_same_deals_faring_otherwise_are_all_rate() -> None:
    rows = known(
        *many(60, 40, IN_FIRST, region="a"),
        *many(50, 50, IN_FIRST, region="b"),
        *many(30, 70, region="a"),
        *many(50, 50, region="b"),
    )
    told = bridge(rows, FIRST, SECOND, ("region",))
    assert (told.rate.value, told.mix.value) == (pytest.approx(-15), pytest.approx(0))
    fell, stayed = cell(told, "a"), cell(told, "b")
    assert fell["impact"] == pytest.approx(-15) and fell["is_flagged"] and fell["impact_high"] < 0
    assert stayed["impact"] == pytest.approx(0) and not stayed["is_flagged"]
    assert fell["published"] == pytest.approx(100 * -0.3 * 0.5)


@FEW
@given(DEALS, st.sampled_from(["count", "amount"]))
def test_the_parts_sum_to_the_change(deals: list[tuple[bool, bool, str, float]], weight: str) -> None:
    rows = [
        closed_deal(won, IN_FIRST if early else IN_SECOND, region=region, amount=amount)
        for won, early, region, amount in deals
    ]
    told = bridge(known(*rows), FIRST, SECOND, ("region",), weight=weight)  # type: ignore[arg-type]
    if len({early for _, early, _, _ in deals}) < 2:
        assert told.change.value is None and "no deal" in told.change.why
        return
    sizes = np.array([amount if weight == "amount" else 1.0 for *_, amount in deals])
    won, early = (np.array([one[n] for one in deals]) for n in (0, 1))
    first, then = ((sizes * won)[one].sum() / sizes[one].sum() for one in (early, ~early))
    assert told.change.value == pytest.approx(100 * (then - first), abs=1e-9)
    assert (told.mix.value or 0) + (told.rate.value or 0) == pytest.approx(told.change.value, abs=1e-9)
    assert told.cells["impact"].sum() == pytest.approx(told.change.value, abs=1e-9)
    assert told.cells["mix"].sum() == pytest.approx(told.mix.value, abs=1e-9)
    for share in ("w0", "w1"):
        assert told.cells[share].sum() == pytest.approx(1)


def test_a_segment_that_is_new_is_all_mix() -> None:
    rows = known(*many(50, 50, IN_FIRST, region="a"), *many(50, 50, region="a"), *many(10, 40, region="new"))
    told = bridge(rows, FIRST, SECOND, ("region",))
    new = cell(told, "new")
    assert (new["r0"], new["r1"], new["rate"]) == (None, 0.2, 0.0)
    assert new["impact"] == new["mix"] and new["mix"] < 0


def test_scaling_amounts_leaves_the_change_by_money() -> None:
    def told(factor: float) -> Bridge:
        rows = [*many(30, 20, IN_FIRST, amount=2.0 * factor), *many(20, 30, amount=5.0 * factor, region="x")]
        return bridge(known(*rows), FIRST, SECOND, ("region",), weight="amount")

    assert told(1000).change.value == pytest.approx(told(1).change.value)
    assert told(1000).mix.value == pytest.approx(told(1).mix.value)


def test_mixed_currencies_have_no_change_by_money() -> None:
    rows = known(*many(5, 5, IN_FIRST, currency="USD"), *many(5, 5))
    by_money = bridge(rows, FIRST, SECOND, ("region",), weight="amount")
    assert by_money.change.value is None and "(EUR, USD)" in by_money.change.why and by_money.cells.is_empty()
    assert bridge(rows, FIRST, SECOND, ("region",)).change.value == pytest.approx(0)


def test_by_money_only_deals_with_money_count() -> None:
    rows = [
        *many(6, 6, IN_FIRST, amount=5.0),
        *many(6, 6, amount=5.0),
        *many(9, 0, amount=-5.0),
        *many(9, 0, amount=None),
    ]
    told = bridge(known(*rows), FIRST, SECOND, ("region",), weight="amount")
    assert (told.change.value, told.change.n, told.cells["n1"].to_list()) == (0.0, 24, [12])


def test_times_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="second is not over when first begins"):
        bridge(known(*many(5, 5)), SECOND, FIRST, ("region",))


def test_small_cells_of_a_pair_are_one() -> None:
    rows = [*many(20, 20, IN_FIRST, region="a", industry="x"), *many(20, 20, region="a", industry="x")]
    rows += many(3, 3, region="b", industry="x") + many(3, 3, region="b", industry="y")
    told = bridge(known(*rows), FIRST, SECOND, ("region", "industry"))
    assert told.cells["segment"].to_list() == [SMALL, "a x x"]
    assert told.cells["n1"].to_list() == [12, 40]


def test_noise_in_many_segments_is_seldom_flagged() -> None:
    flagged = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        rows = [
            closed_deal(bool(random.random() < 0.5), when, region=str(n % 20))
            for when in (IN_FIRST, IN_SECOND)
            for n in range(800)
        ]
        flagged += any(
            one.cells["is_flagged"].any() for one in bridges(known(*rows), FIRST, SECOND, [("region",)])
        )
    assert flagged <= 3  # in one of ten, more or less


def test_who_looks_at_all_dimensions_pays_for_all() -> None:
    random = np.random.default_rng(1)
    names = ("region", "industry", "product_type", "lead_source", "owner_id")
    rows = [
        closed_deal(bool(random.random() < 0.5), when, **{name: str(random.integers(6)) for name in names})
        for when in (IN_FIRST, IN_SECOND)
        for _ in range(400)
    ]
    one_by_one = [bridge(known(*rows), FIRST, SECOND, (name,)) for name in names]
    together = bridges(known(*rows), FIRST, SECOND, [(name,) for name in names])
    for alone, beside in zip(one_by_one, together, strict=True):
        assert alone.change == beside.change
        assert alone.cells["p"].to_list() == beside.cells["p"].to_list()
    lowest = min(one.cells["q"].min() for one in one_by_one)
    assert min(one.cells["q"].min() for one in together) > lowest
