"""Salesforce's events: deals are asked for by id, by REST, and land as a night's would."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from dealwatch import migrations
from dealwatch.alerts.intraday import take_events
from dealwatch.crm.events import Event
from dealwatch.crm.pages import Past
from dealwatch.history.waiting import keep_events
from dealwatch.knobs import Delivery
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce as Source
from dealwatch.tables import (
    activities,
    crm_events,
    deal_changes,
    deals,
    event_scores,
    extract_runs,
    quarantine,
)
from dealwatch.warehouse import connect, reading, writing
from salesforce_company import org_of
from standins.salesforce import Salesforce, salesforce_server
from standins.salesforce_org import Org
from standins.salesforce_outbound import ORG
from test_salesforce_nights import OWN, moves_made, moves_told, night, reader_of, standing, truth

HOUR = timedelta(hours=1)


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of()) as server:
        server.page = 5
        yield server


def told_at_once(settings: Settings) -> Settings:
    crm = Source.model_validate(
        {"kind": "salesforce", "deals": OWN.model_dump(), "events": {"organisation": ORG}}
    )
    address = Delivery(public_url="https://crm.example.com")
    changes = {"sources": {"crm": crm}, "time_zone": "UTC", "delivery": address}
    return settings.model_copy(update=changes)


def tell(engine: Engine, org: Org, *deal_ids: str) -> None:
    told = [Event(f"{id_} {org.now}", id_, "changed") for id_ in deal_ids]
    with writing(engine) as connection:
        keep_events(connection, "crm", told, now=org.now)


def take(engine: Engine, settings: Settings, server: Salesforce) -> dict[str, int]:
    opening = {"salesforce": lambda _name, _settings: reader_of(server)}
    return take_events(engine, settings=settings, now=server.org.now, readers=opening)


def rows(engine: Engine, *columns: Any) -> list[str]:
    with reading(engine) as connection:
        return sorted(str(tuple(row)) for row in connection.execute(select(*columns)))


def opportunities(org: Org) -> Sequence[str]:
    return org.rows("Opportunity")["Id"].to_list()


def test_the_deals_that_events_name_are_read_and_no_others(
    either_engine: Engine, either_settings: Settings, server: Salesforce
) -> None:
    settings, org = told_at_once(either_settings), server.org
    night(either_engine, settings, server)
    ids = opportunities(org)
    org.pass_to(org.now + 10 * HOUR)
    org.update("Opportunity", ids[0], StageName="Propose", Amount=77.25, NextStep="x")
    org.update("Opportunity", ids[4], StageName="Propose")
    org.insert("Task", WhatId=ids[0], IsClosed=True, CompletedDateTime=org.now)
    org.delete("Opportunity", ids[8])
    org.pass_to(org.now + timedelta(minutes=5))
    tell(either_engine, org, ids[0], ids[8], "006000000000999AAA")
    asked = len(server.asked)
    assert take(either_engine, settings, server) == {"read": 3, "changes": 3, "scored": 1, "waits": 0}
    assert all(" IN (" in soql for soql in server.asked[asked:])
    stage = {row[0]: row[4] for row in standing(either_engine)}
    assert stage[ids[0]] == "Propose" and stage[ids[4]] == "Qualify" and ids[8] not in stage
    assert [one.split("'")[1] for one in rows(either_engine, event_scores.c.deal_id)] == [ids[0]]
    org.pass_to(org.now + 14 * HOUR)
    night(either_engine, settings, server)
    assert standing(either_engine) == truth(org)
    told = {move for move in moves_told(either_engine, "stage") if move[0] != ids[8]}
    assert told == moves_made(org), "no move is there twice: REST and Bulk write moments in two ways"


def test_the_ledger_ends_as_it_would_without_events(
    engine: Engine, settings: Settings, server: Salesforce, tmp_path: Any
) -> None:
    settings, org = told_at_once(settings), server.org
    other = connect(settings.model_copy(update={"home": tmp_path / "other"}))
    migrations.upgrade(other)
    org.tracked |= {"OwnerId"}
    for one in (engine, other):
        night(one, settings, server)
    ids = opportunities(org)
    for n in range(4):
        org.pass_to(org.now + 2 * HOUR)
        org.update("Opportunity", ids[n], StageName="Closed Won" if n % 2 else "Propose", Amount=10.5 + n)
        made = org.insert(
            "Opportunity", Name=f"New {n}", AccountId=org.get("Opportunity", ids[0])["AccountId"],
            OwnerId=org.get("Opportunity", ids[n])["OwnerId"], StageName="Qualify", Amount=5.0,
        )  # fmt: skip
        org.insert("Task", WhatId=ids[n], IsClosed=True, CompletedDateTime=org.now)
        org.pass_to(org.now + timedelta(minutes=3))
        tell(engine, org, ids[n], made, ids[0])
        assert take(engine, settings, server)["read"] >= 2
    org.pass_to(org.now + 14 * HOUR)
    for one in (engine, other):
        night(one, settings, server)
    c = deal_changes.c
    has_history = c.field.in_(("stage", "amount", "close_date", "owner_id"))
    told = select(c.change_id, c.deal_id, c.field, c.old_value, c.new_value, c.happened_at, c.known_at, c.seq)
    for table, query in (
        (deal_changes, told.where(has_history)),
        (deals, select(deals)),
        (activities, select(activities)),
        (quarantine, select(quarantine)),
    ):
        with reading(engine) as mine, reading(other) as theirs:
            both = [{*map(str, one.execute(query))} for one in (mine, theirs)]
        assert both[0] == both[1] and (both[0] or table is quarantine), table.name
    other.dispose()


def test_many_deals_are_asked_for_some_hundreds_at_a_time(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    settings, org = told_at_once(settings), server.org
    night(engine, settings, server)
    ids = opportunities(org)
    org.pass_to(org.now + HOUR)
    for id_ in ids[::3]:
        org.update("Opportunity", id_, Amount=1.0)
    org.pass_to(org.now + HOUR)
    others = [f"006{n:012d}AAA" for n in range(5000, 5438)]
    tell(engine, org, *others[:219], *ids, *others[219:])
    asked, jobs = len(server.asked), len(server.jobs)
    assert take(engine, settings, server)["read"] == 450
    assert len(server.jobs) == jobs, "no job for a few rows"
    own = server.asked[asked:]
    assert max(map(len, own)) < 6_000 and sum(soql.count(" FROM Opportunity ") for soql in own) == 6
    assert standing(engine) == truth(org)
    plan = reader_of(server).plan_of(Past(), ids)
    assert plan.covers == "some" and {one.object for one in plan.tables} == {
        "deals", "deal_history", "activities", "deletions",
    }  # fmt: skip


def test_events_wait_while_the_days_requests_are_used(
    engine: Engine, settings: Settings, server: Salesforce, caplog: pytest.LogCaptureFixture
) -> None:
    settings, org = told_at_once(settings), server.org
    night(engine, settings, server)
    org.pass_to(org.now + HOUR)
    tell(engine, org, opportunities(org)[0])
    server.used = server.allowed
    assert take(engine, settings, server)["waits"] == 1 and "its events wait" in caplog.text
    assert rows(engine, crm_events.c.state) == ["('waiting',)"]
    assert rows(engine, extract_runs.c.covers) == ["('all',)"]
    server.used = 0
    assert take(engine, settings, server)["read"] == 1


def test_what_is_no_id_is_never_put_into_a_query(server: Salesforce) -> None:
    for id_ in ("006' OR Id != '", "0060000000001", "006000000000001AAÄ"):
        with pytest.raises(ValueError, match="18 letters and digits"):
            reader_of(server).plan_of(Past(), [id_])
