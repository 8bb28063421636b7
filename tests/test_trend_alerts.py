"""A stage that got worse opens one alert, which managers hear of, are reminded of twice, and see resolved."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Engine, event, select, update

from alert_samples import Deal, at, extract, hire, prove, score_morning
from dealwatch import migrations
from dealwatch.alerts.episodes.answers import Answer, record, standing_of
from dealwatch.alerts.hindsight.why import why
from dealwatch.alerts.speaking.choices import Choice, choose
from dealwatch.alerts.speaking.queue import Notify, speak
from dealwatch.alerts.trends.speaking import newest_monday, speak_of_trends
from dealwatch.delivery.messages import Message, TrendCard
from dealwatch.delivery.outbox import deliver
from dealwatch.delivery.slack_blocks import slack_payload
from dealwatch.delivery.wording import cards_of
from dealwatch.errors import DecisionRefused, NotFound
from dealwatch.knobs import Review, Smtp, Source
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alerts, deliveries, tellings, trend_mornings, trends
from dealwatch.warehouse import connect, reading, rows_of, writing
from trend_weeks import LEAK, monday, review_week

TABLES = (alerts, alert_events, deliveries, tellings, trend_mornings)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sources = {"crm": Source(path=tmp_path)}
    return Settings(home=tmp_path / "home", sources=sources, review=Review(managers=("max@example.com",)))


@pytest.fixture
def world(engine: Engine) -> Engine:
    """Ann reports to Max, the data is fresh."""
    hire(engine, "ann", manager_id="max")
    hire(engine, "max")
    extract(engine, monday(40))
    return engine


def told(
    engine: Engine, settings: Settings, week: int, *, now: str | None = None, notify: Notify = "auto"
) -> dict[str, int]:
    """The job of a Monday, on that Monday unless another day is named."""
    moment = at(now or monday(week)) + MINUTE
    return speak_of_trends(engine, as_of=at(monday(week)), now=moment, settings=settings, notify=notify)


def lived(engine: Engine, settings: Settings, levels: Sequence[int | None]) -> list[str]:
    """Mondays in a row, live, with the leak at these levels: what came of each, in a word."""
    return [one_week(engine, settings, week, level) for week, level in enumerate(levels)]


def one_week(engine: Engine, settings: Settings, week: int, level: int | None) -> str:
    review_week(engine, week, {LEAK: level})
    told(engine, settings, week)
    with reading(engine) as connection:
        as_of = at(monday(week))
        said = select(tellings.c.kind).where(tellings.c.as_of == as_of)
        of_day = select(alert_events).where(alert_events.c.at == as_of)
        held = [one.reason for one in rows_of(connection, of_day) if one.kind == "held"]
        other = [one.kind for one in rows_of(connection, of_day) if one.kind == "resolved"]
        kinds = list(connection.execute(said).scalars())
    return " ".join([*kinds, *held, *other])


def rows(engine: Engine, table: Any) -> list[Any]:
    with reading(engine) as connection:
        return sorted(repr(tuple(row)) for row in rows_of(connection, select(table)))


def sent(engine: Engine, week: int) -> list[Any]:
    query = select(deliveries).where(deliveries.c.as_of == at(monday(week)), deliveries.c.state != "not_sent")
    with reading(engine) as connection:
        return rows_of(connection, query)


def test_an_alert_waits_for_a_second_week_cools_down_and_reminds_twice(
    world: Engine, settings: Settings
) -> None:
    assert lived(world, settings, [1] * 9 + [0, None]) == [
        "unconfirmed",
        "new",
        "cooldown",
        "reminder",
        "cooldown",
        "reminder",
        "cooldown",
        "reminders_used",
        "reminders_used",
        "",
        "resolved",
    ]
    (row,) = rows(world, alerts)
    with reading(world) as connection:
        (alert,) = rows_of(connection, select(alerts))
    assert (alert.rule, alert.deal_id, alert.scope) == ("stage_leaking", "", LEAK)
    assert (alert.state, alert.resolution, alert.resolved_at) == ("resolved", "cleared", at(monday(10)))


def test_one_bad_week_between_good_ones_opens_nothing(world: Engine, settings: Settings) -> None:
    assert lived(world, settings, [1, None, 1, 0, 1]) == ["unconfirmed", "", "unconfirmed", "", "unconfirmed"]
    assert rows(world, alerts) == []


def test_the_message_tells_the_figures_one_action_and_its_record_and_no_name(
    world: Engine, settings: Settings
) -> None:
    lived(world, settings, [1, 1])
    (row,) = sent(world, 1)
    assert (row.kind, row.recipient, row.address, row.state) == ("trend", "max", "max@example.com", "queued")
    message = Message.model_validate(row.message)
    (card,) = message.cards
    assert isinstance(card, TrendCard)
    assert message.title == "Proposal (stage): read the deals lost from this stage in the period"
    assert "+9.0 points (+5.0 to +13.0, 410 entries)" in card.headline
    assert card.record == "not measured yet: no such alert could be judged 13 weeks later"
    assert card.action_evidence == "effect not yet measured" and "q 0.003 among 1" in message.footer
    text = "".join(cards_of(message)[0].told) + message.title + message.footer
    assert "Ann" not in text and "ann" not in text.split()
    blocks = slack_payload(message, "d1")["attachments"][0]["blocks"]
    snooze = next(one for one in blocks[-1]["elements"] if one["type"] == "static_select")
    assert [one["value"] for one in snooze["options"]] == ["1", "3", "7"]


def test_without_named_managers_those_hear_whom_others_report_to_else_revops_else_nobody(
    world: Engine, settings: Settings
) -> None:
    plain = settings.model_copy(update={"review": Review()})
    assert lived(world, plain, [1, 1]) == ["unconfirmed", "new"]
    assert [one.recipient for one in sent(world, 1)] == ["max"]


def test_revops_hears_where_nobody_reports_to_anybody_and_a_receipt_is_kept_where_nobody_can(
    engine: Engine, settings: Settings
) -> None:
    extract(engine, monday(40))
    plain = settings.model_copy(update={"review": Review()})
    assert lived(engine, plain, [1, 1]) == ["unconfirmed", "no_route"]
    with reading(engine) as connection:
        (row,) = rows_of(connection, select(deliveries))
    assert (row.kind, row.state, row.reason, row.recipient) == ("trend", "not_sent", "no_route", "nobody")
    knobs = plain.delivery.model_copy(update={"revops_email": "revops@example.com"})
    told(engine, plain.model_copy(update={"delivery": knobs}), 1)
    assert [one.address for one in sent(engine, 1)] == ["revops@example.com"]


@pytest.mark.parametrize("name", ["max@example.com", "MAX@example.com", "U0MAX"])
def test_a_manager_named_in_the_settings_is_reached_alone_whatever_the_crm_holds(
    engine: Engine, settings: Settings, name: str
) -> None:
    """Who left may have the same address as who came, and a person's Slack field may hold a channel."""
    hire(engine, "a", email="max@example.com", slack_user_id="U0MAX", is_active=False)
    hire(engine, "max", slack_user_id="U0MAX" if name == "U0MAX" else "C0SALES")
    extract(engine, monday(40))
    told_to = {"review": Review(managers=(name,)), "slack_token": SecretStr("xoxb-1"), "smtp": Smtp(host="h")}
    lived(engine, settings.model_copy(update=told_to), [1, 1])
    (row,) = sent(engine, 1)
    private = ("slack", "U0MAX") if name == "U0MAX" else ("email", "max@example.com")
    assert (row.recipient, row.channel, row.address) == ("max", *private)


def test_what_is_answered_is_quiet_and_a_stage_has_no_next_step(world: Engine, settings: Settings) -> None:
    lived(world, settings, [1, 1])
    with writing(world) as connection:
        ((fingerprint, rule),) = standing_of(connection, LEAK, None, at(monday(1)) + MINUTE)
        answer = Answer(fingerprint, "snoozed", "max", "shell", at(monday(1)) + MINUTE, "next_step", "busy")
        with pytest.raises(DecisionRefused, match="about a stage, not a deal; snooze it for some days"):
            record(connection, answer, settings=settings)
        later = at(monday(2)) + MINUTE
        record(connection, Answer(fingerprint, "acknowledged", "max", "shell", later), settings=settings)
    assert rule == "stage_leaking"
    assert one_week(world, settings, 2, 1) == "cooldown"
    assert one_week(world, settings, 3, 1) == "reminder"


def test_an_answer_holds_for_the_days_it_promised(world: Engine, settings: Settings) -> None:
    long = settings.model_copy(
        update={"alerts": settings.alerts.model_copy(update={"acknowledged_days": 20})}
    )
    lived(world, long, [1, 1])
    with writing(world) as connection:
        ((fingerprint, _),) = standing_of(connection, LEAK, None, at(monday(1)) + MINUTE)
        answer = Answer(fingerprint, "acknowledged", "max", "shell", at(monday(1)) + MINUTE)
        assert record(connection, answer, settings=long).is_new
    weeks = [one_week(world, long, week, 1) for week in (2, 3, 4)]
    assert weeks == ["acknowledged", "acknowledged", "reminder"]


def test_whoever_wants_no_single_messages_gets_none_and_the_reason_is_kept(
    world: Engine, settings: Settings
) -> None:
    with writing(world) as connection:
        wish = Choice("max", "digest_only", "max", "board", at(monday(0)))
        choose(connection, wish, settings=settings)
    assert lived(world, settings, [1, 1]) == ["unconfirmed", "recipient_choice"]
    assert sent(world, 1) == []


def test_data_that_is_not_fit_keeps_them_silent(engine: Engine, settings: Settings) -> None:
    hire(engine, "max")
    assert lived(engine, settings, [1, 1]) == ["unconfirmed", "stale_extract"]
    assert sent(engine, 1) == []


def test_past_mondays_get_what_would_have_been_said_and_send_nothing(
    world: Engine, settings: Settings
) -> None:
    for week in range(4):
        review_week(world, week, {LEAK: 1})
    assert told(world, settings, 0, now=monday(20))["queued"] == 0
    with reading(world) as connection:
        found = rows_of(connection, select(deliveries).order_by(deliveries.c.as_of))
    assert [(one.as_of, one.state, one.reason) for one in found] == [
        (at(monday(week)), "not_sent", "past_day") for week in (1, 3)
    ]


def test_a_dry_run_queues_nothing_and_a_forced_one_does(world: Engine, settings: Settings) -> None:
    for week in range(2):
        review_week(world, week, {LEAK: 1})
    assert told(world, settings, 1, notify="dry") == {"queued": 0, "not_sent": 1, "held": 1, "open": 1}
    assert told(world, settings, 1, now=monday(9), notify="force")["queued"] == 1


def test_a_run_again_changes_nothing(world: Engine, settings: Settings) -> None:
    lived(world, settings, [1, 1, 1, 1])
    before = [rows(world, table) for table in TABLES]
    assert told(world, settings, 3)["queued"] == 0
    assert told(world, settings, 1, now=monday(3))["queued"] == 0
    assert [rows(world, table) for table in TABLES] == before


def test_other_moments_and_settings_that_want_none_change_nothing(world: Engine, settings: Settings) -> None:
    for week in range(2):
        review_week(world, week, {LEAK: 1})
    silent = settings.model_copy(update={"review": Review(alerts=False)})
    tuesday = at(monday(1)) + timedelta(days=1)
    assert not any(told(world, silent, 1).values())
    assert not any(speak_of_trends(world, as_of=tuesday, now=tuesday, settings=settings).values())
    assert [rows(world, table) for table in TABLES] == [[]] * len(TABLES)
    assert newest_monday(tuesday, settings) == at(monday(1))
    assert newest_monday(at(monday(1)) - MINUTE, settings) == at(monday(0))


def made(folder: Path) -> tuple[Engine, Settings]:
    settings = Settings(home=folder, review=Review(managers=("max@example.com",)))
    engine = connect(settings)
    migrations.upgrade(engine)
    return engine, settings


LEVELS = (1, 1, 0, 1, None, 1, 1, None)


def backfilled(folder: Path, weeks: Iterable[int]) -> list[list[str]]:
    """The tables after past Mondays were reviewed and told of in an order."""
    engine, settings = made(folder)
    for week in weeks:
        review_week(engine, week, {LEAK: LEVELS[week], "region: EMEA": LEVELS[-week]})
        told(engine, settings, week, now=monday(30))
    found = [rows(engine, table) for table in TABLES]
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    return backfilled(tmp_path_factory.mktemp("ordered"), range(len(LEVELS)))


@given(order=st.permutations(range(len(LEVELS))))
@examples(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_a_backfill_leaves_no_trace(
    order: list[int], in_order: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert backfilled(tmp_path_factory.mktemp("w"), order) == in_order
    assert len(in_order[0]) == 2 and in_order[2]


def test_a_week_reviewed_later_renames_the_alert_and_its_message_follows(
    world: Engine, settings: Settings
) -> None:
    for week in (1, 2):
        review_week(world, week, {LEAK: 1})
    told(world, settings, 2)
    review_week(world, 0, {LEAK: 1})
    told(world, settings, 0, now=monday(2))
    with reading(world) as connection:
        (alert,) = rows_of(connection, select(alerts))
    (row,) = sent(world, 2)
    assert alert.opened_at == at(monday(1)) and row.alert_id == alert.alert_id


def test_alerts_of_deals_and_of_stages_leave_each_other_alone(world: Engine, settings: Settings) -> None:
    prove(world, "stage_stall")
    lived(world, settings, [1, 1])
    mine = [rows(world, table) for table in TABLES]
    score_morning(world, monday(1), [Deal("1", {"stage_stall": 1})])
    counts = speak(world, settings=settings, as_of=at(monday(1)), now=at(monday(1)) + MINUTE)
    assert counts["open"] == 1 and counts["not_sent"] == 0 and counts["queued"] >= 1
    for before, table in zip(mine, TABLES, strict=True):
        assert set(before) <= set(rows(world, table)), table.name
    both = [rows(world, table) for table in TABLES]
    told(world, settings, 1)
    assert [rows(world, table) for table in TABLES] == both
    score_morning(world, monday(2), [])
    speak(world, settings=settings, as_of=at(monday(2)), now=at(monday(2)) + MINUTE)
    with reading(world) as connection:
        states = {row.rule: row.state for row in rows_of(connection, select(alerts))}
    assert states == {"stage_stall": "resolved", "stage_leaking": "open"}


def test_either_database_keeps_the_same(either_engine: Engine, either_settings: Settings) -> None:
    hire(either_engine, "ann", manager_id="max")
    hire(either_engine, "max")
    extract(either_engine, monday(40))
    fed = either_settings.model_copy(update={"sources": {"crm": Source(path=either_settings.home)}})
    assert lived(either_engine, fed, [1, 1, 0, None]) == ["unconfirmed", "new", "", "resolved"]
    told(either_engine, fed, 0, now=monday(9))
    with reading(either_engine) as connection:
        (row,) = rows_of(connection, select(alerts))
    assert row.state == "resolved" and row.resolved_at == at(monday(3))


def test_the_end_is_told_once_by_changing_what_was_sent(world: Engine, settings: Settings) -> None:
    linked = settings.model_copy(update={"slack_token": SecretStr("xoxb-1")})
    lived(world, linked, [1, 1])
    with writing(world) as connection:
        arrived = {"state": "sent", "provider_ref": "D1:17.1", "sent_at": at(monday(1))}
        connection.execute(update(deliveries).values(**arrived))
    assert one_week(world, linked, 2, None) == "resolved"
    (change,) = [row for row in sent(world, 2) if row.kind == "update"]
    told_now = Message.model_validate(change.message)
    assert told_now.state.startswith("Resolved 15 Jun 2026") and told_now.cards[0].fingerprint == ""
    assert told(world, linked, 2)["queued"] == 0


@pytest.fixture
def broken(world: Engine) -> Iterator[Engine]:
    """A warehouse that dies at the last write of the job."""

    def die(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if "trend_mornings" in statement and not statement.startswith("SELECT"):
            raise KeyboardInterrupt

    event.listen(world, "before_cursor_execute", die)
    yield world
    event.remove(world, "before_cursor_execute", die)


def test_a_job_that_is_killed_leaves_nothing_behind(broken: Engine, settings: Settings) -> None:
    for week in range(2):
        review_week(broken, week, {LEAK: 1})
    with pytest.raises(KeyboardInterrupt):
        told(broken, settings, 1)
    assert [rows(broken, table) for table in TABLES] == [[]] * len(TABLES)


def test_the_message_reaches_the_folder_and_its_listing(world: Engine, settings: Settings) -> None:
    lived(world, settings, [1, 1])
    now = at(monday(1)) + timedelta(hours=4)
    assert deliver(world, settings=settings, now=lambda: now)["sent"] == 1
    folder = settings.home / "outbox"
    pages = [one.read_text("utf-8") for one in folder.rglob("*.html")]
    assert len(pages) == 2 and all("Proposal (stage)" in one for one in pages)


def test_why_tells_of_a_stage_what_was_said_and_why_the_rest_was_not(
    world: Engine, settings: Settings
) -> None:
    lived(world, settings, [1, 1, 1, 0, None])

    def asked(week: int, of: str = LEAK) -> str:
        with reading(world) as connection:
            return why(
                connection,
                of,
                date.fromisoformat(monday(week)),
                to=None,
                now=at(monday(9)),
                settings=settings,
            )

    assert "not said, unconfirmed: The rule waits" in asked(0)
    assert "max, as new: queued, by" in asked(1) and "+9.0 points" in asked(1)
    assert "not said, cooldown:" in asked(2) and "Still worse than the year before" in asked(3)
    assert "Nothing to alert on: chance explains it" in asked(4) and "resolved" in asked(4)
    with writing(world) as connection:  # somebody looked at the week again on the Wednesday
        there = rows_of(connection, select(trends).where(trends.c.as_of == at(monday(1))))
        again = [{**one._asdict(), "as_of": one.as_of + timedelta(days=2)} for one in there]
        connection.execute(trends.insert().values(again))
    with reading(world) as connection:
        friday = date.fromisoformat(monday(1)) + timedelta(days=4)
        assert "max, as new" in why(connection, LEAK, friday, to=None, now=at(monday(9)), settings=settings)
    assert asked(-1) == f"{LEAK}: no review had looked at it by 25 May 2026.\n"
    with pytest.raises(NotFound):
        asked(1, "stage: Nowhere")
