"""What was read last night and is hidden tonight stops the source; it must not stand still in silence."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from dealwatch.errors import ExtractRefused
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from hubspot_samples import NIGHT, small_portal
from salesforce_company import org_of
from standins.salesforce import Salesforce, salesforce_server
from standins.salesforce_org import SCHEMA
from test_hubspot_ledger import DAY, source
from test_hubspot_ledger import night as hubspot_night
from test_salesforce_nights import OWN, night, of_crm, reader_of


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of(4)) as server:
        yield server


def hide(server: Salesforce, object_: str, *fields: str) -> None:
    names = fields or [one.partition(":")[0] for one in SCHEMA[object_].split()]
    server.org.hidden |= {(object_, name) for name in names}


@pytest.mark.parametrize(
    ("object_", "fields", "said", "own", "without"),
    [
        ("Opportunity", ("Amount",), "Amount", ("Amount",), ()),
        ("Account", ("Industry",), "Account.Industry", ("Account.Industry",), ()),
        ("Task", (), "Task", (), ("Task",)),
        ("OpportunityHistory", ("StageName",), "OpportunityHistory.StageName", (), ("OpportunityHistory",)),
        ("OpportunityHistory", (), "OpportunityHistory", (), ("OpportunityHistory",)),
    ],
)
def test_a_field_or_an_object_of_salesforce(
    engine: Engine,
    settings: Settings,
    server: Salesforce,
    object_: str,
    fields: tuple[str, ...],
    said: str,
    own: tuple[str, ...],
    without: tuple[str, ...],
) -> None:
    settings = of_crm(settings)
    night(engine, settings, server)
    hide(server, object_, *fields)
    server.org.pass_to(server.org.now + timedelta(days=1))
    with pytest.raises(ExtractRefused, match=f"Salesforce showed us {said} last time and does not any more"):
        night(engine, settings, server)
    reader = reader_of(server, own=OWN.model_copy(update={"ignore": own}), without=without)
    night(engine, settings, server, reader)
    night_after = reader_of(server, own=OWN.model_copy(update={"ignore": own}), without=without)
    server.org.pass_to(server.org.now + timedelta(days=1))
    night(engine, settings, server, night_after)


def test_the_currency_of_amounts(engine: Engine, settings: Settings) -> None:
    """Amounts of several currencies would else be taken for ones of a single currency."""
    org = org_of(4, multi_currency=True)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    with salesforce_server(org) as server:
        night(engine, of_crm(settings), server)
        hide(server, "Opportunity", "CurrencyIsoCode")
        org.pass_to(org.now + timedelta(days=1))
        with pytest.raises(ExtractRefused, match="CurrencyIsoCode"):
            night(engine, of_crm(settings), server)


def test_a_property_of_hubspot(engine: Engine, settings: Settings) -> None:
    portal = small_portal()
    with source(portal, settings) as (server, own):
        hubspot_night(engine, own, portal, NIGHT)
        portal.defined["deals"].pop("amount")
        with pytest.raises(ExtractRefused, match="'amount' was read last time and is gone"):
            hubspot_night(engine, own, portal, NIGHT + DAY)
        ignoring = own.sources["crm"].model_copy(update={"deals": RecordMapping(ignore=("amount",))})
        own = own.model_copy(update={"sources": {"crm": ignoring}})
        hubspot_night(engine, own, portal, NIGHT + DAY)
