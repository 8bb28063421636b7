"""Facts read from the warehouse slice by slice are those of the ledger held in memory, to the byte."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine

from dealwatch.history.ledger import Ledger, whole_deals
from dealwatch.history.stored import StoredLedger
from dealwatch.knobs import Pipeline
from dealwatch.moments import mornings
from dealwatch.scoring.facts import facts_at, facts_of
from dealwatch.scoring.known import history_of, microseconds_of
from dealwatch.settings import Settings
from dealwatch.tables import activities, deal_changes
from dealwatch.warehouse import add_missing, instant, reading, writing
from ledger_rows import at, deal, ledger
from test_facts_as_of import SETTINGS, UNTIL, assert_same, made_up, planted

__all__ = ["planted"]


def store(engine: Engine, told: Ledger) -> None:
    number = pl.int_range(pl.len()).cast(pl.String)
    changes = told.changes.sample(fraction=1, shuffle=True, seed=1).with_columns(
        number.alias("change_id"), recorded_at=instant(at("2026-01-01")), source=pl.lit("crm")
    )
    touches = told.activities.with_columns(number.alias("activity_id"), source=pl.lit("crm"))
    with writing(engine) as connection:
        add_missing(connection, deal_changes, changes)
        add_missing(connection, activities, touches)


def stored_facts(engine: Engine, moments: list[datetime], settings: Settings, *, rows: int) -> pl.DataFrame:
    with reading(engine) as connection:
        ledger = StoredLedger(connection, max(moments), rows_a_slice=rows)
        history = history_of(ledger, microseconds_of(moments), pipeline=settings.pipeline)
    half = len(moments) // 2
    parts = [part for part in (moments[:half], moments[half:]) if part]
    return pl.concat([facts_of(history, part, settings=settings) for part in parts])


@pytest.mark.parametrize("seed", range(3))
def test_an_untidy_ledger_gives_the_same_facts_in_slices_of_any_size(
    seed: int, either_engine: Engine
) -> None:
    settings = Settings(pipeline=Pipeline(norm_minimum=5, segment_by=("product_type", "region")))
    told = made_up(seed)
    store(either_engine, told)
    moments = [at("2026-01-10") + timedelta(days=9 * n) for n in range(10)]
    whole = facts_at(told, moments, settings=settings)
    for rows in (1, 500, 1_000_000):
        assert_same(stored_facts(either_engine, moments, settings, rows=rows), whole)
    for moment in moments[::4]:
        assert_same(stored_facts(either_engine, [moment], settings, rows=500), whole.filter(as_of=moment))


def test_a_year_of_the_planted_world_gives_the_same_facts(planted: tuple, engine: Engine) -> None:  # type: ignore[type-arg]
    told = planted[1]
    store(engine, told)
    moments = mornings(UNTIL.replace(year=UNTIL.year - 1), UNTIL, SETTINGS)[30::45]
    facts = stored_facts(engine, moments, SETTINGS, rows=5_000)
    assert facts.height > 500
    assert_same(facts, facts_at(told, moments, settings=SETTINGS))


def test_what_only_a_closed_deal_tells_is_still_known(engine: Engine) -> None:
    won = [("2026-01-20", "won")]
    step: list[tuple[str, str | None]] = [("2026-01-04", "2026-01-12")]
    told = ledger(
        {
            "a": deal("2026-01-02", stage="Qualify", outcome=won, next_step_on=step),
            "b": deal("2026-01-03", stage="Qualify"),
        },
        touches={"a": ["2026-01-05", "2026-01-06"]},
    )
    store(engine, told)
    settings = Settings()
    facts = stored_facts(engine, [at("2026-02-01")], settings, rows=500)
    assert facts["deal_id"].to_list() == ["b"]
    assert facts["touches_all"].to_list() == [0] and facts["has_next_step"].to_list() == [False]
    assert_same(facts, facts_at(told, [at("2026-02-01")], settings=settings))


def test_a_slice_cuts_no_deal_in_two() -> None:
    parts = [pl.DataFrame({"deal_id": list(ids)}) for ids in ("aab", "bbb", "bc", "cd", "ef")]
    slices = [part["deal_id"].to_list() for part in whole_deals(parts, 3)]
    assert [*"aabbbbbccdef"] == [one for part in slices for one in part]
    met = [deal_id for part in slices for deal_id in set(part)]
    assert len(slices) > 2 and len(met) == len(set(met))
