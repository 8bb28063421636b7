"""Links of messages: only ours open, only for what they were made for, and only while they are good."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError

from dealwatch.delivery.links import Offer, link, offered, recipient_of, settings_link
from dealwatch.errors import LinkRefused
from dealwatch.knobs import Delivery
from dealwatch.settings import Settings

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=14)
KEY = SecretStr("k" * 32)
AT = "https://airflow.example.com/airflow"
OURS = Settings(signing_key=KEY, delivery=Delivery(public_url=f"{AT}/"))
LINK = link(OURS, "d1", "f1", "snoozed", "3", by="ann", expires=LATER)
TOKEN = LINK.removeprefix(f"{AT}/dealwatch/answer?token=")
PAGE = settings_link(OURS, "ann", expires=LATER).removeprefix(f"{AT}/dealwatch/settings?token=")


def test_a_link_says_what_it_was_made_for() -> None:
    assert offered(OURS, TOKEN, now=NOW) == Offer("d1", "f1", "snoozed", "3", "ann")
    assert recipient_of(OURS, PAGE, now=NOW) == "ann"


def test_the_same_message_has_the_same_link() -> None:
    assert link(OURS, "d1", "f1", "snoozed", "3", by="ann", expires=LATER) == LINK


def test_no_byte_of_a_link_can_be_changed() -> None:
    for n, letter in enumerate(TOKEN):
        changed = TOKEN[:n] + ("A" if letter != "A" else "B") + TOKEN[n + 1 :]
        # The last letter of base64 holds bits that mean nothing.
        if n < len(TOKEN) - 1:
            with pytest.raises(LinkRefused, match="Open it from the message again"):
                offered(OURS, changed, now=NOW)


@pytest.mark.parametrize("token", ["", ".", "x" * 5000, TOKEN[:-5], PAGE, base64.b64encode(b"{}").decode()])
def test_what_is_not_an_answer_of_ours_is_refused(token: str) -> None:
    with pytest.raises(LinkRefused, match="not one of ours"):
        offered(OURS, token, now=NOW)


def test_an_answer_opens_no_settings() -> None:
    with pytest.raises(LinkRefused, match="not one of ours"):
        recipient_of(OURS, TOKEN, now=NOW)


def test_a_link_ends_at_its_moment_and_says_when_that_was() -> None:
    offered(OURS, TOKEN, now=LATER - timedelta(seconds=1))
    with pytest.raises(LinkRefused, match="good until 16 Mar 2026"):
        offered(OURS, TOKEN, now=LATER)


@pytest.mark.parametrize("other", [{"signing_key": SecretStr("j" * 32)}, {"tenant": "another"}])
def test_another_house_opens_nothing(other: dict[str, object]) -> None:
    with pytest.raises(LinkRefused):
        offered(OURS.model_copy(update=other), TOKEN, now=NOW)


def test_without_a_public_address_there_is_no_link() -> None:
    nowhere = Settings(signing_key=KEY)
    assert link(nowhere, "d1", "f1", "acknowledged", by="ann", expires=LATER) == ""
    assert settings_link(nowhere, "ann", expires=LATER) == ""


@pytest.mark.parametrize(
    "url", ["airflow.example.com", "ftp://example.com", "https://", "https://u:p@x.test", "https://x.test/?a"]
)
def test_an_address_that_makes_no_link_is_refused(url: str) -> None:
    with pytest.raises(
        ValidationError, match=r"public_url\n.*(https://airflow\.example\.com|without \? and #)"
    ):
        Delivery(public_url=url)
