"""Rows of the outbox written by hand, and settings that lead to the stand-ins."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, insert, select

from dealwatch.knobs import Delivery, Smtp
from dealwatch.settings import Settings
from dealwatch.tables import alerts, deliveries, owners
from dealwatch.warehouse import writing
from delivery_samples import ALERT
from standins.slack import TOKEN, Slack
from standins.smtp import Mailbox
from standins.teams import Webhook

NOW = datetime(2026, 3, 2, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=60)
POST = "chat.postMessage"


def connected(
    settings: Settings,
    slack: Slack | None = None,
    mailbox: Mailbox | None = None,
    webhook: Webhook | None = None,
    **knobs: object,
) -> Settings:
    """Settings that lead to the stand-ins given; nothing is paced unless a test asks for it."""
    told = {"sender": "dealwatch@example.com", "slack_pause_seconds": 0, "teams_hosts": ["127.0.0.1"]}
    changes: dict[str, object] = {"delivery": Delivery.model_validate({**told, **knobs})}
    if slack is not None:
        changes |= {"slack_token": SecretStr(TOKEN), "slack_url": slack.url}
    if mailbox is not None:
        changes |= {"smtp": Smtp(host="127.0.0.1", port=mailbox.port, starttls=False)}
    if webhook is not None:
        changes |= {"teams": {"sales": SecretStr(webhook.url)}}
    return settings.model_copy(update=changes)


def queue(engine: Engine, *ids: str, channel: str = "slack", **changes: object) -> None:
    address = {"slack": "C0GENERAL", "email": "ann@example.com", "teams": "sales"}.get(channel, "ann")
    values = {
        "alert_id": None,
        "as_of": NOW - timedelta(hours=2),
        "kind": "digest",
        "recipient": "Ann",
        "channel": channel,
        "address": address,
        "state": "queued",
        "reason": "",
        "message": ALERT.model_dump(mode="json"),
        "not_before": NOW,
        "expires_at": NOW + timedelta(hours=72),
        "attempts": 0,
    }
    with writing(engine) as connection:
        for delivery_id in ids:
            connection.execute(insert(deliveries).values({**values, **changes, "delivery_id": delivery_id}))


def open_alert(engine: Engine, alert_id: str, **changes: object) -> None:
    values = {
        "alert_id": alert_id,
        "fingerprint": f"f-{alert_id}",
        "rule": "stage_stall",
        "deal_id": "D-1007",
        "scope": "",
        "opened_at": NOW,
        "last_seen_at": NOW,
        "level": 1,
        "state": "open",
        "is_proven": False,
    }
    known = {name: value for name, value in values.items() if name in alerts.c}
    with writing(engine) as connection:
        connection.execute(insert(alerts).values({**known, **changes}))


def row(engine: Engine, delivery_id: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(deliveries).where(deliveries.c.delivery_id == delivery_id)).one()


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(deliveries).order_by(deliveries.c.delivery_id)))


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def hire(engine: Engine, owner_id: str, time_zone: str | None = None, **changes: object) -> None:
    with writing(engine) as connection:
        values = {"owner_id": owner_id, "source": "crm", "time_zone": time_zone, "is_active": True}
        connection.execute(insert(owners).values({**values, **changes}))
