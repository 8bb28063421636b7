"""A server on loopback that answers each request with the next of the given raw answers, byte for byte."""

import gzip
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Faulty:
    """`answers` are raw HTTP; b"" hangs up, None never answers. `asked` holds what came."""

    answers: deque[bytes | None] = field(default_factory=deque)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""


def raw(
    status: int = 200,
    body: bytes = b"{}",
    *,
    kind: str | None = "application/json",
    cut: int = 0,
    length: bool = True,
    headers: dict[str, str] | None = None,
) -> bytes:
    """An answer; `cut` bytes are missing at its end, `length` tells how long it would have been."""
    told = {**({"Content-Type": kind} if kind else {}), **(headers or {})}
    if length:
        told["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + body[: len(body) - cut]


def zipped(data: Any, *, cut: int = 0, **more: Any) -> bytes:
    """A JSON answer in gzip whose stream lacks its last bytes though the length is as told."""
    packed = gzip.compress(json.dumps(data).encode())
    return raw(body=packed[: len(packed) - cut], headers={"Content-Encoding": "gzip"}, **more)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", kind: str = "application/json") -> bytes:
    """An answer in chunks; without the `end` it is cut short."""
    head = f"HTTP/1.1 200 x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@contextmanager
def faulty_server() -> Iterator[Faulty]:
    """A server that listens until the block ends."""
    faulty = Faulty()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faulty.asked.append((self.command, self.path, dict(self.headers.items()), body))
            faulty.connections.add(self.client_address)
            answer = faulty.answers.popleft()
            if answer is None:
                faulty.closing.wait(30)
                self.close_connection = True
                return
            self.wfile.write(answer)
            # Only an answer that is whole leaves the connection usable.
            head, _, body = answer.partition(b"\r\n\r\n")
            is_whole = b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
            self.close_connection = not is_whole

        do_POST = do_GET
        do_PATCH = do_GET
        do_CONNECT = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    faulty.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield faulty
    finally:
        faulty.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
