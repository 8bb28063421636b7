"""Whether an alert is due to be said again, given when it was said before and how it stood then.

Pure. A repeat waits for the rule's cooldown in business days; what got worse does not wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Kind = Literal["new", "escalated", "reminder", "unanswered"]


@dataclass(frozen=True)
class Tenure:
    """Mornings on which somebody owned a deal: from the first one until the first without."""

    began_at: datetime
    ended_at: datetime | None


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
    scored: str | None = None  # its deal's points and model, as JSON
    is_held_out: bool = False  # drawn to stay silent
    quiet: str = ""  # acknowledged or snoozed, while an answer keeps it quiet and it did not get worse
    answered_at: datetime | None = None  # the last answer given while its owner had the deal
    tenures: tuple["Tenure", ...] = ()  # when its owner had the deal; empty: ever since it opened

    @classmethod
    def of(cls, row: Mapping[str, Any], *, at_risk: float, is_close_near: bool) -> "Standing":
        """From a row of what the fold says stands."""
        return cls(
            alert_id=row["alert_id"],
            fingerprint=row["fingerprint"],
            rule=row["rule"],
            deal_id=row["deal_id"],
            opened_at=row["opened_at"],
            level=row["level"],
            owner_id=row["owner_id"],
            amount=row["amount"],
            at_risk=at_risk,
            is_close_near=is_close_near,
            quiet=row["quiet"],
            answered_at=row["answered_at"],
        )


@dataclass(frozen=True)
class Telling:
    """An alert was said, or would have been: when, as what, and how it stood."""

    fingerprint: str
    as_of: datetime
    kind: Kind
    level: int
    amount: float
    is_close_near: bool
    scored: str | None = None  # its deal's points and model then, as JSON


@dataclass(frozen=True)
class Due:
    """What an alert would be said as, or the reason why it is not due."""

    kind: Kind | None
    reason: str = ""


def heard(now: Standing, told: Mapping[datetime, Telling]) -> list[Telling]:
    """What was told of an episode, in order."""
    return [told[at] for at in sorted(told) if at >= now.opened_at]


def of_owner(now: Standing, told: Sequence[Telling]) -> list[Telling]:
    """What was told while the one who owns the deal had it.

    What a former owner heard is no news of the present one's; an owner who comes back has heard it.
    """
    if not now.tenures:
        return list(told)
    return [one for one in told if any(_is_within(one.as_of, tenure) for tenure in now.tenures)]


def unanswered_since(now: Standing, heard: Sequence[Telling]) -> datetime | None:
    """The first telling that nobody has answered; none while there is nothing to answer."""
    answered = now.answered_at
    return next((one.as_of for one in heard if answered is None or one.as_of > answered), None)


def _is_within(moment: datetime, tenure: Tenure) -> bool:
    return tenure.began_at <= moment and (tenure.ended_at is None or moment < tenure.ended_at)


def due(
    now: Standing,
    told: Sequence[Telling],
    *,
    cooldown_days: int,
    max_reminders: int,
    amount_escalation_pct: int,
    days_since_told: int,
) -> Due:
    """Whether the alert is due. `told` are what its owner heard of it, in order; days are business days.

    What gets worse has ended the quiet of an answer already, in the fold.
    """
    if now.is_held_out:
        return Due(None, "holdout")
    if now.quiet:
        return Due(None, now.quiet)
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
