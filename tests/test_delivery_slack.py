"""The real Slack client against a Slack on loopback: what each answer means for the message."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from dealwatch.delivery import slack as channel
from dealwatch.delivery.parcel import NoSuchRecipient, Parcel, Refused, TryLater, Uncertain
from dealwatch.knobs import Delivery
from dealwatch.launch.airflow_home import free_port
from dealwatch.settings import Settings
from delivery_samples import ALERT
from standins.slack import TOKEN, Slack

POST = "chat.postMessage"


@pytest.fixture
def slack(slack: Slack) -> Slack:
    slack.members["ann@example.com"] = "U0ANN"
    return slack


@pytest.fixture
def connected(slack: Slack, tmp_path: Path) -> Settings:
    return settings_of(slack, tmp_path)


def settings_of(slack: Slack, folder: Path, **changes: object) -> Settings:
    values = {
        "home": folder / "home",
        "slack_token": SecretStr(TOKEN),
        "slack_url": slack.url,
    }
    return Settings.model_validate({**values, **changes})


def parcel(delivery_id: str = "a1") -> Parcel:
    return Parcel(
        delivery_id=delivery_id,
        as_of=datetime(2026, 3, 2, 5, tzinfo=UTC),
        address="C0GENERAL",
        message=ALERT,
        first_claimed_at=datetime.now(UTC),
    )


def test_a_message_is_posted_with_its_opaque_id(slack: Slack, connected: Settings) -> None:
    receipt = channel.send(parcel(), "C0GENERAL", settings=connected)
    (posted,) = slack.messages["C0GENERAL"]
    assert receipt.ref == f"C0GENERAL:{posted['ts']}"
    assert posted["metadata"] == {"event_type": "dealwatch_delivery", "event_payload": {"delivery_id": "a1"}}
    assert posted["text"].startswith(ALERT.title)
    assert posted["unfurl_links"] is False


def test_a_person_is_reached_by_email_or_id_in_direct_messages(slack: Slack, connected: Settings) -> None:
    assert channel.destination("ann@example.com", settings=connected) == "D0ANN"
    assert channel.destination("U0ANN", settings=connected) == "D0ANN"
    assert channel.destination("C0GENERAL", settings=connected) == "C0GENERAL"
    with pytest.raises(NoSuchRecipient, match="users_not_found"):
        channel.destination("bob@example.com", settings=connected)
    with pytest.raises(Refused, match="#general"):
        channel.destination("#general", settings=connected)


def test_a_message_is_found_on_whichever_page_it_is(slack: Slack, connected: Settings) -> None:
    slack.page = 2
    for n in range(7):
        channel.send(parcel(f"a{n}"), "C0GENERAL", settings=connected)
    found = channel.find(parcel("a1"), "C0GENERAL", settings=connected)
    assert found is not None and found.ref.endswith(slack.messages["C0GENERAL"][1]["ts"])
    assert channel.find(parcel("zz"), "C0GENERAL", settings=connected) is None


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        ("drop", True),
        (("slow", 1.5), True),
        ("refuse", False),
        ("unavailable", False),
        ("html", False),
        (("error", "internal_error"), False),
    ],
)
def test_no_answer_is_doubt_and_is_not_posted_again(
    slack: Slack, connected: Settings, fault: str | tuple[str, object], arrives: bool
) -> None:
    slack.faults[POST].append(fault)
    impatient = connected.model_copy(update={"delivery": Delivery(timeout_seconds=1)})
    with pytest.raises(Uncertain):
        channel.send(parcel(), "C0GENERAL", settings=impatient if "slow" in fault else connected)
    assert slack.calls == [POST]
    assert not arrives or slack.committed.wait(60)
    assert (channel.find(parcel(), "C0GENERAL", settings=connected) is not None) is arrives


def test_a_short_rate_limit_is_waited_out(slack: Slack, connected: Settings) -> None:
    slack.faults[POST].append(("limit", 0))
    channel.send(parcel(), "C0GENERAL", settings=connected)
    assert slack.delivery_ids() == ["a1"]


def test_a_long_rate_limit_is_left_to_the_outbox(slack: Slack, connected: Settings) -> None:
    slack.faults[POST].append(("limit", 60))
    with pytest.raises(TryLater) as caught:
        channel.send(parcel(), "C0GENERAL", settings=connected)
    assert caught.value.wait == timedelta(seconds=60) and caught.value.stops_channel


@pytest.mark.parametrize("code", ["channel_not_found", "not_in_channel", "is_archived"])
def test_a_channel_that_does_not_let_us_in_is_no_messages_fault(
    slack: Slack, connected: Settings, code: str
) -> None:
    slack.faults[POST].append(("error", code))
    with pytest.raises(TryLater, match=code) as caught:
        channel.send(parcel(), "C0GENERAL", settings=connected)
    assert caught.value.stops_place and not caught.value.stops_channel
    assert caught.value.fault == f"{code} C0GENERAL" and "/invite" in caught.value.remedy


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_too_long"])
def test_slacks_no_is_final_and_says_why(slack: Slack, connected: Settings, code: str) -> None:
    slack.faults[POST].append(("error", code))
    with pytest.raises(Refused, match=code):
        channel.send(parcel(), "C0GENERAL", settings=connected)


def test_a_wrong_token_stops_the_channel_until_it_is_mended(slack: Slack, tmp_path: Path) -> None:
    settings = settings_of(slack, tmp_path, slack_token=SecretStr("xoxb-wrong"))
    with pytest.raises(TryLater, match="invalid_auth") as caught:
        channel.send(parcel(), "C0GENERAL", settings=settings)
    assert caught.value.stops_channel and "slack_default" in caught.value.remedy


@pytest.mark.parametrize("code", ["not_authed", "account_inactive", "token_revoked", "missing_scope"])
def test_what_is_wrong_with_our_account_is_no_messages_fault(
    slack: Slack, connected: Settings, code: str
) -> None:
    slack.faults[POST].append(("error", code))
    with pytest.raises(TryLater, match=code) as caught:
        channel.send(parcel(), "C0GENERAL", settings=connected)
    assert caught.value.stops_channel and caught.value.remedy


def test_without_the_scope_for_look_ups_messages_can_still_be_posted(
    slack: Slack, connected: Settings
) -> None:
    slack.faults["conversations.history"].append(("error", "missing_scope", {"needed": "im:history"}))
    with pytest.raises(TryLater, match="needs the scope im:history") as caught:
        channel.find(parcel(), "C0GENERAL", settings=connected)
    assert caught.value.remedy and not caught.value.stops_channel


def test_what_cannot_be_reached_was_certainly_not_told(slack: Slack, tmp_path: Path) -> None:
    closed = settings_of(slack, tmp_path, slack_url=f"http://127.0.0.1:{free_port()}/api/")
    unset = settings_of(slack, tmp_path, slack_token=None)
    for settings in (closed, unset):
        with pytest.raises(TryLater) as caught:
            channel.send(parcel(), "C0GENERAL", settings=settings)
        assert caught.value.stops_channel


def test_the_token_is_not_sent_in_the_clear(slack: Slack, tmp_path: Path) -> None:
    settings = settings_of(slack, tmp_path, slack_url="http://slack.example.com/api/")
    with pytest.raises(TryLater, match="not https") as caught:
        channel.send(parcel(), "C0GENERAL", settings=settings)
    assert caught.value.stops_channel and "https://" in caught.value.remedy
