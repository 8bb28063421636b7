"""Empties the queue: claim, send, confirm, so that each message arrives once whatever dies on the way."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from dealwatch.delivery.carrying import Carrier
from dealwatch.delivery.claims import (
    Claim,
    Fault,
    Outcome,
    channels_due,
    claim_next,
    confirm,
    rows_due,
    rows_waiting,
    settle,
)
from dealwatch.delivery.fallback import mailbox_of
from dealwatch.delivery.hours import Hours, read_hours
from dealwatch.delivery.listing import write_listing
from dealwatch.delivery.notices import report
from dealwatch.delivery.pacing import Pace
from dealwatch.errors import ChannelDown
from dealwatch.settings import Settings

log = logging.getLogger(__name__)

_LAST = ("email", "folder")
_MOST_DOUBTS = 3  # lost replies in a row before a channel is left alone until the next time


def deliver(
    engine: Engine,
    *,
    settings: Settings,
    now: Callable[[], datetime],
    dry: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, int]:
    """Send all that is due, each channel by itself; how many rows ended in which state, and how many wait.

    `now` is the real clock, and `sleep` waits between two messages to one place. `dry` logs what would be
    sent and changes nothing. Raises ChannelDown, after all that could be sent was, when a channel waits for
    somebody to mend it: once a day for each fault, with the notice to operations.
    """
    hours = read_hours(engine, settings=settings)
    if dry:
        return _rehearse(engine, hours, now())
    counts = Counter(sent=0, uncertain=0, dead=0, **settle(engine, now()))
    carrier = Carrier(settings, now, Pace(now, sleep), lambda claim: mailbox_of(engine, claim, settings))
    round_ = _Round(engine, hours, carrier)
    while (name := round_.next_channel()) is not None:
        counts.update(round_.empty(name))
    write_listing(engine, settings=settings)
    del counts["queued"]  # what was put back waits as the others do
    told = {**counts, "waiting": rows_waiting(engine)}
    log.info("deliver at %s: %s", now().isoformat(), told)
    round_.tell()
    return told


def _rehearse(engine: Engine, hours: Hours, now: datetime) -> dict[str, int]:
    due = rows_due(engine, hours, now)
    for row in due:
        log.info("would send %s %s to %s by %s", row.kind, row.delivery_id, row.address, row.channel)
    return {"would_send": len(due)}


@dataclass
class _Round:
    """One emptying of all channels, and what has to be told once all that could be sent was sent."""

    engine: Engine
    hours: Hours
    carrier: Carrier
    done: list[str] = field(default_factory=list)
    down: dict[str, Fault] = field(default_factory=dict)  # by channel, or by channel and address
    told: dict[str, str] = field(default_factory=dict)  # what is told for the first time today

    def next_channel(self) -> str | None:
        """A channel with something to send. Last come those that others' messages and notices may come to."""
        due = channels_due(self.engine, self.hours, self.carrier.now())
        left = [name for name in due if name not in self.done]
        return min(left, key=lambda name: (_LAST.index(name) if name in _LAST else -1, name), default=None)

    def empty(self, name: str) -> Counter[str]:
        """Send one channel's due rows until none is left or the channel is best left alone."""
        self.done.append(name)
        counts: Counter[str] = Counter()
        doubts = 0
        while doubts < _MOST_DOUBTS:
            claim = claim_next(
                self.engine,
                name,
                hours=self.hours,
                settings=self.carrier.settings,
                now=self.carrier.now(),
            )
            if claim is None:
                break
            fault = self.down.get(name) or self.down.get(f"{name} {claim.address}")
            outcome = self.carrier.leave(claim, fault) if fault else self.carrier.carry(claim)
            counts[outcome.state] += self._confirm(claim, outcome)
            if outcome.stops_channel and name not in self.down and not self._rested(outcome):
                break
            if fault is None:
                doubts = doubts + 1 if outcome.state == "uncertain" else 0
        return counts

    def _rested(self, outcome: Outcome) -> bool:
        return outcome.is_limit and outcome.wait is not None and self.carrier.pace.rest(outcome.wait)

    def tell(self) -> None:
        """Raise what was found."""
        down: list[Exception] = []
        if self.told:
            lines = [f"  {said}" for _, said in sorted(self.told.items())]
            down.append(ChannelDown("\n".join(["messages wait until this is mended:", *lines])))
        if self.carrier.bugs:
            errors = [*self.carrier.bugs, *down]
            raise ExceptionGroup("deliver met errors that no channel explains", errors)
        if down:
            raise down[0]

    def _confirm(self, claim: Claim, outcome: Outcome) -> bool:
        is_ours = confirm(self.engine, claim, outcome, now=self.carrier.now())
        if outcome.error or not is_ours:
            told = outcome.error or "the claim had passed to another sender"
            log.warning("delivery %s by %s: %s: %s", claim.delivery_id, claim.channel, outcome.state, told)
        if outcome.fault is not None:
            self._notice(claim, outcome.fault)
        return is_ours

    def _notice(self, claim: Claim, fault: Fault) -> None:
        """Remember what is down for the rest of the round, and tell of what somebody has to mend."""
        if fault.stops:
            self.down[claim.channel if fault.stops == "channel" else f"{claim.channel} {claim.address}"] = (
                fault
            )
        if not fault.remedy:
            return
        is_first = report(self.engine, fault, settings=self.carrier.settings, now=self.carrier.now())
        if is_first and not fault.is_of_one_message:
            self.told[f"{fault.channel} {fault.name}"] = f"{fault.channel}: {fault.said}; {fault.remedy}"
