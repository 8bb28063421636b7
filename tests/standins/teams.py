"""A Teams workflow's webhook on loopback: takes Adaptive Cards, and its ways of failing."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST_BYTES = 28 * 1024
# What a card may hold in Teams, of what we make: each kind with the version that brought it.
ELEMENTS = {"Container", "RichTextBlock", "TextRun", "TextBlock", "ActionSet", "Action.OpenUrl", "FactSet"}


@dataclass
class Webhook:
    """What was posted, and what to do next: each post takes one of `faults`, None meaning no fault.

    "drop"         takes the card and hangs up without a reply
    "refuse"       hangs up before taking it
    ("slow", s)    takes it, then waits
    ("limit", s)   429 with Retry-After
    ("redirect", url)  302 to another address
    a number       that status, and nothing taken
    """

    cards: list[dict[str, Any]] = field(default_factory=list)
    faults: deque[Any] = field(default_factory=deque)
    posts: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def teams_webhook() -> Iterator[Webhook]:
    """A webhook that listens until the block ends."""
    webhook = Webhook()

    class Handler(_Handler):
        hook = webhook

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    webhook.url = f"http://127.0.0.1:{server.server_address[1]}/workflows/1/triggers/manual?sig=s3cret"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield webhook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hook: Webhook

    def do_POST(self) -> None:
        hook = self.hook
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with hook.lock:
            hook.posts += 1
            fault = hook.faults.popleft() if hook.faults else None
        kind, detail = fault if isinstance(fault, tuple) else (fault, None)
        if kind == "refuse":
            self.close_connection = True
            return
        if kind == "limit":
            return self.answer(429, {"Retry-After": str(detail)})
        if kind == "redirect":
            return self.answer(302, {"Location": str(detail)})
        if isinstance(kind, int):
            return self.answer(kind)
        status = 413 if len(body) > MOST_BYTES else 202 if is_card(json.loads(body)) else 400
        if status == 202:
            with hook.lock:
                hook.cards.append(json.loads(body)["attachments"][0]["content"])
        if kind == "drop":
            self.close_connection = True
            return
        if kind == "slow":
            time.sleep(detail)
        self.answer(status, {"x-ms-workflow-run-id": "08584run"})

    def answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
        except OSError:  # the client did not wait
            pass

    def log_message(self, *_: object) -> None:
        """Quiet."""


def is_card(body: Any) -> bool:
    """Whether a workflow would find one card in the body, of elements that Teams shows."""
    if body.get("type") != "message" or len(body.get("attachments", [])) != 1:
        return False
    attachment = body["attachments"][0]
    card = attachment.get("content", {})
    is_adaptive = attachment.get("contentType") == "application/vnd.microsoft.card.adaptive"
    is_known = card.get("type") == "AdaptiveCard" and card.get("version") in {"1.2", "1.3", "1.4", "1.5"}
    return is_adaptive and is_known and bool(card.get("body")) and all(map(is_element, card["body"]))


def is_element(element: Any) -> bool:
    """Whether an element, with all in it, is one that Teams shows, and says something."""
    if element["type"] not in ELEMENTS or element.get("text") == "":
        return False
    if element["type"] == "Action.OpenUrl" and not element["url"].startswith("https://"):
        return False
    inside = [*element.get("items", []), *element.get("inlines", []), *element.get("actions", [])]
    return all(map(is_element, inside))
