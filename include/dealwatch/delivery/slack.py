"""Slack: one message by the Web API, and its look-up by the opaque delivery id in the message's metadata.

Only rate limits are retried here. The client's default handlers post twice when a reply is lost; a lost reply
is `Uncertain`, and the outbox looks the message up before it sends again.
"""

import logging
import re
import socket
import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import RateLimitErrorRetryHandler
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState
from slack_sdk.models.metadata import Metadata
from slack_sdk.web import SlackResponse

from dealwatch.delivery.parcel import Parcel, Receipt, Refused, TryLater, Uncertain, shaped
from dealwatch.delivery.slack_blocks import slack_payload
from dealwatch.settings import Settings

PATIENCE_SECONDS = 3  # a longer Retry-After would outlive the claim, so it is the outbox that waits
LONGEST_SEND = timedelta(seconds=25)  # two answers of ten seconds, and the patience between them
CAN_LOOK_UP = True

EVENT_TYPE = "dealwatch_delivery"
_LOOK_BACK = timedelta(minutes=10)  # two clocks never agree
_PAGE = 200
_LATER = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
# What is wrong with our account or address, and not with one message.
_ACCOUNT = frozenset(
    """access_denied accesslimited account_inactive ekm_access_denied enterprise_is_restricted invalid_auth
    missing_scope no_permission not_allowed_token_type not_authed org_login_required team_access_not_granted
    team_not_found token_expired token_revoked two_factor_setup_required unknown_method""".split()
)
_MEND = "mend the connection slack_default (or slack_token)"
_UNKNOWN = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})

# The client logs whole payloads at debug level; deals do not belong in a log.
_wire_log = logging.getLogger(f"{__name__}.wire")
_wire_log.setLevel(logging.WARNING)


class _ShortRateLimit(RateLimitErrorRetryHandler):
    """Waits out a rate limit once, when that is a matter of seconds."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        return _retry_after(response.headers) <= timedelta(seconds=PATIENCE_SECONDS)


def destination(address: str, *, settings: Settings) -> str:
    """The channel's id: of a channel as it stands, of a person's direct messages by user id or e-mail."""
    if re.fullmatch(r"[CGD][A-Z0-9]{2,}", address):
        return address
    client = _client(settings)
    user = address
    if "@" in address:
        user = str(_called(lambda: client.users_lookupByEmail(email=address))["user"]["id"])
    elif not re.fullmatch(r"[UW][A-Z0-9]{2,}", address):
        raise Refused(f"{address!r} is no Slack address; give a channel id, a user id or an e-mail")
    return str(_called(lambda: client.conversations_open(users=user))["channel"]["id"])


def find(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt | None:
    """The message that carries this delivery's id, if the channel has it."""
    client = _client(settings)
    oldest = (parcel.first_claimed_at - _LOOK_BACK).timestamp()
    cursor = ""
    while True:
        page = _called(
            lambda after=cursor: client.conversations_history(  # type: ignore[misc]
                channel=destination,
                oldest=f"{oldest:.6f}",
                include_all_metadata=True,
                limit=_PAGE,
                cursor=after,
            )
        )
        for message in page["messages"]:
            metadata = message.get("metadata") or {}
            if metadata.get("event_payload", {}).get("delivery_id") == parcel.delivery_id:
                return Receipt(f"{destination}:{message['ts']}")
        cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return None


def send(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt:
    """Post the message; the receipt is `channel:ts`, which is what an edit of it needs."""
    client = _client(settings)
    payload = shaped(slack_payload, parcel.message)
    posted = _called(
        lambda: client.chat_postMessage(
            channel=destination,
            **payload,
            metadata=Metadata(EVENT_TYPE, {"delivery_id": parcel.delivery_id}),
            unfurl_links=False,
            unfurl_media=False,
        )
    )
    return Receipt(f"{posted['channel']}:{posted['ts']}")


def _client(settings: Settings) -> WebClient:
    token = settings.slack_token.get_secret_value() if settings.slack_token else ""
    if not token:
        raise TryLater("there is no Slack token", stops_channel=True, remedy=_MEND)
    url = urlsplit(settings.slack_url)
    if url.scheme != "https" and url.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise TryLater(
            f"slack_url {settings.slack_url} is not https; the token is not sent in the clear",
            stops_channel=True,
            remedy="write https:// in slack_url, or in base_url of the connection slack_default",
        )
    return WebClient(
        token=token,
        base_url=settings.slack_url,
        timeout=settings.delivery.timeout_seconds,
        retry_handlers=[_ShortRateLimit(max_retry_count=1)],
        logger=_wire_log,
    )


def _called(call: Callable[[], SlackResponse]) -> Any:
    """The answer to a call, or what its failure means for the message."""
    try:
        return call().data
    except SlackApiError as error:
        raise _meaning(error.response) from error
    except URLError as error:
        if isinstance(error.reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError):
            raise TryLater(f"Slack cannot be reached: {error.reason}", stops_channel=True) from error
        raise Uncertain(f"Slack's answer was lost: {error.reason}") from error
    except (OSError, ValueError) as error:  # RemoteDisconnected, a timeout, half an answer
        raise Uncertain(f"Slack's answer was lost: {type(error).__name__}: {error}") from error


def _meaning(response: Any) -> Refused | TryLater | Uncertain:
    data = response.data if isinstance(response.data, dict) else {}
    code = str(data.get("error", ""))
    if response.status_code == 429 or code in _LATER:
        return TryLater("Slack limits our rate", stops_channel=True, wait=_retry_after(response.headers))
    if response.status_code >= 500 or code in _UNKNOWN or not re.fullmatch(r"[a-z0-9_]+", code):
        return Uncertain(f"Slack answered {response.status_code} {code[:80]}".rstrip())
    details = [
        *(data.get("response_metadata") or {}).get("messages", []),
        *([f"needs the scope {data['needed']}"] if data.get("needed") else []),
    ]
    told = ": ".join([f"Slack refuses: {code}", *(str(detail)[:200] for detail in details)])
    if code not in _ACCOUNT:
        return Refused(told)
    # Without a scope for look-ups or addresses, messages that need neither can still be posted.
    is_partial = code == "missing_scope" and not str(data.get("needed") or "chat:").startswith("chat:")
    return TryLater(told, stops_channel=not is_partial, remedy=_MEND)


def _retry_after(headers: Any) -> timedelta:
    for name, value in headers.items():
        if name.lower() == "retry-after":
            text = value[0] if isinstance(value, list) else value
            return timedelta(seconds=int(text)) if str(text).isdigit() else timedelta(seconds=60)
    return timedelta(seconds=1)
