"""Asking HubSpot through the real client: its limits, its faults, and what is said when it declines."""

import itertools
import logging
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dealwatch.crm.http import Policy
from dealwatch.crm.hubspot.answers import text_frame
from dealwatch.crm.hubspot.api import HubSpot
from dealwatch.errors import ExtractRefused, SourceDown
from hubspot_samples import CANARY, CANARY_BODY, NIGHT, QUICK, Night, a_night, deal, small_portal
from standins.hubspot import PASSING, TOKEN
from standins.hubspot_portal import Portal, Stage, stage

NAMES = ["dealname", "amount"]
# What nobody can wait out, and how it ends.
LASTING: list[tuple[Any, type[Exception], str]] = [
    (("limit", "DAILY", {}), SourceDown, "429 DAILY; to be tried again later"),
    ("unauthorised", ExtractRefused, "401 EXPIRED_AUTHENTICATION; put a service key"),
    (477, SourceDown, "477 INTERNAL_ERROR; to be tried again later"),
    ("redirect", ExtractRefused, "302, a redirect"),
    ("huge", ExtractRefused, "larger than"),
    ("loop", SourceDown, "the cursor does not move on"),
    ("missing_results", SourceDown, "an answer without results"),
    (400, ExtractRefused, "400 INTERNAL_ERROR"),
    (409, ExtractRefused, "409 INTERNAL_ERROR"),
]


def all_deals(api: HubSpot) -> list[str]:
    """The ids of all deals, page by page."""
    ids: list[str] = []
    after: str | None = None
    while True:
        listed = api.listed("deals", properties=NAMES, with_history=["amount"], after=after)
        ids += [thing["id"] for thing in listed.things]
        if (after := listed.after) is None:
            return ids


def a_hundred_and_twenty() -> Portal:
    portal = small_portal()
    for number in range(117):
        deal(portal, str(1000 + number), "2026-01-10T00:00:00")
    portal.now = NIGHT
    return portal


def test_all_pages_are_read_by_cursor_with_fifty_at_a_time_where_history_is_asked_for() -> None:
    with a_night(a_hundred_and_twenty()) as night, night.api() as api:
        ids = all_deals(api)
        plain = api.listed("deals", properties=NAMES)
    assert (len(ids), len({*ids})) == (120, 120)
    assert [request.query["limit"] for request in night.server.requests] == ["50", "50", "50", "100"]
    assert len(plain.things) == 100


@pytest.mark.parametrize("fault", [*PASSING, 423, 500, 521, 524])
def test_what_passes_is_waited_out(fault: Any) -> None:
    with a_night(a_hundred_and_twenty()) as night, night.api() as api:
        night.server.faults.extend([None, fault, fault, None])
        ids = all_deals(api)
    assert (len(ids), len({*ids})) == (120, 120)
    assert len(night.slept) == 2
    assert night.server.given == [fault, fault]


@pytest.mark.parametrize("seed", range(6))
def test_no_row_is_lost_or_doubled_under_faults_at_random(seed: int) -> None:
    with a_night(a_hundred_and_twenty()) as night, night.api() as api:
        night.server.break_by_chance(0.5, seed)
        ids = all_deals(api)
    assert (len(ids), len({*ids})) == (120, 120)


@pytest.mark.parametrize(("fault", "kind", "words"), LASTING)
def test_what_lasts_ends_the_run_with_a_reason(fault: Any, kind: type[Exception], words: str) -> None:
    with a_night(a_hundred_and_twenty()) as night, night.api() as api:
        after = api.listed("deals", properties=NAMES).after
        night.server.faults.append(fault)
        with pytest.raises(kind, match=words):
            api.listed("deals", properties=NAMES, after=after)
    assert night.slept == []
    assert len(night.server.requests) == 2


def test_a_fault_that_does_not_pass_ends_the_run_after_so_many_tries() -> None:
    with a_night() as night, night.api() as api:
        night.server.faults.extend([503] * 20)
        with pytest.raises(SourceDown, match="503 INTERNAL_ERROR, 6 times in a row"):
            all_deals(api)
    assert len(night.server.requests) == 6


def test_no_answer_ends_the_run_too() -> None:
    hasty = Policy(read_seconds=0.1, tries=2)
    with a_night(policy=hasty) as night, night.api() as api:
        night.server.faults.extend(["hang", "hang"])
        with pytest.raises(SourceDown, match=r"no answer \(ReadTimeout\), 2 times"):
            all_deals(api)


def test_the_limit_of_ten_seconds_is_waited_out_and_that_of_the_day_is_not() -> None:
    with a_night() as night, night.api() as api:
        limit = "limit"
        night.server.faults.extend(
            [
                (limit, "TEN_SECONDLY_ROLLING", {}),
                (limit, "TEN_SECONDLY_ROLLING", {"Retry-After": "4"}),
                (limit, "SECONDLY", {}),
            ]
        )
        assert all_deals(api) == ["101", "102", "103"]
        waits = [int(seconds) for seconds in night.slept]
        night.server.faults.append((limit, "DAILY", {}))
        with pytest.raises(SourceDown) as caught:
            all_deals(api)
    assert waits == [10, 4, 1]
    assert caught.value.after == timedelta(hours=1)


def test_a_day_whose_requests_are_nearly_used_is_left_to_others() -> None:
    with a_night() as night, night.api() as api:
        night.server.desk.allowed_today, night.server.desk.used_today = 1000, 810
        all_deals(api)
        with pytest.raises(SourceDown, match="811 of the day's 1,000 requests are used"):
            all_deals(api)


def test_a_batch_is_asked_in_hundreds_without_repeats_and_tells_what_is_there() -> None:
    with a_night(a_hundred_and_twenty()) as night, night.api() as api:
        ids = [*(str(1000 + number) for number in range(117)), "1000", "7", "8"]
        found = sorted(thing["id"] for thing in api.read("deals", ids, properties=NAMES))
    assert found == sorted({*ids} - {"7", "8"})
    assert [len(request.body["inputs"]) for request in night.server.requests] == [100, 19]


def test_a_batch_that_lacks_answers_is_no_answer() -> None:
    with a_night() as night, night.api() as api:
        night.server.faults.append("pending")
        with pytest.raises(SourceDown, match="an answer without results"):
            list(api.read("deals", ["101"], properties=NAMES))
        night.server.faults.append("short")
        with pytest.raises(SourceDown, match="2 answers to 3 questions"):
            list(api.read("deals", ["101", "102", "103"], properties=NAMES))
        night.server.faults.append("partial")
        with pytest.raises(SourceDown, match="a part of the answer is an error"):
            list(api.read("deals", ["101"], properties=NAMES))


@pytest.mark.parametrize(
    "results", ["x", ["x"], [{"properties": {}}], [{"id": 5}], [{"id": "5", "properties": None}], [None]]
)
def test_a_result_that_is_none_is_said_to_be_none(results: Any) -> None:
    with a_night() as night, night.api() as api:
        for ask in (
            lambda: api.listed("deals", properties=NAMES),
            lambda: list(api.read("deals", ["101"], properties=NAMES)),
            lambda: api.links("deals", ["101"], "calls"),
            lambda: api.owners(is_archived=False),
        ):
            night.server.faults.append(("results", results))
            with pytest.raises(SourceDown, match="a result that is none|an answer without results"):
                ask()


def test_an_answer_without_the_history_is_no_answer() -> None:
    with a_night() as night, night.api() as api:
        night.server.faults.append(("results", [{"id": "5", "properties": {}}]))
        with pytest.raises(SourceDown, match="without the history that was asked for"):
            api.listed("deals", properties=NAMES, with_history=["amount"])


@pytest.mark.parametrize("are_numbers", [False, True])
def test_all_associations_are_read_however_many(are_numbers: bool) -> None:
    portal = small_portal()
    for number in range(7):
        portal.add("notes", NIGHT, str(600 + number))
        portal.link("101", "notes", str(600 + number))
        portal.link("102", "notes", "600")
    with a_night(portal) as night, night.api() as api:
        night.server.desk.habits.links_a_page = 3
        night.server.desk.habits.numeric_links = are_numbers
        found = api.links("deals", ["101", "102", "103"], "notes")
        night.server.faults.append("partial")
        with pytest.raises(SourceDown, match="a part of the answer is an error"):
            api.links("deals", ["101"], "notes")
    assert found == {"101": [str(600 + number) for number in range(7)], "102": ["600"]}


def test_what_a_stage_means_is_told_by_its_metadata_alone() -> None:
    portal = small_portal()
    portal.pipelines[0].stages = [
        stage("1", "Closed Lost", "1.0", is_closed=True),
        stage("2", "Closed Won", "0.0", is_closed=True),
        stage("3", "Verloren", "0.5"),
        stage("4", "Odd", "0.3", is_closed=True),
        Stage("5", "By API, won", {"probability": "1"}),
        Stage("6", "By API, open", {"probability": "0.2000000000000000111"}),
        Stage("7", "Open at 100%", {"isClosed": "false", "probability": "1.0"}),
        Stage("8", "Nothing told", {}),
        Stage("9", "Closed, how?", {"isClosed": "TRUE"}),
    ]
    with a_night(portal) as night, night.api() as api:
        found = {one.id: one.outcome for one in api.stages()}
    assert found == {
        "1": "won", "2": "lost", "3": "open", "4": "unclear", "5": "won",
        "6": "open", "7": "open", "8": "open", "9": "unclear",
    }  # fmt: skip


def test_counts_properties_and_the_clock_are_hubspots_own() -> None:
    with a_night() as night, night.api() as api:
        assert api.count("deals") == 3
        assert api.properties("deals")["closedate"] == "datetime"
        assert api.clock() == datetime(2026, 3, 2, 4, tzinfo=UTC)


def test_a_frame_is_all_text() -> None:
    things = [
        {"id": "1", "properties": {"a": 5, "b": True, "c": None}, "createdAt": "x", "archived": False},
        {"id": "2", "properties": {"a": "0.20", "d": "unasked"}},
    ]
    frame = text_frame(things, ["a", "b", "c"])
    assert frame.rows() == [
        ("1", "x", None, None, "5", "true", None),
        ("2", None, None, None, "0.20", None, None),
    ]
    assert {str(type_) for type_ in frame.dtypes} == {"String"}
    assert text_frame([], ["a"]).columns == ["id", "createdAt", "updatedAt", "archivedAt", "a"]


def test_no_secret_and_no_row_is_in_any_log_or_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    faults: list[Any] = [*PASSING, *(fault for fault, *_ in LASTING), "short", "partial", "hang"]
    told: list[str] = []
    with a_night(policy=Policy(read_seconds=0.1, tries=1, most_bytes=QUICK.most_bytes)) as night:
        for fault in faults:
            told += _broken(night, fault)
        night.token = "pat-na1-wrong-canary-5ecret"
        told += _broken(night, None)
    assert len(told) > 2 * len(faults)
    everything = "\n".join([*told, *(record.getMessage() for record in caplog.records), caplog.text])
    assert "dealname" not in everything
    for secret in (TOKEN, night.token, CANARY, CANARY_BODY, "Acme", "canary", "Bearer"):
        assert secret not in everything


def _broken(night: Night, fault: Any) -> list[str]:
    """All that is said when this goes wrong with a list, a batch and associations."""
    said = []
    with night.api() as api:
        for ask in (
            lambda: api.listed("deals", properties=NAMES),
            lambda: list(api.read("calls", ["501", "502"], properties=["hs_call_body"])),
            lambda: api.links("deals", ["101"], "calls"),
            lambda: api.owners(is_archived=False),
        ):
            night.server.faults.append(fault)
            try:
                ask()
            except (ExtractRefused, SourceDown) as error:
                said += [str(error), repr(error), "".join(traceback.format_exception(error))]
    return said


def test_cursors_of_links_that_lead_in_a_circle_end(monkeypatch: pytest.MonkeyPatch) -> None:
    cursors = itertools.cycle("ab")

    def answer(_path: str, _kind: str, _body: object) -> dict[str, object]:
        paging = {"paging": {"next": {"after": next(cursors)}}}
        return {"results": [{"from": {"id": "101"}, "to": [{"toObjectId": 7}], **paging}]}

    with a_night() as night, night.api() as api:
        monkeypatch.setattr(api, "_post", answer)
        with pytest.raises(SourceDown, match="the cursors lead in a circle"):
            api.links("deals", ["101"], "notes")
