"""Reads a stored review back, as it was composed but for the digits beyond those kept, and lists all of them.

Stored JSON knows no types and, of an empty frame, no columns: SHAPES says what each frame is made of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.insights.measure import SCHEMA, Measure
from dealwatch.insights.review import Finding, Period, Review
from dealwatch.insights.windows import Window
from dealwatch.tables import reviews

_TEXT, _COUNT, _FLOAT, _FLAG = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
_TESTED = {"p": _FLOAT, "q": _FLOAT}
Shape = Mapping[str, pl.DataType]

# The columns of every frame of `Review.figures`, in order; see `figures` for what they mean.
SHAPES: Mapping[str, Shape] = {
    "totals": {"of": _TEXT, **SCHEMA},
    "win_rate_series": {"time": _TEXT, "first": pl.Date(), **SCHEMA},
    "bridge": {
        **dict.fromkeys(("compared", "by", "weight", "segment"), _TEXT),
        **dict.fromkeys(("n0", "n1"), _COUNT),
        **dict.fromkeys(("w0", "w1", "r0", "r1", "rate", "mix", "impact"), _FLOAT),
        **dict.fromkeys(("impact_low", "impact_high", "p", "q"), _FLOAT),
        "is_flagged": _FLAG,
        "published": _FLOAT,
    },
    "stages": {"time": _TEXT, "stage": _TEXT, **SCHEMA, **_TESTED},
    "pipeline": SCHEMA,
    "cohorts": {"quarter": _TEXT, "deals": _COUNT, "still_open": _COUNT, **SCHEMA},
    "forecast": {"of": _TEXT, "is_published": _FLAG, **SCHEMA},
    "reps": {"owner_id": _TEXT, "closed": _COUNT, "won": _COUNT, "expected": _FLOAT, **SCHEMA},
    "slips": {"of": _TEXT, **SCHEMA},
    "concentration": {
        **dict.fromkeys(("deal_id", "stage"), _TEXT),
        **dict.fromkeys(("amount", "chance", "expected", "share"), _FLOAT),
    },
    "drivers": {
        **dict.fromkeys(("feature", "segment", "reference"), _TEXT),
        "q": _FLOAT,
        "is_found": _FLAG,
        **SCHEMA,
    },
    "seasons": {"month": _COUNT, "q": _FLOAT, "is_found": _FLAG, **SCHEMA},
    "forest": {"group": _TEXT, "share": _FLOAT},
    "segments": {"by": _TEXT, "segment": _TEXT, **SCHEMA, "won": _COUNT, "shrunk": _FLOAT, **_TESTED},
}


@dataclass(frozen=True)
class KeptSpan:
    """A stored review: its key, the week or month it is of with its local days, and how much it says."""

    as_of: datetime
    period: Period
    name: str
    first_on: date
    last_on: date
    said: int
    refused: int


def kept(connection: Connection, as_of: datetime, period: Period) -> Review | None:
    """The stored review of a moment; none when there is none. Figures have the digits that were kept."""
    c = reviews.c
    stored = connection.execute(select(c.review).where(c.as_of == as_of, c.period == period)).scalar()
    return None if stored is None else _review(stored)


def kept_spans(connection: Connection, period: Period | None = None) -> list[KeptSpan]:
    """All stored reviews, or those of weeks or months, the newest first."""
    c = reviews.c
    asked = select(c.as_of, c.period, c.span, c.first_on, c.last_on, c.said, c.refused)
    if period is not None:
        asked = asked.where(c.period == period)
    rows = connection.execute(asked.order_by(c.as_of.desc(), c.period.desc()))  # the week before its month
    return [KeptSpan(*row) for row in rows]


def _review(told: Mapping[str, Any]) -> Review:
    return Review(
        as_of=datetime.fromisoformat(told["as_of"]),
        period=told["period"],
        span=_window(told["span"]),
        window=_window(told["window"]),
        before=_window(told["before"]),
        headline=_measures(told["headline"]),
        findings=tuple(_finding(one) for one in told["findings"]),
        refused=tuple(_finding(one) for one in told["refused"]),
        figures={  # a frame that was thought of later is empty
            name: frame_of(told["figures"].get(name, ()), SHAPES.get(name, {}))
            for name in (*SHAPES, *told["figures"].keys() - SHAPES.keys())
        },
        currency=told["currency"],
        caveats=tuple(told["caveats"]),
        footer=told["footer"],
    )


def _window(told: Mapping[str, str]) -> Window:
    return Window(told["name"], datetime.fromisoformat(told["after"]), datetime.fromisoformat(told["until"]))


def _measures(told: Sequence[Mapping[str, Any]]) -> tuple[Measure, ...]:
    return tuple(Measure(**one) for one in told)


def _finding(told: Mapping[str, Any]) -> Finding:
    return Finding(**{**told, "measures": _measures(told["measures"])})


def frame_of(rows: Sequence[Mapping[str, Any]], shape: Shape) -> pl.DataFrame:
    """Rows of JSON as a frame of a shape, whether or not there are any; a column it does not know stays.

    A column that the rows lack, since they were stored before it was thought of, is null.
    """
    more = sorted({name for row in rows for name in row} - shape.keys())
    days = [name for name, kind in shape.items() if kind == pl.Date()]
    stored = {name: _TEXT if name in days else kind for name, kind in shape.items()}
    columns = {name: [row.get(name) for row in rows] for name in (*shape, *more)}
    made = [pl.Series(name, of, dtype=stored.get(name)) for name, of in columns.items()]
    return pl.DataFrame(made).with_columns(pl.col(name).str.to_date() for name in days)
