"""Nights of a Salesforce org, read through the real client into a ledger that has to equal the org."""

import logging
import random
import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from dealwatch.crm.http import Policy
from dealwatch.crm.readers import Opener
from dealwatch.crm.salesforce.api import Salesforce as Wire
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.crm.salesforce.reader import SalesforceReader
from dealwatch.errors import DealwatchError, ExtractRefused, SourceDown
from dealwatch.history.extract import extract
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce as Source
from dealwatch.tables import activities, deal_changes, deals, owners, quarantine
from dealwatch.warehouse import reading, rows_of
from salesforce_company import org_of
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server
from standins.salesforce_org import Org

OWN = RecordMapping(columns={"region": "Region__c", "next_step_on": "Next_Step_On__c"})


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of()) as server:
        server.page = 5
        yield server


def reader_of(
    server: Salesforce,
    *,
    own: RecordMapping = OWN,
    currency: str | None = None,
    without: tuple[str, ...] = (),
    page_rows: int = 5,
) -> SalesforceReader:
    told = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET, "host": server.url}
    policy = Policy(connect_seconds=2, read_seconds=0.5)
    session = Session(login_of(told, "crm"), policy=policy, sleep=lambda _: None)
    return SalesforceReader(
        Wire(session, page_rows=page_rows),
        own=own,
        where="sources.crm",
        overlap=timedelta(hours=24),
        currency=currency,
        without=without,
    )


def of_crm(settings: Settings, *, own: RecordMapping = OWN) -> Settings:
    sources = {"crm": Source(kind="salesforce", deals=own)}
    return settings.model_copy(update={"sources": sources, "time_zone": "UTC"})


def night(engine: Engine, settings: Settings, server: Salesforce, reader: Any = None) -> dict[str, int]:
    reader = reader or reader_of(server)
    opening: dict[str, Opener] = {"salesforce": lambda _name, _settings: reader}
    return extract(
        engine, "crm", settings=settings, now=server.org.now + timedelta(minutes=1), readers=opening
    )


def standing(engine: Engine) -> list[tuple[Any, ...]]:
    c = deals.c
    columns = (
        c.deal_id, c.name, c.account, c.amount, c.stage, c.owner_id, c.created_at, c.close_date, c.outcome,
        c.closed_at, c.industry, c.region, c.lead_source, c.next_step_on,
    )  # fmt: skip
    with reading(engine) as connection:
        return [
            tuple(row)
            for row in rows_of(connection, select(*columns).where(~c.is_deleted).order_by(c.deal_id))
        ]


def truth(org: Org) -> list[tuple[Any, ...]]:
    accounts = {row["Id"]: row for row in org.rows("Account").to_dicts()}
    found = []
    for row in org.rows("Opportunity").filter(~pl.col("IsDeleted")).sort("Id").to_dicts():
        account = accounts.get(row["AccountId"], {"Name": None, "Industry": None})
        outcome = ("won" if row["IsWon"] else "lost") if row["IsClosed"] else None
        found.append((
            row["Id"], row["Name"], account["Name"], row["Amount"], row["StageName"], row["OwnerId"],
            row["CreatedDate"], row["CloseDate"], outcome, row["LastStageChangeDate"] if outcome else None,
            account["Industry"], row["Region__c"], row["LeadSource"], row["Next_Step_On__c"],
        ))  # fmt: skip
    return found


def moves_told(engine: Engine, field: str) -> set[tuple[Any, ...]]:
    c = deal_changes.c
    query = select(c.deal_id, c.new_value, c.happened_at).where(c.field == field)
    with reading(engine) as connection:
        return {tuple(row) for row in rows_of(connection, query)}


def moves_made(org: Org) -> set[tuple[Any, ...]]:
    states = (
        org.rows("OpportunityHistory").filter(~pl.col("IsDeleted")).sort("OpportunityId", "CreatedDate", "Id")
    )
    moved = states.filter(pl.col("StageName").ne_missing(pl.col("StageName").shift(1).over("OpportunityId")))
    return set(moved.select("OpportunityId", "StageName", "CreatedDate").iter_rows())


def count(engine: Engine, table: Any) -> int:
    with reading(engine) as connection:
        return len(rows_of(connection, select(table)))


def test_the_first_night_tells_the_whole_org(
    either_engine: Engine, either_settings: Settings, server: Salesforce
) -> None:
    org = server.org
    deal, done = org.rows("Opportunity")["Id"][0], org.now - timedelta(days=20)
    org.insert("Task", WhatId=deal, IsClosed=True, IsArchived=True, CompletedDateTime=done)
    org.insert("Task", WhatId=deal, IsClosed=False, ActivityDate=done.date())
    gone = org.insert("Task", WhatId=deal, IsClosed=True, CompletedDateTime=done - timedelta(days=1))
    org.delete("Task", gone)
    org.insert("Task", WhatId=org.rows("Account")["Id"][0], IsClosed=True, CompletedDateTime=done)
    org.insert("Event", WhatId=deal, StartDateTime=org.now + timedelta(hours=1))
    night(either_engine, of_crm(either_settings), server)

    assert standing(either_engine) == truth(org)
    assert moves_told(either_engine, "stage") == moves_made(org)
    with reading(either_engine) as connection:
        touches = rows_of(connection, select(activities))
    assert [(touch.deal_id, touch.happened_at) for touch in touches] == [(deal, done)]
    assert count(either_engine, owners) == 3
    assert count(either_engine, quarantine) == 0


def live(org: Org, chance: random.Random, day: int) -> None:
    """A day of changes, each kind of them, until the next night."""
    begin = org.now
    ids = org.rows("Opportunity").filter(~pl.col("IsDeleted"))["Id"].to_list()
    users = org.rows("User")["Id"].to_list()
    picked = chance.sample(ids, 8)

    def later(minutes: int) -> None:
        org.pass_to(begin + timedelta(minutes=minutes))

    later(10)
    for tied in picked[:3]:  # three with the same stamp
        org.update("Opportunity", tied, StageName=chance.choice(["Qualify", "Propose"]), Amount=float(day))
    later(60)
    org.update("Opportunity", picked[3], StageName="Closed Won")
    org.update("Opportunity", picked[4], OwnerId=chance.choice(users), Next_Step_On__c=date(2026, 7, day))
    later(120)
    org.delete("Opportunity", picked[5])
    org.drift("Opportunity", picked[0], Region__c=f"Region {day}")
    new = org.insert(
        "Opportunity", Name=f"New {day}", StageName="Qualify", AccountId=org.rows("Account")["Id"][0],
        OwnerId=users[0], Amount=5.0, CloseDate=date(2026, 8, 1),
    )  # fmt: skip
    later(300)
    org.insert(
        "Task", WhatId=new, OwnerId=users[0], TaskSubtype="Call", IsClosed=True, CompletedDateTime=org.now
    )
    org.insert(
        "Event",
        WhatId=new,
        OwnerId=users[0],
        EventSubtype="Event",
        StartDateTime=org.now + timedelta(hours=70),
    )
    later(1430)  # commits after tonight's reading, with a stamp of before it
    org.update_late(
        "Opportunity", picked[6], shows_at=begin + timedelta(days=1, minutes=30), Amount=900.0 + day
    )
    if day == 2:
        gone = org.rows("Opportunity").filter(pl.col("IsDeleted"))["Id"].to_list()
        org.delete("Opportunity", gone[0], is_deleted=False)
    if day == 3:
        org.purge("Opportunity", picked[7])
        org.drift("User", users[0], IsActive=False)
        accounts = org.rows("Account")["Id"].to_list()
        org.merge_accounts(*accounts[:2])
    org.pass_to(begin + timedelta(days=1))


def settled(org: Org) -> None:
    """The next night, with nothing left that is stamped and not shown."""
    org.pass_to(org.now + timedelta(days=1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_nights_of_changes_end_at_the_org_s_truth(
    either_engine: Engine, either_settings: Settings, server: Salesforce, seed: int
) -> None:
    settings, org, chance = of_crm(either_settings), server.org, random.Random(seed)
    night(either_engine, settings, server)
    for day in (1, 2, 3):
        live(org, chance, day)
        night(either_engine, settings, server)
        assert count(either_engine, quarantine) == 0
    settled(org)
    org.pass_to(org.now + timedelta(days=3))  # a week is over: the ids tell who is gone for good
    night(either_engine, settings, server)

    assert standing(either_engine) == truth(org)
    assert moves_told(either_engine, "stage") >= moves_made(org)
    assert count(either_engine, activities) == 6
    with reading(either_engine) as connection:
        active = {row.name: row.is_active for row in rows_of(connection, select(owners))}
    assert sorted(active.values()) == [False, True, True]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_the_ledger_ends_at_the_truth_or_says_why(
    engine: Engine, settings: Settings, server: Salesforce, seed: int
) -> None:
    settings, org, chance = of_crm(settings), server.org, random.Random(seed)
    server.chance, server.rate = random.Random(seed), 0.1
    for day in range(4):
        before = standing(engine)
        for _ in range(30):
            try:
                night(engine, settings, server)
                break
            except (ExtractRefused, SourceDown):
                assert standing(engine) == before, "a night that failed changed something"
        else:
            raise AssertionError("thirty tries came to nothing")
        if day < 3:
            live(org, chance, day + 1)
    settled(org)
    server.chance = None
    org.pass_to(org.now + timedelta(days=5))
    night(engine, settings, server)

    assert standing(engine) == truth(org)
    assert moves_told(engine, "stage") >= moves_made(org)


def test_no_secret_and_no_row_leaves_the_ledger(
    engine: Engine, settings: Settings, server: Salesforce, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything that a run with many faults logs and raises, searched for what must not be in it."""
    caplog.set_level(logging.DEBUG)
    org, settings = server.org, of_crm(settings)
    canary = org.insert("User", Name="canary-name", Email="canary@example.com", IsActive=True)
    org.insert(
        "Opportunity", Name="canary-deal", StageName="Qualify", OwnerId=canary, Region__c="canary-region"
    )
    server.chance, server.rate = random.Random(3), 0.6
    said = []
    for _ in range(200):
        try:
            night(engine, settings, server)
        except (DealwatchError, SourceDown) as error:
            chain: BaseException | None = error
            while chain is not None:
                said += [repr(chain), repr(chain.__dict__)]
                chain = chain.__cause__ or chain.__context__
        else:
            break
    assert len(said) > 2, "nothing failed"
    assert "canary-deal" in {row[1] for row in standing(engine)}
    written = "\n".join(["", *said, *(record.getMessage() for record in caplog.records), caplog.text])
    assert "try 2 of 6" in written
    assert re.findall(f".*(?:canary|{CLIENT_SECRET}).*", written) == []
