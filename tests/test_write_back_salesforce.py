"""Salesforce as it is written to: fields are checked first, each record is by itself, nothing is lost."""

import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from dealwatch.crm.writers import WRITERS
from dealwatch.crm.writing import Row, Target, cut
from dealwatch.errors import ExtractRefused, SettingsError, SourceDown
from dealwatch.settings import Settings
from dealwatch.sources import Access
from standins.salesforce import CLIENT_ID, CLIENT_SECRET
from standins.salesforce_org import Field
from write_back_samples import BANDS, OURS, Desk, in_fields, judge_all, open_ids, salesforce_desk

DATA = "/services/data/v64.0/composite/sobjects"


@pytest.fixture
def desk(engine: Engine, settings: Settings) -> Iterator[Desk]:
    with salesforce_desk(engine, settings) as desk:
        judge_all(desk)
        yield desk


@pytest.mark.parametrize(
    "fault",
    [
        "drop",
        "lost",
        "expire",
        "html",
        "gzip",
        "cut",
        "short",
        "swapped",
        (503, 0),
        (429, 1),
        (406, 0),
        (420, 0),
    ],
    ids=str,
)
def test_whatever_passes_is_sent_again_until_it_is_heard(desk: Desk, fault: Any) -> None:
    desk.server.order("update", fault)
    assert desk.run() == {"deals": 6, "written": 6}
    assert {state for state, _ in desk.remembered().values()} == {"written"}
    assert in_fields(desk.server, open_ids(desk.server.org)[0])[0] == 60.0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("limit", SourceDown, "403 REQUEST_LIMIT_EXCEEDED; to be tried again later. 0 deals were written, 6"),
        ((503, 7200), SourceDown, "asks to wait 2:00:00. 0 deals were written, 6 are left"),
        (("words", 400, "JSON_PARSER_ERROR"), ExtractRefused, "PATCH /services.* 400 JSON_PARSER_ERROR"),
        ((302, 0), ExtractRefused, "302, a redirect"),
    ],
    ids=str,
)
def test_what_does_not_pass_stops_the_run_and_remembers_nothing(
    desk: Desk, fault: Any, error: type[Exception], words: str
) -> None:
    desk.server.order("update", fault)
    with pytest.raises(error, match=words) as told:
        desk.run()
    assert "40 days" not in str(told.value) and "canary" not in str(told.value)
    assert desk.remembered() == {} and desk.server.updates == []
    assert desk.run() == {"deals": 6, "written": 6}


def test_the_session_may_end_between_two_batches(desk: Desk) -> None:
    desk.most = 2
    desk.server.order("update", None, "expire")
    assert desk.run() == {"deals": 6, "written": 6}
    assert len(desk.server.batches) == 3 and desk.server.calls.count("token") == 2


def test_whatever_fails_by_chance_all_is_written_in_the_end_and_nothing_is_told(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    desk.most, desk.server.chance, desk.server.rate = 2, random.Random(11), 0.5
    said = [repr(desk.settings)]
    for _ in range(60):
        try:
            if desk.run() == {"deals": 6, "unchanged": 6}:
                break
        except (ExtractRefused, SourceDown) as error:
            chain: BaseException | None = error
            while chain is not None:
                said.append(repr(chain) + repr(chain.__dict__))
                chain = chain.__cause__ or chain.__context__
    ids = open_ids(desk.server.org)
    assert [in_fields(desk.server, id_)[0] for id_ in ids] == [60.0 - n for n in range(6)]
    assert {state for state, _ in desk.remembered().values()} == {"written"}
    told = "\n".join([caplog.text, *said])
    assert "follows in" in told, "nothing failed"
    for secret in (CLIENT_SECRET, "Bearer", "canary", "40 days", "Deal 0", *ids):
        assert secret not in told


def changed(field: str, /, **more: Any) -> list[Field]:
    return [replace(one, **more) if one.name == field else one for one in OURS]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (changed("Risk__c", name="Other__c"), "score = 'Risk__c' is no field of Opportunity"),
        (changed("Risk__c", type="string"), "score = 'Risk__c' is of type string; it has to be a number"),
        (changed("Risk__c", precision=4, scale=2), "score = 'Risk__c' has 2 digits; a score needs 3"),
        (changed("Risk__c", is_formula=True), "score = 'Risk__c' is a formula"),
        (changed("Band__c", values=("low", "high")), "Band__c' lacks the values Medium, Critical"),
        (changed("Band__c", values=BANDS[:3], inactive=BANDS[3:]), "lacks the values Critical"),
        (changed("Band__c", type="string", length=6), "band = 'Band__c' holds 6 characters; make it 8"),
        (
            changed("Band__c", type="multipicklist"),
            "of type multipicklist; .* a text or a picklist",
        ),
        (changed("Why__c", length=20), "reason = 'Why__c' holds 20 characters; make it 40"),
        (changed("Why__c", type="textarea", is_rich=True), "of type textarea; .* without formatting"),
        (changed("Risk_On__c", type="datetime"), "as_of = 'Risk_On__c' is of type datetime.* a date"),
    ],
)
def test_a_field_that_does_not_fit_is_named_before_anything_is_written(
    desk: Desk, fields: list[Field], words: str
) -> None:
    desk.server.org.extra["Opportunity"] = fields
    with pytest.raises(SettingsError, match=words):
        desk.run()
    assert "update" not in desk.server.calls


def test_what_our_user_may_not_write_is_named(desk: Desk) -> None:
    desk.server.org.fixed.add("Risk__c")
    with pytest.raises(SettingsError, match="score = 'Risk__c' may not be edited by our user"):
        desk.run()
    desk.server.may_edit = False
    with pytest.raises(SettingsError, match="our user may not edit Opportunity; let it by a permission set"):
        desk.run()


def test_other_forms_of_fields_do_as_well(desk: Desk) -> None:
    form = {"Risk__c": {"type": "int"}, "Band__c": {"type": "string", "length": 8, "values": ()}}
    desk.server.org.extra["Opportunity"] = [replace(one, **form.get(one.name, {})) for one in OURS]
    desk.run()
    assert in_fields(desk.server, open_ids(desk.server.org)[0])[:2] == (60, "High")


def test_a_reason_is_cut_to_its_field(desk: Desk) -> None:
    told = Target("Why__c", "text", 60).shown("x" * 70)
    assert told == "x" * 59 + "…" and cut("x" * 60, 60) == "x" * 60
    assert cut("ab 😀😀", 5) == "ab…", "a sign of two units is not halved, no blank before the ellipsis"
    assert cut("abcde\u0301f", 6) == "abcd…", "a letter keeps its accent or goes with it"


def test_a_connection_of_its_own_may_write_while_the_other_only_reads(desk: Desk) -> None:
    told = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET}
    access = Access.model_validate({"host": desk.server.url, "extra": told})
    desk.but(connection="crm_writer", access=access)
    writer = WRITERS["salesforce"]("crm", desk.settings)
    with writer:
        targets = writer.targets({"score": "risk__C"}, ("Low",))
        id_ = open_ids(desk.server.org)[0]
        assert writer.write([Row(id_, {targets["score"].name: 5})])[0].state == "written"
    desk.but(access=None)
    with pytest.raises(SettingsError, match="has no connection crm_writer"):
        WRITERS["salesforce"]("crm", desk.settings)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"allOrNone": True}, "INVALID_FIELD"),
        ({"records": []}, "EXCEEDED_MAX_SIZE_REQUEST"),
        ({"records": [{"attributes": {"type": "Opportunity"}, "id": "006000000000001AAA"}] * 201},
         "EXCEEDED_MAX_SIZE_REQUEST"),
        ({"records": [{"id": "006000000000001AAA"}]}, "INVALID_INPUT"),
        ({"records": [{"attributes": {"type": "Opportunity"}, "id": "1", "Nope__c": 1}]}, "INVALID_FIELD"),
        ({"records": [{"attributes": {"type": "Opportunity"}, "id": "1", "Risk__c": "5"}]},
         "JSON_PARSER_ERROR"),
    ],
)  # fmt: skip
def test_the_stand_in_is_strict(desk: Desk, change: dict[str, Any], code: str) -> None:
    desk.server.tokens.add("t")
    body = {"allOrNone": False, "records": [], **change}
    answer = httpx.patch(desk.server.url + DATA, json=body, headers={"Authorization": "Bearer t"})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"id": "short"}, "MALFORMED_ID"),
        ({"id": "006999999999999AAA"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"Why__c": "x" * 61}, "STRING_TOO_LONG"),
        ({"Band__c": "huge"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ({"Risk__c": 1000}, "NUMBER_OUTSIDE_VALID_RANGE"),
        ({"CreatedDate": "2026-01-01"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
    ],
)
def test_the_stand_in_refuses_records_one_by_one(desk: Desk, record: dict[str, Any], code: str) -> None:
    desk.server.tokens.add("t")
    good = {"attributes": {"type": "Opportunity"}, "id": open_ids(desk.server.org)[0], "Risk__c": 7}
    bad = {**good, "id": open_ids(desk.server.org)[1], **record}
    body = {"allOrNone": False, "records": [bad, good]}
    answer = httpx.patch(desk.server.url + DATA, json=body, headers={"Authorization": "Bearer t"})
    first, second = answer.json()
    assert (first["success"], first["errors"][0]["statusCode"], second["success"]) == (False, code, True)
