"""What the people who run dealwatch are told of a channel that fails: once a day, and by another channel."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, insert, select

from dealwatch.delivery.claims import IN_DOUBT, UNDELIVERABLE, Fault
from dealwatch.delivery.messages import Message
from dealwatch.delivery.wording import clean
from dealwatch.moments import local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import reading, writing

_PUBLIC_LENGTH = 400  # characters of a provider's own words


def report(engine: Engine, fault: Fault, *, settings: Settings, now: datetime) -> bool:
    """Queue the day's one notice about a fault; whether it is the first."""
    day = local_day(now, settings)
    parts = (settings.tenant, "notice", fault.channel, fault.name, day.isoformat())
    delivery_id = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:32]
    broken = "" if fault.name == UNDELIVERABLE else fault.channel
    channel, address = next(_ways(broken, settings))
    with reading(engine) as connection:
        waiting = connection.execute(
            select(func.count()).where(deliveries.c.channel == fault.channel, deliveries.c.state == "queued")
        ).scalar_one()
    row = {
        "delivery_id": delivery_id,
        "alert_id": None,
        "as_of": morning_of(day, settings),
        "kind": "operations",
        "recipient": "operations",
        "channel": channel,
        "address": address,
        "state": "queued",
        "reason": "",
        "message": _message(fault, waiting).model_dump(mode="json"),
        "not_before": now,
        "expires_at": now + timedelta(hours=settings.delivery.expires_after_hours),
        "attempts": 0,
    }
    is_there = select(deliveries.c.delivery_id).where(deliveries.c.delivery_id == delivery_id)
    with writing(engine, alone="notices") as connection:
        if connection.execute(is_there).first() is not None:
            return False
        connection.execute(insert(deliveries).values(row))
    return True


def _message(fault: Fault, waiting: int) -> Message:
    said = clean(fault.said, _PUBLIC_LENGTH)
    title = {
        IN_DOUBT: f"Look into {fault.channel}: a message may not have arrived",
        UNDELIVERABLE: f"Correct an address: a message by {fault.channel} reached nobody",
    }.get(fault.name, f"Mend {fault.channel}: messages wait for it, or go by e-mail")
    rest = f" {waiting} more wait in its queue." if waiting and not fault.is_of_one_message else ""
    return Message(
        kind="operations",
        title=title,
        intro=f"{said}. What to do: {fault.remedy}.{rest}",
        footer="Told once a day for each fault; the table deliveries has the messages it is about.",
    )


def _ways(broken: str, settings: Settings) -> Iterator[tuple[str, str]]:
    """Connected ways to operations, else to RevOps, the broken channel left out; the folder at the end."""
    told = settings.delivery
    ready = {"email": settings.smtp, "slack": settings.slack_token, "teams": settings.teams}
    for addresses in (
        (told.operations_email, told.operations_slack, told.operations_teams),
        (told.revops_email, told.revops_slack, told.revops_teams),
    ):
        for channel, address in zip(ready, addresses, strict=True):
            if address and ready[channel] and channel != broken and channel in told.channels:
                yield channel, address
    yield "folder", "operations"
