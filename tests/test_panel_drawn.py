"""A panel read by slices and of drawn deals is that of the whole ledger, row by row; the card tells of it."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine

from dealwatch import jobs
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.history.stored import StoredLedger
from dealwatch.knobs import Pipeline, Scoring
from dealwatch.scoring import facts, panel
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.leaks import give_aways, some_known
from dealwatch.scoring.lots import Draw, drawn
from dealwatch.scoring.panel import Panel, followed_panel, known_by, outcomes_at, read_panel
from dealwatch.scoring.trial import train
from dealwatch.settings import Settings
from dealwatch.warehouse import reading
from ledger_rows import at
from made_up_facts import PANEL_UNTIL, made_up_panel
from small_company import MORNING, SmallCompany
from test_facts_as_of import assert_same, made_up, planted
from test_facts_stored import store

__all__ = ["planted"]

AS_OF, EARLIER = datetime(2026, 2, 16, 6, tzinfo=UTC), datetime(2026, 1, 19, 6, tzinfo=UTC)
ALL, SOME = 1_000_000, 150


def having(deals: int, *, every: int = 14) -> Settings:
    knobs = Scoring(panel_every_days=every).model_copy(update={"panel_deals": deals})
    return Settings(time_zone="UTC", pipeline=Pipeline(norm_minimum=5), scoring=knobs)


@pytest.fixture(scope="module")
def world(planted: tuple[Path, Ledger]) -> Ledger:
    return planted[1]


@pytest.fixture(scope="module")
def whole(world: Ledger) -> Panel:
    return read_panel(world, AS_OF, settings=having(ALL))


@pytest.fixture(scope="module")
def sample(world: Ledger) -> Panel:
    return read_panel(world, AS_OF, settings=having(SOME))


def of_drawn(whole: Panel, sample: Panel) -> pl.DataFrame:
    """The whole panel's rows of the sample's deals."""
    return whole.rows.filter(pl.col("deal_id").is_in(sample.rows["deal_id"].implode()))


def test_the_panel_is_made_of_the_facts_of_its_mornings_and_of_how_deals_ended(
    world: Ledger, whole: Panel
) -> None:
    settings = having(ALL)
    moments = panel.panel_moments(world, AS_OF, settings=settings)
    told = facts_at(world, moments, settings=settings).join(
        outcomes_at(world, AS_OF), on="deal_id", how="left"
    )
    still = told.filter(pl.col("closed_at").is_null() | (pl.col("closed_at") > pl.col("as_of")))
    expected = still.with_columns(weight=1 / pl.len().over("deal_id")).sort("as_of", "deal_id")
    assert expected.height > 1_000
    assert_same(whole.rows, expected)
    assert_same(whole.morning, facts_at(world, [AS_OF], settings=settings))
    assert whole.draw.deals == whole.draw.of and set(whole.deal_ids) >= set(whole.rows["deal_id"])


def test_a_drawn_deal_has_the_very_facts_it_has_among_all(whole: Panel, sample: Panel) -> None:
    assert sample.draw == Draw(SOME, whole.draw.of) and sample.draw.is_sample
    assert 0.3 < sample.rows.height / whole.rows.height < 0.7
    assert_same(sample.rows, of_drawn(whole, sample))
    assert_same(sample.morning, whole.morning)


@pytest.mark.parametrize("at_most", [ALL, SOME])
@pytest.mark.parametrize("rows", [50, 700, 1_000_000])
def test_a_panel_of_slices_is_the_panel_of_the_ledger_in_memory(
    world: Ledger, engine: Engine, at_most: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(engine, world)
    in_memory = read_panel(world, AS_OF, settings=having(at_most, every=60))
    monkeypatch.setattr(facts, "_ROWS_AT_ONCE", rows)
    with reading(engine) as connection:
        ledger = StoredLedger(connection, AS_OF, rows_a_slice=rows)
        by_slices = read_panel(ledger, AS_OF, settings=having(at_most, every=60))
    assert_same(by_slices.rows, in_memory.rows)
    assert_same(by_slices.morning, in_memory.morning)
    assert by_slices.draw == in_memory.draw


def test_an_untidy_ledger_gives_the_same_panel_on_either_dialect(either_engine: Engine) -> None:
    told, as_of, settings = made_up(2), at("2026-04-02"), having(30)
    store(either_engine, told)
    with reading(either_engine) as connection:
        ledger = StoredLedger(connection, as_of, rows_a_slice=100)
        by_slices = read_panel(ledger, as_of, settings=settings)
    in_memory = read_panel(told, as_of, settings=settings)
    assert by_slices.draw.is_sample and by_slices.rows.height > 30
    assert_same(by_slices.rows, in_memory.rows)


def test_what_became_known_later_draws_no_other_deal_and_changes_no_row(
    world: Ledger, engine: Engine
) -> None:
    settings = having(SOME)
    known = read_panel(world.known_at(EARLIER), EARLIER, settings=settings)
    assert known.draw.is_sample and known.rows["lost"].null_count() > 10
    assert_same(read_panel(world, EARLIER, settings=settings).rows, known.rows)
    store(engine, world)
    with reading(engine) as connection:
        assert_same(followed_panel(StoredLedger(connection, EARLIER), EARLIER, settings=settings), known.rows)


def test_the_order_of_the_ledger_draws_no_other_deal(world: Ledger, sample: Panel, engine: Engine) -> None:
    store(engine, world)  # it shuffles
    with reading(engine) as connection:
        told = followed_panel(StoredLedger(connection, AS_OF), AS_OF, settings=having(SOME))
    assert told["deal_id"].unique().sort().equals(sample.rows["deal_id"].unique().sort())


def test_month_after_month_the_same_deals_are_drawn(world: Ledger) -> None:
    settings, everyone = having(SOME), having(ALL)
    then, later = (set(followed_panel(world, m, settings=settings)["deal_id"]) for m in (EARLIER, AS_OF))
    known_then, known_later = (
        set(followed_panel(world, m, settings=everyone)["deal_id"]) for m in (EARLIER, AS_OF)
    )
    both = known_then & known_later
    assert later & both <= then & both, "the company grew, and nobody who was out came in"
    assert len(later & both) > 0.85 * len(then & both)


def test_a_drawn_deal_weighs_one_in_sum_as_every_deal_does(sample: Panel) -> None:
    sums = sample.rows.group_by("deal_id").agg(pl.col("weight").sum().round(9))["weight"]
    assert sums.to_list() == [1.0] * len(sums)
    learned = known_by(sample.rows, AS_OF)
    assert learned["weight"].sum() == pytest.approx(learned["deal_id"].n_unique())


def test_the_sample_is_lost_as_often_as_all_are(whole: Panel, sample: Panel) -> None:
    ends = whole.rows.unique("deal_id").filter(pl.col("lost").is_not_null())
    of_sample = sample.rows.unique("deal_id").filter(pl.col("lost").is_not_null())
    share, n, of = float(ends["lost"].mean()), of_sample.height, ends.height  # type: ignore[arg-type]
    error = math.sqrt(share * (1 - share) / n * (of - n) / (of - 1))
    assert abs(float(of_sample["lost"].mean()) - share) < 1.96 * error  # type: ignore[arg-type]
    open_share, open_of_sample = (one.rows["lost"].null_count() / one.rows.height for one in (whole, sample))
    assert abs(open_share - open_of_sample) < 0.05, "open deals are drawn as closed ones are"


@pytest.mark.slow
def test_a_training_tells_how_many_deals_were_drawn_and_nothing_where_all_were() -> None:
    knobs = Settings(scoring=Scoring(trees=10, train_minimum=20))
    rows = made_up_panel(200, signal=1.0)
    whole, same, some = (
        train(rows, PANEL_UNTIL, settings=knobs, draw=draw)
        for draw in (None, Draw(200, 200), Draw(200, 1_000))
    )
    assert whole.metrics == same.metrics and whole.content == same.content == some.content
    assert some.metrics == whole.metrics | {"drawn_deals": 200, "drawn_of": 1_000}


def test_leaks_are_looked_for_in_all_deals_or_in_as_many_as_a_panel_has(
    world: Ledger, engine: Engine
) -> None:
    told = replace(world, changes=world.changes.with_columns(new_value=leaking(world.changes)))
    store(engine, told)
    with reading(engine) as connection:
        ledger = StoredLedger(connection, AS_OF)
        ids = read_panel(ledger, AS_OF, settings=having(ALL)).deal_ids
        everyone, some = (some_known(ledger, ids, settings=having(n)) for n in (ALL, SOME))
        in_memory = read_ledger(connection, until=AS_OF)
    assert give_aways(everyone) == give_aways(in_memory) != []
    assert [field for field, _ in give_aways(some)] == [field for field, _ in give_aways(in_memory)]
    of_some = ids.filter(pl.Series(drawn(ids, SOME, seed=having(SOME).scoring.seed)))
    assert set(some.changes.filter(field="outcome")["deal_id"]) <= set(of_some)


def leaking(changes: pl.DataFrame) -> pl.Expr:
    """Values of the ledger in which the lead source is the outcome."""
    lost = changes.filter(field="outcome", new_value="lost")["deal_id"].implode()
    word = pl.when(pl.col("deal_id").is_in(lost)).then(pl.lit("bad")).otherwise(pl.lit("good"))
    return pl.when(pl.col("field") == "lead_source").then(word).otherwise("new_value")


@pytest.fixture
def copied(small_company: SmallCompany, tmp_path: Path) -> Iterator[Settings]:
    settings = small_company.copied(tmp_path / "copy")
    yield settings.model_copy(
        update={"scoring": settings.scoring.model_copy(update={"panel_deals": 110, "trees": 10})}
    )


@pytest.mark.slow
def test_the_card_says_that_a_sample_was_drawn_and_how_many_of_how_many(copied: Settings) -> None:
    told = jobs.train(copied, as_of=MORNING)
    assert told["drawn_deals"] == 110 < told["drawn_of"]
    assert told["n_deals"] <= 110
    card = jobs.card(copied, version=str(told["version"]))
    assert f"They are of a sample, drawn by lot: 110 of the {told['drawn_of']} deals" in card
    again = jobs.train(copied, as_of=MORNING)
    assert again["version"] == told["version"]


@pytest.mark.slow
def test_a_company_below_the_number_hears_of_no_sample(copied: Settings) -> None:
    knobs = copied.scoring.model_copy(update={"panel_deals": 160_000})
    told = jobs.train(copied.model_copy(update={"scoring": knobs}), as_of=MORNING)
    assert "drawn_of" not in told
    assert "sample" not in jobs.card(copied, version=str(told["version"]))
