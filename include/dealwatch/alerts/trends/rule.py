"""What is worth an alert about a stage or a segment. Such a rule has no file: it compares no facts."""

from collections.abc import Mapping
from dataclasses import dataclass

STAGE, SEGMENT = "stage_leaking", "segment_falling"
WEEKS = 2  # in a row, before an alert opens: a look every week would find in a year what chance makes
LATER_WEEKS = 13  # after which an alert is judged by deals that it had not seen


@dataclass(frozen=True)
class TrendRule:
    """A rule's name is its identity; the action is what to do about it."""

    name: str
    title: str
    action: str


TREND_RULES: Mapping[str, TrendRule] = {
    one.name: one
    for one in (
        TrendRule(
            STAGE,
            "A stage loses more of its deals",
            "Read the deals lost from this stage in the period, and check what it takes to enter it.",
        ),
        TrendRule(
            SEGMENT,
            "A segment wins less",
            "Read ten lost deals of this segment, and look for one reason they share.",
        ),
    )
}
NOT_MEASURED = "effect not yet measured"


def name_of(subject: str) -> str:
    """`Proposal (stage)`, `Outbound (lead source)`."""
    column, _, value = subject.partition(": ")
    return f"{value} ({column.replace('_', ' ')})"
