"""E-mail: text and HTML in one message, with an id that stays the same however often it is sent.

Nobody can ask a mail server whether it took a message, so a second copy is possible after a lost reply;
mailboxes that collapse copies do so by the Message-ID.
"""

import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses

from dealwatch.delivery.pages import html_page, text_page
from dealwatch.delivery.parcel import Parcel, Receipt, Refused, TryLater, Uncertain
from dealwatch.delivery.wording import title_of
from dealwatch.settings import Settings, Smtp

LONGEST_SEND = timedelta(seconds=25)
CAN_LOOK_UP = False

_Refusals = Mapping[str, tuple[int, bytes | str]]  # per address, as smtplib tells them


def destination(address: str, *, settings: Settings) -> str:
    """The address, checked: one or more mailboxes separated by commas."""
    try:
        mailboxes = [Address(addr_spec=spec) for _, spec in getaddresses([address])]
    except (HeaderParseError, ValueError, IndexError) as error:
        raise Refused(f"{address!r} is no e-mail address: {error}") from error
    if not mailboxes or not all(mailbox.username and mailbox.domain for mailbox in mailboxes):
        raise Refused(f"{address!r} is no e-mail address; write name@example.com")
    return ", ".join(mailbox.addr_spec for mailbox in mailboxes)


def find(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt | None:
    """Nothing to find: mail servers answer no such question."""
    return None


def send(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt:
    """Hand the message to the mail server and notice every recipient it refuses."""
    if settings.smtp is None:
        raise TryLater("no mail server; set the connection smtp_default or [smtp]", stops_channel=True)
    mail = _mail(parcel, destination, settings)
    with _session(settings.smtp, settings.delivery.timeout_seconds) as server:
        try:
            refused = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            raise _answer(error.recipients) from error
        except smtplib.SMTPResponseException as error:
            raise _answer({destination: (error.smtp_code, error.smtp_error)}) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Refused(f"the mail server cannot take {destination}: {error}") from error
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise Uncertain(f"the mail server left without an answer: {error}") from error
    return Receipt(ref=str(mail["Message-ID"]), note=_told(refused) if refused else "")


def _mail(parcel: Parcel, destination: str, settings: Settings) -> EmailMessage:
    sender = settings.delivery.sender
    domain = getaddresses([sender])[0][1].rpartition("@")[2] or "localhost"
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = destination
    mail["Subject"] = title_of(parcel.message)  # one line without control characters: no header can follow it
    mail["Date"] = format_datetime(parcel.first_claimed_at)
    mail["Message-ID"] = f"<{parcel.delivery_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(text_page(parcel.message))
    mail.add_alternative(html_page(parcel.message), subtype="html")
    return mail


@contextmanager
def _session(smtp: Smtp, timeout: int) -> Iterator[smtplib.SMTP]:
    """A connection that is ready for a message; whatever fails before that has sent nothing."""
    try:
        server = _connected(smtp, timeout)
    except smtplib.SMTPAuthenticationError as error:
        if error.smtp_code // 100 == 5:
            raise Refused(f"{smtp.host} refuses the user or password: {_said(error.smtp_error)}") from error
        raise TryLater(f"{smtp.host}: {_said(error.smtp_error)}", stops_channel=True) from error
    except (smtplib.SMTPException, OSError) as error:
        raise TryLater(f"{smtp.host}:{smtp.port} cannot be used: {error}", stops_channel=True) from error
    try:
        yield server
    finally:
        server.close()  # not quit(): the answer to the message has been read, or there is none


def _connected(smtp: Smtp, timeout: int) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if not smtp.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if smtp.ssl:
        server: smtplib.SMTP = smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=timeout, context=context)
    else:
        server = smtplib.SMTP(smtp.host, smtp.port, timeout=timeout)
    try:
        if smtp.starttls and not smtp.ssl:
            server.starttls(context=context)
        if smtp.user:
            server.login(smtp.user, smtp.password.get_secret_value() if smtp.password else "")
    except BaseException:
        server.close()
        raise
    return server


def _answer(refused: _Refusals) -> Refused | TryLater:
    """A server's no: for good when any code says so (5xx), for a while when all of them do (4xx)."""
    is_for_good = any(code // 100 == 5 for code, _ in refused.values())
    return Refused(_told(refused)) if is_for_good else TryLater(_told(refused))


def _told(refused: _Refusals) -> str:
    return "refused: " + "; ".join(
        f"{address}: {code} {_said(text)}" for address, (code, text) in sorted(refused.items())
    )


def _said(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
