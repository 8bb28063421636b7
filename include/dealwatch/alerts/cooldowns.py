"""Whether an alert is due to be said again, given when it was said before and how it stood then.

Pure. A repeat waits for the rule's cooldown in business days; what got worse does not wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from dealwatch.moments import is_business_day

Kind = Literal["new", "escalated", "reminder"]


@dataclass(frozen=True)
class Standing:
    """An open alert on a morning."""

    alert_id: str
    fingerprint: str
    rule: str
    deal_id: str
    opened_at: datetime
    level: int
    owner_id: str
    amount: float
    at_risk: float  # the amount times the chance of losing it
    is_close_near: bool


@dataclass(frozen=True)
class Telling:
    """An alert was said, or would have been: when, as what, and how it stood."""

    fingerprint: str
    as_of: datetime
    kind: Kind
    level: int
    amount: float
    is_close_near: bool


@dataclass(frozen=True)
class Due:
    """What an alert would be said as, or the reason why it is not due."""

    kind: Kind | None
    reason: str = ""


def due(
    now: Standing,
    told: Sequence[Telling],
    *,
    cooldown_days: int,
    max_reminders: int,
    amount_escalation_pct: int,
    days_since_told: int,
) -> Due:
    """Whether the alert is due. `told` are this episode's tellings, in order; days are business days."""
    if not told:
        return Due("new")
    if _is_worse(now, told, amount_escalation_pct):
        return Due("escalated")
    if days_since_told < cooldown_days:
        return Due(None, "cooldown")
    if sum(one.kind == "reminder" for one in told) >= max_reminders:
        return Due(None, "reminders_used")
    return Due("reminder")


def _is_worse(now: Standing, told: Sequence[Telling], amount_escalation_pct: int) -> bool:
    """Worse than at any telling: a level up, the amount grown past the bar, or the close date come near.

    Each counts once, because the telling that it causes becomes one of those compared with.
    """
    bar = told[0].amount * (1 + amount_escalation_pct / 100)
    has_grown = now.amount >= bar and all(one.amount < bar for one in told)
    is_level_up = now.level > max(one.level for one in told)
    return is_level_up or has_grown or (now.is_close_near and not any(one.is_close_near for one in told))


def business_days_between(first: date, last: date) -> int:
    """Business days after `first`, up to and with `last`: Monday to Monday is five."""
    weeks, rest = divmod(max((last - first).days, 0), 7)
    return 5 * weeks + sum(is_business_day(last - timedelta(days=n)) for n in range(rest))
