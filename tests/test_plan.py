"""What a change of rules and settings would do, told before it is done; and one rule rehearsed alone."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from alert_samples import hire, know
from dealwatch import jobs
from dealwatch.__main__ import main
from dealwatch.alerts.hindsight import plan_text
from dealwatch.alerts.hindsight.plan import Plan, plan
from dealwatch.alerts.hindsight.rehearsal import machine, rehearse, text
from dealwatch.alerts.hindsight.trial_run import Trial, scored
from dealwatch.alerts.rules import books as rule_books
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.alerts.rules.signals import signals
from dealwatch.errors import SettingsError
from dealwatch.history.ledger import read_ledger
from dealwatch.moments import morning_of
from dealwatch.scoring.facts import facts_at
from dealwatch.settings import Settings
from dealwatch.tables import alert_signals, deal_changes, deal_scores, metadata
from dealwatch.tables import rule_books as books
from dealwatch.warehouse import frame, reading, writing
from ledger_rows import deal, ledger
from small_company import MORNING, SmallCompany, opened, rows

TODAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
OLD = """\
title = "Old"
say = "It is {age_days:.0f} days old."
why = "Old deals are lost."
action = "Call the buyer."
send_to = ["owner"]
cooldown_days = 5
when = "age_days > 30"
"""
LARGE = OLD.replace('"Old"', '"Large"').replace("age_days > 30", "amount > 900")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "old.toml").write_text(OLD)
    alerts = {"rules": tmp_path / "rules", "evidence_minimum": 10}
    return Settings(home=tmp_path / "home", time_zone="UTC", alerts=alerts)


@pytest.fixture
def world(engine: Engine) -> Engine:
    """Deals of two owners, created ten days apart from each other; the oldest was lost, the next one won."""
    hire(engine, "ann")
    hire(engine, "bob")
    deals = {}
    for n in range(8):
        created = f"{date(2025, 12, 1) + timedelta(days=10 * n)} 09:00"
        stages = {
            "stage": "Proposal",
            "name": f"Deal {n}",
            "amount": str(100 * n),
            "owner_id": "ann" if n % 2 else "bob",
        }
        ends: dict[str, Any] = {}
        if n < 2:
            ends = {"outcome": [("2026-02-20 09:00", "won" if n else "lost")]}
        deals[f"D-{n}"] = deal(created, **stages, **ends)
    changes = ledger(deals).changes
    rows = changes.with_row_index("number").with_columns(
        change_id=pl.col("number").cast(pl.String), recorded_at=pl.col("known_at"), source=pl.lit("crm")
    )
    know(engine, deal_changes, *rows.drop("number", "old_value").to_dicts())
    return engine


def in_force(engine: Engine, settings: Settings) -> None:
    """The tree as it is becomes what the last live morning was decided by."""
    with writing(engine) as connection:
        rule_books.record(connection, TODAY - timedelta(days=7), settings=settings)


def planned(engine: Engine, settings: Settings, days: int = 30) -> Plan:
    return plan(engine, days=days, as_of=TODAY, settings=settings)


def write(settings: Settings, name: str, words: str) -> None:
    (settings.alerts.rules / f"{name}.toml").write_text(words)


def test_without_a_book_there_is_nothing_to_compare_with(world: Engine, settings: Settings) -> None:
    found = planned(world, settings)
    assert found.before is None and (found.added, found.removed) == (0, 0)
    assert found.after.alerts == 7  # D-0 to D-6 were older than thirty days at some time in February
    assert "nothing to compare with" in plan_text.text(found)


def test_the_same_tree_changes_nothing(world: Engine, settings: Settings) -> None:
    in_force(world, settings)
    write(settings, "old", f"# another comment\n{OLD}")
    found = planned(world, settings)
    assert (found.rules, found.settings, found.added, found.removed, found.proven) == ({}, {}, 0, 0, {})
    assert found.before == found.after
    assert "No change" in plan_text.text(found)


def test_a_higher_threshold_removes_alerts_and_names_them(world: Engine, settings: Settings) -> None:
    in_force(world, settings)
    write(settings, "old", OLD.replace("> 30", "> 55"))
    found = planned(world, settings)
    assert found.rules == {"old": "changed: when"}
    assert (found.added, found.removed) == (0, 3)
    assert [(one.rule, one.deal_id, one.name, one.day) for one in found.removed_examples] == [
        ("old", "D-6", "Deal 6", "2026-03-02"),
        ("old", "D-5", "Deal 5", "2026-02-20"),
        ("old", "D-4", "Deal 4", "2026-02-10"),
    ]
    assert found.before is not None and found.after.alerts == found.before.alerts - 3
    told = plan_text.text(found)
    assert "rule old: changed: when" in told and "2026-02-20  old  Deal 5 (D-5)" in told


def test_a_new_rule_adds_alerts_and_is_measured(world: Engine, settings: Settings) -> None:
    in_force(world, settings)
    write(settings, "large", LARGE.replace("> 900", "> 550"))
    found = planned(world, settings)
    assert found.rules == {"large": "new"}
    assert [(one.deal_id, one.day) for one in found.added_examples] == [
        ("D-7", "2026-02-10"),
        ("D-6", "2026-02-01"),
    ]
    assert found.proven["large level 1"] == "unproven: digests only"


def test_a_rule_that_waits_longer_is_measured_anew(world: Engine, settings: Settings) -> None:
    record = {"measured_as_of": TODAY - timedelta(days=100), "alerted": 99, "lost": 9, "months": 12}
    rows = {"rule": "old", "level": 1, "segment": "", **record, "proven": True}
    know(world, metadata.tables["rule_evidence"], rows)
    in_force(world, settings)
    assert planned(world, settings).proven == {}
    write(settings, "old", f"confirm_mornings = 5\n{OLD}")
    found = planned(world, settings)
    assert found.rules == {"old": "changed: confirm_mornings"}
    assert found.proven == {"old level 1": "unproven: digests only"}


def test_each_side_of_a_plan_has_the_record_of_its_own_rule(world: Engine, settings: Settings) -> None:
    """Measured before the change and after it: the newer record says nothing about what is in force."""
    (rule,) = load_rules(settings.alerts.rules)
    record = {"rule": "old", "level": 1, "segment": "", "alerted": 99, "lost": 9, "months": 12}
    first = {**record, "measured_as_of": TODAY - timedelta(days=100), "condition": rule.condition_of(1)}
    in_force(world, settings)
    write(settings, "old", OLD.replace("> 30", "> 55"))
    (rule,) = load_rules(settings.alerts.rules)
    second = {**record, "measured_as_of": TODAY - timedelta(days=2), "condition": rule.condition_of(1)}
    table = metadata.tables["rule_evidence"]
    know(world, table, {**first, "proven": True}, {**second, "proven": False})
    found = planned(world, settings)
    assert found.before is not None and found.before.load.singles > 0
    assert found.after.load.singles == 0
    assert found.proven == {"old level 1": "unproven: digests only"}


def test_a_rule_taken_out_is_gone(world: Engine, settings: Settings) -> None:
    write(settings, "large", LARGE.replace("> 900", "> 550"))
    in_force(world, settings)
    (settings.alerts.rules / "large.toml").unlink()
    found = planned(world, settings)
    assert found.rules == {"large": "gone"} and found.removed == 2


def test_settings_are_compared_with_those_in_force(world: Engine, settings: Settings) -> None:
    in_force(world, settings)
    other = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"digest_top": 1})})
    found = planned(world, other)
    assert found.settings == {"alerts.digest_top": (10, 1)}
    assert found.before is not None and found.before.alerts == found.after.alerts
    assert "alerts.digest_top: 10 becomes 1" in plan_text.text(found)


def test_precision_is_of_alerted_deals_that_ended(world: Engine, settings: Settings) -> None:
    found = planned(world, settings)
    assert (found.after.precision.lost, found.after.precision.of) == (1, 2)
    low, high = found.after.precision.interval or (0.0, 0.0)
    assert 0.09 < low < 0.1 and 0.9 < high < 0.91  # Wilson, one of two


def test_a_points_change_is_a_change_of_the_score(world: Engine, settings: Settings) -> None:
    critical = OLD.replace('"Old"', '"Critical"').replace("age_days > 30", "band = 'Critical'")
    write(settings, "critical", critical)
    in_force(world, settings)
    write(settings, "old", f"points = 40\n{OLD}")
    found = planned(world, settings)
    assert found.rules == {"old": "changed: points"}
    assert {one.rule for one in found.added_examples} == {"critical"} and found.removed == 0


def test_the_budget_decides_the_exit_code(
    world: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    proven_at = TODAY - timedelta(days=100)
    record = {"measured_as_of": proven_at, "alerted": 99, "lost": 9, "proven": True, "months": 12}
    know(world, metadata.tables["rule_evidence"], {"rule": "old", "level": 1, "segment": "", **record})
    in_force(world, settings)
    file = tmp_path / "dealwatch.toml"
    monkeypatch.setenv("DEALWATCH_HOME", str(settings.home))
    lines = 'time_zone = "UTC"\n[alerts]\nrules = "rules"\nevidence_minimum = 10\n'
    words = ["plan", "--days", "30", "--as-of", "2026-03-02", "--settings", str(file)]
    file.write_text(lines)
    assert main(words) == 0
    assert "Within budget" in capsys.readouterr().out
    file.write_text(f"{lines}plan_max_alerts_per_owner_week = 0.1\n")
    assert main([*words, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["is_over_budget"] and told["rules"] == {} and told["settings"] == {}
    assert told["after"]["load"]["singles"] > 0.1
    (tmp_path / "rules" / "old.toml").write_text(OLD.replace('when = "age_days', 'when = "age_dys'))
    assert main(words) == 2
    assert "old.toml:7: when: unknown fact 'age_dys'; did you mean age_days" in capsys.readouterr().err
    assert main([*words[:1], "--days", "3", *words[3:]]) == 2
    assert "7 to 730" in capsys.readouterr().err


def everything(engine: Engine) -> dict[str, list[str]]:
    with reading(engine) as connection:
        return {
            table.name: sorted(map(repr, frame(connection, select(table)).rows()))
            for table in metadata.sorted_tables
        }


def test_planning_and_rehearsing_write_nothing_and_say_the_same_twice(
    world: Engine, settings: Settings
) -> None:
    in_force(world, settings)
    write(settings, "large", LARGE)
    before = everything(world)
    assert planned(world, settings, days=7) == planned(world, settings, days=7)
    rehearse(world, settings.alerts.rules / "old.toml", days=7, as_of=TODAY, settings=settings)
    assert everything(world) == before and sum(map(len, before.values())) > 10


def test_a_rehearsal_tells_how_often_for_whom_and_on_which_deals(world: Engine, settings: Settings) -> None:
    found = rehearse(world, settings.alerts.rules / "old.toml", days=30, as_of=TODAY, settings=settings)
    assert (found.fired, found.deals, found.standing) == (3, 3, 5)  # D-2 and D-3 opened before
    assert found.by_owner == {"Bob": 2, "Ann": 1}
    assert [(one.deal_id, one.outcome) for one in found.examples] == [
        ("D-6", "open"),
        ("D-5", "open"),
        ("D-4", "open"),
    ]
    told = text(found)
    assert (
        "It would have fired 3 times for 3 deals" in told
        and "2026-02-20  level 1 Old  Deal 5 (D-5): open" in told
    )
    assert json.dumps(machine(found), default=str)


def test_a_rule_is_rehearsed_before_it_is_in_the_tree(
    world: Engine, settings: Settings, tmp_path: Path
) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text(OLD.replace("> 30", "> 10"))
    assert rehearse(world, draft, days=7, as_of=TODAY, settings=settings).rule == "draft"
    draft.write_text(OLD.replace("say", "sya"))
    with pytest.raises(SettingsError, match=r"draft.toml:2: sya: unknown field"):
        rehearse(world, draft, days=30, as_of=TODAY, settings=settings)


@pytest.fixture
def company(small_company: SmallCompany, tmp_path: Path) -> Iterator[Settings]:
    settings = small_company.copied(tmp_path)
    yield settings


@pytest.mark.slow
def test_the_shipped_rules_replay_as_the_mornings_were_and_change_nothing(company: Settings) -> None:
    """The replay computes scores in columns, from chance and points: they are those of the morning."""
    jobs.score(company, as_of=MORNING - timedelta(days=1), until=MORNING)
    jobs.alert(company, as_of=MORNING, now=MORNING + timedelta(minutes=5))
    given = rows(company, deal_scores)
    with opened(company) as connection:
        facts = facts_at(read_ledger(connection), [MORNING], settings=company)
    rules = load_rules(company.alerts.rules)
    trial = Trial(rules, company, pl.DataFrame(), rules)
    again = scored(facts, given.select("as_of", "deal_id", "p_loss", "method", "model_version"), trial)
    columns = ["deal_id", "score", "band", "method"]
    assert again.sort("deal_id").select(columns).equals(given.sort("deal_id").select(columns))
    held = signals(rules, facts, again)
    stored = rows(company, alert_signals).select(held.columns).sort("as_of", "rule", "deal_id")
    assert held.height > 5 and held.equals(stored)
    told, machine_, is_over = jobs.plan(company, days=7, as_of=MORNING)
    assert machine_["before"] == machine_["after"] and machine_["after"]["alerts"] > 0
    assert "No change" in told and "5 of these mornings were never scored" in told
    assert not is_over


def test_a_live_morning_keeps_its_rules_when_they_changed(world: Engine, settings: Settings) -> None:
    def kept() -> list[tuple[str, datetime]]:
        with reading(world) as connection:
            return [
                (row["digest"], row["in_force_from"]) for row in frame(connection, select(books)).to_dicts()
            ]

    def record(day: date) -> None:
        with writing(world) as connection:
            rule_books.record(connection, morning_of(day, settings), settings=settings)

    record(date(2026, 2, 2))
    record(date(2026, 2, 3))
    assert [at.day for _, at in kept()] == [2]
    write(settings, "old", OLD.replace("> 30", "> 31"))
    record(date(2026, 2, 4))
    record(date(2026, 2, 4))
    assert sorted(at.day for _, at in kept()) == [2, 4]
    write(settings, "old", OLD)  # mended before the second run of the same morning
    record(date(2026, 2, 4))
    assert [at.day for _, at in kept()] == [2]


def test_a_book_holds_what_decides_and_no_secret(settings: Settings) -> None:
    delivery = settings.delivery.model_copy(
        update={
            "crm_deal_url": "https://user:geheim@crm.example.com/{deal_id}",
            "revops_email": "r@example.com",
            "revops_slack": "https://hooks.example.com/geheim",
        }
    )
    book = rule_books.book_of(settings.model_copy(update={"delivery": delivery}))
    assert book.rules == {"old": OLD}
    assert book.settings["alerts.daily_budget"] == 3 and book.settings["scoring.bands"] == [25, 50, 75]
    assert book.settings["delivery.revops_email"] == "r@example.com"
    assert "geheim" not in json.dumps(dict(book.settings)) and "alerts.rules" not in book.settings


def test_a_book_gives_the_settings_back(settings: Settings) -> None:
    book = rule_books.book_of(settings)
    changed = settings.model_copy(
        update={
            "alerts": settings.alerts.model_copy(update={"daily_budget": 9}),
            "delivery": settings.delivery.model_copy(update={"sender": "x@example.com"}),
        }
    )
    settled = book.settled(changed)
    assert (settled.alerts.daily_budget, settled.delivery.sender) == (3, "x@example.com")
    assert rule_books.book_of(settled) == book
    forgotten = rule_books.RuleBook(book.rules, {**book.settings, "alerts.a_knob_of_old": 1})
    assert forgotten.settled(changed) == settled
