"""Which rows of the outbox are due, and who may send one: each step is a short transaction of its own.

A row's life: queued -> sending -> sent. Its other ends: dead (refused, in doubt for good, or tries used up),
not_sent (expired, or nothing to change) and cancelled (no longer wanted). A row found `sending` after its
lease, or `uncertain`, may have arrived. `lease_until` is the end of a claim and, on a row put back, the
moment of its next try. A row that changes or follows another message waits until that one's fate is known, so
that its place does not depend on the try. A row that moves to e-mail stays the same row: one message still.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, and_, exists, func, or_, select, update

from dealwatch.delivery.answered import answered_as, is_answered
from dealwatch.delivery.hours import Hours
from dealwatch.delivery.parcel import Receipt
from dealwatch.settings import Settings
from dealwatch.tables import alerts, deliveries, pictures, tellings
from dealwatch.warehouse import reading, unclaimed, writing

UNDELIVERABLE = "undeliverable"  # the reason of a dead row; `last_error` has the provider's words
IN_DOUBT = "in_doubt"  # the reason of a row that may have arrived where nobody can look
NO_EDIT = "no_edit"  # the reason of a change to a message that cannot be changed
_UNSETTLED = ("queued", "sending", "uncertain")


@dataclass(frozen=True)
class Earlier:
    """The message that a row changes or follows, as it ended."""

    delivery_id: str
    state: str
    channel: str
    ref: str | None

    @property
    def slack_ref(self) -> str | None:
        """Where it stands in Slack, if it does: only there can a message be changed or followed."""
        return self.ref if self.state == "sent" and self.channel == "slack" else None


@dataclass(frozen=True)
class Claim:
    """A row that is ours until the lease ends, as it was when we took it."""

    delivery_id: str
    token: str
    kind: str
    channel: str
    was: str  # queued, sending or uncertain
    attempts: int  # this one included
    lease_until: datetime
    is_expired: bool
    is_wanted: bool
    as_of: datetime
    recipient: str
    address: str
    message: Any
    first_claimed_at: datetime
    edits: Earlier | None = None
    follows: Earlier | None = None
    is_escalation: bool = False
    pictures: Mapping[str, bytes] = field(default_factory=dict)  # by digest

    @property
    def was_tried(self) -> bool:
        """Whether an earlier try may have arrived."""
        return self.was != "queued"


@dataclass(frozen=True)
class Fault:
    """Something that people have to know of: what it is, in which words, and what to do about it."""

    channel: str
    name: str  # the same every time, so that it is told once a day
    said: str
    remedy: str = ""  # what a person has to do; without one it is an outage, which passes by itself
    stops: Literal["channel", "place", ""] = ""  # what is not worth another message for now

    @property
    def is_of_one_message(self) -> bool:
        """Whether the channel works, and one message came to nothing."""
        return self.name in (IN_DOUBT, UNDELIVERABLE)


@dataclass(frozen=True)
class Outcome:
    """What a try ends in: the row's next state, and whether the channel is worth another message."""

    state: str
    reason: str = ""
    error: str | None = None
    receipt: Receipt | None = None
    wait: timedelta | None = None
    is_free: bool = False  # the try does not count: the message was never offered
    stops_channel: bool = False
    is_limit: bool = False  # the provider told us to come back after `wait`
    mailbox: str = ""  # where the message goes by e-mail instead
    fault: Fault | None = None  # what is wrong with more than this message


def settle(engine: Engine, now: datetime) -> dict[str, int]:
    """Give queued rows that nobody needs any more their reason."""
    queued = update(deliveries).where(deliveries.c.state == "queued")
    expire = queued.where(deliveries.c.expires_at <= now).values(state="not_sent", reason="expired")
    cancel = queued.where(deliveries.c.not_before <= now, ~_is_wanted(now)).values(
        state="cancelled", reason="no_longer_wanted"
    )
    answered = queued.where(deliveries.c.not_before <= now, is_answered(now)).values(
        state="cancelled", reason=answered_as(now)
    )
    with writing(engine) as connection:
        return {
            "not_sent": connection.execute(expire).rowcount,
            "cancelled": connection.execute(cancel).rowcount + connection.execute(answered).rowcount,
        }


def channels_due(engine: Engine, hours: Hours, now: datetime) -> Sequence[str]:
    """The channels that have something to send."""
    due = select(deliveries.c.channel).distinct().where(_is_due(hours, now)).order_by(deliveries.c.channel)
    with reading(engine) as connection:
        return connection.execute(due).scalars().all()


def rows_waiting(engine: Engine) -> int:
    """How many messages are queued and not sent, for whatever they wait."""
    query = select(func.count()).select_from(deliveries).where(deliveries.c.state == "queued")
    with reading(engine) as connection:
        return connection.execute(query).scalar_one()


def rows_due(engine: Engine, hours: Hours, now: datetime) -> Sequence[Any]:
    """All due rows, in the order in which they would be sent."""
    due = select(deliveries).where(_is_due(hours, now))
    with reading(engine) as connection:
        return connection.execute(
            due.order_by(deliveries.c.channel, deliveries.c.as_of, deliveries.c.delivery_id)
        ).all()


def claim_next(
    engine: Engine, channel: str, *, hours: Hours, settings: Settings, now: datetime
) -> Claim | None:
    """Take the oldest due row of a channel, or nothing when none is left."""
    oldest = (
        select(
            deliveries,
            _is_wanted(now).label("is_wanted"),
            _is_escalation().label("is_escalation"),
        )
        .where(deliveries.c.channel == channel, _is_due(hours, now))
        .order_by(deliveries.c.as_of, deliveries.c.delivery_id)
        .limit(1)
    )
    with writing(engine) as connection:
        row = connection.execute(unclaimed(oldest)).one_or_none()
        if row is None:
            return None
        claim = Claim(
            delivery_id=row.delivery_id,
            token=secrets.token_hex(16),
            kind=row.kind,
            channel=channel,
            was=row.state,
            attempts=row.attempts + 1,
            lease_until=now + timedelta(seconds=settings.delivery.lease_seconds),
            is_expired=row.expires_at <= now,
            is_wanted=bool(row.is_wanted),
            as_of=row.as_of,
            recipient=row.recipient,
            address=row.address,
            message=row.message,
            first_claimed_at=row.first_claimed_at or now,
            edits=_earlier(connection, row.edits),
            follows=_earlier(connection, row.follows),
            is_escalation=bool(row.is_escalation),
            pictures=_pictures(connection, row.message),
        )
        connection.execute(
            update(deliveries)
            .where(deliveries.c.delivery_id == claim.delivery_id)
            .values(
                state="sending",
                claim_token=claim.token,
                attempts=claim.attempts,
                first_claimed_at=claim.first_claimed_at,
                lease_until=claim.lease_until,
            )
        )
    return claim


def confirm(engine: Engine, claim: Claim, outcome: Outcome, *, now: datetime) -> bool:
    """Write a try's outcome, unless the claim has passed to somebody else; whether it was ours to write."""
    receipt = outcome.receipt
    values = {
        "state": outcome.state,
        "reason": outcome.reason,
        "attempts": claim.attempts - 1 if outcome.is_free else claim.attempts,
        "lease_until": now + outcome.wait if outcome.wait is not None else None,
        "sent_at": now if receipt else None,
        "provider_ref": receipt.ref if receipt else None,
        "last_error": (receipt.note or None) if receipt else outcome.error,
    }
    if outcome.mailbox:
        values |= {
            "channel": "email",
            "first_channel": claim.channel,
            "address": outcome.mailbox,
            "attempts": 0,
            "first_claimed_at": None,
        }
    ours = and_(deliveries.c.delivery_id == claim.delivery_id, deliveries.c.claim_token == claim.token)
    with writing(engine) as connection:
        return connection.execute(update(deliveries).where(ours).values(**values)).rowcount == 1


def _pictures(connection: Connection, message: Any) -> dict[str, bytes]:
    """The bytes of the message's pictures, those that are there."""
    told = message.get("pictures") if isinstance(message, dict) else None
    told = told if isinstance(told, list) else []  # what is no message ends when it is read, and alone
    named = {str(one["sha256"]) for one in told if isinstance(one, dict) and "sha256" in one}
    if not named:
        return {}
    found = connection.execute(select(pictures).where(pictures.c.sha256.in_(sorted(named))))
    return {row.sha256: bytes(row.png) for row in found}


def _earlier(connection: Connection, delivery_id: str | None) -> Earlier | None:
    c = deliveries.c
    if delivery_id is None:
        return None
    row = connection.execute(
        select(c.state, c.channel, c.provider_ref).where(c.delivery_id == delivery_id)
    ).one_or_none()
    return Earlier(delivery_id, row.state, row.channel, row.provider_ref) if row else None


def _is_escalation() -> ColumnElement[bool]:
    """Whether the message says of its own alert that it got worse."""
    return exists().where(
        tellings.c.delivery_id == deliveries.c.delivery_id,
        tellings.c.fingerprint == deliveries.c.fingerprint,
        tellings.c.kind == "escalated",
    )


def _waits() -> ColumnElement[bool]:
    """Whether the message that a row changes or follows, or another change of it, is still on its way."""
    earlier = deliveries.alias("earlier")
    is_named = or_(earlier.c.delivery_id == deliveries.c.edits, earlier.c.delivery_id == deliveries.c.follows)
    is_beside = and_(earlier.c.edits == deliveries.c.edits, earlier.c.delivery_id != deliveries.c.delivery_id)
    in_flight = earlier.c.state.in_(("sending", "uncertain"))
    return and_(
        or_(deliveries.c.edits.is_not(None), deliveries.c.follows.is_not(None)),
        exists().where(
            earlier.c.state.in_(_UNSETTLED),
            or_(is_named, and_(is_beside, in_flight)),
        ),
    )


def _is_wanted(now: datetime) -> ColumnElement[bool]:
    """A message is wanted while an alert it tells about stands; one about no alert stands for itself.

    A change of a message that was sent is always wanted: it is the resolution, as often as not.

    `alerts` is as the last scored morning left it, and that morning may lie after `now`: an alert that
    resolves only then is open today.
    """
    is_open = or_(alerts.c.state != "resolved", alerts.c.resolved_at > now)
    tells = tellings.c.delivery_id == deliveries.c.delivery_id
    tells_of_open = exists().where(tells, alerts.c.fingerprint == tellings.c.fingerprint, is_open)
    return or_(
        deliveries.c.kind == "update",
        exists().where(alerts.c.alert_id == deliveries.c.alert_id, is_open),
        and_(deliveries.c.alert_id.is_(None), or_(tells_of_open, ~exists().where(tells))),
    )


def _is_due(hours: Hours, now: datetime) -> ColumnElement[bool]:
    is_fresh = and_(deliveries.c.state == "queued", deliveries.c.expires_at > now, _is_wanted(now))
    is_fresh = and_(is_fresh, ~is_answered(now), ~_waits())
    return and_(
        deliveries.c.not_before <= now,
        hours.allow(now),
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now),
        or_(is_fresh, deliveries.c.state.in_(("sending", "uncertain"))),
    )
