"""A review's picture in Slack: uploaded ahead, shown in the one post, and worth no message if it fails."""

import logging
import os
import signal
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from dealwatch.delivery.messages import COMPOSED
from dealwatch.delivery.outbox import deliver
from dealwatch.settings import Settings
from delivery_samples import PNGS, REVIEW
from outbox_rows import LEASE, MINUTE, NOW, POST, at, connected, row
from standins.slack import TOKEN, UPLOAD, Slack
from standins.slack_files import SECRET_PATH
from standins.smtp import Mailbox
from test_delivery_killed import born, nursery
from test_delivery_outbox import wait_for
from test_delivery_review import keep, queue_review

URL_CALL, COMPLETE = "files.getUploadURLExternal", "files.completeUploadExternal"
STEPS = (URL_CALL, UPLOAD, COMPLETE)


@pytest.fixture
def ours(engine: Engine, settings: Settings, slack: Slack) -> Settings:
    keep(engine)
    queue_review(engine, "slack")
    return connected(settings, slack)


def shown(slack: Slack) -> list[dict[str, Any]]:
    """The image blocks of the one message that exists."""
    assert slack.delivery_ids() == ["r1"]
    (message,) = slack.messages["C0GENERAL"]
    return [block for block in message["blocks"] if block["type"] == "image"]


def test_one_message_shows_one_private_file(engine: Engine, ours: Settings, slack: Slack) -> None:
    deliver(engine, settings=ours, now=at(NOW))
    ((file_id, file),) = slack.files.items()
    assert (file["body"], file["is_complete"], file["channel"]) == (PNGS[COMPOSED], True, None)
    (image,) = shown(slack)
    assert image["slack_file"] == {"id": file_id} and image["alt_text"] == REVIEW.pictures[2].words
    assert slack.calls == [*STEPS, POST]
    assert (row(engine, "r1").state, row(engine, "r1").last_error) == ("sent", None)


def test_a_file_that_is_not_ready_is_tried_again(engine: Engine, ours: Settings, slack: Slack) -> None:
    slack.unprocessed, slept = 2, []
    deliver(engine, settings=ours, now=at(NOW), sleep=slept.append)
    assert slept == [1, 2] and len(shown(slack)) == 1 and len(slack.files) == 1
    assert (row(engine, "r1").state, row(engine, "r1").attempts) == ("sent", 1)


def test_a_file_that_never_gets_ready_is_left_out(engine: Engine, ours: Settings, slack: Slack) -> None:
    slack.unprocessed, slept = 99, []
    deliver(engine, settings=ours, now=at(NOW), sleep=slept.append)
    assert slept == [1, 2, 4] and shown(slack) == []
    assert row(engine, "r1").last_error == "sent without its picture: Slack is not done with the picture"


def test_other_blocks_that_slack_refuses_are_no_matter_of_the_picture(
    engine: Engine, ours: Settings, slack: Slack
) -> None:
    slack.faults[POST].append(("error", "invalid_blocks"))
    deliver(engine, settings=ours, now=at(NOW))
    assert row(engine, "r1").state == "dead" and "invalid_blocks" in row(engine, "r1").last_error


def test_without_the_scope_it_goes_without_and_names_it(engine: Engine, ours: Settings, slack: Slack) -> None:
    slack.scopes = {"chat:write"}
    deliver(engine, settings=ours, now=at(NOW))
    assert shown(slack) == [] and row(engine, "r1").state == "sent"
    told = row(engine, "r1").last_error
    assert "missing_scope" in told and "give the app the scope files:write and install it again" in told


@pytest.mark.parametrize("step", [URL_CALL, COMPLETE])
@pytest.mark.parametrize(
    "code", ["file_uploads_disabled", "file_upload_size_restricted", "invalid_arguments"]
)
def test_a_refused_upload_costs_the_message_nothing_else(
    engine: Engine, ours: Settings, slack: Slack, step: str, code: str
) -> None:
    slack.faults[step].append(("error", code))
    deliver(engine, settings=ours, now=at(NOW))
    assert shown(slack) == [] and code in row(engine, "r1").last_error


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", ["drop", "refuse", "unavailable", "html"])
def test_an_upload_that_fails_is_tried_again(
    engine: Engine, ours: Settings, slack: Slack, step: str, fault: str
) -> None:
    slack.faults[step].append(fault)
    if step == UPLOAD and fault == "html":  # a 200 is all that an upload is judged by
        slack.faults[UPLOAD][0] = ("error", 500)
    deliver(engine, settings=ours, now=at(NOW))
    assert slack.delivery_ids() == [] and row(engine, "r1").state == "queued"
    deliver(engine, settings=ours, now=at(NOW + MINUTE))
    assert len(shown(slack)) == 1 and row(engine, "r1").state == "sent"


@pytest.mark.parametrize("step", STEPS)
def test_an_upload_that_always_fails_is_given_up_and_the_message_is_not(
    engine: Engine, ours: Settings, slack: Slack, step: str
) -> None:
    slack.faults[step].extend(["unavailable"] * 3)
    for tries in range(3):
        assert slack.delivery_ids() == []
        deliver(engine, settings=ours, now=at(NOW + tries * MINUTE))
    assert shown(slack) == [] and "sent without its picture" in row(engine, "r1").last_error


def test_a_message_is_not_moved_to_mail_for_its_picture(
    engine: Engine, settings: Settings, slack: Slack, mailbox: Mailbox
) -> None:
    keep(engine)
    queue_review(engine, "slack")
    ours = connected(settings, slack, mailbox, fallback_after=1)
    slack.faults[UPLOAD].append("unavailable")
    deliver(engine, settings=ours, now=at(NOW))
    assert shown(slack) == [] and not mailbox.mails


@pytest.mark.parametrize("step", [URL_CALL, COMPLETE])
def test_a_limit_of_uploads_is_waited_out(engine: Engine, ours: Settings, slack: Slack, step: str) -> None:
    slack.faults[step].append(("limit", 30))
    deliver(engine, settings=ours, now=at(NOW), sleep=lambda _: None)
    assert slack.delivery_ids() == [] and row(engine, "r1").attempts == 0
    deliver(engine, settings=ours, now=at(NOW + MINUTE))
    assert len(shown(slack)) == 1


def test_a_slow_upload_leaves_the_post_its_whole_time(engine: Engine, ours: Settings, slack: Slack) -> None:
    """What is uploaded after the claim could have passed to another sender is not posted."""
    moments = iter([NOW] * 3 + [NOW + LEASE - timedelta(seconds=20)] * 50)
    deliver(engine, settings=ours, now=lambda: next(moments))
    assert slack.calls == list(STEPS) and row(engine, "r1").state == "queued"
    deliver(engine, settings=ours, now=at(NOW + 2 * LEASE))
    assert len(shown(slack)) == 1


def test_a_lost_reply_to_the_post_is_looked_up_and_not_posted_again(
    engine: Engine, ours: Settings, slack: Slack
) -> None:
    slack.faults[POST].append("drop")
    deliver(engine, settings=ours, now=at(NOW))
    deliver(engine, settings=ours, now=at(NOW + LEASE))
    assert len(shown(slack)) == 1 and row(engine, "r1").state == "sent" and len(slack.files) == 1


@pytest.mark.parametrize("fault", ["drop", ("error", 403), "refuse", None])
def test_the_address_of_an_upload_is_in_no_log(
    engine: Engine, ours: Settings, slack: Slack, caplog: pytest.LogCaptureFixture, fault: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    slack.faults[UPLOAD].append(fault)
    deliver(engine, settings=ours, now=at(NOW))
    assert slack.files and SECRET_PATH not in caplog.text and TOKEN not in caplog.text
    assert SECRET_PATH not in str(row(engine, "r1").last_error)


@pytest.mark.slow
def test_a_sender_killed_at_any_call_neither_loses_nor_doubles_it(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    """Killed while the call hangs, and after it was taken and before its answer came."""
    keep(engine)
    ours = connected(settings, slack)
    deaths = [(step, fault) for step in (*STEPS, POST) for fault in ("hang", ("slow", 120))]
    with nursery(settings, slack_token=TOKEN, slack_url=slack.url) as process:
        for number, (step, fault) in enumerate(deaths):
            name, files = f"r{number}", len(slack.files)
            queue_review(engine, "slack", delivery_id=name)
            slack.calls.clear()
            slack.committed.clear()
            slack.faults[step].append(fault)
            pid = born(process)
            is_late = step == POST and fault != "hang"
            wait_for(slack.committed.is_set if is_late else lambda: step in slack.calls)  # noqa: B023
            os.kill(pid, signal.SIGKILL)
            assert row(engine, name).state == "sending"
            deliver(engine, settings=ours, now=at(NOW + timedelta(hours=1)))
            assert (row(engine, name).state, row(engine, name).attempts) == ("sent", 2), step
            assert len(slack.files) - files <= 2, "one file that no message shows may stay behind"
    assert slack.delivery_ids() == [f"r{number}" for number in range(len(deaths))]
    assert all(any(block["type"] == "image" for block in m["blocks"]) for m in slack.messages["C0GENERAL"])
