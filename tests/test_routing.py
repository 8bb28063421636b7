"""Who hears of what beside the owner, who waits until they are back, and what stays within a budget."""

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from alert_samples import MONDAY, Deal, at, close, extract, hire, know, prove, score_morning
from dealwatch.alerts.episodes.answers import Answer, record
from dealwatch.alerts.episodes.holdout import is_drawn
from dealwatch.alerts.speaking.queue import speak
from dealwatch.settings import Settings
from dealwatch.tables import (
    alert_events,
    alerts,
    deal_scores,
    deal_snapshots,
    deliveries,
    extract_runs,
    recipient_choices,
)
from dealwatch.warehouse import reading, rows_of, writing

STALL = {"stage_stall": 1}
CRITICAL = {"critical_risk": 1}
TUESDAY, WEDNESDAY = "2026-03-03", "2026-03-04"


@pytest.fixture
def world(engine: Engine) -> Engine:
    """Ann and Bob sell for Max, Berlin; Carol in New York; all rules are proven, the data is fresh."""
    hire(engine, "ann", manager_id="max", time_zone="Europe/Berlin")
    hire(engine, "bob", manager_id="max", time_zone="Europe/Berlin")
    hire(engine, "carol", time_zone="America/New_York")
    hire(engine, "max", time_zone="Europe/Berlin")
    prove(engine, "stage_stall", "lifecycle_breach", "critical_risk", "close_date_passed")
    extract(engine, "2026-12-31")
    return engine


def office(path: Path, *, alerts: Any = None, **delivery: Any) -> Settings:
    """An organisation that mails; managers get no digest unless a test asks for one."""
    return Settings(
        home=path,
        smtp={"host": "h"},
        sources={"crm": {"path": path}},
        alerts={"manager_digest": False, **(alerts or {})},
        delivery=delivery,
    )


def live(engine: Engine, settings: Settings, day: str, *deals: Deal) -> None:
    """Score and alert a day on that day."""
    score_morning(engine, day, deals)
    speak(engine, settings=settings, as_of=at(day), now=at(day) + timedelta(minutes=1))


def sent(engine: Engine, day: str, who: str | None = None) -> list[Any]:
    query = select(deliveries).where(deliveries.c.as_of == at(day), deliveries.c.state != "not_sent")
    with reading(engine) as connection:
        rows = [row for row in rows_of(connection, query) if who in (None, row.recipient)]
    return sorted(rows, key=lambda row: (row.kind, row.recipient, row.message["title"]))


def kinds(engine: Engine, day: str, who: str | None = None) -> dict[str, int]:
    return dict(Counter(row.kind for row in sent(engine, day, who)))


def told(rows: list[Any]) -> list[list[str]]:
    return [[card["deal_id"] for card in row.message["cards"]] for row in rows]


def held(engine: Engine, day: str) -> dict[str, str]:
    query = (
        select(alerts.c.deal_id, alert_events.c.reason)
        .join(alerts, alerts.c.alert_id == alert_events.c.alert_id)
        .where(alert_events.c.at == at(day), alert_events.c.kind == "held")
    )
    with reading(engine) as connection:
        return {row.deal_id: row.reason for row in rows_of(connection, query)}


def put_in(engine: Engine, region: str, *deal_ids: str) -> None:
    with writing(engine) as connection:
        named = deal_snapshots.c.deal_id.in_(deal_ids)
        connection.execute(update(deal_snapshots).where(named).values(region=region))


def leave(engine: Engine) -> None:
    """All that is queued is sent."""
    with writing(engine) as connection:
        connection.execute(update(deliveries).where(deliveries.c.state == "queued").values(state="sent"))


def choose(engine: Engine, recipient: str, choice: str, day: str, until: str | None = None) -> None:
    row = {
        "choice_id": f"{recipient} {day}",
        "at": at(day) - timedelta(hours=1),
        "recipient": recipient,
        "choice": choice,
        "until": until and datetime.fromisoformat(until).date(),
        "by": recipient,
        "via": "email",
        "recorded_at": at(day),
    }
    know(engine, recipient_choices, row)


# --- holidays -------------------------------------------------------------------------------------


def test_easter_is_told_of_on_tuesday_within_one_budget(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    days = ["2026-04-03", "2026-04-06", "2026-04-07"]  # Good Friday, Easter Monday, Tuesday
    deals = [Deal(str(n), STALL, amount=100.0 * n) for n in range(1, 4)]
    live(world, settings, days[0], *deals)
    assert sent(world, days[0]) == []
    assert held(world, days[0]) == dict.fromkeys("123", "recipient_away")
    more = [*deals, *(Deal(str(n), STALL, amount=100.0 * n) for n in range(4, 7))]
    live(world, settings, days[1], *more)
    assert sent(world, days[1]) == []
    live(world, settings, days[2], *more)
    assert kinds(world, days[2]) == {"alert": 3, "digest": 1}
    assert told(sent(world, days[2])) == [["4"], ["5"], ["6"], ["3", "2", "1"]]


def test_colleagues_elsewhere_hear_of_theirs_on_a_german_holiday(world: Engine, tmp_path: Path) -> None:
    live(world, office(tmp_path), "2026-04-03", Deal("1", STALL), Deal("2", STALL, owner_id="carol"))
    assert [row.recipient for row in sent(world, "2026-04-03")] == ["carol"]
    live(world, office(tmp_path), "2026-07-03", Deal("3", STALL), Deal("4", STALL, owner_id="carol"))
    assert [row.recipient for row in sent(world, "2026-07-03")] == ["ann"]  # Independence Day is observed


def test_republic_day_in_india(world: Engine, tmp_path: Path) -> None:
    hire(world, "dev", time_zone="Asia/Calcutta")
    live(world, office(tmp_path), "2026-01-26", Deal("1", STALL, owner_id="dev"), Deal("2", STALL))
    assert [row.recipient for row in sent(world, "2026-01-26")] == ["ann"]
    live(world, office(tmp_path), "2026-01-27", Deal("1", STALL, owner_id="dev"), Deal("2", STALL))
    assert [row.recipient for row in sent(world, "2026-01-27")] == ["dev"]


def test_a_region_has_holidays_of_its_own(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, countries={"Europe/Berlin": "DE-BY"})
    live(world, settings, "2026-01-06", Deal("1", STALL))  # Epiphany
    assert held(world, "2026-01-06") == {"1": "recipient_away"}


def test_what_got_worse_waits_for_the_holidays_end_too(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    live(world, settings, "2026-04-02", Deal("1", STALL))
    live(world, settings, "2026-04-03", Deal("1", {"stage_stall": 2}))
    assert sent(world, "2026-04-03") == []
    live(world, settings, "2026-04-07", Deal("1", {"stage_stall": 2}))
    assert kinds(world, "2026-04-07") == {"alert": 1}


def test_a_cooldown_counts_the_owners_working_days(world: Engine, tmp_path: Path) -> None:
    """Five working days after the Thursday before Easter: Saturday counts as little as Good Friday."""
    settings = office(tmp_path)
    deals = [Deal("1", STALL), Deal("2", STALL, owner_id="carol")]
    live(world, settings, "2026-04-02", *deals)
    told_on = {}
    for day in ("2026-04-08", "2026-04-09", "2026-04-10", "2026-04-13"):
        live(world, settings, day, *deals)
        told_on[day] = [row.recipient for row in sent(world, day)]
    assert told_on == {
        "2026-04-08": [],
        "2026-04-09": ["carol"],
        "2026-04-10": [],
        "2026-04-13": ["ann"],
    }


def test_a_backfilled_holiday_leaves_the_same_receipt(world: Engine, tmp_path: Path) -> None:
    for day in ("2026-04-03", "2026-04-07"):
        score_morning(world, day, [Deal("1", STALL)])
        speak(world, settings=office(tmp_path), as_of=at(day), now=at("2026-05-05"))
    assert held(world, "2026-04-03") == {"1": "recipient_away"}
    assert held(world, "2026-04-07") == {"1": "past_day"}


def test_a_manager_on_holiday_hears_later_and_the_owner_at_once(world: Engine, tmp_path: Path) -> None:
    hire(world, "carol", manager_id="max", time_zone="America/New_York")
    rules = tmp_path / "rules"
    rules.mkdir()
    shipped = Settings().alerts.rules / "stage_stall.toml"
    text = shipped.read_text().replace('send_to = ["owner"]', 'send_to = ["owner", "manager"]')
    (rules / "stage_stall.toml").write_text(text)
    settings = office(tmp_path, alerts={"rules": rules})
    deal = Deal("1", STALL, owner_id="carol")
    told_on = []
    for day in ("2026-04-03", "2026-04-06", "2026-04-07"):
        live(world, settings, day, deal)
        told_on.append([row.recipient for row in sent(world, day)])
    assert told_on == [["carol"], [], ["max"]]


# --- budget ---------------------------------------------------------------------------------------


def test_messages_that_never_left_count_in_the_next_mornings_budget(world: Engine, tmp_path: Path) -> None:
    """A Friday whose messages are still queued on Monday arrives together with Monday's."""
    settings = office(tmp_path)
    live(world, settings, "2026-03-06", Deal("1", STALL), Deal("2", STALL))
    more = [Deal(str(n), STALL, amount=100.0 * n) for n in range(1, 6)]
    live(world, settings, "2026-03-09", *more)
    assert kinds(world, "2026-03-09") == {"alert": 1, "digest": 1}
    leave(world)
    live(world, settings, "2026-03-10", *more, *(Deal(str(n), STALL) for n in range(6, 10)))
    assert kinds(world, "2026-03-10") == {"alert": 3, "digest": 1}


def test_escalations_and_hand_overs_share_the_budget(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    first = [Deal("1", STALL), Deal("2", STALL), *(Deal(str(n), STALL, owner_id="bob") for n in (3, 4))]
    live(world, settings, MONDAY, *first)
    leave(world)
    worse = [Deal("1", {"stage_stall": 2}), Deal("2", {"stage_stall": 2})]
    handed = [Deal("3", STALL), Deal("4", STALL), Deal("5", STALL)]
    live(world, settings, TUESDAY, *worse, *handed)
    assert kinds(world, TUESDAY, "ann") == {"alert": 3, "digest": 1}
    assert sum(len(row.message["cards"]) for row in sent(world, TUESDAY, "ann")) == 5


def test_a_second_run_by_another_channel_has_no_new_budget(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    live(world, settings, MONDAY, *(Deal(str(n), STALL) for n in range(3)))
    with writing(world) as connection:
        moved = {"first_channel": "email", "channel": "slack", "address": "U1"}
        connection.execute(update(deliveries).values(**moved))
    live(world, settings, MONDAY, *(Deal(str(n), STALL) for n in range(5)))
    assert kinds(world, MONDAY) == {"alert": 3, "digest": 1}


# --- a critical alert that nobody answers ---------------------------------------------------------


def test_after_two_working_days_without_an_answer_the_manager_hears(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    deal = Deal("1", CRITICAL, score=90)
    recipients = []
    for day in ("2026-03-05", "2026-03-06", "2026-03-09", "2026-03-10"):
        live(world, settings, day, deal)
        recipients.append([row.recipient for row in sent(world, day)])
    assert recipients == [["ann"], [], ["max"], ["ann"]]  # Thursday; Monday; and on Tuesday ann's reminder


def test_an_answer_keeps_it_from_the_manager(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    deal = Deal("1", CRITICAL, score=90)
    live(world, settings, MONDAY, deal)
    with writing(world) as connection:
        fingerprint = connection.execute(select(alerts.c.fingerprint)).scalar_one()
        answer = Answer(fingerprint, "acknowledged", "ann", "slack", at(MONDAY) + timedelta(hours=4))
        record(connection, answer, settings=settings)
    live(world, settings, TUESDAY, deal)
    live(world, settings, WEDNESDAY, deal)
    assert sent(world, WEDNESDAY, "max") == []


def test_the_owners_holidays_give_time_to_answer(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    deal = Deal("1", CRITICAL, score=90)
    heard = []
    for day in ("2026-04-02", "2026-04-06", "2026-04-07", "2026-04-08"):
        live(world, settings, day, deal)
        heard.append([row.recipient for row in sent(world, day)])
    assert heard == [["ann"], [], [], ["max"]]


@pytest.mark.parametrize("off", [{"unanswered_days": 0}, {"unanswered_days": 3}])
def test_how_long_is_a_setting(world: Engine, tmp_path: Path, off: dict[str, int]) -> None:
    settings = office(tmp_path, alerts=off)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        live(world, settings, day, Deal("1", CRITICAL, score=90))
    assert sent(world, WEDNESDAY) == []


def test_only_critical_alerts_go_upward(world: Engine, tmp_path: Path) -> None:
    for day in (MONDAY, TUESDAY, WEDNESDAY, "2026-03-05"):
        live(world, office(tmp_path), day, Deal("1", STALL))
    assert sent(world, "2026-03-05") == []


def test_without_a_manager_revops_hears(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, revops_email="ops@example.com")
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        live(world, settings, day, Deal("1", CRITICAL, score=90, owner_id="carol"))
    assert [row.address for row in sent(world, WEDNESDAY)] == ["ops@example.com"]


# --- recipients' choices --------------------------------------------------------------------------


def test_who_asked_for_digests_gets_no_single_message(world: Engine, tmp_path: Path) -> None:
    choose(world, "ann", "digest_only", MONDAY)
    live(world, office(tmp_path), MONDAY, Deal("1", STALL), Deal("2", CRITICAL, score=90))
    assert kinds(world, MONDAY) == {"digest": 1}
    assert set(held(world, MONDAY).values()) == {"recipient_choice"}


def test_who_asked_for_nothing_hears_when_the_time_is_over(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    choose(world, "ann", "nothing", MONDAY, until=TUESDAY)
    for day in (MONDAY, TUESDAY):
        live(world, settings, day, Deal("1", STALL))
        assert sent(world, day) == [] and held(world, day) == {"1": "recipient_choice"}
    live(world, settings, WEDNESDAY, Deal("1", STALL))
    assert kinds(world, WEDNESDAY) == {"alert": 1}


def test_a_critical_deal_of_a_silent_owner_reaches_the_manager(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path)
    choose(world, "ann", "nothing", MONDAY)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        live(world, settings, day, Deal("1", CRITICAL, score=90), Deal("2", STALL))
    assert [told([row]) for row in sent(world, WEDNESDAY, "max")] == [[["1"]]]
    assert sent(world, MONDAY) == sent(world, TUESDAY) == []


def test_a_backfill_brings_no_silent_owners_deal_forward(world: Engine, tmp_path: Path) -> None:
    choose(world, "ann", "nothing", "2026-02-20", "2026-03-20")
    for day in ("2026-02-24", "2026-02-25", "2026-02-26", "2026-02-27"):
        score_morning(world, day, [Deal("1", CRITICAL)])
    found = []
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        live(world, office(tmp_path), day, Deal("1", CRITICAL))
        found.append([row.recipient for row in sent(world, day)])
    assert found == [[], [], ["max"]]


def test_a_critical_deal_of_a_silent_owner_that_somebody_answered_stays_quiet(
    world: Engine, tmp_path: Path
) -> None:
    settings = office(tmp_path)
    choose(world, "ann", "nothing", MONDAY)
    live(world, settings, MONDAY, Deal("1", CRITICAL, score=90))
    with writing(world) as connection:
        fingerprint = connection.execute(select(alerts.c.fingerprint)).scalar_one()
        answer = Answer(fingerprint, "acknowledged", "ops", "shell", at(MONDAY) + timedelta(hours=4))
        record(connection, answer, settings=settings)
    for day in (TUESDAY, WEDNESDAY):
        live(world, settings, day, Deal("1", CRITICAL, score=90))
    assert sent(world, WEDNESDAY) == []


def test_the_newest_choice_holds(world: Engine, tmp_path: Path) -> None:
    choose(world, "ann", "nothing", "2026-02-02")
    choose(world, "ann", "everything", MONDAY)
    choose(world, "bob", "nothing", TUESDAY)
    live(world, office(tmp_path), MONDAY, Deal("1", STALL), Deal("2", STALL, owner_id="bob"))
    assert [row.recipient for row in sent(world, MONDAY)] == ["ann", "bob"]


# --- shared channels ------------------------------------------------------------------------------

EMEA = {"where": {"region": "EMEA"}, "email": "emea@example.com"}


def test_a_channel_gets_one_summary_of_its_segment(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, channel_map=[EMEA])
    deals = [Deal(str(n), STALL, amount=100.0 * n) for n in range(1, 5)]
    score_morning(world, MONDAY, deals)
    put_in(world, "EMEA", "1", "2")
    put_in(world, "US", "3")
    for _ in range(2):
        speak(world, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    (row,) = sent(world, MONDAY, "emea@example.com")
    assert (row.kind, told([row])) == ("channel_digest", [["2", "1"]])
    assert kinds(world, MONDAY, "ann") == {"alert": 3, "digest": 1}


def test_a_second_run_adds_no_second_summary(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, channel_map=[EMEA], alerts={"manager_digest": True})
    for deals in (["1"], ["1", "2"]):
        score_morning(world, MONDAY, [Deal(one, STALL) for one in deals])
        put_in(world, "EMEA", *deals)
        speak(world, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    assert kinds(world, MONDAY) == {"alert": 2, "channel_digest": 1, "manager_digest": 1}
    live(world, settings, TUESDAY, Deal("1", STALL), Deal("2", STALL))
    assert told(sent(world, TUESDAY, "max")) == [["2"]]


def test_a_channel_hears_what_is_new_once_and_no_reminder(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, channel_map=[EMEA])
    days = [MONDAY, TUESDAY, "2026-03-09", "2026-03-10"]
    found = []
    for day, level in zip(days, (1, 1, 1, 2), strict=True):
        score_morning(world, day, [Deal("1", {"stage_stall": level})])
        put_in(world, "EMEA", "1")
        speak(world, settings=settings, as_of=at(day), now=at(day))
        found.append([row.kind for row in sent(world, day)])
    assert found == [["alert", "channel_digest"], [], ["alert"], ["alert", "channel_digest"]]


def test_a_channel_reads_nothing_about_who_owns_a_deal(world: Engine, tmp_path: Path) -> None:
    hire(world, "ann", name="Ann Privat", manager_id="max")
    settings = office(tmp_path, channel_map=[EMEA], alerts={"manager_digest": True})
    score_morning(world, MONDAY, [Deal("1", CRITICAL, score=90)])
    put_in(world, "EMEA", "1")
    reasons = [
        {"group": "owner", "sentence": "Its owner wins 12%", "points": 20},
        {"group": "stage", "sentence": "40 days in its stage", "points": 15},
    ]
    with writing(world) as connection:
        connection.execute(update(deal_scores).values(reasons=reasons, action="Ask a colleague."))
    speak(world, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    (channel,) = sent(world, MONDAY, "emea@example.com")
    for word in ("Ann Privat", "'ann'", "12%", "colleague"):
        assert word not in str(channel.message)
    (manager,) = sent(world, MONDAY, "max")
    assert "Ann Privat" in str(manager.message) and "12%" in str(manager.message)


def test_a_rule_that_judges_owners_is_none_of_a_channels_business(world: Engine, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    text = (Settings().alerts.rules / "close_date_passed.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("when", "say", "stays_when"))]
    judging = ['when = "owner_win_rate < 0.2"', 'say = "Its owner wins few."']
    (rules / "owner_record.toml").write_text("\n".join([*lines, *judging]))
    score_morning(world, MONDAY, [Deal("1", {"owner_record": 1})])
    put_in(world, "EMEA", "1")
    settings = office(tmp_path, channel_map=[EMEA], alerts={"rules": rules})
    speak(world, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    assert [row.recipient for row in sent(world, MONDAY)] == ["ann"]


def test_a_deal_without_an_owner_is_told_to_its_channel_alone(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, channel_map=[EMEA])
    for day in (MONDAY, TUESDAY):
        score_morning(world, day, [Deal("1", STALL, owner_id=""), Deal("2", STALL, owner_id="")])
        put_in(world, "EMEA", "1")
        speak(world, settings=settings, as_of=at(day), now=at(day))
    assert held(world, MONDAY) == {"1": "shared_channel", "2": "no_route"}
    assert told(sent(world, MONDAY)) == [["1"]] and sent(world, TUESDAY) == []


def test_a_channel_that_is_not_connected_is_left_out(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, channel_map=[{"where": {"region": "EMEA"}, "slack": "C0EMEA"}])
    score_morning(world, MONDAY, [Deal("1", STALL)])
    put_in(world, "EMEA", "1")
    speak(world, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    assert [row.recipient for row in sent(world, MONDAY)] == ["ann"]


def test_all_of_a_channels_conditions_must_be_met(world: Engine, tmp_path: Path) -> None:
    both = {"where": {"region": "EMEA", "industry": "Retail"}, "email": "retail@example.com"}
    score_morning(world, MONDAY, [Deal("1", STALL)])
    put_in(world, "EMEA", "1")
    settings = office(tmp_path, channel_map=[both, EMEA])
    speak(world, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    assert [row.address for row in sent(world, MONDAY) if row.kind == "channel_digest"] == [
        "emea@example.com"
    ]


# --- leadership -----------------------------------------------------------------------------------


def test_leadership_hears_of_large_deals_within_its_own_budget(world: Engine, tmp_path: Path) -> None:
    settings = office(
        tmp_path,
        alerts={"leadership_budget": 1, "daily_budget": 2},
        leadership_amount=1000,
        leadership=["cro@example.com"],
    )
    deals = [Deal("1", STALL, amount=999.0), *(Deal(str(n), STALL, amount=1000.0 * n) for n in (2, 3, 4))]
    live(world, settings, MONDAY, *deals)
    assert told(sent(world, MONDAY, "cro@example.com")) == [["4"], ["3", "2"]]
    assert kinds(world, MONDAY, "ann") == {"alert": 2, "digest": 1}
    live(world, settings, "2026-03-09", *deals)
    assert sent(world, "2026-03-09", "cro@example.com") == []  # reminders are the owner's


def test_a_leader_whom_the_crm_knows_has_one_budget(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, leadership_amount=1, leadership=["Max@example.com"])
    mine = [Deal(str(n), STALL, owner_id="max", amount=100.0) for n in range(3)]
    live(world, settings, MONDAY, *mine, Deal("9", STALL, amount=9000.0))
    assert kinds(world, MONDAY, "max") == {"alert": 3, "digest": 1}
    assert [deals for deals in told(sent(world, MONDAY, "max")) if "9" in deals] == [["9"]]


def test_a_leader_on_holiday_hears_when_back(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, leadership_amount=1, leadership=["cro@example.com"])
    found = []
    for day in ("2026-04-03", "2026-04-06", "2026-04-07"):
        live(world, settings, day, Deal("1", STALL, owner_id="carol"))
        found.append([row.recipient for row in sent(world, day)])
        assert "recipient_away" not in held(world, day).values()
    assert found == [["carol"], [], ["cro@example.com"]]


def test_a_deal_that_changes_hands_is_news_to_its_owner_alone(world: Engine, tmp_path: Path) -> None:
    settings = office(
        tmp_path, alerts={"manager_digest": True}, leadership_amount=1, leadership=["cro@example.com"]
    )
    live(world, settings, MONDAY, Deal("1", STALL))
    assert [row.recipient for row in sent(world, MONDAY)] == ["ann", "cro@example.com", "max"]
    live(world, settings, TUESDAY, Deal("1", STALL, owner_id="bob"))
    (row,) = sent(world, TUESDAY)
    assert (row.recipient, row.message["title"].split(",")[0]) == ("bob", "Now yours")


def test_nobody_but_the_new_owner_reads_that_a_deal_is_now_theirs(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, leadership_amount=1, leadership=["cro@example.com"])
    live(world, office(tmp_path), MONDAY, Deal("1", STALL))
    live(world, settings, TUESDAY, Deal("1", STALL, owner_id="bob"))
    titles = {row.recipient: row.message["title"].split(":")[0] for row in sent(world, TUESDAY)}
    assert titles == {"bob": "Now yours, Deal 1", "cro@example.com": "Deal 1"}


def test_leaderships_digest_tells_of_large_deals_alone(world: Engine, tmp_path: Path) -> None:
    settings = office(
        tmp_path, alerts={"leadership_budget": 0}, leadership_amount=5000, leadership=["cro@example.com"]
    )
    live(world, settings, MONDAY, Deal("1", STALL, amount=100.0))
    small = Deal("2", amount=10.0, next_step_on=date(2026, 3, 3))
    live(world, settings, TUESDAY, Deal("3", STALL, amount=9000.0), small)
    (row,) = sent(world, TUESDAY, "cro@example.com")
    assert (row.kind, told([row]), row.message["sections"]) == ("digest", [["3"]], [])


# --- managers -------------------------------------------------------------------------------------


def test_a_manager_gets_the_teams_news_by_owner_and_by_name(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, alerts={"manager_digest": True, "manager_budget": 3})
    deals = [
        Deal("1", STALL, owner_id="bob", amount=9000.0),
        Deal("2", STALL, owner_id="ann", amount=100.0),
        Deal("3", STALL, owner_id="ann", amount=5000.0),
        Deal("4", STALL, owner_id="bob", amount=50.0),
        Deal("5", STALL, owner_id="carol"),
    ]
    live(world, settings, MONDAY, *deals)
    (row,) = sent(world, MONDAY, "max")
    assert (row.kind, row.message["more"]) == ("manager_digest", 1)
    assert [
        (section["title"].split(":")[0], len(section["entries"])) for section in row.message["sections"]
    ] == [
        ("Ann", 2),
        ("Bob", 1),
    ]
    assert told([row]) == [["1", "3", "2"]]  # below the lists by owner: the deals by value at risk
    live(world, settings, TUESDAY, *deals)
    assert told(sent(world, TUESDAY, "max")) == [["4"]]
    live(world, settings, WEDNESDAY, *deals)
    assert sent(world, WEDNESDAY) == []


def test_what_the_manager_was_told_singly_is_not_in_the_digest(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, alerts={"manager_digest": True})
    hire(world, "bob", manager_id="max", is_active=False)
    live(world, settings, MONDAY, Deal("1", STALL, owner_id="bob"))
    assert kinds(world, MONDAY) == {"alert": 1}
    assert [row.recipient for row in sent(world, MONDAY)] == ["max"]
    live(world, settings, TUESDAY, Deal("1", STALL, owner_id="bob"))
    assert sent(world, TUESDAY) == []  # nor is it in the next morning's
    live(world, settings, WEDNESDAY, Deal("1", {"stage_stall": 2}, owner_id="bob"))
    assert kinds(world, WEDNESDAY) == {"alert": 1}


def test_a_team_without_news_is_no_message(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, alerts={"manager_digest": True})
    for day in (MONDAY, "2026-03-09"):
        live(world, settings, day, Deal("1", STALL))
    assert kinds(world, MONDAY) == {"alert": 1, "manager_digest": 1}
    assert kinds(world, "2026-03-09") == {"alert": 1}  # the owner's reminder


def test_a_manager_reads_nothing_of_deals_that_are_held_out(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, alerts={"manager_digest": True, "holdout_share": 0.5})
    deals = [Deal(str(n), STALL) for n in range(1, 21)]
    silent = {deal.deal_id for deal in deals if is_drawn(deal.deal_id, 0.5, settings)}
    assert 0 < len(silent) < 20
    live(world, settings, MONDAY, *deals)
    (row,) = sent(world, MONDAY, "max")
    count = 20 - len(silent)
    assert row.message["intro"].endswith(f"Your team has {count} deals with an open alert.")


def test_a_manager_may_choose_nothing(world: Engine, tmp_path: Path) -> None:
    choose(world, "max", "nothing", MONDAY)
    live(world, office(tmp_path, alerts={"manager_digest": True}), MONDAY, Deal("1", STALL))
    assert [row.recipient for row in sent(world, MONDAY)] == ["ann"]
    assert held(world, MONDAY) == {}


# --- incidents ------------------------------------------------------------------------------------


def test_an_incident_silences_everybody_and_operations_hear_once(world: Engine, tmp_path: Path) -> None:
    settings = office(
        tmp_path,
        alerts={"manager_digest": True},
        channel_map=[EMEA],
        leadership_amount=1,
        leadership=["cro@example.com"],
        operations_email="ops@example.com",
    )
    with writing(world) as connection:
        connection.execute(update(extract_runs).values(fault="deals.csv: column 'stage' is missing"))
    score_morning(world, MONDAY, [Deal("1", STALL)])
    put_in(world, "EMEA", "1")
    for _ in range(2):
        speak(world, settings=settings, as_of=at(MONDAY), now=at(MONDAY))
    (row,) = sent(world, MONDAY)
    assert (row.kind, row.address) == ("operations", "ops@example.com")
    assert "column 'stage' is missing" in row.message["intro"] and "Mend the export" in row.message["intro"]
    assert held(world, MONDAY) == {"1": "incident"}


def test_a_notice_still_waiting_is_taken_back_when_the_data_is_mended(engine: Engine, tmp_path: Path) -> None:
    hire(engine, "ann")
    prove(engine, "stage_stall")
    settings = office(tmp_path, operations_email="ops@example.com")
    live(engine, settings, MONDAY, Deal("1", STALL))
    assert [(row.kind, row.state) for row in sent(engine, MONDAY)] == [("operations", "queued")]
    extract(engine, MONDAY)
    live(engine, settings, MONDAY, Deal("1", STALL))
    assert [(row.kind, row.state, row.reason) for row in sent(engine, MONDAY)] == [
        ("alert", "queued", ""),
        ("operations", "cancelled", "no_longer_wanted"),
    ]


def test_a_fault_found_after_the_alerts_were_queued_does_not_deny_them(world: Engine, tmp_path: Path) -> None:
    settings = office(tmp_path, operations_email="ops@example.com")
    live(world, settings, MONDAY, Deal("1", STALL))
    with writing(world) as connection:
        connection.execute(update(extract_runs).values(fault="deals.csv has no column deal_id"))
    live(world, settings, MONDAY, Deal("1", STALL), Deal("2", STALL))
    alert, notice = sent(world, MONDAY)
    assert (told([alert]), notice.kind) == ([["1"]], "operations")
    assert notice.message["title"] == "Check the CRM extract: no more deal alerts go out this morning"
    assert held(world, MONDAY) == {"2": "incident"}


def test_yesterdays_data_is_said_to_be_so(engine: Engine, tmp_path: Path) -> None:
    hire(engine, "ann")
    prove(engine, "stage_stall")
    extract(engine, MONDAY)
    settings = office(tmp_path, alerts={"stale_after_hours": 30})
    live(engine, settings, MONDAY, Deal("1", STALL))
    live(engine, settings, TUESDAY, Deal("2", STALL))
    assert "yesterday" not in sent(engine, MONDAY)[0].message["footer"]
    assert "Scores from yesterday's data" in sent(engine, TUESDAY)[0].message["footer"]
    live(engine, settings, WEDNESDAY, Deal("3", STALL))
    (notice,) = sent(engine, WEDNESDAY)
    assert "Scores from data of 2 days ago" in notice.message["footer"]


# --- both timelines -------------------------------------------------------------------------------


def test_a_backfill_with_everything_on_sends_nothing_and_changes_nothing(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    world, settings = (
        either_engine,
        office(
            tmp_path,
            alerts={"manager_digest": True},
            channel_map=[EMEA],
            leadership_amount=500,
            leadership=["cro@example.com"],
        ),
    )
    hire(world, "ann", manager_id="max")
    hire(world, "max")
    prove(world, "stage_stall", "critical_risk")
    extract(world, "2026-12-31")
    days = ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"]
    deals = [Deal("1", CRITICAL, score=90), Deal("2", STALL, amount=100.0)]
    for day in (*days, "2026-03-09"):
        score_morning(world, day, deals)
        put_in(world, "EMEA", "1", "2")
    speak(world, settings=settings, as_of=at("2026-03-09"), now=at("2026-03-09"))
    before = sorted((row.delivery_id, str(row.message)) for row in sent(world, "2026-03-09"))
    for day in reversed(days):
        counts = speak(world, settings=settings, as_of=at(day), now=at("2026-03-09"))
        assert counts["queued"] == 0
    assert sorted((row.delivery_id, str(row.message)) for row in sent(world, "2026-03-09")) == before
    assert speak(world, settings=settings, as_of=at("2026-03-09"), now=at("2026-03-09"))["queued"] == 0
    query = select(deliveries.c.as_of, deliveries.c.kind, deliveries.c.recipient)
    with reading(world) as connection:
        receipt = {
            (str(row.as_of.date()), row.kind, row.recipient)
            for row in rows_of(connection, query.where(deliveries.c.state == "not_sent"))
        }
    assert receipt == {
        ("2026-03-02", "alert", "ann"),
        ("2026-03-02", "alert", "cro@example.com"),
        ("2026-03-02", "channel_digest", "emea@example.com"),
        ("2026-03-02", "manager_digest", "max"),
        ("2026-03-04", "alert", "max"),
        ("2026-03-05", "alert", "ann"),
    }
    close(world, "1", "2026-03-10")
