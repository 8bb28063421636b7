"""What fails by one channel goes by another, once; what a person has to mend is told once a day."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from dealwatch.delivery.outbox import deliver
from dealwatch.errors import ChannelDown
from dealwatch.settings import Settings
from outbox_rows import LEASE, MINUTE, NOW, POST, at, connected, hire, queue, row, rows
from standins.slack import Slack
from standins.smtp import Mailbox
from standins.teams import Webhook

HOUR = timedelta(hours=1)
ANN = "ann@example.com"


def ann(engine: Engine, slack: Slack, delivery_id: str = "a1") -> None:
    """A message for Ann, whom Slack and the CRM know."""
    slack.members[ANN] = "U0ANN"
    if delivery_id == "a1":
        hire(engine, "ann", slack_user_id="U0ANN", email=ANN)
    queue(engine, delivery_id, recipient="ann", address="U0ANN")


def times(settings: Settings, engine: Engine, moments: list[datetime]) -> None:
    for moment in moments:
        deliver(engine, settings=settings, now=at(moment))


# --- by e-mail instead --------------------------------------------------------------------------------------


def test_after_three_failures_a_message_goes_by_e_mail_as_the_same_row(
    either_engine: Engine, either_settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    settings = connected(either_settings, slack, mailbox)
    ann(either_engine, slack)
    slack.faults[POST].extend(["unavailable"] * 9)
    times(settings, either_engine, [NOW + n * HOUR for n in range(3)])
    assert row(either_engine, "a1").state == "uncertain" and mailbox.mails == []
    times(settings, either_engine, [NOW + 3 * HOUR])
    told = row(either_engine, "a1")
    assert (told.state, told.channel, told.first_channel, told.address) == ("sent", "email", "slack", ANN)
    assert [mail["Message-ID"] for mail in mailbox.mails] == ["<a1@example.com>"]
    assert slack.calls.count(POST) == 3 and slack.delivery_ids() == [] and len(rows(either_engine)) == 1


def test_a_doubt_is_looked_up_before_a_message_goes_elsewhere(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    settings = connected(settings, slack, mailbox)
    ann(engine, slack)
    slack.faults[POST].extend(["unavailable", "unavailable", "drop"])
    slack.faults["conversations.history"].extend([None, None, "unavailable", "unavailable"])
    times(settings, engine, [NOW + n * HOUR for n in range(12)])
    assert mailbox.mails == [] and slack.delivery_ids() == ["a1"]
    assert (row(engine, "a1").state, row(engine, "a1").channel) == ("sent", "slack")


def test_whom_slack_does_not_know_is_told_by_e_mail_at_once(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    queue(engine, "a1", address=ANN)
    deliver(engine, settings=connected(settings, slack, mailbox), now=at(NOW))
    assert [mail["To"] for mail in mailbox.mails] == [ANN] and row(engine, "a1").first_channel == "slack"


def test_an_outage_that_lasts_sends_all_by_e_mail_and_a_short_one_sends_none(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    settings = connected(settings, slack, mailbox)
    away = settings.model_copy(update={"slack_url": "http://127.0.0.1:1/api/"})
    for n in range(1, 5):
        ann(engine, slack, f"a{n}")
    queue(engine, "z")  # a channel that many read has no mailbox
    times(away, engine, [NOW, NOW + 15 * MINUTE])
    assert mailbox.mails == []
    times(away, engine, [NOW + 30 * MINUTE])
    assert len(mailbox.mails) == 4 and row(engine, "z").state == "queued"
    times(settings, engine, [NOW + HOUR])
    assert slack.delivery_ids() == ["z"] and len(mailbox.mails) == 4


def test_nothing_goes_by_e_mail_where_e_mail_is_not_wanted(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    settings = connected(settings, slack, mailbox, channels=["slack"])
    ann(engine, slack)
    slack.faults[POST].extend([("error", "invalid_blocks")])
    times(settings, engine, [NOW])
    assert row(engine, "a1").state == "dead" and mailbox.mails == []


def test_an_id_of_the_crm_that_is_a_word_of_ours_gets_nobody_elses_mail(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    settings = connected(settings, slack, mailbox, revops_slack="C0REVOPS", revops_email="revops@example.com")
    hire(engine, "revops", slack_user_id="U0BOB", email="bob@example.com")
    queue(engine, "a1", recipient="revops", address="C0REVOPS")
    queue(engine, "a2", recipient="revops", address="C0TEAM")
    with pytest.raises(ChannelDown, match="channel_not_found"):
        deliver(engine, settings=settings, now=at(NOW))
    assert row(engine, "a1").address == "revops@example.com"
    assert (row(engine, "a2").channel, row(engine, "a2").state) == ("slack", "queued")


def test_a_refused_mail_is_the_end_of_the_way(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    queue(engine, "a1", address=ANN)
    mailbox.refused[ANN] = "550 no such user"
    times(connected(settings, slack, mailbox), engine, [NOW, NOW + HOUR])
    assert row(engine, "a1").state == "dead" and mailbox.offered == 0


def test_a_greylisted_mail_is_tried_again_with_patience(
    engine: Engine, settings: Settings, mailbox: Mailbox
) -> None:
    settings = connected(settings, None, mailbox)
    queue(engine, "m1", channel="email")
    mailbox.refused[ANN] = "451 greylisted, come back later"
    times(settings, engine, [NOW + n * 10 * MINUTE for n in range(6)])
    assert (row(engine, "m1").state, row(engine, "m1").attempts) == ("queued", 0)
    mailbox.refused.clear()
    times(settings, engine, [NOW + HOUR])
    assert row(engine, "m1").state == "sent" and len(mailbox.mails) == 1


# --- told once a day ----------------------------------------------------------------------------------------


def test_a_channel_that_does_not_let_us_in_is_one_notice_and_one_call_a_run(
    either_engine: Engine, either_settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    settings = connected(either_settings, slack, mailbox, operations_email="ops@example.com")
    slack.channels.add("C0OTHER")
    queue(either_engine, *[f"a{n}" for n in range(6)], address="C0SHUT")
    queue(either_engine, "fine", address="C0OTHER")
    with pytest.raises(ChannelDown, match="channel_not_found .C0SHUT.; let the app into C0SHUT"):
        deliver(either_engine, settings=settings, now=at(NOW))
    assert slack.calls.count(POST) == 2 and slack.delivery_ids() == ["fine"]
    times(settings, either_engine, [NOW + n * HOUR for n in range(1, 9)])
    assert slack.calls.count(POST) == 10, "one try a run"
    (notice,) = mailbox.mails
    assert notice["To"] == "ops@example.com" and notice["Subject"].startswith("Mend slack")
    assert "channel_not_found" in str(notice) and "5 more wait" not in notice["Subject"]
    with pytest.raises(ChannelDown):
        deliver(either_engine, settings=settings, now=at(NOW + 24 * HOUR))
    assert len(mailbox.mails) == 2
    slack.channels.add("C0SHUT")
    times(settings, either_engine, [NOW + 25 * HOUR, NOW + 26 * HOUR])
    assert len(slack.delivery_ids()) == 7


def test_the_notice_does_not_go_by_the_channel_that_it_is_about(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    told = {"operations_slack": "C0OPS", "operations_email": "ops@example.com"}
    slack.channels.add("C0OPS")
    settings = connected(settings, slack, mailbox, channels=["slack", "email"], **told)
    queue(engine, "m1", channel="email")
    mailbox.sender_refused = "553 not your address"
    with pytest.raises(ChannelDown, match="email: .*553"):
        deliver(engine, settings=settings, now=at(NOW))
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    (notice,) = slack.messages["C0OPS"]
    assert notice["text"].startswith("Mend email")


def test_a_refused_mailbox_is_told_of_once_a_day_by_the_channel_that_works(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    queue(engine, "a1", "a2", channel="email", address=ANN)
    mailbox.refused[ANN] = "550 no such user"
    settings = connected(settings, slack, mailbox, operations_email="ops@example.com")
    times(settings, engine, [NOW, NOW + HOUR])
    assert [row(engine, name).state for name in ("a1", "a2")] == ["dead", "dead"]
    (notice,) = mailbox.mails
    assert (notice["To"], notice["Subject"]) == (
        "ops@example.com",
        "Correct an address: a message by email reached nobody",
    )
    body = " ".join(notice.get_body(("plain",)).get_content().split())  # type: ignore[union-attr]
    assert "no such user" in body and "correct the address in the CRM" in body


def test_a_notice_that_is_refused_is_told_of_no_more(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    queue(engine, "a1", channel="email", address=ANN)
    mailbox.refused.update({ANN: "550 no such user", "ops@example.com": "550 nor this one"})
    settings = connected(settings, slack, mailbox, operations_email="ops@example.com")
    times(settings, engine, [NOW, NOW + HOUR, NOW + 2 * HOUR])
    assert [one.state for one in rows(engine)] == ["dead", "dead"]


def test_a_notice_says_how_many_messages_wait(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    queue(engine, "a1", "a2", "a3")
    slack.faults[POST].append(("error", "token_revoked"))
    settings = connected(settings, slack, mailbox, operations_email="ops@example.com")
    with pytest.raises(ChannelDown, match="token_revoked"):
        deliver(engine, settings=settings, now=at(NOW))
    assert slack.calls == [POST], "no storm"
    (notice,) = mailbox.mails
    assert "3 more wait in its queue" in notice.get_body(("plain",)).get_content()  # type: ignore[union-attr]


# --- Teams, which cannot be asked ---------------------------------------------------------------------------


def test_a_card_in_doubt_is_not_sent_again_and_somebody_is_told_to_look(
    either_engine: Engine, either_settings: Settings, webhook: Webhook, mailbox: Mailbox
) -> None:
    settings = connected(
        either_settings, None, mailbox, webhook, operations_email="ops@example.com", revops_teams="sales"
    )
    queue(either_engine, "t1", "t2", channel="teams")
    webhook.faults.append("drop")
    times(settings, either_engine, [NOW, NOW + LEASE, NOW + HOUR])
    assert len(webhook.cards) == 2 and webhook.posts == 2
    assert (row(either_engine, "t1").state, row(either_engine, "t1").reason) == ("dead", "in_doubt")
    assert row(either_engine, "t2").state == "sent"
    (notice,) = mailbox.mails
    assert notice["Subject"] == "Look into teams: a message may not have arrived"


def test_a_sender_that_died_over_a_card_leaves_a_doubt(
    engine: Engine, settings: Settings, webhook: Webhook
) -> None:
    queue(engine, "t1", channel="teams", state="sending", attempts=1, lease_until=NOW)
    times(connected(settings, None, None, webhook), engine, [NOW])
    assert row(engine, "t1").reason == "in_doubt" and webhook.posts == 0


def test_a_card_that_fails_three_times_goes_by_e_mail(
    engine: Engine, settings: Settings, webhook: Webhook, mailbox: Mailbox
) -> None:
    settings = connected(
        settings, None, mailbox, webhook, revops_teams="sales", revops_email="revops@example.com"
    )
    queue(engine, "t1", recipient="revops", channel="teams")
    webhook.faults.extend([503] * 3)
    times(settings, engine, [NOW, NOW + HOUR, NOW + 2 * HOUR])
    assert [mail["To"] for mail in mailbox.mails] == ["revops@example.com"] and webhook.cards == []
    assert row(engine, "t1").first_channel == "teams"


# --- pacing -------------------------------------------------------------------------------------------------


def test_one_slack_channel_gets_one_message_a_second(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    settings = connected(settings, slack, slack_pause_seconds=1)
    slack.channels |= {"C0OTHER"}
    queue(engine, "a1", "a2", "a3")
    queue(engine, "b1", address="C0OTHER")
    clock: list[Any] = [NOW]
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += timedelta(seconds=seconds)

    deliver(engine, settings=settings, now=lambda: clock[0], sleep=sleep)
    assert waited == [1, 1] and len(slack.delivery_ids()) == 4
