"""Draws what the weekly reviews said, week after week, and says of each picture in words what it shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dealwatch.insights.measure import Measure
from dealwatch.insights.series import OPEN, Week, forecasts_held
from dealwatch.insights.wording import interval, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPEN_WORDS = {
    "stalled_share": "stalled",
    "no_next_step_share": "without a next step",
    "overdue_share": "past date",
}
_FEWEST = 2  # weeks; one point is no series
_ONE_POINT = "one week is no series. Backfill review_pipeline to have the weeks before reviewed too."
_HEIGHT = 2.7  # inches
_MILLION, _THOUSAND = 1e6, 1e3
# Told apart by their marks and dashes where colours are not seen.
_LINES = (("o", "-"), ("s", "--"), ("^", ":"))


@dataclass(frozen=True)
class Drawn:
    """A picture: its title, what it shows in words, how to read it, and the PNG; none where nothing is told.

    why: the reason for which there is none.
    """

    title: str
    words: str
    note: str
    png: bytes | None
    why: str = ""


def pictures(told: Sequence[Week], currency: str) -> list[Drawn]:
    """The pictures of a series, oldest week first; not to be drawn by two threads at once."""
    return [_win_rate(told), _forecast(told, currency), _open(told)]


def _win_rate(told: Sequence[Week]) -> Drawn:
    title = "Win rate of the 13 weeks up to each review"
    known = [one for one in told if one.win_rate.is_known]
    if len(known) < _FEWEST:
        return _nothing(title, [one.win_rate for one in told])
    words = f"{_ends([(one.span.name, said(one.win_rate)) for one in known])}."
    note = (
        "The band is the 95% interval. Points next to each other share 12 of their 13 weeks: a slow wave "
        "is no run of news. Whether a change is more than chance is judged in each review."
    )

    def draw(axes: "Axes") -> None:
        days = [_day(one) for one in known]
        _line(axes, days, [one.win_rate for one in known], 0, "win rate", scale=100.0)
        axes.set_ylabel("%")

    return Drawn(title, words, note, _png(draw))


def _forecast(told: Sequence[Week], currency: str) -> Drawn:
    title = f"The quarter's money: published forecast, and what came{f' ({currency})' if currency else ''}"
    known = [one for one in told if one.expected.is_known]
    if len(known) < _FEWEST:
        return _nothing(title, [one.expected for one in told])
    held = forecasts_held(known)
    inside = sum(_is_inside(one) for one in held)
    words = _ends([(f"{one.span.name} of {one.quarter}", said(one.expected, currency)) for one in known])
    words += (
        f". Of the forecasts whose quarter is over, {inside} of {len(held)} had what came in their interval."
        if held
        else ". No forecast can be held against what came yet: its quarter has to be over first."
    )
    note = (
        "Points with bars are the forecast of the running quarter and its 95% interval; the diamonds are "
        "what was won in that quarter in the end. Forecasts of one quarter are no independent trials."
    )

    def draw(axes: "Axes") -> None:
        _draw_forecast(axes, known, held)

    return Drawn(title, words, note, _png(draw))


def _draw_forecast(axes: "Axes", known: Sequence[Week], held: Sequence[Week]) -> None:
    from dealwatch.drawing import DARK, LIGHT

    biggest = max([one.expected.high or 0.0 for one in known], default=0.0)
    unit, letter = (_MILLION, "m") if biggest >= _MILLION else (_THOUSAND, "k")
    days = [_day(one) for one in known]
    low, values, high = (
        [(getattr(one.expected, end) or 0.0) / unit for one in known] for end in ("low", "value", "high")
    )
    axes.vlines(days, low, high, color=DARK, linewidth=1.2)
    axes.plot(days, values, "o", color=DARK, markersize=4, label="forecast")
    for place, quarter in enumerate(dict.fromkeys(one.quarter for one in held)):
        mine = [one for one in held if one.quarter == quarter]
        money = next(one.came.value for one in mine if one.came is not None) or 0.0
        label = "came" if place == 0 else None
        axes.plot(
            [_day(one) for one in mine],
            [money / unit] * len(mine),
            color=LIGHT,
            marker="D",
            markersize=3,
            label=label,
        )
    axes.set_ylim(bottom=0)
    axes.set_ylabel(letter)


def _open(told: Sequence[Week]) -> Drawn:
    title = "Of the open money: stalled, without a next step, past its close date"
    lines = {name: [one for one in told if one.open[name].value is not None] for name in OPEN}
    if max(len(known) for known in lines.values()) < _FEWEST:
        return _nothing(title, [one.open[name] for one in told for name in OPEN])
    shares = {
        name: [(one.span.name, percent(one.open[name].value or 0.0)) for one in known]
        for name, known in lines.items()
    }
    parts = [f"{OPEN_WORDS[name]}: {_ends(points)}" for name, points in shares.items() if points]
    note = "Counted and not sampled, so without intervals. A share that a review could not tell has no point."

    def draw(axes: "Axes") -> None:
        for place, (name, known) in enumerate(lines.items()):
            figures = [one.open[name] for one in known]
            _line(axes, [_day(one) for one in known], figures, place, OPEN_WORDS[name], scale=100.0)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("%")

    return Drawn(title, f"Of the open money {'; '.join(parts)}.", note, _png(draw, has_legend=True))


def _line(
    axes: "Axes", days: list[float], figures: list[Measure], place: int, label: str, *, scale: float
) -> None:
    from dealwatch.drawing import DARK, GREY, LIGHT

    marker, dashes = _LINES[place]
    colour = (DARK, LIGHT, GREY)[place]
    values = [scale * (one.value or 0.0) for one in figures]
    axes.plot(days, values, color=colour, marker=marker, markersize=3.5, linestyle=dashes, label=label)
    if any(one.low != one.high for one in figures):
        low, high = (
            [scale * (end or 0.0) for end in ends]
            for ends in zip(*((o.low, o.high) for o in figures), strict=True)
        )
        axes.fill_between(days, low, high, color=colour, alpha=0.18, linewidth=0)


def _png(draw: Callable[["Axes"], None], *, has_legend: bool = False) -> bytes:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    from dealwatch.drawing import figure, png, styled

    with styled():
        made = figure(_HEIGHT, layout="constrained")
        axes = made.add_subplot()
        draw(axes)
        locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        if len(axes.get_legend_handles_labels()[0]) > 1 or has_legend:
            made.legend(loc="outside upper left", ncols=3, handlelength=1.8, columnspacing=1.0)
        return png(made)


def _is_inside(one: Week) -> bool:
    came, told = one.came, one.expected
    if came is None or came.value is None or told.low is None or told.high is None:
        return False
    return told.low <= came.value <= told.high


def said(one: Measure, currency: str = "") -> str:
    """`31.0% (29.0% to 33.1%)`; empty of what has no value."""
    if one.value is None:
        return ""
    ends = interval(one)
    return f"{number(one, one.value, currency)}{f' ({ends})' if ends else ''}"


def _ends(points: Sequence[tuple[str, str]]) -> str:
    """`2026-W01: 31.0%; 2026-W12: 28.5%`, the first and the last."""
    chosen = points if len(points) < 2 else (points[0], points[-1])
    return "; ".join(f"{when}: {what}" for when, what in chosen)


def _nothing(title: str, figures: Sequence[Measure]) -> Drawn:
    is_told = any(one.value is not None for one in figures)
    why = _ONE_POINT if is_told else next(one.why for one in reversed(figures))
    return Drawn(title, "", "", None, why)


def _day(week: Week) -> float:
    from matplotlib.dates import date2num

    return float(date2num(week.span.until))  # type: ignore[no-untyped-call]
