"""A night at HubSpot through the real client: deals and their history, as they stood when it began."""

import pytest

from dealwatch.crm.hubspot.rows import Asked, deal_rows
from dealwatch.crm.pages import Past
from dealwatch.knobs import RecordMapping
from hubspot_samples import (
    CANARY_BODY,
    NIGHT,
    a_night,
    at,
    deal,
    move,
    rows,
    second_pipeline,
    small_portal,
)
from standins.hubspot_portal import Portal

STATE = ("hs_object_id", "dealstage", "stage.outcome", "stage.closed_at")


def history_of(portal: Portal, deal_id: str, field: str) -> list[tuple[str, ...]]:
    """When one field of a deal changed, from what, to what."""
    with a_night(portal) as night:
        told = night.read()["deal history"]
    return [
        row[2:]
        for row in rows(told, "deal_id", "field", "changed_at", "old_value", "new_value")
        if row[:2] == (deal_id, field)
    ]


def states(portal: Portal) -> list[tuple[str, ...]]:
    with a_night(portal) as night:
        return rows(night.read()["deals"], *STATE)


def test_deals_come_with_their_values_their_company_and_what_their_stage_means() -> None:
    with a_night() as night:
        told = night.read()["deals"]
        plan = night.plan()
    by_name = {
        name: told[source].to_list() for name, source in plan.feeding("deals")[0].mapping.columns.items()
    }
    assert by_name["deal_id"] == ["101", "102", "103"]
    assert by_name["stage"] == ["qualifiedtobuy", "closedwon", "closedlost"]
    assert by_name["outcome"] == ["open", "won", "lost"]
    assert by_name["closed_at"] == [None, "2026-02-01T10:00:00.000Z", "2026-02-03T10:00:00.000Z"]
    assert by_name["amount"] == ["7500.50", "100", None]
    assert by_name["owner_id"] == ["81", "82", None]
    assert (by_name["account"][0], by_name["industry"][0], by_name["region"][0]) == (
        "Acme",
        "MINING",
        "Chile",
    )
    assert by_name["account"][1] is None
    assert plan.covers == "all"
    assert plan.tracked == ("stage", "amount", "close_date", "owner_id", "outcome")


def test_nothing_is_asked_for_that_the_account_lacks_and_nothing_of_what_was_said() -> None:
    with a_night() as night:
        told = night.read()
        asked = [f"{request.query} {request.body}" for request in night.server.requests]
    assert night.server.desk.in_vain == []
    assert not [
        one for one in asked if any(word in one for word in ("_body", "_text", "phone", "description"))
    ]
    assert CANARY_BODY not in str(told["touches"].rows())


def test_a_history_is_told_oldest_first_with_the_value_before() -> None:
    portal = small_portal()
    move(portal, "101", "2026-02-01T08:00:00", amount="7500.50")  # set again, no change
    move(portal, "101", "2026-02-02T08:00:00", amount="")
    move(portal, "101", "2026-02-03T08:00:00", amount="9")
    assert history_of(portal, "101", "amount") == [
        ("2026-01-05T09:00:00.000Z", None, "5000"),
        ("2026-01-20T10:00:00.000Z", "5000", "7500.50"),
        ("2026-02-02T08:00:00.000Z", "7500.50", None),
        ("2026-02-03T08:00:00.000Z", None, "9"),
    ]


def test_changes_of_one_instant_keep_their_order() -> None:
    portal = small_portal()
    for stage in ("contractsent", "qualifiedtobuy", "appointmentscheduled"):
        move(portal, "103", "2026-02-20T08:00:00", dealstage=stage)
    told = history_of(portal, "103", "dealstage")[-3:]
    assert [row[1:] for row in told] == [
        ("closedlost", "contractsent"),
        ("contractsent", "qualifiedtobuy"),
        ("qualifiedtobuy", "appointmentscheduled"),
    ]


def test_dates_come_as_iso_as_milliseconds_and_as_zero_for_none() -> None:
    portal = small_portal()
    mapping = RecordMapping(columns={"contract_ends_on": "contract_ends_on"})
    move(portal, "101", "2026-02-01T08:00:00", closedate="1774828800000", contract_ends_on="1774828800000")
    move(portal, "102", "2026-02-01T08:00:00", closedate="0", contract_ends_on="2026-03-30")
    move(portal, "103", "2026-02-01T08:00:00", closedate="2026-03-30T10:00:00Z", contract_ends_on="0")
    with a_night(portal, mapping=mapping) as night:
        told = night.read()
    assert rows(told["deals"], "closedate", "contract_ends_on") == [
        ("2026-03-30T00:00:00.000Z", "2026-03-30"),
        (None, "2026-03-30"),
        ("2026-03-30T10:00:00.000Z", None),
    ]
    dates = told["deal history"].filter(field="closedate")["new_value"].to_list()
    assert "1774828800000" not in dates and "0" not in dates


def test_numbers_and_flags_stay_the_text_that_they_are() -> None:
    portal = small_portal()
    long = "0.200000000000000011102230246251565404236316680908203125"
    move(portal, "101", "2026-02-01T08:00:00", hs_deal_stage_probability=long, hs_is_closed_lost="false")
    columns = {"probability": "hs_deal_stage_probability", "is_lost": "hs_is_closed_lost"}
    with a_night(portal, mapping=RecordMapping(columns=columns)) as night:
        told = night.read()["deals"]
    assert rows(told, "hs_deal_stage_probability", "hs_is_closed_lost")[0] == (long, "false")


def test_the_same_history_is_the_same_every_night() -> None:
    portal = small_portal()
    with a_night(portal) as night:
        first = night.read()["deal history"]
        portal.now += 86_400_000
        move(portal, "101", "2026-03-02T12:00:00", amount="1")
        portal.now = NIGHT + 86_400_000
        second = night.read()["deal history"]
    assert second.height == first.height + 1
    assert first.join(second, on=first.columns, how="anti", nulls_equal=True).is_empty()


def test_rows_speak_for_the_moment_at_which_the_night_began() -> None:
    """Whatever happens while pages are read is left to the next night, whole."""
    portal = small_portal()
    with a_night(portal) as night, night.reader() as reader:
        plan = reader.plan(Past())
        before = {table.name: [page.rows for page in reader.pages(table, None)] for table in plan.tables}
        move(portal, "101", "2026-03-02T04:00:00.500", dealstage="closedwon", amount="1")
        move(portal, "102", "2026-03-02T04:10:00", dealstage="qualifiedtobuy")
        move(portal, "103", "2026-03-02T04:10:00", hubspot_owner_id="81")
        deal(portal, "104", "2026-03-02T04:05:00")
        portal.archive("deals", deal(portal, "105", "2026-01-02T00:00:00").id, at("2026-03-02T04:06:00"))
        portal.add("notes", at("2026-03-02T04:20:00"), "601", hs_timestamp="2026-03-02T04:20:00.000Z")
        portal.link("101", "notes", "601")
        portal.add("notes", at("2026-03-02T04:20:00"), "602", hs_timestamp="2026-02-01T00:00:00.000Z")
        portal.link("104", "notes", "602")
        after = {table.name: [page.rows for page in reader.pages(table, None)] for table in plan.tables}
    for name, pages in before.items():
        assert [page.rows() for page in after[name]] == [page.rows() for page in pages], name
    with a_night(portal) as night:
        portal.now = NIGHT + 86_400_000
        told = night.read()
    assert rows(told["deals"], *STATE)[0] == ("101", "closedwon", "won", "2026-03-02T04:00:00.500Z")
    assert (told["deals"].height, told["touches"].height) == (4, 3)


def test_won_and_lost_are_told_by_the_pipelines_metadata_whatever_the_names() -> None:
    portal = small_portal()
    second_pipeline(portal)
    for number, stage in enumerate(("7701", "7702", "7703")):
        deal(portal, str(110 + number), "2026-01-02T00:00:00", pipeline="77", dealstage="7701")
        move(portal, str(110 + number), "2026-01-09T00:00:00", dealstage=stage)
    assert [row[:3] for row in states(portal)[3:]] == [
        ("110", "7701", "open"),
        ("111", "7702", "won"),
        ("112", "7703", "lost"),
    ]


def test_a_stage_that_nobody_can_place_is_said_so_and_not_guessed() -> None:
    portal = small_portal()
    second_pipeline(portal)
    portal.pipelines[0].stages[1].metadata = {"isClosed": "true", "probability": "0.4"}
    move(portal, "102", "2026-02-20T00:00:00", dealstage="long_gone")
    move(portal, "103", "2026-02-20T00:00:00", dealstage=None, pipeline=None, hs_is_closed_lost="true")
    assert history_of(portal, "101", "stage.outcome") == []
    assert history_of(portal, "103", "stage.outcome") == [("2026-02-03T10:00:00.000Z", "open", "lost")]
    assert states(portal) == [
        ("101", "qualifiedtobuy", "unclear", None),
        ("102", "long_gone", "a stage of no pipeline", None),
        ("103", None, None, None),
    ]


def test_a_stage_that_two_pipelines_understand_differently_is_unclear() -> None:
    portal = small_portal()
    second_pipeline(portal)
    portal.pipelines[1].stages[0].id = "closedwon"
    portal.pipelines[1].stages[1].id = "qualifiedtobuy"
    portal.pipelines[1].stages[1].metadata = {"isClosed": "false", "probability": "0.1"}
    assert [row[:3] for row in states(portal)] == [
        ("101", "qualifiedtobuy", "open"),
        ("102", "closedwon", "unclear"),
        ("103", "closedlost", "lost"),
    ]


def test_a_deal_that_closes_opens_and_closes_again_tells_each_time() -> None:
    portal = small_portal()
    for moment, stage in (("02-05", "contractsent"), ("02-06", "closedwon"), ("02-07", "closedlost")):
        move(portal, "103", f"2026-{moment}T08:00:00", dealstage=stage)
    assert history_of(portal, "103", "stage.outcome") == [
        ("2026-02-03T10:00:00.000Z", "open", "lost"),
        ("2026-02-05T08:00:00.000Z", "lost", "open"),
        ("2026-02-06T08:00:00.000Z", "open", "won"),
        ("2026-02-07T08:00:00.000Z", "won", "lost"),
    ]
    assert states(portal)[2] == ("103", "closedlost", "lost", "2026-02-07T08:00:00.000Z")


@pytest.mark.parametrize(
    ("created", "planned", "closed"),
    [
        ("2024-05-01T00:00:00.000Z", "2025-06-01T00:00:00.000Z", "2025-06-01T00:00:00.000Z"),
        ("2024-05-01T00:00:00.000Z", "1748736000000", "2025-06-01T00:00:00.000Z"),
        ("2024-05-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z", "2026-01-10T00:00:00.000Z"),
        ("2026-01-10T00:00:00.000Z", "2025-06-01T00:00:00.000Z", "2026-01-10T00:00:00.000Z"),
        ("2024-05-01T00:00:00.000Z", None, "2026-01-10T00:00:00.000Z"),
    ],
)
def test_a_deal_that_came_closed_was_closed_on_its_close_date(
    created: str, planned: str | None, closed: str
) -> None:
    """As an import brings them; where the date cannot be, on the day it came."""
    portal = small_portal()
    deal(portal, "120", "2026-01-10T00:00:00", dealstage="closedwon", createdate=created, closedate=planned)
    assert states(portal)[-1] == ("120", "closedwon", "won", closed)
    assert history_of(portal, "120", "stage.outcome") == [(closed, "open", "won")]


def test_a_first_stage_stamped_just_before_the_creation_belongs_to_it() -> None:
    portal = small_portal()
    record = deal(portal, "120", "2026-01-10T00:00:00.013", dealstage="closedlost")
    record.history["dealstage"] = [(at("2026-01-10T00:00:00"), "closedlost", "API")]
    assert states(portal)[-1] == ("120", "closedlost", "lost", "2026-01-10T00:00:00.013Z")


def test_a_deal_without_a_creation_date_began_when_hubspot_made_it() -> None:
    portal = small_portal()
    deal(portal, "120", "2026-01-10T00:00:00", createdate="0")
    with a_night(portal) as night:
        assert night.read()["deals"]["createdate"][-1] == "2026-01-10T00:00:00.000Z"


def test_archived_deals_are_told_as_gone_and_restored_ones_as_deals() -> None:
    portal = small_portal()
    portal.archive("deals", "102", at("2026-02-10"))
    portal.archive("deals", "103", at("2026-02-10"))
    portal.restore("deals", "103")
    with a_night(portal) as night:
        told = night.read()
        portal.purge("deals", "102")
        later = night.read()
    assert told["archived deals"].rows() == [("102",)]
    assert told["deals"]["hs_object_id"].to_list() == ["101", "103"]
    assert later["archived deals"].is_empty()


def test_of_merged_deals_only_the_third_is_there_with_both_histories() -> None:
    portal = small_portal()
    new = portal.merge("101", "102", at("2026-02-10T00:00:00"))
    with a_night(portal) as night:
        told = night.read()
    assert told["deals"]["hs_object_id"].to_list() == ["103", new.id]
    outcomes = told["deal history"].filter(deal_id=new.id, field="stage.outcome")
    assert rows(outcomes, "old_value", "new_value") == [("open", "won"), ("won", "open")]


def test_a_deal_whose_creation_nobody_tells_is_not_left_out() -> None:
    asked = Asked(("hs_object_id", "amount"), (), (), (), {}, "2026-03-02T04:00:00.000Z")
    things = [{"id": "1", "properties": {"amount": "5"}}, {"id": "2", "properties": {}, "createdAt": "soon"}]
    deals, history = deal_rows(things, {}, asked)
    assert deals.rows() == [("1", "5"), ("2", None)]
    assert history.is_empty()
