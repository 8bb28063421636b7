"""The folder holds each message once, whole, and a front page from which all are found."""

import json
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from sqlalchemy import Engine, insert

from dealwatch.alerts.reasons import REASONS
from dealwatch.delivery import folder as channel
from dealwatch.delivery import listing
from dealwatch.delivery.outbox import deliver
from dealwatch.delivery.parcel import Parcel, Refused
from dealwatch.settings import Settings
from dealwatch.tables import alert_events
from dealwatch.warehouse import writing
from delivery_samples import ALERT, DIGEST, HOSTILE_NAMES, OPERATIONS
from outbox_rows import hire
from standins.slack import broken_limit
from test_delivery_outbox import NOW, at, queue, row


def parcel(delivery_id: str = "f1") -> Parcel:
    return Parcel(delivery_id=delivery_id, as_of=NOW, address="ann", message=ALERT, first_claimed_at=NOW)


def files_of(settings: Settings) -> dict[str, bytes]:
    home = channel.outbox_folder(settings)
    return {
        path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()
    }


def test_a_message_is_three_files_and_twice_is_once(settings: Settings) -> None:
    assert channel.find(parcel(), "ann", settings=settings) is None
    receipt = channel.send(parcel(), "ann", settings=settings)
    first = files_of(settings)
    assert sorted(first) == [f"2026-03-02/f1.{ending}" for ending in ("html", "slack.json", "txt")]
    assert receipt.ref == "2026-03-02/f1.html"
    assert broken_limit(json.loads(first["2026-03-02/f1.slack.json"])) is None
    assert channel.find(parcel(), "ann", settings=settings) == receipt
    channel.send(parcel(), "ann", settings=settings)
    assert files_of(settings) == first


@pytest.mark.parametrize("delivery_id", ["../../evil", "a/b", "", ".", "x" * 200])
def test_an_id_that_is_no_file_name_is_refused(settings: Settings, delivery_id: str) -> None:
    with pytest.raises(Refused):
        channel.send(parcel(delivery_id), "ann", settings=settings)
    assert not channel.outbox_folder(settings).exists()


def test_a_file_is_whole_or_not_there(settings: Settings) -> None:
    path = settings.home / "page.html"
    channel.write_whole(path, "before")
    with pytest.raises(UnicodeEncodeError):
        channel.write_whole(path, "after \ud800")
    assert path.read_text() == "before" and list(path.parent.iterdir()) == [path]


def test_the_front_page_lists_each_message_and_what_was_held_back(engine: Engine, settings: Settings) -> None:
    hostile = ALERT.model_copy(update={"title": HOSTILE_NAMES[0]})
    queue(engine, "f1", channel="folder", kind="alert", message=hostile.model_dump(mode="json"))
    queue(engine, "f2", channel="folder", message=DIGEST.model_dump(mode="json"), recipient="<b>Bo</b>")
    queue(engine, "f3", channel="folder", kind="operations", message=OPERATIONS.model_dump(mode="json"))
    for n in range(3):
        past = NOW - timedelta(days=3)
        queue(engine, f"p{n}", channel="folder", state="not_sent", reason="past_day", as_of=past)
    assert deliver(engine, settings=settings, now=at(NOW))["sent"] == 3
    page = (channel.outbox_folder(settings) / "index.html").read_text()
    links, text = read(page)
    for name in ("f1", "f2", "f3"):
        for ending in ("html", "txt", "slack.json"):
            assert f"2026-03-02/{name}.{ending}" in links
            assert (channel.outbox_folder(settings) / f"2026-03-02/{name}.{ending}").is_file()
    assert HOSTILE_NAMES[0] in text and "to <b>Bo</b>" in text and "<script>alert" not in page
    assert "these 12 deals" in text and text.count("12 deals") == 2 and "Critical 82" in text
    assert "Messages not sent: 3 about a past day" in " ".join(text.split())
    assert text.index("2 Mar 2026") < text.index("27 Feb 2026")
    before = files_of(settings)
    deliver(engine, settings=settings, now=at(NOW + timedelta(hours=1)))
    assert files_of(settings) == before


def test_the_front_page_names_people_and_what_became_of_the_days_alerts(
    engine: Engine, settings: Settings
) -> None:
    hire(engine, "U-03", name="Jonas Müller")
    message = DIGEST.model_copy(update={"kind": "manager_digest", "title": "Look at these 45 deals"})
    queue(engine, "f1", channel="folder", recipient="U-03", message=message.model_dump(mode="json"))
    held = ["budget"] * 3 + ["folded", "past_day"]
    with writing(engine) as connection:
        for n, reason in enumerate(held):
            event = {"alert_id": f"a{n}", "fingerprint": f"a{n}", "at": NOW - timedelta(hours=2)}
            connection.execute(insert(alert_events).values({**event, "kind": "held", "reason": reason}))
    deliver(engine, settings=settings, now=at(NOW))
    text = " ".join(read((channel.outbox_folder(settings) / "index.html").read_text())[1].split())
    assert "Team digest · to Jonas Müller ·" in text and "12 deals" not in text
    assert text.endswith(
        "Alerts without a message of their own: "
        "3 beyond the day's number of single messages or of deals in a digest 1 told within a critical alert"
    )


def test_every_reason_has_its_words_on_the_front_page() -> None:
    assert {*listing._MESSAGES, *listing._ALERTS} == set(REASONS)


def test_without_a_message_there_is_no_front_page(engine: Engine, settings: Settings) -> None:
    deliver(engine, settings=settings, now=at(NOW))
    assert not channel.outbox_folder(settings).exists()


def test_a_message_half_written_by_a_dead_sender_is_finished(engine: Engine, settings: Settings) -> None:
    channel.send(parcel("f1"), "ann", settings=settings)
    whole = files_of(settings)
    (channel.outbox_folder(settings) / "2026-03-02" / "f1.html").unlink()
    queue(engine, "f1", channel="folder", state="sending", lease_until=NOW, first_claimed_at=NOW, attempts=1)
    deliver(engine, settings=settings, now=at(NOW))
    assert row(engine, "f1").state == "sent"
    assert {name: text for name, text in files_of(settings).items() if name != "index.html"} == whole


def read(page: str) -> tuple[list[str], str]:
    links: list[str] = []
    texts: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: links.extend(  # type: ignore[method-assign]
        value or "" for name, value in attrs if name in {"href", "src"}
    )
    parser.handle_data = texts.append  # type: ignore[method-assign]
    parser.feed(page)
    return links, "".join(texts)
