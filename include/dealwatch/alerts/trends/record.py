"""How often an alert about a stage or segment was followed by what it says. Pure.

Each is judged 13 weeks after it opened, by deals that ended since: whether more of them were lost than of
those that the alert compared with, beyond chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dealwatch.alerts.trends.rule import LATER_WEEKS
from dealwatch.moments import local_day
from dealwatch.scoring.reliability import wilson
from dealwatch.settings import Settings

_BY_CHANCE = "5%"  # of stages and segments to which nothing happened would pass the same test


@dataclass(frozen=True)
class TrendRecord:
    """Of so many alerts that could be judged, how many lasted."""

    of: int
    lasted: int

    @property
    def line(self) -> str:
        """As a person reads it."""
        if not self.of:
            return f"not measured yet: no such alert could be judged {LATER_WEEKS} weeks later"
        low, high = wilson(self.lasted / self.of, self.of)
        alerts = "alert" if self.of == 1 else "alerts"
        return (
            f"{self.lasted} of {self.of} such {alerts} still held {LATER_WEEKS} weeks later, by deals "
            f"that ended since ({low:.0%} to {high:.0%}); chance alone makes {_BY_CHANCE}"
        )


def record_of(
    rule: str,
    openings: Sequence[tuple[str, str, datetime]],
    lasted: Mapping[tuple[str, str, date], bool | None],
    moment: datetime,
    settings: Settings,
) -> TrendRecord:
    """A rule's record as a moment could know it; openings and `lasted` as the fold gives them."""
    today, found = local_day(moment, settings), []
    for name, subject, opened_at in openings:
        later = local_day(opened_at, settings) + timedelta(weeks=LATER_WEEKS)
        if name == rule and later <= today:
            found.append(lasted.get((name, subject, later)))
    judged = [one for one in found if one is not None]
    return TrendRecord(len(judged), sum(judged))
