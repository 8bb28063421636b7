"""What a picture shows, before it is drawn: rows of marks on one axis, or a line in time, and the words.

The picture and its words for those who do not see it are made of the same panels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.insights.lint import CHANCE
from dealwatch.insights.measure import SCHEMA, Measure
from dealwatch.insights.review import Review
from dealwatch.insights.wording import interval, number, shown

Look = Literal["now", "before", "published", "plain", "bar", "hatched", "pale"]
MOST_ROWS = 12  # of a panel; what is beyond is in the tables


@dataclass(frozen=True)
class Mark:
    """A figure on the axis: a point with its interval, or a bar from `start` to the value."""

    value: float
    low: float | None = None
    high: float | None = None
    look: Look = "now"
    start: float | None = None


@dataclass(frozen=True)
class Row:
    """One line: name and what it rests on at the left, the figure at the right, marks below.

    words: the figures in full, for those who do not see the picture.
    """

    name: str
    about: str
    figure: str
    marks: tuple[Mark, ...]
    words: str


@dataclass(frozen=True)
class Panel:
    """Rows on one axis.

    title: what it shows. note: how to read it. ticks: how a number of the axis is written. reference: where a
    line stands, and what it is. from_zero: bars have to start there. legend: what each look means. last: what
    is added below, as how many rows are left out.
    """

    title: str
    rows: tuple[Row, ...]
    ticks: Callable[[float], str]
    note: str = ""
    reference: float | None = None
    reference_words: str = ""
    from_zero: bool = False
    least: float = 0.0
    legend: tuple[tuple[Look, str], ...] = ()
    hidden: int = 0
    last: str = ""

    def cut(self, most: int = MOST_ROWS) -> "Panel":
        """The first so many rows; `last` says how many there are besides."""
        left = len(self.rows) - most
        if left <= 0:
            return self
        hidden = self.hidden + left
        return replace(self, rows=self.rows[:most], hidden=hidden, last=f"and {hidden:,} more")


@dataclass(frozen=True)
class Level:
    """A rate that held from one place of a series to another."""

    first: int
    last: int
    value: float
    look: Look
    words: str


@dataclass(frozen=True)
class Series:
    """Shares in time, each with its interval; null where nothing closed."""

    title: str
    note: str
    times: tuple[str, ...]
    measures: tuple[Measure, ...]
    levels: tuple[Level, ...]


Shown = Panel | Series


def as_percent(value: float) -> str:
    """A number of an axis of shares."""
    return f"{value:,.10g}%".replace("-", "\u2212")


def plain(value: float) -> str:
    """A number of an axis."""
    return f"{value:,.10g}".replace("-", "\u2212")


def signed(value: float) -> str:
    """A number of an axis of differences."""
    return f"{value:+,.10g}".replace("-", "\u2212") if value else "0"


def as_money(value: float) -> str:
    """A number of an axis of money."""
    return number(Measure("axis", value, 0, why="a number of an axis", kind="money"), value)


def deals(n: int) -> str:
    """`1 deal`, `1,640 deals`."""
    return f"{n:,} deal{'' if n == 1 else 's'}"


def name_of(text: str) -> str:
    """A name from the CRM as one bounded line without hidden characters."""
    return clean(text, NAME_LENGTH) or "(no name)"


def measures(rows: pl.DataFrame) -> list[tuple[dict[str, Any], Measure]]:
    """Each row of a frame of measures, as it stands and as a measure."""
    return [(row, Measure(**{name: row[name] for name in SCHEMA})) for row in rows.iter_rows(named=True)]


def mark(measure: Measure, look: Look = "now", *, by: float = 1.0) -> tuple[Mark, ...]:
    """A figure as a point with its interval; none where it is not defined."""
    if measure.value is None:
        return ()
    low, high = (None if one is None else by * one for one in (measure.low, measure.high))
    return (Mark(by * measure.value, low, high, look),)


def figure(measure: Measure, currency: str = "") -> str:
    """`54.3% (51.9% to 56.7%)`; `54.3%` without an interval; three dots where it is not defined."""
    if measure.value is None:
        return "not known"
    ends, text = interval(measure), number(measure, measure.value, currency)
    return f"{text} ({ends})" if ends else text


def in_words(measure: Measure, currency: str = "", *, of: str = "deals") -> str:
    """The figure with all that a sentence has to have; why it is not known where it is not."""
    if measure.value is None:
        return f"not known: {measure.why}"
    if not measure.is_known:
        return f"{number(measure, measure.value, currency)}, without an interval: {measure.why}"
    return shown(measure, currency, of=of)


def doubt(review: Review) -> str:
    """Why the two times are not to be compared, or that chance explains the change; else empty."""
    why = next((one.refusal for one in review.refused if one.kind == "win_rate_moved"), "")
    if why.startswith(CHANCE):
        return "Chance explains the change."
    return f"Not to be compared: {why.rstrip('.')}." if why else ""


def panel_words(told: Shown) -> str:
    """All figures of a panel as one text."""
    if isinstance(told, Series):
        return _series_words(told)
    rows = "; ".join(f"{row.name}: {row.words}" for row in told.rows)
    last = f" {told.last[:1].upper()}{told.last[1:]}." if told.last else ""
    return f"{told.title}. {rows}.{last}"


def _series_words(series: Series) -> str:
    pairs = zip(series.times, series.measures, strict=True)
    known = [(time, one) for time, one in pairs if one.value is not None]
    parts = [level.words for level in series.levels]
    if known:
        by_value: Sequence[tuple[str, Measure]] = sorted(known, key=lambda pair: pair[1].value or 0.0)
        ends = (("lowest", by_value[0]), ("highest", by_value[-1]), ("last", known[-1]))
        parts += [f"{word} {time}, {in_words(one)}" for word, (time, one) in ends]
    return f"{series.title}. {'; '.join(parts)}."
