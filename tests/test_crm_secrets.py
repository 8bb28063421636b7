"""What goes wrong while a CRM is read is told without its secrets and without its rows.

Every fault here carries a canary: a page, an error's words, a CSV that is none, a row that cannot be used.
"""

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.tables import quarantine
from dealwatch.warehouse import reading
from hubspot_samples import NIGHT, deal, small_portal
from salesforce_company import org_of
from standins.hubspot import TOKEN
from standins.hubspot_portal import Portal
from standins.salesforce import CLIENT_SECRET, Salesforce, salesforce_server
from test_hubspot_ledger import night as hubspot_night
from test_hubspot_ledger import source
from test_salesforce_nights import night, of_crm, reader_of

CANARY = "canary"
SECRETS = (CLIENT_SECRET, TOKEN, "canary-token", "sid=", "Bearer ")
BODY = "canary-body, amount 7,000,000 for canary@example.com"
CSV = f'"Id","Name"\n"006","{BODY}\n'  # a quote that never ends

DECLINED = ((401, "INVALID_SESSION_ID"), (403, "INSUFFICIENT_ACCESS"), (400, "MALFORMED_QUERY"))
# In the order of a night: once it has a plan, a later try asks for none.
CALLS = ("token", "describe", "query", "create", "job", "results")
FAULTS: list[tuple[str, Any]] = [
    *((call, ("words", *code, BODY)) for call in CALLS for code in DECLINED),
    *((call, ("page", BODY)) for call in CALLS),
    *(("results", ("csv", text)) for text in (CSV, BODY)),
    ("job", "Failed"),
]
REFUSED = sorted(FAULTS, key=lambda told: CALLS.index(told[0]))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Everything that any logger was told, at any level, with what was raised."""
    caplog.set_level(logging.DEBUG)
    yield lambda: "\n".join([caplog.text, *(repr(vars(record)) for record in caplog.records)])


@pytest.fixture
def server() -> Iterator[Salesforce]:
    """An org whose every text is a canary, and one of whose people cannot be used."""
    org = org_of()
    rep = org.insert("User", Name="canary-rep", Email="canary@example.com", IsActive=True)
    org.insert("User", Name="canary-two", Email="canary is no address", IsActive=True)
    account = org.insert("Account", Name="canary-account", Industry="canary-industry")
    org.insert(
        "Opportunity", Name="canary-deal", StageName="Qualify", OwnerId=rep, AccountId=account, Amount=9.0,
        Region__c="canary-region",
    )  # fmt: skip
    with salesforce_server(org) as server:
        yield server


def raised(error: BaseException) -> str:
    """An error as a log shows it, with all that it and its causes hold."""
    parts = traceback.format_exception(error)
    chain: BaseException | None = error
    while chain is not None:
        parts += [repr(chain), repr(vars(chain)), repr(chain.args)]
        chain = chain.__cause__ or chain.__context__
    return "\n".join(parts)


def secrets_in(folder: Path) -> list[str]:
    """Files that hold a secret, the warehouse among them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "dealwatch.db" for path in files), "found nothing to check"
    return [
        f"{path.name}: {secret}"
        for path in files
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]


def test_no_fault_of_salesforce_tells_a_secret_or_a_row(
    engine: Engine, settings: Settings, server: Salesforce, said: Callable[[], str]
) -> None:
    settings, told = of_crm(settings), []
    for call, fault in REFUSED:
        server.order(call, *[fault] * 40)
        with pytest.raises((ExtractRefused, SourceDown)) as caught:
            night(engine, settings, server, reader_of(server, page_rows=1000))
        told.append(raised(caught.value))
        server.faults.clear()
    night(engine, settings, server, reader_of(server, page_rows=1000))
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(quarantine)).scalar_one() == 1
    everything = said() + "".join(told)
    assert server.tokens and len(everything) > 10_000
    assert [line for line in everything.splitlines() if CANARY in line or CLIENT_SECRET in line] == []
    assert secrets_in(settings.home) == []


def test_a_mapping_that_is_refused_tells_no_row(
    engine: Engine, settings: Settings, server: Salesforce, said: Callable[[], str]
) -> None:
    told = []
    for columns in ({"region": "Name.First"}, {"region": "Nothing__c"}, {"amount": "Region__c"}):
        own = RecordMapping(columns=columns)
        reader = reader_of(server, own=own, page_rows=1000)
        try:
            night(engine, of_crm(settings, own=own), server, reader)
        except ExtractRefused as error:
            told.append(raised(error))
    with reading(engine) as connection:
        reasons = connection.scalars(select(quarantine.c.reason)).all()
    assert any(CANARY in reason for reason in reasons), "the row that cannot be used should be in quarantine"
    assert len(told) == 2
    assert CANARY not in said() + "".join(told)


HUBSPOT: list[Any] = [
    *(("error", status, BODY) for status in (400, 401, 403, 404)),
    ("limit", "DAILY", {"X-Canary": BODY}),
    ("page", BODY),
    ("results", [{"id": "1", "properties": BODY}]),
    ("results", BODY),
]


@pytest.mark.parametrize("fault", HUBSPOT, ids=lambda told: str(told)[:30])
def test_no_fault_of_hubspot_tells_a_secret_or_a_row(
    fault: Any, engine: Engine, settings: Settings, said: Callable[[], str]
) -> None:
    portal, told = small_portal(), []
    portal.owners[0].email = "canary is no address"
    portal.change("deals", "101", NIGHT - 5, dealname="canary-deal", amount="canary-amount")
    with source(portal, settings) as (server, own):
        for place in range(0, 12, 2):
            server.faults.extend([*[None] * place, *[fault] * 40])
            try:
                hubspot_night(engine, own, portal, NIGHT)
            except (ExtractRefused, SourceDown) as error:
                told.append(raised(error))
            server.faults.clear()
        hubspot_night(engine, own, portal, NIGHT + 1000)
        assert server.given
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(quarantine)).scalar_one() >= 1
    everything = said() + "".join(told)
    assert told
    assert [line for line in everything.splitlines() if CANARY in line or TOKEN in line] == []
    assert secrets_in(settings.home) == []


def test_a_night_without_a_usable_deal_says_which_field_and_not_which_value(
    engine: Engine, settings: Settings, said: Callable[[], str]
) -> None:
    portal = Portal()
    for number in range(3):
        deal(
            portal, str(5000 + number), "2026-02-01T00:00:00", amount="canary-amount", dealname="canary-deal"
        )
    with source(portal, settings) as (_, own), pytest.raises(ExtractRefused) as caught:
        hubspot_night(engine, own, portal, NIGHT)
    assert "amount: cannot be used. Write amounts as plain numbers" in str(caught.value)
    assert CANARY not in said() + raised(caught.value)


def test_a_night_without_a_known_stage_names_the_stage(engine: Engine, settings: Settings) -> None:
    portal = Portal()
    deal(portal, "5000", "2026-02-01T00:00:00", amount="1")
    with source(portal, settings) as (_, own):
        own = own.model_copy(update={"pipeline": own.pipeline.model_copy(update={"stages": ("Demo",)})})
        with pytest.raises(ExtractRefused, match="appointmentscheduled is no stage of the sales process"):
            hubspot_night(engine, own, portal, NIGHT)
