"""A Salesforce on loopback: login, describe, REST and Bulk 2.0 queries, limits, and its ways of failing.

What it does not know it refuses as Salesforce does, so that a wrong client is caught.
"""

import gzip
import itertools
import json
import random
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt

from standins import salesforce_calls
from standins.salesforce_calls import Job, Refused, Told
from standins.salesforce_org import Org
from standins.salesforce_soql import Query, Wrong

CLIENT_ID = "3MVG9.stand.in"
CLIENT_SECRET = "D2BE11EF-stand-in"
VERSIONS = ("58.0", "63.0", "64.0", "65.0")
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_URL = 16_000
HTML = {"Content-Type": "text/html"}
# What chance may do at each call. All of it a client has to survive, or to say clearly.
CHANCES: dict[str, list[Any]] = {
    "any": ["drop", "lost", "expire", "html", "gzip", "cut", *((code, 0) for code in (406, 420, 429, 503))],
    "query": ["short"],
    "more": ["short"],
    "results": ["short", "fewer"],
    "job": ["Failed", "Aborted", "gone"],
}


@dataclass
class Salesforce:
    """The server's state. `faults[call]` is a queue: each call takes one, None meaning no fault.

    Calls are versions, token, describe, query, more, limits, tooling, create, job, results, abort, update.
    "drop"      hangs up before committing         "lost"      commits and hangs up without a reply
    "hang"      never replies                      "expire"    401, and all sessions are over
    "limit"     403 REQUEST_LIMIT_EXCEEDED         (status, s) that status with Retry-After (0: none)
    "html"      a page of HTML with status 200     "gzip", "cut"  the stream or the body is cut short
    "short"     a page lacks rows it says it has: done too early, or a CSV without its end
    "swapped"   the results of an update come in another order; "short": one of them is missing
    "fewer"     the last rows are kept back: the locator is null too early
    "Failed", "Aborted", "gone"  what becomes of a job      "conflict"  409
    ("words", status, code, ...)  an error of that code, with a message if there is one
    ("page", text), ("csv", text)  that text in HTML with status 200, in place of a page of CSV
    `chance` (of a seed) and `rate` do one of them by themselves.
    `row_faults[id]` is a queue of codes by which a record is not updated; `updates` holds what was committed,
    `batches` the ids of each update that could be read. `may_edit` is whether our user edits opportunities.
    """

    org: Org = field(default_factory=Org)
    faults: dict[str, deque[Any]] = field(default_factory=dict)
    chance: random.Random | None = None
    rate: float = 0.0
    page: int = 2000
    bulk_page: int = 100_000  # the server's own bound on maxRecords
    polls: int = 1  # how often a job is asked for before it is done
    has_headers: bool = True  # on every page of a result
    used: int = 18
    allowed: int = 100_000
    public_key: str = ""
    username: str = "integration@example.com"
    tokens: set[str] = field(default_factory=set)
    jobs: dict[str, Job] = field(default_factory=dict)
    cursors: dict[str, Query] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # every SOQL
    row_faults: dict[str, deque[str]] = field(default_factory=dict)
    updates: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    may_edit: bool = True
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def order(self, call: str, *faults: Any) -> None:
        """Have the next calls of a kind fail so, in turn."""
        self.faults.setdefault(call, deque()).extend(faults)

    def fault(self, call: str) -> Any:
        queue = self.faults.get(call)
        if queue:
            return queue.popleft()
        if self.chance is not None and self.chance.random() < self.rate:
            return self.chance.choice(CHANCES["any"] + CHANCES.get(call, []))
        return None


@contextmanager
def salesforce_server(org: Org | None = None, *, port: int = 0) -> Iterator[Salesforce]:
    """An org that listens until the block ends; on any free port without one."""
    sales = Salesforce(org=org or Org())

    class Handler(_Handler):
        sf = sales

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    sales.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield sales
    finally:
        sales.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    sf: Salesforce
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        steps = parts.path.strip("/").split("/")
        with self.sf.lock:
            call = _call(self.command, steps)
            self.sf.calls.append(call)
            fault = self.sf.fault(call)
            if fault == "drop":
                self.close_connection = True
                return
            status, data, headers = self.outcome(call, steps, dict(parse_qsl(parts.query)), body, fault)
        if fault == "hang":
            self.sf.closing.wait(30)
        if fault in {"lost", "hang"}:
            self.close_connection = True
            return
        self.reply(status, data, headers, fault)

    do_POST = do_GET
    do_PATCH = do_GET
    do_DELETE = do_GET

    def outcome(self, call: str, steps: list[str], query: dict[str, str], body: bytes, fault: Any) -> Told:
        try:
            if fault == "html":
                return (
                    200,
                    b"<html><body>We are down for maintenance.</body></html>",
                    {"Content-Type": "text/html"},
                )
            if isinstance(fault, tuple) and fault[0] == "page":
                return 200, f"<html>{fault[1]}</html>".encode(), HTML
            if isinstance(fault, tuple) and isinstance(fault[0], int):
                wait = {"Retry-After": str(fault[1])} if fault[1] else {}
                return fault[0], b"<html>busy</html>", HTML | wait
            if isinstance(fault, tuple) and fault[0] == "words":
                raise Refused(*fault[1:])
            if fault == "limit":
                raise Refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            if len(self.path) > LONGEST_URL:
                return 414, b"<html>URI Too Long</html>", HTML
            return self.answer_to(call, steps, query, body, fault)
        except Refused as error:
            words = [{"message": error.words, "errorCode": error.code}]
            return error.status, words, {}
        except Wrong as error:
            code = "API_ERROR" if call == "create" and error.code != "FEATURENOTENABLED" else error.code
            return 400, [{"message": str(error), "errorCode": code}], {}

    def answer_to(self, call: str, steps: list[str], query: dict[str, str], body: bytes, fault: Any) -> Told:
        sf = self.sf
        if call == "versions":
            return 200, [{"label": "", "url": f"/services/data/v{v}", "version": v} for v in VERSIONS], {}
        if call == "token":
            return self.token(dict(parse_qsl(body.decode())))
        if call == "unknown":
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        sf.used += 1
        if fault == "expire":
            sf.tokens.clear()
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in sf.tokens:
            raise Refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if steps[2].removeprefix("v") not in VERSIONS:
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        usage = f"api-usage={sf.used}/{sf.allowed}; api-bursts=1/750"
        status, data, headers = getattr(salesforce_calls, f"to_{call}")(sf, steps, query, body, fault)
        return status, data, {"Sforce-Limit-Info": usage, **headers}

    def token(self, form: dict[str, str]) -> Told:
        def no(status: int, error: str) -> Told:
            return status, {"error": error, "error_description": f"{error} canary-description"}, {}

        if form.get("grant_type") == "client_credentials":
            if form.get("client_id") != CLIENT_ID:
                return no(400, "invalid_client_id")
            if form.get("client_secret") != CLIENT_SECRET:
                return no(400, "invalid_client")
        elif form.get("grant_type") == JWT_BEARER:
            try:
                claims = jwt.decode(
                    form.get("assertion", ""), self.sf.public_key, ["RS256"],
                    options={"verify_aud": False, "verify_exp": False, "require": ["exp"]},
                )  # fmt: skip
            except jwt.PyJWTError:
                return no(400, "invalid_grant")
            left = datetime.fromtimestamp(claims["exp"], UTC) - self.sf.org.now
            known = {"https://login.salesforce.com", "https://test.salesforce.com"}
            fits = claims.get("iss") == CLIENT_ID and claims.get("sub") == self.sf.username
            if not fits or claims.get("aud") not in known or not timedelta() < left <= timedelta(minutes=3):
                return no(400, "invalid_grant")
        else:
            return no(400, "unsupported_grant_type")
        token = f"00D!AQ.canary-token-{next(self.sf.counter)}"
        self.sf.tokens.add(token)
        issued = {"access_token": token, "token_type": "Bearer", "instance_url": self.sf.url, "scope": "api"}
        return 200, {**issued, "id": "https://login.salesforce.com/id/00D/005"}, {"Set-Cookie": "sid=canary"}

    def reply(self, status: int, data: Any, headers: dict[str, str], fault: Any) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        headers = {
            "Content-Type": "application/json;charset=UTF-8",
            "Date": format_datetime(self.sf.org.now, usegmt=True),
            **headers,
        }
        if "gzip" in self.headers.get("Accept-Encoding", "") and status == 200:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
            if fault == "gzip":
                body = body[: len(body) // 2]
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        try:
            self.wfile.write(body)
        except OSError:  # the client did not wait
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _call(method: str, steps: list[str]) -> str:
    """Which of the stand-in's calls a path is."""
    if steps[:2] == ["services", "oauth2"]:
        return "token" if (method, steps[2:]) == ("POST", ["token"]) else "unknown"
    if steps == ["services", "data"]:
        return "versions"
    if steps[:2] != ["services", "data"] or len(steps) < 4:
        return "unknown"
    match method, *steps[3:]:
        case "GET", "limits":
            return "limits"
        case "GET", "sobjects", _, "describe":
            return "describe"
        case "GET", "query" | "queryAll":
            return "query"
        case "GET", "query", _:
            return "more"
        case "GET", "tooling", "query":
            return "tooling"
        case "POST", "jobs", "query":
            return "create"
        case "GET", "jobs", "query", _:
            return "job"
        case "PATCH", "jobs", "query", _:
            return "abort"
        case "GET", "jobs", "query", _, "results":
            return "results"
        case "PATCH", "composite", "sobjects":
            return "update"
    return "unknown"
