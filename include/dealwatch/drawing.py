"""One look for every plot: readable in greyscale, by the colour-blind and on a phone; always the same bytes.

Text from a CRM is drawn as it stands where the font can: no mathematics between dollars, a box for what the
font does not know, and three dots where it is too long. Only the font that comes with the library is used.
"""

import io
from functools import cache
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path
from PIL import Image

DARK, LIGHT, GREY = "#0072B2", "#E69F00", "#6B6B6B"  # blue and orange differ in hue and in lightness
INK, PALE = "#1A1A1A", "#D9D9D9"
FONT = "DejaVu Sans"
WIDTH, DPI = 4.8, 160  # inches across: at 390 pixels a text of 11 points is 12.4 pixels high
SMALLEST = 11  # points
STYLE: Any = {
    "font.family": FONT,
    "font.size": SMALLEST,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": SMALLEST,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": SMALLEST,
    "lines.linewidth": 2,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a name may have dollars in it
}
BOX = "\u25af"  # for what cannot be drawn
_DOTS = "\u2026"
_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")


def styled() -> Any:
    """The style, as a context to draw and to write the picture in."""
    return matplotlib.rc_context(STYLE)


def figure(height: float, *, layout: Any = None) -> Figure:
    """A figure as wide as all others and so many inches high, with no window."""
    made = Figure(figsize=(WIDTH, height), dpi=DPI, layout=layout, facecolor="#ffffff")
    FigureCanvasAgg(made)
    return made


def png(drawn: Figure) -> bytes:
    """The figure as a PNG that tells neither when nor with what it was made.

    Of few colours: half the bytes, and nobody sees the difference.
    """
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()  # type: ignore[no-untyped-call]
    size = canvas.get_width_height()
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    picture = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
    written = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(written, "PNG")
    return written.getvalue()


def drawable(text: str) -> str:
    """One line of what the font has; a run of what it has not is one box."""
    found: list[str] = []
    for letter in " ".join(text.split()):
        known = letter if letter == " " or ord(letter) in _known() else BOX
        if letter not in _JOINERS and not (known == BOX and found[-1:] == [BOX]):
            found.append(known)
    return "".join(found)


def width_of(text: str, *, size: float = SMALLEST, is_bold: bool = False) -> float:
    """How many points a drawable text is wide."""
    if not text.strip():
        return 0.0
    wide, _, _ = text_to_path.get_text_width_height_descent(text, _font(is_bold, size), ismath=False)
    return float(wide)


def fitted(text: str, points: float, *, size: float = SMALLEST, is_bold: bool = False) -> str:
    """A text as one drawable line of so many points at most, with three dots for what does not fit."""
    line = drawable(text)
    if width_of(line, size=size, is_bold=is_bold) <= points:
        return line
    low, high = 0, len(line)
    while low < high:  # the most letters that fit
        middle = (low + high + 1) // 2
        tried = line[:middle].rstrip() + _DOTS
        low, high = (
            (middle, high) if width_of(tried, size=size, is_bold=is_bold) <= points else (low, middle - 1)
        )
    return line[:low].rstrip() + _DOTS


def lines_of(
    text: str, points: float, *, size: float = SMALLEST, is_bold: bool = False, most: int = 4
) -> list[str]:
    """A text in lines of so many points at most; what is beyond the last line is cut."""
    words, found = drawable(text).split(), [""]
    for place, word in enumerate(words):
        tried = f"{found[-1]} {word}".strip()
        if not found[-1] or width_of(tried, size=size, is_bold=is_bold) <= points:
            found[-1] = tried
        elif len(found) == most:
            found[-1] = " ".join([found[-1], *words[place:]])
            break
        else:
            found.append(word)
    return [fitted(line, points, size=size, is_bold=is_bold) for line in found if line]


@cache
def _known() -> frozenset[int]:
    """What both the plain and the bold font can draw."""
    plain, bold = (get_font(findfont(_font(is_bold, SMALLEST))).get_charmap() for is_bold in (False, True))
    return frozenset(plain) & frozenset(bold)


@cache
def _font(is_bold: bool, size: float) -> FontProperties:
    return FontProperties(family=FONT, weight="bold" if is_bold else "normal", size=size)
