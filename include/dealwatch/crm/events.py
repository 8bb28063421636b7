"""What a CRM tells at the moment it happens: that something happened to a deal, and nothing of the deal."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

What = Literal[
    "created", "stage", "amount", "close_date", "owner", "deleted", "restored", "merged", "changed"
]


@dataclass(frozen=True)
class Event:
    """That something happened to a deal.

    event_id: of the same event, told again, the same. happened_at: as the CRM says; None where it does not.
    """

    event_id: str
    deal_id: str
    what: What
    happened_at: datetime | None = None


class NoEvents(ValueError):
    """A message that is none of the CRM's: says what is wrong with it, and nothing that it holds."""


def event_id(*parts: object) -> str:
    """An id of an event from what the CRM calls it."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]
