"""What the weekly reviews said, one after the other: how each figure went, and what came of each forecast.

Read from `pipeline_metrics` alone, where every review's figures stand as they were told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from dealwatch.insights.measure import SCHEMA, Measure
from dealwatch.insights.periods import periods
from dealwatch.insights.windows import Window, earlier, quarter_of
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import pipeline_metrics
from dealwatch.warehouse import rows_of

OPEN = ("stalled_share", "no_next_step_share", "overdue_share")  # of the open money
_NAMES = ("win_rate", "revenue_expected", "revenue_won", *OPEN)
_SPANS = {"win_rate": "window", **dict.fromkeys(OPEN, "now")}
NOT_TOLD = "the review did not tell it."


@dataclass(frozen=True)
class Week:
    """One weekly review. as_of: its moment; span: the week it is of; quarter: the one it forecasts, by name.

    win_rate: of its window, the 13 weeks that end with it. expected: the money of the quarter. came: what was
    won in that quarter once it was over, by the newest review that tells; None until then. open: OPEN, by
    name.
    """

    as_of: datetime
    span: Window
    quarter: str
    win_rate: Measure
    expected: Measure
    came: Measure | None
    open: Mapping[str, Measure]


def weeks(connection: Connection, settings: Settings) -> list[Week]:
    """Every week that was reviewed, the oldest first, each as its first review told it.

    A week reviewed again at a later moment was told otherwise to nobody: its forecast had less to foresee.
    """
    told = _told(connection)
    came: dict[str, Measure] = {}
    found: dict[str, Week] = {}
    for as_of in sorted(told):
        this = quarter_of(local_day(as_of, settings), settings)
        before = earlier(this, settings).name
        figures = told[as_of]
        if ("revenue_won", before) in figures:
            came[before] = figures["revenue_won", before]
        span = periods(as_of, "week", settings).span
        if span.name not in found:
            found[span.name] = _week(figures, as_of, span, this.name)
    return [_with(week, came) for week in found.values()]


def forecasts_held(told: Sequence[Week]) -> list[Week]:
    """Those whose forecast can be held against what came."""
    return [one for one in told if one.came is not None and None not in (one.came.value, one.expected.value)]


def _told(connection: Connection) -> dict[datetime, dict[tuple[str, str], Measure]]:
    """The figures of each review by name and scope."""
    c = pipeline_metrics.c
    asked = select(c.as_of, c.scope, *(c[name] for name in SCHEMA))
    found: dict[datetime, dict[tuple[str, str], Measure]] = {}
    for row in rows_of(connection, asked.where(c.period == "week", c.name.in_(_NAMES))):
        figure: dict[str, Any] = {name: getattr(row, name) for name in SCHEMA}
        found.setdefault(row.as_of, {})[row.name, row.scope] = Measure(**figure)
    return found


def _week(figures: Mapping[tuple[str, str], Measure], as_of: datetime, span: Window, quarter: str) -> Week:
    def told(name: str, scope: str) -> Measure:
        return figures.get((name, scope)) or Measure.null(name, NOT_TOLD)

    return Week(
        as_of,
        span,
        quarter,
        win_rate=told("win_rate", _SPANS["win_rate"]),
        expected=told("revenue_expected", quarter),
        came=None,
        open={name: told(name, _SPANS[name]) for name in OPEN},
    )


def _with(week: Week, came: Mapping[str, Measure]) -> Week:
    return Week(**{**vars(week), "came": came.get(week.quarter)})
