"""Nights of HubSpot in the ledger: it equals what the account holds, whatever happened on the way."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, Text, cast, select

from dealwatch.crm.hubspot.reader import HubSpotReader, open_hubspot
from dealwatch.errors import SettingsError, SourceDown
from dealwatch.history.extract import extract
from dealwatch.settings import Settings
from dealwatch.sources import Access
from dealwatch.sources import HubSpot as Source
from dealwatch.tables import (
    activities,
    deal_changes,
    deals,
    extract_gates,
    extract_pages,
    extract_runs,
    owners,
    quarantine,
)
from dealwatch.warehouse import reading
from hubspot_samples import CANARY, CANARY_BODY, NIGHT, at, deal, small_portal
from standins.hubspot import TOKEN, HubSpot, hubspot_server
from standins.hubspot_portal import Portal, Record
from standins.hubspot_portal import stage as stage_of

DAY = 86_400_000
STAGES = ("appointmentscheduled", "qualifiedtobuy", "contractsent", "closedwon", "closedlost")
ENDS = {"closedwon": "won", "closedlost": "lost"}
FIELDS = {"dealstage": "stage", "amount": "amount", "hubspot_owner_id": "owner_id"}


@contextmanager
def source(portal: Portal, settings: Settings) -> Iterator[tuple[HubSpot, Settings]]:
    with hubspot_server(portal) as server:
        host, _, port = server.url.rpartition(":")
        access = Access.model_validate({"host": host, "port": int(port), "password": TOKEN})
        own = Source(kind="hubspot", access=access)
        yield server, settings.model_copy(update={"sources": {"crm": own}, "time_zone": "UTC"})


def at_once(name: str, settings: Settings) -> HubSpotReader:
    """The source's reader, which waits for nothing."""
    reader = open_hubspot(name, settings)
    reader._api._client._sleep = lambda seconds: None
    return reader


def night(engine: Engine, settings: Settings, portal: Portal, ms: int) -> dict[str, int]:
    portal.now = ms
    return extract(engine, "crm", settings=settings, now=moment(ms), readers={"hubspot": at_once})


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def told(record: Record, name: str, until: int) -> list[tuple[datetime, str | None]]:
    """What a property became, and when; setting what is there is nothing."""
    found: list[tuple[datetime, str | None]] = []
    for ms, value, _ in record.history.get(name, []):
        before = found[-1][1] if found else None
        value = plain(value) if name == "amount" else value or None
        if ms <= until and value != before:
            found.append((moment(ms), value))
    return found


def plain(number: str | None) -> str | None:
    return str(float(number)).removesuffix(".0") if number else None


def outcomes(record: Record, until: int) -> list[tuple[datetime, str | None]]:
    found: list[tuple[datetime, str | None]] = []
    for ms, stage in told(record, "dealstage", until):
        word = ENDS.get(stage or "")
        if word != (found[-1][1] if found else None):
            found.append((ms, word))
    return found


def in_ledger(engine: Engine) -> dict[tuple[str, str], list[tuple[datetime, str | None]]]:
    c = deal_changes.c
    query = select(c.deal_id, c.field, c.happened_at, c.new_value).order_by(
        c.deal_id, c.field, c.known_at, c.happened_at, c.seq
    )
    found: dict[tuple[str, str], list[tuple[datetime, str | None]]] = {}
    with reading(engine) as connection:
        for row in connection.execute(query):
            found.setdefault((row.deal_id, row.field), []).append((row.happened_at, row.new_value))
    return found


def all_of(engine: Engine, *columns: Any) -> list[tuple[Any, ...]]:
    with reading(engine) as connection:
        return sorted(tuple(row) for row in connection.execute(select(*columns)))


def assert_is_the_truth(engine: Engine, portal: Portal, until: int) -> None:
    """The ledger, row by row, and the deals as they stand."""
    ledger = in_ledger(engine)
    for record in portal.live("deals"):
        for name, field in FIELDS.items():
            assert ledger.get((record.id, field), []) == told(record, name, until), (record.id, field)
        assert ledger.get((record.id, "outcome"), []) == outcomes(record, until), record.id
    live = {record.id: record for record in portal.live("deals")}
    c = deals.c
    for deal_id, stage, outcome, owner, amount, closed_at, is_deleted in all_of(
        engine, c.deal_id, c.stage, c.outcome, c.owner_id, c.amount, c.closed_at, c.is_deleted
    ):
        assert is_deleted == (deal_id not in live), deal_id
        if is_deleted:
            continue
        record = live.pop(deal_id)
        ends = outcomes(record, until)
        closed = ends[-1][0] if ends and ends[-1][1] else None
        now = (
            record.value("dealstage"),
            ENDS.get(record.value("dealstage") or ""),
            record.value("hubspot_owner_id"),
        )
        assert (stage, outcome, owner, closed_at) == (*now, closed), deal_id
        assert plain(None if amount is None else str(amount)) == plain(record.value("amount")), deal_id
    assert live == {}


def live_a_day(portal: Portal, chance: Random, ms: int) -> None:
    """What people do in a day: new deals, moves, archiving, restoring, merging, touches."""
    for number in range(12):
        deal(portal, None, moment(ms + number).isoformat(), amount=str(chance.randrange(1, 99)), dealname="n")
    for record in chance.sample(portal.live("deals"), 25):
        when = ms + chance.randrange(1, DAY - 60_000)
        if when > record.history["dealstage"][-1][0]:
            portal.change("deals", record.id, when, dealstage=chance.choice(STAGES))
            portal.change("deals", record.id, when, amount=str(chance.randrange(1, 9)), hubspot_owner_id="81")
    for record in chance.sample(portal.live("deals"), 4):
        note = portal.add("notes", ms + 5, None, hs_timestamp=moment(ms + 5000).isoformat())
        portal.link(record.id, "notes", note.id)
    gone = chance.sample(portal.live("deals"), 5)
    portal.archive("deals", gone[0].id, ms + 7)
    portal.archive("deals", gone[1].id, ms + 7)
    portal.restore("deals", gone[1].id)
    portal.purge("deals", gone[2].id)
    portal.merge(gone[3].id, gone[4].id, ms + DAY - 30_000)


@pytest.mark.parametrize("seed", range(2))
def test_three_nights_under_faults_at_random_equal_the_account(
    either_engine: Engine, either_settings: Settings, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    engine, settings = either_engine, either_settings
    chance, portal = Random(seed), small_portal()
    for number in range(80):
        deal(portal, str(5000 + number), "2026-02-01T00:00:00", amount=str(number))
    with source(portal, settings) as (server, own):
        for number in range(3):
            ms = NIGHT + number * DAY
            if number:
                live_a_day(portal, chance, ms - DAY + 10)
            server.break_by_chance(0.3, seed * 10 + number)
            night(engine, own, portal, ms)
            assert_is_the_truth(engine, portal, ms)
        assert server.desk.in_vain == []
    assert all_of(engine, quarantine.c.reason) == []
    assert all_of(engine, extract_pages.c.name) == []
    kept = str(all_of(engine, extract_runs.c.extract_id, cast(extract_runs.c.plan, Text)))
    said = "\n".join([caplog.text, kept, *(record.getMessage() for record in caplog.records)])
    assert "try 2 of 6 follows" in said
    for secret in (TOKEN, "Bearer", CANARY, CANARY_BODY, "Acme", "ann@example.com"):
        assert secret not in said


def test_a_night_that_changes_nothing_adds_nothing(engine: Engine, settings: Settings) -> None:
    portal = small_portal()
    with source(portal, settings) as (_, own):
        first = night(engine, own, portal, NIGHT)
        second = night(engine, own, portal, NIGHT + DAY)
    assert first["changes"] > 10
    assert (second["changes"], second["activities"]) == (0, 0)


def test_a_share_of_the_days_requests_is_left_to_others(engine: Engine, settings: Settings) -> None:
    portal = small_portal()
    with source(portal, settings) as (server, own):
        sparing = own.sources["crm"].model_copy(update={"max_quota_share": 0.01})
        server.desk.used_today = server.desk.allowed_today // 50
        with pytest.raises(SourceDown, match="above 1% are left to others"):
            night(engine, own.model_copy(update={"sources": {"crm": sparing}}), portal, NIGHT)
        night(engine, own, portal, NIGHT)
    assert_is_the_truth_at(engine, portal, NIGHT)


def test_a_night_broken_off_is_gone_on_with_and_ends_the_same(engine: Engine, settings: Settings) -> None:
    portal = small_portal()
    for number in range(200):
        deal(portal, str(5000 + number), "2026-02-01T00:00:00", amount=str(number))
    with source(portal, settings) as (server, own):
        broken = 0
        for number in range(0, 40, 2):
            server.faults.clear()
            server.faults.extend([None] * number + [("limit", "DAILY", {})])
            try:
                night(engine, own, portal, NIGHT)
            except SourceDown:
                broken += 1
                # Meanwhile the deals move; that is for the next night.
                portal.change("deals", "5000", NIGHT + number + 1, amount=str(1000 + number))
                continue
            break
        server.faults.clear()
        asked = len(server.asked("objects", "deals"))
        assert_is_the_truth_at(engine, portal, NIGHT)
        night(engine, own, portal, NIGHT + DAY)
    assert broken >= 3
    assert asked < 60
    assert_is_the_truth(engine, portal, NIGHT + DAY)


def assert_is_the_truth_at(engine: Engine, portal: Portal, until: int) -> None:
    """The ledger's changes alone: the account has moved on since."""
    ledger = in_ledger(engine)
    for record in portal.live("deals"):
        for name, field in FIELDS.items():
            assert ledger.get((record.id, field), []) == told(record, name, until), (record.id, field)


def test_rows_that_cannot_be_used_are_set_aside_and_the_others_land(
    engine: Engine, settings: Settings
) -> None:
    portal = small_portal()
    deal(portal, "201", "2026-02-01T00:00:00", dealstage=None, pipeline=None, hs_is_closed_lost="true")
    deal(portal, "202", "2026-02-01T00:00:00", dealstage="of_no_pipeline")
    deal(portal, "203", "2026-02-01T00:00:00", amount="much")
    with source(portal, settings) as (_, own):
        night(engine, own, portal, NIGHT)
    set_aside = all_of(engine, quarantine.c.object, quarantine.c.field, quarantine.c.reason)
    assert [row for row in set_aside if row[0] == "deals"] == [
        ("deals", "amount", "much is no number"),
        ("deals", "outcome", "a stage of no pipeline is no outcome"),
        ("deals", "stage", "stage is empty"),
    ]
    assert [row[0] for row in all_of(engine, deals.c.deal_id)] == ["101", "102", "103"]


def test_owners_and_touches_land(engine: Engine, settings: Settings) -> None:
    portal = small_portal()
    with source(portal, settings) as (_, own):
        night(engine, own, portal, NIGHT)
        portal.owners[0].is_archived = True
        night(engine, own, portal, NIGHT + DAY)
    c = activities.c
    assert all_of(engine, c.deal_id, c.happened_at, c.kind, c.direction, c.by) == [
        ("101", datetime(2026, 1, 8, 11, tzinfo=UTC), "call", "in", None)
    ]
    assert all_of(engine, owners.c.owner_id, owners.c.name, owners.c.is_active) == [
        ("81", "Ann Archer", False),
        ("82", "Bob", False),
    ]


@pytest.mark.parametrize("first", ["2026-01-05T09:00:00", "2026-01-15T09:00:00"])
def test_a_history_that_the_vendor_cuts_short_keeps_the_ledger_as_it_is(
    engine: Engine, settings: Settings, first: str
) -> None:
    """Nobody says how many values HubSpot keeps; what it forgets, the ledger remembers."""
    portal = small_portal()
    deal(portal, "301", "2026-01-05T09:00:00")
    for number in range(24):
        moved = {"amount": str(number), "dealstage": STAGES[number % 5]}
        portal.change("deals", "301", at(first) + number * 3_600_000, **moved)
    with source(portal, settings) as (server, own):
        night(engine, own, portal, NIGHT)
        for number in range(1, 4):
            moved = {"amount": str(100 + number), "dealstage": STAGES[number]}
            portal.change("deals", "301", NIGHT + number * DAY - 9, **moved)
            server.desk.habits.history_cap = 23 - number
            night(engine, own, portal, NIGHT + number * DAY)
            assert_is_the_truth(engine, portal, NIGHT + number * DAY)
    assert len(in_ledger(engine)["301", "amount"]) == 27


def test_a_list_that_leaves_out_a_deal_that_is_there_deletes_nothing(
    engine: Engine, settings: Settings
) -> None:
    """The index counts roughly, so that the list's own end is no proof that it is whole."""
    portal = small_portal()
    with source(portal, settings) as (server, own):
        night(engine, own, portal, NIGHT)
        before = all_of(engine, *deals.c)
        first = next(n for n, asked in enumerate(server.requests) if asked.path.endswith("/deals") and
                     "objects" in asked.path and asked.query.get("archived") != "true")  # fmt: skip
        portal.purge("deals", portal.live("deals")[0].id)
        server.faults.extend([*[None] * first, "short"])
        with pytest.raises(SourceDown, match="left out 1 deals that are there"):
            night(engine, own, portal, NIGHT + DAY)
        assert server.given == ["short"] and all_of(engine, *deals.c) == before
        night(engine, own, portal, NIGHT + DAY + 60_000)
        assert_is_the_truth(engine, portal, NIGHT + DAY + 60_000)


def test_without_a_key_the_source_says_what_to_make(engine: Engine, settings: Settings) -> None:
    for access in (None, Access(host="api.hubapi.com")):
        own = Source(kind="hubspot", connection="hubspot_main", access=access)
        bare = settings.model_copy(update={"sources": {"crm": own}})
        with pytest.raises(SettingsError, match="make the Airflow connection hubspot_main"):
            extract(engine, "crm", settings=bare, now=moment(NIGHT))


def test_the_sources_own_reader_is_found_and_asks_with_its_key(engine: Engine, settings: Settings) -> None:
    portal = small_portal()
    with source(portal, settings) as (server, own):
        assert extract(engine, "crm", settings=own, now=moment(NIGHT))["deals"] == 3
        assert {request.path.split("/")[3] for request in server.asked("/crm/")} == {"2026-09"}
        older = own.sources["crm"].model_copy(update={"version": "2026-03", "touches": ()})
        server.requests.clear()
        portal.now = NIGHT + DAY
        extract(
            engine,
            "crm",
            settings=own.model_copy(update={"sources": {"crm": older}}),
            now=moment(NIGHT + DAY),
        )
        assert {request.path.split("/")[3] for request in server.asked("/crm/")} == {"2026-03"}
        assert server.asked("associations") == []


def test_a_stage_that_is_not_configured_is_told_by_its_label(engine: Engine, settings: Settings) -> None:
    """Its id says nothing to anybody."""
    portal = small_portal()
    names = [one.id for one in portal.pipelines[0].stages]
    process = settings.pipeline.model_copy(
        update={
            "stages": tuple(name for name in names if name not in ENDS),
            "won_stages": ("closedwon",),
            "lost_stages": ("closedlost",),
        }
    )
    with source(portal, settings) as (_, own):
        own = own.model_copy(update={"pipeline": process})
        night(engine, own, portal, NIGHT)
        portal.pipelines[0].stages.insert(1, stage_of("7701", "Legal", "0.5", is_closed=False))
        portal.change("deals", "101", NIGHT + 5, dealstage="7701")
        night(engine, own, portal, NIGHT + DAY)
    with reading(engine) as connection:
        told = connection.execute(select(extract_gates.c.sentence).where(extract_gates.c.verdict == "warn"))
        (sentence,) = told.scalars()
    assert '(7701, "Legal", open, after ' in sentence
