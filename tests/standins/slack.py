"""A Slack on loopback: the Web API methods that dealwatch calls, Slack's limits, and its ways of failing."""

import itertools
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

TOKEN = "xoxb-stand-in"


@dataclass
class Slack:
    """State of the workspace. `faults[method]` is a queue: each call takes one, None meaning no fault.

    "drop"         commits and hangs up without a reply
    "refuse"       hangs up before committing
    "hang"         neither commits nor replies
    ("slow", s)    commits, then waits
    ("stall", s)   waits, then commits
    ("until", e)   waits for the event, then commits
    ("limit", s)   429 with Retry-After
    "unavailable"  503
    "html"         an error page with status 200
    ("error", code)  ok: false; a third part is added to the answer
    """

    members: dict[str, str] = field(default_factory=dict)  # e-mail -> user id
    channels: set[str] = field(default_factory=lambda: {"C0GENERAL"})
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    calls: list[str] = field(default_factory=list)
    committed: threading.Event = field(default_factory=threading.Event)
    replied: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    page: int = 200
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def delivery_ids(self) -> list[str]:
        """The delivery of each message that exists, in order of posting."""
        posted = [m for channel in self.messages.values() for m in channel]
        return [m["metadata"]["event_payload"]["delivery_id"] for m in sorted(posted, key=lambda m: m["ts"])]


@contextmanager
def slack_server() -> Iterator[Slack]:
    """A workspace that listens until the block ends."""
    slack = Slack()

    class Handler(_Handler):
        workspace = slack

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    slack.url = f"http://127.0.0.1:{server.server_address[1]}/api/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        slack.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    workspace: Slack

    def do_POST(self) -> None:
        slack = self.workspace
        method = self.path.rsplit("/", 1)[-1]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        is_json = "json" in self.headers.get("Content-Type", "")
        arguments = json.loads(body) if is_json else dict(parse_qsl(body))
        with slack.lock:
            slack.calls.append(method)
            fault = slack.faults[method].popleft() if slack.faults[method] else None
        kind, detail, *more = fault if isinstance(fault, tuple) else (fault, None)
        if kind == "hang":
            slack.closing.wait()
        if kind in {"refuse", "hang"}:
            return self.close()
        if kind == "limit":
            return self.answer({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(detail)})
        if kind == "unavailable":
            return self.answer({"ok": False, "error": "service_unavailable"}, 503)
        if kind == "html":
            return self.answer("<html>be right back</html>")
        if kind == "error":
            return self.answer({"ok": False, "error": detail, **(more[0] if more else {})})
        if kind == "stall":
            time.sleep(detail)
        if kind == "until":
            detail.wait()
        with slack.lock:
            reply = self.reply(method, arguments)
        if kind == "drop":
            return self.close()
        if kind == "slow":
            time.sleep(detail)
        self.answer(reply)
        if method == "chat.postMessage":
            slack.replied.set()

    def reply(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        answers = {
            "auth.test": self.auth_test,
            "chat.postMessage": self.post,
            "conversations.history": self.history,
            "users.lookupByEmail": self.lookup,
            "conversations.open": self.open,
        }
        if method not in answers:
            return {"ok": False, "error": "unknown_method"}
        return answers[method](arguments)

    def auth_test(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "team": "Stand-in", "user": "dealwatch", "bot_id": "B0BOT"}

    def lookup(self, arguments: dict[str, Any]) -> dict[str, Any]:
        user = self.workspace.members.get(arguments.get("email", ""))
        return {"ok": True, "user": {"id": user}} if user else {"ok": False, "error": "users_not_found"}

    def open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        user = arguments.get("users", "")
        if user not in self.workspace.members.values():
            return {"ok": False, "error": "user_not_found"}
        channel = "D" + user[1:]
        self.workspace.channels.add(channel)
        return {"ok": True, "channel": {"id": channel}}

    def post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        slack, channel = self.workspace, arguments.get("channel", "")
        if channel not in slack.channels:
            return {"ok": False, "error": "channel_not_found"}
        if error := broken_limit(arguments):
            return {"ok": False, "error": error, "response_metadata": {"messages": [f"[ERROR] {error}"]}}
        ts = f"{time.time():.6f}"[:-4] + f"{next(slack.counter):04d}"
        message = {name: arguments.get(name) for name in ("text", "blocks", "attachments", "metadata")}
        slack.messages[channel].append({**message, "ts": ts, "unfurl_links": arguments.get("unfurl_links")})
        slack.committed.set()
        return {"ok": True, "channel": channel, "ts": ts}

    def history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("channel") not in self.workspace.channels:
            return {"ok": False, "error": "channel_not_found"}
        oldest, start = float(arguments.get("oldest", 0)), int(arguments.get("cursor") or 0)
        size = min(int(arguments.get("limit", 100)), self.workspace.page)
        newest_first = [
            m for m in reversed(self.workspace.messages[arguments["channel"]]) if float(m["ts"]) > oldest
        ]
        shown = newest_first[start : start + size]
        if str(arguments.get("include_all_metadata")).lower() not in {"1", "true"}:
            shown = [{name: value for name, value in m.items() if name != "metadata"} for m in shown]
        cursor = str(start + size) if start + size < len(newest_first) else ""
        return {"ok": True, "messages": shown, "response_metadata": {"next_cursor": cursor}}

    def answer(self, reply: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        text = reply if isinstance(reply, str) else json.dumps(reply)
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(text.encode())))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())
        except OSError:  # the client did not wait
            pass

    def close(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


def broken_limit(arguments: dict[str, Any]) -> str | None:
    """Slack's answer to a message beyond its limits, or None."""
    blocks = [*arguments.get("blocks", [])]
    for attachment in arguments.get("attachments", []):
        blocks.extend(attachment.get("blocks", []))
    if not blocks and not arguments.get("text"):
        return "no_text"
    if len(blocks) > 50:
        return "invalid_blocks"
    total = 0
    for block in blocks:
        if block["type"] == "actions":
            if not is_well_formed(block):
                return "invalid_blocks"
            continue
        texts = [block["text"]] if "text" in block else block.get("elements", [])
        limit = {"header": 150, "section": 3000, "context": 3000}.get(block["type"])
        if limit is None or not texts or len(texts) > 10:
            return "invalid_blocks"
        if any(not 0 < len(text["text"]) <= limit for text in texts):
            return "invalid_blocks"
        total += sum(len(text["text"]) for text in texts)
    return "msg_blocks_too_long" if total > 13_200 else None


def is_well_formed(actions: dict[str, Any]) -> bool:
    """Slack's limits on a row of buttons and menus."""
    elements = actions.get("elements", [])
    if not 0 < len(elements) <= 25 or len(actions.get("block_id", "")) > 255:
        return False
    if len({element["action_id"] for element in elements}) < len(elements):
        return False
    for element in elements:
        words = element["placeholder" if element["type"] == "static_select" else "text"]
        options = element.get("options", [])
        if not 0 < len(words["text"]) <= (150 if options else 75) or len(element.get("url", "")) > 3000:
            return False
        if len(options) > 100 or not all(0 < len(one["text"]["text"]) <= 75 for one in options):
            return False
        if not all(0 < len(one["value"]) <= 150 for one in options):
            return False
    return True
