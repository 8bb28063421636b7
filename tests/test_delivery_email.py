"""The real SMTP client against a mail server on loopback."""

import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from dealwatch.delivery import email as channel
from dealwatch.delivery import email_pictures
from dealwatch.delivery.messages import Message, PathPoint
from dealwatch.delivery.parcel import Parcel, Refused, TryLater, Uncertain
from dealwatch.knobs import Delivery, Smtp
from dealwatch.launch.airflow_home import free_port
from dealwatch.settings import Settings
from delivery_samples import ALERT, OPERATIONS, card
from standins.smtp import Clock, Mailbox, endless_answer, self_signed, smtp_server

ANN, BOB = "ann@example.com", "bob@example.com"


def settings_of(port: int, **changes: object) -> Settings:
    smtp = Smtp.model_validate({"host": "127.0.0.1", "port": port, "starttls": False, **changes})
    return Settings(smtp=smtp, delivery=Delivery(sender="dealwatch@example.com"))


def parcel(title: str = ALERT.title) -> Parcel:
    return Parcel(
        delivery_id="a1",
        as_of=datetime(2026, 3, 2, 5, tzinfo=UTC),
        address=ANN,
        message=ALERT.model_copy(update={"title": title}),
        first_claimed_at=datetime(2026, 3, 2, 7, tzinfo=UTC),
    )


def test_a_mail_holds_text_and_html_and_says_that_it_is_automatic(mailbox: Mailbox) -> None:
    receipt = channel.send(parcel(), ANN, settings=settings_of(mailbox.port))
    (mail,) = mailbox.mails
    assert receipt.ref == mail["Message-ID"] == "<a1@example.com>" and receipt.note == ""
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Mon, 02 Mar 2026 07:00:00 +0000"
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None and text.get_content().startswith(ALERT.title)
    assert html is not None and html.get_content().startswith("<!doctype html>")


def test_the_same_delivery_is_the_same_mail(mailbox: Mailbox) -> None:
    for _ in range(2):
        channel.send(parcel(), ANN, settings=settings_of(mailbox.port))
    first, second = mailbox.mails
    assert first.items()[:-1] == second.items()[:-1]  # the multipart boundary aside


def test_a_title_adds_no_header(mailbox: Mailbox) -> None:
    hostile = 'Call\r\nBcc: all@example.com\n\n<!channel> "Söhne" & {x} ' + "x" * 300
    channel.send(parcel(hostile), ANN, settings=settings_of(mailbox.port))
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None and mail["To"] == ANN
    assert mail["Subject"].startswith('Call Bcc: all@example.com <!channel> "Söhne" & {x}')
    assert len(mail["Subject"]) <= 150


def test_one_refused_recipient_of_two_is_noted(mailbox: Mailbox) -> None:
    mailbox.refused[BOB] = "550 no such user"
    receipt = channel.send(parcel(), f"{ANN}, {BOB}", settings=settings_of(mailbox.port))
    assert receipt.note == "refused: bob@example.com: 550 no such user"
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("reply", "meaning"), [("550 no such user", Refused), ("451 greylisted, come back", TryLater)]
)
def test_a_refused_recipient_is_final_or_not_as_the_code_says(
    mailbox: Mailbox, reply: str, meaning: type[Exception]
) -> None:
    mailbox.refused[ANN] = reply
    with pytest.raises(meaning, match=reply[4:]):
        channel.send(parcel(), ANN, settings=settings_of(mailbox.port))


@pytest.mark.parametrize(
    ("reply", "meaning"), [("554 spam", Refused), ("452 full", TryLater), ("drop", Uncertain)]
)
def test_the_end_of_the_data_decides(mailbox: Mailbox, reply: str, meaning: type[Exception]) -> None:
    mailbox.after_data.append(reply)
    with pytest.raises(meaning):
        channel.send(parcel(), ANN, settings=settings_of(mailbox.port))
    assert len(mailbox.mails) == (1 if reply == "drop" else 0)


@pytest.mark.usefixtures("mail_clock")
def test_starttls_encrypts_and_checks_the_certificate(tmp_path: Path) -> None:
    with smtp_server(certificate=self_signed(tmp_path), login=("us", "secret")) as mailbox:
        login = {"starttls": True, "user": "us", "password": SecretStr("secret")}
        with pytest.raises(TryLater, match="certificate"):
            channel.send(parcel(), ANN, settings=settings_of(mailbox.port, **login))
        trusting = settings_of(mailbox.port, verify=False, **login)
        channel.send(parcel(), ANN, settings=trusting)
        wrong = settings_of(mailbox.port, verify=False, **{**login, "password": SecretStr("wrong")})
        with pytest.raises(TryLater, match="user or password: 535") as caught:
            channel.send(parcel(), ANN, settings=wrong)
        assert "wrong" not in str(caught.value)
        assert caught.value.stops_channel and "smtp_default" in caught.value.remedy
    assert mailbox.encrypted == [True]


def test_nothing_is_sent_in_the_clear_when_tls_was_asked_for(mailbox: Mailbox) -> None:
    with pytest.raises(TryLater, match="STARTTLS"):
        channel.send(parcel(), ANN, settings=settings_of(mailbox.port, starttls=True))
    assert mailbox.mails == []


def test_a_server_that_is_away_stops_the_channel() -> None:
    for settings in (settings_of(free_port()), Settings()):
        with pytest.raises(TryLater) as caught:
            channel.send(parcel(), ANN, settings=settings)
        assert caught.value.stops_channel


def test_what_a_person_must_mend_is_told_apart_from_an_outage(mailbox: Mailbox) -> None:
    def remedy(settings: Settings) -> str:
        with pytest.raises(TryLater) as caught:
            channel.send(parcel(), ANN, settings=settings)
        assert caught.value.stops_channel
        return caught.value.remedy

    assert remedy(settings_of(free_port())) == ""
    assert "smtp_default" in remedy(Settings())
    assert "smtp_default" in remedy(settings_of(mailbox.port, starttls=True))
    mailbox.sender_refused = "553 not your address"
    assert "delivery.sender" in remedy(settings_of(mailbox.port))
    mailbox.sender_refused = "530 authentication required"
    assert "smtp_default" in remedy(settings_of(mailbox.port))
    mailbox.sender_refused = ""
    mailbox.refused[ANN] = "530 authentication required"
    assert "smtp_default" in remedy(settings_of(mailbox.port))


def test_a_mail_too_big_for_the_server_is_that_mails_own_fault(mailbox: Mailbox) -> None:
    mailbox.sender_refused = "552 too big"
    with pytest.raises(Refused, match="too big"):
        channel.send(parcel(), ANN, settings=settings_of(mailbox.port))


@pytest.mark.parametrize(("slow", "stops"), [({"EHLO": 30, "MAIL": 30}, True), ({"RCPT": 80}, False)])
def test_a_server_too_slow_for_the_deadline_is_offered_nothing(
    mailbox: Mailbox, slow: dict[str, float], stops: bool
) -> None:
    mailbox.slow = slow
    with pytest.raises(TryLater, match="too slowly|too long") as caught:
        channel.send(parcel(), ANN, settings=settings_of(mailbox.port), within=timedelta(seconds=120))
    assert mailbox.offered == 0 and caught.value.stops_channel is stops


def test_a_server_that_keeps_silent_is_not_waited_for() -> None:
    with smtp_server() as mailbox:
        mailbox.slow["EHLO"] = 60
        began = time.monotonic()
        with pytest.raises(TryLater) as caught:
            channel.send(parcel(), ANN, settings=settings_of(mailbox.port), within=timedelta(seconds=1))
        assert time.monotonic() - began < 30, "it waited for the server"
    assert mailbox.offered == 0 and caught.value.stops_channel


def test_an_answer_that_never_ends_is_a_doubt_at_the_deadline(mail_clock: Clock) -> None:
    with endless_answer(mail_clock) as port, pytest.raises(Uncertain):
        channel.send(parcel(), ANN, settings=settings_of(port), within=timedelta(seconds=120))
    assert mail_clock.now >= 1_000 + 120


@pytest.mark.parametrize(
    "address", ["", "ann", "ann@", "@example.com", "a b@example.com", "a@b.c\nBcc: d@e.f", "C0"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Refused):
        channel.destination(address, settings=Settings())
    assert channel.destination(f"Ann <{ANN}>", settings=Settings()) == ANN


def test_a_mail_offers_the_way_to_its_readers_own_settings(mailbox: Mailbox, tmp_path: Path) -> None:
    told = settings_of(mailbox.port)
    delivery = told.delivery.model_copy(update={"public_url": "https://airflow.example.com"})
    settings = told.model_copy(update={"delivery": delivery, "home": tmp_path})
    for_ann = replace(parcel(), recipient="ann")
    for _ in range(2):
        channel.send(for_ann, ANN, settings=settings)
    first, second = mailbox.mails
    way = str(first["List-Unsubscribe"]).replace(" ", "")
    assert way.startswith("<https://airflow.example.com/dealwatch/settings?token=") and way.endswith(">")
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert first["List-Unsubscribe"] == second["List-Unsubscribe"], "the same delivery is the same mail"
    operations = replace(for_ann, message=OPERATIONS)
    channel.send(operations, ANN, settings=settings)
    channel.send(for_ann, ANN, settings=told)
    assert [mail["List-Unsubscribe"] for mail in mailbox.mails[2:]] == [None, None]


def deliver(mailbox: Mailbox, message: Message) -> None:
    """Both steps of the way, as the sender takes them."""
    settings = settings_of(mailbox.port)
    channel.send(channel.ready(replace(parcel(), message=message), settings=settings), ANN, settings=settings)


def test_a_picture_rides_inside_the_mail(mailbox: Mailbox) -> None:
    path = tuple(PathPoint(on=date(2026, 2, n), score=60 + n) for n in (2, 9, 16, 23))
    message = ALERT.model_copy(update={"cards": (card(path=path),)})
    deliver(mailbox, message)
    (mail,) = mailbox.mails
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert picture["Content-Disposition"] == "inline" and picture.get_content().startswith(b"\x89PNG")
    html = mail.get_body(("html",))
    assert html is not None and f'src="cid:{picture["Content-ID"][1:-1]}"' in html.get_content()
    text = mail.get_body(("plain",))
    assert text is not None and text.get_content().startswith(ALERT.title)
    assert not [part for part in mail.walk() if part.is_attachment()]


def test_the_time_that_a_picture_takes_is_not_the_mail_servers(
    mailbox: Mailbox, mail_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(_: Message) -> bytes:
        mail_clock.now += 30  # what the drawing library's first day on a slow machine may take
        return b"\x89PNG"

    monkeypatch.setattr(email_pictures, "chart_png", slowly)
    deliver(mailbox, ALERT)
    assert [part.get_content_type() for part in mailbox.mails[0].walk()].count("image/png") == 1


def test_a_picture_that_cannot_be_drawn_costs_no_mail(mailbox: Mailbox) -> None:
    path = tuple(PathPoint(on=date(2026, 2, n), score=10**400) for n in (2, 9))
    message = ALERT.model_copy(update={"cards": (card(path=path),)})
    deliver(mailbox, message)
    assert [part.get_content_type() for part in mailbox.mails[0].walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
    ]


def test_greylisting_is_told_apart_from_other_refusals_for_a_while(mailbox: Mailbox) -> None:
    for reply, is_greylist in (("451 greylisted", True), ("450 try again", True), ("452 full", False)):
        mailbox.refused[ANN] = reply
        with pytest.raises(TryLater) as caught:
            channel.send(parcel(), ANN, settings=settings_of(mailbox.port))
        assert caught.value.is_greylist is is_greylist and not caught.value.stops_channel
