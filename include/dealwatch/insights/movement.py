"""Why the win rate moved: because other deals came (mix), or because the same kind fared otherwise (rate).

Between two times, each segment's part is the sum of both, and all parts sum to the change exactly:

    rate_g = (w0 + w1) / 2 * (r1 - r0)        mix_g = (w1 - w0) * ((r0 + r1) / 2 - (R0 + R1) / 2)

with w the segment's share of what closed and r its win rate, by count or by money. A segment absent from one
time has the rate of the other, so all of its part is mix. One dimension at a time: parts of two dimensions
are two accounts of the same change and are never added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from dealwatch.insights.cohorts import horizon, too_young
from dealwatch.insights.known import Known
from dealwatch.insights.measure import NO_AMOUNTS, NOTHING_CLOSED, Measure, with_interval
from dealwatch.insights.money import refusal
from dealwatch.insights.rates import with_amount
from dealwatch.insights.segments import DIMENSIONS, POST_HOC, labelled, name_of, with_bands, without_small
from dealwatch.insights.statistics import Floats, adjusted, by_block, chance_of, draws, percentiles
from dealwatch.insights.windows import Window

CHANGE, MIX, RATE = TOTALS = ("win_rate_change", "mix_effect", "rate_effect")
SINGLE = tuple((one,) for one in DIMENSIONS if one not in POST_HOC)
FLAGGED = 0.10  # of the q-value
PUBLISHED_MINIMUM = 30  # deals of a quarter
By = Literal["count", "amount"]
Clock = Literal["closed_at", "created_at"]
CELLS = {
    "segment": pl.String(),
    "n0": pl.Int64(),
    "n1": pl.Int64(),
    "w0": pl.Float64(),
    "w1": pl.Float64(),
    "r0": pl.Float64(),
    "r1": pl.Float64(),
    "rate": pl.Float64(),
    "mix": pl.Float64(),
    "impact": pl.Float64(),
    "impact_low": pl.Float64(),
    "impact_high": pl.Float64(),
    "p": pl.Float64(),
    "q": pl.Float64(),
    "is_flagged": pl.Boolean(),
    "published": pl.Float64(),
}


@dataclass(frozen=True)
class Bridge:
    """The change of the win rate between two windows, and what it consists of by one dimension.

    cells: by segment the deals closed (n0, n1), shares (w0, w1) and win rates (r0, r1; null where nothing
        closed) of the earlier and the later window; rate, mix and impact, their sum (the Segment Impact
        Score), in percentage points; the impact's 95% interval; p of its being 0 in truth, q that adjusted
        for all segments looked at, and is_flagged, q below FLAGGED. published: the form (r1 - r0) * w1 in
        points, null with fewer than PUBLISHED_MINIMUM deals in a window: it leaves out the mix and does not
        sum to the change.
    change, mix, rate: the totals, in points; change is mix + rate, and the impacts sum to it.
    """

    by: str
    weight: By
    before: Window
    after: Window
    change: Measure
    mix: Measure
    rate: Measure
    cells: pl.DataFrame


def bridges(
    known: Known,
    before: Window,
    after: Window,
    dimensions: Sequence[Sequence[str]] = SINGLE,
    *,
    weight: By = "count",
    clock: Clock = "closed_at",
) -> list[Bridge]:
    """The same change by each dimension, q adjusted for the segments of all of them: all are looked at."""
    why = _unripe(known, after, clock)
    told = [_bridge(known, (before, after), by, weight, clock, why=why) for by in dimensions]
    sizes = [one.cells.height for one in told]
    q = adjusted(np.concatenate([_of_cells(one) for one in told])) if told else np.empty(0)
    ends = np.cumsum(sizes)
    return [
        replace(one, cells=_flagged(one.cells, q[end - size : end]))
        for one, size, end in zip(told, sizes, ends, strict=True)
    ]


def _of_cells(told: Bridge) -> Floats:
    return told.cells["p"].fill_null(np.nan).to_numpy()


def _flagged(cells: pl.DataFrame, q: Floats) -> pl.DataFrame:
    cells = cells.with_columns(q=pl.Series(q, dtype=pl.Float64).fill_nan(None))
    return cells.with_columns(is_flagged=(pl.col("q") < FLAGGED).fill_null(False))


def bridge(
    known: Known,
    before: Window,
    after: Window,
    by: Sequence[str],
    *,
    weight: By = "count",
    clock: Clock = "closed_at",
) -> Bridge:
    """The change from one window to a later one by one column, or by a pair's cells of 30 deals or more.

    Raises ValueError for windows that overlap.

    clock: which deals are a window's: those closed in it, as the win rate has it, or those created in it that
        are closed by now. When more deals of a kind come, their fast losses close first: by closing the
        shift arrives over several windows, and the kind's own rate seems to fall and to rise again. By
        creation neither happens, but a window has to be old enough for its deals to be closed.
    """
    return _bridge(known, (before, after), by, weight, clock, why=_unripe(known, after, clock))


def _unripe(known: Known, after: Window, clock: Clock) -> str:
    """Why the later window cannot be judged by its clock yet; empty when it can."""
    return too_young(known, after, horizon(known)) if clock == "created_at" else ""


def _bridge(
    known: Known, windows: tuple[Window, Window], by: Sequence[str], weight: By, clock: Clock, *, why: str
) -> Bridge:
    before, after = windows
    if before.until > after.after:
        raise ValueError(f"{before.name} is not over when {after.name} begins")
    rows = known.closed.filter(before.holds(clock) | after.holds(clock))
    refused = refusal(rows, known.settings)
    rows = labelled(with_bands(rows, refused=refused), by)
    rows = without_small(rows) if len(by) > 1 else rows
    if weight == "amount":
        rows = with_amount(rows)
    rows = rows.with_columns(is_after=after.holds(clock))
    why = why or (refused if weight == "amount" else "") or _nothing(rows, before, after, weight)
    if why:
        change, mix, rate = (Measure.null(name, why, n=rows.height, kind="points") for name in TOTALS)
        return Bridge(name_of(by), weight, before, after, change, mix, rate, pl.DataFrame(schema=CELLS))
    return _measured(rows, before, after, by, weight, known.settings.scoring.seed)


def _nothing(rows: pl.DataFrame, before: Window, after: Window, weight: By) -> str:
    """Why two times cannot be compared: one of them has no deals. Empty when both have."""
    seen = set(rows["is_after"].unique())
    named = [window.name for window, one in ((before, False), (after, True)) if one not in seen]
    reason = NO_AMOUNTS if weight == "amount" else NOTHING_CLOSED
    return f"{' and '.join(named)}: {reason}" if named else ""


def _measured(
    rows: pl.DataFrame, before: Window, after: Window, by: Sequence[str], weight: By, seed: int
) -> Bridge:
    names = rows["segment"].cast(pl.String).unique().sort()
    sums = _sums(rows, names, weight, seed)
    whole = sums.sum(axis=0, keepdims=True)
    values = _parts(whole)[0]
    drawn = draws(sums, _parts, seed=seed)
    low, high = percentiles(drawn)
    totals = zip(TOTALS, values, low, high, strict=False)
    change, mix, rate = (with_interval(*one, n=rows.height, kind="points") for one in totals)
    cells = _cells(rows, names, whole, values[3:], drawn[:, 3:])
    return Bridge(name_of(by), weight, before, after, change, mix, rate, cells)


def _sums(rows: pl.DataFrame, names: pl.Series, weight: By, seed: int) -> Floats:
    """Blocks of deals x (won0, closed0, won1, closed1 of each segment): what is drawn anew."""
    segment = rows["segment"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
    size = rows["amount"].to_numpy() if weight == "amount" else np.ones(rows.height)
    cell = segment * 2 + rows["is_after"].to_numpy()
    won = np.where(rows["won"].to_numpy(), size, 0.0)
    return by_block(cell, (won, size), cells=2 * len(names), seed=seed)


def _parts(sums: Floats) -> Floats:
    """From sums to points: change, mix, rate, then the impact of each segment."""
    rate, mix, change = decomposed(*(sums[:, n::4] for n in range(4)))
    totals = np.stack([change, mix.sum(axis=1), rate.sum(axis=1)], axis=1)
    return np.concatenate([totals, rate + mix], axis=1) * 100


def decomposed(won0: Floats, closed0: Floats, won1: Floats, closed1: Floats) -> tuple[Floats, Floats, Floats]:
    """rate_g and mix_g of each segment (columns) and the change of the whole, as shares, for each row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        all0, all1 = closed0.sum(axis=1, keepdims=True), closed1.sum(axis=1, keepdims=True)
        whole0, whole1 = won0.sum(axis=1, keepdims=True) / all0, won1.sum(axis=1, keepdims=True) / all1
        r0, r1 = won0 / closed0, won1 / closed1
        r0, r1 = np.where(closed0 > 0, r0, r1), np.where(closed1 > 0, r1, r0)
        w0, w1 = closed0 / all0, closed1 / all1
    rate = (w0 + w1) / 2 * (r1 - r0)
    mix = (w1 - w0) * ((r0 + r1) / 2 - (whole0 + whole1) / 2)
    absent = (closed0 <= 0) & (closed1 <= 0)  # of a drawn sample: it has no part then
    change = (whole1 - whole0)[:, 0]
    return np.where(absent, 0.0, rate), np.where(absent, 0.0, mix), change


def _cells(
    rows: pl.DataFrame, names: pl.Series, whole: Floats, impact: Floats, drawn: Floats
) -> pl.DataFrame:
    won0, closed0, won1, closed1 = (whole[:, n::4] for n in range(4))
    rate, mix, _ = decomposed(won0, closed0, won1, closed1)
    low, high = percentiles(drawn)
    p = chance_of(impact, drawn)
    told = {
        "w0": closed0[0] / closed0.sum(),
        "w1": closed1[0] / closed1.sum(),
        "r0": np.divide(won0[0], closed0[0], out=np.full(len(names), np.nan), where=closed0[0] > 0),
        "r1": np.divide(won1[0], closed1[0], out=np.full(len(names), np.nan), where=closed1[0] > 0),
        "rate": 100 * rate[0],
        "mix": 100 * mix[0],
        "impact": impact,
        "impact_low": low,
        "impact_high": high,
        "p": p,
    }
    counts = rows.group_by(pl.col("segment").cast(pl.String)).agg(
        n0=(~pl.col("is_after")).sum().cast(pl.Int64), n1=pl.col("is_after").sum().cast(pl.Int64)
    )
    enough = (pl.col("n0") >= PUBLISHED_MINIMUM) & (pl.col("n1") >= PUBLISHED_MINIMUM)
    cells = pl.DataFrame({"segment": names, **told}).with_columns(pl.col(pl.Float64).fill_nan(None))
    published = pl.when(enough).then(100 * (pl.col("r1") - pl.col("r0")) * pl.col("w1"))
    cells = cells.join(counts, on="segment", how="left", maintain_order="left")
    return _flagged(cells.with_columns(published=published), adjusted(p)).select(list(CELLS))
