"""How many of the deals that closed were won: by count, by money, and by part of the business."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from scipy import stats

from dealwatch.insights.known import Known
from dealwatch.insights.measure import (
    NO_AMOUNTS,
    NOTHING_CLOSED,
    SCHEMA,
    Kind,
    Measure,
    sampled,
    share_of,
)
from dealwatch.insights.money import refusal
from dealwatch.insights.segments import DIMENSIONS, POST_HOC, labelled, name_of, with_bands
from dealwatch.insights.statistics import (
    Floats,
    Homogeneity,
    adjusted,
    beta_binomial,
    effective,
    homogeneity,
    wilson,
)
from dealwatch.insights.windows import Window

WIN_RATE, WEIGHTED, SIZE_EFFECT = "win_rate", "revenue_weighted_win_rate", "size_effect"
SINGLE = tuple((one,) for one in DIMENSIONS)
SEGMENT_SCHEMA = {
    "by": pl.String(),
    "segment": pl.String(),
    **SCHEMA,
    "won": pl.Int64(),
    "shrunk": pl.Float64(),
    "p": pl.Float64(),
    "q": pl.Float64(),
}


def closed_in(known: Known, window: Window) -> pl.DataFrame:
    """The deals closed in a window, with their amount band among one another."""
    rows = known.closed.filter(window.holds("closed_at"))
    return with_bands(rows, refused=refusal(rows, known.settings))


def win_rate(known: Known, window: Window) -> Measure:
    """Won of those won and lost in a window; Wilson's interval."""
    won = known.closed.filter(window.holds("closed_at"))["won"]
    return share_of(WIN_RATE, int(won.sum()), len(won), why=NOTHING_CLOSED)


def revenue_weighted(known: Known, window: Window) -> Measure:
    """Money won of the money of all deals closed in a window; the interval by drawing deals."""
    return _of_money(known, window, WEIGHTED, "share", lambda sums: sums[:, 0] / sums[:, 1])


def size_effect(known: Known, window: Window) -> Measure:
    """How many points the win rate by money lies above that by count, among deals with an amount."""

    def difference(sums: Floats) -> Floats:
        return np.asarray(100 * (sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]))

    return _of_money(known, window, SIZE_EFFECT, "points", difference)


def with_amount(rows: pl.DataFrame) -> pl.DataFrame:
    """Those with something at stake: no amount, nothing and less than nothing weigh nothing."""
    return rows.filter(pl.col("amount") > 0)


def _of_money(
    known: Known, window: Window, name: str, kind: Kind, statistic: Callable[[Floats], Floats]
) -> Measure:
    rows = with_amount(known.closed.filter(window.holds("closed_at")))
    if why := refusal(rows, known.settings) or ("" if rows.height else NO_AMOUNTS):
        return Measure.null(name, why, n=rows.height, kind=kind)
    amount, won = rows["amount"].to_numpy(), rows["won"].to_numpy().astype(np.float64)
    sums = np.stack([amount * won, amount, won, np.ones(len(won))], axis=1)
    seed = known.settings.scoring.seed
    return sampled(name, sums, statistic, seed=seed, n_eff=effective(amount), kind=kind)


def segments(known: Known, window: Window, dimensions: Sequence[Sequence[str]] = SINGLE) -> pl.DataFrame:
    """The win rates of each segment of each dimension, as rows of SEGMENT_SCHEMA.

    A dimension is a column, or several for the cells of a pair. `shrunk` is the rate drawn to the dimension's
    by what differs for certain; `p` is of the segment against all other deals, by count, and `q` the same
    adjusted for all segments in the answer: of six dimensions some segment always looks good. Segments known
    only once a deal is closed (POST_HOC) are adjusted apart: that deals lost early end in early stages is
    certain, and would let others pass.
    """
    rows = closed_in(known, window)
    why = refusal(rows, known.settings)
    found = [_counted(rows, by, why) for by in dimensions]
    if not found:
        return pl.DataFrame(schema=SEGMENT_SCHEMA)
    told = pl.concat(found)
    is_post_hoc = told["by"].is_in([name_of(by) for by in dimensions if set(by) & set(POST_HOC)])
    q, p = np.full(told.height, np.nan), told["p"].to_numpy()
    for family in (is_post_hoc.to_numpy(), ~is_post_hoc.to_numpy()):
        q[family] = adjusted(p[family])
    return told.with_columns(pl.Series("q", q).fill_nan(None), pl.col("p").fill_nan(None))


def published_win_rates(known: Known, window: Window, column: str) -> pl.DataFrame:
    """The form in use elsewhere: won of all deals of a segment, those open at the moment among them.

    segment, won, n, value. The more deals are open the lower it is; on files of closed deals alone nobody
    noticed. Kept beside ours for those who know it, without an interval: it is no estimate of anything.
    """
    closed = known.closed.filter(window.holds("closed_at")).select(column, "won")
    running = known.open.select(column, won=pl.lit(False))
    return (
        labelled(pl.concat([closed, running]), (column,))
        .group_by(pl.col("segment").cast(pl.String))
        .agg(won=pl.col("won").sum().cast(pl.Int64), n=pl.len().cast(pl.Int64), value=pl.col("won").mean())
        .sort("segment")
    )


def differences(known: Known, window: Window, by: Sequence[str]) -> Homogeneity | None:
    """Whether chance alone could make the segments of one dimension differ so; None where it has but one."""
    counts = _sums(closed_in(known, window), by)
    return homogeneity(counts["won"], counts["n"])


def _sums(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    paid = pl.col("amount").filter(pl.col("amount") > 0)
    return (
        labelled(rows, by)
        .group_by(pl.col("segment").cast(pl.String))
        .agg(
            won=pl.col("won").sum().cast(pl.Int64),
            n=pl.len().cast(pl.Int64),
            n_paid=paid.len().cast(pl.Int64),
            won_paid=(pl.col("won") & (pl.col("amount") > 0)).sum().cast(pl.Int64),
            money=paid.sum(),
            money_won=pl.col("amount").filter((pl.col("amount") > 0) & pl.col("won")).sum(),
            squares=(paid**2).sum(),
        )
        .sort("segment")
    )


def _counted(rows: pl.DataFrame, by: Sequence[str], refused: str) -> pl.DataFrame:
    """A dimension's segments twice, by count and by money."""
    sums = _sums(rows, by)
    won, n = sums["won"].to_numpy().astype(np.float64), sums["n"].to_numpy().astype(np.float64)
    money, n_eff = sums["money"].to_numpy(), _effective(sums)
    weighted = np.divide(sums["money_won"].to_numpy(), money, out=np.full(len(sums), np.nan), where=money > 0)
    weighted = np.where(refused != "", np.nan, weighted)
    by_count = _rows(sums, by, WIN_RATE, won / n, n, n)
    by_money = _rows(sums.with_columns(n="n_paid", won="won_paid"), by, WEIGHTED, weighted, n_eff, n)
    p = pl.Series("p", _against_the_others(won, n))
    reason = pl.when(pl.col("value").is_null()).then(pl.lit(refused or NO_AMOUNTS)).otherwise(pl.lit(""))
    told = [
        by_count.with_columns(p, why=pl.lit("")),
        by_money.with_columns(reason.alias("why"), p=pl.lit(None, dtype=pl.Float64())),
    ]
    return pl.concat(
        rows.select(pl.col(name).cast(type_) for name, type_ in SEGMENT_SCHEMA.items()) for rows in told
    )


def _effective(sums: pl.DataFrame) -> Floats:
    money, squares = sums["money"].to_numpy(), sums["squares"].to_numpy()
    return np.asarray(np.divide(money**2, squares, out=np.zeros(len(sums)), where=squares > 0))


def _rows(
    sums: pl.DataFrame, by: Sequence[str], name: str, value: Floats, n_eff: Floats, n: Floats
) -> pl.DataFrame:
    """A share's interval is Wilson's of as many equal deals as tell as much."""
    low, high = wilson(value * n_eff, n_eff)
    known = ~np.isnan(value)
    prior = beta_binomial(np.where(known, value * n_eff, 0), np.where(known, n_eff, 0))
    shrunk = np.full(len(sums), np.nan) if prior is None else prior.rate(value * n_eff, n_eff)
    told = {"value": value, "n_eff": n_eff, "low": low, "high": high, "shrunk": shrunk}
    return sums.select(
        "segment",
        "won",
        pl.col("n").cast(pl.Int64),
        *(pl.Series(key, np.where(known, column, np.nan)).fill_nan(None) for key, column in told.items()),
        by=pl.lit(name_of(by)),
        name=pl.lit(name),
        kind=pl.lit("share"),
        q=pl.lit(None, dtype=pl.Float64()),
    )


def _against_the_others(won: Floats, n: Floats) -> Floats:
    """The p-value of each segment's win rate being that of all other deals (Pearson, one degree)."""
    all_won, everyone = won.sum(), n.sum()
    mean, others = all_won / max(everyone, 1), everyone - n
    variance = mean * (1 - mean) * n * np.divide(others, max(everyone, 1))
    z = np.divide(won - n * mean, np.sqrt(variance), out=np.full(len(n), np.nan), where=variance > 0)
    return np.asarray(2 * stats.norm.sf(np.abs(z)))
