"""How wrong each variant of the forecast was: told again at earlier moments, and held against what came.

A moment counts once nearly all money open then has closed; the deals still open are left out of both sides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.known import SCORES, Known
from dealwatch.insights.measure import Measure
from dealwatch.insights.money import PAID, refusal
from dealwatch.insights.rapv import VARIANTS, expected
from dealwatch.insights.statistics import bootstrap
from dealwatch.moments import local_day, morning_of
from dealwatch.warehouse import instant

ORIGINS = 12
RIPE = 0.9  # of the money open at a moment must have closed since
FEWEST_MOMENTS = 3
FEWEST_CLOSED = 200  # deals to learn from at a moment

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """One variant at one moment, over the deals closed since: as shares of their money."""

    as_of: datetime
    variant: str
    deals: int
    money: float
    forecast: float
    came: float
    is_covered: bool


@dataclass(frozen=True)
class Record:
    """What forecasts were worth. bias: all money forecast / all that came - 1, over `moments` moments.

    error: the mean size of the error of one moment. covered: share of moments at which what came lay within
    the interval; moments share deals, so it has no interval of its own.
    """

    variant: str
    moments: int
    bias: Measure
    error: Measure
    covered: Measure
    told: tuple[Told, ...] = ()


def month_starts(known: Known, count: int | None = None) -> list[datetime]:
    """The first mornings of months before the moment, the oldest first, as far as deals go back."""
    first = known.closed["closed_at"].min()
    found: list[datetime] = []
    day = local_day(known.as_of, known.settings).replace(day=1)
    while isinstance(first, datetime) and morning_of(day, known.settings) > first:
        if (moment := morning_of(day, known.settings)) < known.as_of:
            found.append(moment)
        day = (day - timedelta(days=1)).replace(day=1)
        if len(found) == count:
            break
    return found[::-1]


def rewound(known: Known, moment: datetime, scores: pl.DataFrame | None = None) -> Known:
    """What was open and closed at an earlier moment, with the amounts of then; spells and moves are left out.

    A review reads the ledger once; reading it at twelve moments more would take twelve times as long. What
    this cannot tell apart from an exact reading: what was told late, deals deleted since, closings taken
    back since, and segments changed since. scores: as in SCORES, of mornings up to the moment.
    """
    then = instant(moment)
    both = pl.concat(
        [known.closed.drop("last_stage", "cycle_days"), known.open.select(_SHARED)], how="diagonal"
    ).filter(pl.col("created_at") <= then)
    is_open = pl.col("closed_at").is_null() | (pl.col("closed_at") > then)
    later = (
        known.moves.filter(pl.col("field") == "amount", pl.col("happened_at") > then)
        .group_by("deal_id", maintain_order=True)
        .agg(then_amount=pl.col("old").first().cast(pl.Float64), moved=pl.lit(True))
    )
    opened = (
        both.filter(is_open)
        .join(later, on="deal_id", how="left", maintain_order="left")
        .with_columns(
            amount=pl.when(pl.col("moved")).then("then_amount").otherwise("amount"),
            age_days=(then - pl.col("created_at")).dt.total_microseconds() / 86_400e6,
        )
        .drop("then_amount", "moved", "won", "closed_at")
    )
    given = pl.DataFrame(schema=SCORES) if scores is None else scores
    return replace(
        known,
        as_of=moment,
        closed=known.closed.filter(pl.col("closed_at") <= then),
        open=opened.sort("deal_id").join(given, on="deal_id", how="left", maintain_order="left"),
        spells=known.spells.clear(),
        moves=known.moves.clear(),
    )


_SHARED = (
    "deal_id",
    "created_at",
    "amount",
    "currency",
    "owner_id",
    "industry",
    "region",
    "product_type",
    "lead_source",
)


def replayed(known: Known, origins: Sequence[Known]) -> dict[str, Record]:
    """Each variant's record over the origins that are ripe at the moment of what is known.

    A variant without chances at some of them (a model that came later) is judged by the others.
    """
    why = refusal(known.closed, known.settings)
    ripe = [] if why else [one for one in (_outcomes(known, origin) for origin in origins) if one is not None]
    why = why or _too_few(len(ripe))
    return {variant: _record(variant, ripe, known, why) for variant in VARIANTS}


def past_origins(
    known: Known, count: int = ORIGINS, *, scores: Callable[[datetime], pl.DataFrame] | None = None
) -> list[Known]:
    """The newest `count` starts of months that are ripe, rewound; fewer where history is short.

    scores: what the newest scored morning by a moment said, as `known.scores_by` reads it; without it the
    model has no record.
    """
    found: list[Known] = []
    for moment in reversed(month_starts(known)):
        origin = rewound(known, moment, scores(moment) if scores else None)
        if origin.closed.height < FEWEST_CLOSED or len(found) == count:
            break
        if _outcomes(known, origin) is not None:
            found.append(origin)
    return found[::-1]


def _too_few(moments: int) -> str:
    if moments >= FEWEST_MOMENTS:
        return ""
    return f"it can be judged by {moments} earlier months; it takes {FEWEST_MOMENTS}."


def _outcomes(known: Known, origin: Known) -> tuple[Known, pl.DataFrame] | None:
    """The origin, and for each of its open deals whether it was won (null: still open); None if unripe."""
    came = known.closed.select("deal_id", "won")
    rows = origin.open.select("deal_id", PAID).join(came, on="deal_id", how="left", maintain_order="left")
    whole = float(rows["amount"].sum())
    closed = float(rows.filter(pl.col("won").is_not_null())["amount"].sum())
    is_ripe = origin.closed.height >= FEWEST_CLOSED and whole > 0 and closed >= RIPE * whole
    return (origin, rows) if is_ripe else None


def _record(variant: str, ripe: Sequence[tuple[Known, pl.DataFrame]], known: Known, why: str) -> Record:
    rows = [(origin.as_of, _rows(variant, origin, came)) for origin, came in ripe]
    rows = [(moment, one) for moment, one in rows if len(one)]
    why = why or _too_few(len(rows))
    if why:
        return _unknown(variant, len(rows), why)
    told = tuple(_told(variant, moment, one) for moment, one in rows)
    every = pl.concat([one for _, one in rows])
    deals = every["deal_id"].rank("dense").to_numpy().astype(np.int64) - 1
    sums = every.select(pl.col("p", "won") * pl.col("amount")).to_numpy()
    n = int(deals.max()) + 1
    forecast, came = sums.sum(axis=0)
    low, high = bootstrap(sums, _bias, seed=known.settings.scoring.seed, clusters=deals)[:, 0]
    if not np.isfinite([low, high]).all():
        return _unknown(variant, len(rows), "too little was won to judge by.")
    errors = [abs(one.forecast - one.came) / one.came for one in told if one.came > 0]
    return Record(
        variant,
        len(told),
        Measure(
            "forecast_bias", float(forecast / came - 1), n, low=float(low), high=float(high), kind="ratio"
        ),
        Measure("forecast_error", float(np.mean(errors)), n, why=_SHARED_DEALS, kind="ratio"),
        Measure("forecast_covered", float(np.mean([one.is_covered for one in told])), n, why=_SHARED_DEALS),
        told,
    )


_SHARED_DEALS = "the moments share deals, so they are no sample of their own."


def _unknown(variant: str, moments: int, why: str) -> Record:
    bias = Measure.null("forecast_bias", why, kind="ratio")
    error = Measure.null("forecast_error", why, kind="ratio")
    return Record(variant, moments, bias, error, Measure.null("forecast_covered", why))


def _bias(s: Floats) -> Floats:
    found: Floats = np.divide(s[:, 0], s[:, 1], out=np.full(len(s), np.nan), where=s[:, 1] > 0) - 1
    return found


def _rows(variant: str, origin: Known, came: pl.DataFrame) -> pl.DataFrame:
    """deal_id, amount, p and won of the deals that have closed since; none if one of them has no chance."""
    rows = came.with_columns(p=pl.Series(VARIANTS[variant](origin)))
    rows = rows.filter(pl.col("won").is_not_null(), pl.col("amount").is_not_null())
    return rows.clear() if rows["p"].is_nan().any() else rows.cast({"won": pl.Float64})


def _told(variant: str, as_of: datetime, rows: pl.DataFrame) -> Told:
    a, p, won = (rows[name].to_numpy() for name in ("amount", "p", "won"))
    value, low, high = expected(a, p)
    came, whole = float((a * won).sum()), float(a.sum())
    return Told(as_of, variant, len(a), whole, value / whole, came / whole, low <= came <= high)
