"""Who is told what on a live morning, what a past one would have said, and the reason of every silence."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from alert_samples import MONDAY, Deal, at, close, extract, hire, prove, score_morning
from dealwatch.alerts.speaking.queue import Notify, speak
from dealwatch.delivery.messages import DealCard
from dealwatch.delivery.wording import card_lines
from dealwatch.errors import NotReady
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alerts, deliveries, extract_runs, tellings
from dealwatch.warehouse import reading, rows_of, writing

STALL = {"stage_stall": 1}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Managers get no digest, so that only what owners are told is there to be counted."""
    return Settings(
        home=tmp_path / "home", sources={"crm": {"path": tmp_path}}, alerts={"manager_digest": False}
    )


def but(settings: Settings, **changes: Any) -> Settings:
    """The same settings but for some."""
    alerts = {"manager_digest": False, **changes.pop("alerts", {})}
    sources = {"crm": {"path": settings.home}}
    return Settings(**{"home": settings.home, "sources": sources, "alerts": alerts, **changes})


@pytest.fixture
def world(engine: Engine) -> Engine:
    """Ann owns deals, the rules are proven, the data is fresh."""
    hire(engine, "ann", manager_id="max")
    hire(engine, "max")
    prove(engine, "stage_stall", "lifecycle_breach", "critical_risk", "close_date_passed")
    extract(engine, "2026-03-31")
    return engine


def alert(
    engine: Engine, settings: Settings, day: str, *, now: str | None = None, notify: Notify = "auto"
) -> dict[str, int]:
    """The job of a day, on that day unless another is named."""
    moment = at(now or day) + timedelta(minutes=1)
    return speak(engine, settings=settings, as_of=at(day), now=moment, notify=notify)


def sent(engine: Engine, day: str) -> list[Any]:
    """What was queued for a morning, single messages by value and then digests."""
    query = select(deliveries).where(deliveries.c.as_of == at(day), deliveries.c.state != "not_sent")
    with reading(engine) as connection:
        return sorted(
            rows_of(connection, query), key=lambda row: (row.kind, row.recipient, row.message["title"])
        )


def unsent(engine: Engine, day: str) -> list[Any]:
    query = select(deliveries).where(deliveries.c.as_of == at(day), deliveries.c.state == "not_sent")
    with reading(engine) as connection:
        return sorted(
            rows_of(connection, query), key=lambda row: (row.kind, row.recipient, row.message["title"])
        )


def held(engine: Engine, day: str) -> dict[str, str]:
    """The reason of each silence of a morning, by deal and rule."""
    query = (
        select(alerts.c.deal_id, alerts.c.rule, alert_events.c.reason)
        .join(alerts, alerts.c.alert_id == alert_events.c.alert_id)
        .where(alert_events.c.at == at(day), alert_events.c.kind == "held")
    )
    with reading(engine) as connection:
        return {f"{row.deal_id} {row.rule}": row.reason for row in rows_of(connection, query)}


def titles(rows: list[Any]) -> list[str]:
    return [row.message["title"].split(":")[0] for row in rows]


def run_days(engine: Engine, settings: Settings, days: list[str], *deals_: Deal) -> None:
    """Score and alert each day live, the same deals every day."""
    for day in days:
        score_morning(engine, day, deals_)
        alert(engine, settings, day)


def test_a_new_alert_of_a_proven_rule_is_one_message_to_its_owner(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL, name="Northwind", amount=5000.0)])
    assert alert(world, settings, MONDAY)["queued"] == 1
    (row,) = sent(world, MONDAY)
    assert (row.kind, row.recipient, row.channel, row.address) == (
        "alert",
        "ann",
        "folder",
        "ann@example.com",
    )
    assert row.message["title"] == "Northwind: agree a dated next step with the buyer"
    (card,) = row.message["cards"]
    assert card["headline"] == ("In Proposal for 40 days; four in five deals move on within 20.")
    assert card["reasons"] == ["Stage timing (+15)"]  # the headline has the days
    assert card["record"] == "last 12 months: 88 of 142 such deals lost (62%); similar deals 41%"
    assert row.message["footer"] == (
        "Data as of Mon 2 Mar 2026, 06:00 Europe/Berlin · model m1 · rule stage_stall"
    )


def test_a_repeat_changes_no_row(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal(str(n), STALL, amount=n) for n in range(9)])
    first = alert(world, settings, MONDAY)
    before = everything(world)
    again = alert(world, settings, MONDAY)
    assert everything(world) == before
    assert again == {**first, "queued": 0}


def everything(engine: Engine) -> dict[str, list[Any]]:
    with reading(engine) as connection:
        return {
            table.name: sorted(map(repr, rows_of(connection, select(table))))
            for table in (alerts, alert_events, deliveries, tellings)
        }


def test_a_cooldown_in_business_days_silences_until_a_reminder(world: Engine, settings: Settings) -> None:
    week = ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"]
    run_days(world, settings, [*week, "2026-03-07", "2026-03-08", "2026-03-09"], Deal("1", STALL))
    assert [len(sent(world, day)) for day in week] == [1, 0, 0, 0, 0]
    assert held(world, "2026-03-06") == {"1 stage_stall": "cooldown"}
    assert len(sent(world, "2026-03-09")) == 1


def test_after_two_reminders_an_alert_lives_in_digests_only(world: Engine, settings: Settings) -> None:
    mondays = ["2026-03-02", "2026-03-09", "2026-03-16", "2026-03-23"]
    run_days(world, settings, mondays, Deal("1", STALL))
    assert [len(sent(world, day)) for day in mondays] == [1, 1, 1, 0]
    assert held(world, "2026-03-23") == {"1 stage_stall": "reminders_used"}
    prove(world, "close_date_passed", proven=False)
    score_morning(world, "2026-03-24", [Deal("1", STALL), Deal("2", {"close_date_passed": 1})])
    alert(world, settings, "2026-03-24")
    (digest,) = sent(world, "2026-03-24")
    assert [card["deal_id"] for card in digest.message["cards"]] == ["2", "1"]


@pytest.mark.parametrize(
    "worse",
    [
        Deal("1", {"stage_stall": 2}),
        Deal("1", STALL, amount=1250.0),
        Deal("1", STALL, close_date=date(2026, 3, 17)),
    ],
)
def test_worse_breaks_the_cooldown_once(world: Engine, settings: Settings, worse: Deal) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    run_days(world, settings, ["2026-03-03", "2026-03-04"], worse)
    assert [len(sent(world, day)) for day in (MONDAY, "2026-03-03", "2026-03-04")] == [1, 1, 0]
    with reading(world) as connection:
        kinds = [row.kind for row in rows_of(connection, select(tellings).order_by(tellings.c.as_of))]
    assert kinds == ["new", "escalated"]


@pytest.mark.parametrize(
    "same",
    [
        Deal("1", STALL, amount=1249.0),
        Deal("1", STALL, close_date=date(2026, 3, 18)),
        Deal("1", STALL, close_date=date(2026, 3, 2)),
    ],
)
def test_a_little_worse_does_not(world: Engine, settings: Settings, same: Deal) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    run_days(world, settings, ["2026-03-03"], same)
    assert sent(world, "2026-03-03") == []


def test_beyond_the_budget_the_least_at_risk_share_a_digest(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal(str(n), STALL, amount=1000.0 * n) for n in range(1, 7)])
    alert(world, settings, MONDAY)
    rows = sent(world, MONDAY)
    assert titles(rows[:3]) == ["Deal 4", "Deal 5", "Deal 6"]
    assert [card["deal_id"] for card in rows[3].message["cards"]] == ["3", "2", "1"]
    assert rows[3].message["title"] == "Look at these 3 deals this morning"
    assert held(world, MONDAY) == {f"{n} stage_stall": "budget" for n in (1, 2, 3)}
    score_morning(world, "2026-03-03", [Deal(str(n), STALL, amount=1000.0 * n) for n in range(1, 7)])
    alert(world, settings, "2026-03-03")
    assert sent(world, "2026-03-03") == []


def test_without_a_model_the_score_weighs_what_is_at_risk(world: Engine, settings: Settings) -> None:
    score_morning(
        world,
        MONDAY,
        [Deal("1", STALL, amount=100.0, score=90, p_loss=None), Deal("2", STALL, amount=200.0, p_loss=0.4)],
    )
    alert(world, but(settings, alerts={"daily_budget": 1}), MONDAY)
    single, digest = sent(world, MONDAY)
    assert titles([single]) == ["Deal 1"]
    assert "rules alone, no usable model" in single.message["footer"]
    assert "model m1" in digest.message["footer"]


def test_an_unproven_rule_speaks_in_the_digest_only(world: Engine, settings: Settings) -> None:
    prove(world, "stage_stall", proven=False)
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, settings, MONDAY)
    (row,) = sent(world, MONDAY)
    assert (row.kind, row.alert_id) == ("digest", None)
    assert row.message["cards"][0]["record"] == (
        "unproven: last 12 months: 88 of 142 such deals lost (62%); similar deals 41%"
    )
    assert held(world, MONDAY) == {"1 stage_stall": "unproven_rule"}


def test_a_rule_that_was_never_measured_says_so(engine: Engine, settings: Settings) -> None:
    hire(engine, "ann")
    extract(engine, MONDAY)
    score_morning(engine, MONDAY, [Deal("1", STALL)])
    alert(engine, settings, MONDAY)
    (row,) = sent(engine, MONDAY)
    assert row.kind == "digest"
    assert row.message["cards"][0]["record"] == "unproven: this rule's record is not measured yet"


def test_a_watch_never_interrupts_whatever_its_record(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", {"lifecycle_breach": 1}), Deal("2", {"lifecycle_breach": 2})])
    alert(world, settings, MONDAY)
    assert [row.kind for row in sent(world, MONDAY)] == ["alert", "digest"]
    assert held(world, MONDAY) == {}


def test_evidence_found_later_does_not_speak_earlier(world: Engine, settings: Settings) -> None:
    from dealwatch.tables import rule_evidence

    with writing(world) as connection:
        connection.execute(update(rule_evidence).values(measured_as_of=at("2026-03-03")))
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    run_days(world, settings, ["2026-03-04"], Deal("1", STALL), Deal("2", STALL))
    assert [row.kind for row in sent(world, MONDAY)] == ["digest"]
    assert [row.kind for row in sent(world, "2026-03-04")] == ["alert"]


def test_no_news_is_no_digest(world: Engine, settings: Settings) -> None:
    prove(world, "stage_stall", proven=False)
    run_days(world, settings, [MONDAY, "2026-03-03", "2026-03-09"], Deal("1", STALL))
    assert [len(sent(world, day)) for day in (MONDAY, "2026-03-03", "2026-03-09")] == [1, 0, 0]
    assert held(world, "2026-03-09") == {"1 stage_stall": "unproven_rule"}


def test_what_a_digest_has_no_room_for_waits_for_the_next(world: Engine, settings: Settings) -> None:
    prove(world, "stage_stall", proven=False)
    crowd = [Deal(f"{n:02d}", STALL, amount=100.0 - n) for n in range(12)]
    run_days(world, settings, [MONDAY, "2026-03-03"], *crowd)
    (monday,) = sent(world, MONDAY)
    (tuesday,) = sent(world, "2026-03-03")
    assert (len(monday.message["cards"]), monday.message["more"]) == (10, 2)
    assert [card["deal_id"] for card in tuesday.message["cards"]] == ["10", "11"]


def test_a_critical_score_folds_the_deals_other_alerts(world: Engine, settings: Settings) -> None:
    all_of_it = Deal("1", {"critical_risk": 1, "stage_stall": 2, "close_date_passed": 1}, score=80)
    run_days(world, settings, [MONDAY, "2026-03-03"], all_of_it)
    (row,) = sent(world, MONDAY)
    assert row.message["title"] == "Deal 1: call the buyer"
    headline = row.message["cards"][0]["headline"]
    assert "Scores 80" not in headline and "nineteen in twenty" in headline
    assert held(world, MONDAY) == {"1 stage_stall": "folded", "1 close_date_passed": "folded"}
    assert set(held(world, "2026-03-03").values()) == {"cooldown"}
    assert sent(world, "2026-03-03") == []


def test_a_critical_score_alone_says_its_sentence(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", {"critical_risk": 1}, score=80))
    (row,) = sent(world, MONDAY)
    assert row.message["cards"][0]["headline"].startswith("Scores 80 of 100")


def test_sentences_that_do_not_fit_are_counted_and_none_is_cut(world: Engine, settings: Settings) -> None:
    stalled = {"critical_risk": 1, "stage_stall": 2, "lifecycle_breach": 3, "gone_quiet": 1}
    deal = Deal("1", stalled, score=80, stage="Negotiation of the terms and conditions")
    run_days(world, settings, [MONDAY], deal)
    (row,) = sent(world, MONDAY)
    card = card_lines(DealCard.model_validate(row.message["cards"][0]))
    assert "…" not in card.headline and card.headline.endswith("And 1 more rule.")
    assert card.headline.count("days") == 2
    assert card.why == "Stage timing (+15)"  # the sentence has it


def test_a_critical_score_that_is_not_said_silences_nothing(world: Engine, settings: Settings) -> None:
    mondays = ["2026-03-02", "2026-03-09", "2026-03-16"]
    run_days(world, settings, mondays, Deal("1", {"critical_risk": 1}, score=90))
    worse = Deal("1", {"critical_risk": 1, "stage_stall": 1, "lifecycle_breach": 2}, score=90)
    run_days(world, settings, ["2026-03-17"], worse)
    (row,) = sent(world, "2026-03-17")
    assert row.message["cards"][0]["headline"].startswith("It is 90 days old; four in five")
    assert held(world, "2026-03-17") == {"1 critical_risk": "cooldown"}
    run_days(world, settings, ["2026-03-18"], worse)
    assert set(held(world, "2026-03-18").values()) == {"cooldown"} and sent(world, "2026-03-18") == []


def test_what_rides_along_in_a_message_that_does_not_go_is_not_folded(
    world: Engine, settings: Settings
) -> None:
    crowd = [Deal(str(n), {"critical_risk": 1, "stage_stall": 1}, amount=100.0 - n) for n in range(3)]
    few = but(settings, alerts={"daily_budget": 1, "digest_top": 1})
    run_days(world, few, [MONDAY], *crowd)
    assert [len(row.message["cards"]) for row in sent(world, MONDAY)] == [1, 1]
    reasons = held(world, MONDAY)
    assert [reasons[f"{n} stage_stall"] for n in range(3)] == ["folded", "folded", "budget"]


def test_an_unproven_critical_score_does_not_silence_a_proven_rule(world: Engine, settings: Settings) -> None:
    prove(world, "critical_risk", proven=False)
    score_morning(world, MONDAY, [Deal("1", {"critical_risk": 1, "stage_stall": 1}, score=80)])
    alert(world, settings, MONDAY)
    (row,) = sent(world, MONDAY)
    assert row.kind == "alert"
    assert row.message["cards"][0]["headline"].startswith("In Proposal for 40 days")


def test_two_alerts_of_a_deal_are_one_message(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", {"stage_stall": 1, "lifecycle_breach": 3})])
    alert(world, settings, MONDAY)
    (row,) = sent(world, MONDAY)
    assert "nineteen in twenty wins" in row.message["cards"][0]["headline"]
    assert "four in five deals" in row.message["cards"][0]["headline"]


def test_of_two_alerts_alike_the_one_with_the_stronger_record_leads(
    world: Engine, settings: Settings
) -> None:
    prove(world, "lifecycle_breach", lift_low=1.1)
    prove(world, "stage_stall", lift_low=1.3)
    score_morning(world, MONDAY, [Deal("1", {"stage_stall": 2, "lifecycle_breach": 2})])
    alert(world, settings, MONDAY)
    (row,) = sent(world, MONDAY)
    assert row.message["cards"][0]["headline"].startswith("In Proposal for 40 days")


def test_stale_data_silences_all_and_tells_operations(world: Engine, settings: Settings) -> None:
    know_old = but(settings, sources={"other": {"path": settings.home}})
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, know_old, MONDAY)
    (row,) = sent(world, MONDAY)
    assert (row.kind, row.recipient, row.channel) == ("operations", "operations", "folder")
    assert row.message["title"] == "Check the CRM extract: no deal alerts go out this morning"
    assert "Nothing was ever extracted from other." in row.message["intro"]
    assert held(world, MONDAY) == {"1 stage_stall": "stale_extract"}


def test_an_old_extract_is_stale_and_a_fresh_one_lets_the_morning_speak(
    engine: Engine, settings: Settings
) -> None:
    hire(engine, "ann")
    extract(engine, "2026-02-28")
    prove(engine, "stage_stall")
    score_morning(engine, MONDAY, [Deal("1", STALL)])
    alert(engine, settings, MONDAY)
    assert [row.kind for row in sent(engine, MONDAY)] == ["operations"]
    extract(engine, MONDAY)
    alert(engine, settings, MONDAY)
    assert [row.kind for row in sent(engine, MONDAY)] == ["alert", "operations"]
    assert held(engine, MONDAY) == {}


@pytest.mark.parametrize(("day", "kind"), [(MONDAY, "alert"), ("2026-03-03", "operations")])
def test_one_missing_extract_is_noticed(engine: Engine, settings: Settings, day: str, kind: str) -> None:
    hire(engine, "ann")
    prove(engine, "stage_stall")
    extract(engine, MONDAY)
    with writing(engine) as connection:
        connection.execute(update(extract_runs).values(extracted_at=at(MONDAY) - timedelta(hours=1)))
    run_days(engine, settings, [day], Deal("1", STALL))
    assert [row.kind for row in sent(engine, day)] == [kind]


def test_a_notice_without_an_address_lies_in_the_folder_and_says_so(
    world: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    stale = {"sources": {"other": {"path": settings.home}}, "slack_token": "t"}
    score_morning(world, MONDAY, [Deal("1", STALL)])
    counts = alert(world, but(settings, **stale), MONDAY)
    (row,) = sent(world, MONDAY)
    assert (counts["unheard"], row.kind, row.channel) == (1, "operations", "folder")
    assert "Nobody is told" in caplog.text


@pytest.mark.parametrize("told", [{}, {"slack_token": "t", "delivery": {"operations_slack": "C1"}}])
def test_a_notice_to_somebody_is_not_unheard(world: Engine, settings: Settings, told: Any) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    stale = but(settings, sources={"other": {"path": settings.home}}, **told)
    assert alert(world, stale, MONDAY)["unheard"] == 0


def test_an_owner_called_revops_is_not_revops(world: Engine, settings: Settings) -> None:
    prove(world, "stage_stall", proven=False)
    hire(world, "revops", email="rita@example.com")
    score_morning(world, MONDAY, [Deal("1", STALL, owner_id="revops"), Deal("2", STALL, owner_id="gone")])
    told = but(settings, delivery={"revops_email": "revops@example.com"})
    assert alert(world, told, MONDAY)["queued"] == 2
    assert {row.address: row.message["cards"][0]["deal_id"] for row in sent(world, MONDAY)} == {
        "rita@example.com": "1",
        "revops@example.com": "2",
    }
    assert alert(world, told, MONDAY)["queued"] == 0


def test_staleness_today_does_not_touch_the_past(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    stale = but(settings, sources={"other": {"path": settings.home}})
    alert(world, stale, MONDAY, now="2026-03-20")
    assert [row.reason for row in unsent(world, MONDAY)] == ["past_day"]


def test_nobody_to_tell_is_a_reason(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL, owner_id=""), Deal("2", STALL, owner_id="ghost")])
    alert(world, settings, MONDAY)
    assert sent(world, MONDAY) == []
    assert [(row.reason, row.channel) for row in unsent(world, MONDAY)] == [("no_route", "none")] * 2
    assert held(world, MONDAY) == {"1 stage_stall": "no_route", "2 stage_stall": "no_route"}


def test_a_second_run_finds_the_owner_who_was_missing(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL, owner_id="new")])
    alert(world, settings, MONDAY)
    hire(world, "new")
    assert alert(world, settings, MONDAY)["queued"] == 1
    assert unsent(world, MONDAY) == []


def test_revops_hears_of_deals_without_an_owner(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL, owner_id="")])
    told = but(settings, delivery={"revops_email": "revops@example.com"})
    alert(world, told, MONDAY)
    (row,) = sent(world, MONDAY)
    assert (row.recipient, row.address) == ("revops", "revops@example.com")


def test_someone_who_left_is_replaced_by_the_manager(world: Engine, settings: Settings) -> None:
    hire(world, "ann", manager_id="max", is_active=False)
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, settings, MONDAY)
    assert [row.recipient for row in sent(world, MONDAY)] == ["max"]


def test_someone_no_connected_channel_reaches_is_replaced_too(world: Engine, settings: Settings) -> None:
    hire(world, "eve", manager_id="max", email=None)
    score_morning(world, MONDAY, [Deal("1", STALL, owner_id="eve")])
    alert(world, but(settings, smtp={"host": "h"}), MONDAY)
    assert [(row.recipient, row.address) for row in sent(world, MONDAY)] == [("max", "max@example.com")]


def test_managers_in_a_circle_end_the_search(world: Engine, settings: Settings) -> None:
    hire(world, "ann", manager_id="max", is_active=False)
    hire(world, "max", manager_id="ann", is_active=False)
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, settings, MONDAY)
    assert held(world, MONDAY) == {"1 stage_stall": "no_route"}


@pytest.mark.parametrize(
    ("connected", "channel", "address"),
    [
        ({"slack_token": "x"}, "slack", "U1"),
        ({"smtp": {"host": "h"}}, "email", "ann@example.com"),
        ({"slack_token": "x", "smtp": {"host": "h"}}, "slack", "U1"),
        ({"slack_token": "x", "delivery": {"channels": ["email", "folder"]}}, "folder", "ann@example.com"),
    ],
)
def test_the_first_connected_channel_carries_the_message(
    world: Engine, settings: Settings, connected: dict[str, Any], channel: str, address: str
) -> None:
    hire(world, "ann", slack_user_id="U1")
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, but(settings, **connected), MONDAY)
    (row,) = sent(world, MONDAY)
    assert (row.channel, row.address) == (channel, address)


@pytest.mark.parametrize(
    ("zone", "opens"),
    [
        (None, "2026-03-02T07:00:00+00:00"),
        ("America/New_York", "2026-03-02T13:00:00+00:00"),
        ("Asia/Tokyo", "2026-03-02T05:00:00+00:00"),  # eight o'clock has passed there
        ("Mars/Olympus", "2026-03-02T07:00:00+00:00"),
    ],
)
def test_the_window_opens_at_eight_where_the_recipient_is(
    world: Engine, settings: Settings, zone: str | None, opens: str
) -> None:
    hire(world, "ann", time_zone=zone)
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, but(settings, smtp={"host": "h"}), MONDAY)
    (row,) = sent(world, MONDAY)
    assert row.not_before.isoformat() == opens
    assert row.expires_at - row.not_before == timedelta(hours=settings.delivery.expires_after_hours)


def test_a_weekend_says_nothing_and_monday_does(world: Engine, settings: Settings) -> None:
    run_days(world, settings, ["2026-03-07", "2026-03-08", "2026-03-09"], Deal("1", STALL))
    assert [row.reason for row in unsent(world, "2026-03-07")] == ["not_business_day"]
    assert held(world, "2026-03-08") == {"1 stage_stall": "not_business_day"}
    assert len(sent(world, "2026-03-09")) == 1


def test_a_dry_run_leaves_a_receipt_and_the_real_one_still_speaks(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    assert alert(world, settings, MONDAY, notify="dry")["queued"] == 0
    assert [row.reason for row in unsent(world, MONDAY)] == ["dry_run"]
    assert held(world, MONDAY) == {"1 stage_stall": "dry_run"}
    assert alert(world, settings, MONDAY)["queued"] == 1
    assert unsent(world, MONDAY) == []
    assert alert(world, settings, MONDAY, notify="dry")["not_sent"] == 0


def test_force_speaks_about_the_past_once(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    forced = [alert(world, settings, MONDAY, now="2026-03-20", notify="force")["queued"] for _ in range(2)]
    assert forced == [1, 0]


@pytest.mark.parametrize(
    ("connected", "opens"),
    [({}, "2026-03-20T05:01:00+00:00"), ({"smtp": {"host": "h"}}, "2026-03-20T07:00:00+00:00")],
)
def test_a_forced_message_is_as_old_as_the_wish_for_it(
    world: Engine, settings: Settings, connected: Any, opens: str
) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, but(settings, **connected), MONDAY, now="2026-03-20", notify="force")
    (row,) = sent(world, MONDAY)
    assert row.not_before.isoformat() == opens
    assert row.expires_at > row.not_before


def test_force_does_not_repeat_what_was_said_since(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    run_days(world, settings, ["2026-03-03"], Deal("1", STALL))
    assert alert(world, settings, MONDAY, now="2026-03-03", notify="force")["queued"] == 0


def test_a_backfill_sends_nothing_and_leaves_a_receipt(world: Engine, settings: Settings) -> None:
    week = ["2026-03-02", "2026-03-03", "2026-03-04"]
    for day in week:
        score_morning(world, day, [Deal("1", STALL)])
        assert alert(world, settings, day, now="2026-03-20")["queued"] == 0
    assert [[row.reason for row in unsent(world, day)] for day in week] == [["past_day"], [], []]
    assert [held(world, day)["1 stage_stall"] for day in week] == ["past_day", "cooldown", "cooldown"]


def test_mornings_scored_at_once_get_their_receipts_with_the_next_alert(
    world: Engine, settings: Settings
) -> None:
    for day in (MONDAY, "2026-03-03", "2026-03-04"):
        score_morning(world, day, [Deal("1", STALL)])
    alert(world, settings, "2026-03-04", now="2026-03-20")
    assert [len(unsent(world, day)) for day in (MONDAY, "2026-03-03", "2026-03-04")] == [1, 0, 0]


@pytest.mark.parametrize("is_backfilled_first", [True, False])
def test_a_live_morning_says_the_same_with_and_without_a_backfill(
    world: Engine, settings: Settings, is_backfilled_first: bool
) -> None:
    past = ["2026-02-26", "2026-02-27"]
    today = [Deal("1", {"stage_stall": 2}, amount=2000.0), Deal("2", STALL)]

    def backfill() -> None:
        for day in past:
            score_morning(world, day, [Deal("1", STALL)])
            alert(world, settings, day, now=MONDAY)

    score_morning(world, MONDAY, today)
    if is_backfilled_first:
        backfill()
    alert(world, settings, MONDAY)
    if not is_backfilled_first:
        backfill()
    assert titles(sent(world, MONDAY)) == ["Deal 1", "Deal 2"]
    with reading(world) as connection:
        opened = dict(rows_of(connection, select(alerts.c.alert_id, alerts.c.opened_at)))  # type: ignore[arg-type]
    assert [opened[row.alert_id] for row in sent(world, MONDAY)] == [at("2026-02-26"), at(MONDAY)]
    run_days(world, settings, ["2026-03-03"], *today)
    assert sent(world, "2026-03-03") == []
    assert held(world, "2026-03-03") == {"1 stage_stall": "cooldown", "2 stage_stall": "cooldown"}


def test_a_message_that_never_left_does_not_count_as_told(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    with writing(world) as connection:
        connection.execute(update(deliveries).values(state="dead", reason="undeliverable"))
    run_days(world, settings, ["2026-03-03"], Deal("1", STALL))
    assert len(sent(world, "2026-03-03")) == 1


def test_nor_does_it_in_what_a_past_morning_would_have_said(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    with writing(world) as connection:
        connection.execute(update(deliveries).values(state="dead", reason="undeliverable"))
    score_morning(world, "2026-03-03", [Deal("1", STALL)])
    alert(world, settings, "2026-03-03", now="2026-03-20")
    assert [row.reason for row in unsent(world, "2026-03-03")] == ["past_day"]


def test_an_expired_message_is_not_queued_again_by_its_own_morning(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    with writing(world) as connection:
        connection.execute(update(deliveries).values(state="not_sent", reason="expired"))
    assert alert(world, settings, MONDAY)["queued"] == 0
    assert [row.reason for row in unsent(world, MONDAY)] == ["expired"]


def test_news_during_the_day_is_added_within_the_budget(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL), Deal("2", STALL))
    score_morning(world, MONDAY, [Deal(str(n), STALL, amount=10.0 * n) for n in range(1, 6)])
    alert(world, settings, MONDAY)
    assert Counter(row.kind for row in sent(world, MONDAY)) == {"alert": 3, "digest": 1}
    assert alert(world, settings, MONDAY)["queued"] == 0


def test_a_recipient_gets_one_digest_a_morning(world: Engine, settings: Settings) -> None:
    prove(world, "stage_stall", proven=False)
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    run_days(world, settings, [MONDAY], Deal("1", STALL), Deal("2", STALL))
    (digest,) = sent(world, MONDAY)
    assert [card["deal_id"] for card in digest.message["cards"]] == ["1"]
    assert held(world, MONDAY)["2 stage_stall"] == "unproven_rule"
    run_days(world, settings, ["2026-03-03"], Deal("1", STALL), Deal("2", STALL))
    (digest,) = sent(world, "2026-03-03")
    assert [card["deal_id"] for card in digest.message["cards"]] == ["2"]


def test_an_alert_ends_with_its_deal(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL), Deal("2", STALL))
    close(world, "1", "2026-03-03", value="won")
    run_days(world, settings, ["2026-03-03"], Deal("2", STALL))
    with reading(world) as connection:
        rows = rows_of(connection, select(alerts.c.deal_id, alerts.c.state, alerts.c.resolution))
    assert sorted(map(tuple, rows)) == [("1", "resolved", "won"), ("2", "open", None)]


def test_a_morning_without_scores_is_refused(world: Engine, settings: Settings) -> None:
    with pytest.raises(NotReady, match="score --as-of 2026-03-02"):
        alert(world, settings, MONDAY)


def test_the_last_deal_of_all_ends_its_alert(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    close(world, "1", "2026-03-03", value="won")
    run_days(world, settings, ["2026-03-03"])
    with reading(world) as connection:
        rows = rows_of(connection, select(alerts.c.state, alerts.c.resolution, alerts.c.resolved_at))
    assert [tuple(row) for row in rows] == [("resolved", "won", at("2026-03-03"))]


def test_stale_data_without_an_open_deal_is_told_too(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [])
    alert(world, but(settings, sources={"other": {"path": settings.home}}), MONDAY)
    assert [row.kind for row in sent(world, MONDAY)] == ["operations"]


def test_a_day_to_come_is_refused_and_never_folded(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    score_morning(world, "2027-03-02", [Deal("1")])
    with pytest.raises(NotReady, match="use --as-of 2026-03-02"):
        alert(world, settings, "2027-03-02", now=MONDAY)
    run_days(world, settings, ["2026-03-03"], Deal("1", STALL))
    with reading(world) as connection:
        assert connection.execute(select(alerts.c.state)).scalars().all() == ["open"]
    alert(world, settings, "2027-03-02")
    with reading(world) as connection:
        assert connection.execute(select(alerts.c.resolved_at)).scalars().all() == [at("2027-03-02")]


def test_before_six_the_day_may_be_told_of_already(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    early = at(MONDAY) - timedelta(hours=3)
    assert speak(world, settings=settings, as_of=at(MONDAY), now=early)["queued"] == 0
    assert alert(world, settings, MONDAY)["queued"] == 1


def test_a_moment_that_is_no_morning_has_no_alerts(
    world: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    run_days(world, settings, [MONDAY], Deal("1", STALL))
    before = everything(world)
    noon = at(MONDAY) + timedelta(hours=6)
    assert set(speak(world, settings=settings, as_of=noon, now=noon).values()) == {0}
    assert "no day's morning" in caplog.text
    assert everything(world) == before


def test_a_long_name_leaves_room_for_what_to_do(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL, name="N" * 300)])
    alert(world, settings, MONDAY)
    (row,) = sent(world, MONDAY)
    assert len(row.message["title"]) < 150
    assert row.message["title"].endswith("…: agree a dated next step with the buyer")
    assert row.message["cards"][0]["name"] == "N" * 300


def test_hostile_names_stay_data(world: Engine, settings: Settings) -> None:
    name = '{deal_name.__class__} "<!channel>" & =cmd() ' + "x" * 300
    score_morning(world, MONDAY, [Deal("1", STALL, name=name, stage=name)])
    alert(world, settings, MONDAY)
    (row,) = sent(world, MONDAY)
    assert row.message["cards"][0]["name"] == name
    assert row.message["cards"][0]["headline"].startswith(f"In {name} for 40 days")


def test_a_link_leads_to_the_deal(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("a/b?c", STALL)])
    linked = but(settings, delivery={"crm_deal_url": "https://crm.example.com/{deal_id}"})
    alert(world, linked, MONDAY)
    assert sent(world, MONDAY)[0].message["cards"][0]["url"] == "https://crm.example.com/a%2Fb%3Fc"


def test_both_dialects_tell_the_same(either_engine: Engine, either_settings: Settings) -> None:
    hire(either_engine, "ann")
    prove(either_engine, "stage_stall")
    extract(either_engine, "2026-03-31")
    settings = either_settings.model_copy(update={"sources": {"crm": Source(path=Path("."))}})
    for day in (MONDAY, "2026-03-03"):
        score_morning(either_engine, day, [Deal("1", STALL), Deal("2", {"lifecycle_breach": 1})])
        alert(either_engine, settings, day, now="2026-03-03")
    assert [row.kind for row in sent(either_engine, "2026-03-03")] == ["alert", "digest"]
    assert [row.kind for row in unsent(either_engine, MONDAY)] == ["alert", "digest"]
    before = everything(either_engine)
    alert(either_engine, settings, MONDAY, now="2026-03-03")
    alert(either_engine, settings, "2026-03-03")
    assert everything(either_engine) == before


def test_a_rescored_morning_forgets_what_no_longer_holds(world: Engine, settings: Settings) -> None:
    run_days(world, settings, [MONDAY, "2026-03-03"], Deal("1", STALL), Deal("2", STALL))
    score_morning(world, MONDAY, [Deal("2", STALL)])
    alert(world, settings, MONDAY, now="2026-03-03")
    with reading(world) as connection:
        rows = rows_of(connection, select(alerts.c.deal_id, alerts.c.opened_at).order_by(alerts.c.deal_id))
    assert [tuple(row) for row in rows] == [("1", at("2026-03-03")), ("2", at(MONDAY))]
    with writing(world) as connection:
        connection.execute(delete(deliveries))


def test_a_morning_worked_out_again_leaves_reviews_alone(world: Engine, settings: Settings) -> None:
    score_morning(world, MONDAY, [Deal("1", STALL)])
    alert(world, settings, MONDAY, notify="dry")
    receipts = len(queued := alert_rows(world))
    review = queued[0]._asdict() | {"delivery_id": "r1", "kind": "review", "reason": "past_day"}
    with writing(world) as connection:
        connection.execute(insert(deliveries).values(**review))
    assert alert(world, settings, MONDAY, notify="dry")["not_sent"] == receipts
    assert [row.kind for row in alert_rows(world) if row.delivery_id == "r1"] == ["review"]


def alert_rows(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(select(deliveries)))
