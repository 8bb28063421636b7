"""A change is told once, whether a deal's row or its history tells it first."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from dealwatch.crm.pages import Page, Table
from dealwatch.settings import Settings
from dealwatch.tables import deal_changes
from dealwatch.warehouse import reading
from salesforce_company import org_of
from standins.salesforce import Salesforce, salesforce_server
from test_salesforce_nights import night, of_crm, reader_of


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of(4)) as server:
        yield server


class Meanwhile:
    """A reader beside which something happens before it reads the deals."""

    def __init__(self, server: Salesforce, happens: Callable[[], None]) -> None:
        self._reader, self._happens = reader_of(server), happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        if table.name == "Opportunity":
            self._happens()
        yield from self._reader.pages(table, place)


def told(engine: Engine, deal: str, field: str) -> list[tuple[str | None, str | None, datetime]]:
    c = deal_changes.c
    query = select(c.old_value, c.new_value, c.happened_at).where(c.deal_id == deal, c.field == field)
    with reading(engine) as connection:
        found = connection.execute(query.order_by(c.known_at, c.happened_at, c.seq)).all()
    return [tuple(row) for row in found]


def pass_a_day(server: Salesforce) -> None:
    server.org.pass_to(server.org.now + timedelta(days=1))


def test_a_deal_that_moves_while_it_is_read_moves_once(
    either_engine: Engine, either_settings: Settings, server: Salesforce
) -> None:
    org, settings = server.org, of_crm(either_settings)
    deal = org.rows("Opportunity")["Id"][0]
    night(either_engine, settings, server)
    pass_a_day(server)

    def moves() -> None:
        org.pass_to(org.now + timedelta(minutes=3))
        org.update("Opportunity", deal, StageName="Propose", Amount=7.0)
        org.pass_to(org.now + timedelta(minutes=2))

    night(either_engine, settings, server, Meanwhile(server, moves))
    first = [told(either_engine, deal, field) for field in ("stage", "amount")]
    assert [[new for _, new, _ in changes] for changes in first] == [["Qualify", "Propose"], ["1000.5", "7"]]
    for _ in range(2):
        pass_a_day(server)
        night(either_engine, settings, server)
        assert [told(either_engine, deal, field) for field in ("stage", "amount")] == first

    org.update("Opportunity", deal, StageName="Qualify")
    org.pass_to(org.now + timedelta(hours=1))
    org.update("Opportunity", deal, StageName="Propose")
    pass_a_day(server)
    night(either_engine, settings, server)
    assert [new for _, new, _ in told(either_engine, deal, "stage")] == [
        "Qualify", "Propose", "Qualify", "Propose"
    ]  # fmt: skip


def test_a_deal_born_while_it_is_read_begins_once(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    org, settings, born = server.org, of_crm(settings), list[str]()
    night(engine, settings, server)
    pass_a_day(server)

    def begins() -> None:
        born.append(org.insert("Opportunity", Name="New", StageName="Qualify", Amount=5.0))
        org.pass_to(org.now + timedelta(minutes=2))

    night(engine, settings, server, Meanwhile(server, begins))
    pass_a_day(server)
    night(engine, settings, server)
    assert [new for _, new, _ in told(engine, born[0], "stage")] == ["Qualify"]
    assert [new for _, new, _ in told(engine, born[0], "amount")] == ["5"]


def test_a_stage_with_another_name_is_no_second_move(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    """The rows have the new name at once; the history has it from its next state on."""
    org, settings = server.org, of_crm(settings)
    deal = org.rows("Opportunity")["Id"][0]
    night(engine, settings, server)
    pass_a_day(server)
    org.drift("Opportunity", deal, StageName="Qualify again")
    night(engine, settings, server)
    pass_a_day(server)
    org.update("Opportunity", deal, Amount=1.0)
    org.pass_to(org.now + timedelta(hours=1))
    night(engine, settings, server)
    assert [new for _, new, _ in told(engine, deal, "stage")] == ["Qualify", "Qualify again"]


def test_a_new_rate_moves_no_deal_that_was_there(engine: Engine, settings: Settings) -> None:
    """Nor one that is corrected: only deals that are created from then on have it."""
    org, settings = org_of(4, multi_currency=True), of_crm(settings)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    euro = org.insert("CurrencyType", IsoCode="EUR", ConversionRate=0.8, IsCorporate=False, IsActive=True)
    dated = org.insert("DatedConversionRate", IsoCode="EUR", StartDate=date(2025, 1, 1), ConversionRate=0.5)
    deal = org.rows("Opportunity").filter(pl.col("CurrencyIsoCode") == "EUR")["Id"][0]
    with salesforce_server(org) as server:
        night(engine, settings, server)
        before = told(engine, deal, "amount")
        org.drift("CurrencyType", euro, ConversionRate=0.9)
        org.drift("DatedConversionRate", dated, ConversionRate=0.25)
        org.pass_to(org.now + timedelta(days=1, hours=1))
        new = org.insert("Opportunity", Name="New", StageName="Qualify", Amount=5.0, CurrencyIsoCode="EUR")
        for _ in range(2):
            org.pass_to(org.now + timedelta(days=1))
            night(engine, settings, server)
    assert len(before) == 1 and before == told(engine, deal, "amount")
    assert [value for _, value, _ in told(engine, new, "amount")] == ["20"]
