"""A ledger from literals, for tests that need no warehouse.

`deal("2026-01-01 09:00", stage="Qualify", amount=[("2026-01-02", "100"), ("2026-01-09", "80")])`: a single
value is known since the deal was created, a list says when each value came.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from dealwatch.history.ledger import CHANGE_ORDER, TOUCH_ORDER, Ledger

Steps = list[tuple[str, str | None]]


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def deal(created: str, **fields: str | Steps) -> dict[str, Steps]:
    steps = {name: [(created, value)] if isinstance(value, str) else value for name, value in fields.items()}
    return {"created_at": [(created, at(created).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))], **steps}


def ledger(
    deals: dict[str, dict[str, Steps]],
    *,
    touches: dict[str, list[str]] | None = None,
    known_later: timedelta = timedelta(0),
) -> Ledger:
    """The ledger of these deals and touches, each known so much later than it happened."""
    changes = [
        (deal_id, field, None, value, at(when), at(when) + known_later, number)
        for deal_id, fields in deals.items()
        for field, steps in fields.items()
        for number, (when, value) in enumerate(steps)
    ]
    touched = [
        (deal_id, at(when), at(when) + known_later, "call", None, None)
        for deal_id, moments in (touches or {}).items()
        for when in moments
    ]
    instant, text = pl.Datetime("us", "UTC"), pl.String()
    return Ledger(
        changes=pl.DataFrame(
            changes,
            orient="row",
            schema={
                "deal_id": text,
                "field": text,
                "old_value": text,
                "new_value": text,
                "happened_at": instant,
                "known_at": instant,
                "seq": pl.Int64(),
            },
        ).sort(CHANGE_ORDER),
        activities=pl.DataFrame(
            touched,
            orient="row",
            schema={
                "deal_id": text,
                "happened_at": instant,
                "known_at": instant,
                "kind": text,
                "direction": text,
                "by": text,
            },
        ).sort(TOUCH_ORDER),
    )
