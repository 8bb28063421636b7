"""Each sentence says no more than its figures: a share is no number of deals, nor a share of money."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from dealwatch.insights.actions import action_of
from dealwatch.insights.composing import compose
from dealwatch.insights.drawn import causes
from dealwatch.insights.drawn.panel import Series
from dealwatch.insights.entry import BANDS as DRIVERS_BANDS
from dealwatch.insights.review import Finding, Review
from dealwatch.insights.segments import BANDS
from insight_samples import closed_deal, known
from ledger_rows import at
from review_rows import begun, known_at

T = at("2026-07-06 06:00")  # a Monday
OLD = closed_deal(True, at("2024-03-01"), created_at=at("2023-09-01"), region="US", owner_id="U-1")
NOW, BEFORE = "2026-05-20", "2026-02-20"


def closed(won: int, lost: int, when: str, **told: Any) -> list[dict[str, Any]]:
    """So many deals that closed about then, created as many days before."""
    moment = at(when)
    return [
        closed_deal(n < won, moment + timedelta(hours=n), created_at=moment - timedelta(days=20), **told)
        for n in range(won + lost)
    ]


def reviewed(*rows: dict[str, Any]) -> Review:
    return compose(replace(known(*rows), as_of=T), "week")


def one(review: Review, kind: str, subject: str = "") -> Finding:
    return next(
        found
        for found in (*review.findings, *review.refused)
        if found.kind == kind and subject in ("", found.subject)
    )


def test_a_kind_that_closes_more_often_and_is_less_of_all_is_not_called_fewer() -> None:
    review = reviewed(
        OLD,
        *closed(40, 40, BEFORE, region="EMEA"),
        *closed(20, 80, BEFORE, region="US"),
        *closed(60, 60, NOW, region="EMEA"),
        *closed(60, 240, NOW, region="US"),
    )
    told = one(review, "mix_shift", "region").sentence
    assert told.startswith("EMEA deals fell from 44.4% to 28.6% of closed deals: the mix by region")
    assert "Fewer" not in told and "More" not in told


def test_the_mix_of_what_came_names_both_quarters() -> None:
    rows = [
        *closed(90, 90, "2026-01-10", region="EMEA"),
        *closed(30, 90, "2026-01-10", region="US"),
        *closed(50, 50, "2026-04-12", region="EMEA"),
        *closed(50, 150, "2026-04-12", region="US"),
    ]
    told = one(reviewed(OLD, *rows), "mix_of_created", "region").sentence
    assert "of the deals created in 2025Q4 that have closed to" in told and "of those of 2026Q1:" in told


def test_times_that_must_not_be_compared_are_not_set_side_by_side() -> None:
    young = [*closed(40, 60, BEFORE), *closed(80, 120, NOW)]
    first = closed_deal(True, at("2026-02-15"), created_at=at("2026-02-10"))
    late = [closed_deal(True, at("2026-06-20"), created_at=at("2026-02-11")) for _ in range(30)]
    review = reviewed(first, *young, *late)
    assert "can be older than" in one(review, "win_rate_moved").refusal
    assert "in as many before" not in one(review, "win_rate").sentence
    (panel,) = causes.win_rate(review)
    assert isinstance(panel, Series) and len(panel.levels) == 2
    assert "not to be compared" in panel.note


def test_who_wins_nothing_is_looked_up_before_anybody_is_talked_with() -> None:
    rows = [OLD]
    for rep in range(6):
        rows += closed(40, 60, NOW, owner_id=f"U-{rep}") if rep else closed(0, 100, NOW, owner_id="U-0")
    review = reviewed(*rows)
    told = one(review, "weak_rep")
    assert told.subject == "U-0" and "may be a queue" in told.sentence
    assert told.action == "Find out first whether this owner is a person who sells."
    assert "drawn towards the 100 that anybody wins" in told.sentence


def test_one_is_no_plural() -> None:
    single = closed_deal(True, at("2026-05-20"), created_at=at("2026-05-01"))
    told = reviewed(OLD, single).figures["cohorts"]["why"].to_list()
    assert any("1 deal was created" in why for why in told)
    review = reviewed(OLD, *closed(30, 30, "2025-05-20"), *closed(30, 30, NOW))
    assert "1 whole years" not in one(review, "seasons").refusal


def test_bands_of_size_have_one_set_of_names() -> None:
    assert DRIVERS_BANDS == BANDS


def test_shares_say_what_they_are_of() -> None:
    review = reviewed(OLD, *closed(30, 30, NOW))
    assert "\u2026 of the deals that were due." in one(review, "slipped").sentence
    stepped = [begun("2025-12-01", amount="100", next_step_on="2026-03-01")]
    told = one(compose(known_at("2026-01-05", stepped), "week"), "stalled").sentence
    assert told.endswith("those that moved on did, with no next step within 14 days.")
    assert "on account of the number" in action_of("nothing_moved")[0]  # other findings may ask for something
