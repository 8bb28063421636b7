"""What a review is: its figures, what is said about them, what is not said and why, and the frames behind.

Charts, pages, tables and messages are made of this and of nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from dealwatch.insights.measure import Measure
from dealwatch.insights.windows import Window

Period = Literal["week", "month"]
Audience = Literal["everyone", "managers"]
State = Literal["said", "refused"]
SENTENCES = 5  # at the top of a review

# Charts that a finding may name, and the frame of `Review.figures` that each is drawn from.
PICTURES: Mapping[str, str] = {
    "win_rate": "win_rate_series",
    "bridge": "bridge",
    "stages": "stages",
    "pipeline": "pipeline",
    "cohorts": "cohorts",
    "forecast": "forecast",
    "reps": "reps",
    "slips": "slips",
    "concentration": "concentration",
    "drivers": "drivers",
    "seasons": "seasons",
}
FOR_MANAGERS = ("reps",)  # frames and charts that name reps


@dataclass(frozen=True)
class Finding:
    """One thing to say, or one that is not said, and why.

    kind: what sort of claim, as `mix_shift`; subject: what it is about, as a stage; empty for all deals.
    sentence: plain words, with n and interval. measures: the figures in it. picture: one of PICTURES.
    action: one thing to do; action_evidence: what is known of its effect. importance: the size of what it
        explains, by which findings are ranked; in points of the win rate where it is about that.
    refusal: why it is not said; empty when it is. audience: who may read it.
    p: that chance alone makes it, of a claim that something moved or differs; q: that, adjusted for all such
        claims the review looked at. Both None for what is counted and claims nothing.
    """

    kind: str
    subject: str
    sentence: str
    measures: tuple[Measure, ...]
    picture: str
    action: str
    action_evidence: str
    importance: float
    state: State = "said"
    refusal: str = ""
    audience: Audience = "everyone"
    p: float | None = None
    q: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for tables and JSON."""
        return vars(self) | {"measures": [one.as_dict() for one in self.measures]}


@dataclass(frozen=True)
class Review:
    """The review of a week or a month as known at a moment.

    span: the week or month that was over by then. window, before: what is compared, each of about a quarter
        (decision 0084): a week alone has too few closings to tell anything. headline: the named figures.
    findings: what is said, what explains most first. refused: what is not, each with its reason.
    figures: frames by name, those that PICTURES lists, `totals`, `segments`, `forest`.
    currency: of all money; empty where there are several.
    caveats: what a reader has to know of the data, a sentence each.
    footer: as of when, and of what.
    """

    as_of: datetime
    period: Period
    span: Window
    window: Window
    before: Window
    headline: tuple[Measure, ...]
    findings: tuple[Finding, ...]
    refused: tuple[Finding, ...]
    figures: Mapping[str, pl.DataFrame]
    currency: str
    caveats: tuple[str, ...]
    footer: str

    def top(self, audience: Audience = "everyone") -> tuple[Finding, ...]:
        """The findings at the top, for those who may read them; managers may read everything."""
        return self.said_to(audience)[:SENTENCES]

    def said_to(self, audience: Audience) -> tuple[Finding, ...]:
        """All findings an audience may read, in order."""
        return tuple(one for one in self.findings if audience == "managers" or one.audience == audience)

    def figures_for(self, audience: Audience) -> Mapping[str, pl.DataFrame]:
        """The frames an audience may see."""
        return {
            name: rows
            for name, rows in self.figures.items()
            if audience == "managers" or name not in FOR_MANAGERS
        }
