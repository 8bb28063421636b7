"""A whole review in companies of which the truth is known: causes come first, chance is called chance."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from company_ledger import company
from dealwatch.history.ledger import Ledger
from dealwatch.insights.composing import ORDER, compose
from dealwatch.insights.known import Known, known_of
from dealwatch.insights.lint import CHANCE, FALSE_SHARE
from dealwatch.insights.review import FOR_MANAGERS, PICTURES, SENTENCES, Finding, Review
from dealwatch.insights.review_text import text
from dealwatch.insights.wording import counted, interval
from dealwatch.settings import Settings

ZONE = Settings(time_zone="UTC")
SHIFTED = datetime(2026, 7, 27, 6, tzinfo=UTC)  # the deals of the shifted quarter are closing
LEAKING = datetime(2026, 10, 5, 6, tzinfo=UTC)  # a quarter of the leak is over
CAUSES = next(kinds for kinds in ORDER if "mix_shift" in kinds)
CHANGES = {kind for kinds in ORDER for kind in kinds if "moved" in kind or kind in CAUSES}
CHANGES = CHANGES - {"nothing_moved", "weak_rep"} | {"mix_of_created"}
World = tuple[Ledger, dict[str, Any]]


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The planted world (shift of the mix, weak rep) in whose last quarter a stage leaks."""
    return company("leaking", tmp_path_factory.mktemp("leaking"), deals=8_000, days=730, seed=3)


@pytest.fixture(scope="module")
def shifted(leaking: World) -> Review:
    return compose(known_of(leaking[0], SHIFTED, ZONE), "week")


@pytest.fixture(scope="module")
def leaked(leaking: World) -> Review:
    return compose(known_of(leaking[0], LEAKING, ZONE), "week")


def found(review: Review, kind: str) -> Finding:
    return next(one for one in review.findings if one.kind == kind)


def causes(review: Review) -> list[str]:
    return [f"{one.kind} {one.subject}" for one in review.said_to("managers") if one.kind in CAUSES]


def test_the_planted_shift_of_the_mix_comes_first_and_within_half_a_point(
    leaking: World, shifted: Review
) -> None:
    assert causes(shifted)[0] == "mix_shift product_type"
    told = found(shifted, "mix_shift")
    page = (Path(__file__).parent.parent / "docs" / "review.md").read_text("utf-8")
    assert told.sentence in page.replace("\n> ", " ") and told.picture == "bridge"
    rates = leaking[1]["measured"]["win_rate_by_product_type"]
    cells = shifted.figures["bridge"].filter(by="product_type", weight="count", compared="before")
    true = pl.col("segment").replace_strict(rates, return_dtype=pl.Float64())
    planned = 100 * cells.select(((pl.col("w1") - pl.col("w0")) * true).sum()).item()
    by_closings, usual = told.measures
    assert planned < -2 and usual.value == pytest.approx(planned, abs=0.5)
    assert by_closings.value is not None and by_closings.value < planned - 0.5  # bent by quick losses


def test_the_planted_leak_comes_first_in_its_quarter(leaking: World, leaked: Review) -> None:
    leak = leaking[1]["stage_leak"]
    assert causes(leaked)[0] == f"stage_leak {leak['stage']}"
    assert leaked.top()[1].kind == "stage_leak"
    assert found(leaked, "stage_leak").measures[0].low > 0  # type: ignore[operator]


def test_the_weak_rep_is_named_to_managers_and_to_nobody_else(leaking: World, leaked: Review) -> None:
    weak = leaking[1]["weak_rep"]
    told = found(leaked, "weak_rep")
    assert told.subject == weak and told.audience == "managers"
    assert told in leaked.top("managers") and told not in leaked.said_to("everyone")
    assert set(leaked.figures_for("everyone")) == set(leaked.figures) - set(FOR_MANAGERS)
    everything = text(leaked, "everyone") + "".join(
        str(rows.to_dicts()) for rows in leaked.figures_for("everyone").values()
    )
    reps = leaked.figures["reps"]["owner_id"].unique().to_list()
    assert len(reps) > 20 and weak in text(leaked, "managers")
    assert not [rep for rep in reps if rep and rep in everything]


def test_two_columns_that_go_together_are_told_once(shifted: Review) -> None:
    mixes = [one.subject for one in shifted.findings if one.kind == "mix_shift"]
    assert mixes == ["product_type"]
    again = next(one for one in shifted.refused if (one.kind, one.subject) == ("mix_shift", "amount_band"))
    assert "another account of what product_type tells" in again.refusal


def test_a_segment_whose_intake_jumped_is_not_blamed_for_its_win_rate(leaked: Review) -> None:
    small = next(one for one in leaked.refused if one.subject == "amount_band: small")
    assert "such deals were created" in small.refusal and "bent" in small.refusal


@pytest.mark.parametrize("which", ["shifted", "leaked"])
def test_every_sentence_has_n_and_interval_and_every_refusal_a_reason(
    which: str, request: pytest.FixtureRequest
) -> None:
    review: Review = request.getfixturevalue(which)
    assert len(review.findings) >= SENTENCES and len(review.refused) > 20
    for one in review.findings:
        assert one.state == "said" and not one.refusal and one.picture in PICTURES and one.action
        assert all(part in one.sentence for m in one.measures for part in (interval(m), f"{m.n:,}"))
        assert one.action_evidence and one.measures
        assert one.q is None or one.q < FALSE_SHARE
    assert all(one.state == "refused" and one.refusal for one in review.refused)
    assert {PICTURES[one.picture] for one in review.findings} <= set(review.figures)
    assert counted(review.findings[0].measures[0]) in review.findings[0].sentence


def test_the_top_tells_what_changed_why_and_what_will_come(leaked: Review) -> None:
    kinds = [one.kind for one in leaked.top()]
    assert len(kinds) == SENTENCES and kinds[0] in ("win_rate", "win_rate_moved")
    assert "forecast" in kinds
    assert text(leaked).count("\n") < 400


def test_the_usual_headlines_are_refused_in_any_world(leaked: Review) -> None:
    usual = {one.kind for one in leaked.refused if one.kind.startswith("published_")}
    assert len(usual) == 8
    assert not [one for one in leaked.findings if one.kind.startswith("published_")]


def test_what_is_learned_later_changes_no_earlier_review(leaking: World, shifted: Review) -> None:
    cut = compose(known_of(leaking[0].known_at(SHIFTED), SHIFTED, ZONE), "week")
    assert cut.findings == shifted.findings and cut.refused == shifted.refused
    assert cut.headline == shifted.headline and cut.footer == shifted.footer
    assert all(cut.figures[name].equals(rows) for name, rows in shifted.figures.items())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Known:
    ledger, _ = company("planted", tmp_path_factory.mktemp("small"), deals=1_200, days=500, seed=5)
    return known_of(ledger, LEAKING, ZONE)


def test_amounts_in_two_currencies_leave_no_figure_in_money(small: Known) -> None:
    known = small
    is_first = pl.int_range(pl.len()) == 0
    mixed = pl.when(is_first).then(pl.lit("CHF")).otherwise(pl.col("currency").cast(pl.String))
    known = replace(known, closed=known.closed.with_columns(mixed.cast(pl.Categorical()).alias("currency")))
    review = compose(known, "week")
    money = [one for found in review.findings for one in found.measures if one.kind.startswith("money")]
    assert money == []
    assert "several currencies (CHF, USD)" in review.caveats[0]
    assert any("several currencies" in one.refusal for one in review.refused)


def test_amounts_ten_times_as_large_change_no_share_and_no_claim(small: Known) -> None:
    known = small
    tenfold = pl.col("amount") * 10
    moves = known.moves.with_columns(
        pl.when(pl.col("field") == "amount")
        .then((pl.col(name).cast(pl.Float64, strict=False) * 10).cast(pl.String))
        .otherwise(pl.col(name))
        .alias(name)
        for name in ("old", "new")
    )
    scaled = replace(
        known, closed=known.closed.with_columns(tenfold), open=known.open.with_columns(tenfold), moves=moves
    )
    first, second = compose(known, "week"), compose(scaled, "week")
    for one, ten in zip(first.headline, second.headline, strict=True):
        factor = 10 if one.kind.startswith("money") else 1
        assert (one.value is None) == (ten.value is None)
        assert one.value is None or ten.value == pytest.approx(factor * one.value, rel=1e-9)
    assert [(one.kind, one.subject) for one in first.findings] == [
        (one.kind, one.subject) for one in second.findings
    ]


def test_a_company_of_no_deals_has_a_review_that_says_so(small: Known) -> None:
    known = small
    empty = replace(
        known,
        closed=known.closed.clear(),
        open=known.open.clear(),
        spells=known.spells.clear(),
        moves=known.moves.clear(),
        stages=(),
    )
    review = compose(empty, "month")
    assert review.findings == () and review.refused
    assert "No deal is open" in text(review) and "\nNothing can be said yet.\n" in text(review)
    assert all(one.value is None and one.why for one in review.headline if one.kind == "share")


def test_a_month_is_reviewed_as_a_week_is(small: Known) -> None:
    review = compose(small, "month")
    assert (review.span.name, review.window.name) == ("2026-09", "3 months to 2026-09")
    assert review.findings[0].kind in ("win_rate", "win_rate_moved")


@pytest.mark.slow
def test_where_nothing_acts_nine_reviews_of_ten_say_that_nothing_moved(tmp_path: Path) -> None:
    """Five companies, each at two moments that share no closing."""
    calm = []
    for seed in range(1, 6):
        ledger, _ = company("null", tmp_path / str(seed), deals=4_000, days=730, seed=seed)
        for moment in (LEAKING, LEAKING - timedelta(weeks=35)):
            review = compose(known_of(ledger, moment, ZONE), "week")
            compared = [one for one in (*review.findings, *review.refused) if one.q is not None]
            assert len(compared) > 20, "found nothing to compare"
            calm.append(not any(one.q is not None for one in review.findings))
            told = {one.kind for one in review.findings}
            assert ("nothing_moved" in told) == (not told & CHANGES)
    assert sum(calm) >= 9


def test_two_levels_side_by_side_say_whether_chance_explains_the_difference(
    shifted: Review, leaked: Review
) -> None:
    for review in (shifted, leaked):
        first = review.findings[0]
        refusal = next((one.refusal for one in review.refused if one.kind == "win_rate_moved"), "")
        if first.kind == "win_rate":
            by_chance = refusal.startswith(CHANCE)
            assert ("chance explains the difference" if by_chance else refusal) in first.sentence
        else:
            assert first.kind == "win_rate_moved" and not refusal
