"""A review in each channel: its sentences, actions and pictures, whatever the CRM's words try to be."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from slack_sdk.models.blocks import Block
from sqlalchemy import Engine, delete, insert

from dealwatch.delivery import email as mail_channel
from dealwatch.delivery import folder as folder_channel
from dealwatch.delivery.messages import COMPOSED, Message, Told
from dealwatch.delivery.outbox import deliver
from dealwatch.delivery.pages import html_page, text_page
from dealwatch.delivery.parcel import Parcel
from dealwatch.delivery.slack_blocks import slack_payload
from dealwatch.delivery.teams_card import MOST_BYTES, teams_body
from dealwatch.settings import Settings
from dealwatch.tables import pictures
from dealwatch.warehouse import writing
from delivery_samples import HOSTILE_NAMES, PNGS, REVIEW, pictures_of
from outbox_rows import NOW, at, connected, queue, row
from standins.slack import Slack, broken_limit
from standins.smtp import Mailbox
from standins.teams import Webhook, is_card
from test_delivery_rendering import Page

ANN = "ann@example.com"
FILE = "F0STAND00001"


def parcel(message: Message = REVIEW, **changes: Any) -> Parcel:
    made = Parcel("r1", datetime(2026, 3, 2, 5, tzinfo=UTC), ANN, message, NOW, pictures=PNGS)
    return replace(made, **changes)


def keep(engine: Engine, **changes: bytes) -> None:
    with writing(engine) as connection:
        for picture in REVIEW.pictures:
            png = changes.get(picture.name, PNGS[picture.name])
            connection.execute(insert(pictures).values(sha256=picture.sha256, png=png))


def queue_review(engine: Engine, channel: str, message: Message = REVIEW, *, delivery_id: str = "r1") -> None:
    queue(engine, delivery_id, channel=channel, kind="review", message=message.model_dump(mode="json"))


def hostile(name: str) -> Message:
    told = Told(sentence=name, action=name, action_evidence=name, picture="bridge")
    shown = tuple(one.model_copy(update={"title": name, "words": name}) for one in REVIEW.pictures)
    return Message(
        kind="review", title=name, intro=name, told=(told,) * 5, pictures=shown, unsaid=name, footer=name
    )


def test_a_mail_shows_each_picture_where_its_sentence_is(
    engine: Engine, settings: Settings, mailbox: Mailbox
) -> None:
    keep(engine)
    queue_review(engine, "email")
    deliver(engine, settings=connected(settings, mailbox=mailbox), now=at(NOW))
    (mail,) = mailbox.mails
    images = {part["Content-ID"]: part for part in mail.walk() if part.get_content_type() == "image/png"}
    assert list(images) == ["<bridge.r1@example.com>", "<stages.r1@example.com>"], "none twice, none unused"
    assert images["<stages.r1@example.com>"].get_content() == PNGS["stages"]
    assert all(part["Content-Disposition"] == "inline" for part in images.values())
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None and text is not None
    page = Page(html.get_content())
    assert page.links == ["cid:bridge.r1@example.com", "cid:stages.r1@example.com", REVIEW.more_url]
    assert 'alt="What the bridge shows: 22.3% to 39.0%."' in html.get_content()
    for told in REVIEW.told:
        assert told.sentence in page.text and told.action in page.text
        assert told.sentence.split()[0] in text.get_content()
    assert REVIEW.unsaid in page.text and REVIEW.footer in page.text


def test_the_folder_has_it_whole_and_lists_it(engine: Engine, settings: Settings) -> None:
    keep(engine)
    queue_review(engine, "folder")
    deliver(engine, settings=settings, now=at(NOW))
    page = (settings.home / "outbox" / row(engine, "r1").provider_ref).read_text("utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert REVIEW.title in (settings.home / "outbox" / "index.html").read_text("utf-8")


def test_what_names_reps_is_for_us_alone_in_the_folder(settings: Settings) -> None:
    for is_private, mode in ((True, 0o600), (False, 0o644)):
        message = REVIEW.model_copy(update={"is_private": is_private})
        receipt = folder_channel.send(parcel(message), ANN, settings=settings)
        path = settings.home / "outbox" / receipt.ref
        for ending in (".html", ".txt", ".slack.json"):
            assert os.stat(path.with_suffix(ending)).st_mode & 0o777 == mode


def test_teams_gets_sentences_and_no_picture(engine: Engine, settings: Settings, webhook: Webhook) -> None:
    keep(engine)
    queue_review(engine, "teams")
    deliver(engine, settings=connected(settings, webhook=webhook), now=at(NOW))
    assert row(engine, "r1").state == "sent"
    body = teams_body(REVIEW)
    assert b"Starter deals closed" in body and b"Do next: Read the last ten" in body and b"image" not in body


@pytest.mark.parametrize("channel", ["slack", "teams"])
def test_what_names_reps_never_goes_to_a_shared_place(
    engine: Engine, settings: Settings, slack: Slack, webhook: Webhook, channel: str
) -> None:
    private = REVIEW.model_copy(update={"is_private": True})
    queue_review(engine, channel, message=private)
    deliver(engine, settings=connected(settings, slack=slack, webhook=webhook), now=at(NOW))
    assert row(engine, "r1").state == "dead" and "shared place" in row(engine, "r1").last_error
    assert not slack.messages["C0GENERAL"] and not slack.files and not webhook.cards


@pytest.mark.parametrize("fault", ["lost", "broken"])
def test_a_lost_picture_costs_the_message_nothing_else(
    engine: Engine, settings: Settings, mailbox: Mailbox, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    keep(engine, bridge=b"\x89PNG of something else")
    if fault == "lost":
        with writing(engine) as connection:
            connection.execute(delete(pictures).where(pictures.c.sha256 == REVIEW.pictures[0].sha256))
    queue_review(engine, "email")
    deliver(engine, settings=connected(settings, mailbox=mailbox), now=at(NOW))
    (mail,) = mailbox.mails
    shown = [part["Content-ID"] for part in mail.walk() if part.get_content_type() == "image/png"]
    assert shown == ["<stages.r1@example.com>"]
    said = {"lost": "the picture bridge is lost", "broken": "the picture bridge is not what it was"}[fault]
    assert f"delivery r1: {said}" in caplog.text


def test_a_message_that_is_none_harms_no_other(engine: Engine, settings: Settings, mailbox: Mailbox) -> None:
    keep(engine)
    for number, broken in enumerate(([], {"pictures": [{}]}, {"pictures": 3}, {"pictures": "no"})):
        queue(engine, f"b{number}", channel="email", message=broken)
    queue_review(engine, "email")
    deliver(engine, settings=connected(settings, mailbox=mailbox), now=at(NOW))
    assert row(engine, "r1").state == "sent" and len(mailbox.mails) == 1
    assert {row(engine, f"b{number}").state for number in range(4)} == {"dead"}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_words_are_only_words_in_slack(name: str) -> None:
    payload = slack_payload(hostile(name), picture_ref=FILE)
    assert broken_limit(payload) is None
    for block in payload["blocks"]:
        Block.parse(block).validate_json()
        assert "mrkdwn" not in json.dumps(block), "nothing in it is a mention, a link, bold or an emoji"
    for text in _texts(payload):
        assert "<" not in text and ">" not in text and "\r" not in text
        assert all(part.startswith(("amp;", "lt;", "gt;")) for part in text.split("&")[1:])
    assert "<!" not in payload["text"] and "<@" not in payload["text"]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [one for name, part in value.items() if name != "alt_text" for one in _texts(part)]
    if isinstance(value, list):
        return [one for part in value for one in _texts(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_words_are_only_words_elsewhere(name: str, mailbox: Mailbox, settings: Settings) -> None:
    shown = {name: "data:," for name in PNGS}
    plain, page = (Page(html_page(hostile(told), pictures=shown)) for told in ("Plain", name or "Plain"))
    assert page.tags == plain.tags and page.links == plain.links
    assert len(page.attributes) == len(plain.attributes)
    assert "\r" not in text_page(hostile(name))
    body = teams_body(hostile(name))
    assert len(body) <= MOST_BYTES and is_card(json.loads(body))
    mail_channel.send(parcel(hostile(name)), ANN, settings=connected(settings, mailbox=mailbox))
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None and mail["To"] == ANN and len(mail["Subject"]) <= 150


def test_the_longest_review_fits_into_slack() -> None:
    message = hostile("&" * 5000)
    payload = slack_payload(message, picture_ref=FILE)
    assert broken_limit(payload) is None
    assert len([block for block in payload["blocks"] if block["type"] == "section"]) == 6


def test_pictures_that_nobody_names_are_not_attached() -> None:
    message = REVIEW.model_copy(update={"told": REVIEW.told[:1], "pictures": pictures_of(PNGS)})
    page = html_page(message, pictures=dict.fromkeys(PNGS, "data:,"))
    assert page.count("<img") == 1 and COMPOSED in PNGS
