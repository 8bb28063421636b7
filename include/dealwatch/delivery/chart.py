"""A small picture for an e-mail: where a deal's score came from, and in which band it stands.

Drawn from what the message holds and nothing else, so the same message gives the same bytes.
"""

import io
from typing import TYPE_CHECKING

from dealwatch.delivery.messages import DealCard, Message
from dealwatch.delivery.wording import COLOURS, weekday

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg

CHART_WIDTH, CHART_HEIGHT = 536, 176  # as shown; drawn at twice that for sharp screens
_FEWEST = 2  # one point is no way
_BANDS = ("Low", "Medium", "High", "Critical")
_GROUND = ("#f9fafb", "#f6f4ea", "#fdf2e9", "#fdeceb")
_INK, _QUIET = "#101828", "#475467"


def chart_png(message: Message) -> bytes | None:
    """The way of the score over the past weeks as a PNG; none for what is not one deal with a past."""
    card = _told_of(message)
    if card is None:
        return None
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(CHART_WIDTH / 100, CHART_HEIGHT / 100), dpi=200, facecolor="#ffffff")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.004, 0.14, 0.832, 0.84))
        _draw_bands(axes, message.bands)
        _draw_way(axes, card)
        canvas.draw()  # type: ignore[no-untyped-call]
    return _png(canvas)


def chart_words(message: Message) -> str:
    """What the picture shows, for those who do not see it; empty when there is none."""
    card = _told_of(message)
    if card is None:
        return ""
    first, scores = card.path[0], [point.score for point in card.path]
    return (
        f"Risk since {weekday(first.on)}: from {first.score} to {scores[-1]} now,"
        f" lowest {min(scores)}, highest {max(scores)}."
    )


def _told_of(message: Message) -> DealCard | None:
    """The one deal whose way is worth a picture."""
    card = message.cards[0] if message.kind == "alert" and len(message.cards) == 1 else None
    if not isinstance(card, DealCard) or len(card.path) < _FEWEST:
        return None
    return card


def _draw_bands(axes: "Axes", bands: tuple[int, int, int]) -> None:
    """The bands as grounds that hardly show, with their names at the right."""
    edges = (0, *bands, 100)
    for name, ground, low, high in zip(_BANDS, _GROUND, edges, edges[1:], strict=False):
        axes.axhspan(low, high, color=ground, linewidth=0, zorder=0)
        axes.text(
            1.012, (low + high) / 2, name, transform=axes.get_yaxis_transform(), va="center", fontsize=10.5,
            color=COLOURS[name],
        )  # fmt: skip
    for edge in bands:
        axes.axhline(edge, color="#ffffff", linewidth=1.2, zorder=1)


def _draw_way(axes: "Axes", card: DealCard) -> None:
    path = card.path
    days = [(point.on - path[0].on).days for point in path]
    scores = [point.score for point in path]
    colour = COLOURS.get(card.band, COLOURS["Low"])
    axes.plot(days, scores, color=_INK, linewidth=1.6, solid_joinstyle="round", zorder=3)
    axes.plot(days[-1], scores[-1], "o", color=colour, markersize=6, zorder=4)
    _note(axes, days[-1], scores[-1], str(scores[-1]), colour)
    was = next((n for n, point in enumerate(path) if point.on == card.was_on), None)
    if was is not None and was < len(path) - 1:
        axes.plot(days[was], scores[was], "o", color="#ffffff", markeredgecolor=_INK, markersize=5, zorder=4)
        if days[-1] - days[was] > max(days[-1] * 0.06, 2):
            _note(axes, days[was], scores[was], str(scores[was]), _INK)
    span = max(days[-1], 1)
    axes.set_xlim(-0.015 * span, span * 1.03)
    axes.set_ylim(0, 100)
    axes.set_yticks([])
    axes.set_xticks([])
    ends = ((days[0], "left", weekday(path[0].on)), (days[-1], "right", weekday(path[-1].on)))
    for day, side, words in ends:
        axes.text(
            day, -4, words, ha=side, va="top", fontsize=10.5, color=_QUIET, clip_on=False
        )  # fmt: skip
    for spine in axes.spines.values():
        spine.set_visible(False)


def _note(axes: "Axes", day: float, score: int, words: str, colour: str) -> None:
    """The number beside its point: above, or below where the frame is near."""
    below = score > 80
    axes.annotate(
        words, (day, score), (0, -6 if below else 6), textcoords="offset points", ha="center",
        va="top" if below else "bottom", fontsize=12.5, fontweight="bold", color=colour, zorder=5,
    )  # fmt: skip


def _png(canvas: "FigureCanvasAgg") -> bytes:
    """Few colours: half the bytes, and nobody sees the difference."""
    from PIL import Image

    size = canvas.get_width_height()
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    drawn = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
    picture = io.BytesIO()
    drawn.quantize(64, dither=Image.Dither.NONE).save(picture, "PNG", optimize=True)
    return picture.getvalue()
