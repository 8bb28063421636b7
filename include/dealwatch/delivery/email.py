"""E-mail: text and HTML in one message, with an id that stays the same however often it is sent.

Nobody can ask a mail server whether it took a message, so a second copy is possible after a lost reply;
mailboxes that collapse copies do so by the Message-ID. The library's timeout is per read, so a server that
answers slowly enough would keep us longer than our claim lasts: one deadline holds over the whole talk.
"""

import io
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from typing import Any

from dealwatch.delivery.email_pictures import html_with, inline, with_chart
from dealwatch.delivery.pages import text_page
from dealwatch.delivery.parcel import NoSuchRecipient, Parcel, Receipt, Refused, TryLater, Uncertain, shaped
from dealwatch.delivery.replies import links_of
from dealwatch.delivery.wording import title_of
from dealwatch.knobs import Smtp
from dealwatch.settings import Settings

LONGEST_SEND = timedelta(seconds=25)  # the deadline of the whole talk, from name look-up to last answer
CAN_LOOK_UP = False
MAY_DOUBLE = True  # a second copy costs less than a lost message, and has the same Message-ID

_MEND = "mend the connection smtp_default (or [smtp])"
_UNKNOWN_TO_SERVER = frozenset({530, 534, 535, 538})  # the server wants another login than ours
_TOO_BIG = 552
_GREYLISTED = frozenset({450, 451})  # strangers are to come back later
_NO_MAILBOX = frozenset({550, 551, 553, 556})  # RFC 5321 4.2.3, RFC 7504
_LEFT_FOR_RECIPIENTS = 0.6  # shares of the whole time that must be left before going on
_LEFT_FOR_THE_MESSAGE = 0.4

_Refusals = Mapping[str, tuple[int, bytes | str]]  # per address, as smtplib tells them


def pause(settings: Settings) -> timedelta:
    """Mail servers are not written to one place at a time."""
    return timedelta()


def destination(address: str, *, settings: Settings) -> str:
    """The address, checked: one or more mailboxes separated by commas."""
    if not address.isprintable():  # a line break would make two mailboxes of what a CRM has as one
        raise NoSuchRecipient(f"{address!r} is no e-mail address: it holds a control character")
    try:
        mailboxes = [Address(addr_spec=spec) for _, spec in getaddresses([address])]
    except (HeaderParseError, ValueError, IndexError) as error:
        raise NoSuchRecipient(f"{address!r} is no e-mail address: {error}") from error
    if not mailboxes or not all(mailbox.username and mailbox.domain for mailbox in mailboxes):
        raise NoSuchRecipient(f"{address!r} is no e-mail address; write name@example.com")
    return ", ".join(mailbox.addr_spec for mailbox in mailboxes)


def find(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt | None:
    """Nothing to find: mail servers answer no such question."""
    return None


def ready(parcel: Parcel, *, settings: Settings) -> Parcel:
    """The parcel with its chart drawn, which may take longer than the mail server is given."""
    return with_chart(parcel)


def send(
    parcel: Parcel, destination: str, *, settings: Settings, within: timedelta = LONGEST_SEND
) -> Receipt:
    """Hand the message to the mail server and notice every recipient it refuses."""
    deadline = _Deadline(within)
    if settings.smtp is None:
        raise TryLater("there is no mail server", stops_channel=True, remedy=_MEND)
    mail = shaped(lambda _: _mail(parcel, destination, settings), parcel.message)
    with _session(settings.smtp, settings.delivery.timeout_seconds, deadline) as server:
        try:
            refused = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            raise _answer(error.recipients) from error
        except smtplib.SMTPSenderRefused as error:
            raise _sender_refused(error) from error
        except smtplib.SMTPResponseException as error:
            raise _answer({destination: (error.smtp_code, error.smtp_error)}) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Refused(f"the mail server cannot take {destination}: {error}") from error
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            if not server.was_offered:
                raise TryLater(f"the mail server left before the message was offered: {error}") from error
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
    links = links_of(
        parcel.message, parcel.delivery_id, parcel.recipient, parcel.first_claimed_at, settings=settings
    )
    if links.settings:
        mail["List-Unsubscribe"] = f"<{links.settings}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    pictures = inline(parcel, domain)
    mail.set_content(text_page(parcel.message, links))
    mail.add_alternative(html_with(pictures, parcel.message, links), subtype="html")
    html = mail.get_body(("html",))
    for picture in pictures:
        assert html is not None  # it was added a line above
        html.add_related(picture.png, "image", "png", cid=f"<{picture.cid}>", disposition="inline")
    return mail


class _Deadline:
    """How much of a stretch of time is left."""

    def __init__(self, whole: timedelta) -> None:
        self.whole = whole.total_seconds()
        self._ends = time.monotonic() + self.whole

    def left(self) -> float:
        """Seconds until it ends, negative after."""
        return self._ends - time.monotonic()

    def limit(self, timeout: float) -> float:
        """How long the next wait may be; raises TimeoutError when there is no time for one."""
        left = self.left()
        if left <= 0:
            raise TimeoutError(f"the talk took longer than {self.whole:g} s")
        return min(timeout, left)


class _PunctualSMTP(smtplib.SMTP):
    """A client that hangs up at the deadline and offers no message that it could not hand over in time."""

    def __init__(self, host: str, port: int, *, deadline: _Deadline, timeout: float, **options: Any) -> None:
        self.deadline = deadline
        self.was_offered = False
        super().__init__(host, port, timeout=deadline.limit(timeout), **options)
        self.timeout: float = timeout

    def send(self, s: Any) -> None:
        """Write in parts, none of which waits beyond the deadline."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("please run connect() first")
        rest = memoryview(s.encode(self.command_encoding) if isinstance(s, str) else s)
        try:
            while rest:
                self.sock.settimeout(self.deadline.limit(self.timeout))
                rest = rest[self.sock.send(rest) :]
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"the connection broke while sending: {error}") from error

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer, however many parts it comes in, until the deadline."""
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_Reader(self.sock, self))
        return super().getreply()

    def mail(self, sender: str, options: Any = ()) -> tuple[int, bytes]:
        """Name the sender; a server that was slow until here will be slow with the next message too."""
        answer = super().mail(sender, options)
        if answer[0] == 250 and self.deadline.left() < _LEFT_FOR_RECIPIENTS * self.deadline.whole:
            raise TryLater("the mail server answers too slowly", stops_channel=True)
        return answer

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Offer the message, if enough time is left to hear whether it was taken."""
        if self.deadline.left() < _LEFT_FOR_THE_MESSAGE * self.deadline.whole:
            raise TryLater("the mail server took too long over the recipients")
        self.was_offered = True
        return super().data(msg)


class _PunctualSMTPS(_PunctualSMTP, smtplib.SMTP_SSL):
    """The same with TLS from the start."""


class _Reader(io.RawIOBase):
    """A socket's incoming bytes, read no longer than the deadline allows."""

    def __init__(self, sock: socket.socket, client: _PunctualSMTP) -> None:
        self._sock, self._client = sock, client

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._client.deadline.limit(self._client.timeout))
        return self._sock.recv_into(buffer)


@contextmanager
def _session(smtp: Smtp, timeout: int, deadline: _Deadline) -> Iterator[_PunctualSMTP]:
    """A connection that is ready for a message; whatever fails before that has sent nothing."""
    try:
        server = _connected(smtp, timeout, deadline)
    except smtplib.SMTPAuthenticationError as error:
        said = f"{smtp.host} refuses the user or password: {error.smtp_code} {_said(error.smtp_error)}"
        raise TryLater(said, stops_channel=True, remedy=_remedy(error)) from error
    except (smtplib.SMTPException, OSError) as error:
        said = f"{smtp.host}:{smtp.port} cannot be used: {error}"
        raise TryLater(said, stops_channel=True, remedy=_remedy(error)) from error
    try:
        yield server
    finally:
        server.close()  # not quit(): the answer to the message has been read, or there is none


def _connected(smtp: Smtp, timeout: int, deadline: _Deadline) -> _PunctualSMTP:
    context = ssl.create_default_context()
    if not smtp.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if smtp.ssl:
        server: _PunctualSMTP = _PunctualSMTPS(
            smtp.host, smtp.port, deadline=deadline, timeout=timeout, context=context
        )
    else:
        server = _PunctualSMTP(smtp.host, smtp.port, deadline=deadline, timeout=timeout)
    try:
        if smtp.starttls and not smtp.ssl:
            server.starttls(context=context)
        if smtp.user:
            server.login(smtp.user, smtp.password.get_secret_value() if smtp.password else "")
        server.ehlo_or_helo_if_needed()
    except BaseException:
        server.close()
        raise
    return server


def _remedy(error: Exception) -> str:
    """What to mend, unless time alone may do it."""
    is_for_good = isinstance(error, smtplib.SMTPNotSupportedError | ssl.SSLCertVerificationError) or (
        isinstance(error, smtplib.SMTPResponseException) and error.smtp_code // 100 == 5
    )
    return _MEND if is_for_good else ""


def _sender_refused(error: smtplib.SMTPSenderRefused) -> Refused | TryLater:
    """The sender is the same for every message; the size, which some servers judge here, is not."""
    told = {error.sender: (error.smtp_code, error.smtp_error)}
    if error.smtp_code // 100 != 5 or error.smtp_code == _TOO_BIG:
        return _answer(told)
    return TryLater(_told(told), stops_channel=True, remedy=f"{_MEND}, or delivery.sender")


def _answer(refused: _Refusals) -> Refused | TryLater:
    """A server's no: for good when any code says so (5xx), for a while when all of them do (4xx)."""
    if any(code in _UNKNOWN_TO_SERVER for code, _ in refused.values()):
        return TryLater(_told(refused), stops_channel=True, remedy=_MEND)
    if any(code in _NO_MAILBOX for code, _ in refused.values()):
        return NoSuchRecipient(_told(refused))
    if any(code // 100 == 5 for code, _ in refused.values()):
        return Refused(_told(refused))
    is_greylist = all(code in _GREYLISTED for code, _ in refused.values())
    return TryLater(_told(refused), is_greylist=is_greylist)


def _told(refused: _Refusals) -> str:
    return "refused: " + "; ".join(
        f"{address}: {code} {_said(text)}" for address, (code, text) in sorted(refused.items())
    )


def _said(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
