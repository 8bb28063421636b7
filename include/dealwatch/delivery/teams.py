"""Microsoft Teams: one Adaptive Card to a workflow's webhook, which the settings know by a name.

The URL is the permission to post, so it is a secret: no error, receipt or log line of ours holds it. A
webhook says that it accepted a card, and can neither be asked whether a card is there nor made to change it.
"""

import re
import socket
import ssl
from datetime import timedelta
from urllib.parse import urlsplit

import httpx

from dealwatch.delivery.parcel import Parcel, Receipt, Refused, TryLater, Uncertain, shaped
from dealwatch.delivery.teams_card import teams_body
from dealwatch.delivery.wire_log import hide_addresses_with
from dealwatch.settings import Settings

LONGEST_SEND = timedelta(seconds=25)  # connecting, writing and the answer
CAN_LOOK_UP = False
MAY_DOUBLE = False  # many read a Teams channel: one card missing and told of is better than two

_PAUSE = timedelta(seconds=0.25)  # a webhook takes four a second
_PLACE_WAIT = timedelta(minutes=30)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_TOO_BIG = 413


hide_addresses_with("sig=")


def pause(settings: Settings) -> timedelta:
    """The time between two messages to one webhook."""
    return _PAUSE


def destination(address: str, *, settings: Settings) -> str:
    """The webhook's name, checked: its URL leads over TLS to a host that Teams workflows have."""
    _url(address, settings)
    return address


def find(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt | None:
    """Nothing to find: a webhook answers no such question."""
    return None


def ready(parcel: Parcel, *, settings: Settings) -> Parcel:
    """The parcel as it is: nothing is handed over ahead of it."""
    return parcel


def send(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt:
    """Post the card once; the receipt names the webhook and the workflow's run."""
    url = _url(destination, settings)
    body = shaped(teams_body, parcel.message)
    timeout = httpx.Timeout(settings.delivery.timeout_seconds)
    headers = {"Content-Type": "application/json"}
    try:
        with (
            httpx.Client(timeout=timeout, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            status, run = answer.status_code, answer.headers.get("x-ms-workflow-run-id", "")
            wait = _retry_after(answer.headers.get("Retry-After", ""))
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _unreached(destination, error) from None
    except httpx.HTTPError as error:
        raise Uncertain(f"the answer of Teams was lost: {type(error).__name__}") from None
    if 200 <= status < 300:
        return Receipt(f"{destination}:{re.sub('[^A-Za-z0-9]', '', run)[:60] or parcel.delivery_id}")
    raise _meaning(destination, status, wait)


def _url(name: str, settings: Settings) -> str:
    """The webhook's URL; raises TryLater, which tells what to mend, when there is none that may be used."""
    secret = settings.teams.get(name)
    if secret is None:
        raise _broken(name, "has no URL", "unset")
    parts = urlsplit(secret.get_secret_value())
    try:
        host = (parts.hostname or "").rstrip(".")
        port = parts.port
    except ValueError:
        raise _broken(name, "has a URL that cannot be read", "unreadable") from None
    hosts = settings.delivery.teams_hosts
    if not any(host == known or host.endswith(f".{known}") for known in hosts):
        raise _broken(name, f"leads to a host that is none of {', '.join(hosts)}", "host")
    if host not in _LOOPBACK and (parts.scheme != "https" or port not in {None, 443}):
        raise _broken(name, "is not https on its usual port", "scheme")
    if "@" in parts.netloc:
        raise _broken(name, "has a user in its URL", "user")
    return secret.get_secret_value()


def _broken(name: str, what: str, fault: str) -> TryLater:
    remedy = f"mend teams.{name} (or the connection teams_default): paste the workflow's URL anew"
    return TryLater(
        f"the Teams webhook {name} {what}",
        stops_place=True,
        wait=_PLACE_WAIT,
        remedy=remedy,
        fault=f"{fault} {name}",
    )


def _unreached(name: str, error: httpx.HTTPError) -> TryLater:
    """No connection came to be, so nothing was sent; a certificate that is wrong will not heal by itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError | socket.gaierror):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _broken(name, f"shows a certificate that is not valid: {cause.verify_message}", "certificate")
    return TryLater(f"Teams cannot be reached: {type(cause or error).__name__}", stops_channel=True)


def _meaning(name: str, status: int, wait: timedelta) -> Refused | TryLater | Uncertain:
    if status == 429:
        return TryLater("Teams limits our rate", stops_place=True, wait=wait)
    if status == 503:  # it did not take the request; any other 5xx may have come after that
        return TryLater("Teams is not available (503)")
    if status >= 500:
        return Uncertain(f"Teams answered {status}")
    if status == _TOO_BIG or status in {400, 422}:
        return Refused(f"Teams refuses the card: {status}")
    return _broken(name, f"answers {status}", f"{status}")


def _retry_after(text: str) -> timedelta:
    return timedelta(seconds=min(int(text), 3600)) if text.isdigit() else timedelta(seconds=60)
