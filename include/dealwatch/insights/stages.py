"""Where in the process deals go on, and where they are lost; a stage's losses beside what passes through it.

A stage's share of all losses alone mirrors its volume: the stage that most deals enter loses most. So it is
told beside the hazard (losses per entry) and the excess over what the same hazard everywhere would lose.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from dealwatch.insights.known import Known
from dealwatch.insights.measure import NO_AMOUNTS, Kind, Measure, measured, share_of, with_interval
from dealwatch.insights.money import refusal
from dealwatch.insights.segments import UNKNOWN
from dealwatch.insights.statistics import Floats, adjusted, by_block, chance_of, draws, percentiles, wilson
from dealwatch.insights.windows import Window

CONVERSION, STAGE_WIN_RATE = "stage_conversion", "stage_win_rate"
LOSS_SHARE, LOSS_SHARE_BY_MONEY = "stage_loss_share", "stage_loss_share_by_money"
HAZARD, EXCESS, HAZARD_CHANGE = "stage_hazard", "stage_excess_loss", "stage_hazard_change"
LOSS_SHARE_CHANGE = "stage_loss_share_change"
KINDS: dict[str, Kind] = {
    HAZARD: "ratio",
    EXCESS: "count",
    HAZARD_CHANGE: "points",
    LOSS_SHARE_CHANGE: "points",
}
NO_HISTORY = "the source tells no history of stages"
NO_EXITS = "no deal left this stage in this time"
NO_ENTRIES = "no deal entered this stage in this time"
NO_CLOSINGS = "no deal that entered this stage was closed in this time"
NOTHING_LOST = "no deal was lost in this time"


def conversion(known: Known, window: Window) -> pl.DataFrame:
    """Of each stage's exits in a window, the share forwards, a win included; open stays are no exits.

    Measures by `stage`. n counts exits; the interval is that of so many deals, whose visits go together.
    """
    if not known.stages:
        return _of_no_stage(CONVERSION)
    exits = known.spells.filter(window.holds("left_at"))
    counts = exits.group_by(_stage()).agg(
        n=pl.len(),
        deals=pl.col("deal_id").n_unique(),
        forward=pl.col("to").cast(pl.String).is_in(["forward", "won"]).sum(),
    )
    told = {row["stage"]: row for row in counts.iter_rows(named=True)}
    return _by_stage(known, [_conversion(told.get(stage)) for stage in known.stages])


def _conversion(row: dict[str, int] | None) -> Measure:
    if row is None:
        return Measure.null(CONVERSION, NO_EXITS)
    share, deals = row["forward"] / row["n"], row["deals"]
    low, high = wilson(share * deals, deals)
    return Measure(CONVERSION, share, row["n"], n_eff=float(deals), low=float(low), high=float(high))


def stage_win_rates(known: Known, window: Window) -> pl.DataFrame:
    """The win rate of the deals closed in a window that ever entered each stage, by `stage`."""
    if not known.stages:
        return _of_no_stage(STAGE_WIN_RATE)
    closed = known.closed.filter(window.holds("closed_at")).select("deal_id", "won")
    entered = known.spells.select("deal_id", "stage").join(closed, on="deal_id", how="inner")
    counts = entered.unique(["deal_id", "stage"]).group_by(_stage()).agg(n=pl.len(), won=pl.col("won").sum())
    told = {stage: (won, n) for stage, n, won in counts.iter_rows()}
    shares = [share_of(STAGE_WIN_RATE, *told.get(one, (0, 0)), why=NO_CLOSINGS) for one in known.stages]
    return _by_stage(known, shares)


def loss_shares(known: Known, window: Window) -> pl.DataFrame:
    """Of the deals lost in a window, the share whose last open stage each was, by count and by money.

    Measures by `stage`; each name's shares sum to 1, deals of which no stage is known among them.
    """
    lost = _lost(known, window)
    paid = lost.filter(pl.col("amount") > 0)
    refused = refusal(paid, known.settings)
    money = paid.group_by("stage").agg(pl.col("amount").sum(), squares=(pl.col("amount") ** 2).sum())
    counts = dict(lost.group_by("stage").len().iter_rows())
    names = _names(known, lost["stage"])
    by_money = {stage: amount for stage, amount, _ in money.iter_rows()}
    whole, squares = float(money["amount"].sum()), float(money["squares"].sum())
    told = [share_of(LOSS_SHARE, counts.get(one, 0), lost.height, why=NOTHING_LOST) for one in names]
    for one in names:
        if refused or not whole:
            told.append(Measure.null(LOSS_SHARE_BY_MONEY, refused or NO_AMOUNTS, n=paid.height))
        else:
            told.append(_of_money(by_money.get(one, 0.0) / whole, paid.height, whole**2 / squares))
    return measured(told, stage=names * 2)


def loss_share_changes(known: Known, before: Window, after: Window) -> pl.DataFrame:
    """How much each stage's share of all losses rose from one window to another, in points, by `stage`.

    The changes sum to 0. n counts the deals lost in both windows together; `p` and `q` as in `hazards`.
    """
    parts = [_lost(known, window).with_columns(time=time) for time, window in enumerate((before, after))]
    lost = pl.concat(parts)
    names = _names(known, lost["stage"])
    if lost["time"].n_unique() < 2:
        return _of_no_stage(LOSS_SHARE_CHANGE, why=NOTHING_LOST)
    stage = lost["stage"].replace_strict({one: n for n, one in enumerate(names)}, return_dtype=pl.Int64)
    cell = stage.to_numpy() * 2 + lost["time"].to_numpy()
    seed = known.settings.scoring.seed
    sums = by_block(cell, (np.ones(len(cell)),), cells=2 * len(names), seed=seed)

    def change(drawn: Floats) -> Floats:
        first, then = (part / part.sum(axis=1, keepdims=True) for part in (drawn[:, 0::2], drawn[:, 1::2]))
        return np.asarray(100 * (then - first))

    counts = np.full(len(names), float(lost.height))
    return told_of(names, LOSS_SHARE_CHANGE, change, sums, counts, seed=seed)


def _names(known: Known, seen: pl.Series) -> list[str]:
    """The stages in order, and behind them those without a place in it."""
    return [*known.stages, *sorted(set(seen) - set(known.stages))]


def _of_money(share: float, n: int, n_eff: float) -> Measure:
    low, high = wilson(share * n_eff, n_eff)
    return Measure(LOSS_SHARE_BY_MONEY, share, n, n_eff=n_eff, low=float(low), high=float(high))


def hazards(known: Known, window: Window) -> pl.DataFrame:
    """Losses per entry of each stage, and the losses beyond what the mean of all stages would lose.

    Measures by `stage`, with `p` and, adjusted for all stages, `q` of the excess being none in truth. Losses
    are of deals lost in the window, entries are visits that began in it; intervals by drawing deals. n counts
    entries. Excess losses sum to 0. Early stages lose more almost everywhere: a leak is a change, see
    `hazard_changes`.
    """
    if not known.stages:
        return _of_no_stage(HAZARD, EXCESS)
    sums = _flows(known, [window])
    entries = sums.sum(axis=0)[1::2]
    rows = []
    for name, of in ((HAZARD, _hazard), (EXCESS, _excess)):
        rows.append(told_of(known.stages, name, of, sums, entries, seed=known.settings.scoring.seed))
    return pl.concat(rows)


def hazard_changes(known: Known, before: Window, after: Window) -> pl.DataFrame:
    """How much each stage's hazard rose from one window to another, in points: losses per 100 entries.

    Measures by `stage`, with `p` and `q` as in `hazards`: this is what tells a leak from a stage as it is.
    """
    if not known.stages:
        return _of_no_stage(HAZARD_CHANGE)
    sums = _flows(known, [before, after])
    half = 2 * len(known.stages)
    entries = np.minimum(*(sums.sum(axis=0)[start : start + half][1::2] for start in (0, half)))

    def change(drawn: Floats) -> Floats:
        return 100 * (_hazard(drawn[:, half:]) - _hazard(drawn[:, :half]))

    return told_of(known.stages, HAZARD_CHANGE, change, sums, entries, seed=known.settings.scoring.seed)


def _hazard(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, 0::2] / sums[:, 1::2])


def _excess(sums: Floats) -> Floats:
    losses, entries = sums[:, 0::2], sums[:, 1::2]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = losses.sum(axis=1, keepdims=True) / entries.sum(axis=1, keepdims=True)
        return np.asarray(losses - entries * mean)


def told_of(
    stages: Sequence[str],
    name: str,
    of: Callable[[Floats], Floats],
    sums: Floats,
    entries: Floats,
    *,
    seed: int,
) -> pl.DataFrame:
    """A figure of each stage; `p` and `q` where 0 would mean that nothing is to be told."""
    values = of(sums.sum(axis=0, keepdims=True))[0]
    drawn = draws(sums, of, seed=seed)
    low, high = percentiles(drawn)
    p = np.full(len(values), np.nan) if name == HAZARD else chance_of(values, drawn)
    columns = zip(values, low, high, entries, strict=True)
    told = [_one(name, *(float(one) for one in column)) for column in columns]
    return measured(told, stage=list(stages)).with_columns(
        p=pl.Series(p).fill_nan(None), q=pl.Series(adjusted(p)).fill_nan(None)
    )


def _one(name: str, value: float, low: float, high: float, entries: float) -> Measure:
    if not entries:
        return Measure.null(name, NO_ENTRIES, kind=KINDS[name])
    return with_interval(name, value, low, high, n=int(entries), kind=KINDS[name])


def loss_counts(known: Known, window: Window) -> dict[str, tuple[float, float]]:
    """Losses and entries of each stage in a window, as `hazards` takes them."""
    if not known.stages:
        return {}
    sums = _flows(known, [window]).sum(axis=0)
    return dict(zip(known.stages, zip(sums[0::2].tolist(), sums[1::2].tolist(), strict=True), strict=True))


def _flows(known: Known, windows: Sequence[Window]) -> Floats:
    """Blocks of deals x (losses, entries of each stage in order, for each window in turn)."""
    places = {stage: place for place, stage in enumerate(known.stages)}
    parts = []
    for number, window in enumerate(windows):
        entered = known.spells.filter(window.holds("entered_at")).select("deal_id", _stage())
        for is_entry, rows in enumerate((_lost(known, window).select("deal_id", "stage"), entered)):
            place = pl.col("stage").replace_strict(places, default=None, return_dtype=pl.Int64)
            start = 2 * len(places) * number + is_entry
            parts.append(rows.select("deal_id", place=start + 2 * place).drop_nulls("place"))
    rows = pl.concat(parts)
    deals = rows.select(pl.col("deal_id").unique(maintain_order=True)).with_row_index("deal")
    rows = rows.join(deals, on="deal_id", how="left", maintain_order="left")
    return by_block(
        rows["place"].to_numpy(),
        (np.ones(rows.height),),
        cells=2 * len(places) * len(windows),
        seed=known.settings.scoring.seed,
        deal=rows["deal"].to_numpy().astype(np.int64),
    )


def _lost(known: Known, window: Window) -> pl.DataFrame:
    """The deals lost in a window: deal_id, amount, currency, stage, the last open one in words."""
    lost = known.closed.filter(window.holds("closed_at") & ~pl.col("won"))
    return lost.select("deal_id", "amount", "currency", stage=_stage("last_stage").fill_null(UNKNOWN))


def _stage(column: str = "stage") -> pl.Expr:
    return pl.col(column).cast(pl.String).alias("stage")


def _by_stage(known: Known, measures: Sequence[Measure]) -> pl.DataFrame:
    return measured(measures, stage=list(known.stages))


def _of_no_stage(*names: str, why: str = NO_HISTORY) -> pl.DataFrame:
    """One row of no stage for each figure, which says why there is none."""
    none = [Measure.null(name, why, kind=KINDS.get(name, "share")) for name in names]
    rows = measured(none, stage=[UNKNOWN] * len(names))
    return rows.with_columns(p=pl.lit(None, dtype=pl.Float64()), q=pl.lit(None, dtype=pl.Float64()))
