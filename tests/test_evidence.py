"""A rule's record: what it would have flagged in the past, against deals like those, as known then."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from dealwatch.alerts.evidence.measure import measure, records
from dealwatch.alerts.evidence.replay import replayed
from dealwatch.alerts.rules.rule import Rule, load_rule
from dealwatch.alerts.speaking.content import record_line
from dealwatch.history.ledger import CHANGE_ORDER, Ledger
from dealwatch.moments import local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import activities, deal_changes, rule_evidence
from dealwatch.warehouse import INSTANT, add_missing, frame, reading, writing

NOW = datetime(2026, 3, 2, 5, tzinfo=UTC)
LIVES_DAYS = 20
RULE = """\
title = "Big"
say = "{deal_name} is big."
why = "Big deals are lost."
action = "Split it."
send_to = ["owner"]
cooldown_days = 5
"""
BIG = '\n[[levels]]\nlevel = 1\nname = "big"\nwhen = "amount > 100"\n'
HUGE = '\n[[levels]]\nlevel = 2\nname = "huge"\nwhen = "amount > 1000"\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", time_zone="UTC", morning="05:00:00")


@pytest.fixture
def rule(tmp_path: Path) -> Rule:
    path = tmp_path / "big.toml"
    path.write_text(RULE + BIG + HUGE)
    return load_rule(path)


def change(deal: int, field: str, value: str, at: datetime) -> dict[str, Any]:
    return {
        "deal_id": f"d{deal:04d}",
        "field": field,
        "old_value": None,
        "new_value": value,
        "happened_at": at,
        "known_at": at,
        "seq": 0,
    }


def ledger(
    *deals: tuple[float, str], weeks: int = 50, ends_weeks_ago: int = 0, also: tuple[dict[str, Any], ...] = ()
) -> Ledger:
    """Each week the given deals (amount and outcome) are created; each lives twenty days in one stage."""
    rows = list(also)
    for week in range(weeks):
        began = NOW - timedelta(weeks=weeks - week + ends_weeks_ago, hours=3)
        for n, (amount, outcome) in enumerate(deals):
            deal = week * len(deals) + n
            rows += [
                change(deal, "created_at", began.isoformat(), began),
                change(deal, "stage", "Talk", began),
                change(deal, "amount", str(amount), began),
            ]
            closed = began + timedelta(days=LIVES_DAYS)
            if closed < NOW:
                rows.append(change(deal, "outcome", outcome, closed))
    changes = pl.DataFrame(rows, schema_overrides={"old_value": pl.String}).with_columns(
        pl.col("happened_at", "known_at").cast(INSTANT)
    )
    touches = {name: pl.String for name in ("deal_id", "kind", "direction", "by")}
    touched = pl.DataFrame(schema={**touches, "happened_at": INSTANT, "known_at": INSTANT})
    return Ledger(changes=changes.sort(CHANGE_ORDER), activities=touched)


def record(known: Ledger, rule: Rule, settings: Settings, level: int = 1) -> dict[str, Any]:
    rows = records(known, NOW, [rule], settings=settings)
    assert rows.select("rule", "level", "segment").rows() == [("big", 1, ""), ("big", 2, "")]
    return rows.row(level - 1, named=True)


BIG_ARE_LOST = [(500.0, "lost"), (500.0, "lost"), (50.0, "won"), (50.0, "won")]
NO_CAUSE = [(500.0, "lost"), (500.0, "won"), (50.0, "lost"), (50.0, "won")]


def test_a_rule_that_tells_lost_deals_from_others_is_proven(rule: Rule, settings: Settings) -> None:
    found = record(ledger(*BIG_ARE_LOST), rule, settings)
    assert found["alerted"] == found["lost"] and 90 < found["alerted"] < 100
    assert found["base_rate"] == pytest.approx(1 / 3), "of the three others of its week one is lost"
    assert found["lift"] == pytest.approx(3.0)
    assert 1 < found["lift_low"] < 3 < found["lift_high"]
    assert not found["proven"], "fewer than a hundred"
    assert record(ledger(*BIG_ARE_LOST, *BIG_ARE_LOST), rule, settings)["proven"]


def test_a_rule_that_tells_nothing_is_not_proven(rule: Rule, settings: Settings) -> None:
    found = record(ledger(*NO_CAUSE, *NO_CAUSE), rule, settings)
    assert found["alerted"] > 150 and found["lost"] * 2 == found["alerted"]
    assert found["lift"] == pytest.approx(1.0)
    assert not found["proven"]


def test_what_a_rule_never_flagged_has_no_lift(rule: Rule, settings: Settings) -> None:
    found = record(ledger(*BIG_ARE_LOST), rule, settings, level=2)
    assert (found["alerted"], found["lift"], found["proven"]) == (0, None, False)
    assert record_line(found) == "unproven: no such deal of the last 12 months can be judged"


@pytest.mark.parametrize(("mornings", "is_alerted"), [(2, True), (LIVES_DAYS, True), (LIVES_DAYS + 1, False)])
def test_a_rule_that_waits_for_more_mornings_in_a_row_alerts_no_sooner(
    rule: Rule, settings: Settings, mornings: int, is_alerted: bool
) -> None:
    found = record(ledger(*BIG_ARE_LOST), replace(rule, confirms_after=mornings), settings)
    assert (found["alerted"] > 90) == is_alerted


def test_a_level_counts_the_deals_that_got_worse(rule: Rule, settings: Settings) -> None:
    known = ledger((5000.0, "lost"), (500.0, "lost"), (50.0, "won"))
    assert record(known, rule, settings)["alerted"] == 2 * record(known, rule, settings, level=2)["alerted"]


def test_comparable_deals_are_of_the_same_morning_stage_and_age(rule: Rule, settings: Settings) -> None:
    """Wins come within ten days and losses later; a rule that holds from then on only tells the age."""
    known = ledger((50.0, "lost"), (50.0, "lost"), (50.0, "won"))
    is_win = pl.col("new_value") == "won"
    moved = known.changes.with_columns(
        pl.when(is_win).then(pl.col(name) - timedelta(days=10)).otherwise(pl.col(name))
        for name in ("happened_at", "known_at")
    )
    grown = moved.filter(pl.col("field") == "amount").with_columns(
        pl.col("happened_at", "known_at") + timedelta(days=11), new_value=pl.lit("500")
    )
    changes = pl.concat([moved, grown]).sort(CHANGE_ORDER)
    found = record(Ledger(changes=changes, activities=known.activities), rule, settings)
    assert found["lost"] == found["alerted"] > 40
    assert found["lift"] == pytest.approx(1.0)


def test_outcomes_that_came_later_are_not_used(rule: Rule, settings: Settings) -> None:
    known = ledger(*BIG_ARE_LOST)
    later = change(0, "outcome", "won", NOW + timedelta(days=1))
    more = pl.DataFrame([later], schema_overrides={"old_value": pl.String}).with_columns(
        pl.col("happened_at", "known_at").cast(INSTANT)
    )
    changed = Ledger(changes=pl.concat([known.changes, more]).sort(CHANGE_ORDER), activities=known.activities)
    before = records(known, NOW, [rule], settings=settings)
    assert records(changed, NOW, [rule], settings=settings).equals(before)


def test_mornings_whose_deals_are_mostly_open_are_left_out(rule: Rule, settings: Settings) -> None:
    """Deals of the last weeks that ended are the fast ones; they would speak for those that have not."""
    fast = [(500.0, "lost"), (500.0, "lost")]
    rows: list[dict[str, Any]] = []
    began = NOW - timedelta(days=9)
    for deal in range(9000, 9010):
        rows += [
            change(deal, "created_at", began.isoformat(), began),
            change(deal, "stage", "Talk", began),
            change(deal, "amount", "500", began),
        ]
        if deal < 9003:
            rows.append(change(deal, "outcome", "won", NOW - timedelta(days=1)))
    usual = record(ledger(*fast, ends_weeks_ago=4, weeks=40), rule, settings)
    crowded = record(ledger(*fast, ends_weeks_ago=4, weeks=40, also=tuple(rows)), rule, settings)
    assert (crowded["alerted"], crowded["lost"]) == (usual["alerted"], usual["lost"])


def test_deals_that_nobody_ever_closes_take_no_record_away(rule: Rule, settings: Settings) -> None:
    """Twenty deals of years ago, still open: more than a quarter of what is open on any morning."""
    long_ago = NOW - timedelta(days=800)
    left = tuple(
        change(deal, field, value, long_ago)
        for deal in range(9000, 9020)
        for field, value in (("created_at", long_ago.isoformat()), ("stage", "Talk"), ("amount", "50"))
    )
    usual = record(ledger(*BIG_ARE_LOST), rule, settings)
    crowded = record(ledger(*BIG_ARE_LOST, also=left), rule, settings)
    assert usual["alerted"] > 90
    names = ("alerted", "lost", "base_rate", "lift")
    assert [crowded[name] for name in names] == [usual[name] for name in names]


def test_a_deleted_deal_is_no_evidence(rule: Rule, settings: Settings) -> None:
    gone = tuple(change(deal, "deleted", "true", NOW - timedelta(days=1)) for deal in range(0, 200, 4))
    whole, less = ledger(*BIG_ARE_LOST), ledger(*BIG_ARE_LOST, also=gone)
    assert record(less, rule, settings)["alerted"] * 2 == record(whole, rule, settings)["alerted"]


def test_a_score_rule_is_judged_by_the_scores_of_the_time(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "critical.toml").write_text(RULE.replace("is big", "scores {score}") + "when = 'score > 75'")
    critical = load_rule(tmp_path / "critical.toml")
    known = ledger(*BIG_ARE_LOST, *BIG_ARE_LOST)
    assert records(known, NOW, [critical], settings=settings)["alerted"].to_list() == [0]
    mornings = [NOW - timedelta(days=n) for n in range(1, 300, 2)]
    scored = pl.DataFrame({"as_of": mornings}, schema={"as_of": INSTANT}).join(
        pl.DataFrame({"deal_id": [f"d{n:04d}" for n in range(400)], "n": range(400)}), how="cross"
    )
    scored = scored.select(
        "as_of",
        "deal_id",
        score=pl.when(pl.col("n") % 4 < 2).then(80).otherwise(10).cast(pl.Int64),
        band=pl.lit("High"),
        p_loss=pl.lit(0.5),
    )
    (found,) = records(known, NOW, [critical], settings=settings, scored=scored).to_dicts()
    assert found["proven"] and found["lift"] == pytest.approx(7 / 3)


def test_the_same_question_has_the_same_answer(rule: Rule, settings: Settings) -> None:
    known = ledger(*BIG_ARE_LOST)
    first = records(known, NOW, [rule], settings=settings)
    assert first.equals(records(known, NOW, [rule], settings=settings))


def test_nothing_known_is_no_record(rule: Rule, settings: Settings) -> None:
    known = ledger(*BIG_ARE_LOST).known_at(datetime(2020, 1, 1, tzinfo=UTC))
    rows = records(known, NOW, [rule], settings=settings)
    assert rows.select("alerted", "lift", "proven").rows() == [(0, None, False)] * 2


def test_the_replay_is_every_morning_of_the_months_asked() -> None:
    settings = Settings(alerts={"evidence_months": 6})
    moments = replayed(NOW, settings)
    days = [local_day(moment, settings) for moment in moments]
    assert days == [days[0] + timedelta(days=n) for n in range(183)], "also the one of 23 hours"
    assert moments[-1] == morning_of(local_day(NOW, settings) - timedelta(days=1), settings)


def test_a_measurement_is_stored_once(engine: Engine, tmp_path: Path, rule: Rule) -> None:
    settings = Settings(home=tmp_path / "home", alerts={"rules": tmp_path})
    known = ledger(*BIG_ARE_LOST)
    rows = known.changes.with_row_index("n").select(
        pl.exclude("n"),
        change_id=pl.col("n").cast(pl.String),
        recorded_at=pl.col("known_at"),
        source=pl.lit("crm"),
    )
    with writing(engine) as connection:
        add_missing(connection, deal_changes, rows)
        assert frame(connection, select(activities)).is_empty()
    assert measure(engine, NOW, settings=settings) == {"levels": 2, "proven": 0}
    measure(engine, NOW, settings=settings)
    with reading(engine) as connection:
        stored = frame(connection, select(rule_evidence)).sort("rule", "level")
    assert stored["level"].to_list() == [1, 2] and stored["lift"][0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (None, "unproven: this rule's record is not measured yet"),
        (
            {"alerted": 142, "lost": 88, "base_rate": 0.41, "months": 12, "proven": True},
            "last 12 months: 88 of 142 such deals lost (62%); similar deals 41%",
        ),
        (
            {"alerted": 9, "lost": 8, "base_rate": 0.41, "months": 6, "proven": False},
            "unproven: last 6 months: 8 of 9 such deals lost (89%); similar deals 41%",
        ),
    ],
)
def test_a_record_is_one_line(found: dict[str, Any] | None, line: str) -> None:
    assert record_line(found) == line
