"""The pictures of a review as PNG, and what each shows in words; made of the review and of nothing else."""

from collections.abc import Callable, Mapping

from dealwatch.insights.drawn import causes, kinds, outlook
from dealwatch.insights.drawn.canvas import drawn
from dealwatch.insights.drawn.panel import Panel, Shown, panel_words
from dealwatch.insights.review import FOR_MANAGERS, PICTURES, Audience, Review

COMPOSED = 3  # pictures of the composed image
_ROWS = 5  # of a panel of the composed image
LONGEST = 1_900  # letters of the words of a picture; channels take 2,000
_PANELS: Mapping[str, Callable[[Review], list[Shown]]] = {
    "win_rate": causes.win_rate,
    "bridge": causes.bridge,
    "stages": causes.stages,
    "pipeline": outlook.pipeline,
    "cohorts": kinds.cohorts,
    "forecast": outlook.forecast,
    "reps": kinds.reps,
    "slips": outlook.slips,
    "concentration": outlook.concentration,
    "drivers": kinds.drivers,
    "seasons": kinds.seasons,
}
assert set(_PANELS) == set(PICTURES)


def names_of(review: Review, audience: Audience) -> list[str]:
    """The pictures that have data and that an audience may see, in the order of PICTURES."""
    may = [name for name in PICTURES if audience == "managers" or name not in FOR_MANAGERS]
    return [name for name in may if _panels(review, name)]


def pictures(review: Review, audience: Audience) -> dict[str, bytes]:
    """A PNG by name of PICTURES, of those that have data and that the audience may see."""
    return {name: drawn(_panels(review, name)) for name in names_of(review, audience)}


def composed(review: Review, audience: Audience) -> bytes:
    """One image for Slack and phones: the first sentence, and the pictures of the findings at the top."""
    names = composed_names(review, audience)
    panels = [_short(_panels(review, name)[0]) for name in names]
    top = review.top(audience)
    lead = top[0].sentence if top else "Nothing can be said yet."
    return drawn(panels, title=title_of(review), lead=lead)


def composed_names(review: Review, audience: Audience) -> list[str]:
    """Which pictures the composed image has: those of the findings at the top, each once."""
    there = set(names_of(review, audience))
    wanted = dict.fromkeys(one.picture for one in review.top(audience) if one.picture in there)
    return list(wanted)[:COMPOSED]


def title_of(review: Review) -> str:
    """`Review of the week 2026-W40`."""
    return f"Review of the {review.period} {review.span.name}"


def words_of(review: Review, name: str) -> str:
    """What a picture shows, in figures, for those who do not see it; empty where there is none."""
    told = " ".join(panel_words(panel) for panel in _panels(review, name))
    return told if len(told) <= LONGEST else told[: LONGEST - 1].rstrip() + "\u2026"


def _panels(review: Review, name: str) -> list[Shown]:
    return _PANELS[name](review)


def _short(panel: Shown) -> Shown:
    return panel.cut(_ROWS) if isinstance(panel, Panel) else panel
