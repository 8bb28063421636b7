"""Which rows of the outbox are due, and who may send one: each step is a short transaction of its own.

A row's life: queued -> sending -> sent. Its other ends: dead (refused, or tries used up), not_sent (expired)
and cancelled (no longer wanted). A row found `sending` after its lease, or `uncertain`, may have arrived.
`lease_until` is the end of a claim and, on a row put back, the moment of its next try.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, exists, or_, select, update

from dealwatch.delivery.answered import answered_as, is_answered
from dealwatch.delivery.hours import Hours
from dealwatch.delivery.parcel import Receipt
from dealwatch.settings import Settings
from dealwatch.tables import alerts, deliveries, tellings
from dealwatch.warehouse import reading, unclaimed, writing

UNDELIVERABLE = "undeliverable"  # the reason of a dead row; `last_error` has the provider's words


@dataclass(frozen=True)
class Claim:
    """A row that is ours until the lease ends, as it was when we took it."""

    delivery_id: str
    token: str
    channel: str
    was: str  # queued, sending or uncertain
    attempts: int  # this one included
    lease_until: datetime
    is_expired: bool
    is_wanted: bool
    as_of: datetime
    address: str
    message: Any
    first_claimed_at: datetime

    @property
    def was_tried(self) -> bool:
        """Whether an earlier try may have arrived."""
        return self.was != "queued"


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
    remedy: str = ""  # what somebody has to mend before the channel can take it


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
        select(deliveries, _is_wanted(now).label("is_wanted"))
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
            channel=channel,
            was=row.state,
            attempts=row.attempts + 1,
            lease_until=now + timedelta(seconds=settings.delivery.lease_seconds),
            is_expired=row.expires_at <= now,
            is_wanted=bool(row.is_wanted),
            as_of=row.as_of,
            address=row.address,
            message=row.message,
            first_claimed_at=row.first_claimed_at or now,
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
    ours = and_(deliveries.c.delivery_id == claim.delivery_id, deliveries.c.claim_token == claim.token)
    with writing(engine) as connection:
        return connection.execute(update(deliveries).where(ours).values(**values)).rowcount == 1


def _is_wanted(now: datetime) -> ColumnElement[bool]:
    """A message is wanted while an alert it tells about is open; one about no alert stands for itself.

    `alerts` is as the last scored morning left it, and that morning may lie after `now`: an alert that
    resolves only then is open today.
    """
    is_open = or_(alerts.c.state != "resolved", alerts.c.resolved_at > now)
    tells = tellings.c.delivery_id == deliveries.c.delivery_id
    tells_of_open = exists().where(tells, alerts.c.fingerprint == tellings.c.fingerprint, is_open)
    return or_(
        exists().where(alerts.c.alert_id == deliveries.c.alert_id, is_open),
        and_(deliveries.c.alert_id.is_(None), or_(tells_of_open, ~exists().where(tells))),
    )


def _is_due(hours: Hours, now: datetime) -> ColumnElement[bool]:
    is_fresh = and_(deliveries.c.state == "queued", deliveries.c.expires_at > now, _is_wanted(now))
    is_fresh = and_(is_fresh, ~is_answered(now))
    return and_(
        deliveries.c.not_before <= now,
        hours.allow(now),
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now),
        or_(is_fresh, deliveries.c.state.in_(("sending", "uncertain"))),
    )
