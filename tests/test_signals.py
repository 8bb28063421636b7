"""Which rule held for which deal on a morning, as rows; facts and scores in, nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from sqlalchemy import Engine, select

from alert_samples import MONDAY, at, close, extract, know
from dealwatch.alerts.morning import score_mornings
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.alerts.rules.signals import signals
from dealwatch.alerts.speaking.queue import speak
from dealwatch.settings import Settings
from dealwatch.tables import alert_signals, deal_changes, scored_mornings
from dealwatch.warehouse import add_missing, frame, reading, rows_of, writing

MORNING = datetime(2026, 3, 2, 5, tzinfo=UTC)
RULES = load_rules(Settings().alerts.rules)


def facts() -> pl.DataFrame:
    """a has stalled badly, b is past its close date and nobody's, c is critical, d is fine."""
    return pl.DataFrame(
        {
            "as_of": [MORNING] * 4,
            "deal_id": ["a", "b", "c", "d"],
            "owner_id": ["ann", None, "bob", "bob"],
            "amount": [100.0, None, float("nan"), 5.0],
            "stage": ["Proposal", None, "Legal", "Legal"],
            "stage_entered_at": [datetime(2026, 1, 2, 9, 30, 1, tzinfo=UTC)] * 4,
            "days_in_stage": [61.0, 1.0, 1.0, 1.0],
            "stage_p80_days": [20.0, 20.0, 20.0, None],
            "stage_p95_days": [40.0, 40.0, 40.0, None],
            "has_next_step": [False, None, True, True],
            "days_to_next_step": [None, None, 3.0, 3.0],
            "age_days": [10.0, 10.0, 10.0, 10.0],
            "segment_win_p50_days": [50.0, 50.0, None, 50.0],
            "segment_win_p80_days": [60.0, 60.0, None, 60.0],
            "segment_win_p95_days": [70.0, 70.0, None, 70.0],
            "days_to_close": [5.0, -1.0, None, 5.0],
            "days_since_touch": [14.0, None, 3.0, 3.0],
        }
    )


def scores(*points: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "as_of": [MORNING] * 4,
            "deal_id": ["a", "b", "c", "d"],
            "score": points,
            "band": ["Critical" if p > 75 else "High" for p in points],
            "p_loss": [0.5, None, 0.9, 0.1],
        }
    )


def test_each_rule_that_holds_is_a_row_with_the_deal_as_it_stands() -> None:
    rows = signals(RULES, facts(), scores(50, 40, 76, 10))
    assert rows.select("rule", "deal_id", "level", "scope", "owner_id", "amount", "score").rows() == [
        ("close_date_passed", "b", 1, "", "", 0.0, 40),
        ("critical_risk", "c", 1, "", "bob", 0.0, 76),
        ("stage_stall", "a", 2, "Proposal@2026-01-02T09:30:01Z", "ann", 100.0, 50),
    ]


def test_a_score_a_little_below_critical_only_keeps_an_alert_open() -> None:
    rows = signals(RULES, facts(), scores(68, 69, 75, 76)).filter(pl.col("rule") == "critical_risk")
    assert rows.select("deal_id", "level").rows() == [("b", 0), ("c", 0), ("d", 1)]


def test_the_order_of_deals_and_repeats_leave_no_trace() -> None:
    once = signals(RULES, facts(), scores(50, 40, 76, 10))
    again = signals(RULES[::-1], facts().reverse(), scores(50, 40, 76, 10).reverse())
    assert once.equals(again)


def test_no_deals_are_no_signals() -> None:
    assert signals(RULES, facts().clear(), scores(1, 2, 3, 4)).is_empty()
    assert signals((), facts(), scores(1, 2, 3, 4)).is_empty()


def test_the_rows_fit_the_table(engine: Engine, tmp_path: Path) -> None:
    rows = signals(RULES, facts(), scores(50, 40, 76, 10))
    with writing(engine) as connection:
        assert add_missing(connection, alert_signals, rows) == 3
        assert frame(connection, select(alert_signals)).sort("rule").equals(rows.sort("rule"))


def open_deal(engine: Engine, deal_id: str, day: str) -> None:
    for field, value in (("created_at", at(day).isoformat()), ("stage", "Talk"), ("amount", "100")):
        known = {"happened_at": at(day), "known_at": at(day), "seq": 0, "recorded_at": at(day)}
        change = {"change_id": f"{deal_id} {field}", "deal_id": deal_id, "field": field, "source": "crm"}
        know(engine, deal_changes, {**change, **known, "old_value": None, "new_value": value})


def scored(engine: Engine) -> list[tuple[datetime, int, bool]]:
    with reading(engine) as connection:
        return [tuple(row) for row in rows_of(connection, select(scored_mornings).order_by("as_of"))]


def test_a_morning_without_an_open_deal_was_scored_too(
    either_engine: Engine, either_settings: Settings
) -> None:
    open_deal(either_engine, "a", "2026-02-02")
    close(either_engine, "a", "2026-03-03")
    tuesday = at("2026-03-03")
    score_mornings(either_engine, [at(MONDAY), tuesday], rules=RULES, settings=either_settings)
    assert scored(either_engine) == [(at(MONDAY), 1, False), (tuesday, 0, False)]
    extract(either_engine, "2026-03-03")
    speak(either_engine, settings=either_settings, as_of=tuesday, now=tuesday)
    assert [is_folded for *_, is_folded in scored(either_engine)] == [True, True]
    score_mornings(either_engine, [at(MONDAY)], rules=RULES, settings=either_settings)
    assert scored(either_engine) == [(at(MONDAY), 1, False), (tuesday, 0, True)]


def test_a_moment_that_is_no_morning_is_scored_but_no_part_of_the_fold(
    engine: Engine, settings: Settings
) -> None:
    open_deal(engine, "a", "2026-02-02")
    noon = at(MONDAY) + timedelta(hours=6)
    assert score_mornings(engine, [noon], rules=RULES, settings=settings)["deals"] == 1
    assert scored(engine) == []
