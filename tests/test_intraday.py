"""A score between mornings is what a morning would say at that minute, and no morning ever hears of it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from dealwatch import jobs
from dealwatch.alerts.intraday import scores_of, take_events
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.history.freshness import newest_extracts
from dealwatch.scoring.evaluate import _speaks_for
from dealwatch.settings import Settings
from dealwatch.tables import crm_events, deal_scores, event_scores, extract_runs, metadata
from dealwatch.warehouse import connect, writing
from small_company import DAY, HOUR, MORNING, NEXT, SmallCompany, opened, rows

AFTERNOON = MORNING + 8 * HOUR
THEIR_OWN = {"crm_events", "event_scores", "extract_runs"}


def named(settings: Settings, deal_ids: list[str], moment: datetime = AFTERNOON) -> None:
    """Events whose deals were read at the moment, and not scored yet."""
    run = {
        "extract_id": f"r{moment}", "source": "crm", "drop_name": "events", "extracted_at": moment,
        "state": "remembered", "records": 9, "quarantined": 0, "changes": 0, "covers": "some",
        "cursor": moment, "recorded_at": moment,
    }  # fmt: skip
    told = [
        {
            "event_id": f"{moment} {n}", "source": "crm", "deal_id": deal_id, "what": "stage",
            "happened_at": moment, "received_at": moment, "state": "landed", "extract_id": f"r{moment}",
        }
        for n, deal_id in enumerate(deal_ids)
    ]  # fmt: skip
    engine = connect(settings)
    with writing(engine) as connection:
        connection.execute(insert(extract_runs).values(**run))
        connection.execute(insert(crm_events), told)
    engine.dispose()


def taken(settings: Settings, now: datetime) -> dict[str, int]:
    engine = connect(settings)
    try:
        return take_events(engine, settings=settings, now=now)
    finally:
        engine.dispose()


def open_deals(settings: Settings) -> list[str]:
    jobs.score(settings, as_of=MORNING)
    return rows(settings, deal_scores)["deal_id"].to_list()


def test_it_is_what_a_morning_would_say_at_that_minute(small_company: SmallCompany, tmp_path: Path) -> None:
    settings = small_company.copied(tmp_path)
    some = open_deals(settings)[::7]
    jobs.score(settings, as_of=AFTERNOON)
    whole = rows(settings, deal_scores, AFTERNOON)
    named(settings, [*some, "nobody's"])
    assert taken(settings, AFTERNOON) == {"read": 0, "changes": 0, "scored": len(some), "waits": 0}
    told = rows(settings, event_scores, None)
    assert told.equals(whole.filter(whole["deal_id"].is_in(some)))
    assert set(told["model_version"]) == {small_company.versions[1]}
    assert taken(settings, AFTERNOON)["scored"] == 0 and rows(settings, event_scores, None).equals(told)


def test_nothing_but_its_own_tables_is_written(small_company: SmallCompany, tmp_path: Path) -> None:
    settings = small_company.copied(tmp_path)
    named(settings, open_deals(settings))
    before = all_tables(settings)
    taken(settings, AFTERNOON)
    after = all_tables(settings)
    assert {name for name in after if after[name] != before[name]} == {"crm_events", "event_scores"}


def all_tables(settings: Settings) -> dict[str, Any]:
    wall = ("recorded_at",)
    return {
        table.name: rows(settings, table, None).drop(wall, strict=False).to_dicts()
        for table in metadata.sorted_tables
    }


def mornings(settings: Settings) -> list[Any]:
    """What is told from the mornings after the events on, in words and in numbers."""
    told: list[Any] = []
    for morning in (NEXT, NEXT + timedelta(days=1)):
        told.append(jobs.score(settings, as_of=morning))
        told.append(jobs.alert(settings, as_of=morning, now=morning))
    told.append(jobs.measure(settings, as_of=NEXT))
    told.append(jobs.drift(settings, as_of=NEXT))
    told.append(jobs.evaluate(settings, first=DAY, until=DAY + timedelta(days=1)))
    return told


def test_mornings_after_events_are_as_without_them(small_company: SmallCompany, tmp_path: Path) -> None:
    with_events, without = (small_company.copied(tmp_path / name) for name in ("with", "without"))
    found = []
    for settings in (with_events, without):
        settings = settings.model_copy(
            update={"delivery": settings.delivery.model_copy(update={"operations_email": "ops@example.com"})}
        )
        own = open_deals(settings)
        jobs.alert(settings, as_of=MORNING, now=MORNING)
        if settings.home == with_events.home:
            for hours in (1, 8, 23):
                named(settings, own, MORNING + hours * HOUR)
                assert taken(settings, MORNING + hours * HOUR)["scored"] > 0
        found.append((mornings(settings), all_tables(settings)))
    (told, tables), (expected, others) = found
    assert told == expected
    different = {name for name in tables if tables[name] != others[name]}
    assert different == THEIR_OWN, "and the fold, the outbox, evidence and health are the same"


def test_a_read_of_a_few_deals_does_not_speak_for_the_source(
    small_company: SmallCompany, tmp_path: Path
) -> None:
    settings = small_company.copied(tmp_path)
    with opened(settings) as connection:
        before = newest_extracts(connection), _speaks_for(connection)
    named(settings, ["1"], MORNING + timedelta(days=3))
    with opened(settings) as connection:
        assert (newest_extracts(connection), _speaks_for(connection)) == before


def test_it_is_scored_by_the_model_in_force_at_that_minute(
    small_company: SmallCompany, tmp_path: Path
) -> None:
    settings = small_company.copied(tmp_path)
    some = open_deals(settings)[:3]
    engine = connect(settings)
    rules = load_rules(settings.alerts.rules)
    before, after = (
        scores_of(engine, moment, some, rules=rules, settings=settings)["model_version"].unique().to_list()
        for moment in (MORNING - HOUR, AFTERNOON)
    )
    engine.dispose()
    assert (before, after) == ([small_company.versions[0]], [small_company.versions[1]])


def test_a_poll_with_nothing_to_do_reads_no_rule_and_opens_no_ledger(
    settings: Settings, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dealwatch.alerts.intraday.load_rules", lambda _: pytest.fail("rules were read"))
    nothing = dict.fromkeys(("read", "changes", "scored", "waits"), 0)
    assert take_events(engine, settings=settings, now=MORNING) == nothing
