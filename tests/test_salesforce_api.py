"""Salesforce's wire: login, describe, REST and Bulk queries, against a stand-in with every fault."""

import logging
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from pydantic import SecretStr

from dealwatch.crm.api import Declined, Quota
from dealwatch.crm.http import Policy
from dealwatch.crm.salesforce.api import Gone, NoBulk, Place, Rows
from dealwatch.crm.salesforce.api import Salesforce as Wire
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.errors import ExtractRefused, SourceDown
from salesforce_company import org_of
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server

COLUMNS = [
    "Id",
    "Name",
    "StageName",
    "Amount",
    "CreatedDate",
    "CloseDate",
    "IsClosed",
    "Account.Industry",
    "Region__c",
]
SOQL = f"SELECT {', '.join(COLUMNS)} FROM Opportunity"
POLICY = Policy(connect_seconds=2, read_seconds=0.5)


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of()) as server:
        server.page = 5
        yield server


def wire_to(
    server: Salesforce, *, version: str = "64.0", policy: Policy = POLICY, page_rows: int = 5
) -> Wire:
    told = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET, "host": server.url}
    session = Session(login_of(told, "crm"), version=version, policy=POLICY, sleep=lambda _: None)
    return Wire(session, page_rows=5)


@pytest.fixture
def wire(server: Salesforce) -> Iterator[Wire]:
    wire = wire_to(server)
    with wire.session:
        yield wire


def by_rest(
    wire: Wire, soql: str = SOQL, columns: list[str] = COLUMNS, *, deleted: bool = False
) -> pl.DataFrame:
    pages = [wire.query(soql, columns, deleted=deleted)]
    while pages[-1].next is not None:
        pages.append(wire.more(pages[-1].next, columns))
    return pl.concat(page.rows for page in pages)


def by_bulk(
    wire: Wire, soql: str = SOQL, columns: list[str] = COLUMNS, *, deleted: bool = False
) -> pl.DataFrame:
    place: Place | None = wire.wait(wire.create_job(soql, deleted=deleted))
    pages: list[Rows] = []
    while place is not None:
        pages.append(wire.results(place, columns))
        place = pages[-1].next
    return pl.concat(page.rows for page in pages)


def truth(server: Salesforce, instant: str) -> pl.DataFrame:
    """The deals as both ways should tell them, with this ending of an instant."""
    org = server.org
    accounts = org.rows("Account").select(
        pl.col("Id").alias("AccountId"), pl.col("Industry").alias("Account.Industry")
    )
    deals = org.rows("Opportunity").filter(~pl.col("IsDeleted")).join(accounts, on="AccountId", how="left")
    return deals.select(
        "Id", "Name", "StageName", pl.col("Amount").cast(pl.String),
        pl.col("CreatedDate").dt.strftime(f"%Y-%m-%dT%H:%M:%S{instant}"), pl.col("CloseDate").cast(pl.String),
        pl.col("IsClosed").cast(pl.String), "Account.Industry", "Region__c",
    ).sort("Id")  # fmt: skip


def test_rest_and_bulk_tell_every_row_as_it_is(server: Salesforce, wire: Wire) -> None:
    assert by_rest(wire).sort("Id").equals(truth(server, ".000+0000"))
    assert by_bulk(wire).sort("Id").equals(truth(server, ".000Z"))
    assert server.calls.count("more") == 2
    assert server.calls.count("results") == 3


@pytest.mark.parametrize("has_headers", [True, False])
def test_a_header_may_stand_on_each_page_or_on_the_first(
    server: Salesforce, wire: Wire, has_headers: bool
) -> None:
    server.has_headers = has_headers

    assert by_bulk(wire).sort("Id").equals(truth(server, ".000Z"))


@pytest.mark.parametrize("way", [by_rest, by_bulk])
def test_a_query_without_a_row_has_its_columns(way: "type[by_rest]", wire: Wire) -> None:
    rows = way(wire, f"{SOQL} WHERE StageName = 'Nowhere'")

    assert (rows.columns, rows.height) == (COLUMNS, 0)


@pytest.mark.parametrize("way", [by_rest, by_bulk])
def test_deleted_deals_are_told_when_asked_for(way: "type[by_rest]", server: Salesforce, wire: Wire) -> None:
    gone = server.org.rows("Opportunity")["Id"][0]
    server.org.delete("Opportunity", gone)
    soql = "SELECT Id, IsDeleted FROM Opportunity"

    assert gone not in way(wire, soql, ["Id", "IsDeleted"])["Id"]
    told = way(wire, soql, ["Id", "IsDeleted"], deleted=True)
    assert dict(told.iter_rows())[gone] == "true"


QUERY_FAULTS = [
    "drop",
    "lost",
    "html",
    "gzip",
    "cut",
    "short",
    "expire",
    (503, 0),
    (429, 1),
    (406, 0),
    (420, 0),
]
BULK_FAULTS = [fault for fault in QUERY_FAULTS if fault != "short"]


@pytest.mark.parametrize("fault", [*QUERY_FAULTS, "hang"], ids=str)
@pytest.mark.parametrize("call", ["query", "more"])
def test_a_fault_of_rest_loses_no_row(call: str, fault: object, server: Salesforce, wire: Wire) -> None:
    server.order(call, fault)

    assert by_rest(wire).sort("Id").equals(truth(server, ".000+0000"))
    assert not server.faults[call], "the fault never came"


@pytest.mark.parametrize("fault", [*BULK_FAULTS, "hang"], ids=str)
@pytest.mark.parametrize("call", ["token", "create", "job", "results"])
def test_a_fault_of_bulk_loses_no_row(call: str, fault: object, server: Salesforce, wire: Wire) -> None:
    server.order(call, *([None] if call == "results" else []), fault)

    assert by_bulk(wire).sort("Id").equals(truth(server, ".000Z"))
    assert not server.faults[call], "the fault never came"


@pytest.mark.parametrize("fault", ["short", "fewer"])
@pytest.mark.parametrize("nth", [0, 1, 2])
def test_a_page_that_lacks_rows_is_asked_for_again(
    fault: str, nth: int, server: Salesforce, wire: Wire
) -> None:
    server.order("results", *[None] * nth, fault)

    assert by_bulk(wire).sort("Id").equals(truth(server, ".000Z"))
    assert not server.faults["results"]


@pytest.mark.parametrize("fault", ["short", "fewer"])
def test_a_page_that_stays_short_is_never_a_result(fault: str, server: Salesforce, wire: Wire) -> None:
    server.order("results", *[fault] * 6)

    with pytest.raises(SourceDown, match="rows"):
        by_bulk(wire)


def test_a_query_that_ends_too_early_is_never_a_result(server: Salesforce, wire: Wire) -> None:
    server.order("query", *["short"] * 6)

    with pytest.raises(SourceDown, match="the last page makes 2 rows of 12"):
        by_rest(wire)


@pytest.mark.parametrize("fault", ["Failed", "Aborted", "gone"])
def test_a_job_that_comes_to_nothing_is_gone(fault: str, server: Salesforce, wire: Wire) -> None:
    server.order("job", fault)

    with pytest.raises(Gone):
        by_bulk(wire)


def test_a_result_that_expired_is_gone(server: Salesforce, wire: Wire) -> None:
    place = wire.wait(wire.create_job(SOQL))
    following = wire.results(place, COLUMNS).next
    server.jobs.clear()

    assert following is not None
    with pytest.raises(Gone):
        wire.results(following, COLUMNS)


def test_a_locator_of_another_job_is_gone(wire: Wire) -> None:
    one, other = (wire.wait(wire.create_job(SOQL)) for _ in range(2))
    following = wire.results(one, COLUMNS).next

    assert following is not None
    with pytest.raises(Gone):
        wire.results(Place(other.job, other.version, following.locator, seen=5, total=12), COLUMNS)


def test_a_cursor_that_is_over_is_gone(server: Salesforce, wire: Wire) -> None:
    page = wire.query(SOQL, COLUMNS)
    server.cursors.clear()

    assert page.next is not None
    with pytest.raises(Gone):
        wire.more(page.next, COLUMNS)


def test_a_result_is_gone_on_with_by_another_session_of_another_version(
    server: Salesforce, wire: Wire
) -> None:
    first = wire.results(wire.wait(wire.create_job(SOQL)), COLUMNS)
    assert first.next is not None
    place: Place | None = Place.of(first.next.text())

    newer = wire_to(server, version="65.0")
    pages = [first.rows]
    with newer.session:
        while place is not None:
            page = newer.results(place, COLUMNS)
            pages.append(page.rows)
            place = page.next

    assert pl.concat(pages).sort("Id").equals(truth(server, ".000Z"))


def test_the_server_s_conflict_is_no_endless_loop(server: Salesforce, wire: Wire) -> None:
    server.order("results", "conflict")

    with pytest.raises(Gone):
        by_bulk(wire)


@pytest.mark.parametrize("told", ["", "{}x", '{"other": 1}', "[1]"])
def test_a_place_that_is_none_is_gone(told: str) -> None:
    with pytest.raises(Gone):
        Place.of(told)


def test_a_session_that_ends_in_the_middle_goes_on_at_the_same_locator(
    server: Salesforce, wire: Wire
) -> None:
    server.order("results", None, "expire")

    assert by_bulk(wire).sort("Id").equals(truth(server, ".000Z"))
    assert server.calls.count("token") == 2
    assert server.calls.count("results") == 4
    assert server.calls.count("create") == 1


def test_a_session_that_never_begins_is_declined(server: Salesforce, wire: Wire) -> None:
    server.order("query", *["expire"] * 3)

    with pytest.raises(Declined, match="401 INVALID_SESSION_ID; mend the connection crm"):
        by_rest(wire)


@pytest.mark.parametrize("call", ["create", "job", "results", "query", "more", "describe"])
def test_the_limit_of_the_day_is_for_another_run(call: str, server: Salesforce, wire: Wire) -> None:
    server.order(call, "limit")

    with pytest.raises(SourceDown, match="403 REQUEST_LIMIT_EXCEEDED") as raised:
        by_bulk(wire)
        by_rest(wire)
        wire.describe("Opportunity")
    assert raised.value.after == timedelta(hours=1)
    assert server.calls.count(call) == 1


def test_the_quota_is_left_to_others_in_time(server: Salesforce, wire: Wire) -> None:
    server.used, server.allowed = 796, 1000

    with pytest.raises(SourceDown, match="801 of the day's 1,000 requests"):
        by_bulk(wire)
    with wire_to(server).session as fresh, pytest.raises(SourceDown):
        Wire(fresh).daily_requests()
        Wire(fresh).describe("Opportunity")


def test_what_bulk_does_not_serve_is_said(server: Salesforce, wire: Wire) -> None:
    with pytest.raises(NoBulk):
        wire.create_job("SELECT Id FROM OpportunityStage")
    with pytest.raises(NoBulk):
        wire.create_job("SELECT BillingAddress FROM Account")
    assert wire.all_rows("OpportunityStage", ["ApiName"]).height == 4


@pytest.mark.parametrize(
    "soql",
    [
        "SELECT Id, Nope__c FROM Opportunity",
        "SELECT Id FROM Nope",
        "SELECT Id FROM Opportunity WHERE CreatedDate > '2026-01-01'",
        "SELECT Id FROM Opportunity WHERE IsClosed = false AND IsWon = true OR Amount > 1",
        "SELECT Id FROM Opportunity WHERE Id IN (SELECT Id FROM Opportunity)",
        "SELECT Id FROM Task WHERE IsDeleted = false OR WhatId IN (SELECT Id FROM Opportunity)",
        "SELECT Id FROM",
    ],
)
def test_a_wrong_query_is_declined(soql: str, wire: Wire) -> None:
    with pytest.raises(Declined, match="400"):
        wire.query(soql, ["Id"])
    with pytest.raises(Declined, match="400"):
        wire.create_job(soql)


def test_a_query_too_long_for_an_address_is_refused(wire: Wire) -> None:
    with pytest.raises(ExtractRefused, match="too long for REST"):
        wire.query(f"{SOQL} WHERE Name != '{'x' * 12_000}'", COLUMNS)


def test_fields_that_are_hidden_from_us_are_not_described(server: Salesforce, wire: Wire) -> None:
    server.org.hidden.add(("Opportunity", "Region__c"))

    fields = wire.describe("Opportunity")
    assert fields is not None and fields["amount"].type == "currency"
    assert (fields["accountid"].relationship, fields["accountid"].to) == ("Account", ("Account",))
    assert "region__c" not in fields and "currencyisocode" not in fields
    assert wire.describe("CurrencyType") is None


def test_tracked_fields_are_asked_for_and_may_be_withheld(server: Salesforce, wire: Wire) -> None:
    server.org.tracked |= {"OwnerId", "NextStep"}

    assert wire.tracked_fields() == {"OwnerId", "NextStep"}
    server.order("tooling", ("words", 403, "INSUFFICIENT_ACCESS"))
    assert wire.tracked_fields() is None


def test_limits_and_every_answer_tell_the_quota(server: Salesforce, wire: Wire) -> None:
    assert wire.daily_requests() == Quota(19, 100_000)
    wire.describe("Opportunity")
    assert wire.session.quota == Quota(20, 100_000)


def test_the_org_tells_the_time_and_its_versions(server: Salesforce, wire: Wire) -> None:
    assert wire.session.server_time() == datetime(2026, 3, 2, 4, tzinfo=UTC)
    with (
        wire_to(server, version="66.0").session as session,
        pytest.raises(ExtractRefused, match="newest is 65.0"),
    ):
        session.server_time()


@pytest.mark.parametrize("version", ["49.0", "64", "v64.0", "64.0/../x", ""])
def test_a_version_that_is_none_is_refused(version: str, server: Salesforce) -> None:
    with pytest.raises(ExtractRefused, match="api_version"):
        wire_to(server, version=version)


class TimedOut(BaseException):
    """As Airflow stops a task whose time is over, or that it was told to end."""


@pytest.mark.parametrize(
    ("stop", "left"), [(KeyboardInterrupt, "Aborted"), (SystemExit, "InProgress"), (TimedOut, "InProgress")]
)
def test_who_calls_off_a_run_has_the_job_aborted_and_a_next_try_finds_the_others(
    stop: type[BaseException], left: str, server: Salesforce
) -> None:
    """A job that takes longer than a task may would else never be done."""
    server.polls = 100
    told = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET, "host": server.url}

    def stopped(_: float) -> None:
        raise stop

    with Session(login_of(told, "crm"), policy=POLICY, sleep=stopped) as session, pytest.raises(stop):
        wire = Wire(session)
        wire.wait(wire.create_job(SOQL))
    assert [job.state for job in server.jobs.values()] == [left]


def test_a_job_that_is_not_done_in_time_is_waited_for_by_the_next_run(server: Salesforce, wire: Wire) -> None:
    server.polls = 10_000
    place = wire.create_job(SOQL)
    with pytest.raises(SourceDown, match="not done after 12. minutes"):
        wire.wait(place)
    server.polls = 1
    assert wire.wait(place).total == 12


def test_a_next_page_elsewhere_is_not_asked_for(wire: Wire) -> None:
    with pytest.raises(ExtractRefused):
        wire.more(Place(path="https://evil.example/services/data/v64.0/query/01g", total=12), COLUMNS)


@pytest.mark.parametrize(
    "place", ["https://evil.example/services/data/v64.0/query/01g", "/services/oauth2/x"]
)
def test_an_answer_that_names_a_next_page_elsewhere_is_refused(
    place: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"totalSize": 12, "done": False, "records": [], "nextRecordsUrl": place}
    told["records"] = [{"attributes": {}, "Id": "006"}]
    monkeypatch.setattr("standins.salesforce_calls.rest_page", lambda *_: (200, told, {}))

    with pytest.raises(ExtractRefused, match="a next page that is none of its own"):
        wire.query("SELECT Id FROM Opportunity", ["Id"])


@pytest.mark.parametrize("seed", range(12))
def test_with_any_faults_at_any_time_it_is_every_row_or_a_clear_end(seed: int, server: Salesforce) -> None:
    """A quarter of the answers are faulty; each reading is whole, or says why there is none."""
    server.chance, server.rate = random.Random(seed), 0.25
    whole = 0
    for _ in range(4):
        for way, instant in ((by_rest, ".000+0000"), (by_bulk, ".000Z")):
            wire = wire_to(server)
            with wire.session:
                try:
                    rows = way(wire)
                except (Gone, SourceDown, Declined):
                    continue
            assert rows.sort("Id").equals(truth(server, instant))
            whole += 1
    assert whole >= 3


SECRETIVE = f"{SOQL} WHERE Name != 'canary-query'"
ASKED: dict[str, Callable[[Wire], object]] = {
    "versions": lambda wire: wire.session.server_time(),
    "token": lambda wire: wire.describe("Opportunity"),
    "query": lambda wire: by_rest(wire, SECRETIVE),
    "more": lambda wire: by_rest(wire, SECRETIVE),
    "create": lambda wire: by_bulk(wire, SECRETIVE),
    "job": lambda wire: by_bulk(wire, SECRETIVE),
    "results": lambda wire: by_bulk(wire, SECRETIVE),
    "describe": lambda wire: wire.describe("Opportunity"),
    "tooling": lambda wire: wire.tracked_fields(),
}


@pytest.mark.parametrize("call", ASKED)
def test_no_secret_and_no_row_is_in_any_word(
    call: str, server: Salesforce, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.org.insert("Opportunity", Name="canary-row", StageName="Qualify")
    said: list[str] = []
    for fault in ["lost", "html", "gzip", "cut", "short", "fewer", "expire", "limit", ("words", 400, "E")]:
        server.faults.clear()
        server.order(call, *[fault] * 6)
        try:
            ASKED[call](wire)
        except (Gone, ExtractRefused, SourceDown) as error:
            chain: BaseException | None = error
            while chain is not None:
                said += [repr(chain), repr(chain.__dict__)]
                chain = chain.__cause__ or chain.__context__
        said.append(repr(wire.session.__dict__))
    told = caplog.text + "".join(said)
    assert len(told) > 2_000
    assert "canary" not in told
    assert CLIENT_SECRET not in told


def test_a_login_holds_its_secrets_back(server: Salesforce) -> None:
    login = login_of(
        {"consumer_key": "k", "consumer_secret": SecretStr("canary"), "private_key": "", "host": server.url},
        "crm",
    )
    assert "canary" not in repr(login)
