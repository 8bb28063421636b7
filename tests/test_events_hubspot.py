"""HubSpot's events: each is a reason to read a deal again, and the ledger stays what the account holds."""

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from dealwatch import migrations
from dealwatch.alerts import intraday
from dealwatch.alerts.intraday import take_events
from dealwatch.crm.events import Event
from dealwatch.crm.pages import Page, Past, PlaceLost, Plan, Table
from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.history import named
from dealwatch.history.extract import extract
from dealwatch.history.freshness import caveats, incident, newest_extracts
from dealwatch.history.gather import asked_digest, past_of
from dealwatch.history.waiting import keep_events
from dealwatch.knobs import Delivery
from dealwatch.settings import Settings
from dealwatch.sources import HubSpot as Source
from dealwatch.tables import (
    activities,
    crm_events,
    deal_changes,
    deals,
    event_scores,
    extract_gates,
    extract_pages,
    extract_runs,
    extract_tables,
    metadata,
    quarantine,
    raw_records,
)
from dealwatch.warehouse import connect, reading, writing
from hubspot_samples import NIGHT, at, deal, move, small_portal
from standins.hubspot import TOKEN, HubSpot
from standins.hubspot_portal import Owner, Portal
from test_hubspot_ledger import DAY, assert_is_the_truth, at_once, moment, night, source

NOON = at("2026-03-02T12:00:00")
MINUTE = 60_000


@pytest.fixture
def portal() -> Portal:
    portal = small_portal()
    portal.owners.append(Owner("83", "Cy", "", "cy@example.com"))
    for n in range(30):
        deal(portal, str(1000 + n), "2026-01-10T00:00:00", amount=str(n))
    portal.now = NIGHT
    return portal


@pytest.fixture
def hub(portal: Portal, settings: Settings) -> Iterator[tuple[HubSpot, Settings]]:
    with source(portal, settings) as (server, own):
        yield server, told_at_once(own)


def told_at_once(settings: Settings) -> Settings:
    crm = settings.sources["crm"]
    assert isinstance(crm, Source)
    on = Source.model_validate(crm.model_dump() | {"events": {"client_secret": "s"}})
    address = Delivery(public_url="https://crm.example.com")
    return settings.model_copy(update={"sources": {"crm": on}, "delivery": address})


def tell(engine: Engine, *deal_ids: str, now: int = NOON, names: str = "") -> None:
    told = [Event(f"{names}{n} {id_} {now}", id_, "stage") for n, id_ in enumerate(deal_ids)]
    with writing(engine) as connection:
        keep_events(connection, "crm", told, now=moment(now))


def take(
    engine: Engine, settings: Settings, portal: Portal, ms: int, opener: Any = at_once
) -> dict[str, int]:
    portal.now = ms
    return take_events(engine, settings=settings, now=moment(ms), readers={"hubspot": opener})


def rows(engine: Engine, table: Any, *columns: Any) -> list[Any]:
    with reading(engine) as connection:
        return sorted(map(tuple, connection.execute(select(*(columns or (table,))))), key=str)


def states(engine: Engine) -> dict[str, int]:
    c = crm_events.c
    with reading(engine) as connection:
        return {state: n for state, n in connection.execute(select(c.state, func.count()).group_by(c.state))}


def test_an_event_brings_its_deal_into_the_ledger_and_no_other(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    move(portal, "101", "2026-03-02T11:00:00", dealstage="contractsent", amount="9000")
    move(portal, "1000", "2026-03-02T11:30:00", dealstage="qualifiedtobuy")
    tell(engine, "101")
    assert take(engine, settings, portal, NOON) == {"read": 1, "changes": 2, "scored": 1, "waits": 0}
    stage = dict(rows(engine, deals, deals.c.deal_id, deals.c.stage))
    assert stage["101"] == "contractsent" and stage["1000"] == "appointmentscheduled"
    c = deal_changes.c
    (known,) = [
        row
        for row in rows(engine, c, c.deal_id, c.field, c.new_value, c.happened_at, c.known_at)
        if row[:3] == ("101", "stage", "contractsent")
    ]
    assert known[3] == known[4] == moment(at("2026-03-02T11:00:00"))
    assert not rows(engine, deals, deals.c.deal_id) == [] and states(engine) == {"scored": 1}
    night(engine, settings, portal, NIGHT + DAY)
    assert_is_the_truth(engine, portal, NIGHT + DAY)


def test_the_ledger_ends_as_it_would_without_the_event(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings], tmp_path: Any
) -> None:
    """Of what has a history. The same nights without events lie in a second warehouse."""
    _, settings = hub
    other = connect(settings.model_copy(update={"home": tmp_path / "other"}))
    migrations.upgrade(other)
    for one in (engine, other):
        night(one, settings, portal, NIGHT)
    move(portal, "101", "2026-03-02T11:00:00", dealstage="contractsent")
    move(portal, "1001", "2026-03-02T11:10:00", dealstage="closedwon")
    move(portal, "1002", "2026-03-02T11:15:00", dealstage="contractsent")  # which no event names
    small = portal.add("companies", NIGHT, "100", name="A side", industry="X", country="Y")
    portal.link("101", "companies", small.id)  # a lower id than the primary company's
    deal(portal, "5000", "2026-03-02T11:20:00", amount="5", hubspot_owner_id="83")
    portal.add("notes", NOON - MINUTE, "777", hs_timestamp="2026-03-02T11:59:00.000Z")
    portal.link("101", "notes", "777")
    tell(engine, "101", "1001", "5000", "101")
    take(engine, settings, portal, NOON)
    move(portal, "101", "2026-03-02T15:00:00", dealstage="qualifiedtobuy", hubspot_owner_id="83")
    for one in (engine, other):
        night(one, settings, portal, NIGHT + DAY)
    c = deal_changes.c
    tracked = (c.change_id, c.deal_id, c.field, c.old_value, c.new_value, c.happened_at, c.known_at, c.seq)
    for table, columns in (
        (deal_changes, tracked),
        (deals, ()),
        (activities, ()),
        (quarantine, ()),
    ):
        mine, theirs = ({*map(str, rows(one, table, *columns))} for one in (engine, other))
        assert mine == theirs, table.name
    other.dispose()


def test_ten_thousand_events_of_three_hundred_deals_are_one_read(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    server, settings = hub
    ids = [str(20_000 + n) for n in range(300)]
    for id_ in ids:
        deal(portal, id_, "2026-01-10T00:00:00", amount="1")
    night(engine, settings, portal, NIGHT)
    tell(engine, *(ids[n % 300] for n in range(10_000)))
    before = len(server.requests)
    told = take(engine, settings, portal, NOON)
    assert told["read"] == told["scored"] == 300 and states(engine) == {"scored": 10_000}
    assert len(server.requests) - before < 60
    tell(engine, *(ids[n % 300] for n in range(10_000)))  # every one of them again
    before = len(server.requests)
    assert take(engine, settings, portal, NOON + MINUTE)["read"] == 0
    assert len(server.requests) == before, "nothing is asked when nothing waits"


def test_a_forged_or_unknown_deal_is_a_question_and_no_more(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    before = {table.name: rows(engine, table) for table in (deals, deal_changes, activities, quarantine)}
    for n, forged in enumerate((["424242", "9223372036854775807"], ["424242", "102"])):
        tell(engine, *forged, now=NOON + n * MINUTE)
        told = take(engine, settings, portal, NOON + n * MINUTE)
        assert told == {"read": 2, "changes": 0, "scored": 0, "waits": 0}
    for table in (deals, deal_changes, activities, quarantine):
        assert rows(engine, table) == before[table.name], table.name
    assert states(engine) == {"scored": 4}


def test_a_deal_is_gone_only_when_hubspot_says_so(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    portal.archive("deals", "1000", NOON - MINUTE)
    portal.purge("deals", "1001")
    tell(engine, "1000", "1001")
    take(engine, settings, portal, NOON)
    gone = {id_ for id_, is_gone in rows(engine, deals, deals.c.deal_id, deals.c.is_deleted) if is_gone}
    assert gone == {"1000"}, "what is nowhere any more is found by the night, which lists all"
    portal.restore("deals", "1000")
    tell(engine, "1000", now=NOON + MINUTE)
    take(engine, settings, portal, NOON + MINUTE)
    assert not any(is_gone for _, is_gone in rows(engine, deals, deals.c.deal_id, deals.c.is_deleted))
    night(engine, settings, portal, NIGHT + DAY)
    gone = {id_ for id_, is_gone in rows(engine, deals, deals.c.deal_id, deals.c.is_deleted) if is_gone}
    assert gone == {"1001"}


def test_a_merge_is_read_by_every_id_it_names(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    new = portal.merge("1000", "1001", NOON - MINUTE)
    tell(engine, "1000", "1001", new.id)
    take(engine, settings, portal, NOON)
    assert new.id in {id_ for (id_,) in rows(engine, deals, deals.c.deal_id)}
    night(engine, settings, portal, NIGHT + DAY)
    assert_is_the_truth(engine, portal, NIGHT + DAY)


def test_events_out_of_order_and_in_any_number_end_in_the_truth(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    stages = ["qualifiedtobuy", "contractsent", "appointmentscheduled", "closedlost", "qualifiedtobuy"]
    for n, stage in enumerate(stages):
        ms = NOON + n * 10 * MINUTE
        move(portal, "101", moment(ms).isoformat()[:19], dealstage=stage, amount=str(n))
        late = NOON - (n * MINUTE)  # told in the wrong order
        tell(engine, "101", "102", now=late, names=f"a{n}")
        take(engine, settings, portal, ms + MINUTE)
    night(engine, settings, portal, NIGHT + DAY)
    assert_is_the_truth(engine, portal, NIGHT + DAY)


def test_what_watches_extracts_does_not_see_a_read_of_a_few_deals(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    for day in range(4):
        night(engine, settings, portal, NIGHT + day * DAY)
    last = NIGHT + 3 * DAY
    own = settings.sources["crm"]
    assert isinstance(own, Source)

    def watched(as_of: datetime) -> list[Any]:
        with reading(engine) as connection:
            return [
                newest_extracts(connection),
                past_of(connection, "crm", asked_digest(own, settings)),
                incident(connection, as_of, settings=settings),
                caveats(connection, as_of, settings=settings),
                rows(engine, extract_gates),
                rows(engine, raw_records),
                rows(engine, extract_runs, extract_runs.c.extract_id, extract_runs.c.fault)[:0],
            ]

    two_days_on = moment(last + 2 * DAY)
    before, stale = watched(moment(last + 3_600_000)), watched(two_days_on)
    assert stale[2] is not None and stale[2].kind == "stale"
    move(portal, "101", moment(last + DAY).isoformat()[:19], dealstage="contractsent")
    tell(engine, "101", now=last + DAY)
    assert take(engine, settings, portal, last + 2 * DAY - MINUTE)["read"] == 1
    assert watched(moment(last + 3_600_000)) == before
    assert watched(two_days_on) == stale, "a source whose nights fail is stale, whatever its events tell"
    with writing(engine) as connection:
        connection.execute(update(extract_runs).values(fault=None))
    portal.pipelines[0].stages = []  # a night that cannot be used
    with pytest.raises(ExtractRefused):
        night(engine, settings, portal, last + 3 * DAY)
    c = extract_runs.c
    faulty = [covers for covers, fault in rows(engine, c, c.covers, c.fault) if fault]
    assert faulty == ["all"], "the fault stands beside the night that speaks"


def test_turning_events_on_changes_nothing_about_the_nights(settings: Settings) -> None:
    plain, told = (
        Source.model_validate({"kind": "hubspot", **more})
        for more in ({}, {"events": {"client_secret": "x"}})
    )
    assert asked_digest(plain, settings) == asked_digest(told, settings)


def test_events_wait_for_the_first_night_and_while_one_is_under_way(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, settings = hub
    tell(engine, "101")
    assert take(engine, settings, portal, NIGHT - MINUTE)["read"] == 0
    assert "no extract has read all of it" in caplog.text and states(engine) == {"waiting": 1}

    class Broken:
        """A night that breaks off after its first page."""

        def __init__(self, name: str, settings: Settings) -> None:
            self.inner = at_once(name, settings)

        def plan(self, past: Past) -> Plan:
            return self.inner.plan(past)

        def pages(self, table: Table, place: str | None) -> Iterator[Page]:
            yield next(self.inner.pages(table, place))
            raise SourceDown("gone")

        def close(self) -> None:
            self.inner.close()

    night(engine, settings, portal, NIGHT)
    portal.now = NIGHT + DAY
    with pytest.raises(SourceDown):
        extract(engine, "crm", settings=settings, now=moment(NIGHT + DAY), readers={"hubspot": Broken})
    tell(engine, "102", now=NIGHT + DAY)
    assert take(engine, settings, portal, NIGHT + DAY + MINUTE)["read"] == 0
    assert "an extract is under way" in caplog.text
    night(engine, settings, portal, NIGHT + DAY + 2 * MINUTE)
    assert take(engine, settings, portal, NIGHT + DAY + 3 * MINUTE)["read"] == 1
    assert_is_the_truth(engine, portal, NIGHT + DAY + 3 * MINUTE)


class Meanwhile:
    """A reader in whose middle something else happens."""

    def __init__(self, inner: Any, happens: Any) -> None:
        self.inner, self.happens = inner, happens

    def close(self) -> None:
        self.inner.close()

    def plan_of(self, past: Past, deal_ids: Any) -> Plan:
        return self.inner.plan_of(past, deal_ids)  # type: ignore[no-any-return]

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        yield from self.inner.pages(table, place)
        if table.name == "deals":
            self.happens()


def test_a_read_that_a_night_overtook_is_thrown_away(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)

    def a_night() -> None:
        move(portal, "101", "2026-03-02T12:00:30", dealstage="contractsent")
        night(engine, settings, portal, NOON + MINUTE)

    tell(engine, "101")
    told = take(engine, settings, portal, NOON, lambda name, own: Meanwhile(at_once(name, own), a_night))
    assert told["read"] == 0 and states(engine) == {"waiting": 1}, "the night read the deal later than we did"
    assert_is_the_truth(engine, portal, NOON + MINUTE)
    assert take(engine, settings, portal, NOON + 2 * MINUTE)["read"] == 1
    assert_is_the_truth(engine, portal, NOON + 2 * MINUTE)
    assert all(covers != "some" or state == "remembered" for covers, state in
               rows(engine, extract_runs, extract_runs.c.covers, extract_runs.c.state))  # fmt: skip


def test_of_two_reads_at_once_one_lands(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    tell(engine, "101", "102")
    inner: list[dict[str, int]] = []

    def another() -> None:
        inner.append(take(engine, settings, portal, NOON + MINUTE))

    outer = take(engine, settings, portal, NOON, lambda name, own: Meanwhile(at_once(name, own), another))
    assert (inner[0]["read"], outer["read"]) == (2, 0) and states(engine) == {"scored": 2}


def test_an_event_that_comes_while_its_deal_is_read_waits_for_the_next_read(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    tell(engine, "101")
    opener = lambda name, own: Meanwhile(at_once(name, own), lambda: tell(engine, "101", names="late"))  # noqa: E731
    assert take(engine, settings, portal, NOON, opener)["read"] == 1
    assert states(engine) == {"scored": 1, "waiting": 1}


def test_what_a_night_has_read_since_waits_no_longer(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    tell(engine, "101", now=NIGHT + DAY - 60 * MINUTE)
    tell(engine, "102", now=NIGHT + DAY - 2 * MINUTE)
    night(engine, settings, portal, NIGHT + DAY)
    assert take(engine, settings, portal, NIGHT + DAY + MINUTE)["read"] == 1
    assert states(engine) == {"overtaken": 1, "scored": 1}
    tell(engine, "103", now=NIGHT + 40 * DAY)
    take(engine, settings, portal, NIGHT + 40 * DAY)
    assert states(engine) == {"scored": 1}, "what is long done is forgotten"


@pytest.mark.parametrize("fault", ["down", "quota", "refused", "lost"])
def test_events_wait_while_hubspot_cannot_be_asked(
    engine: Engine,
    portal: Portal,
    hub: tuple[HubSpot, Settings],
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, settings = hub
    night(engine, settings, portal, NIGHT)
    tell(engine, "101", "1000")
    before = {table.name: rows(engine, table) for table in metadata.sorted_tables}
    if fault == "quota":
        server.desk.used_today = int(server.desk.allowed_today * 0.9)
    opener = {"refused": refusing, "down": failing, "lost": losing}.get(fault, at_once)
    assert take(engine, settings, portal, NOON, opener)["waits"] == 1
    assert {table.name: rows(engine, table) for table in metadata.sorted_tables} == before
    assert "its events wait" in caplog.text
    server.desk.used_today = 0
    assert take(engine, settings, portal, NOON + MINUTE)["read"] == 2


def losing(name: str, settings: Settings) -> Any:
    def lost() -> None:
        raise PlaceLost("its cursor is over")

    return Meanwhile(at_once(name, settings), lost)


def failing(name: str, settings: Settings) -> Any:
    raise SourceDown("HubSpot does not answer")


def refusing(name: str, settings: Settings) -> Any:
    class Refuses:
        def plan_of(self, past: Past, deal_ids: Any) -> Plan:
            raise ExtractRefused("HubSpot has no property 'x'")

        def close(self) -> None:
            """Nothing is held open."""

    return Refuses()


def test_a_faulty_deal_waits_in_quarantine_and_the_others_land(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    move(portal, "101", "2026-03-02T11:00:00", dealstage="nowhere")
    move(portal, "1000", "2026-03-02T11:00:00", dealstage="contractsent")
    tell(engine, "101", "1000")
    take(engine, settings, portal, NOON)
    stage = dict(rows(engine, deals, deals.c.deal_id, deals.c.stage))
    assert stage["1000"] == "contractsent" and len(rows(engine, quarantine)) >= 1
    assert not any(is_gone for _, is_gone in rows(engine, deals, deals.c.deal_id, deals.c.is_deleted))
    c = extract_runs.c
    kept = {covers: plan is not None for covers, plan in rows(engine, c, c.covers, c.plan)}
    assert kept == {"all": True, "some": True}, "what explains the quarantine is kept"
    own = settings.sources["crm"]
    assert isinstance(own, Source)
    with reading(engine) as connection:
        past = past_of(connection, "crm", asked_digest(own, settings))
    assert past.cursor == past.whole_at == moment(NIGHT) and past.last and past.last.covers == "all"


def test_reads_leave_a_short_row_each(engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    raw = rows(engine, raw_records)
    for n in range(3):
        tell(engine, "101", now=NOON + n * MINUTE)
        take(engine, settings, portal, NOON + n * MINUTE)
    assert rows(engine, raw_records) == raw and rows(engine, extract_pages) == []
    assert rows(engine, extract_tables) == []
    c = extract_runs.c
    some = [row for row in rows(engine, c, c.covers, c.plan, c.deals) if row[0] == "some"]
    assert some == [("some", None, None)] * 3


class Killed(BaseException):
    """What nothing of ours catches."""


def test_broken_off_anywhere_nothing_is_lost_or_doubled(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    move(portal, "101", "2026-03-02T11:00:00", dealstage="contractsent")
    tell(engine, "101", "1000", "101")
    changes = len(rows(engine, deal_changes))
    for module, place, state in (
        (named, "deals_waiting", {"waiting": 3}),
        (named, "_check", {"waiting": 3}),
        (named, "_stage", {"waiting": 3}),
        (named, "remember_within", {"waiting": 3}),
        (named, "mark_landed", {"waiting": 3}),
        (intraday, "read_named", {"landed": 3}),
        (intraday, "scores_of", {"landed": 3}),
        (intraday, "put", {"landed": 3}),
        (intraday, "mark_scored", {"landed": 3}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, place, then_killed(getattr(module, place)))
            with pytest.raises(Killed):
                take(engine, settings, portal, NOON)
        assert states(engine) == state, place
    assert take(engine, settings, portal, NOON + MINUTE)["scored"] == 2
    assert states(engine) == {"scored": 3} and len(rows(engine, deal_changes)) == changes + 1
    scored = rows(engine, event_scores, event_scores.c.as_of, event_scores.c.deal_id)
    assert scored == [(moment(NOON), "1000"), (moment(NOON), "101")], "as of the read, not of the repeat"
    night(engine, settings, portal, NIGHT + DAY)
    assert_is_the_truth(engine, portal, NIGHT + DAY)


def then_killed(before: Any) -> Any:
    def dies(*args: Any, **more: Any) -> None:
        before(*args, **more)
        raise Killed

    return dies


RUN = """
import os, signal, sys
from datetime import datetime
import dealwatch.history.named as named
from dealwatch.alerts.intraday import take_events
from dealwatch.settings import Settings
from dealwatch.warehouse import connect

settings = Settings.model_validate_json(sys.stdin.read())
before = named.remember_within
def dies(*args, **more):
    before(*args, **more)
    os.kill(os.getpid(), signal.SIGKILL)
named.remember_within = dies
take_events(connect(settings), settings=settings, now=datetime.fromisoformat(sys.argv[1]))
"""


def test_killed_in_the_middle_of_landing_it_is_read_again(
    engine: Engine, portal: Portal, hub: tuple[HubSpot, Settings]
) -> None:
    _, settings = hub
    night(engine, settings, portal, NIGHT)
    before = {table.name: rows(engine, table) for table in metadata.sorted_tables}
    move(portal, "101", "2026-03-02T11:00:00", dealstage="contractsent")
    tell(engine, "101")
    portal.now = NOON
    told = settings.model_dump_json().replace('"password":"**********"', f'"password":"{TOKEN}"')
    command = [sys.executable, "-W", "ignore", "-c", RUN, moment(NOON).isoformat()]
    made = subprocess.run(command, input=told, text=True, capture_output=True)
    assert made.returncode == -signal.SIGKILL, made.stderr
    after = {table.name: rows(engine, table) for table in metadata.sorted_tables}
    assert {name for name in after if after[name] != before[name]} == {"crm_events"}
    assert take(engine, settings, portal, NOON)["changes"] == 1
