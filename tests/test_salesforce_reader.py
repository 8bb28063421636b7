"""What a Salesforce reader asks for and makes of the answers, beyond the plain nights."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select

from dealwatch.crm.pages import Page, Past, Plan, Table, check_page, plan_of
from dealwatch.crm.readers import READERS, open_reader
from dealwatch.crm.salesforce.history import changes
from dealwatch.crm.salesforce.shape import with_end
from dealwatch.errors import ExtractRefused, SettingsError, SourceDown
from dealwatch.knobs import Join, RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import Access
from dealwatch.sources import Salesforce as Source
from dealwatch.tables import activities, quarantine
from dealwatch.warehouse import reading, rows_of
from salesforce_company import org_of
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server
from standins.salesforce_org import Field
from test_salesforce_nights import (
    live,
    moves_made,
    moves_told,
    night,
    of_crm,
    reader_of,
    standing,
    truth,
)


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of()) as server:
        server.page = 5
        yield server


def table_of(plan: Plan, name: str) -> Table:
    return next(table for table in plan.tables if table.name == name)


def told(server: Salesforce, name: str, **more: Any) -> pl.DataFrame:
    """A table of the first night, read at once."""
    reader = reader_of(server, **more)
    table = table_of(reader.plan(Past()), name)
    return pl.concat(check_page(page, table) for page in reader.pages(table, None))


class Crash(Exception):
    """What no code expects."""


class Dying:
    """A reader whose process is another after so many pages."""

    def __init__(self, server: Salesforce, after: int) -> None:
        self.reader, self.left = reader_of(server), after

    def plan(self, past: Past) -> Plan:
        return self.reader.plan(past)

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        for page in self.reader.pages(table, place):
            self.left -= 1
            if self.left < 0:
                raise Crash
            yield page


def died_through(engine: Engine, settings: Settings, server: Salesforce, chance: random.Random) -> int:
    """One night by as many processes as it takes; how many died."""
    for deaths in range(200):
        try:
            night(engine, settings, server, Dying(server, chance.randrange(0, 8)))
            return deaths
        except Crash:
            continue
    raise AssertionError("the night never ended")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_night_of_many_deaths_ends_as_a_calm_one(
    engine: Engine, settings: Settings, server: Salesforce, seed: int
) -> None:
    settings, chance = of_crm(settings), random.Random(seed)
    deaths = died_through(engine, settings, server, chance)
    for day in (1, 2):
        live(server.org, chance, day)
        deaths += died_through(engine, settings, server, chance)
    server.org.pass_to(server.org.now + timedelta(days=1))
    deaths += died_through(engine, settings, server, chance)

    assert deaths > 10
    assert standing(engine) == truth(server.org)
    assert moves_told(engine, "stage") >= moves_made(server.org)


@pytest.mark.parametrize("died", range(1, 12))
def test_changes_are_gone_on_with_where_they_stopped(
    died: int, server: Salesforce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dealwatch.crm.salesforce.reader._PAGE_ROWS", 2)
    reader = reader_of(server)
    table = table_of(reader.plan(Past()), "OpportunityHistory")
    whole = pl.concat(page.rows for page in reader.pages(table, None))
    kept, place = [], None
    for page, _ in zip(reader.pages(table, None), range(died), strict=False):
        kept.append(page.rows)
        place = page.place
    monkeypatch.setattr("dealwatch.crm.salesforce.reader._PAGE_ROWS", 3)  # another release goes on
    other = reader_of(server)
    if place is not None:
        kept += [page.rows for page in other.pages(table, place)]

    assert pl.concat(kept).equals(whole)
    assert server.calls.count("create") == 2, "the job was not gone on with"


def test_a_plan_is_the_same_after_it_was_stored(server: Salesforce) -> None:
    plan = reader_of(server).plan(Past())

    assert plan_of(plan.as_json()) == plan
    assert plan.tracked == ("amount", "close_date", "stage")
    assert (plan.covers, plan.begun_at) == ("all", server.org.now)


def test_a_later_night_asks_for_open_deals_and_what_changed(server: Salesforce) -> None:
    reader = reader_of(server)
    first = reader.plan(Past())
    server.org.pass_to(server.org.now + timedelta(days=1))
    second = reader.plan(Past(last=first, cursor=first.begun_at, whole_at=first.begun_at))
    server.org.pass_to(server.org.now + timedelta(days=6))
    weekly = reader.plan(Past(last=second, cursor=second.begun_at, whole_at=first.begun_at))

    assert (
        "WHERE IsClosed = false OR SystemModstamp >= 2026-03-01T04:00:00Z"
        in table_of(second, "Opportunity").request
    )
    assert (second.covers, weekly.covers) == ("open", "ids")
    assert reader.plan(Past(last=second, whole_at=first.begun_at)).covers == "all", "the settings changed"
    assert [table.name for table in weekly.tables][-2:] == ["Recycle bin", "All ids"]


def test_a_field_that_is_hidden_stops_the_source_and_is_named(server: Salesforce) -> None:
    server.org.hidden |= {("Opportunity", "Region__c"), ("Opportunity", "StageName")}

    with pytest.raises(
        ExtractRefused, match=r"shows us no StageName, Region__c: .* \[sources.crm.deals.columns\]"
    ):
        reader_of(server).plan(Past())


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"region": "Nope__c"}, "no Nope__c"),
        ({"region": "Account.Nope"}, "no Account.Nope"),
        ({"region": "Nope.Name"}, "no Nope.Name"),
        ({"region": "Account.BillingAddress"}, "several parts"),
        ({"region": "Id FROM User"}, "is no field"),
        ({"region": "Account.Owner.Name"}, "is no field"),
    ],
)
def test_a_mapping_to_no_field_is_refused(columns: dict[str, str], words: str, server: Salesforce) -> None:
    with pytest.raises(ExtractRefused, match=words):
        reader_of(server, own=RecordMapping(columns=columns)).plan(Past())


def test_joins_are_for_files(server: Salesforce) -> None:
    own = RecordMapping(joins=(Join(file="x", on={"a": "b"}, take={"c": "d"}),))
    with pytest.raises(ExtractRefused, match="joins is for files"):
        reader_of(server, own=own).plan(Past())


def test_a_field_that_is_only_welcome_may_be_hidden(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    server.org.hidden |= {("Opportunity", "LeadSource"), ("Account", "Industry"), ("User", "Email")}
    night(engine, of_crm(settings), server)

    # Neither industry nor lead source; the region is there.
    assert [row[10:] for row in standing(engine)] == [
        (None, row[11], None, None) for row in truth(server.org)
    ]


def test_a_field_that_appears_is_filled_in_for_closed_deals_too(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    server.org.hidden.add(("Opportunity", "LeadSource"))
    night(engine, of_crm(settings), server)
    server.org.hidden.clear()
    server.org.pass_to(server.org.now + timedelta(days=5))
    night(engine, of_crm(settings), server)

    assert standing(engine) == truth(server.org)


def test_touches_that_appear_are_read_of_all_deals(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    org = server.org
    closed = org.rows("Opportunity").filter("IsClosed")["Id"][0]
    done = org.now - timedelta(days=20)
    org.insert("Task", WhatId=closed, IsClosed=True, CompletedDateTime=done, SystemModstamp=done)
    org.hidden.add(("Task", "WhatId"))
    night(engine, of_crm(settings), server)
    org.hidden.clear()
    org.pass_to(org.now + timedelta(days=5))
    night(engine, of_crm(settings), server)

    with reading(engine) as connection:
        assert [touch.happened_at for touch in rows_of(connection, select(activities))] == [done]


def test_a_plan_of_another_release_is_read_anew(server: Salesforce) -> None:
    reader = reader_of(server)
    first = reader.plan(Past())
    older = replace(first, tables=tuple(replace(table, request="{}") for table in first.tables))

    assert reader.plan(Past(last=older, cursor=first.begun_at, whole_at=first.begun_at)).covers == "all"


def test_spelling_is_the_org_s_own(server: Salesforce) -> None:
    own = RecordMapping(columns={"trade": "account.INDUSTRY"})
    assert "Account.Industry" in told(server, "Opportunity", own=own).columns


def test_owners_tracked_by_the_org_have_their_history(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    org, begin = server.org, server.org.now
    org.tracked |= {"OwnerId", "Region__c", "NextStep"}
    boss, one, other = org.rows("User")["Id"].to_list()
    deal = org.rows("Opportunity")["Id"][0]  # of `one`
    for hours, owner in enumerate([boss, other], start=1):
        org.pass_to(begin + timedelta(hours=hours))
        org.update("Opportunity", deal, OwnerId=owner, Region__c=f"Region {hours}", NextStep=f"{hours}")
    org.pass_to(begin + timedelta(days=1))
    night(engine, of_crm(settings), server)

    moves = sorted((at, owner) for id_, owner, at in moves_told(engine, "owner_id") if id_ == deal)
    created = org.get("Opportunity", deal)["CreatedDate"]
    hour = timedelta(hours=1)
    assert moves == [(created, one), (begin + hour, boss), (begin + 2 * hour, other)]
    history = told(server, "OpportunityFieldHistory")
    assert sorted(history["Field"].unique()) == ["OwnerId", "Region__c"], "NextStep is not mapped"
    assert history.height == 4, "names of owners are none of their ids"
    assert standing(engine) == truth(org)
    with reading(engine) as connection:
        assert rows_of(connection, select(quarantine)) == []


def test_a_history_without_the_right_to_ask_what_is_tracked_claims_nothing(server: Salesforce) -> None:
    server.order("tooling", ("words", 403, "INSUFFICIENT_ACCESS"))

    plan = reader_of(server).plan(Past())
    assert "OpportunityFieldHistory" in {table.name for table in plan.tables}
    assert plan.tracked == ("amount", "close_date", "stage")


def test_amounts_of_several_currencies_come_in_one() -> None:
    org = org_of(4, multi_currency=True)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    org.insert("CurrencyType", IsoCode="EUR", ConversionRate=0.8, IsCorporate=False, IsActive=True)
    # Euros of the days before 2025-12-03 are of the first dated rate.
    for start, rate in ((date(2025, 1, 1), 0.5), (date(2025, 12, 3), 0.25)):
        org.insert("DatedConversionRate", IsoCode="EUR", StartDate=start, ConversionRate=rate)
    with salesforce_server(org) as server:
        rows = told(server, "Opportunity").sort("Id")
        changed = told(server, "OpportunityHistory").sort("OpportunityId")
        changed = changed.filter(pl.col("Field") == "Amount")
        in_euros = told(server, "Opportunity", currency="EUR").sort("Id")

    created = org.rows("Opportunity").sort("Id")["CreatedDate"].dt.date().to_list()
    assert created[:2] == [date(2025, 12, 2), date(2025, 12, 3)]
    assert rows["Amount"].to_list() == ["1000.5", "4006.0", "1002.5", "4014.0"]
    assert set(rows["CurrencyIsoCode"]) == {"USD"}
    assert changed["NewValue"].to_list() == rows["Amount"].to_list()
    assert in_euros["Amount"].to_list() == ["500.25", "1001.5", "250.62", "1003.5"]
    assert set(in_euros["CurrencyIsoCode"]) == {"EUR"}


def test_amounts_that_do_not_say_their_currency_have_no_history() -> None:
    org = org_of(4, multi_currency=True)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    org.extra["Opportunity"] = [Field("Margin__c", "currency")]
    org.tracked |= {"Margin__c", "OwnerId"}
    org.hidden.add(("OpportunityHistory", "CurrencyIsoCode"))
    own = RecordMapping(columns={"margin": "Margin__c"})
    with salesforce_server(org) as server:
        plan = reader_of(server, own=own).plan(Past())

    assert plan.tracked == ("close_date", "stage", "owner_id")
    asked = [table_of(plan, name).request for name in ("OpportunityHistory", "Opportunity")]
    assert ["Amount" in asked[0], "Margin__c" in asked[1]] == [False, True]


def test_a_currency_the_org_lacks_is_refused() -> None:
    org = org_of(4, multi_currency=True)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    with salesforce_server(org) as server, pytest.raises(ExtractRefused, match="no currency CHF; it has USD"):
        told(server, "Opportunity", currency="CHF")


def test_an_amount_without_a_rate_is_none_and_says_so() -> None:
    org = org_of(2, multi_currency=True)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    with salesforce_server(org) as server:
        rows = told(server, "Opportunity").sort("Id")
    assert rows.select("Amount", "CurrencyIsoCode").rows() == [("1000.5", "USD"), (None, "EUR")]


END = pl.DataFrame(
    {
        "IsClosed": ["true", "true", "true", "true", "false"],
        "IsWon": ["true", "false", "false", "false", "false"],
        "CreatedDate": ["2026-01-01T10:00:00.000Z"] * 5,
        "LastStageChangeDate": ["2026-02-01T10:00:00.000+0000", None, None, None, "2026-02-01T10:00:00.000Z"],
        "CloseDate": ["2026-03-01", "2026-01-20", "2026-09-01", "2025-06-01", "2026-01-20"],
        "LastModifiedDate": ["2026-02-02T10:00:00.000Z"] * 5,
    }
)


def test_a_close_is_the_last_change_of_stage_or_what_comes_nearest() -> None:
    ended = with_end(END, until=datetime(2026, 3, 2, tzinfo=UTC))

    assert ended["DealOutcome"].to_list() == ["won", "lost", "lost", "lost", None]
    assert ended["DealClosedAt"].to_list() == [
        "2026-02-01T10:00:00.000Z",
        "2026-01-20T23:59:59.000Z",
        "2026-02-02T10:00:00.000Z",  # the close date is still to come
        "2026-01-01T10:00:00.000Z",  # taken over from another CRM
        None,
    ]


def test_states_of_one_second_are_told_in_the_order_of_their_ids() -> None:
    states = pl.DataFrame(
        {
            "Id": ["3", "1", "2", "9"],
            "OpportunityId": ["a", "a", "a", "b"],
            "CreatedDate": ["t2", "t1", "t2", "t1"],
            "StageName": ["C", "A", "B", "A"],
            "Amount": ["1", "1", "1", None],
        }
    )
    assert changes(states, ["StageName", "Amount"]).rows() == [
        ("a", "t1", "StageName", None, "A"),
        ("a", "t2", "StageName", "A", "B"),
        ("a", "t2", "StageName", "B", "C"),
        ("b", "t1", "StageName", None, "A"),
        ("a", "t1", "Amount", None, "1"),
    ]


def test_what_bulk_refuses_is_read_by_rest(server: Salesforce, monkeypatch: pytest.MonkeyPatch) -> None:
    by_bulk = {name: told(server, name) for name in ("User", "OpportunityHistory")}
    monkeypatch.setattr("standins.salesforce_calls.BULKLESS", {"User", "OpportunityHistory"})
    server.calls.clear()

    for name, rows in by_bulk.items():
        assert told(server, name).sort(rows.columns).height == rows.height
    assert server.calls.count("job") == 0


def test_jobs_that_always_fail_end_the_night_for_now(server: Salesforce) -> None:
    server.order("job", *["Failed"] * 3)

    with pytest.raises(SourceDown, match="3 jobs in a row"):
        told(server, "User")
    assert server.calls.count("create") == 3


def test_a_reader_is_opened_from_the_settings(server: Salesforce, settings: Settings) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    extra = {"consumer_key": SecretStr(CLIENT_ID), "consumer_secret": SecretStr(CLIENT_SECRET)}
    access = Access(host=host, port=int(port), extra=extra)
    source = Source(kind="salesforce", access=access, max_quota_share=0.01)
    settings = settings.model_copy(update={"sources": {"crm": source}})

    reader = open_reader("crm", "salesforce", settings=settings, readers=READERS)
    assert reader.plan(Past()).begun_at == server.org.now
    assert CLIENT_SECRET not in repr(settings) + repr(reader.__dict__)
    server.used = 1_000
    with pytest.raises(SourceDown, match="above 1% are left to others"):
        reader.plan(Past())


def test_a_source_without_a_connection_says_so(settings: Settings) -> None:
    settings = settings.model_copy(update={"sources": {"crm": Source(kind="salesforce")}})
    with pytest.raises(SettingsError, match="no connection crm"):
        open_reader("crm", "salesforce", settings=settings, readers=READERS)
