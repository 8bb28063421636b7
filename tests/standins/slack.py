"""A Slack on loopback: the Web API methods that dealwatch calls, Slack's limits, and its ways of failing."""

import hashlib
import hmac
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
from urllib.parse import parse_qsl, urlencode, urlsplit

from standins.slack_files import FileMethods

TOKEN = "xoxb-stand-in"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
UPLOAD = "upload"  # where files go: another path than the API's, without a token
SHOWN = ("text", "blocks", "attachments", "metadata")


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

    The upload of a file has its faults under `faults["upload"]`, where an error's code is a status. A message
    may show a file that is complete, once `unprocessed` posts that named it were refused. `scopes` None: the
    token has all.

    `lag` hides the newest messages of each channel from history and replies, as many as it says. `wrong_ts`
    makes chat.postMessage answer with a timestamp of no message.
    """

    members: dict[str, str] = field(default_factory=dict)  # e-mail -> user id
    channels: set[str] = field(default_factory=lambda: {"C0GENERAL"})
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    calls: list[str] = field(default_factory=list)
    committed: threading.Event = field(default_factory=threading.Event)
    replied: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> name, length, body, is_complete
    unprocessed: int = 0
    scopes: set[str] | None = None
    page: int = 200
    lag: int = 0
    wrong_ts: bool = False
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def found(self, channel: str, ts: str) -> dict[str, Any] | None:
        """The message at a timestamp of a channel."""
        return next((m for m in self.messages[channel] if m["ts"] == ts), None)

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


def interaction(
    action: dict[str, Any],
    *,
    block_id: str,
    user: str = "U0ANN",
    at: float,
    secret: str = SIGNING_SECRET,
    **more: Any,
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the request that Slack makes when somebody uses a button or a menu of a message.

    `action` has its action_id and what was chosen; `at` is the moment of the signature; `more` goes over the
    payload, as `response_url`, `message` or another `type`.
    """
    payload = {
        "type": "block_actions",
        "user": {"id": user, "username": "ann", "team_id": "T0STAND"},
        "api_app_id": "A0APP",
        "team": {"id": "T0STAND", "domain": "stand-in"},
        "channel": {"id": "C0GENERAL", "name": "general"},
        "container": {"type": "message", "channel_id": "C0GENERAL", "message_ts": "1.000001"},
        "message": {"type": "message", "ts": "1.000001", "text": "", "blocks": []},
        "response_url": "https://hooks.slack.com/actions/T0STAND/1/abc",
        "trigger_id": "1.2.3",
        "actions": [{"type": "button", "block_id": block_id, "action_ts": f"{at:.6f}", **action}],
        **more,
    }
    body = urlencode({"payload": json.dumps(payload)}).encode()
    stamp = str(int(at))
    signed = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={signed}",
    }
    return body, headers


class _Handler(FileMethods, BaseHTTPRequestHandler):
    workspace: Slack

    def do_POST(self) -> None:
        slack = self.workspace
        method = urlsplit(self.path).path.rsplit("/", 1)[-1]
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_upload = self.path.startswith("/upload/")
        if is_upload:
            method, arguments = UPLOAD, {}
        else:
            arguments = self.arguments(content.decode())
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
        if kind == "error" and is_upload:
            return self.answer("no", detail)
        if kind == "error":
            return self.answer({"ok": False, "error": detail, **(more[0] if more else {})})
        if kind == "stall":
            time.sleep(detail)
        if kind == "until":
            detail.wait()
        with slack.lock:
            reply = self.upload(content) if is_upload else self.reply(method, arguments)
        if kind == "drop":
            return self.close()
        if kind == "slow":
            time.sleep(detail)
        self.answer(reply, 404 if is_upload and not reply else 200)
        if method == "chat.postMessage":
            slack.replied.set()

    def arguments(self, body: str) -> dict[str, Any]:
        """JSON, a form, or what stands in the address, as the SDK sends the file methods' arguments."""
        if "json" in self.headers.get("Content-Type", ""):
            return dict(json.loads(body))
        return {**dict(parse_qsl(urlsplit(self.path).query)), **dict(parse_qsl(body))}

    def reply(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        answers = {
            "auth.test": self.auth_test,
            "chat.postMessage": self.post,
            "chat.update": self.update,
            "conversations.history": self.history,
            "conversations.replies": self.replies,
            "users.lookupByEmail": self.lookup,
            "files.getUploadURLExternal": self.upload_url,
            "files.completeUploadExternal": self.complete,
            "conversations.open": self.open,
        }
        if method not in answers:
            return {"ok": False, "error": "unknown_method"}
        if method.startswith("files.") and self.workspace.scopes is not None:
            if "files:write" not in self.workspace.scopes:
                given = ",".join(sorted(self.workspace.scopes))
                return {"ok": False, "error": "missing_scope", "needed": "files:write", "provided": given}
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
        thread = arguments.get("thread_ts")
        if thread and not slack.found(channel, thread):
            thread = None  # Slack takes a reply to a deleted message for a message (slack-go/slack#1571)
        if error := broken_limit(arguments):
            return {"ok": False, "error": error, "response_metadata": {"messages": [f"[ERROR] {error}"]}}
        if told := self.broken_file(arguments):
            answer = {"ok": False, "error": "invalid_blocks", "errors": [told.removeprefix("[ERROR] ")]}
            return answer | {"response_metadata": {"messages": [told]}}
        ts = f"{time.time():.6f}"[:-4] + f"{next(slack.counter):04d}"
        message = {name: arguments.get(name) for name in SHOWN}
        in_thread = {"thread_ts": thread, "is_broadcast": _is_true(arguments.get("reply_broadcast"))}
        message |= {"ts": ts, "unfurl_links": arguments.get("unfurl_links"), **(in_thread if thread else {})}
        slack.messages[channel].append(message)
        slack.committed.set()
        return {"ok": True, "channel": channel, "ts": "1.000000" if slack.wrong_ts else ts}

    def update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        slack, channel = self.workspace, arguments.get("channel", "")
        if channel not in slack.channels:
            return {"ok": False, "error": "channel_not_found"}
        message = slack.found(channel, arguments.get("ts", ""))
        if message is None:
            return {"ok": False, "error": "message_not_found"}
        if error := broken_limit(arguments):
            return {"ok": False, "error": error}
        message |= {name: arguments[name] for name in SHOWN if name in arguments}
        message["edits"] = message.get("edits", 0) + 1
        slack.committed.set()
        return {"ok": True, "channel": channel, "ts": message["ts"], "text": message["text"]}

    def history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The channel, newest first; a reply shows only when it was sent to the channel as well."""
        shown = [m for m in self.seen(arguments) if not m.get("thread_ts") or m["is_broadcast"]]
        return self.paged(list(reversed(shown)), arguments)

    def replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A thread, oldest first, its first message included."""
        thread = arguments.get("ts", "")
        if not self.workspace.found(arguments.get("channel", ""), thread):
            return {"ok": False, "error": "thread_not_found"}
        shown = [m for m in self.seen(arguments) if thread in (m["ts"], m.get("thread_ts"))]
        return self.paged(shown, arguments)

    def seen(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        slack = self.workspace
        posted = slack.messages[arguments.get("channel", "")]
        return posted[: len(posted) - slack.lag]

    def paged(self, shown: list[dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("channel") not in self.workspace.channels:
            return {"ok": False, "error": "channel_not_found"}
        oldest, start = float(arguments.get("oldest", 0)), int(arguments.get("cursor") or 0)
        size = min(int(arguments.get("limit", 100)), self.workspace.page)
        recent = [m for m in shown if float(m["ts"]) > oldest]
        part = recent[start : start + size]
        if not _is_true(arguments.get("include_all_metadata")):
            part = [{name: value for name, value in m.items() if name != "metadata"} for m in part]
        cursor = str(start + size) if start + size < len(recent) else ""
        return {"ok": True, "messages": part, "response_metadata": {"next_cursor": cursor}}

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


def _is_true(value: Any) -> bool:
    return str(value).lower() in {"1", "true"}


def broken_limit(arguments: dict[str, Any]) -> str | None:
    """Slack's answer to a message beyond its limits, or None."""
    blocks = [*(arguments.get("blocks") or [])]
    for attachment in arguments.get("attachments") or []:
        blocks.extend(attachment.get("blocks", []))
    if not blocks and not arguments.get("text"):
        return "no_text"
    if len(blocks) > 50 or not all(_is_block(block) for block in blocks):
        return "invalid_blocks"
    named = [block["block_id"] for block in blocks if block.get("block_id")]
    if len(named) != len(set(named)):
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(map(_characters, blocks)) > 13_200 else None


def _is_block(block: dict[str, Any]) -> bool:
    """Whether a block keeps the limits of its kind."""
    if len(block.get("block_id") or "") > 255:
        return False
    if block["type"] == "actions":
        elements = block.get("elements", [])
        actions = [element.get("action_id") for element in elements]
        return (
            0 < len(elements) <= 25 and len(set(actions)) == len(actions) and all(map(_is_element, elements))
        )
    if block["type"] == "divider":
        return True
    if block["type"] == "image":
        is_one = ("image_url" in block) != ("slack_file" in block)
        is_titled = len(block.get("title", {}).get("text", "")) <= 2000
        is_linked = "slack_file" in block or 0 < len(block.get("image_url", "")) <= 3000
        return is_one and is_titled and is_linked and 0 < len(block.get("alt_text", "")) <= 2000
    texts = [block["text"]] if "text" in block else [*block.get("fields", []), *block.get("elements", [])]
    limit = {"header": 150, "section": 3000, "context": 3000}.get(block["type"])
    if "fields" in block and any(len(text["text"]) > 2000 for text in block["fields"]):
        return False
    if "accessory" in block and not _is_element(block["accessory"]):
        return False
    return bool(limit and texts and len(texts) <= 10 and all(0 < len(t["text"]) <= limit for t in texts))


def _is_element(element: dict[str, Any]) -> bool:
    """Whether a button or a menu keeps its limits."""
    if not 0 < len(element.get("action_id") or "") <= 255:
        return False
    if element["type"] == "button":
        is_short = 0 < len(element["text"]["text"]) <= 75 and len(element.get("value") or "") <= 2000
        return is_short and len(element.get("url") or "") <= 3000
    if element["type"] == "static_select":
        options = element.get("options", [])
        is_short = all(
            0 < len(option["text"]["text"]) <= 75 and 0 < len(option["value"]) <= 150 for option in options
        )
        return 0 < len(options) <= 100 and is_short and len(element["placeholder"]["text"]) <= 150
    return False


def _characters(value: Any) -> int:
    if isinstance(value, dict):
        return sum(
            len(part) if name == "text" and isinstance(part, str) else _characters(part)
            for name, part in value.items()
        )
    return sum(map(_characters, value)) if isinstance(value, list) else 0
