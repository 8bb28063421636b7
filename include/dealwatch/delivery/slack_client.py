"""Slack's Web API as we call it: which client, and what each kind of failure means for a message.

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
from slack_sdk.web import SlackResponse

from dealwatch.delivery.parcel import NoSuchRecipient, NotDelivered, Refused, TryLater, Uncertain
from dealwatch.settings import Settings

PATIENCE_SECONDS = 3  # a longer Retry-After would outlive the claim, so it is the outbox that waits

_PLACE_WAIT = timedelta(minutes=30)  # how long a message waits that its channel's owner has to let in
_LATER = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
# What is wrong with our account, and not with one message.
_ACCOUNT = frozenset(
    """access_denied accesslimited account_inactive ekm_access_denied enterprise_is_restricted invalid_auth
    missing_scope no_permission not_allowed_token_type not_authed org_login_required team_access_not_granted
    team_not_found token_expired token_revoked two_factor_setup_required unknown_method""".split()
)
# What is wrong with one channel, for every message that goes there.
_PLACE = frozenset(
    """channel_not_found is_archived not_in_channel posting_to_general_channel_denied restricted_action
    restricted_action_non_threadable_channel restricted_action_read_only_channel
    restricted_action_thread_only_channel""".split()
)
_STRANGER = frozenset(
    """users_not_found user_not_found user_not_visible user_disabled cannot_dm_bot messages_tab_disabled
    email_not_found""".split()
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


def client_of(settings: Settings) -> WebClient:
    """A client with our token; raises TryLater when there is none, or no safe way to use it."""
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


def called(call: Callable[[], SlackResponse], *, place: str = "") -> Any:
    """The answer to a call, or what its failure means for the message; `place` is the channel it is about."""
    try:
        return call().data
    except SlackApiError as error:
        raise _meaning(error.response, place) from error
    except URLError as error:
        if isinstance(error.reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError):
            raise TryLater(f"Slack cannot be reached: {error.reason}", stops_channel=True) from error
        raise Uncertain(f"Slack's answer was lost: {error.reason}") from error
    except (OSError, ValueError) as error:  # RemoteDisconnected, a timeout, half an answer
        raise Uncertain(f"Slack's answer was lost: {type(error).__name__}: {error}") from error


def _meaning(response: Any, place: str) -> NotDelivered:
    data = response.data if isinstance(response.data, dict) else {}
    code = str(data.get("error", ""))
    if response.status_code == 429 or code in _LATER:
        return TryLater("Slack limits our rate", stops_channel=True, wait=_retry_after(response.headers))
    if response.status_code >= 500 or code in _UNKNOWN or not re.fullmatch(r"[a-z0-9_]+", code):
        return Uncertain(f"Slack answered {response.status_code} {code[:80]}".rstrip())
    told = _told(code, data)
    if code in _ACCOUNT:
        # Without a scope for look-ups or addresses, messages that need neither can still be posted.
        is_partial = code == "missing_scope" and not str(data.get("needed") or "chat:").startswith("chat:")
        return TryLater(told, stops_channel=not is_partial, remedy=_MEND, fault=code)
    if code in _PLACE and place:
        remedy = f"let the app into {place} (/invite), or name another channel in the settings"
        fault = f"{code} {place}"
        return TryLater(f"{told} ({place})", stops_place=True, wait=_PLACE_WAIT, remedy=remedy, fault=fault)
    return NoSuchRecipient(told) if code in _STRANGER else Refused(told, code=code)


def _told(code: str, data: Any) -> str:
    details = [
        *(data.get("response_metadata") or {}).get("messages", []),
        *([f"needs the scope {data['needed']}"] if data.get("needed") else []),
    ]
    return ": ".join([f"Slack refuses: {code}", *(str(detail)[:200] for detail in details)])


def _retry_after(headers: Any) -> timedelta:
    for name, value in headers.items():
        if name.lower() == "retry-after":
            text = value[0] if isinstance(value, list) else value
            return timedelta(seconds=int(text)) if str(text).isdigit() else timedelta(seconds=60)
    return timedelta(seconds=1)
