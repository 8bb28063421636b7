"""The picture beside a model card: what was said against what happened, for both models, as a PNG.

Readable without colour: ours is a dark line with dots, the champion's a grey one with squares.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INCHES = (5.2, 5.8)


def picture(
    version: str,
    ours: Sequence[Mapping[str, Any]],
    theirs: Sequence[Mapping[str, Any]] = (),
    *,
    champion: str | None = None,
) -> bytes:
    """A PNG of the reliability bins (p, rate, rate_low, rate_high) of a model and perhaps its champion."""
    figure = Figure(figsize=_INCHES, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":", label="said = happened")
    if theirs:
        _curve(axes, theirs, f"champion {champion}", color="0.55", marker="s", linestyle="--")
    _curve(axes, ours, f"this model {version}", color="0.1", marker="o", linestyle="-")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="said: p_loss", ylabel="happened: share lost")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), fontsize=8, frameon=False, borderaxespad=0)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _curve(axes: Axes, bins: Sequence[Mapping[str, Any]], label: str, **style: Any) -> None:
    x, y = [b["p"] for b in bins], [b["rate"] for b in bins]
    below = [max(0.0, b["rate"] - b["rate_low"]) for b in bins]
    above = [max(0.0, b["rate_high"] - b["rate"]) for b in bins]
    axes.errorbar(
        x, y, yerr=(below, above), label=label, markersize=5, capsize=2, linewidth=1.2, clip_on=False, **style
    )
