"""A night at HubSpot that is broken off anywhere, and gone on with by another process."""

import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from dealwatch.crm.contract import Object
from dealwatch.crm.pages import Past, PlaceLost, Plan, check_page
from dealwatch.errors import ExtractRefused, SourceDown
from hubspot_samples import CANARY, CANARY_BODY, NIGHT, Night, a_night, at, deal, move, small_portal, whole
from standins.hubspot import PASSING, TOKEN
from standins.hubspot_portal import Owner, Portal


def large_portal(deals: int = 700) -> Portal:
    """More of everything than a page holds."""
    portal = small_portal()
    portal.owners += [Owner(str(1000 + n), is_archived=n % 2 == 0) for n in range(1100)]
    for number in range(deals):
        id_ = str(10_000 + number)
        deal(portal, id_, "2026-01-10T00:00:00", amount=str(number))
        if number % 3 == 0:
            move(portal, id_, "2026-02-01T00:00:00", dealstage="closedlost")
        if number % 10 == 0:
            portal.add(
                "notes", at("2026-02-02"), str(70_000 + number), hs_timestamp="2026-02-02T00:00:00.000Z"
            )
            portal.link(id_, "notes", str(70_000 + number))
        if number % 5 == 4:
            portal.archive("deals", id_, at("2026-02-03"))
    portal.now = NIGHT
    return portal


def in_pieces(night: Night, plan: Plan) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each table's rows, every single page asked for by a reader of its own that has only the place."""
    for table in plan.tables:
        parts: list[pl.DataFrame] = []
        place: str | None = None
        while True:
            with night.reader() as reader:
                page = next(iter(reader.pages(table, place)))
            parts.append(check_page(page, table))
            if (place := page.place) is None:
                break
        yield table.name, pl.concat(parts)


def test_every_table_can_be_gone_on_with_after_every_page() -> None:
    with a_night(large_portal()) as night:
        plan = night.plan()
        with night.reader() as reader:
            one_go = dict(whole(reader, plan))
            pages = {table.name: len(list(reader.pages(table, None))) for table in plan.tables}
        pieces = dict(in_pieces(night, plan))
    assert pages == {"owners": 4, "deals": 12, "deal history": 12, "archived deals": 2, "touches": 2}
    for name, frame in one_go.items():
        assert pieces[name].rows() == frame.rows(), name
    assert one_go["deals"]["hs_object_id"].n_unique() == one_go["deals"].height == 3 + 560


def test_the_history_that_came_with_the_deals_is_not_asked_for_twice() -> None:
    with a_night(large_portal()) as night, night.reader() as reader:
        plan = reader.plan(Past())
        deals, history = plan.feeding("deals")[0], plan.feeding("deal_history")[0]
        list(reader.pages(deals, None))
        before = len(night.server.requests)
        kept = [page.rows.rows() for page in reader.pages(history, None)]
        assert len(night.server.requests) == before
        asked = [page.rows.rows() for page in reader.pages(history, None)]
    assert len(night.server.requests) > before
    assert kept == asked


def test_a_process_that_goes_on_asks_again_only_for_the_history_that_it_did_not_see() -> None:
    with a_night(large_portal()) as night:
        plan = night.plan()
        deals, history = plan.feeding("deals")[0], plan.feeding("deal_history")[0]
        with night.reader() as reader:
            before = reader.pages(deals, None)
            place = [next(before).place for _ in range(4)][-1]
            whole_history = [page.rows.rows() for page in reader.pages(history, None)]
        with night.reader() as reader:
            list(reader.pages(deals, place))
            night.server.requests.clear()
            assert [page.rows.rows() for page in reader.pages(history, None)] == whole_history
    assert len(night.server.requests) == 4


def test_a_cursor_that_leads_nowhere_loses_the_place_and_only_that() -> None:
    with a_night(large_portal()) as night, night.reader() as reader:
        plan = reader.plan(Past())
        for table in plan.tables:
            with pytest.raises(PlaceLost):
                list(reader.pages(table, json.dumps({"after": "gone", "seen": 5})))
        pages = reader.pages(plan.feeding("deals")[0], None)
        next(pages)
        night.server.faults.append(400)
        with pytest.raises(ExtractRefused, match="400 INTERNAL_ERROR"):
            next(pages)


@pytest.mark.parametrize("object_", ["deals", "deal_history"])
def test_cursors_in_a_circle_are_no_list(object_: Object) -> None:
    with a_night(large_portal()) as night, night.reader() as reader:
        table = reader.plan(Past()).feeding(object_)[0]
        pages = reader.pages(table, None)
        first, second = next(pages), next(pages)
        assert first.place and second.place
        turn = {"after": json.loads(first.place)["after"]}
        night.server.faults.append(("next", turn))
        with pytest.raises(SourceDown, match="lead in a circle"):
            list(pages)


@pytest.mark.parametrize("seed", range(4))
def test_a_night_of_faults_at_random_tells_the_same(seed: int) -> None:
    portal = large_portal(300)
    with a_night(portal) as night:
        clean = night.read()
        night.server.break_by_chance(0.4, seed)
        broken = night.read()
        given = {*map(str, night.server.given)}
    assert {name: frame.rows() for name, frame in broken.items()} == {
        name: frame.rows() for name, frame in clean.items()
    }
    assert len(given) >= 4
    assert night.server.desk.in_vain == []


@pytest.mark.parametrize("fault", PASSING)
def test_each_fault_at_each_request_of_a_night_is_got_over(fault: Any) -> None:
    with a_night() as night:
        clean = night.read()
        requests = len(night.server.requests)
        night.server.faults.extend([fault, None] * requests)
        broken = night.read()
    assert {name: frame.rows() for name, frame in broken.items()} == {
        name: frame.rows() for name, frame in clean.items()
    }
    assert len(night.server.given) == requests


@pytest.mark.parametrize("fault", ["unauthorised", ("limit", "DAILY", {}), "missing_results", "huge", 400])
def test_no_fault_in_the_middle_makes_a_short_table(fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever request it hits, the night ends with an error that says no secret and no row."""
    caplog.set_level(logging.DEBUG)
    with a_night() as night:
        night.read()
        requests = len(night.server.requests)
        said: list[str] = []
        # The first request asks for nothing but the clock.
        for number in range(int(fault == "missing_results"), requests):
            night.server.faults.extend([None] * number + [fault])
            try:
                night.read()
            except (ExtractRefused, SourceDown) as error:
                said += [str(error), repr(error), "".join(traceback.format_exception(error))]
            except ValueError as error:
                raise AssertionError from error
            else:
                raise AssertionError(f"request {number} failed, and nobody noticed")
            finally:
                night.server.faults.clear()
    everything = "\n".join([*said, caplog.text, *(record.getMessage() for record in caplog.records)])
    assert len(said) >= 3 * (requests - 1)
    for secret in (TOKEN, CANARY, CANARY_BODY, "Acme", "7500.50", "ann@example.com", "Archer", "Bearer"):
        assert secret not in everything


def test_a_reader_forgets_what_would_be_too_much_and_asks_for_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dealwatch.crm.hubspot.kept.MOST_BYTES", 8_000)
    with a_night(large_portal(300)) as night, night.reader() as reader:
        plan = reader.plan(Past())
        deals, history = plan.feeding("deals")[0], plan.feeding("deal_history")[0]
        list(reader.pages(deals, None))
        night.server.requests.clear()
        told = [page.rows.rows() for page in reader.pages(history, None)]
        again = len(night.server.requests)
        assert [page.rows.rows() for page in reader.pages(history, None)] == told
    assert 0 < again < len(told)


def test_a_plan_can_be_followed_by_another_reader_after_the_stages_changed() -> None:
    with a_night() as night:
        plan = night.plan()
        with night.reader() as reader:
            before = dict(whole(reader, plan))
        night.portal.pipelines[0].stages.clear()
        night.portal.now += 3_600_000
        with night.reader() as reader:
            after = dict(whole(reader, plan))
    assert after["deals"].rows() == before["deals"].rows()
