"""The stand-in keeps HubSpot's rules, or tests against it would prove nothing."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from hubspot_samples import NIGHT, at, deal, move, small_portal
from standins.hubspot import TOKEN, HubSpot, hubspot_server
from standins.hubspot_portal import Portal
from standins.hubspot_webhooks import SECRET, event, signed

DEALS = "/crm/objects/2026-09/deals"


def ask(server: HubSpot, path: str, body: Any = None, **query: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {server.token}"}
    method = "GET" if body is None else "POST"
    return httpx.request(method, server.url + path, params=query, json=body, headers=headers, trust_env=False)


def told(server: HubSpot, path: str, body: Any = None, **query: Any) -> Any:
    answer = ask(server, path, body, **query)
    assert answer.is_success, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 101},
        {"limit": 51, "propertiesWithHistory": "amount"},
        {"limit": 0},
        {"limit": "many"},
        {"archived": "yes"},
        {"after": "anything"},
        {"propertys": "amount"},
        {"idProperty": "x"},
    ],
)
def test_what_a_list_cannot_be_asked_is_a_400(query: dict[str, Any]) -> None:
    with hubspot_server(small_portal()) as server:
        answer = ask(server, DEALS, **query)
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "path", ["/crm/v3/objects/deals", "/crm/objects/2025-01/deals", "/crm/objects/v3/deals"]
)
def test_a_version_that_is_not_served_is_a_404(path: str) -> None:
    with hubspot_server(small_portal()) as server:
        assert ask(server, path).status_code == 404


def test_a_list_is_paged_by_a_cursor_and_its_link_leads_elsewhere() -> None:
    with hubspot_server(small_portal()) as server:
        first = told(server, DEALS, limit=2)
        following = first["paging"]["next"]
        rest = told(server, DEALS, limit=2, after=following["after"])
    assert [one["id"] for one in (*first["results"], *rest["results"])] == ["101", "102", "103"]
    assert "paging" not in rest
    assert "%" in following["after"] and not following["link"].startswith(server.url)


def test_properties_are_text_and_those_nobody_has_are_ignored_and_noted() -> None:
    with hubspot_server(small_portal()) as server:
        one = told(server, DEALS, limit=1, properties="amount,dealtype,nobody_has_it")["results"][0]
    assert one["properties"] == {"hs_object_id": "101", "amount": "7500.50", "dealtype": None}
    assert server.desk.in_vain == [("deals", "nobody_has_it")]


def test_history_is_newest_first() -> None:
    with hubspot_server(small_portal()) as server:
        one = told(server, DEALS, limit=1, propertiesWithHistory="amount")["results"][0]
    items = one["propertiesWithHistory"]["amount"]
    assert [(item["value"], item["timestamp"]) for item in items] == [
        ("7500.50", "2026-01-20T10:00:00.000Z"),
        ("5000", "2026-01-05T09:00:00.000Z"),
    ]
    assert one["properties"]["amount"] == "7500.50"


def test_archived_deals_are_a_list_of_their_own() -> None:
    portal = small_portal()
    portal.archive("deals", "102", at("2026-02-02"))
    with hubspot_server(portal) as server:
        live, gone = (told(server, DEALS, archived=flag)["results"] for flag in ("false", "true"))
        portal.restore("deals", "102")
        back = told(server, DEALS)["results"]
    assert [one["id"] for one in live] == ["101", "103"]
    assert [(one["id"], one["archivedAt"]) for one in gone] == [("102", "2026-02-02T00:00:00.000Z")]
    assert len(back) == 3


def test_a_merge_leaves_a_third_deal_with_both_histories() -> None:
    portal = small_portal()
    new = portal.merge("101", "102", at("2026-02-10"))
    with hubspot_server(portal) as server:
        listed = told(server, DEALS, propertiesWithHistory="dealstage", properties="hs_merged_object_ids")
        read = told(server, f"{DEALS}/batch/read", {"inputs": [{"id": "102"}], "properties": []})
    assert [one["id"] for one in listed["results"]] == ["103", new.id]
    merged = listed["results"][1]
    assert merged["properties"]["hs_merged_object_ids"] == "101;102"
    stages = [item["value"] for item in merged["propertiesWithHistory"]["dealstage"]]
    assert stages == [
        "qualifiedtobuy",
        "closedwon",
        "qualifiedtobuy",
        "appointmentscheduled",
        "appointmentscheduled",
    ]
    assert [one["id"] for one in read["results"]] == [new.id]


def test_a_batch_tells_what_is_missing_and_takes_no_more_than_it_may() -> None:
    with hubspot_server(small_portal()) as server:
        answer = ask(
            server, f"{DEALS}/batch/read", {"inputs": [{"id": "103"}, {"id": "1"}], "properties": []}
        )
        many: list[Any] = [{"id": str(n)} for n in range(101)]
        statuses = [
            ask(server, f"{DEALS}/batch/read", {"inputs": inputs, **more}).status_code
            for inputs, more in (
                (many, {}),
                (many[:51], {"propertiesWithHistory": ["amount"]}),
                ([{"id": "1"}, {"id": "1"}], {}),
                ([{"id": "1"}], {"limit": 3}),
            )
        ]
    assert answer.status_code == 207
    assert [one["id"] for one in answer.json()["results"]] == ["103"]
    assert answer.json()["errors"][0]["context"] == {"ids": ["1"]}
    assert statuses == [400] * 4


def test_associations_are_paged_and_their_absence_is_an_error_of_its_own() -> None:
    portal = small_portal()
    for number in range(5):
        portal.add("notes", NIGHT, str(600 + number))
        portal.link("101", "notes", str(600 + number))
    path = "/crm/associations/2026-09/deals/notes/batch/read"
    with hubspot_server(portal) as server:
        server.desk.habits.links_a_page = 3
        first = ask(server, path, {"inputs": [{"id": "101"}, {"id": "102"}]})
        told_first = first.json()["results"][0]
        after = told_first["paging"]["next"]["after"]
        rest = told(server, path, {"inputs": [{"id": "101", "after": after}]})["results"][0]
    assert first.status_code == 207
    assert first.json()["errors"][0]["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"
    assert [to["toObjectId"] for to in (*told_first["to"], *rest["to"])] == [
        "600",
        "601",
        "602",
        "603",
        "604",
    ]
    assert "paging" not in rest


def test_the_primary_company_of_a_list_is_told_twice() -> None:
    portal = small_portal()
    portal.add("companies", NIGHT, "800")
    portal.link("101", "companies", "800")
    with hubspot_server(portal) as server:
        one = told(server, DEALS, limit=1, associations="companies")["results"][0]
    assert [(link["id"], link["type"]) for link in one["associations"]["companies"]["results"]] == [
        ("900", "deal_to_company"),
        ("900", "deal_to_company_unlabeled"),
        ("800", "deal_to_company_unlabeled"),
    ]


def test_a_search_needs_all_five_ends_at_ten_thousand_and_lags() -> None:
    portal = Portal()
    for number in range(3):
        deal(portal, str(number + 1), "2026-01-01T00:00:00")
    deal(portal, "9", "2026-03-02T03:59:50")
    portal.now = NIGHT
    body = {"filterGroups": [], "sorts": [], "properties": [], "limit": 2, "after": "0"}
    with hubspot_server(portal) as server:
        found = told(server, f"{DEALS}/search", body)
        lacking = [
            ask(server, f"{DEALS}/search", {k: v for k, v in body.items() if k != name}).status_code
            for name in body
        ]
        beyond = ask(server, f"{DEALS}/search", {**body, "after": "9999"})
        much = ask(server, f"{DEALS}/search", {**body, "limit": 201})
    assert (found["total"], len(found["results"])) == (3, 2)
    assert lacking == [400] * 5
    assert (beyond.status_code, much.status_code) == (400, 400)


def test_the_stages_metadata_are_texts_and_an_archived_stage_is_not_told() -> None:
    portal = small_portal()
    portal.pipelines[0].stages[0].archived = True
    with hubspot_server(portal) as server:
        stages = told(server, "/crm/pipelines/2026-03/deals")["results"][0]["stages"]
    assert [(one["id"], one["metadata"]) for one in stages][-2:] == [
        ("closedwon", {"isClosed": "true", "probability": "1.0"}),
        ("closedlost", {"isClosed": "true", "probability": "0.0"}),
    ]
    assert "appointmentscheduled" not in {one["id"] for one in stages}


def test_a_key_is_needed_and_scopes_are_kept() -> None:
    with hubspot_server(small_portal()) as server:
        nobody = httpx.get(server.url + DEALS, trust_env=False)
        server.desk.scopes.remove("crm.objects.deals.read")
        declined = ask(server, DEALS)
    assert (nobody.status_code, nobody.json()["category"]) == (401, "INVALID_AUTHENTICATION")
    assert (declined.status_code, declined.json()["category"]) == (403, "MISSING_SCOPES")
    context = declined.json()["errors"][0]["context"]
    assert context == {"requiredGranularScopes": ["crm.objects.deals.read"]}


def test_both_limits_answer_429_with_their_policy_and_every_answer_tells_them() -> None:
    with hubspot_server(small_portal()) as server:
        server.a_window, server.desk.allowed_today = 2, 4
        answers = [ask(server, DEALS) for _ in range(3)]
        server.a_window = None
        answers += [ask(server, DEALS) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 429]
    policies = [answer.json().get("policyName") for answer in answers]
    assert policies == [None, None, "TEN_SECONDLY_ROLLING", None, "DAILY"]
    assert answers[0].headers["X-HubSpot-RateLimit-Daily-Remaining"] == "3"


def test_random_faults_come_by_seed_and_never_three_in_a_row() -> None:
    def given(seed: int) -> list[Any]:
        with hubspot_server() as server:
            server.break_by_chance(0.9, seed)
            return [server.next_fault() for _ in range(60)]

    assert given(3) == given(3) != given(4)
    faults = given(3)
    assert all(None in faults[n : n + 3] for n in range(58)) and len({*faults}) > 6


def test_a_list_far_into_a_large_account_is_found_at_once() -> None:
    portal = Portal()
    for number in range(20_000):
        portal.add("deals", NIGHT, str(number + 1))
    listed, has_more = portal.page("deals", is_archived=False, after=19_990, limit=100)
    assert ([record.id for record in listed][-1], has_more) == ("20000", False)


def test_a_webhook_is_signed_over_method_address_body_and_time() -> None:
    url = "https://dealwatch.example/hubspot/events"
    events = [
        event("101", "deal.propertyChange", at=NIGHT, propertyName="dealstage", propertyValue="closedwon")
    ]
    body, headers = signed(events, url, at=NIGHT)
    text = f"POST{url}{body.decode()}{NIGHT}".encode()
    mac = base64.b64encode(hmac.new(SECRET.encode(), text, hashlib.sha256).digest()).decode()
    assert headers["X-HubSpot-Signature-v3"] == mac
    assert headers["X-HubSpot-Request-Timestamp"] == str(NIGHT)
    assert json.loads(body)[0]["objectId"] == 101


def test_a_changed_deal_has_its_new_value_and_keeps_the_old_one_in_its_history() -> None:
    portal = small_portal()
    move(portal, "103", "2026-02-20T08:00:00", dealstage=None)
    record = portal.records["deals"]["103"]
    assert record.value("dealstage") is None
    assert [value for _, value, _ in record.history["dealstage"]] == [
        "appointmentscheduled",
        "closedlost",
        None,
    ]
    assert TOKEN.startswith("pat-")
