"""How long people's answers keep an alert quiet. Pure: its mornings and its answers in, what holds out.

An answer binds whoever owned the deal when it was given. It ends on its day, and before that when the alert
gets worse or the close date that it waits for moves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class Given:
    """An answer as it was kept."""

    at: datetime
    kind: str
    by: str
    until: datetime
    choice: str = ""
    reason: str = ""
    close_date: date | None = None


@dataclass(frozen=True)
class Quiet:
    """What keeps an alert quiet, and until when at most."""

    state: str  # acknowledged or snoozed
    until: datetime
    is_waiting: bool = False  # for the close date to move
    close_date: date | None = None


@dataclass(frozen=True)
class Sight:
    """An open alert on a scored morning; `is_worse` when it got worse that morning."""

    as_of: datetime
    owner_id: str
    is_worse: bool
    close_date: date | None


@dataclass(frozen=True)
class Kept:
    """How the answers left an alert at a moment: what keeps it quiet, and who last answered when."""

    quiet: Quiet | None = None
    answered_at: datetime | None = None


def event_of(answer: Given, alert_id: str, fingerprint: str) -> dict[str, object]:
    """The row of `alert_events` that tells of an answer: by whom, which choice, and why."""
    kind = "snoozed" if answer.kind == "snoozed" else "acknowledged"
    said = "" if answer.kind == kind else answer.kind
    words = [f"by {answer.by}", *(word for word in (said, answer.choice) if word)]
    reason = ", ".join(words) + (f": {answer.reason}" if answer.reason else "")
    return {"alert_id": alert_id, "at": answer.at, "kind": kind, "reason": reason, "fingerprint": fingerprint}


def after(quiet: Quiet | None, answer: Given) -> Quiet:
    """What holds after an answer. A snooze chooses a time and replaces all; nothing else shortens one."""
    if answer.kind == "snoozed":
        return Quiet("snoozed", answer.until, answer.choice == "close_date", answer.close_date)
    if quiet is not None and answer.at < quiet.until and answer.until <= quiet.until:
        return quiet
    return Quiet("acknowledged", answer.until)


def walk(mornings: Sequence[Sight], answers: Sequence[Given]) -> Iterator[Kept]:
    """What holds on each of the mornings, and then what holds after the last answer; all in order."""
    kept: dict[str, Kept] = {}
    waiting = list(answers)
    owner_id = mornings[0].owner_id

    def take(until: datetime, *, with_it: bool) -> None:
        while waiting and (waiting[0].at < until or (with_it and waiting[0].at == until)):
            answer = waiting.pop(0)
            before = kept.get(owner_id, Kept())
            kept[owner_id] = Kept(after(before.quiet, answer), answer.at)

    for sight in mornings:
        take(sight.as_of, with_it=False)
        owner_id = sight.owner_id
        kept = {owner: _kept_on(sight, before) for owner, before in kept.items()}
        take(sight.as_of, with_it=True)
        yield _at(kept.get(owner_id, Kept()), sight.as_of)
    last = max([mornings[-1].as_of, *(answer.at for answer in waiting)])
    take(last, with_it=True)
    yield _at(kept.get(owner_id, Kept()), last)


def _kept_on(sight: Sight, before: Kept) -> Kept:
    """An answer is void for good once the alert got worse, or the close date it waits for moved."""
    quiet = before.quiet
    has_moved = quiet is not None and quiet.is_waiting and quiet.close_date != sight.close_date
    return Kept(None, before.answered_at) if sight.is_worse or has_moved else before


def _at(kept: Kept, moment: datetime) -> Kept:
    is_over = kept.quiet is not None and kept.quiet.until <= moment
    return Kept(None, kept.answered_at) if is_over else kept
