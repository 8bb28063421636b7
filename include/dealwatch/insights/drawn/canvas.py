"""Panels on paper: each row a line of text with its marks below, so that no two texts can meet.

All is placed by hand, in inches from the top: names are as long as they like and are cut to what is free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dealwatch import drawing
from dealwatch.drawing import DARK, GREY, INK, LIGHT, PALE, SMALLEST, WIDTH, fitted, lines_of, width_of
from dealwatch.insights.drawn.panel import Look, Mark, Panel, Row, Series, Shown

_SIDE = 0.14  # inches of white at each side
_LINE, _LANE, _GAP = 0.21, 0.17, 0.07  # of text, of marks, between rows
_AXIS, _SPACE = 0.34, 0.22  # numbers of an axis, and between panels
_SERIES = 2.0
_POINTS = 72 * (WIDTH - 2 * _SIDE)
_TITLE = 12.5
# Each look differs in shape or hatch as well as in colour, and in lightness.
_POINT: dict[Look, dict[str, Any]] = {
    "now": {"marker": "o", "color": DARK, "markersize": 7},
    "published": {"marker": "D", "color": DARK, "markersize": 7},
    "before": {"marker": "s", "color": LIGHT, "markersize": 6, "markeredgecolor": INK},
    "plain": {"marker": "o", "color": GREY, "markersize": 6, "markerfacecolor": "#ffffff"},
}
_BAR: dict[Look, dict[str, Any]] = {
    "bar": {"facecolor": DARK, "edgecolor": DARK},
    "hatched": {"facecolor": "#ffffff", "edgecolor": DARK, "hatch": "////"},
    "pale": {"facecolor": PALE, "edgecolor": GREY},
    "before": {"facecolor": LIGHT, "edgecolor": INK},
}


@dataclass
class Sheet:
    """A figure that is filled from the top; `at` is how many inches are used."""

    paper: Figure
    height: float
    at: float = field(default=_SIDE)

    def line(self, words: str, *, size: float = SMALLEST, colour: str = INK, is_bold: bool = False) -> None:
        """A line of text at the left, and down by its height."""
        self.text(words, _SIDE, "left", size=size, colour=colour, is_bold=is_bold)
        self.at += _LINE * size / SMALLEST

    def text(self, words: str, x: float, side: str, **how: Any) -> None:
        """Text at the line that is being filled, so many inches from the left."""
        self.paper.text(
            x / WIDTH,
            1 - self.at / self.height,
            words,
            ha=side,
            va="top",
            size=how.get("size", SMALLEST),
            color=how.get("colour", INK),
            weight="bold" if how.get("is_bold") else "normal",
        )

    def axes(self, height: float, *, left: float = _SIDE) -> Axes:
        """Axes across the sheet, so many inches high; `at` stays at their top."""
        wide, bottom = WIDTH - left - _SIDE, self.height - self.at - height
        return self.paper.add_axes(
            (left / WIDTH, bottom / self.height, wide / WIDTH, height / self.height), facecolor="none"
        )


def drawn(panels: Sequence[Shown], *, title: str = "", lead: str = "") -> bytes:
    """The panels below one another as a PNG; above them a title and a sentence, if there is one."""
    with drawing.styled():
        heads = lines_of(title, _POINTS, size=15, is_bold=True, most=2) if title else []
        leads = lines_of(lead, _POINTS, size=12, most=6) if lead else []
        over = _LINE * (15 * len(heads) + 12 * len(leads)) / SMALLEST + (0.15 if heads or leads else 0)
        height = 2 * _SIDE + over + sum(map(_height, panels)) + _SPACE * (len(panels) - 1)
        sheet = Sheet(drawing.figure(height), height)
        for words in heads:
            sheet.line(words, size=15, is_bold=True)
        for words in leads:
            sheet.line(words, size=12)
        sheet.at = _SIDE + over
        for place, panel in enumerate(panels):
            sheet.at += _SPACE if place else 0
            _head(sheet, panel)
            if isinstance(panel, Series):
                _series(sheet, panel)
            else:
                _rows(sheet, panel)
        return drawing.png(sheet.paper)


def _words(panel: Shown) -> tuple[list[str], list[str]]:
    return lines_of(panel.title, _POINTS, size=_TITLE, is_bold=True, most=3), lines_of(panel.note, _POINTS)


def _last(panel: Panel) -> list[str]:
    return lines_of(panel.last, _POINTS)


def _height(panel: Shown) -> float:
    """Inches from the title to the numbers of the axis."""
    titles, notes = _words(panel)
    high = _LINE * (len(titles) * _TITLE / SMALLEST + len(notes)) + _GAP
    if isinstance(panel, Series):
        return high + _LINE * len(panel.levels) + _SERIES + _AXIS
    lines = (1.25 if panel.legend else 0) + (1 if panel.reference_words else 0) + len(_last(panel))
    return high + _LINE * lines + sum(map(_row_height, panel.rows)) + _AXIS


def _row_height(row: Row) -> float:
    lanes = 1 if all(one.start is not None for one in row.marks) else max(1, len(row.marks))
    return _LINE + (_LANE * lanes if row.marks else 0) + _GAP


def _head(sheet: Sheet, panel: Shown) -> None:
    titles, notes = _words(panel)
    for words in titles:
        sheet.line(words, size=_TITLE, is_bold=True)
    for words in notes:
        sheet.line(words, colour=GREY)
    sheet.at += _GAP


def _rows(sheet: Sheet, panel: Panel) -> None:
    if panel.legend:
        _legend(sheet, [(look, words) for look, words in panel.legend])
    if panel.reference_words:
        sheet.line(fitted(f"Dashed: {panel.reference_words}", _POINTS), colour=GREY)
    high = sum(map(_row_height, panel.rows))
    axes = sheet.axes(high)
    axes.set_ylim(high, 0)
    low, top = _ends(panel)
    axes.set_xlim(low, top)
    top_of_rows = sheet.at
    for row in panel.rows:
        down = sheet.at - top_of_rows
        _row(sheet, axes, row, down)
        if panel.reference is not None:  # beside the marks only: through text it would strike it out
            ends = [down + _LINE, down + _row_height(row) - _GAP / 2]
            axes.plot(
                [panel.reference] * 2, ends, color=GREY, linestyle=(0, (3, 1.5)), linewidth=1.2, zorder=1
            )
        sheet.at += _row_height(row)
    _scale(axes, panel)
    sheet.at += _AXIS
    for words in _last(panel):
        sheet.line(words, colour=GREY)


def _row(sheet: Sheet, axes: Axes, row: Row, down: float) -> None:
    """Name, what it rests on and figure in one line; its marks below."""
    figure = fitted(row.figure, 0.62 * _POINTS)
    free = _POINTS - width_of(figure) - 12
    about = f" \u00b7 {row.about}" if row.about else ""
    name = fitted(row.name, max(free - width_of(about), 0.4 * _POINTS, free / 2))
    left = free - width_of(name)
    # What a row rests on is told whole, in short, or not at all: 4,353 cut short is another number.
    about = next((one for one in (about, about.removesuffix(" deals")) if width_of(one) <= left), "")
    name = fitted(name, free)
    sheet.text(name, _SIDE, "left")
    sheet.text(about.rstrip(), _SIDE + (width_of(name) + 2) / 72, "left", colour=GREY)
    sheet.text(figure, WIDTH - _SIDE, "right")
    axes.axhline(down + _row_height(row) - _GAP / 2, color=PALE, linewidth=0.6, zorder=0)
    middle = down + _LINE + _LANE / 2
    for mark in row.marks:
        if mark.start is not None:
            _bar(axes, mark, middle)
        else:
            _point(axes, mark, middle)
            middle += _LANE


def _bar(axes: Axes, mark: Mark, y: float) -> None:
    start = mark.start or 0.0
    axes.barh(
        y, mark.value - start, left=start, height=0.8 * _LANE, linewidth=0.8, zorder=2, **_BAR[mark.look]
    )
    if mark.low is not None and mark.high is not None and mark.low < mark.high:
        axes.plot([mark.low, mark.high], [y, y], color=INK, linewidth=1.6, marker="|", markersize=7, zorder=4)


def _point(axes: Axes, mark: Mark, y: float) -> None:
    how = _POINT[mark.look]
    if mark.low is not None and mark.high is not None and mark.low < mark.high:
        line = "-" if mark.look in ("now", "published") else (0, (2, 1))
        axes.plot([mark.low, mark.high], [y, y], color=INK, linestyle=line, linewidth=1.6, zorder=2)
    axes.plot([mark.value], [y], linestyle="none", zorder=3, clip_on=False, **how)


def _ends(panel: Panel) -> tuple[float, float]:
    """The axis from end to end of what is on it, with a little air, and from zero where bars are."""
    told = [
        end
        for row in panel.rows
        for one in row.marks
        for end in (one.value, one.low, one.high, one.start)
        if end is not None
    ]
    told += [] if panel.reference is None else [panel.reference]
    told += [0.0] if panel.from_zero else []
    low, high = min(told, default=0.0), max(told, default=1.0)
    short = max(0.0, panel.least - (high - low)) / 2
    low, high = low - short, high + short
    air = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
    return (0.0 if panel.from_zero and low == 0 else low - air), high + air


def _scale(axes: Axes, panel: Panel) -> None:
    """Few round numbers below, each whole within the sheet."""
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: panel.ticks(x)))
    _within(axes)


def _within(axes: Axes) -> None:
    """Numbers at the ends of an axis lean inwards, so that the edge of the sheet cuts none."""
    axes.tick_params(colors=GREY, labelsize=SMALLEST, length=3)
    low, high = axes.get_xlim()
    for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        part = (place - low) / (high - low)
        label.set_horizontalalignment("left" if part < 0.08 else "right" if part > 0.92 else "center")


def _legend(sheet: Sheet, told: Sequence[tuple[Look, str]]) -> None:
    """The looks and what each means, in one line."""
    axes = sheet.axes(_LINE)
    axes.set_axis_off()
    axes.set_xlim(0, _POINTS)
    axes.set_ylim(0, 1)
    x = 6.0
    free = _POINTS / len(told) - 26
    for look, words in told:
        if look in _POINT:
            axes.plot([x], [0.6], linestyle="none", clip_on=False, **_POINT[look])
        else:
            axes.barh(0.6, 14, left=x - 6, height=0.55, linewidth=0.8, **_BAR[look])
        text = fitted(words, free)
        sheet.text(text, _SIDE + (x + 12) / 72, "left")
        x += 12 + width_of(text) + 18
    sheet.at += 1.25 * _LINE


def _series(sheet: Sheet, series: Series) -> None:
    for level in series.levels:
        sheet.line(fitted(level.words, _POINTS), colour=GREY)
    sheet.at += _GAP
    axes = sheet.axes(_SERIES - _GAP, left=_SIDE + 0.42)
    places = np.arange(len(series.times))
    value, low, high = (
        np.array([np.nan if (end := getattr(one, name)) is None else 100 * end for one in series.measures])
        for name in ("value", "low", "high")
    )
    axes.fill_between(places, low, high, color=PALE, linewidth=0)
    axes.plot(places, value, color=DARK, marker="o", markersize=4, linewidth=1.5)
    for level in series.levels:
        line, ends = "-" if level.look == "now" else "--", [level.first - 0.4, level.last + 0.4]
        axes.plot(ends, [100 * level.value] * 2, color=INK, linewidth=2, linestyle=line)
    axes.set_ylim(0, min(100, 10 * np.ceil((np.nanmax([*high, *value, 1]) + 2) / 10)))
    axes.set_xlim(-0.6, max(len(places) - 0.4, 1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f}%"))
    axes.tick_params(axis="y", length=0, colors=GREY, labelsize=SMALLEST)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    every = max(1, -(-len(places) // 3))
    chosen = places[::-1][::every][::-1]
    axes.set_xticks(chosen, [fitted(series.times[place], _POINTS / 3 - 12) for place in chosen])
    _within(axes)
    sheet.at += _SERIES - _GAP + _AXIS
