"""What a mapping of Salesforce's fields may say, and what becomes of histories then."""

from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine

from dealwatch.crm.pages import Past
from dealwatch.crm.salesforce.shape import whole_id
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.tables import quarantine
from salesforce_company import org_of
from standins.salesforce import Salesforce, salesforce_server
from test_salesforce_nights import count, moves_made, moves_told, night, of_crm, reader_of
from test_told_once import told


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of(4)) as server:
        yield server


def test_a_deal_goes_by_its_id_and_no_other_field(server: Salesforce) -> None:
    """Its history, its touches and the recycle bin know it by that alone."""
    own = RecordMapping(columns={"deal_id": "Name"})
    with pytest.raises(ExtractRefused, match="Salesforce tells deal_id itself; take it out"):
        reader_of(server, own=own).plan(Past())


def test_a_field_with_two_names_keeps_its_history(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    own = RecordMapping(columns={"phase": "StageName", "a_price": "Amount"})
    reader = reader_of(server, own=own)
    night(engine, of_crm(settings, own=own), server, reader)
    assert moves_told(engine, "stage") == moves_made(server.org)
    assert count(engine, quarantine) == 0


def test_an_owner_of_a_history_is_the_owner_of_the_row(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    """A history may tell ids of 15 letters where rows have 18, and only case tells some of them apart."""
    org, settings = server.org, of_crm(settings)
    org.tracked = {"OwnerId"}
    deal, users = org.rows("Opportunity")["Id"][0], org.rows("User")["Id"].to_list()
    night(engine, settings, server)
    org.pass_to(org.now + timedelta(hours=5))
    org.update("Opportunity", deal, OwnerId=users[0])
    history = org.rows("OpportunityFieldHistory")
    cut = [history[name].str.slice(0, 15) if history["DataType"][-1] == "EntityId" else history[name]
           for name in ("OldValue", "NewValue")]  # fmt: skip
    org.load("OpportunityFieldHistory", history.with_columns(cut))
    for _ in range(2):
        org.pass_to(org.now + timedelta(days=1))
        night(engine, settings, server)
    assert [new for _, new, _ in told(engine, deal, "owner_id")] == [users[1], users[0]]


@pytest.mark.parametrize(
    ("short", "whole"),
    [("0013000000xEkYj", "0013000000xEkYjAAK"), ("001300000000001", "001300000000001AAA")],
)
def test_the_last_three_letters_tell_which_are_capitals(short: str, whole: str) -> None:
    assert whole_id(short) == whole


def test_a_deal_that_closed_after_its_close_date_was_open_until_then(
    engine: Engine, settings: Settings
) -> None:
    """Of old closings Salesforce keeps no moment but in the history; the close date had long been over."""
    org, settings = org_of(4), of_crm(settings)
    org.hidden.add(("Opportunity", "LastStageChangeDate"))
    deal = org.insert("Opportunity", Name="Slow", StageName="Qualify", CloseDate=date(2026, 3, 20))
    closed = org.now + timedelta(days=60, hours=3)
    org.pass_to(closed)
    org.update("Opportunity", deal, StageName="Closed Won")
    org.pass_to(closed + timedelta(days=9))
    org.update("Opportunity", deal, Name="Slow, but won")
    with salesforce_server(org) as server:
        for _ in range(2):
            org.pass_to(org.now + timedelta(days=1))
            night(engine, settings, server)
    assert [row for row in told(engine, deal, "outcome")] == [(None, "won", closed)]
    assert told(engine, deal, "stage")[-1] == ("Qualify", "Closed Won", closed)


def test_amounts_are_of_one_currency_whether_or_not_it_is_told() -> None:
    org = org_of(4, multi_currency=True)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    org.insert("CurrencyType", IsoCode="EUR", ConversionRate=0.5, IsCorporate=False, IsActive=True)
    own = RecordMapping(ignore=("CurrencyIsoCode",))
    with salesforce_server(org) as server:
        reader = reader_of(server, own=own)
        plan = reader.plan(Past())
        (table,) = plan.feeding("deals")
        rows = pl.concat(page.rows for page in reader.pages(table, None)).sort("Id")
    assert "CurrencyIsoCode" not in rows.columns and "amount" in (plan.tracked or ())
    assert rows["Amount"].to_list() == ["1000.5", "2003.0", "1002.5", "2007.0"]
