"""Empties the queue: claim, send, confirm, so that each message arrives once whatever dies on the way.

A row that an earlier try may have sent is looked up at the provider before it is sent again. Where no look-up
is possible (e-mail) it is sent once more under the same id: a second copy costs less than a lost message.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import Engine

from dealwatch.delivery.channels import CHANNELS, Channel
from dealwatch.delivery.claims import (
    UNDELIVERABLE,
    Claim,
    Outcome,
    channels_due,
    claim_next,
    confirm,
    rows_due,
    settle,
)
from dealwatch.delivery.hours import Hours, read_hours
from dealwatch.delivery.listing import write_listing
from dealwatch.delivery.messages import Message
from dealwatch.delivery.parcel import NotDelivered, Parcel, Refused, TryLater, Uncertain, Unrenderable
from dealwatch.errors import ChannelDown
from dealwatch.settings import Settings

log = logging.getLogger(__name__)

_MOST_DOUBTS = 3  # lost replies in a row before a channel is left alone until the next time
_WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120))


def deliver(
    engine: Engine, *, settings: Settings, now: Callable[[], datetime], dry: bool = False
) -> dict[str, int]:
    """Send all that is due, each channel by itself; how many rows ended in which state.

    `now` is the real clock. `dry` logs what would be sent and changes nothing.
    Raises ChannelDown, after all that could be sent was, when a channel waits for somebody to mend it.
    """
    hours = read_hours(engine, settings=settings)
    if dry:
        return _rehearse(engine, hours, now())
    counts = Counter(sent=0, queued=0, uncertain=0, dead=0, **settle(engine, now()))
    trouble = _Trouble()
    for name in channels_due(engine, hours, now()):
        counts.update(_empty(engine, name, hours=hours, settings=settings, now=now, trouble=trouble))
    write_listing(engine, settings=settings)
    log.info("deliver at %s: %s", now().isoformat(), dict(counts))
    trouble.tell()
    return dict(counts)


@dataclass
class _Trouble:
    """What has to be told once all that could be sent was sent."""

    bugs: list[Exception] = field(default_factory=list)
    remedies: dict[str, str] = field(default_factory=dict)  # one line each, by channel

    def tell(self) -> None:
        """Raise it, if there is any."""
        down: list[Exception] = []
        if self.remedies:
            lines = [f"  {channel}: {said}" for channel, said in sorted(self.remedies.items())]
            down.append(ChannelDown("\n".join(["messages wait until this is mended:", *lines])))
        if self.bugs:
            raise ExceptionGroup("deliver met errors that no channel explains", [*self.bugs, *down])
        if down:
            raise down[0]


def _rehearse(engine: Engine, hours: Hours, now: datetime) -> dict[str, int]:
    due = rows_due(engine, hours, now)
    for row in due:
        log.info("would send %s %s to %s by %s", row.kind, row.delivery_id, row.address, row.channel)
    return {"would_send": len(due)}


def _empty(
    engine: Engine,
    name: str,
    *,
    hours: Hours,
    settings: Settings,
    now: Callable[[], datetime],
    trouble: _Trouble,
) -> Counter[str]:
    """Send one channel's due rows until none is left or the channel is seen to be down."""
    counts: Counter[str] = Counter()
    doubts = 0
    while doubts < _MOST_DOUBTS:
        claim = claim_next(engine, name, hours=hours, settings=settings, now=now())
        if claim is None:
            break
        outcome = _carry(claim, settings=settings, now=now, bugs=trouble.bugs)
        is_ours = confirm(engine, claim, outcome, now=now())
        if is_ours:
            counts[outcome.state] += 1
        if outcome.error or not is_ours:
            told = outcome.error or "the claim had passed to another sender"
            log.warning("delivery %s by %s: %s: %s", claim.delivery_id, name, outcome.state, told)
        if outcome.remedy:
            trouble.remedies[name] = f"{outcome.error}; {outcome.remedy}"
        if outcome.stops_channel:
            break
        doubts = doubts + 1 if outcome.state == "uncertain" else 0
    return counts


def _carry(
    claim: Claim, *, settings: Settings, now: Callable[[], datetime], bugs: list[Exception]
) -> Outcome:
    """Try once. Whatever happens becomes an outcome, so that no message holds up the next."""
    channel = CHANNELS.get(claim.channel)
    if channel is None:
        return _dead(f"there is no channel {claim.channel!r}; there are {', '.join(sorted(CHANNELS))}")
    try:
        parcel = _parcel(claim)
        destination = channel.destination(claim.address, settings=settings)
        found = channel.find(parcel, destination, settings=settings) if claim.was_tried else None
    except Exception as error:
        return _not_offered(claim, _explained(error, bugs))
    if found is not None:
        return Outcome("sent", receipt=found)
    if (ended := _ended(claim, channel, settings=settings)) is not None:
        return ended
    if now() + channel.LONGEST_SEND > claim.lease_until:
        return _put_back(claim, "the claim was about to end before the message could be sent")
    try:
        return Outcome("sent", receipt=channel.send(parcel, destination, settings=settings))
    except Exception as error:
        return _not_promised(claim, channel, _explained(error, bugs), settings=settings, now=now())


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
    )


def _explained(error: Exception, bugs: list[Exception]) -> NotDelivered:
    """A channel's own word for a failure; anything else is a bug: told at the end, the message in doubt."""
    if isinstance(error, Unrenderable):
        bugs.append(error)
    if isinstance(error, NotDelivered):
        return error
    log.error("unexpected error while delivering", exc_info=error)
    bugs.append(error)
    return Uncertain(f"{type(error).__name__}: {error}")


def _not_offered(claim: Claim, error: NotDelivered) -> Outcome:
    """The try failed before the message was offered, so this try has not sent it; an earlier one may have."""
    if claim.was_tried and (isinstance(error, Refused) or claim.is_expired):
        return _dead(f"it may have arrived in an earlier try, which cannot be looked up: {error}")
    if isinstance(error, Refused):
        return _dead(str(error))
    return _put_back(claim, str(error), later=error if isinstance(error, TryLater) else None)


def _ended(claim: Claim, channel: Channel, *, settings: Settings) -> Outcome | None:
    """Why a row that may have been sent, and was not found, is not sent again."""
    may_have_arrived = claim.was_tried and not channel.CAN_LOOK_UP
    if claim.is_expired or not claim.is_wanted:
        reason = "expired" if claim.is_expired else "no_longer_wanted"
        if may_have_arrived:
            return Outcome("dead", reason=reason, error="an earlier try may have arrived; not sent again")
        return Outcome("not_sent" if claim.is_expired else "cancelled", reason=reason)
    if claim.attempts > settings.delivery.max_attempts:
        return _dead(f"given up after {claim.attempts - 1} tries that were never confirmed")
    return None


def _not_promised(
    claim: Claim, channel: Channel, error: NotDelivered, *, settings: Settings, now: datetime
) -> Outcome:
    """The message was offered and the provider has not promised to have it."""
    is_last = claim.attempts >= settings.delivery.max_attempts
    if isinstance(error, Uncertain):
        if not channel.CAN_LOOK_UP and (claim.was == "uncertain" or is_last):
            return _dead(f"sent again and again without an answer, so it may have arrived: {error}")
        return Outcome("uncertain", error=str(error), wait=claim.lease_until - now)
    if isinstance(error, TryLater) and (error.stops_channel or error.remedy or not is_last):
        return _put_back(claim, str(error), later=error, is_looked_up=channel.CAN_LOOK_UP)
    return _dead(str(error))


def _put_back(
    claim: Claim, error: str, *, later: TryLater | None = None, is_looked_up: bool = False
) -> Outcome:
    """Leave the row for a later try; a doubt about an earlier try stays unless a look-up has settled it."""
    return Outcome(
        "uncertain" if claim.was_tried and not is_looked_up else "queued",
        error=error,
        wait=(later.wait if later else None) or _WAITS[min(claim.attempts, len(_WAITS)) - 1],
        is_free=later is not None and (later.stops_channel or bool(later.remedy)),
        stops_channel=later is not None and later.stops_channel,
        remedy=later.remedy if later else "",
    )


def _dead(error: str) -> Outcome:
    return Outcome("dead", reason=UNDELIVERABLE, error=error)
