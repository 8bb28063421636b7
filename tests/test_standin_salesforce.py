"""The stand-in is as strict as Salesforce: it refuses what a wrong client would do, with the same codes."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from salesforce_company import org_of
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server

DATA = "/services/data/v64.0"
GRANT = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of()) as server:
        yield server


@pytest.fixture
def http(server: Salesforce) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        token = http.post("/services/oauth2/token", data=GRANT).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        yield http


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()[0]["errorCode"]


def job_of(http: httpx.Client, soql: str, **more: Any) -> httpx.Response:
    return http.post(f"{DATA}/jobs/query", json={"operation": "query", "query": soql, **more})


def test_nobody_is_answered_without_a_session(http: httpx.Client) -> None:
    for token in ("", "Bearer wrong"):
        answer = http.get(f"{DATA}/limits", headers={"Authorization": token})
        assert refusal(answer) == (401, "INVALID_SESSION_ID")


def test_a_password_is_no_way_in(http: httpx.Client) -> None:
    told = {**GRANT, "grant_type": "password", "username": "u", "password": "p"}
    answer = http.post("/services/oauth2/token", data=told)
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("path", ["/services/data/v64.0/nope", "/services/data/v99.0/limits", "/login"])
def test_what_is_not_there_is_not_found(path: str, http: httpx.Client) -> None:
    assert refusal(http.get(path)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Nope FROM Opportunity", "INVALID_FIELD"),
        ("SELECT Nope.Name FROM Opportunity", "INVALID_FIELD"),
        ("SELECT Id, Id FROM Opportunity", "INVALID_FIELD"),
        ("SELECT Id FROM Opportunity WHERE IsClosed = 'false'", "INVALID_FIELD"),
        ("SELECT Id FROM Opportunity WHERE Amount > '1'", "INVALID_FIELD"),
        ("SELECT Id FROM Opportunity WHERE CloseDate > 2026-01-01T00:00:00Z", "INVALID_FIELD"),
        ("SELECT Id FROM Opportunity WHERE Amount > null", "INVALID_FIELD"),
        ("SELECT CurrencyIsoCode FROM Opportunity", "INVALID_FIELD"),
        ("SELECT Id FROM CurrencyType", "INVALID_TYPE"),
        ("SELECT Id FROM Opportunity WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Opportunity; DROP", "MALFORMED_QUERY"),
        ("SELECT Id FROM Opportunity WHERE Name IN (SELECT Name FROM Account)", "MALFORMED_QUERY"),
        ("SELECT * FROM Opportunity", "MALFORMED_QUERY"),
    ],
)
def test_a_wrong_query_has_salesforce_s_code(soql: str, code: str, http: httpx.Client) -> None:
    assert refusal(http.get(f"{DATA}/query", params={"q": soql})) == (400, code)


def test_a_long_address_is_refused(http: httpx.Client) -> None:
    answer = http.get(f"{DATA}/query", params={"q": f"SELECT Id FROM User WHERE Name != '{'x' * 16_000}'"})
    assert answer.status_code == 414


def test_conditions_are_answered_as_in_salesforce(http: httpx.Client) -> None:
    def count(condition: str) -> int:
        soql = f"SELECT COUNT() FROM Opportunity WHERE {condition}"
        return int(http.get(f"{DATA}/query", params={"q": soql}).json()["totalSize"])

    assert count("Region__c = null") == 4
    assert count("Region__c != 'north'") == 4, "null is not north; and case does not count"
    assert count("Region__c IN ('NORTH', 'South')") == 8
    assert count("NOT (Region__c = 'North')") == 4
    assert count("(IsClosed = false AND Amount > 1003) OR Account.Name = 'Account 1'") == 8
    assert count("AccountId IN (SELECT Id FROM Account WHERE Name = 'Account 0')") == 6
    assert count("SystemModstamp >= 2026-01-01T00:00:00Z") == 0
    assert count("CloseDate < 2026-06-03") == 2


def test_both_spellings_of_instants_and_parents(server: Salesforce, http: httpx.Client) -> None:
    orphan = server.org.insert("Opportunity", Name="Alone", StageName="Qualify")
    soql = f"SELECT CreatedDate, Account.Name, IsWon, Amount FROM Opportunity WHERE Id = '{orphan}'"
    (record,) = http.get(f"{DATA}/query", params={"q": soql}).json()["records"]
    assert record | {"attributes": None} == {
        "attributes": None, "CreatedDate": "2026-03-02T04:00:00.000+0000", "Account": None, "IsWon": False,
        "Amount": None,
    }  # fmt: skip

    job = job_of(http, soql).json()["id"]
    for _ in range(2):
        state = http.get(f"{DATA}/jobs/query/{job}").json()
    assert (state["state"], state["numberRecordsProcessed"]) == ("JobComplete", 1)
    answer = http.get(f"{DATA}/jobs/query/{job}/results")
    assert answer.text == (
        '"CreatedDate","Account.Name","IsWon","Amount"\n"2026-03-02T04:00:00.000Z","","false",""\n'
    )
    assert answer.headers["sforce-locator"] == "null"
    assert answer.headers["sforce-limit-info"] == "api-usage=23/100000; api-bursts=1/750"


def test_a_job_is_strict(http: httpx.Client) -> None:
    soql = "SELECT Id FROM Opportunity"
    assert refusal(job_of(http, soql, object="Opportunity")) == (400, "INVALIDJOB")
    assert refusal(job_of(http, "SELECT COUNT() FROM Opportunity")) == (400, "API_ERROR")
    assert refusal(job_of(http, "SELECT ApiName FROM OpportunityStage")) == (400, "INVALIDENTITY")
    job = job_of(http, soql).json()["id"]
    results = f"{DATA}/jobs/query/{job}/results"
    assert refusal(http.get(results)) == (400, "INVALIDJOBSTATE")
    for _ in range(2):
        http.get(f"{DATA}/jobs/query/{job}")
    assert http.get(results.replace("64", "63")).status_code == 409
    assert refusal(http.get(results, params={"locator": "MTI"})) == (400, "INVALIDLOCATOR")
    abort = http.patch(f"{DATA}/jobs/query/{job}", json={"state": "Aborted"})
    assert refusal(abort) == (400, "INVALIDJOBSTATE")
    assert refusal(http.get(f"{DATA}/jobs/query/750000000000999AAA")) == (404, "NOT_FOUND")


def test_a_page_of_rest_leads_to_the_next(server: Salesforce, http: httpx.Client) -> None:
    server.page = 5
    page = http.get(f"{DATA}/query", params={"q": "SELECT Id FROM Opportunity"}).json()
    sizes = [len(page["records"])]
    while not page["done"]:
        page = http.get(page["nextRecordsUrl"]).json()
        sizes.append(len(page["records"]))
    assert (sizes, page["totalSize"]) == ([5, 5, 2], 12)
    assert refusal(http.get(f"{DATA}/query/01g000000000001AAB-5")) == (400, "INVALID_QUERY_LOCATOR")
