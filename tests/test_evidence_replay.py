"""The replay behind a record: each morning as it was, no outcome or model of later, what an alert costs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from dealwatch.alerts.evidence import past_scores, replay
from dealwatch.alerts.evidence.lift import Flagged, Panel, lifts
from dealwatch.alerts.evidence.measure import Outcomes, judged, records
from dealwatch.alerts.evidence.past_scores import scores_then
from dealwatch.alerts.evidence.record_table import record_table
from dealwatch.alerts.rules.rule import Rule, load_rule
from dealwatch.history.ledger import Ledger
from dealwatch.scoring.facts import facts_at
from dealwatch.settings import Settings
from dealwatch.warehouse import INSTANT, reading
from test_evidence import BIG, NOW, RULE, change, ledger

DAY = timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", time_zone="UTC", morning="05:00:00")


@pytest.fixture
def rule(tmp_path: Path) -> Rule:
    (tmp_path / "big.toml").write_text(RULE + BIG)
    return load_rule(tmp_path / "big.toml")


def of_all(known: Ledger, rules: list[Rule], settings: Settings, as_of: datetime = NOW) -> dict[str, Any]:
    (row,) = records(known, as_of, rules, settings=settings).filter(pl.col("segment") == "").to_dicts()
    return row


def with_changes(known: Ledger, *more: dict[str, Any]) -> Ledger:
    rows = pl.DataFrame(list(more), schema_overrides={"old_value": pl.String})
    rows = rows.with_columns(pl.col("happened_at", "known_at").cast(INSTANT))
    order = ["deal_id", "field", "known_at", "happened_at", "seq"]
    return Ledger(pl.concat([known.changes, rows]).sort(order), known.activities)


BOTH = [(500.0, "lost"), (500.0, "won"), (50.0, "lost"), (50.0, "won")]


def test_an_amount_that_is_large_for_two_days_is_seen(rule: Rule, settings: Settings) -> None:
    """A look once a week would miss five of seven."""
    known = ledger((50.0, "lost"), (50.0, "won"), (50.0, "lost"))
    grown = []
    for week in range(50):
        began = NOW - timedelta(weeks=50 - week, hours=3)
        grown += [
            change(3 * week, "amount", "500", began + 4 * DAY),
            change(3 * week, "amount", "50", began + 6 * DAY),
        ]
    found = of_all(with_changes(known, *grown), [rule], settings)
    assert found["alerted"] == found["lost"] == 48, "all that are closed"
    assert found["reopened_share"] == 0.0


def test_what_became_known_later_changes_no_record(rule: Rule, settings: Settings) -> None:
    """The canary: later amounts, outcomes, deals and deletions, which would turn the record upside down."""
    known = ledger(*BOTH, *BOTH)
    then = NOW - 60 * DAY
    seen = known.known_at(then)
    later = [change(n, "outcome", "won", then + DAY) for n in range(0, 400, 4)]
    later += [change(n, "amount", "1", then + DAY) for n in range(400)]
    later += [change(n, "deleted", "true", then + 2 * DAY) for n in range(0, 400, 3)]
    before = records(seen, then, [rule], settings=settings)
    assert before["alerted"][0] > 100
    assert records(with_changes(known, *later), then, [rule], settings=settings).equals(before)


@pytest.mark.slow
def test_a_mornings_signals_do_not_depend_on_the_mornings_beside_it(
    rule: Rule, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = records(ledger(*BOTH), NOW, [rule], settings=settings)
    monkeypatch.setattr(replay, "_ROWS_AT_ONCE", 40)
    monkeypatch.setattr("dealwatch.alerts.evidence.noise._AT_ONCE", 50)
    monkeypatch.setattr("dealwatch.alerts.evidence.lift._DRAWN_AT_ONCE", 100_000)
    assert records(ledger(*BOTH), NOW, [rule], settings=settings).equals(whole)


def test_a_loss_that_was_known_late_is_no_find(rule: Rule, settings: Settings) -> None:
    """On mornings between the loss and its becoming known, the deal looked open and was gone already."""
    known = ledger((50.0, "lost"), (50.0, "won"), (50.0, "lost"))
    is_close = pl.col("field") == "outcome"
    late = known.changes.with_columns(
        known_at=pl.when(is_close).then(pl.col("known_at") + 3 * DAY).otherwise("known_at")
    )
    ghosts = [change(3 * n, "amount", "500", NOW - timedelta(weeks=50 - n) + 21 * DAY) for n in range(40)]
    found = of_all(with_changes(Ledger(late, known.activities), *ghosts), [rule], settings)
    assert (found["alerted"], found["recall"]) == (0, 0.0)


def test_a_deal_alone_in_its_stratum_proves_nothing(rule: Rule, settings: Settings) -> None:
    assert of_all(ledger((500.0, "lost")), [rule], settings)["alerted"] == 0


def test_recall_and_lead_count_from_the_first_alert_to_the_loss(rule: Rule, settings: Settings) -> None:
    """Deals live twenty days; half of the lost ones grow on the tenth day, and others too late to act on."""
    known = ledger((50.0, "lost"), (50.0, "lost"), (50.0, "lost"), (50.0, "won"))
    grown = []
    for week in range(50):
        began = NOW - timedelta(weeks=50 - week, hours=3)
        grown += [change(4 * week, "amount", "500", began + 10 * DAY)]
        grown += [change(4 * week + 1, "amount", "500", began + 15 * DAY)]
    found = of_all(with_changes(known, *(row for row in grown if row["known_at"] < NOW)), [rule], settings)
    assert found["losses"] == 3 * 48, "the last two weeks are still open"
    assert found["recall"] == pytest.approx(1 / 3)
    assert found["recall_low"] < 1 / 3 < found["recall_high"]
    assert found["lead_days"] == pytest.approx((10 + 5) / 2 - 0.125), "created three hours before a morning"


def test_noise_is_alerts_opened_per_owner_and_week_and_flapping_is_told(
    rule: Rule, settings: Settings
) -> None:
    """Of two deals a week one is big; it shrinks for two days in between: one alert that came back."""
    owners = [
        change(n, "owner_id", f"o{n % 2}", NOW - timedelta(weeks=50 - n // 2, hours=3)) for n in range(100)
    ]
    shrunk = []
    for week in range(50):
        began = NOW - timedelta(weeks=50 - week, hours=3)
        if began + 9 * DAY < NOW:
            shrunk += [change(2 * week, "amount", "50", began + 7 * DAY)]
            shrunk += [change(2 * week, "amount", "500", began + 9 * DAY)]
    known = with_changes(ledger((500.0, "lost"), (50.0, "won")), *owners, *shrunk)
    found = of_all(known, [rule], settings)
    assert found["alerts_per_owner_week"] == pytest.approx(0.5, abs=0.02), "one a week for two owners"
    assert found["reopened_share"] == pytest.approx(1.0)
    short = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"reopen_days": 1})})
    apart = of_all(known, [rule], short)
    assert apart["alerts_per_owner_week"] == pytest.approx(1.0, abs=0.05)
    assert apart["reopened_share"] == 0.0


@pytest.mark.parametrize("mornings", [1, 2])
def test_what_stood_when_the_replay_began_is_no_new_alert(
    rule: Rule, settings: Settings, mornings: int
) -> None:
    born = [change(n, "owner_id", "ann", NOW - 500 * DAY) for n in (7000, 7001)]
    born += [change(n, "created_at", (NOW - 500 * DAY).isoformat(), NOW - 500 * DAY) for n in (7000, 7001)]
    born += [change(7000, "amount", "500", NOW - 500 * DAY)]
    empty = ledger(*BOTH).known_at(NOW - 5000 * DAY)
    found = of_all(with_changes(empty, *born), [replace(rule, confirms_after=mornings)], settings)
    assert found["alerts_per_owner_week"] == 0.0


def test_segments_have_a_record_of_their_own_and_prove_nothing(rule: Rule, settings: Settings) -> None:
    """In the north big deals are lost and in the south they are won; together it is a draw."""
    north, south = [(500.0, "lost"), (50.0, "won")] * 3, [(500.0, "won"), (50.0, "lost")] * 3
    known = ledger(*north, *south)
    deals = known.changes.filter(pl.col("field") == "stage")
    number = pl.col("deal_id").str.slice(1).cast(pl.Int64)
    where = deals.with_columns(
        field=pl.lit("region"),
        new_value=pl.when(number % 12 < 6).then(pl.lit("north")).otherwise(pl.lit("south")),
    )
    changes = pl.concat([known.changes, where]).sort("deal_id", "field", "known_at", "happened_at", "seq")
    rows = records(Ledger(changes, known.activities), NOW, [rule], settings=settings)
    # The product type is unknown everywhere, so it parts nothing and has no rows.
    names = ["", *(f"product_type=(unknown), region={name}" for name in ("north", "south"))]
    assert rows["segment"].to_list() == names
    everyone, up, down = rows.to_dicts()
    assert everyone["alerted"] == up["alerted"] + down["alerted"]
    assert everyone["lift"] == pytest.approx(1.0)
    assert up["lift"] == pytest.approx(5 / 2) and up["lift_low"] > 1 and not up["proven"]
    assert down["lost"] == 0 and down["base_rate"] == pytest.approx(3 / 5)
    assert (
        everyone["losses"] == up["losses"] + down["losses"] and up["recall"] == 1.0 and down["recall"] == 0.0
    )


def test_a_segment_of_few_deals_has_no_record(rule: Rule, settings: Settings) -> None:
    known = ledger(*BOTH)
    few = [change(n, "region", "north", NOW - 200 * DAY) for n in range(80, 140, 4)]
    rows = records(with_changes(known, *few), NOW, [rule], settings=settings)
    assert not any("north" in name for name in rows["segment"]) and rows.height == 2


def test_the_interval_of_drawn_deals_is_as_wide_as_theory_says() -> None:
    """Flagged deals beside as many others: the variance of the logarithm is known in closed form."""
    random = np.random.default_rng(1)
    lost = np.concatenate([random.random(800) < 0.6, random.random(800) < 0.4]).astype(np.float32)
    strata = np.concatenate([np.arange(800) % 8, np.arange(800) % 8])
    flagged = Flagged(np.arange(800), strata[:800], np.zeros(800, dtype=np.int64))
    panel = Panel.of(lost, np.arange(1600), strata)
    (((found,),),) = lifts([(panel, [flagged])], deviations=[1.0], seed=3)
    assert found.lift is not None and found.low is not None and found.high is not None
    assert found.alerted == 800 and found.low < found.lift < found.high
    p, q = lost[:800].mean(), lost[800:].mean()
    base = (p + q) / 2
    exact = ((1 - p) / p + (p * (1 - p) + q * (1 - q)) / 4 / base**2 - (1 - p) / base) / 800
    assert np.log(found.high / found.lift) == pytest.approx(np.sqrt(exact), rel=0.1)


class _Champion:
    """A champion that says the same of every deal."""

    def __init__(self, p: float) -> None:
        self.bundle = self
        self.p = p

    def p_loss(self, facts: pl.DataFrame) -> np.ndarray:
        return np.full(facts.height, self.p)


def test_a_morning_that_nobody_scored_is_scored_by_its_own_champion(
    engine: Engine, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the promotion there is no score; and it is that of the morning's champion, not of today's."""
    (tmp_path / "critical.toml").write_text(RULE.replace("is big", "scores {score}") + "when = 'score > 40'")
    critical = load_rule(tmp_path / "critical.toml")
    mornings = [NOW - n * DAY for n in (30, 20, 10)]
    facts = facts_at(ledger(*BOTH), mornings, settings=settings)
    asked: list[datetime] = []

    def champions(_: object, __: object, moments: list[datetime]) -> list[Any]:
        from types import SimpleNamespace

        asked.extend(moments)
        by_moment = {mornings[1]: _Champion(0.5), mornings[2]: _Champion(0.9)}
        return [SimpleNamespace(model=by_moment.get(moment)) for moment in moments]

    monkeypatch.setattr(past_scores, "champions_at", champions)
    with reading(engine) as connection:
        given = scores_then(connection, mornings, [critical], settings=settings)(facts)
    assert asked == mornings, "each is asked for its own champion"
    said = dict(given.select("as_of", "score").unique().rows())
    assert said == {mornings[1]: 30, mornings[2]: 54}, "60 times the chance, and no points of rules"


def test_the_table_shows_each_level_and_below_it_its_segments() -> None:
    numbers = {
        **{"alerted": 142, "lost": 88, "base_rate": 0.41, "lift": 1.51, "lift_low": 1.2, "lift_high": 1.9},
        **{"losses": 400, "recall": 0.25, "recall_low": 0.2, "recall_high": 0.3, "lead_days": 12.4},
        **{"alerts_per_owner_week": 0.52, "reopened_share": 0.04, "proven": True, "months": 12},
    }
    nothing = dict.fromkeys(numbers) | {"alerted": 0, "lost": 0, "proven": False, "months": 12}
    rows: list[dict[str, Any]] = [
        {"rule": "stall", "level": 2, "segment": "region=EMEA", "measured_as_of": NOW, **numbers},
        {"rule": "stall", "level": 2, "segment": "", "measured_as_of": NOW, **numbers},
        {"rule": "quiet", "level": 1, "segment": "", "measured_as_of": NOW, **nothing},
    ]
    lines = record_table(rows).splitlines()
    assert lines[0] == "The last 12 months, every morning, as of 2026-03-02."
    assert lines[3].split() == ["quiet", "1", "0", *["-"] * 7, "unproven"]
    assert "142   62%      41%  1.51 (1.20 to 1.90)  25% (20% to 30%)" in lines[4]
    assert lines[4].endswith("12    0.52    4%  proven") and lines[5].startswith("  region=EMEA")
    assert not lines[5].endswith("proven")
    assert record_table([]) == "No record for this moment.\n"


def test_a_record_has_what_people_said_and_no_loss_that_its_deals_deny() -> None:
    empty = dict.fromkeys(("base_rate", "lift", "lift_low", "lift_high", "reopened_share"))
    found = {"losses": 88, "recall": 0.03, "recall_low": 0.01, "recall_high": 0.09, "lead_days": 6.0}
    row = {"rule": "critical", "level": 1, "segment": "", "measured_as_of": NOW, "months": 12, **empty}
    row |= {"alerted": 0, "lost": 0, "proven": False, "alerts_per_owner_week": 0.25, **found}
    said = {"told": 22, "acknowledged": 1, "snoozed": 0, "already_knew": 0, "false_alarm": 2, "useful": 0}
    other = {**row, "rule": "quiet", "lead_days": None, "alerts_per_owner_week": 0.0, "feedback": said}
    table = record_table(
        [row, {**other, "feedback": {**said, "told": 9, "acknowledged": 0, "false_alarm": 0}}]
    )
    assert "unproven, none to compare" in table.splitlines()[3] and "9 told\n" in table
    assert "unproven, none to compare: it flagged deals, but on mornings" in table
    plain = record_table([other])
    assert "none to compare" not in plain and "what people said: of the alerts told" in plain
    assert plain.splitlines()[3].endswith("unproven  22 told: 1 acknowledged, 2 false_alarm")
    assert "what people said: " not in record_table([row])


def test_what_was_judged_is_judged_again_the_same(rule: Rule, settings: Settings) -> None:
    """A replay can be judged as of an earlier day: by the mornings before it and the outcomes of the time."""
    from dealwatch.alerts.evidence.measure import outcomes_of
    from dealwatch.scoring.known import history_of, microseconds_of

    known = ledger(*BOTH, *BOTH)
    moments = replay.replayed(NOW, settings)
    history = history_of(known, microseconds_of(moments), pipeline=settings.pipeline)
    past = replay.replay(history, moments, [rule], settings=settings)
    then = NOW - 40 * DAY
    so_far = past.until(then)
    ended: Outcomes = outcomes_of(known, then, so_far)
    again = judged(so_far, ended, then, settings=settings)
    (row,) = again.to_dicts()
    assert 100 < row["alerted"] < of_all(known, [rule], settings)["alerted"]
    assert max(so_far.moments) < then and so_far.moments[0].tzinfo == UTC


def test_a_rule_that_waits_for_a_second_morning_is_counted_from_then(
    tmp_path: Path, settings: Settings
) -> None:
    """Large for one morning is no alert; large for two is one, from the second on."""
    (tmp_path / "big.toml").write_text(RULE + "confirm_mornings = 2\n" + BIG)
    patient = load_rule(tmp_path / "big.toml")
    grown = []
    for week in range(48):
        began = NOW - timedelta(weeks=50 - week, hours=3)
        for deal, days in ((0, 1), (1, 2)):
            grown += [change(4 * week + deal, "amount", "500", began + 4 * DAY)]
            grown += [change(4 * week + deal, "amount", "50", began + (4 + days) * DAY)]
    known = with_changes(ledger((50.0, "lost"), (50.0, "lost"), (50.0, "won"), (50.0, "won")), *grown)
    found = of_all(known, [patient], settings)
    assert found["alerted"] == found["lost"] == 48
    assert found["lead_days"] == pytest.approx(20 - 5 - 0.125)
