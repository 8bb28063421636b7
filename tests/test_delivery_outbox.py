"""Each queued message arrives once, at its time, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, update

from dealwatch.delivery.messages import PathPoint
from dealwatch.delivery.outbox import deliver
from dealwatch.errors import ChannelDown
from dealwatch.knobs import Smtp
from dealwatch.settings import Settings
from dealwatch.tables import deliveries, tellings
from dealwatch.warehouse import writing
from delivery_samples import ALERT, DIGEST, card
from outbox_rows import LEASE, MINUTE, NOW, POST, at, connected, hire, open_alert, queue, row, rows
from standins.slack import TOKEN, Slack
from standins.smtp import Mailbox, self_signed, smtp_server

# --- when a message goes out, and when it does not ----------------------------------------------------------


def test_a_due_message_is_sent_once_and_a_repeat_changes_nothing(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    settings = connected(either_settings, slack)
    queue(either_engine, "a1", "a2")
    counts = deliver(either_engine, settings=settings, now=at(NOW))
    assert counts == {"sent": 2, "uncertain": 0, "dead": 0, "not_sent": 0, "cancelled": 0, "waiting": 0}
    sent = row(either_engine, "a1")
    assert (sent.state, sent.sent_at, sent.attempts, sent.lease_until) == ("sent", NOW, 1, None)
    assert sent.provider_ref == f"C0GENERAL:{slack.messages['C0GENERAL'][0]['ts']}"
    before = rows(either_engine)
    assert set(deliver(either_engine, settings=settings, now=at(NOW + LEASE)).values()) == {0}
    assert rows(either_engine) == before
    assert slack.delivery_ids() == ["a1", "a2"]


def test_nothing_is_sent_before_its_time_or_after_it_expired(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    settings = connected(either_settings, slack)
    queue(either_engine, "early", not_before=NOW + MINUTE)
    queue(either_engine, "late", expires_at=NOW)
    counts = deliver(either_engine, settings=settings, now=at(NOW))
    assert counts["sent"] == 0 and counts["not_sent"] == 1 and slack.delivery_ids() == []
    assert (row(either_engine, "late").state, row(either_engine, "late").reason) == ("not_sent", "expired")
    deliver(either_engine, settings=settings, now=at(NOW + MINUTE))
    assert slack.delivery_ids() == ["early"]


def test_a_message_about_a_resolved_alert_is_cancelled(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    open_alert(either_engine, "open")
    open_alert(either_engine, "shut", state="resolved", resolved_at=NOW, resolution="won")
    for alert_id in ("open", "shut", "gone"):
        queue(either_engine, f"about-{alert_id}", alert_id=alert_id)
    counts = deliver(either_engine, settings=connected(either_settings, slack), now=at(NOW))
    assert slack.delivery_ids() == ["about-open"]
    assert counts["cancelled"] == 2
    assert row(either_engine, "about-shut").reason == "no_longer_wanted"


def test_an_alert_that_resolves_only_on_a_later_morning_is_still_told(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    tomorrow = NOW + timedelta(days=1)
    open_alert(either_engine, "later", state="resolved", resolved_at=tomorrow, resolution="cleared")
    queue(either_engine, "today", "claimed", alert_id="later")
    queue(either_engine, "tomorrow", alert_id="later", not_before=tomorrow)
    settings = connected(either_settings, slack)
    deliver(either_engine, settings=settings, now=at(NOW))
    assert slack.delivery_ids() == ["claimed", "today"]
    assert deliver(either_engine, settings=settings, now=at(tomorrow))["cancelled"] == 1


def test_a_digest_is_wanted_while_one_of_its_alerts_is_open(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    open_alert(engine, "open")
    open_alert(engine, "shut", state="resolved")
    queue(engine, "wanted", "unwanted", message=DIGEST.model_dump(mode="json"))
    told = {"as_of": NOW, "kind": "new", "level": 1, "amount": 1.0, "is_close_near": False}
    with writing(engine) as connection:
        for delivery_id, alert_id in (("wanted", "open"), ("wanted", "shut"), ("unwanted", "shut")):
            connection.execute(
                insert(tellings).values(delivery_id=delivery_id, fingerprint=f"f-{alert_id}", **told)
            )
    deliver(engine, settings=connected(settings, slack), now=at(NOW))
    assert slack.delivery_ids() == ["wanted"]
    assert row(engine, "unwanted").state == "cancelled"


def test_a_dry_run_says_what_it_would_send_and_changes_nothing(
    engine: Engine, settings: Settings, slack: Slack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    queue(engine, "a1")
    queue(engine, "old", expires_at=NOW)
    queue(engine, "early", not_before=NOW + MINUTE)
    before = rows(engine)
    assert deliver(engine, settings=connected(settings, slack), now=at(NOW), dry=True) == {"would_send": 1}
    assert rows(engine) == before and slack.calls == []
    assert "would send digest a1 to C0GENERAL by slack" in caplog.text


# --- the hours of the recipient -----------------------------------------------------------------------------

FRIDAY = datetime(2026, 3, 6, 7, tzinfo=UTC)  # 08:00 in Berlin, the organisation's zone


def test_fridays_message_that_met_an_outage_waits_for_monday(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    settings = connected(either_settings, slack)
    away = settings.model_copy(update={"slack_url": "http://127.0.0.1:1/api/"})
    for name, hours in (("lives", 96), ("expires", 72)):
        queue(either_engine, name, not_before=FRIDAY, expires_at=FRIDAY + timedelta(hours=hours))
    deliver(either_engine, settings=away, now=at(FRIDAY + timedelta(hours=8, minutes=55)))
    for moment in (
        datetime(2026, 3, 6, 19, tzinfo=UTC),  # Friday 20:00
        datetime(2026, 3, 7, 2, tzinfo=UTC),  # Saturday 03:00
        datetime(2026, 3, 8, 11, tzinfo=UTC),  # Sunday noon
        datetime(2026, 3, 9, 6, 59, tzinfo=UTC),  # Monday 07:59
    ):
        assert deliver(either_engine, settings=settings, now=at(moment), dry=True) == {"would_send": 0}
        assert deliver(either_engine, settings=settings, now=at(moment))["sent"] == 0
    deliver(either_engine, settings=settings, now=at(datetime(2026, 3, 9, 7, tzinfo=UTC)))
    assert slack.delivery_ids() == ["lives"]
    assert row(either_engine, "expires").reason == "expired"


def test_the_hours_are_the_recipients_own(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    settings = connected(either_settings, slack)
    hire(either_engine, "ann", "America/New_York")
    hire(either_engine, "bob", None)
    hire(either_engine, "eve", "CET/EST?")
    for who in ("ann", "bob", "eve", "revops"):
        queue(either_engine, who, recipient=who, expires_at=FRIDAY + timedelta(days=1))
    deliver(either_engine, settings=settings, now=at(FRIDAY))
    assert slack.delivery_ids() == ["bob", "eve", "revops"], "without a zone of their own, the organisation's"
    deliver(either_engine, settings=settings, now=at(FRIDAY + timedelta(hours=6) - MINUTE))
    assert len(slack.delivery_ids()) == 3
    deliver(either_engine, settings=settings, now=at(FRIDAY + timedelta(hours=6)))
    assert slack.delivery_ids()[3:] == ["ann"]


def test_a_preview_and_an_operations_notice_wait_for_nobody(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    sunday = FRIDAY + timedelta(days=2, hours=15)
    queue(engine, "file", channel="folder", as_of=sunday, not_before=sunday, expires_at=sunday + 9 * MINUTE)
    queue(engine, "notice", kind="operations", not_before=sunday, expires_at=sunday + 9 * MINUTE)
    queue(engine, "digest", not_before=sunday, expires_at=sunday + 9 * MINUTE)
    counts = deliver(engine, settings=connected(settings, slack), now=at(sunday))
    assert (counts["sent"], counts["waiting"]) == (2, 1)
    assert slack.delivery_ids() == ["notice"] and row(engine, "digest").state == "queued"


# --- two senders, and senders that die ----------------------------------------------------------------------


def test_four_senders_at_once_send_each_message_once(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    settings = connected(either_settings, slack)
    ids = [f"a{n:02}" for n in range(24)]
    queue(either_engine, *ids)
    slack.faults[POST].extend([("stall", 0.02)] * len(ids))
    together = threading.Barrier(4)

    def send(_: int) -> int:
        together.wait()
        return deliver(either_engine, settings=settings, now=at(NOW))["sent"]

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(send, range(4)))
    assert sum(counts) == len(ids) and sorted(slack.delivery_ids()) == ids
    assert {r.attempts for r in rows(either_engine)} == {1}


def sender(settings: Settings) -> subprocess.Popen[bytes]:
    values = {
        "home": str(settings.home),
        "warehouse_url": settings.url,
        "slack_token": TOKEN,
        "slack_url": settings.slack_url,
    }
    script = Path(__file__).with_name("sender.py")
    return subprocess.Popen(
        [sys.executable, str(script), json.dumps(values), NOW.isoformat()], start_new_session=True
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit, "the sender never came to this point"
        time.sleep(0.005)


def killed_after_claiming(engine: Engine, settings: Settings, slack: Slack) -> None:
    slack.faults[POST].append("hang")  # the post is on its way and will never be taken
    process = sender(settings)
    wait_for(lambda: POST in slack.calls)
    kill(process)
    assert slack.delivery_ids() == []


def killed_after_the_post(engine: Engine, settings: Settings, slack: Slack) -> None:
    slack.faults[POST].append(("slow", 120))
    process = sender(settings)
    wait_for(slack.committed.is_set)
    kill(process)


def killed_before_confirming(engine: Engine, settings: Settings, slack: Slack) -> None:
    we_hold_the_row = threading.Event()
    slack.faults[POST].append(("until", we_hold_the_row))
    process = sender(settings)
    wait_for(lambda: POST in slack.calls)
    with writing(engine) as connection:  # the confirmation has to wait for us
        connection.execute(update(deliveries).values(recipient="Ann"))
        we_hold_the_row.set()
        wait_for(slack.replied.is_set)
        kill(process)


@pytest.mark.parametrize("death", [killed_after_claiming, killed_before_confirming])
def test_a_killed_sender_neither_loses_nor_doubles_a_message(
    engine: Engine, settings: Settings, slack: Slack, death: Callable[[Engine, Settings, Slack], None]
) -> None:
    outlive(death, engine, connected(settings, slack), slack)


def test_a_sender_killed_after_the_post_does_not_double_it_on_either_warehouse(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    outlive(killed_after_the_post, either_engine, connected(either_settings, slack), slack)


def outlive(
    death: Callable[[Engine, Settings, Slack], None], engine: Engine, settings: Settings, slack: Slack
) -> None:
    queue(engine, "a1")
    death(engine, settings, slack)
    assert row(engine, "a1").state == "sending"
    slack.faults.clear()
    deliver(engine, settings=settings, now=at(NOW + LEASE - timedelta(seconds=1)))
    assert row(engine, "a1").state == "sending", "the claim is respected until its lease ends"
    deliver(engine, settings=settings, now=at(NOW + LEASE))
    assert slack.delivery_ids() == ["a1"]
    assert (row(engine, "a1").state, row(engine, "a1").attempts) == ("sent", 2)


def test_a_lost_reply_is_looked_up_and_not_posted_again(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    settings = connected(either_settings, slack)
    queue(either_engine, "a1", "a2")
    slack.faults[POST].extend(["drop", "refuse"])
    counts = deliver(either_engine, settings=settings, now=at(NOW))
    assert counts["uncertain"] == 2 and slack.delivery_ids() == ["a1"]
    deliver(either_engine, settings=settings, now=at(NOW + LEASE))
    assert slack.delivery_ids() == ["a1", "a2"]
    assert [r.state for r in rows(either_engine)] == ["sent", "sent"]


def test_a_doubt_outlives_a_look_up_that_fails(engine: Engine, settings: Settings, slack: Slack) -> None:
    settings = connected(settings, slack)
    queue(engine, "a1")
    slack.faults[POST].append("drop")
    slack.faults["conversations.history"].extend(["unavailable", ("limit", 90)])
    for minutes in (0, 1, 10):
        deliver(engine, settings=settings, now=at(NOW + minutes * MINUTE))
        assert row(engine, "a1").state == "uncertain"
    deliver(engine, settings=settings, now=at(NOW + 20 * MINUTE))
    assert row(engine, "a1").state == "sent" and slack.delivery_ids() == ["a1"]


def test_what_may_have_arrived_and_cannot_be_looked_up_is_not_sent_again(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    queue(engine, "a1")
    slack.faults[POST].append("drop")
    slack.faults["conversations.history"].append(("error", "invalid_arguments"))
    for minutes in (0, 1, 2):
        deliver(engine, settings=connected(settings, slack), now=at(NOW + minutes * MINUTE))
    assert slack.delivery_ids() == ["a1"]
    assert row(engine, "a1").state == "dead" and "may have arrived" in row(engine, "a1").last_error


def test_an_uncertain_message_that_expired_is_looked_up_before_it_is_given_up(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    queue(engine, "came", "lost", expires_at=NOW + MINUTE)
    slack.faults[POST].extend(["drop", "refuse"])
    for minutes in (0, 5):
        deliver(engine, settings=connected(settings, slack), now=at(NOW + minutes * MINUTE))
    assert row(engine, "came").state == "sent"
    assert (row(engine, "lost").state, row(engine, "lost").reason) == ("not_sent", "expired")
    assert slack.delivery_ids() == ["came"]


def test_a_sender_that_slept_through_its_lease_does_not_post(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    queue(engine, "a1")
    clock = iter([NOW, NOW, NOW, NOW + timedelta(seconds=50)])
    deliver(engine, settings=connected(settings, slack), now=lambda: next(clock, NOW + LEASE))
    assert slack.delivery_ids() == [] and "about to end" in row(engine, "a1").last_error


def test_a_confirmation_after_the_claim_has_passed_on_changes_nothing(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    queue(engine, "a1")
    slack.faults[POST].append(("stall", 0.3))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(deliver, engine, settings=connected(settings, slack), now=at(NOW))
        wait_for(lambda: POST in slack.calls)
        with writing(engine) as connection:
            connection.execute(update(deliveries).values(claim_token="another's"))
        assert first.result()["sent"] == 0
    assert row(engine, "a1").state == "sending"


# --- channels that fail -------------------------------------------------------------------------------------


def test_a_channel_that_is_down_blocks_no_other_and_wears_nothing_out(
    engine: Engine, settings: Settings, mailbox: Mailbox
) -> None:
    settings = connected(settings, None, mailbox)  # Slack is not connected
    queue(engine, "s1", "s2")
    queue(engine, "m1", channel="email")
    queue(engine, "f1", channel="folder")
    for day in range(3):
        with pytest.raises(ChannelDown, match="slack: there is no Slack token; mend .* slack_default"):
            deliver(engine, settings=settings, now=at(NOW + day * timedelta(hours=24)))
        again = deliver(engine, settings=settings, now=at(NOW + day * timedelta(hours=24) + 15 * MINUTE))
        assert again["sent"] == 0, "told once a day, at once, by a file: nobody else is there to be told"
    ours = [row(engine, name) for name in ("f1", "m1", "s1", "s2")]
    assert [r.state for r in ours] == ["sent", "sent", "queued", "queued"]
    assert [r.attempts for r in ours] == [1, 1, 0, 0]
    assert row(engine, "s1").last_error == "there is no Slack token"
    deliver(engine, settings=settings, now=at(NOW + timedelta(hours=72)))
    assert {row(engine, name).reason for name in ("s1", "s2")} == {"expired"}
    assert len([r for r in rows(engine) if r.kind == "operations"]) == 3


def test_a_rotated_token_costs_no_message_and_is_told(
    either_engine: Engine, either_settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    good = connected(either_settings, slack, mailbox)
    rotated = good.model_copy(update={"slack_token": SecretStr("xoxb-rotated-away")})
    queue(either_engine, *[f"a{n}" for n in range(5)])
    queue(either_engine, "person", address="ann@example.com")
    queue(either_engine, "m1", channel="email", address="ann@example.com")
    with pytest.raises(ChannelDown, match="slack: Slack refuses: invalid_auth; mend") as caught:
        deliver(either_engine, settings=rotated, now=at(NOW))
    assert "rotated-away" not in str(caught.value)
    for hour in range(1, 8):
        deliver(either_engine, settings=rotated, now=at(NOW + timedelta(hours=hour)))
    assert sorted(str(mail["Message-ID"]) for mail in mailbox.mails) == [
        "<m1@example.com>",
        "<person@example.com>",
    ]
    assert {(r.state, r.attempts) for r in rows(either_engine) if r.channel == "slack"} == {("queued", 0)}
    for hour in (8, 9):
        deliver(either_engine, settings=good, now=at(NOW + timedelta(hours=hour)))
    assert sorted(slack.delivery_ids()) == ["a0", "a1", "a2", "a3", "a4"]
    assert len(mailbox.mails) == 2


@pytest.mark.usefixtures("mail_clock")
def test_a_wrong_mail_password_costs_no_message(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    with smtp_server(certificate=self_signed(tmp_path), login=("us", "secret")) as mailbox:
        login = {"host": "127.0.0.1", "port": mailbox.port, "verify": False, "user": "us"}
        wrong = settings.model_copy(update={"smtp": Smtp(**login, password=SecretStr("old"))})
        good = settings.model_copy(update={"smtp": Smtp(**login, password=SecretStr("secret"))})
        queue(engine, "m1", "m2", channel="email")
        with pytest.raises(ChannelDown, match="email: .* user or password: 535 .*smtp_default"):
            deliver(engine, settings=wrong, now=at(NOW))
        for hour in range(1, 6):
            deliver(engine, settings=wrong, now=at(NOW + timedelta(hours=hour)))
        assert {(r.state, r.attempts) for r in rows(engine) if r.channel == "email"} == {("queued", 0)}
        assert deliver(engine, settings=good, now=at(NOW + timedelta(hours=8)))["sent"] == 2


def test_a_doubt_that_lacks_the_scope_for_its_look_up_holds_up_nobody(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    settings = connected(settings, slack)
    queue(engine, "a1")
    slack.faults[POST].append("drop")
    deliver(engine, settings=settings, now=at(NOW))
    queue(engine, "a2")
    slack.faults["conversations.history"].append(("error", "missing_scope", {"needed": "im:history"}))
    with pytest.raises(ChannelDown, match="needs the scope im:history"):
        deliver(engine, settings=settings, now=at(NOW + LEASE))
    assert slack.delivery_ids() == ["a1", "a2"] and row(engine, "a1").state == "uncertain"
    deliver(engine, settings=settings, now=at(NOW + timedelta(hours=1)))
    assert slack.delivery_ids() == ["a1", "a2"] and row(engine, "a1").state == "sent"


def test_messages_that_cannot_be_rendered_hold_up_nobody(engine: Engine, settings: Settings) -> None:
    path = tuple(PathPoint(on=date(2026, 2, n), score=10**400) for n in (2, 9))  # no picture can show that
    broken = ALERT.model_copy(update={"cards": (card(path=path),)})
    queue(engine, "a1", "a2", "a3", "a4", channel="folder", message=broken.model_dump(mode="json"))
    queue(engine, "z", channel="folder")
    with pytest.raises(ExceptionGroup) as caught:
        deliver(engine, settings=settings, now=at(NOW))
    assert len(caught.value.exceptions) == 4
    assert [r.state for r in rows(engine)] == ["dead", "dead", "dead", "dead", "sent"]
    assert "cannot be rendered" in row(engine, "a1").last_error


@pytest.mark.parametrize("channel", ["slack", "folder"])
def test_a_crm_full_of_ampersands_is_delivered(
    engine: Engine, settings: Settings, slack: Slack, channel: str
) -> None:
    stage = "&" * 300
    hostile = card(
        stage=stage, headline=f"In {stage} for 40 days", reasons=(f"stage {stage}",) * 3, record=stage
    )
    message = ALERT.model_copy(update={"cards": (hostile,)})
    queue(engine, "bad", "fine", channel=channel, message=message.model_dump(mode="json"))
    assert deliver(engine, settings=connected(settings, slack), now=at(NOW))["sent"] == 2


def test_a_final_no_is_one_dead_message(engine: Engine, settings: Settings, slack: Slack) -> None:
    queue(engine, "a1", address="#general")
    queue(engine, "a2")
    queue(engine, "a3", message={"title": "unreadable"})
    queue(engine, "a4", channel="pigeon")
    counts = deliver(engine, settings=connected(settings, slack), now=at(NOW))
    assert counts["dead"] == 3 and slack.delivery_ids() == ["a2"]
    dead = row(engine, "a1")
    assert (dead.state, dead.reason) == ("dead", "undeliverable")
    assert "no Slack address" in dead.last_error
    assert "cannot be read" in row(engine, "a3").last_error
    assert "no channel 'pigeon'" in row(engine, "a4").last_error


def test_tries_are_bounded(engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox) -> None:
    settings = connected(settings, slack, mailbox)
    queue(engine, "a1")
    queue(engine, "m1", channel="email")
    slack.faults[POST].extend(["refuse"] * 20)
    mailbox.refused["ann@example.com"] = "451 greylisted"
    for hour in range(12):
        deliver(engine, settings=settings, now=at(NOW + hour * timedelta(hours=3)))
    assert slack.calls.count(POST) == 5
    assert (row(engine, "a1").state, row(engine, "m1").state) == ("dead", "dead")
    assert "greylisted" in row(engine, "m1").last_error and row(engine, "m1").attempts == 5


def test_three_lost_replies_in_a_row_leave_a_channel_alone(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    queue(engine, *[f"a{n}" for n in range(6)])
    slack.faults[POST].extend(["refuse"] * 6)
    counts = deliver(engine, settings=connected(settings, slack), now=at(NOW))
    assert counts["uncertain"] == 3 and slack.calls.count(POST) == 3


def test_a_long_rate_limit_is_kept(engine: Engine, settings: Settings, slack: Slack) -> None:
    queue(engine, "a1", "a2")
    slack.faults[POST].append(("limit", 600))
    deliver(engine, settings=connected(settings, slack), now=at(NOW))
    assert row(engine, "a1").lease_until == NOW + timedelta(seconds=600) and slack.calls == [POST]
    deliver(engine, settings=connected(settings, slack), now=at(NOW + 10 * MINUTE))
    assert slack.delivery_ids() == ["a1", "a2"]


def test_a_rate_limit_of_less_than_a_minute_holds_a_morning_up_for_no_longer(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    ids = [f"a{n}" for n in range(6)]
    queue(engine, *ids, address="ann@example.com")
    slack.members["ann@example.com"] = "U0ANN"
    slack.faults["users.lookupByEmail"].extend([None, None, ("limit", 30), None, ("limit", 20)])
    clock, rests = [NOW], []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        clock[0] += timedelta(seconds=seconds)

    deliver(engine, settings=connected(settings, slack), now=lambda: clock[0], sleep=rest)
    assert sorted(slack.delivery_ids()) == ids and rests == [30, 20]


def test_rate_limits_without_end_are_left_to_the_next_time(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    queue(engine, "a1")
    slack.faults[POST].extend([("limit", 50)] * 50)
    clock = [NOW]

    def rest(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)

    deliver(engine, settings=connected(settings, slack), now=lambda: clock[0], sleep=rest)
    assert clock[0] - NOW <= timedelta(minutes=5) and row(engine, "a1").state == "queued"
    assert row(engine, "a1").attempts == 0, "a rate limit uses no try up"


def test_a_mail_in_doubt_is_sent_once_more_under_the_same_id(
    engine: Engine, settings: Settings, mailbox: Mailbox
) -> None:
    settings = connected(settings, None, mailbox)
    queue(engine, "m1", "m2", channel="email")
    mailbox.after_data.extend(["drop", "drop", None, "drop"])  # m1, m2, then m1 and m2 again
    for minutes in (0, 1, 2, 3):
        deliver(engine, settings=settings, now=at(NOW + minutes * MINUTE))
    assert sorted(str(mail["Message-ID"]) for mail in mailbox.mails) == [
        "<m1@example.com>",
        "<m1@example.com>",
        "<m2@example.com>",
        "<m2@example.com>",
    ]
    assert row(engine, "m1").state == "sent"
    assert row(engine, "m2").state == "dead" and "may have arrived" in row(engine, "m2").last_error


def test_an_error_nobody_foresaw_is_told_after_the_rest_was_sent(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    (home / "outbox").write_text("a file where the folder should be")
    queue(engine, "f1", channel="folder")
    queue(engine, "s1")
    with pytest.raises(ExceptionGroup):
        deliver(engine, settings=connected(settings, slack), now=at(NOW))
    assert slack.delivery_ids() == ["s1"]
    assert row(engine, "f1").state == "uncertain"
