"""What a channel is handed, and the ways in which handing it over can end.

NotDelivered
├── Refused      the provider will not take it, now or later; trying again is pointless
│   ├── NoSuchRecipient  it does not know the person
│   └── Unrenderable     our own failure to give it a shape
├── TryLater     it was certainly not taken; trying again is safe
│   └── PictureNotReady  a moment later, or without its picture, it would be
└── Uncertain    it may have been taken: look it up, or know that a second copy may arrive
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from dealwatch.delivery.messages import Message

_Shape = TypeVar("_Shape")


@dataclass(frozen=True)
class Parcel:
    """One message for one address."""

    delivery_id: str
    as_of: datetime
    address: str
    message: Message
    first_claimed_at: datetime  # the same on every try: it dates an e-mail and bounds a look-up
    recipient: str = ""  # the person's id in the CRM, or the name of a role
    edits_ref: str | None = None  # the provider's reference of the message that this one changes
    edits: str = ""  # the delivery that sent that message
    follows_ref: str | None = None  # the reference of the message in whose thread this one stands
    is_escalation: bool = False  # it got worse: a thread alone is too quiet a place
    tries: int = 1  # this one included
    pictures: Mapping[str, bytes] = field(default_factory=dict)  # PNGs by name, without those lost
    picture_ref: str = ""  # the provider's reference of the picture that was handed over ahead
    note: str = ""  # what is not perfect about it


@dataclass(frozen=True)
class Receipt:
    """The provider has it: its own reference, and a note when something about it was not perfect."""

    ref: str
    note: str = ""


class NotDelivered(Exception):
    """A channel could not promise that the provider has the message; the text says why."""


class Refused(NotDelivered):
    """The provider will never take this message at this address; `code` is its own word for why."""

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


class NoSuchRecipient(Refused):
    """The address is none, or nobody's: the provider does not know the person."""


class Unrenderable(Refused):
    """The message has no shape that the channel could take: a bug of ours, and no other message's fault."""


class TryLater(NotDelivered):
    """The provider has certainly not taken the message.

    `stops_channel`: the next message would fare no better (unreachable, rate limited) and this one is not at
    fault; `stops_place`: nor would the next one to this address. `wait` is how long the provider asked us to
    hold back. `remedy` is what a person has to mend before it can be taken (a credential, a setting), and
    `fault` names what is wrong, the same every time; none of these uses up a try. `is_greylist`: a mail
    server turns strangers away for a while, on purpose.
    """

    def __init__(
        self,
        reason: str,
        *,
        stops_channel: bool = False,
        stops_place: bool = False,
        wait: timedelta | None = None,
        remedy: str = "",
        fault: str = "",
        is_greylist: bool = False,
    ) -> None:
        super().__init__(reason)
        self.stops_channel = stops_channel
        self.stops_place = stops_place
        self.wait = wait
        self.remedy = remedy
        self.fault = fault or remedy
        self.is_greylist = is_greylist


class Uncertain(NotDelivered):
    """The connection ended before the provider said whether it has the message."""


class PictureNotReady(TryLater):
    """The provider has not taken the message, because it is not done with the picture in it."""


def shaped(render: Callable[[Message], _Shape], message: Message) -> _Shape:
    """The message as the channel needs it; a failure concerns this message alone, which was not offered."""
    try:
        return render(message)
    except Exception as error:
        raise Unrenderable(f"the message cannot be rendered: {type(error).__name__}: {error}") from error
