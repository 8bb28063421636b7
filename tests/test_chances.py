"""The chance of a loss is learned from all stays in a stage, and minutes teach nothing of days."""

import polars as pl
import pytest

from dealwatch.history.ledger import Ledger
from dealwatch.knobs import Pipeline
from dealwatch.scoring.facts import facts_at
from dealwatch.settings import Settings
from ledger_rows import at, deal, ledger

SETTINGS = Settings(time_zone="UTC", pipeline=Pipeline(stages=("A", "B")))
MOMENT = at("2026-03-01 06:00")
Deals = dict[str, dict[str, list[tuple[str, str | None]]]]


def closed(name: str, count: int, outcome: str, *, after: str, stage: str = "A") -> Deals:
    """So many deals created on 1 February and closed at the same time, straight from one stage."""
    return {
        f"{name}{n:04}": deal("2026-02-01 00:00", stage=stage, outcome=[(after, outcome)])
        for n in range(count)
    }


def chance(deals: Deals, **subject: str) -> dict[str, float]:
    """The two chances of a deal that came into its stage at the time named."""
    (created,), (stage,) = subject.values(), subject
    whole: Ledger = ledger({**deals, "subject": deal(created, stage=stage)})
    row = facts_at(whole, [MOMENT], settings=SETTINGS).filter(deal_id="subject")
    return row.select("loss_chance", "stage_loss_chance").row(0, named=True)


def test_a_stage_is_as_risky_as_its_stays_ended() -> None:
    deals = closed("w", 100, "won", after="2026-02-11") | closed("l", 300, "lost", after="2026-02-11")
    assert chance(deals, A="2026-03-01 05:00")["stage_loss_chance"] == pytest.approx(0.75, abs=0.01)


def test_losses_within_minutes_say_nothing_of_deals_that_outlive_them() -> None:
    slow = closed("w", 100, "won", after="2026-02-11") | closed("l", 100, "lost", after="2026-02-11")
    quick = closed("q", 2000, "lost", after="2026-02-01 00:03")
    before, after = (chance(deals, A="2026-02-25 06:00") for deals in (slow, slow | quick))
    assert before["loss_chance"] == pytest.approx(0.5, abs=0.01)
    assert after["loss_chance"] == pytest.approx(before["loss_chance"], abs=0.03)
    assert after["stage_loss_chance"] > 0.9


def test_who_waits_longer_than_the_winners_did_is_at_risk() -> None:
    deals = closed("w", 200, "won", after="2026-02-04") | closed("l", 200, "lost", after="2026-02-20")
    early, late = (chance(deals, A=since)["loss_chance"] for since in ("2026-02-28", "2026-02-20"))
    assert early == pytest.approx(0.5, abs=0.03)
    assert late > 0.9


def test_a_stay_that_leads_on_is_worth_what_the_next_stage_is() -> None:
    moved = {
        f"m{n:03}": deal("2026-02-01", stage=[("2026-02-01", "A"), ("2026-02-08", "B")]) for n in range(200)
    }
    deals = moved | closed("l", 300, "lost", after="2026-02-09", stage="B")
    assert chance(deals, A="2026-03-01 05:00")["stage_loss_chance"] > 0.9


def test_without_a_stage_or_an_outcome_there_is_no_chance() -> None:
    assert chance({}, A="2026-02-20") == {"loss_chance": None, "stage_loss_chance": None}
    bare = facts_at(ledger({"d": deal("2026-02-01")}), [MOMENT], settings=SETTINGS)
    assert bare["loss_chance"].to_list() == [None]


def test_what_is_not_known_yet_moves_no_chance() -> None:
    past = closed("w", 50, "won", after="2026-02-11") | closed("l", 50, "lost", after="2026-02-12")
    future = closed("f", 90, "lost", after="2026-03-05", stage="Z")
    subject = {"subject": deal("2026-02-20", stage="A")}
    moments = [MOMENT, at("2026-03-09 06:00")]
    whole = ledger({**past, **future, **subject})
    alone = facts_at(whole.known_at(MOMENT), [MOMENT], settings=SETTINGS)
    together = facts_at(whole, moments, settings=SETTINGS).filter(pl.col("as_of") == MOMENT)
    names = ["deal_id", "loss_chance", "stage_loss_chance"]
    assert together.select(names).equals(alone.select(names))
