"""HubSpot's webhooks: whether a request is HubSpot's, and of which deals it tells.

The third version of its signature: base64 of HMAC-SHA256, keyed by the app's client secret, over method,
address, body and timestamp. The two versions before it sign no time, so they let no request in.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dealwatch.crm.events import Event, NoEvents, What, event_id

OLDEST = timedelta(minutes=5)
_DEALS = "0-3"  # HubSpot's type of object
# What HubSpot undoes in an address before it signs it, by its documentation.
_ESCAPED = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_KINDS: dict[str, What] = {
    "creation": "created",
    "deletion": "deleted",
    "restore": "restored",
    "merge": "merged",
    "propertyChange": "changed",
}
_PROPERTIES: dict[str, What] = {
    "dealstage": "stage",
    "amount": "amount",
    "closedate": "close_date",
    "hubspot_owner_id": "owner",
}
_LARGEST_ID = 2**63 - 1
_LATEST_MS = 4_102_444_800_000  # the year 2100


def is_signed(secret: str, url: str, body: bytes, *, stamp: str, signature: str, now: datetime) -> bool:
    """Whether HubSpot sent this body to the address `url` by POST within the last five minutes."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15 and signature.isascii() and secret):
        return False
    age = abs(now - datetime.fromtimestamp(0, UTC) - timedelta(milliseconds=int(stamp)))
    text = b"".join([b"POST", _unescaped(url).encode(), body, stamp.encode()])
    own = base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest())
    return hmac.compare_digest(own, signature.encode()) and age <= OLDEST


def _unescaped(url: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[0][1:], 16)), url)


class _Told(BaseModel):
    """An event by HubSpot's own names."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    subscriptionType: str
    occurredAt: int
    objectId: int | None = None
    objectTypeId: str = ""
    propertyName: str = ""
    portalId: int = 0
    subscriptionId: int = 0
    eventId: int = 0
    primaryObjectId: int | None = None
    mergedObjectIds: tuple[int, ...] = ()
    newObjectId: int | None = None

    def deal_ids(self) -> list[str]:
        """The deals it is about; of a merge all that took part."""
        every = [self.objectId, self.primaryObjectId, self.newObjectId, *self.mergedObjectIds]
        return [str(one) for one in dict.fromkeys(every) if one is not None and 0 < one <= _LARGEST_ID]


def events_of(body: bytes, *, ours: Collection[str] = ()) -> list[Event]:
    """The events of a request that are about deals; others are passed over. Raises NoEvents.

    ours: properties that we write ourselves; that one of them changed is no news to us.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, list):
        raise NoEvents("a body that is no list of events")
    return [event for one in told for event in _events(one, ours)]


def _events(one: Any, ours: Collection[str]) -> Iterator[Event]:
    try:
        told = _Told.model_validate(one)
    except ValidationError:  # of another sort, such as a change of associations
        return
    kind, _, action = told.subscriptionType.partition(".")
    is_of_deals = kind == "deal" or (kind == "object" and told.objectTypeId == _DEALS)
    if not is_of_deals or action not in _KINDS or not 0 <= told.occurredAt <= _LATEST_MS:
        return
    what = _KINDS[action]
    if action == "propertyChange":
        if told.propertyName in ours:
            return
        what = _PROPERTIES.get(told.propertyName, what)
    for deal_id in told.deal_ids():
        # An eventId alone need not be unique, HubSpot says; the number of the attempt is no part of it.
        name = event_id(
            "hubspot",
            *(told.portalId, told.subscriptionId, told.eventId, told.occurredAt),
            *(told.subscriptionType, told.propertyName, deal_id),
        )
        yield Event(name, deal_id, what, datetime.fromtimestamp(told.occurredAt / 1000, UTC))
