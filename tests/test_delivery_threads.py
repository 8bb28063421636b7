"""Messages in Slack are changed where they stand, and what follows them stands in their thread."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from dealwatch.delivery import slack as channel
from dealwatch.delivery.outbox import deliver
from dealwatch.delivery.parcel import Parcel, Uncertain
from dealwatch.settings import Settings
from dealwatch.tables import deliveries, tellings
from dealwatch.warehouse import writing
from delivery_samples import ALERT
from outbox_rows import LEASE, MINUTE, NOW, POST, at, connected, open_alert, queue, row
from standins.slack import Slack

UPDATE = "chat.update"
RESOLVED = ALERT.model_copy(update={"state": "Resolved 3 Mar 2026: won & <!channel>"})


def first_sent(engine: Engine, settings: Settings, slack: Slack) -> Settings:
    """Settings that lead to the workspace, where the first message stands."""
    found = connected(settings, slack)
    queue(engine, "first")
    deliver(engine, settings=found, now=at(NOW))
    return found


def posted(slack: Slack) -> list[dict[str, Any]]:
    return slack.messages["C0GENERAL"]


def change(engine: Engine, delivery_id: str, edits: str, *, follows: str | None = None, **more: Any) -> None:
    message = RESOLVED.model_dump(mode="json")
    queue(engine, delivery_id, kind="update", edits=edits, follows=follows, message=message, **more)


def test_a_resolution_changes_the_message_and_leaves_a_note_in_its_thread(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    open_alert(either_engine, "won", state="resolved", resolved_at=NOW, resolution="won")
    settings = first_sent(either_engine, either_settings, slack)
    change(either_engine, "second", "first", follows="first", alert_id="won")
    assert deliver(either_engine, settings=settings, now=at(NOW + MINUTE))["sent"] == 1
    first, note = posted(slack)
    assert first["edits"] == 1 and first["metadata"]["event_payload"] == {"delivery_id": "first"}
    assert note["thread_ts"] == first["ts"] and not note["is_broadcast"]
    assert note["text"] == "Resolved 3 Mar 2026: won &amp; &lt;!channel&gt;"
    assert row(either_engine, "second").provider_ref == row(either_engine, "first").provider_ref


def test_a_change_without_a_note_posts_nothing(engine: Engine, settings: Settings, slack: Slack) -> None:
    settings = first_sent(engine, settings, slack)
    change(engine, "second", "first")
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    assert slack.calls.count(POST) == 1 and posted(slack)[0]["edits"] == 1


@pytest.mark.parametrize(
    "original",
    [
        {"state": "not_sent", "reason": "expired"},
        {"state": "cancelled", "reason": "no_longer_wanted"},
        {"state": "dead", "reason": "undeliverable"},
        {"state": "sent", "channel": "email", "provider_ref": "<first@example.com>"},
        {"state": "sent", "channel": "teams", "provider_ref": "sales:08584"},
    ],
)
def test_what_was_never_sent_or_stands_elsewhere_is_not_changed(
    engine: Engine, settings: Settings, slack: Slack, original: dict[str, Any]
) -> None:
    queue(engine, "first")
    with writing(engine) as connection:
        connection.execute(update(deliveries).values(original))
    change(engine, "second", "first", follows="first")
    deliver(engine, settings=connected(settings, slack), now=at(NOW))
    assert slack.calls == []
    assert (row(engine, "second").state, row(engine, "second").reason) == ("not_sent", "no_edit")


def test_a_change_waits_until_it_is_known_whether_there_is_something_to_change(
    either_engine: Engine, either_settings: Settings, slack: Slack
) -> None:
    settings = connected(either_settings, slack)
    queue(either_engine, "first")
    change(either_engine, "second", "first")
    slack.faults[POST].append("drop")
    deliver(either_engine, settings=settings, now=at(NOW))
    assert (row(either_engine, "first").state, row(either_engine, "second").state) == ("uncertain", "queued")
    assert UPDATE not in slack.calls
    deliver(either_engine, settings=settings, now=at(NOW + LEASE))
    assert row(either_engine, "second").state == "sent"
    assert len(posted(slack)) == 1 and posted(slack)[0]["edits"] == 1


@pytest.mark.parametrize("lost", [UPDATE, POST])
def test_a_lost_reply_to_a_change_leaves_one_note(
    engine: Engine, settings: Settings, slack: Slack, lost: str
) -> None:
    settings = first_sent(engine, settings, slack)
    change(engine, "second", "first", follows="first")
    slack.faults[lost].append("drop")
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    assert row(engine, "second").state == "uncertain"
    deliver(engine, settings=settings, now=at(NOW + MINUTE + LEASE))
    assert row(engine, "second").state == "sent"
    assert [m["text"] for m in posted(slack)].count("Resolved 3 Mar 2026: won &amp; &lt;!channel&gt;") == 1
    assert posted(slack)[0]["edits"] == (2 if lost == UPDATE else 1)


def test_changes_of_one_message_go_out_one_after_the_other(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    settings = first_sent(engine, settings, slack)
    change(engine, "b", "first")
    slack.faults[UPDATE].append("unavailable")
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    change(engine, "a", "first", as_of=NOW + timedelta(days=1))
    deliver(engine, settings=settings, now=at(NOW + MINUTE + LEASE / 2))
    assert row(engine, "b").state == "uncertain" and row(engine, "a").state == "queued"
    deliver(engine, settings=settings, now=at(NOW + MINUTE + LEASE))
    assert row(engine, "b").state == row(engine, "a").state == "sent"


def test_a_change_of_a_message_that_somebody_deleted_ends_dead(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    settings = first_sent(engine, settings, slack)
    change(engine, "second", "first", follows="first")
    slack.messages.clear()
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    assert row(engine, "second").state == "dead" and "message_not_found" in row(engine, "second").last_error
    assert slack.calls.count(POST) == 1


def follow_up(engine: Engine, delivery_id: str, kind: str) -> None:
    queue(engine, delivery_id, kind="alert", fingerprint="f", follows="first")
    told = {"as_of": NOW, "level": 1, "amount": 1.0, "is_close_near": False}
    with writing(engine) as connection:
        values = {**told, "delivery_id": delivery_id, "fingerprint": "f", "kind": kind}
        connection.execute(insert(tellings).values(values))


@pytest.mark.parametrize(("kind", "is_loud"), [("reminder", False), ("escalated", True)])
def test_a_follow_up_stands_in_the_thread_and_what_got_worse_is_seen_in_the_channel(
    either_engine: Engine, either_settings: Settings, slack: Slack, kind: str, is_loud: bool
) -> None:
    open_alert(either_engine, "a", fingerprint="f")
    settings = first_sent(either_engine, either_settings, slack)
    follow_up(either_engine, "second", kind)
    deliver(either_engine, settings=settings, now=at(NOW + MINUTE))
    first, second = posted(slack)
    assert (second["thread_ts"], second["is_broadcast"]) == (first["ts"], is_loud)


@pytest.mark.parametrize("kind", ["reminder", "escalated"])
def test_a_reply_whose_answer_was_lost_is_found_in_the_thread(
    engine: Engine, settings: Settings, slack: Slack, kind: str
) -> None:
    open_alert(engine, "a", fingerprint="f")
    settings = first_sent(engine, settings, slack)
    follow_up(engine, "second", kind)
    slack.faults[POST].append("drop")
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    deliver(engine, settings=settings, now=at(NOW + MINUTE + LEASE))
    assert slack.delivery_ids() == ["first", "second"] and row(engine, "second").state == "sent"


def test_a_follow_up_of_a_message_that_went_elsewhere_stands_for_itself(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    settings = connected(settings, slack)
    queue(engine, "first", state="sent", channel="email", provider_ref="<first@example.com>")
    queue(engine, "second", follows="first")
    queue(engine, "other", state="sent", address="C0OTHER", provider_ref="C0OTHER:1.000001")
    queue(engine, "third", follows="other")
    deliver(engine, settings=settings, now=at(NOW))
    assert [m.get("thread_ts") for m in posted(slack)] == [None, None]


def test_a_thread_whose_first_message_was_deleted_loses_no_news(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    settings = first_sent(engine, settings, slack)
    queue(engine, "second", follows="first")
    slack.messages.clear()
    slack.faults[POST].extend([None, "drop"])  # the thread is refused; the message itself is in doubt
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    deliver(engine, settings=settings, now=at(NOW + MINUTE + LEASE))
    assert slack.delivery_ids() == ["second"] and row(engine, "second").state == "sent"


def test_history_that_lags_behind_is_why_a_doubt_waits_for_its_lease(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    settings = connected(settings, slack)
    queue(engine, "a1")
    slack.faults[POST].append("drop")
    slack.lag = 1
    deliver(engine, settings=settings, now=at(NOW))
    deliver(engine, settings=settings, now=at(NOW + LEASE - timedelta(seconds=1)))
    assert slack.calls == [POST], "nobody asks while the history may lag"
    slack.lag = 0
    deliver(engine, settings=settings, now=at(NOW + LEASE))
    assert slack.delivery_ids() == ["a1"]


def test_a_wrong_timestamp_costs_the_change_and_nothing_else(
    engine: Engine, settings: Settings, slack: Slack
) -> None:
    slack.wrong_ts = True
    settings = first_sent(engine, settings, slack)
    slack.wrong_ts = False
    change(engine, "second", "first")
    queue(engine, "third", follows="first")
    deliver(engine, settings=settings, now=at(NOW + MINUTE))
    assert row(engine, "second").state == "dead" and slack.delivery_ids() == ["first", "third"]


def test_the_look_up_reads_every_page_of_a_thread(slack: Slack, settings: Settings) -> None:
    settings = connected(settings, slack)
    slack.page = 2
    one = Parcel("first", NOW, "C0GENERAL", ALERT, first_claimed_at=datetime.now(UTC))
    first = channel.send(one, "C0GENERAL", settings=settings)
    for n in range(5):
        reply = replace(one, delivery_id=f"r{n}", follows_ref=first.ref)
        channel.send(reply, "C0GENERAL", settings=settings)
    found = channel.find(reply, "C0GENERAL", settings=settings)
    assert found is not None and found.ref.endswith(posted(slack)[-1]["ts"])
    assert channel.find(replace(reply, delivery_id="r9"), "C0GENERAL", settings=settings) is None
    slack.faults["conversations.replies"].append("unavailable")
    with pytest.raises(Uncertain):
        channel.find(reply, "C0GENERAL", settings=settings)
