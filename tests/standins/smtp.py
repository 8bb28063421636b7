"""A mail server on loopback, plain or with STARTTLS, that can refuse, delay and hang up."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dealwatch.launch.airflow_home import free_port


@dataclass
class Clock:
    """A clock for the client that stands still until somebody takes time: no machine is too slow for it."""

    now: float = 1_000

    def monotonic(self) -> float:
        return self.now


@dataclass
class Mailbox:
    """What arrived, and what to do next: `after_data` is a queue of faults, None meaning none.

    "drop" keeps the message and hangs up without a reply; any other text is the reply, as "451 come back".
    """

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # recipient -> reply
    after_data: deque[str | None] = field(default_factory=deque)
    encrypted: list[bool] = field(default_factory=list)
    slow: dict[str, float] = field(default_factory=dict)  # EHLO, MAIL, RCPT -> seconds before its answer
    clock: Clock | None = None  # the seconds pass on it at once, where a test has one
    sender_refused: str = ""  # the answer to MAIL, when not 250
    offered: int = 0  # how often a message was handed over, taken or not

    async def take_time(self, command: str) -> None:
        if self.clock is None:
            await asyncio.sleep(self.slow.get(command, 0))
        else:
            self.clock.now += self.slow.get(command, 0)

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, host: str, responses: Any) -> Any:
        await self.take_time("EHLO")
        session.host_name = host
        return responses

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        await self.take_time("MAIL")
        if self.sender_refused:
            return self.sender_refused
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        await self.take_time("RCPT")
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.offered += 1
        fault = self.after_data.popleft() if self.after_data else None
        if fault is None or fault == "drop":
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.encrypted.append(session.ssl is not None)
        if fault == "drop":
            server.transport.abort()
        return "250 OK" if fault is None else fault


@contextmanager
def smtp_server(
    *, certificate: Path | None = None, login: tuple[str, str] | None = None
) -> Iterator[Mailbox]:
    """A mail server until the block ends; with a certificate it insists on STARTTLS."""
    mailbox = Mailbox(port=free_port())
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        is_known = isinstance(data, LoginPassword) and login == (data.login.decode(), data.password.decode())
        return AuthResult(success=is_known, handled=False)

    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        ready_timeout=20,
        tls_context=context,
        require_starttls=context is not None,
        authenticator=authenticate,
        auth_required=login is not None,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


@contextmanager
def endless_answer(clock: Clock) -> Iterator[int]:
    """A mail server that answers at once but to the message, whose answer comes for ever, a line in 10 s."""
    closing = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 hello\r\n")
            for line in lines:
                is_data = line.upper().startswith(b"DATA")
                connection.sendall(b"354 go on\r\n" if is_data else b"250 OK\r\n")
                if is_data:
                    break
            while lines.readline() != b".\r\n":
                pass
            while not closing.wait(0.05):
                clock.now += 10
                connection.sendall(b"250-still thinking\r\n")

    def serve() -> None:
        with suppress(OSError):  # the client hung up
            talk()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        closing.set()
        thread.join(5)
        listener.close()


def self_signed(folder: Path) -> Path:
    """A certificate that nobody vouches for, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2020, 1, 1))
        .not_valid_after(dt.datetime(2049, 1, 1))
        .add_extension(loopback, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
