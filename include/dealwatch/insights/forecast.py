"""What will be won: the open deals' worth by the least biased variant, and two quarters' money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure
from dealwatch.insights.money import PAID, refusal
from dealwatch.insights.rapv import VARIANTS, Rapv, rapv
from dealwatch.insights.replay import Record, past_origins, replayed
from dealwatch.insights.statistics import Z
from dealwatch.insights.win_curves import WinCurves, win_curves
from dealwatch.insights.windows import Window, earlier, last_days, quarter_of
from dealwatch.moments import local_day

Floats = NDArray[np.float64]
UNJUDGED = "survival"  # published while no variant has a record: it claims least
_A_DAY = timedelta(days=1)
_LATELY = 90  # days; new deals are expected to begin as often as in these


@dataclass(frozen=True)
class Quarter:
    """Money of a quarter: won so far, to come of open deals, of deals not yet begun, and all."""

    window: Window
    won: Measure
    of_open: Measure
    of_new: Measure
    total: Measure


@dataclass(frozen=True)
class Forecast:
    """All variants with their records, which of them is published and why, and two quarters by it.

    chances: of each open deal to be won in the end, by the published variant.
    """

    variants: Mapping[str, Rapv]
    records: Mapping[str, Record]
    published: str
    why: str
    chances: Floats
    this_quarter: Quarter
    next_quarter: Quarter

    @property
    def rapv(self) -> Rapv:
        return self.variants[self.published]


def forecast(known: Known, origins: Sequence[Known] | None = None) -> Forecast:
    """The forecast at the moment; origins: what was known at the months to judge by, else rewound from it."""
    chances = {variant: told(known) for variant, told in VARIANTS.items()}
    records = replayed(known, past_origins(known) if origins is None else origins)
    variants = {variant: rapv(known, variant, p) for variant, p in chances.items()}
    published, why = least_biased(variants, records)
    this = quarter_of(local_day(known.as_of, known.settings), known.settings)
    following = quarter_of(local_day(this.until + _A_DAY, known.settings), known.settings)
    quarters = [_quarter(known, window, chances[published]) for window in (this, following)]
    return Forecast(variants, records, published, why, chances[published], *quarters)


def least_biased(variants: Mapping[str, Rapv], records: Mapping[str, Record]) -> tuple[str, str]:
    """The variant to publish, among those with a value now, and why."""
    is_open = any(one.value.value is not None for one in variants.values())
    judged = [
        (abs(record.bias.value), variant)
        for variant, record in records.items()
        if record.bias.value is not None and (variants[variant].value.value is not None or not is_open)
    ]
    if not judged:
        return UNJUDGED, f"no variant has a record yet: {records[UNJUDGED].bias.why}"
    _, best = min(judged, key=lambda one: one[0])
    bias = records[best].bias
    return best, (
        f"least biased of {len(judged)} variants over {records[best].moments} months: "
        f"{bias.value:+.1%} ({bias.low:+.1%} to {bias.high:+.1%})"
    )


def came(known: Known) -> tuple[Window, Measure]:
    """The quarter that was over last, and the money won in it: what forecasts of it are held against."""
    this = quarter_of(local_day(known.as_of, known.settings), known.settings)
    over = earlier(this, known.settings)
    why = _no_money(known) or ("" if known.closed.height else "no deal has closed yet.")
    if why:
        return over, Measure.null(_NAMES[0], why, kind="money")
    deals = known.closed.filter(over.holds("closed_at"), pl.col("won"), pl.col("amount") > 0)
    return over, _around(_NAMES[0], float(deals["amount"].sum()), 0.0, 0.0, deals.height)


def _no_money(known: Known) -> str:
    money = ("amount", "currency")
    return refusal(pl.concat([known.open.select(money), known.closed.select(money)]), known.settings)


def _quarter(known: Known, window: Window, chances: Floats) -> Quarter:
    """Expected money of one quarter; the interval takes the chances as right."""
    why = _no_money(known)
    curves = win_curves(known)
    if not why and curves is None:
        why = "no deal has closed yet."
    if why or curves is None:
        return Quarter(window, *(Measure.null(name, why, kind="money") for name in _NAMES))
    deals = known.closed.filter(window.holds("closed_at"), pl.col("won"), pl.col("amount") > 0)
    won = float(deals["amount"].sum())
    start = max((window.after - known.as_of) / _A_DAY, 0.0)
    end = max((window.until - known.as_of) / _A_DAY, 0.0)
    n_open, of_open, spread = _of_open(known, curves, chances, start, end)
    begun, of_new, spread_new = _of_new(known, curves, start, end)
    return Quarter(
        window,
        _around(_NAMES[0], won, 0.0, 0.0, deals.height),
        _around(_NAMES[1], of_open, spread, 0.0, n_open),
        _around(_NAMES[2], of_new, spread_new, 0.0, begun),
        _around(_NAMES[3], won + of_open + of_new, spread + spread_new, won, deals.height + n_open + begun),
    )


_NAMES = ("revenue_won", "revenue_of_open", "revenue_of_new", "revenue_expected")


def _of_open(
    known: Known, curves: WinCurves, chances: Floats, start: float, end: float
) -> tuple[int, float, float]:
    """Deals, expected money and its variance: each deal's chance, times its share in the quarter."""
    ever, here = curves.ever(), curves.between(start, end)
    share = np.divide(here, ever, out=np.zeros_like(here), where=ever > 0)
    p = np.nan_to_num(np.where(np.isnan(chances), ever, chances) * np.nan_to_num(share))
    a = known.open.select(PAID.fill_null(0.0)).to_series().to_numpy()
    told = int((a > 0).sum())
    return told, float((a * p).sum()), float((a**2 * p * (1 - p)).sum())


def _of_new(known: Known, curves: WinCurves, start: float, end: float) -> tuple[int, float, float]:
    """Deals that began lately, expected money of those that will begin as often, and its variance.

    Their number is Poisson's, and so is the number of those that began lately, which is all we know of it.
    """
    lately, year = (
        last_days(known.as_of, known.settings, days).holds("created_at") for days in (_LATELY, 365)
    )
    rows = [frame.select("created_at", "amount") for frame in (known.closed, known.open)]
    deals = pl.concat(rows).filter(pl.col("amount") > 0)
    n, sizes = deals.filter(lately).height, deals.filter(year)["amount"].to_numpy()
    if not n:
        return 0, 0.0, 0.0
    begin = curves.everyone.wins_of_newcomers
    wins = (begin(end) - begin(start)) / _LATELY
    size, square = float(sizes.mean()), float((sizes**2).mean())
    return n, n * wins * size, n * wins * square + n * (wins * size) ** 2


def _around(name: str, value: float, variance: float, least: float, n: int) -> Measure:
    half = Z * float(np.sqrt(variance))
    low = min(max(value - half, least), value)
    return Measure(name, value, n, low=low, high=value + half, kind="money")
