"""Where more money is lost than usual: what a segment lost beyond what everyone's rate would have lost there.

Losses alone rank segments by size. Excess losses sum to 0 over a dimension, and the ranking is by each
segment's rate drawn towards everyone's, so that a few large deals do not lead it.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from dealwatch.insights.known import Known
from dealwatch.insights.measure import NO_AMOUNTS, Measure, measured, with_interval
from dealwatch.insights.money import refusal
from dealwatch.insights.rates import closed_in, with_amount
from dealwatch.insights.segments import UNKNOWN, labelled
from dealwatch.insights.statistics import Floats, beta_binomial, by_block, draws, percentiles
from dealwatch.insights.windows import Window

EXCESS_LOST_VALUE = "excess_lost_value"
_EXTRA = ("closed", "lost", "shrunk")


def excess_lost_value(known: Known, window: Window, by: Sequence[str]) -> pl.DataFrame:
    """Money lost in a window by each segment of a dimension beyond its closed money at everyone's rate.

    Measures by `segment`, the largest `shrunk` first: the excess at the segment's shrunk rate, by which it is
    ranked; closed and lost are its money. One row of no segment says why there is none.
    """
    rows = with_amount(closed_in(known, window))
    if why := refusal(rows, known.settings) or ("" if rows.height else NO_AMOUNTS):
        none = Measure.null(EXCESS_LOST_VALUE, why, n=rows.height, kind="money")
        nothing = (pl.lit(None, pl.Float64()).alias(name) for name in _EXTRA)
        return measured([none], segment=[UNKNOWN]).with_columns(nothing)
    rows = labelled(rows, by)
    names = rows["segment"].cast(pl.String).unique().sort()
    cell = rows["segment"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
    amount = rows["amount"].to_numpy()
    won = np.where(rows["won"].to_numpy(), amount, 0.0)
    seed = known.settings.scoring.seed
    sums = by_block(cell, (won, amount), cells=len(names), seed=seed)
    whole = sums.sum(axis=0, keepdims=True)
    low, high = percentiles(draws(sums, _excess, seed=seed))
    counts = np.bincount(cell)
    told = zip(_excess(whole)[0], low, high, counts, strict=True)
    measures = [
        with_interval(EXCESS_LOST_VALUE, value, first, last, n=int(n), kind="money")
        for value, first, last, n in told
    ]
    closed = whole[0, 1::2]
    extra = {
        "closed": closed,
        "lost": closed - whole[0, 0::2],
        "shrunk": _shrunk(whole[0, 0::2], closed, np.bincount(cell, weights=amount**2).astype(np.float64)),
    }
    return (
        measured(measures, segment=names.to_list())
        .with_columns(pl.Series(name, values) for name, values in extra.items())
        .sort("shrunk", "segment", descending=[True, False])
    )


def _excess(sums: Floats) -> Floats:
    """Lost money of each segment less its closed money times everyone's share lost."""
    won, closed = sums[:, 0::2], sums[:, 1::2]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = won.sum(axis=1, keepdims=True) / closed.sum(axis=1, keepdims=True)
    return np.asarray(closed * rate - won)


def _shrunk(won: Floats, closed: Floats, squares: Floats) -> Floats:
    """The excess at the shrunk rate; a segment counts as so many equal deals as tell as much."""
    n_eff = closed**2 / squares
    prior = beta_binomial(won / closed * n_eff, n_eff)
    if prior is None:
        return np.zeros(len(won))
    # The prior's mean is of equal deals; only how far a segment lies from it is taken over.
    return np.asarray(closed * (prior.mean - prior.rate(won / closed * n_eff, n_eff)))
