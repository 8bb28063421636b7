"""A night at HubSpot through the real client: owners, companies, touches, and what is asked for."""

from datetime import timedelta

import pytest

from dealwatch.crm.pages import Past
from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.knobs import RecordMapping
from hubspot_samples import (
    NIGHT,
    a_night,
    at,
    deal,
    move,
    small_portal,
)
from standins.hubspot_portal import Owner, Portal


def test_owners_are_all_told_those_who_left_as_inactive() -> None:
    portal = small_portal()
    portal.owners += [Owner(str(1000 + n), "", "", "") for n in range(700)]
    portal.owners += [Owner(str(5000 + n), is_archived=True, first_name="Left") for n in range(600)]
    with a_night(portal) as night:
        told = night.read()["owners"]
        limits = {request.query["limit"] for request in night.server.asked("owners")}
    assert (told.height, told["owner_id"].n_unique()) == (1302, 1302)
    assert told.filter(active="false").height == 601
    assert told.row(0) == ("81", "Ann Archer", "ann@example.com", "true")
    assert told.row(1) == ("1000", None, None, "true")
    assert limits == {"500"}


def test_the_primary_company_counts_else_the_one_with_the_lowest_id() -> None:
    portal = small_portal()
    for id_, name in (("800", "Eighth"), ("1000", "Tenth")):
        portal.add("companies", NIGHT, id_, name=name)
        portal.link("101", "companies", id_)
        portal.link("102", "companies", id_)
    portal.add("companies", NIGHT, "700", name="Gone")
    portal.link("103", "companies", "700", is_primary=True)
    portal.archive("companies", "700", NIGHT)
    with a_night(portal) as night:
        assert night.read()["deals"]["company.name"].to_list() == ["Acme", "Eighth", None]


def test_touches_have_a_time_a_kind_and_a_way() -> None:
    portal = small_portal()
    moments = (f"2026-02-{day:02}T08:00:00.000Z" for day in range(1, 28))
    told: list[tuple[str, dict[str, str | None]]] = [
        ("calls", {"hs_timestamp": next(moments), "hs_call_direction": "OUTBOUND"}),
        ("calls", {"hs_timestamp": next(moments), "hs_call_direction": None}),
        ("emails", {"hs_timestamp": next(moments), "hs_email_direction": "INCOMING_EMAIL"}),
        ("emails", {"hs_timestamp": next(moments), "hs_email_direction": "EMAIL"}),
        ("emails", {"hs_timestamp": "1770624000000", "hs_email_direction": "FORWARDED_EMAIL"}),
        ("meetings", {"hs_timestamp": next(moments), "hs_meeting_start_time": "2026-02-20T08:00:00Z"}),
        ("meetings", {"hs_timestamp": next(moments)}),
        ("notes", {"hs_timestamp": next(moments)}),
        ("tasks", {"hs_task_completion_date": next(moments), "hs_task_status": "COMPLETED"}),
        # What did not happen, or not yet.
        ("tasks", {"hs_timestamp": next(moments), "hs_task_status": "NOT_STARTED"}),
        ("tasks", {"hs_task_completion_date": next(moments), "hs_task_status": "IN_PROGRESS"}),
        ("meetings", {"hs_timestamp": next(moments), "hs_meeting_outcome": "CANCELED"}),
        ("meetings", {"hs_timestamp": "2026-03-09T08:00:00.000Z"}),
        ("notes", {"hs_timestamp": "0"}),
        ("notes", {"hs_timestamp": None}),
    ]
    for kind, values in told:
        touch = portal.add(kind, at("2026-02-01"), None, **values)
        portal.link("103", kind, touch.id)
        portal.link("102", kind, touch.id)
    with a_night(portal) as night:
        found = night.read()["touches"]
    own = [row[1:] for row in found.filter(deal_id="103").rows()]
    assert own == [
        ("2026-02-01T08:00:00.000Z", "call", "out"),
        ("2026-02-02T08:00:00.000Z", "call", None),
        ("2026-02-03T08:00:00.000Z", "email", "in"),
        ("2026-02-04T08:00:00.000Z", "email", "out"),
        ("2026-02-09T08:00:00.000Z", "email", "out"),
        ("2026-02-20T08:00:00.000Z", "meeting", None),
        ("2026-02-06T08:00:00.000Z", "meeting", None),
        ("2026-02-07T08:00:00.000Z", "note", None),
        ("2026-02-08T08:00:00.000Z", "task", None),
    ]
    assert found.filter(deal_id="102").height == 9


def test_touches_are_asked_for_of_open_deals_and_of_those_that_changed_since() -> None:
    portal = small_portal()
    for number, deal_id in enumerate(("101", "102", "103")):
        portal.add("notes", at("2026-01-08"), str(600 + number), hs_timestamp="2026-01-08T00:00:00.000Z")
        portal.link(deal_id, "notes", str(600 + number))
    with a_night(portal) as night:
        first = night.read()
        last = night.plan()
        portal.now = NIGHT + 86_400_000
        portal.add("notes", at("2026-03-02T09:00:00"), "700", hs_timestamp="2026-03-02T09:00:00.000Z")
        portal.link("103", "notes", "700")
        portal.now = NIGHT + 86_400_000
        second = night.read(Past(last=last))
    assert sorted(first["touches"]["deal_id"]) == ["101", "101", "102", "103"]
    assert sorted(second["touches"]["deal_id"]) == ["101", "101", "103", "103"]


def test_a_kind_of_touch_that_was_never_read_is_read_of_all_deals() -> None:
    portal = small_portal()
    portal.add("notes", at("2026-01-08"), "600", hs_timestamp="2026-01-08T00:00:00.000Z")
    portal.link("103", "notes", "600")
    with a_night(portal, touches=("calls",)) as night:
        last = night.plan()
        portal.now = NIGHT + 86_400_000
        night.touches = ("calls", "notes")
        assert "103" in night.read(Past(last=last))["touches"]["deal_id"].to_list()


def test_a_kind_of_touch_that_is_not_wanted_is_not_asked_for() -> None:
    with a_night(touches=("calls",)) as night:
        night.server.desk.scopes -= {"sales-email-read", "crm.objects.notes.read"}
        assert night.read()["touches"].height == 1
    with a_night(touches=()) as night:
        assert "touches" not in night.read()


@pytest.mark.parametrize("missing", [30, 500])
def test_a_list_that_breaks_off_is_no_list(missing: int) -> None:
    portal = Portal()
    for number in range(600):
        deal(portal, str(number + 1), "2026-01-01T00:00:00")
    portal.now = NIGHT
    with a_night(portal) as night, night.reader() as reader:
        plan = reader.plan(Past())
        for number in range(missing):
            portal.purge("deals", str(600 - number))
        pages = reader.pages(plan.feeding("deals")[0], None)
        with pytest.raises(SourceDown, match="deals of about 600; the list broke off"):
            list(pages)


def test_a_few_deals_that_went_meanwhile_or_are_not_indexed_yet_are_no_break() -> None:
    with a_night() as night, night.reader() as reader:
        plan = reader.plan(Past())
        night.portal.purge("deals", "103")
        assert sum(page.rows.height for page in reader.pages(plan.feeding("deals")[0], None)) == 2


@pytest.mark.parametrize("leaves_out_nulls", [False, True])
def test_a_value_left_out_is_a_value_that_is_null(leaves_out_nulls: bool) -> None:
    with a_night() as night:
        plain = night.read()
        night.server.desk.habits.leaves_out_nulls = leaves_out_nulls
        night.server.desk.habits.numeric_links = leaves_out_nulls
        again = night.read()
    assert {name: frame.rows() for name, frame in again.items()} == {
        name: frame.rows() for name, frame in plain.items()
    }


def test_the_mapping_says_which_properties_are_read() -> None:
    portal = small_portal()
    portal.defined["deals"]["real_amount"] = ("number", "Real amount")
    move(portal, "101", "2026-02-01T00:00:00", real_amount="3", description="never read")
    mapping = RecordMapping(
        columns={"amount": "real_amount", "region": "company.state"}, ignore=("dealtype", "lead_source")
    )
    with a_night(portal, mapping=mapping) as night:
        told = night.read()
        plan = night.plan()
    assert {"real_amount", "company.state"} < {*told["deals"].columns}
    assert not {"amount", "company.country", "dealtype", "hs_analytics_source"} & {*told["deals"].columns}
    assert "real_amount" in told["deal history"]["field"].to_list()
    assert "amount" not in told["deal history"]["field"].to_list()
    assert plan.tracked == ("stage", "amount", "close_date", "owner_id", "outcome")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"amount": "nobody_has_it"}, "has no property 'nobody_has_it', or the key may not see it"),
        ({"region": "company.galaxy"}, "has no property 'company.galaxy'"),
        ({"stage": "amount"}, "HubSpot tells stage itself"),
        ({"outcome": "hs_is_closed_lost"}, "HubSpot tells outcome itself"),
    ],
)
def test_a_mapping_that_cannot_be_followed_stops_the_night_before_it_begins(
    columns: dict[str, str], words: str
) -> None:
    with a_night(mapping=RecordMapping(columns=columns)) as night:
        with pytest.raises(ExtractRefused, match=words):
            night.plan()
        assert night.server.asked("objects", "deals", "search") == []


def test_a_usual_property_that_the_account_lacks_stays_empty() -> None:
    portal = small_portal()
    for name in ("deal_currency_code", "notes_next_activity_date"):
        del portal.defined["deals"][name]
    with a_night(portal) as night:
        told = night.read()
        assert night.server.desk.in_vain == []
    assert "deal_currency_code" not in told["deals"].columns


@pytest.mark.parametrize("name", ["dealstage", "createdate", "closedate"])
def test_what_has_to_be_there_is_missed(name: str) -> None:
    portal = small_portal()
    del portal.defined["deals"][name]
    with (
        a_night(portal, mapping=RecordMapping(ignore=("close_date",))) as night,
        pytest.raises(ExtractRefused),
    ):
        night.plan()


def test_an_account_without_deals_tells_none() -> None:
    portal = Portal()
    portal.now = NIGHT
    with a_night(portal) as night:
        told = night.read()
    assert {name: frame.height for name, frame in told.items()} == dict.fromkeys(told, 0)


def test_the_overlap_is_a_setting() -> None:
    with a_night() as night, night.reader() as reader:
        last = reader.plan(Past())
        assert '"since": "2026-03-01T04:00:00.000Z"' in reader.plan(Past(last=last)).tables[-1].request
        reader._overlap = timedelta(days=3)
        assert '"since": "2026-02-27T04:00:00.000Z"' in reader.plan(Past(last=last)).tables[-1].request
