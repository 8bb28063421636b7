"""Signed links of a message: what a click in an e-mail may do, for whom, and until when.

A link carries all it needs and nothing of the CRM's texts. Its signature is the permission: whoever holds the
link may give that one answer about that one alert, or set how that one recipient is told, and nothing else.
An answer and a settings page are signed under keys of their own, so neither passes for the other, nor for a
model's manifest. The same arguments give the same link: a message that is rendered again is the same message.
"""

import hashlib
import hmac
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from itsdangerous import BadData, URLSafeSerializer

from dealwatch.errors import LinkRefused, SettingsError
from dealwatch.keys import signing_key
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce, tells_events

ANSWER_LIFE = timedelta(days=14)  # after the message: its news is old by then
SETTINGS_LIFE = timedelta(days=60)  # so long a List-Unsubscribe header has to work
_ANSWER, _SETTINGS, _EVENTS = "answer", "settings", "events"
_LONGEST = 2000  # characters of a token; ours have a few hundred


@dataclass(frozen=True)
class Offer:
    """What a link of a message lets its holder answer."""

    delivery_id: str
    fingerprint: str
    kind: str  # one of the answers, as `acknowledged`
    choice: str  # of a snooze, or empty: the page asks
    by: str  # whom the message went to


def link(
    settings: Settings,
    delivery_id: str,
    fingerprint: str,
    kind: str,
    choice: str = "",
    *,
    by: str,
    expires: datetime,
) -> str:
    """The link that offers an answer; empty without delivery.public_url, and then there is no button."""
    offer = Offer(delivery_id, fingerprint, kind, choice, by)
    return _url(settings, _ANSWER, asdict(offer), expires)


def settings_link(settings: Settings, recipient: str, *, expires: datetime) -> str:
    """The link to a recipient's own settings page; empty without delivery.public_url."""
    return _url(settings, _SETTINGS, {"recipient": recipient}, expires)


def offered(settings: Settings, token: str, *, now: datetime) -> Offer:
    """What the token of `link` offers; raises LinkRefused when it is not ours, changed or too old."""
    return Offer(**_opened(settings, _ANSWER, token, now))


def recipient_of(settings: Settings, token: str, *, now: datetime) -> str:
    """Whose settings the token of `settings_link` opens; raises LinkRefused as `offered` does."""
    return str(_opened(settings, _SETTINGS, token, now)["recipient"])


def event_address(settings: Settings, source: str) -> str:
    """Where a source's CRM sends its events. Raises SettingsError when the source tells none.

    HubSpot signs what it sends. Salesforce does not, so its address carries a token, which lets messages in
    until `events.address` is raised: for as long as an outbound message keeps its address.
    """
    told = settings.sources.get(source)
    if told is None or not tells_events(told):
        raise SettingsError(f"the source {source!r} tells no events; add [sources.{source}.events]")
    base = f"{settings.delivery.public_url}/dealwatch/events/{told.kind}/{quote(source, safe='')}"
    return f"{base}?token={_event_token(settings, source, told)}" if isinstance(told, Salesforce) else base


def opens_events(settings: Settings, source: str, token: str) -> bool:
    """Whether the token is that of the Salesforce source's address."""
    told = settings.sources.get(source)
    if not isinstance(told, Salesforce) or told.events is None:
        return False
    return hmac.compare_digest(_event_token(settings, source, told).encode(), token.encode())


def _event_token(settings: Settings, source: str, told: Salesforce) -> str:
    number = told.events.address if told.events else 0
    signed = _signer(settings, _EVENTS).dumps({"source": source, "address": number})
    return signed if isinstance(signed, str) else signed.decode()


def _url(settings: Settings, purpose: str, said: dict[str, str], expires: datetime) -> str:
    if settings.delivery.public_url is None:
        return ""
    token = _signer(settings, purpose).dumps({**said, "until": int(expires.timestamp())})
    # As a parameter of that name: Airflow's access log, and many a proxy's, masks it; a path it would keep.
    return f"{settings.delivery.public_url}/dealwatch/{purpose}?token={token}"


def _opened(settings: Settings, purpose: str, token: str, now: datetime) -> dict[str, Any]:
    try:
        if len(token) > _LONGEST:
            raise BadData("too long to be ours")
        said = dict(_signer(settings, purpose).loads(token))
    except BadData:
        raise LinkRefused(
            "This link is not complete, or not one of ours. Open it from the message again."
        ) from None
    until = datetime.fromtimestamp(said.pop("until"), UTC)
    if now >= until:
        raise LinkRefused(f"This link was good until {until:%-d %b %Y}. Newer messages have newer links.")
    return said


def _signer(settings: Settings, purpose: str) -> URLSafeSerializer:
    return URLSafeSerializer(
        signing_key(settings),
        salt=f"dealwatch {purpose} of {settings.tenant}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
