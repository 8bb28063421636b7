"""One try of one message: offer it once, and say what that comes to. Whatever happens becomes an outcome.

A row that an earlier try may have sent is looked up at the provider before it is sent again. Where no look-up
is possible, a channel says whether a second copy costs less than a lost message: by e-mail it does.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from dealwatch.delivery.channels import CHANNELS, Channel
from dealwatch.delivery.claims import IN_DOUBT, NO_EDIT, UNDELIVERABLE, Claim, Fault, Outcome
from dealwatch.delivery.messages import Message
from dealwatch.delivery.pacing import Pace
from dealwatch.delivery.parcel import (
    NoSuchRecipient,
    NotDelivered,
    Parcel,
    PictureNotReady,
    Receipt,
    Refused,
    TryLater,
    Uncertain,
    Unrenderable,
)
from dealwatch.settings import Settings

log = logging.getLogger(__name__)

_WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120))
# After each, a message whose picture is not ready is offered again; after the last, without the picture.
_PICTURE_WAITS = (*(timedelta(seconds=seconds) for seconds in (1, 2, 4)), timedelta())
_GREYLIST_WAIT = timedelta(minutes=10)
_GREYLIST_PATIENCE = timedelta(hours=1)


@dataclass
class Carrier:
    """What a try needs beside the message, and the bugs that were met on the way."""

    settings: Settings
    now: Callable[[], datetime]
    pace: Pace
    mailbox_of: Callable[[Claim], str]  # where else the recipient can be reached, by e-mail; or empty
    bugs: list[Exception] = field(default_factory=list)

    def carry(self, claim: Claim) -> Outcome:
        """Try once."""
        channel = CHANNELS.get(claim.channel)
        if channel is None:
            return _dead(f"there is no channel {claim.channel!r}; there are {', '.join(sorted(CHANNELS))}")
        if claim.edits is not None and claim.edits.slack_ref is None:
            return Outcome("not_sent", reason=NO_EDIT)
        try:
            parcel = _parcel(claim)
            destination = channel.destination(claim.address, settings=self.settings)
            found = channel.find(parcel, destination, settings=self.settings) if claim.was_tried else None
        except Exception as error:
            return self._not_offered(claim, self._explained(error))
        if found is not None:
            return Outcome("sent", receipt=found)
        if (ended := self._ended(claim, channel)) is not None:
            return ended
        try:
            _keep_private(parcel, claim.channel, destination)
            parcel = channel.ready(parcel, settings=self.settings)
        except Exception as error:
            return self._not_offered(claim, self._explained(error))
        return self._offered(claim, channel, parcel, destination)

    def _offered(self, claim: Claim, channel: Channel, parcel: Parcel, destination: str) -> Outcome:
        """Hand it over; while the provider is not done with a picture, again, and then without it."""
        for wait in (*_PICTURE_WAITS, None):
            self.pace.wait(f"{claim.channel} {destination}", channel.pause(self.settings))
            if self.now() + channel.LONGEST_SEND > claim.lease_until:
                return _put_back(claim, "the claim was about to end before the message could be sent")
            try:
                return Outcome("sent", receipt=self._receipt(channel, parcel, destination))
            except PictureNotReady as error:
                if wait is None:
                    return self._not_promised(claim, channel, error)
                log.info("delivery %s: %s", claim.delivery_id, error)
                parcel = self._waited(parcel, wait, error)
            except Exception as error:
                return self._not_promised(claim, channel, self._explained(error))
        raise AssertionError("the last try returns")

    def _waited(self, parcel: Parcel, wait: timedelta, error: PictureNotReady) -> Parcel:
        """The parcel after a pause; after the last one, without its picture."""
        if wait:
            self.pace.pause(wait)
            return parcel
        return replace(parcel, picture_ref="", note=f"sent without its picture: {error}")

    def _receipt(self, channel: Channel, parcel: Parcel, destination: str) -> Receipt:
        receipt = channel.send(parcel, destination, settings=self.settings)
        notes = [note for note in (receipt.note, parcel.note) if note]
        return replace(receipt, note="; ".join(notes))

    def leave(self, claim: Claim, fault: Fault) -> Outcome:
        """Do not try: the channel or the place is known to be down. Go by e-mail, or wait."""
        later = TryLater(fault.said, stops_channel=fault.stops == "channel")
        return self._elsewhere(claim, fault.said, is_sure=not claim.was_tried) or _put_back(
            claim, fault.said, later=later
        )

    def _explained(self, error: Exception) -> NotDelivered:
        """A channel's own word for a failure; anything else is a bug, which leaves the message in doubt."""
        if isinstance(error, Unrenderable):
            self.bugs.append(error)
        if isinstance(error, NotDelivered):
            return error
        log.error("unexpected error while delivering", exc_info=error)
        self.bugs.append(error)
        return Uncertain(f"{type(error).__name__}: {error}")

    def _elsewhere(
        self, claim: Claim, error: str, *, is_sure: bool, fault: Fault | None = None
    ) -> Outcome | None:
        """The message's way by e-mail, if it is sure that it is not there already and there is such a way."""
        if not is_sure or claim.is_expired or not claim.is_wanted or claim.kind == "update":
            return None
        mailbox = self.mailbox_of(claim)
        told = f"{error}; it goes by e-mail instead of {claim.channel}"
        return Outcome("queued", error=told, mailbox=mailbox, fault=fault) if mailbox else None

    def _not_offered(self, claim: Claim, error: NotDelivered) -> Outcome:
        """The try failed before the message was offered, so it did not send it; an earlier one may have."""
        fault = self._fault(claim, error)
        is_final = isinstance(error, Refused)
        if claim.was_tried and (is_final or claim.is_expired):
            return _dead(f"it may have arrived in an earlier try, which cannot be looked up: {error}")
        if is_final or fault is not None or self._is_enough(claim, error):
            elsewhere = self._elsewhere(claim, str(error), is_sure=not claim.was_tried, fault=fault)
            if elsewhere is not None:
                return elsewhere
        if is_final:
            return _given_up(claim, error)
        return self._later(claim, error)

    def _ended(self, claim: Claim, channel: Channel) -> Outcome | None:
        """Why a row that may have been sent, and was not found, is not sent again."""
        may_have_arrived = claim.was_tried and not channel.CAN_LOOK_UP
        if claim.is_expired or not claim.is_wanted:
            reason = "expired" if claim.is_expired else "no_longer_wanted"
            if may_have_arrived:
                return Outcome("dead", reason=reason, error="an earlier try may have arrived; not sent again")
            return Outcome("not_sent" if claim.is_expired else "cancelled", reason=reason)
        if may_have_arrived and not channel.MAY_DOUBLE:
            return _in_doubt(claim, "a sender ended before the answer came")
        if claim.attempts > self.settings.delivery.fallback_after:
            told = f"{claim.attempts - 1} tries by {claim.channel} failed"
            if elsewhere := self._elsewhere(claim, told, is_sure=not may_have_arrived):
                return elsewhere
        if claim.attempts > self.settings.delivery.max_attempts:
            return _dead(f"given up after {claim.attempts - 1} tries that were never confirmed")
        return None

    def _not_promised(self, claim: Claim, channel: Channel, error: NotDelivered) -> Outcome:
        """The message was offered and the provider has not promised to have it."""
        is_last = claim.attempts >= self.settings.delivery.max_attempts
        if isinstance(error, Uncertain):
            if channel.CAN_LOOK_UP:
                return Outcome("uncertain", error=str(error), wait=claim.lease_until - self.now())
            if not channel.MAY_DOUBLE:
                return _in_doubt(claim, str(error))
            if claim.was == "uncertain" or is_last:
                return _dead(f"sent again and again without an answer, so it may have arrived: {error}")
            return Outcome("uncertain", error=str(error), wait=claim.lease_until - self.now())
        is_sure = channel.CAN_LOOK_UP or not claim.was_tried
        fault = self._fault(claim, error)
        if isinstance(error, Refused) or fault is not None or self._is_enough(claim, error):
            if elsewhere := self._elsewhere(claim, str(error), is_sure=is_sure, fault=fault):
                return elsewhere
        if isinstance(error, TryLater) and (error.stops_channel or error.remedy or not is_last):
            return self._later(claim, error, is_looked_up=channel.CAN_LOOK_UP)
        return _given_up(claim, error)

    def _fault(self, claim: Claim, error: NotDelivered) -> Fault | None:
        """What the error says about more than this message: something to mend, or an outage that lasts."""
        if not isinstance(error, TryLater):
            return None
        if error.remedy:
            stops: Literal["channel", "place", ""]
            stops = "channel" if error.stops_channel else "place" if error.stops_place else ""
            return Fault(claim.channel, error.fault, str(error), error.remedy, stops)
        if error.stops_channel and self._is_enough(claim, error):
            return Fault(claim.channel, "outage", str(error), stops="channel")
        return None

    def _is_enough(self, claim: Claim, error: NotDelivered) -> bool:
        """Whether the channel had its tries; a rate limit is an answer, and no failure."""
        is_limit = isinstance(error, TryLater) and error.wait is not None
        return not is_limit and claim.attempts >= self.settings.delivery.fallback_after

    def _later(self, claim: Claim, error: NotDelivered, *, is_looked_up: bool = False) -> Outcome:
        """Put the row back. What is no message's fault does not use its tries up.

        A channel that is not reached counts up to the tries that lead elsewhere, and no further.
        """
        later = error if isinstance(error, TryLater) else None
        if later is None:
            return _put_back(claim, str(error))
        is_outage = later.stops_channel and not later.remedy and later.wait is None
        is_young = later.is_greylist and self.now() - claim.first_claimed_at < _GREYLIST_PATIENCE
        is_free = later.stops_channel or bool(later.remedy) or is_young
        if is_outage and claim.attempts <= self.settings.delivery.fallback_after:
            is_free = False
        outcome = _put_back(claim, str(error), later=later, is_looked_up=is_looked_up, is_free=is_free)
        is_limit = later.stops_channel and not later.remedy and later.wait is not None
        return replace(outcome, is_limit=is_limit, fault=self._fault(claim, error))


def _parcel(claim: Claim) -> Parcel:
    try:
        message = Message.model_validate(claim.message)
    except ValidationError as error:
        raise Refused(f"the stored message cannot be read: {error.error_count()} errors") from error
    return Parcel(
        delivery_id=claim.delivery_id,
        as_of=claim.as_of,
        address=claim.address,
        message=message,
        first_claimed_at=claim.first_claimed_at,
        recipient=claim.recipient,
        edits_ref=claim.edits.slack_ref if claim.edits else None,
        edits=claim.edits.delivery_id if claim.edits else "",
        follows_ref=claim.follows.slack_ref if claim.follows else None,
        is_escalation=claim.is_escalation,
        tries=claim.attempts,
        pictures=_verified(claim, message),
    )


def _verified(claim: Claim, message: Message) -> dict[str, bytes]:
    """The message's pictures by name, those whose bytes are what they were when it was composed."""
    found = {}
    for picture in message.pictures:
        png = claim.pictures.get(picture.sha256)
        if png is None or hashlib.sha256(png).hexdigest() != picture.sha256:
            what = "is lost" if png is None else "is not what it was"
            log.warning(
                "delivery %s: the picture %s %s; it goes without", claim.delivery_id, picture.name, what
            )
            continue
        found[picture.name] = png
    return found


def _keep_private(parcel: Parcel, channel: str, destination: str) -> None:
    """What names people goes to nobody's shared place, whatever the settings or the CRM call an address."""
    is_shared = channel == "teams" or (channel == "slack" and not destination.startswith("D"))
    if parcel.message.is_private and is_shared:
        raise Refused(f"{channel} {destination} is a shared place, and the message names people")


def _put_back(
    claim: Claim,
    error: str,
    *,
    later: TryLater | None = None,
    is_looked_up: bool = False,
    is_free: bool = True,
) -> Outcome:
    """Leave the row for a later try; a doubt about an earlier try stays unless a look-up has settled it."""
    wait = _GREYLIST_WAIT if later and later.is_greylist and is_free else None
    return Outcome(
        "uncertain" if claim.was_tried and not is_looked_up else "queued",
        error=error,
        wait=wait or (later.wait if later else None) or _WAITS[min(claim.attempts, len(_WAITS)) - 1],
        is_free=later is not None and is_free,
        stops_channel=later is not None and later.stops_channel,
    )


def _in_doubt(claim: Claim, error: str) -> Outcome:
    """It may have arrived, nobody can look, and a second copy is worse: a person is told to look."""
    remedy = f"look whether it is there; {claim.channel} cannot be asked, so it is not sent again"
    told = f"a message may be missing: {error}"
    fault = Fault(claim.channel, IN_DOUBT, told, remedy)
    return Outcome("dead", reason=IN_DOUBT, error=error, fault=fault)


def _given_up(claim: Claim, error: NotDelivered) -> Outcome:
    """It will not arrive. Of an address that is none, the people who can mend it are told."""
    if claim.kind == "operations" or not isinstance(error, NoSuchRecipient):
        return _dead(str(error))
    said = f"a message to {claim.recipient} reached nobody: {error}"
    remedy = "correct the address in the CRM or the settings, or mark who left as inactive"
    return replace(_dead(str(error)), fault=Fault(claim.channel, UNDELIVERABLE, said, remedy))


def _dead(error: str) -> Outcome:
    return Outcome("dead", reason=UNDELIVERABLE, error=error)
