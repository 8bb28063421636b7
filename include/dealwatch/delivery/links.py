"""Signed links of a message: what a click in an e-mail may do, for whom, and until when.

A link carries all it needs and nothing of the CRM's texts. Its signature is the permission: whoever holds the
link may give that one answer about that one alert, or set how that one recipient is told, and nothing else.
An answer and a settings page are signed under keys of their own, so neither passes for the other, nor for a
model's manifest. The same arguments give the same link: a message that is rendered again is the same message.
"""

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from dealwatch.errors import LinkRefused
from dealwatch.keys import signing_key
from dealwatch.settings import Settings

ANSWER_LIFE = timedelta(days=14)  # after the message: its news is old by then
SETTINGS_LIFE = timedelta(days=60)  # so long a List-Unsubscribe header has to work
_ANSWER, _SETTINGS = "answer", "settings"
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
