"""A HubSpot on loopback: the CRM paths that dealwatch asks for, HubSpot's limits, and its ways of failing."""

import gzip
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from standins.hubspot_desk import Desk, Request, error
from standins.hubspot_portal import Portal
from standins.hubspot_routes import answer

TOKEN = "pat-na1-standin-canary-5ecret"
LONGEST_QUERY = 16_000
# What a random fault may be; each passes when the client asks again.
PASSING = (502, 503, 504, "drop", "reset", "cut", "cut_gzip", "cut_chunked", "html", "no_json", "empty")


@dataclass
class HubSpot:
    """The server's state. `faults` is a queue: each request takes one, None meaning no fault.

    502, 503, ...     that status, with a gateway's page or HubSpot's JSON
    "drop", "reset"   hangs up without an answer, the second with a reset
    "cut"             hangs up in the middle of a body whose length it told
    "cut_gzip"        a gzip stream that stops half-way, with a length that fits
    "cut_chunked"     chunks without a last one
    "html", "no_json", "empty"   status 200 with a page, with half a JSON text, with nothing
    "hang"            no answer until the server ends
    "huge"            a body that does not end
    "redirect"        to another host
    "loop"            a page whose cursor is the one it was asked with
    ("next", {...})   a page with this in place of the next page's cursor
    ("results", [...])  a page with these results
    "missing_results" a page without `results`
    "short"           fewer results than there are, and no word of more
    "partial"         a 207 whose error is no absence
    "pending"         a batch that is not done
    ("limit", POLICY, headers)   429 by that policy
    ("error", status, message)   that status with HubSpot's JSON
    ("page", text)    200 with that text in HTML
    "unauthorised"    401
    ("until", event)  waits for the event, then answers

    `rate` of requests, drawn by `seed`, get a fault of PASSING, never more than two in a row.
    """

    desk: Desk
    url: str = ""
    token: str = TOKEN
    faults: deque[Any] = field(default_factory=deque)
    rate: float = 0
    chance: Random = field(default_factory=lambda: Random(0))
    in_a_row: int = 0
    requests: list[Request] = field(default_factory=list)
    given: list[Any] = field(default_factory=list)  # the faults that were given
    a_window: int | None = None  # requests allowed in `window` seconds
    window: float = 10
    recent: deque[float] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def portal(self) -> Portal:
        return self.desk.portal

    def asked(self, *parts: str) -> list[Request]:
        """Requests whose path holds all of these."""
        return [request for request in self.requests if all(part in request.path for part in parts)]

    def break_by_chance(self, rate: float, seed: int) -> None:
        self.rate, self.chance = rate, Random(seed)

    def next_fault(self) -> Any:
        if self.faults:
            fault = self.faults.popleft()
        elif self.rate and self.in_a_row < 2 and self.chance.random() < self.rate:
            fault = self.chance.choice(PASSING)
        else:
            fault = None
        self.in_a_row = self.in_a_row + 1 if fault is not None else 0
        self.given += [fault] * (fault is not None)
        return fault

    def is_over_the_limit(self) -> bool:
        now = time.monotonic()
        while self.recent and self.recent[0] <= now - self.window:
            self.recent.popleft()
        if self.a_window is not None and len(self.recent) >= self.a_window:
            return True
        self.recent.append(now)
        return False

    def limits(self) -> dict[str, str]:
        """The headers about limits that every answer carries."""
        allowed = self.a_window or 190
        return {
            "X-HubSpot-RateLimit-Daily": str(self.desk.allowed_today),
            "X-HubSpot-RateLimit-Daily-Remaining": str(self.desk.allowed_today - self.desk.used_today),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(round(self.window * 1000)),
            "X-HubSpot-RateLimit-Max": str(allowed),
            "X-HubSpot-RateLimit-Remaining": str(max(allowed - len(self.recent), 0)),
            "X-HubSpot-Correlation-Id": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
        }


@contextmanager
def hubspot_server(portal: Portal | None = None, *, port: int = 0) -> Iterator[HubSpot]:
    """An account that listens until the block ends; on any free port without one."""
    hubspot = HubSpot(Desk(portal or Portal()))

    class Handler(_Handler):
        hub = hubspot

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    hubspot.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hubspot
    finally:
        hubspot.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def limited(policy: str) -> dict[str, Any]:
    """The body of a 429."""
    word = {"DAILY": "daily", "TEN_SECONDLY_ROLLING": "ten_secondly_rolling"}.get(policy, "secondly")
    return {
        "status": "error",
        "message": f"You have reached your {word} limit.",
        "errorType": "RATE_LIMIT",
        "correlationId": "c033cdaa-2c40-4a64-ae48-b4cec88dad24",
        "policyName": policy,
        "requestId": "3d3e35b7-0dae-4b9f-a6e3-9c230cbcf8dd",
    }


def _is_limit(fault: Any) -> bool:
    return isinstance(fault, tuple) and fault[0] == "limit"


class _Handler(BaseHTTPRequestHandler):
    hub: HubSpot
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # the answer in one piece

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        request = Request(self.command, parts.path, query, json.loads(body) if body else None)
        hub = self.hub
        with hub.lock:
            hub.requests.append(request)
            hub.desk.used_today += 1
            fault = hub.next_fault()
            is_over = hub.is_over_the_limit()
            is_refused = isinstance(fault, int) or fault in ("unauthorised", "redirect") or _is_limit(fault)
            status, told = (0, {}) if is_refused else self._answer(request, is_over=is_over)
        self._send(fault, status, told, request)

    def _answer(self, request: Request, *, is_over: bool) -> tuple[int, dict[str, Any]]:
        hub = self.hub
        if len(self.path) > LONGEST_QUERY:
            return 414, error("VALIDATION_ERROR", "URI Too Long")
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return 401, error("INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if hub.desk.used_today > hub.desk.allowed_today:
            return 429, limited("DAILY")
        if is_over:
            return 429, limited("TEN_SECONDLY_ROLLING")
        return answer(hub.desk, request)

    def _send(self, fault: Any, status: int, told: dict[str, Any], request: Request) -> None:
        match fault:
            case None:
                self._reply(status, told)
            case int():
                is_gateway = fault in {502, 504}
                page = f"<html><head><title>{fault} Bad Gateway</title></head></html>"
                self._reply(fault, page if is_gateway else error("INTERNAL_ERROR", "internal error"))
            case "limit", policy, headers:
                self._reply(429, limited(policy), headers)
            case "unauthorised":
                self._reply(
                    401, error("EXPIRED_AUTHENTICATION", "The token used to make the request expired")
                )
            case "until", event:
                event.wait()
                self._reply(status, told)
            case "loop":
                after = request.query.get("after", "MQ%3D%3D")
                self._reply(status, {**told, "paging": {"next": {"after": after}}})
            case "next", following:
                self._reply(status, {**told, "paging": {"next": following}})
            case "results", results:
                self._reply(200, {"results": results})
            case "missing_results":
                self._reply(200, {"status": "PENDING"})
            case "short":
                self._reply(200, {**told, "results": told["results"][:-1], "paging": None})
            case "pending":
                self._reply(202, {**told, "status": "PENDING"})
            case "partial":
                self._reply(207, {**told, "errors": [error("INTERNAL_ERROR", "one of them failed")]})
            case "error", status, message:
                self._reply(status, error("INTERNAL_ERROR", message))
            case "page", text:
                self._reply(200, f"<html>{text}</html>")
            case "html":
                self._reply(200, "<html>be right back</html>")
            case "redirect":
                self._reply(302, "", {"Location": "https://elsewhere.example/"})
            case _:
                self._break(fault, json.dumps(told).encode())

    def _break(self, fault: str, body: bytes) -> None:
        """An answer that ends badly; the connection ends with it, unless only its content is wrong."""
        self.close_connection = fault not in {"cut_gzip", "no_json", "empty"}
        packed = gzip.compress(body, 1)
        match fault:
            case "drop":
                return
            case "hang":
                self.hub.closing.wait()
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            case "cut":
                self._raw({"Content-Length": str(len(body))}, body[: len(body) // 2])
            case "cut_gzip":
                half = packed[: len(packed) * 2 // 3]
                self._raw({"Content-Encoding": "gzip", "Content-Length": str(len(half))}, half)
            case "cut_chunked":
                half = body[: len(body) // 2]
                self._raw({"Transfer-Encoding": "chunked"}, f"{len(half):x}\r\n".encode() + half + b"\r\n")
            case "no_json":
                self._raw({"Content-Length": str(len(body) // 2)}, body[: len(body) // 2])
            case "empty":
                self._raw({"Content-Length": "0"}, b"")
            case "huge":
                self._raw({"Transfer-Encoding": "chunked"}, b"")
                self._go_on()
            case _:
                raise AssertionError(f"no such fault: {fault}")

    def _go_on(self) -> None:
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            while not self.hub.closing.is_set():
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass  # the client had enough

    def _reply(self, status: int, told: Any, headers: dict[str, str] | None = None) -> None:
        is_page = isinstance(told, str)
        body = told.encode() if is_page else json.dumps(told).encode()
        more = dict(headers or {})
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > 500:
            body, more["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        kind = "text/html" if is_page else "application/json"
        self._raw({**more, "Content-Length": str(len(body))}, body, status=status, kind=kind)

    def _raw(
        self, headers: dict[str, str], body: bytes, *, status: int = 200, kind: str = "application/json"
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind};charset=utf-8")
            for name, value in {**self.hub.limits(), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:  # the client did not wait
            self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The account's clock."""
        return super().date_time_string(self.hub.portal.now / 1000)

    def log_message(self, *_: object) -> None:
        """Quiet."""
