"""Every fault that a stand-in knows, one after the other, during nights of changes.

Each night ends with the ledger at the truth. A try that fails says why and leaves every table of the ledger
as the night before left it; what was read so far is kept elsewhere.
"""

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, Table, select

from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.settings import Settings
from dealwatch.tables import activities, deal_changes, deals, owners, quarantine, raw_records
from dealwatch.warehouse import reading, rows_of
from hubspot_samples import NIGHT, deal, small_portal
from salesforce_company import org_of
from standins.hubspot import PASSING
from standins.salesforce import CHANCES, Salesforce, salesforce_server
from test_hubspot_ledger import DAY, assert_is_the_truth, live_a_day, source
from test_hubspot_ledger import night as hubspot_night
from test_salesforce_nights import OWN, live, moves_made, moves_told, of_crm, reader_of, standing, truth
from test_salesforce_nights import night as salesforce_night

pytestmark = pytest.mark.slow

REMEMBERED: tuple[Table, ...] = (deals, deal_changes, activities, owners, quarantine, raw_records)
TRIES = 40


def remembered(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All that the ledger says, in no time of writing."""
    with reading(engine) as connection:
        return {
            table.name: sorted((tuple(row) for row in rows_of(connection, select(table))), key=str)
            for table in REMEMBERED
        }


# ---------------------------------------------------------------------------- Salesforce

CALLS = ("versions", "token", "describe", "tooling", "limits", "query", "more", "create", "job", "results")
GATEWAY = ["drop", "lost", "hang", "html", "gzip", "cut", (406, 0), (420, 0), (429, 1), (503, 1), (500, 0)]
STOPS = ["limit", ("words", 500, "UNKNOWN_EXCEPTION"), ("words", 403, "API_DISABLED_FOR_ORG")]
OF_A_CALL = {
    "token": [("words", 400, "invalid_grant")],
    "query": ["short"],
    "more": ["short"],
    "results": ["short", "fewer", "conflict", ("words", 404, "NOT_FOUND")],
    "job": ["Failed", "Aborted", "gone"],
}
EVERYWHERE = [*GATEWAY, "expire", *STOPS]
IN_TURN = [
    *((fault, CALLS) for fault in EVERYWHERE),
    *((fault, (call,)) for call, faults in OF_A_CALL.items() for fault in faults),
]


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of()) as server:
        server.page = 3  # the four stages come in two pages
        yield server


def one_night(engine: Engine, settings: Settings, server: Salesforce) -> int:
    """Try until the night is over; how many tries failed."""
    before = remembered(engine)
    for number in range(TRIES):
        try:
            salesforce_night(engine, settings, server, reader_of(server, page_rows=40))
            return number
        except (ExtractRefused, SourceDown) as error:
            assert str(error), "it stopped and did not say why"
            assert remembered(engine) == before, "a try that failed changed something"
    raise AssertionError(f"{TRIES} tries came to nothing")


def test_the_list_of_salesforce_s_faults_is_whole() -> None:
    """By status, as the seconds of Retry-After are no fault of their own."""
    told, drawn = [fault for fault, _ in IN_TURN], [one for faults in CHANCES.values() for one in faults]
    kinds, by_chance = ({one[0] if isinstance(one, tuple) else one for one in all_} for all_ in (told, drawn))
    assert by_chance <= kinds


@pytest.mark.parametrize(("fault", "calls"), IN_TURN, ids=lambda told: str(told)[:40])
def test_each_fault_of_salesforce_in_two_nights(
    fault: Any, calls: tuple[str, ...], engine: Engine, settings: Settings, server: Salesforce
) -> None:
    """The night that reads everything, and one that reads changes: there at its first call and its third."""
    settings, org, chance = of_crm(settings), server.org, Random(5)
    came = set[str]()
    for day in range(2):
        if day:
            live(org, chance, day)
        waiting = [call for call in calls if not (fault == "hang" and call not in ("token", "results"))]
        for call in waiting:
            server.order(call, *[fault, None, fault][: 1 + 2 * day])
        one_night(engine, settings, server)
        came |= {call for call in waiting if not server.faults[call]}
        server.faults.clear()
    assert came, "the fault never came"
    org.pass_to(org.now + timedelta(days=1))  # what was stamped and not shown yet
    one_night(engine, settings, server)
    assert standing(engine) == truth(org)
    assert moves_told(engine, "stage") >= moves_made(org)
    assert remembered(engine)["quarantine"] == []


@pytest.mark.parametrize("seed", range(3))
def test_faults_of_salesforce_at_random_in_three_nights(
    seed: int, either_engine: Engine, either_settings: Settings, server: Salesforce
) -> None:
    engine, settings, org, chance = either_engine, of_crm(either_settings), server.org, Random(seed)
    server.chance, server.rate = Random(100 + seed), 0.12
    for day in range(3):
        if day:
            live(org, chance, day)
        one_night(engine, settings, server)
    org.pass_to(org.now + timedelta(days=1))
    one_night(engine, settings, server)
    assert standing(engine) == truth(org)
    assert moves_told(engine, "stage") >= moves_made(org)


def test_a_field_hidden_for_a_night_stops_it_and_nothing_else(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    settings, org = of_crm(settings), server.org
    one_night(engine, settings, server)
    live(org, Random(1), 1)
    before = remembered(engine)
    org.hidden.add(("Opportunity", OWN.columns["region"]))
    with pytest.raises(ExtractRefused, match="Region__c"):
        salesforce_night(engine, settings, server)
    assert remembered(engine) == before
    org.hidden.clear()
    org.pass_to(org.now + timedelta(days=1))
    one_night(engine, settings, server)
    assert standing(engine) == truth(org)


# ---------------------------------------------------------------------------- HubSpot

STOPPING = [
    "unauthorised",
    ("limit", "DAILY", {}),
    "missing_results",
    "pending",
    "redirect",
    "loop",
    400,
    403,
    404,
    ("next", {"link": "https://elsewhere.example/", "after": "gone"}),
]
WAITING = [("limit", "TEN_SECONDLY_ROLLING", {}), ("limit", "SECONDLY", {"Retry-After": "1"}), 429]


@pytest.mark.parametrize("fault", [*PASSING, *WAITING, *STOPPING], ids=lambda told: str(told)[:30])
def test_each_fault_of_hubspot_in_three_nights(fault: Any, engine: Engine, settings: Settings) -> None:
    chance, portal = Random(3), small_portal()
    for number in range(70):
        deal(portal, str(5000 + number), "2026-02-01T00:00:00", amount=str(number))
    with source(portal, settings) as (server, own):
        for number in range(3):
            ms = NIGHT + number * DAY
            if number:
                live_a_day(portal, chance, ms - DAY + 10)
            before = remembered(engine)
            for place in range(number, 24, 3):
                server.faults.clear()
                server.faults.extend([None] * place + [fault])
                try:
                    hubspot_night(engine, own, portal, ms)
                    break
                except (ExtractRefused, SourceDown) as error:
                    assert str(error), "it stopped and did not say why"
                    assert remembered(engine) == before, "a try that failed changed something"
            else:
                server.faults.clear()
                hubspot_night(engine, own, portal, ms)
            server.faults.clear()
            assert_is_the_truth(engine, portal, ms)
        assert server.given, "the fault never came"
