"""The plots that judge scores, in the look that all plots have; always the same bytes.

Each function takes plain values and gives a PNG. Figures are objects of their own: no window, no state
shared between plots.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dealwatch.drawing import DARK, GREY, LIGHT, figure, png, styled
from dealwatch.scoring.quality import Quality
from dealwatch.scoring.reliability import Bin

_HEIGHT = 3.6  # inches


def reliability(bins: Sequence[Bin]) -> bytes:
    """What was said against what happened: on the diagonal, probabilities mean what they say."""
    with styled():
        drawn, axes = _figure("p_loss that was said", "share that ended lost")
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as said")
        p, rate = np.array([b.p for b in bins]), np.array([b.rate for b in bins])
        ends = np.array([(b.rate - b.rate_low, b.rate_high - b.rate) for b in bins]).T
        axes.errorbar(
            p, rate, yerr=np.maximum(ends, 0), color=DARK, marker="o", capsize=3, label="happened, with 95%"
        )
        _unit(axes)
        axes.legend(loc="upper left")
        return png(drawn)


def gains(lost: NDArray[np.float64], rankings: Sequence[tuple[str, NDArray[np.float64]]]) -> bytes:
    """How many of the losses stand among the riskiest so many; the diagonal is a ranking by chance."""
    with styled():
        drawn, axes = _figure("share of deal-mornings, riskiest first", "share of the losses among them")
        styles = ((DARK, "-"), (LIGHT, "-."))
        for (name, ranking), (colour, line) in zip(rankings, styles, strict=False):
            axes.plot(*gain_curve(lost, ranking), color=colour, linestyle=line, label=name)
        axes.plot([0, lost.mean(), 1], [0, 1, 1], color=GREY, linestyle=":", linewidth=1, label="at best")
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="by chance")
        _unit(axes)
        axes.legend(loc="lower right")
        return png(drawn)


def gain_curve(
    lost: NDArray[np.float64], ranking: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of rows and of losses among them, riskiest first; equal ranks are taken together."""
    order = np.argsort(-ranking, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(ranking[order]) < 0, True])
    caught = np.cumsum(lost[order])[last]
    return np.r_[0, (last + 1) / len(lost)], np.r_[0, caught / lost.sum()]


def scores(score: NDArray[np.float64], lost: NDArray[np.float64], tops: Sequence[int]) -> bytes:
    """Scores of the deals that were lost and of those that were won, and where the bands end."""
    with styled():
        drawn, axes = _figure("score", "share of the deal-mornings")
        edges = list(range(0, 105, 5))
        for value, name, colour, hatch in ((0, "won", DARK, ""), (1, "lost", LIGHT, "///")):
            mine = score[lost == value]
            axes.hist(
                mine,
                edges,
                weights=np.full(len(mine), 1 / max(1, len(mine))),
                histtype="stepfilled",
                facecolor=(colour, 0.35),
                edgecolor=colour,
                linewidth=1.5,
                hatch=hatch,
                label=f"{name} ({len(mine):,})",
            )
        for top in tops:
            axes.axvline(top, color=GREY, linestyle=":", linewidth=1)
        axes.set_xlim(0, 100)
        axes.legend(loc="upper right")
        return png(drawn)


def weeks(found: Sequence[tuple[date, Quality]]) -> bytes:
    """The ranking week by week: does it hold up?"""
    with styled():
        drawn, axes = _figure("week from", "AUC")
        told = [(day, of.auc, of.auc_low, of.auc_high) for day, of in found if of.auc is not None]
        places = np.arange(len(told))
        auc = np.array([auc for _, auc, _, _ in told])
        ends = np.array([(a - (low or a), (high or a) - a) for _, a, low, high in told]).T
        axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
        axes.annotate("a coin", (0, 0.5), (0, 3), textcoords="offset points", color=GREY, fontsize=10)
        axes.errorbar(places, auc, yerr=np.maximum(ends, 0), color=DARK, marker="o", capsize=3)
        every = max(1, -(-len(told) // 5))
        axes.set_xticks(places[::every], [f"{day:%d %b}" for day, *_ in told[::every]])
        axes.set_ylim(min(0.4, float((auc - ends[0]).min()) - 0.02), 1)
        return png(drawn)


def _figure(across: str, up: str) -> tuple[Figure, Axes]:
    made = figure(_HEIGHT, layout="constrained")
    axes = made.subplots()
    axes.set_xlabel(across)
    axes.set_title(up)  # level, where a label on its side would have to be read with a bent neck
    return made, axes


def _unit(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
