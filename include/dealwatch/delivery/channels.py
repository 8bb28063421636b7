"""Every way out of the house: a channel is one file beside this one, and one line here."""

from datetime import timedelta
from typing import Protocol

from dealwatch.delivery import email, folder, slack, teams
from dealwatch.delivery.parcel import Parcel, Receipt
from dealwatch.settings import Settings


class Channel(Protocol):
    """What a channel's file offers; each function may raise one of the ways in `parcel`."""

    LONGEST_SEND: timedelta  # from our last look at the clock until the provider can no longer take it
    CAN_LOOK_UP: bool  # whether `find` finds what the provider took; else nobody knows after a lost reply
    MAY_DOUBLE: bool  # whether, without a look-up, a second copy is better than a lost message

    def pause(self, settings: Settings) -> timedelta:
        """The time between two messages to one place."""

    def destination(self, address: str, *, settings: Settings) -> str:
        """Where the address leads, in the provider's terms."""

    def find(self, parcel: Parcel, destination: str, *, settings: Settings) -> Receipt | None:
        """The receipt of a message that an earlier try left there."""

    def ready(self, parcel: Parcel, *, settings: Settings) -> Parcel:
        """The parcel once its picture is drawn or handed over, which may happen twice."""

    def send(self, parcel: Parcel, destination: str, *, settings: Settings) -> Receipt:
        """Hand the message over once."""


CHANNELS: dict[str, Channel] = {
    "slack": slack,
    "email": email,
    "teams": teams,
    "folder": folder,
}
