"""What HubSpot posts when something changes: a batch of events with the third version of its signature."""

import base64
import hashlib
import hmac
import json
from typing import Any

SECRET = "standin-client-5ecret"


def event(deal_id: str, kind: str, *, at: int, number: int = 1, **more: Any) -> dict[str, Any]:
    """One event; `kind` is as deal.creation or deal.propertyChange, `at` in milliseconds.

    A change of a property has `propertyName` and `propertyValue`, told by `more`.
    """
    return {
        "eventId": number,
        "subscriptionId": 12345,
        "portalId": 123456,
        "appId": 54321,
        "occurredAt": at,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": int(deal_id),
        "changeSource": "CRM_UI",
        **more,
    }


def signed(
    events: list[dict[str, Any]], url: str, *, at: int, secret: str = SECRET, method: str = "POST"
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the request that delivers these events to `url`, signed at that millisecond.

    The signature is over method, address, body and timestamp; of the address's escapes HubSpot undoes some
    before it signs, so keep them out of it.
    """
    body = json.dumps(events).encode()
    text = method.encode() + url.encode() + body + str(at).encode()
    told = base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()
    headers = {
        "Content-Type": "application/json",
        "X-HubSpot-Signature-v3": told,
        "X-HubSpot-Request-Timestamp": str(at),
    }
    return body, headers
