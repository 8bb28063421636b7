"""Small HubSpot accounts, and the whole way of a night from the wire to frames."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl
from pydantic import SecretStr

from dealwatch.crm.http import Policy
from dealwatch.crm.hubspot import api as hubspot_api
from dealwatch.crm.hubspot.plan import TOUCHES
from dealwatch.crm.hubspot.reader import HubSpotReader
from dealwatch.crm.pages import Past, Plan, check_page, plan_of
from dealwatch.knobs import RecordMapping
from standins.hubspot import TOKEN, HubSpot, hubspot_server
from standins.hubspot_portal import Owner, Portal, Record, milliseconds, stage

# Short waits; what is tested is that they happen, not how long they take.
QUICK = Policy(connect_seconds=2, read_seconds=2, whole_seconds=5, most_bytes=4 * 2**20)
NIGHT = milliseconds("2026-03-02T04:00:00")
# What must never be seen outside of a frame.
CANARY = "Canary Birdseed Ltd"
CANARY_BODY = "canary-body: we shall pay 9 million"


def at(text: str) -> int:
    return milliseconds(text)


def small_portal() -> Portal:
    """Three deals (open, won, lost), a company, owners, one of whom left, and two touches."""
    portal = Portal()
    portal.owners += [
        Owner("81", "Ann", "Archer", "ann@example.com"),
        Owner("82", "Bob", "", "bob@example.com", is_archived=True),
    ]
    company = portal.add(
        "companies", at("2025-01-01"), "900", name="Acme", industry="MINING", country="Chile"
    )
    opened = deal(
        portal, "101", "2026-01-05T09:00:00", dealname="Open one", amount="5000", hubspot_owner_id="81"
    )
    portal.link(opened.id, "companies", company.id, is_primary=True)
    move(portal, "101", "2026-01-20T10:00:00", dealstage="qualifiedtobuy", amount="7500.50")
    deal(portal, "102", "2026-01-06T09:00:00", amount="100", hubspot_owner_id="82")
    move(portal, "102", "2026-02-01T10:00:00", dealstage="closedwon", closedate="2026-02-01T10:00:00.000Z")
    deal(portal, "103", "2026-01-07T09:00:00")
    move(portal, "103", "2026-02-03T10:00:00", dealstage="closedlost")
    call = portal.add(
        "calls",
        at("2026-01-08T11:00:00"),
        "501",
        hs_timestamp="2026-01-08T11:00:00.000Z",
        hs_call_direction="INBOUND",
        hs_call_body=CANARY_BODY,
    )
    portal.link("101", "calls", call.id)
    portal.now = NIGHT
    return portal


def deal(portal: Portal, id_: str | None, created: str, **properties: str | None) -> Record:
    """A deal in its first stage, created then."""
    first: dict[str, str | None] = {"dealstage": "appointmentscheduled", "dealname": CANARY}
    return portal.add("deals", at(created), id_, **{**first, **properties})


def move(portal: Portal, id_: str, moment: str, **properties: str | None) -> None:
    portal.change("deals", id_, at(moment), **properties)


@dataclass
class Night:
    """An account behind its server, and a reader that asks it; `slept` are the waits that were not waited."""

    server: HubSpot
    slept: list[float] = field(default_factory=list)
    token: str = TOKEN
    touches: tuple[str, ...] = TOUCHES
    mapping: RecordMapping = RecordMapping()
    policy: Policy = QUICK

    @property
    def portal(self) -> Portal:
        return self.server.portal

    @contextmanager
    def api(self, *, version: str = hubspot_api.VERSION) -> Iterator[hubspot_api.HubSpot]:
        token, sleep = SecretStr(self.token), self.slept.append
        with hubspot_api.connect(token, origin=self.server.url, policy=self.policy, sleep=sleep) as client:
            yield hubspot_api.HubSpot(client, version=version)

    @contextmanager
    def reader(self) -> Iterator[HubSpotReader]:
        with self.api() as api:
            yield HubSpotReader(api, mapping=self.mapping, touches=self.touches, overlap=timedelta(days=1))

    def read(self, past: Past | None = None) -> dict[str, pl.DataFrame]:
        """Every table of a night, whole; the server's clock stands at the account's moment."""
        with self.reader() as reader:
            plan = reader.plan(past or Past())
            return {table: rows for table, rows in whole(reader, plan)}

    def plan(self, past: Past | None = None) -> Plan:
        with self.reader() as reader:
            return reader.plan(past or Past())


def whole(reader: HubSpotReader, plan: Plan) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each table's rows, with the plan and the places as they are after having been stored."""
    for table in plan_of(json.loads(json.dumps(plan.as_json()))).tables:
        pages = list(reader.pages(table, None))
        assert [page.place is None for page in pages] == [False] * (len(pages) - 1) + [True]
        yield table.name, pl.concat([check_page(page, table) for page in pages])


def rows(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.select(columns).rows()


@contextmanager
def a_night(portal: Portal | None = None, **more: Any) -> Iterator[Night]:
    """A night at an account; the small one unless another is given."""
    with hubspot_server(portal or small_portal()) as server:
        yield Night(server, **more)


def second_pipeline(portal: Portal) -> None:
    """A pipeline of numeric stages whose names mean the opposite of what they are."""
    from standins.hubspot_portal import Pipeline

    portal.pipelines.append(
        Pipeline(
            "77",
            "Renewals",
            [
                stage("7701", "Closed Won", "0.5"),
                stage("7702", "Lost for now", "1.0", is_closed=True),
                stage("7703", "Won back", "0.0", is_closed=True),
            ],
        )
    )
