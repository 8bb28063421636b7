"""HubSpot as it is written to: a batch is taken in whole, in part or not at all; each deal gets its due."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from dealwatch.crm.api import Declined
from dealwatch.errors import SettingsError, SourceDown
from dealwatch.settings import Settings
from hubspot_samples import deal
from standins.hubspot import TOKEN
from write_back_samples import Desk, Scored, hubspot_desk, in_fields, judge

UPDATES = "deals/batch/update"
IDS = [str(number) for number in range(5001, 5009)]


@pytest.fixture
def desk(engine: Engine, settings: Settings) -> Iterator[Desk]:
    with hubspot_desk(engine, settings) as desk:
        for id_ in IDS:
            deal(desk.server.portal, id_, "2026-02-01T00:00:00")
        judge(engine, [Scored(id_, 60 - n) for n, id_ in enumerate(IDS)])
        yield desk


def sent(desk: Desk) -> list[list[str]]:
    """The ids of each batch that came."""
    return [[one["id"] for one in request.body["inputs"]] for request in desk.server.asked(UPDATES)]


def test_only_what_changed_is_written_in_batches(either_engine: Engine, either_settings: Settings) -> None:
    with hubspot_desk(either_engine, either_settings) as desk:
        for n in range(120):
            deal(desk.server.portal, str(6000 + n), "2026-02-01T00:00:00")
        judge(either_engine, [Scored(str(6000 + n), 60) for n in range(120)])
        assert desk.run() == {"deals": 120, "written": 120}
        assert [len(batch) for batch in sent(desk)] == [100, 20]
        assert in_fields(desk.server, "6000") == ("60", "high", "40 days in its stage", "2026-03-02")
        judge(either_engine, [Scored(str(6000 + n), 60, reasons=()) for n in range(3)])
        assert desk.run() == {"deals": 3, "written": 3}
        assert in_fields(desk.server, "6002")[2] is None


def test_a_dry_run_sends_nothing(desk: Desk) -> None:
    assert desk.but(dry=True).run() == {"deals": 8, "would_write": 8}
    assert sent(desk) == [] and [request.method for request in desk.server.requests] == ["GET"]


@pytest.mark.parametrize("by_trace", [False, True])
def test_errors_of_single_deals_are_told_apart(desk: Desk, by_trace: bool) -> None:
    desk.server.desk.habits.names_by_trace = by_trace
    desk.server.desk.row_faults |= {
        IDS[0]: deque(["VALIDATION_ERROR"]), IDS[1]: deque(["CONFLICT"]), IDS[2]: deque(["FORBIDDEN"]),
    }  # fmt: skip
    desk.server.portal.archive("deals", IDS[3], desk.server.portal.now)
    assert desk.run() == {"deals": 8, "written": 4, "refused": 1, "busy": 1, "gone": 1, "failed": 1}
    assert desk.remembered()[IDS[3]] == ("gone", "OBJECT_NOT_FOUND")
    assert desk.run() == {"deals": 8, "unchanged": 5, "written": 2, "gone": 1}


def test_deals_of_which_a_207_says_nothing_are_gone(desk: Desk) -> None:
    desk.server.desk.habits.is_silent_about_unknown = True
    desk.server.portal.purge("deals", IDS[0])
    assert desk.run() == {"deals": 8, "written": 7, "gone": 1}


def test_a_value_that_turns_its_batch_down_is_found_and_the_others_are_written(desk: Desk) -> None:
    desk.server.desk.poison = {IDS[2], IDS[6]}
    assert desk.run() == {"deals": 8, "written": 6, "refused": 2}
    assert [id_ for id_, (state, _) in sorted(desk.remembered().items()) if state == "refused"] == [
        IDS[2], IDS[6],
    ]  # fmt: skip
    before = len(sent(desk))
    assert desk.run() == {"deals": 8, "unchanged": 8} and len(sent(desk)) == before


def test_a_batch_of_which_every_deal_is_refused_is_soon_given_up(desk: Desk) -> None:
    desk.server.desk.poison = {*IDS}
    assert desk.run() == {"deals": 8, "refused": 3, "failed": 5}
    assert len(sent(desk)) < 10
    desk.server.desk.poison = set()
    assert desk.run() == {"deals": 8, "unchanged": 3, "written": 5}


@pytest.mark.parametrize(
    "fault", [502, 503, 423, "drop", "reset", "cut", "cut_gzip", "html", "no_json",
              ("limit", "TEN_SECONDLY_ROLLING", {}), ("limit", "SECONDLY", {"Retry-After": "3"})], ids=str,
)  # fmt: skip
def test_whatever_passes_is_sent_again_until_it_is_heard(desk: Desk, fault: Any) -> None:
    desk.server.faults.extend([None, fault])  # after the properties were asked for
    assert desk.run() == {"deals": 8, "written": 8}
    assert len(sent(desk)) == 2 and len(desk.slept) == 1


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (("limit", "DAILY", {}), SourceDown, "429 DAILY; to be tried again later. 0 deals were written, 8"),
        ("pending", SourceDown, "an answer without results. 0 deals were written, 8 are left"),
        ("short", SourceDown, "7 answers to 8 updates"),
        ("unauthorised", Declined, "401 EXPIRED_AUTHENTICATION; put a service key"),
        ("redirect", Declined, "a redirect"),
    ],
    ids=str,
)
def test_what_does_not_pass_stops_the_run_and_remembers_nothing(
    desk: Desk, fault: Any, error: type[Exception], words: str
) -> None:
    desk.server.faults.extend([None, fault])
    with pytest.raises(error, match=words):
        desk.run()
    assert desk.remembered() == {}
    assert desk.run() == {"deals": 8, "written": 8}


def test_a_batch_that_others_are_writing_to_waits_for_the_next_run(desk: Desk) -> None:
    desk.server.faults.extend([None, 409])
    assert desk.run() == {"deals": 8, "busy": 8}
    assert desk.run() == {"deals": 8, "written": 8}


def test_a_share_of_the_days_requests_is_left_to_others(desk: Desk) -> None:
    desk.most, desk.server.desk.allowed_today, desk.server.desk.used_today = 2, 100, 79
    with pytest.raises(SourceDown, match="are left to others.* 2 deals were written, 6 are left"):
        desk.run()
    desk.server.desk.used_today = 1
    assert desk.run() == {"deals": 8, "unchanged": 2, "written": 6}


def test_a_key_that_may_only_read_is_told_which_scope_it_lacks(desk: Desk) -> None:
    desk.server.desk.scopes.remove("crm.objects.deals.write")
    assert desk.but(dry=True).run() == {"deals": 8, "would_write": 8}
    with pytest.raises(Declined, match="let the key write deals: tick the scope crm.objects.deals.write"):
        desk.but(dry=False).run()


@pytest.mark.parametrize(
    ("name", "type_", "more", "words"),
    [
        ("deal_risk", "string", {}, "score = 'deal_risk' is of type string .* a number"),
        ("deal_risk", "number", {"calculated": True}, "calculated or read-only; name a custom property"),
        ("deal_risk", "number", {"modificationMetadata": {"readOnlyValue": True}}, "calculated or read-only"),
        ("deal_risk", "number", {"hubspotDefined": True}, "is HubSpot's own"),
        ("deal_band", "enumeration", {"fieldType": "select", "options": ("low", "high")},
         "lacks the values Medium, Critical"),
        ("deal_band", "enumeration", {"fieldType": "checkbox", "options": ("low",)}, "or a choice of one"),
        ("deal_why", "string", {"fieldType": "html"}, "reason = 'deal_why' .* without formatting"),
        ("deal_risk_on", "datetime", {}, "as_of = 'deal_risk_on' is of type datetime .* a date"),
    ],
)  # fmt: skip
def test_a_property_that_does_not_fit_is_named_before_anything_is_written(
    desk: Desk, name: str, type_: str, more: dict[str, Any], words: str
) -> None:
    desk.server.portal.define(name, type_, **more)
    with pytest.raises(SettingsError, match=words):
        desk.run()
    del desk.server.portal.defined["deals"][name]
    with pytest.raises(SettingsError, match=f"{name}' is no property of deals; make it in HubSpot"):
        desk.run()
    assert sent(desk) == []


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [{"id": "5001", "properties": {}}] * 2,
        [{"id": str(n), "properties": {}} for n in range(101)],
        [{"id": "5001", "properties": {"deal_risk": 5}}],
        [{"id": "5001", "properties": {"deal_risk": "five"}}],
        [{"id": "5001", "properties": {"nope": "5"}}],
        [{"id": "5001", "properties": {"deal_risk_on": "02.03.2026"}}],
        [{"id": "5001", "properties": {}, "more": 1}],
    ],
)
def test_the_stand_in_is_strict(desk: Desk, inputs: list[dict[str, Any]]) -> None:
    path = f"{desk.server.url}/crm/objects/2026-09/{UPDATES}"
    answer = httpx.post(path, json={"inputs": inputs}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")
    assert desk.server.desk.updates == []
