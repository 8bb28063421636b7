"""The page of the series: what all weekly reviews said, as pictures and as a table."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from dealwatch.board.framed import framed
from dealwatch.board.series_pictures import OPEN_WORDS, Drawn, pictures, said
from dealwatch.insights.kept import KeptSpan, kept, kept_spans
from dealwatch.insights.measure import Measure
from dealwatch.insights.series import OPEN, Week, weeks
from dealwatch.settings import Settings


@dataclass(frozen=True)
class Shown:
    """A picture for the page; `png` as text for a data: address, empty where there is none."""

    told: Drawn
    png: str


@dataclass(frozen=True)
class Row:
    """A week of the table: the review it leads to, and its cells with, for an empty one, the reason."""

    week: Week
    cells: tuple[tuple[str, str], ...]


HEADS = (
    "Win rate (13 weeks)",
    "Deals",
    "Quarter",
    "Forecast",
    "Came",
    *(word.capitalize() for word in OPEN_WORDS.values()),
)


def series_page(connection: Connection, settings: Settings) -> HTMLResponse:
    """The series of all weekly reviews, the newest first in the table; not by two threads at once."""
    told = weeks(connection, settings)
    spans = kept_spans(connection)
    if not told:
        return framed("empty.html.j2", months=_months(spans))
    currency = _currency(connection, spans)
    drawn = [Shown(one, base64.b64encode(one.png or b"").decode()) for one in pictures(told, currency)]
    return framed(
        "series.html.j2",
        pictures=drawn,
        heads=HEADS,
        rows=[_row(one, currency) for one in reversed(told)],
        months=_months(spans),
    )


def _months(spans: Sequence[KeptSpan]) -> list[KeptSpan]:
    return [one for one in spans if one.period == "month"]


def _currency(connection: Connection, spans: Sequence[KeptSpan]) -> str:
    """That of the newest weekly review; the figures' rows do not say."""
    newest = next((one for one in spans if one.period == "week"), None)
    review = None if newest is None else kept(connection, newest.as_of, "week")
    return "" if review is None else review.currency


def _row(week: Week, currency: str) -> Row:
    return Row(
        week,
        (
            _cell(week.win_rate),
            (f"{week.win_rate.n:,}", ""),
            (week.quarter, ""),
            _cell(week.expected, currency),
            ("", "the quarter is not over, or no review told of it")
            if week.came is None
            else _cell(week.came, currency),
            *(_cell(week.open[name]) for name in OPEN),
        ),
    )


def _cell(one: Measure, currency: str = "") -> tuple[str, str]:
    return said(one, currency), one.why if one.value is None else ""
