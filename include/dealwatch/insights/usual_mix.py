"""What a change of the mix does to the win rate at usual rates: the part that timing cannot bend.

The bridge takes the win rates of the two times as they are. When more of a kind come, their losses close
first, so its rate by close date is low for a while and the bridge makes the mix larger than it is.
"""

from math import sqrt

import numpy as np
import polars as pl

from dealwatch.insights.measure import Measure
from dealwatch.insights.movement import Bridge
from dealwatch.insights.rates import WIN_RATE
from dealwatch.insights.statistics import Z

MIX_AT_USUAL_RATES = "mix_at_usual_rates"
_NO_RATES = "no usual win rate is known of its segments"


def mix_at_usual_rates(bridge: Bridge, segments: pl.DataFrame) -> Measure:
    """The change of shares times the segments' win rates over the year, in points, of a bridge by count.

    Shares vary as draws of so many deals, rates as shares of theirs; the two are taken as independent.
    segments: as `rates.segments`, with the bridge's dimension in it.
    """
    usual = segments.filter(pl.col("by") == bridge.by, pl.col("name") == WIN_RATE)
    rows = bridge.cells.select("segment", "n0", "n1").join(
        usual.select("segment", rate="value", closed="n"), on="segment", how="inner", maintain_order="left"
    )
    columns = ("n0", "n1", "rate", "closed")
    n0, n1, rate, closed = (rows[name].to_numpy().astype(np.float64) for name in columns)
    if not n0.sum() or not n1.sum():
        why = bridge.mix.why or _NO_RATES
        return Measure.null(MIX_AT_USUAL_RATES, why, n=bridge.mix.n, kind="points")
    w0, w1 = n0 / n0.sum(), n1 / n1.sum()
    spread = sum(((w * rate**2).sum() - (w * rate).sum() ** 2) / n.sum() for w, n in ((w0, n0), (w1, n1)))
    spread += ((w1 - w0) ** 2 * rate * (1 - rate) / closed).sum()
    value, half = 100 * float(((w1 - w0) * rate).sum()), 100 * Z * sqrt(float(spread))
    if not half:
        return Measure(
            MIX_AT_USUAL_RATES, value, bridge.mix.n, why="all deals are of one kind", kind="points"
        )
    low, high = value - half, value + half
    return Measure(MIX_AT_USUAL_RATES, value, bridge.mix.n, low=low, high=high, kind="points")
