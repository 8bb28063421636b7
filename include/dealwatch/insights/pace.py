"""How fast the pipeline earns: money per deal-day, sales velocity, and the velocity against a year before.

The published efficiency divides by the mean cycle of what closed, which is a choice of deals whenever a
history begins or new deals stop coming. Ours divides what was won by the days that deals were open in the
same time, which needs no cycle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.cohorts import horizon
from dealwatch.insights.known import Known
from dealwatch.insights.measure import NO_AMOUNTS, NOTHING_CLOSED, TOO_FEW, Kind, Measure
from dealwatch.insights.money import PAID, refusal
from dealwatch.insights.statistics import bootstrap, effective
from dealwatch.insights.windows import Window, last_days
from dealwatch.moments import local_day
from dealwatch.warehouse import instant

FACTORS = ("open_deals", "win_rate", "won_size", "won_cycle")
_NOTHING_WON = "no deal with an amount was won in this time."
_DAY = 86_400_000_000.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pace:
    """Money a day. rem: a deal's, by the mean cycle. rem_exposure: a deal's, by days open (ours).

    velocity: all open deals' together. pvs: 100 x velocity over the year before's; factors: its four ratios
    in the order of FACTORS, whose logs sum to the log of pvs / 100, the last one being cycle before over
    after. rem_published, pvs_published: as others print them, over everything closed in the window.
    """

    rem: Measure
    rem_exposure: Measure
    velocity: Measure
    pvs: Measure
    factors: tuple[Measure, ...]
    rem_published: Measure
    pvs_published: Measure


def pace(known: Known) -> Pace:
    """The pace of the 365 days up to the moment."""
    window = last_days(known.as_of, known.settings)
    now, why = _sums(known.closed.filter(window.holds("closed_at"))), _refusal(known)
    pvs, factors = _against_the_year_before(known, window, now, why)
    rem, velocity = _of_sums(
        {"rem": 1.0, "sales_velocity": float(known.open.height)},
        known,
        now,
        lambda s: np.column_stack([_rem(s)] * 2),
        why,
    )
    published = _of_sums(
        {"rem_published": 1.0, "pvs_published": 1.0},
        known,
        _sums(known.closed),
        lambda s: np.column_stack([_rem_published(s), _pvs_published(s)]),
        why,
    )
    return Pace(rem, _exposure(known, window, why), velocity, pvs, factors, *published)


def _refusal(known: Known) -> str:
    money = ("amount", "currency")
    return refusal(pl.concat([known.closed.select(money), known.open.select(money)]), known.settings)


_CLOSED, _WON, _SIZED, _WON_MONEY, _WON_DAYS, _MONEY, _WITH_MONEY, _DAYS = range(8)


def _sums(deals: pl.DataFrame) -> Floats:
    """Closed deals x what is summed of each."""
    won, amount = pl.col("won").cast(pl.Float64), PAID.fill_null(0.0)
    told = PAID.is_not_null().cast(pl.Float64)
    days = pl.col("cycle_days")
    columns = [pl.lit(1.0), won, won * told, won * amount, won * days, amount, told, days]
    return deals.select(one.alias(str(number)) for number, one in enumerate(columns)).to_numpy()


def _ratio(above: Floats, below: Floats) -> Floats:
    found: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return found


def _rate(s: Floats) -> Floats:
    return _ratio(s[:, _WON], s[:, _CLOSED])


def _size(s: Floats) -> Floats:
    return _ratio(s[:, _WON_MONEY], s[:, _SIZED])


def _cycle(s: Floats) -> Floats:
    return _ratio(s[:, _WON_DAYS], s[:, _WON])


def _rem(s: Floats) -> Floats:
    """Win rate x mean won size / mean won cycle, of each line of sums."""
    return _ratio(_rate(s) * _size(s), _cycle(s))


def _rem_published(s: Floats) -> Floats:
    """Win rate x mean size / mean cycle of everything closed, won or lost."""
    size, cycle = _ratio(s[:, _MONEY], s[:, _WITH_MONEY]), _ratio(s[:, _DAYS], s[:, _CLOSED])
    return _ratio(_rate(s) * size, cycle)


def _pvs_published(s: Floats) -> Floats:
    """Money won / (mean cycle x deals), which is money won per day of everything closed."""
    return _ratio(s[:, _WON_MONEY], s[:, _DAYS])


def _of_sums(
    times: Mapping[str, float], known: Known, rows: Floats, statistic: Callable[[Floats], Floats], why: str
) -> list[Measure]:
    """Measures made of sums over closed deals, with intervals from drawing deals; each times a number."""
    n, values = len(rows), statistic(rows.sum(axis=0, keepdims=True))[0]
    if why or not np.isfinite(values).all():
        return [Measure.null(name, why or _missing(rows), n=n, kind="money_a_day") for name in times]
    low, high = bootstrap(rows, statistic, seed=known.settings.scoring.seed)
    n_eff = effective(rows[:, _WON_MONEY])
    return [
        _between(name, by * float(values[k]), n, n_eff, by * low[k], by * high[k], kind="money_a_day")
        for k, (name, by) in enumerate(times.items())
    ]


def _missing(rows: Floats) -> str:
    if not len(rows):
        return NOTHING_CLOSED
    return _NOTHING_WON if rows[:, _WITH_MONEY].any() else NO_AMOUNTS


def _between(
    name: str, value: float, n: int, n_eff: float | None, low: float, high: float, *, kind: Kind
) -> Measure:
    if not np.isfinite([low, high]).all():
        return Measure(name, value, n, n_eff, why=TOO_FEW, kind=kind)
    return Measure(name, value, n, n_eff, float(low), float(high), kind=kind)


def _exposure(known: Known, window: Window, why: str) -> Measure:
    """Money won in the window over all deal-days open in it: no cycle, and nobody left out for being open."""
    closed = known.closed.filter(pl.col("closed_at") > instant(window.after))
    won = PAID.fill_null(0.0) * pl.col("won")
    ended = pl.min_horizontal("closed_at", instant(window.until))
    both = pl.concat(
        [
            closed.select("created_at", ended=ended, won=won),
            known.open.select("created_at", ended=instant(window.until), won=pl.lit(0.0)),
        ]
    )
    begun = pl.max_horizontal("created_at", instant(window.after))
    days = ((pl.col("ended") - begun).dt.total_microseconds() / _DAY).clip(0.0)
    rows = both.select("won", days=days).to_numpy()
    name, n = "rem_exposure", len(rows)
    if why or not rows[:, 1].sum() > 0:
        return Measure.null(name, why or "no deal was open in this time.", n=n, kind="money_a_day")

    def a_day(s: Floats) -> Floats:
        return _ratio(s[:, 0], s[:, 1])

    value = float(a_day(rows.sum(axis=0, keepdims=True))[0])
    low, high = bootstrap(rows, a_day, seed=known.settings.scoring.seed)[:, 0]
    return _between(name, value, n, effective(rows[:, 0]), low, high, kind="money_a_day")


def _against_the_year_before(
    known: Known, window: Window, now: Floats, why: str
) -> tuple[Measure, tuple[Measure, ...]]:
    """100 x the velocity over the year before's, and its four ratios."""
    past = last_days(window.after, known.settings)
    before = _sums(known.closed.filter(past.holds("closed_at")))
    n = len(now) + len(before)
    why = why or _too_young(known, past) or _missing(now) * (not now[:, _SIZED].any())
    why = why or _missing(before) * (not before[:, _SIZED].any())
    opened = [float(_open_at(known, moment)) for moment in (known.as_of, past.until)]
    if not why and not all(opened):
        why = "no deal was open at one of the two moments."
    if why:
        nulls = tuple(Measure.null(f"pvs_{name}", why, n=n, kind="ratio") for name in FACTORS)
        return Measure.null("pvs", why, n=n, kind="index"), nulls
    rows = np.zeros((n, 2 * now.shape[1]))
    rows[: len(now), : now.shape[1]], rows[len(now) :, now.shape[1] :] = now, before

    def ratios(s: Floats) -> Floats:
        after, first = s[:, : now.shape[1]], s[:, now.shape[1] :]
        rates = _ratio(_rate(after), _rate(first))
        sizes, cycles = _ratio(_size(after), _size(first)), _ratio(_cycle(first), _cycle(after))
        opens = np.full(len(s), opened[0] / opened[1])
        return np.column_stack([100 * opens * rates * sizes * cycles, opens, rates, sizes, cycles])

    values = ratios(rows.sum(axis=0, keepdims=True))[0]
    low, high = bootstrap(rows, ratios, seed=known.settings.scoring.seed)
    pvs = _between("pvs", float(values[0]), n, None, low[0], high[0], kind="index")
    factors = (
        _between(f"pvs_{name}", float(values[k]), n, None, low[k], high[k], kind="ratio")
        for k, name in enumerate(FACTORS, start=1)
    )
    return pvs, tuple(factors)


def _too_young(known: Known, past: Window) -> str:
    """Why the year before cannot be compared with: what closed in it must not be a choice of quick deals."""
    first = pl.concat([known.closed["created_at"], known.open["created_at"]]).min()
    if not isinstance(first, datetime):
        return NOTHING_CLOSED
    wanted = past.after - timedelta(days=horizon(known) or 0.0)
    if first <= wanted:
        return ""
    began, since = local_day(first, known.settings), local_day(wanted, known.settings)
    return f"the first deal known began on {began}; a year to compare with needs deals since {since}."


def _open_at(known: Known, moment: datetime) -> int:
    begun = pl.col("created_at") <= instant(moment)
    closed = known.closed.filter(begun & (pl.col("closed_at") > instant(moment))).height
    return closed + known.open.filter(begun).height
