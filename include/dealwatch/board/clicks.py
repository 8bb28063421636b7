"""A click in Slack: whether it truly comes from there, and what was clicked.

Slack signs each request over its raw bytes and the second it was made. A request that is changed, older than
five minutes, or seen before is refused before a byte of it is parsed.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from slack_sdk.signature import Clock, SignatureVerifier

from dealwatch.alerts.episodes.answers import KINDS

_KEPT_SECONDS = 601  # a signature is good from five minutes before our clock to five minutes after
_BLOCK = r"^dealwatch:[^:]+:[^:]+$"


class Gate:
    """Lets each genuine request of Slack's through once; one per process.

    Another process of the same server may let a repeated request through once more. That does no harm: the
    same answer again is no row.
    """

    def __init__(self, secret: SecretStr, now: Callable[[], datetime]) -> None:
        self._verifier = SignatureVerifier(secret.get_secret_value(), _OurClock(now))
        self._now = now
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def refusal(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Why a request is not let through; empty when it is."""
        stamp = headers.get("x-slack-request-timestamp", "")
        signature = headers.get("x-slack-signature", "")
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12 or not signature.isascii():
            return "not signed by Slack"
        text = body.decode("utf-8", "surrogateescape")  # bytes that are no text were never signed
        if not text.isprintable() or not self._verifier.is_valid(body, stamp, signature):
            return "not signed by Slack within the last five minutes"
        return "" if self._is_first(signature) else "seen before"

    def _is_first(self, signature: str) -> bool:
        now = self._now().timestamp()
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now - _KEPT_SECONDS:
                self._seen.popitem(last=False)
            is_first = signature not in self._seen
            self._seen.setdefault(signature, now)
        return is_first


class _OurClock(Clock):
    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def now(self) -> float:
        return self._now().timestamp()


@dataclass(frozen=True)
class Click:
    """An answer as Slack tells it."""

    kind: str
    choice: str
    fingerprint: str
    delivery_id: str
    user_id: str
    user_name: str
    is_direct: bool  # in the conversation between dealwatch and one person
    response_url: str


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Option(_Part):
    value: str = ""


class _Action(_Part):
    action_id: str
    block_id: str = ""
    selected_option: _Option | None = None


class _User(_Part):
    id: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,40}$")]
    name: str = ""
    username: str = ""  # of the two, the reference shows this one only


class _Channel(_Part):
    id: str = ""


class _Payload(_Part):
    type: str
    user: _User
    channel: _Channel | None = None
    actions: tuple[_Action, ...] = ()
    response_url: str = ""


class _Block(_Part):
    block_id: Annotated[str, Field(pattern=_BLOCK, max_length=255)]


def click_of(body: bytes) -> Click | None:
    """What was clicked; none when it was a mere link, which leaves nothing to do.

    Raises ValueError for what is no click at all.
    """
    form = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    try:
        payload = _Payload.model_validate_json(form.get("payload", [""])[0])
        answered = [action for action in payload.actions if action.action_id in KINDS]
        if payload.type != "block_actions" or not answered:
            return None
        block = _Block(block_id=answered[0].block_id)
    except ValidationError as error:
        raise ValueError(
            f"no click of ours: {error.error_count()} fields are not as Slack sends them"
        ) from None
    _, fingerprint, delivery_id = block.block_id.split(":")
    chosen = answered[0].selected_option
    return Click(
        kind=answered[0].action_id,
        choice=chosen.value if chosen else "",
        fingerprint=fingerprint,
        delivery_id=delivery_id,
        user_id=payload.user.id,
        user_name=payload.user.name or payload.user.username,
        is_direct=payload.channel is not None and payload.channel.id.startswith("D"),
        response_url=payload.response_url,
    )
