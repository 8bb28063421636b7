"""Whether some months of the year win more than others; asked only of two whole years and more.

One year cannot tell a season from a trend: each month is compared with the other months of the same year.
"""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from dealwatch.insights.known import Known
from dealwatch.insights.measure import Kind, Measure, share_of
from dealwatch.insights.statistics import Z, adjusted
from dealwatch.moments import local_day

SEASONS: dict[str, Kind] = {"season_win_rate": "share", "season_points": "points"}
YEARS = 2
FEWEST = 30  # closed deals of a month of the year, all years together
SURE = 0.05
FALSE_SHARE = 0.10
Floats = NDArray[np.float64]
_MONTHS = 12
_NOTHING = "no deal was closed in these months."
NO_SEASONS = "no evidence of seasons: months of the same year differ as chance makes them."


@dataclass(frozen=True)
class Month:
    """A month of the year: its win rate over all years, and what it adds to that of its years in points.

    q: the share of false ones among months at least as clear.
    """

    month: int
    win_rate: Measure
    points: Measure
    q: float

    @property
    def is_found(self) -> bool:
        return self.q < FALSE_SHARE


@dataclass(frozen=True)
class Seasons:
    """The twelve months, and the p-value of no seasons; empty and None without two whole years, and why."""

    months: tuple[Month, ...]
    years: int
    p: float | None
    why: str = ""


def seasons(known: Known) -> Seasons:
    """The months of the whole years up to the moment, each year ending with the last whole month."""
    ends = local_day(known.as_of, known.settings).replace(day=1)
    begins = known.closed["closed_at"].min()
    first = local_day(begins, known.settings) if isinstance(begins, datetime) else ends
    years = ends.year - first.year - ((ends.month, 1) < (first.month, first.day))
    if years < YEARS:
        years = max(years, 0)
        told = f"{years} whole year{'' if years == 1 else 's'} of closed deals; it takes {YEARS}."
        return Seasons((), years, None, told)
    won, closed = _by_month(known, ends, years)
    has = closed.sum(axis=0) >= FEWEST
    if has.sum() < 2:
        return Seasons((), years, None, f"no two months of the year have {FEWEST} closed deals.")
    more, spread, p = within_years(won[:, has], closed[:, has])
    sd = np.sqrt(np.diag(spread))
    q = adjusted(2 * stats.norm.sf(np.divide(np.abs(more), sd, out=np.zeros_like(sd), where=sd > 0)))
    months = tuple(
        _month(int(month), won, closed, (float(more[k]), float(sd[k])), float(q[k]))
        for k, month in enumerate(np.flatnonzero(has))
    )
    return Seasons(months, years, p, "" if p < SURE else NO_SEASONS)


def within_years(won: Floats, closed: Floats) -> tuple[Floats, Floats, float]:
    """Wins of each month beyond its years' rates, their covariance by chance, and the p-value of no seasons.

    won, closed: years x months. Of one year alone it is Pearson's chi-square.
    """
    whole = np.maximum(closed.sum(axis=1), 1.0)
    rate = won.sum(axis=1) / whole
    noise = rate * (1 - rate)
    more = (won - closed * rate[:, None]).sum(axis=0)
    spread = np.diag(noise @ closed) - (closed * (noise / whole)[:, None]).T @ closed
    inverse = np.linalg.pinv(spread, rcond=1e-9, hermitian=True)
    p = float(stats.chi2.sf(more @ inverse @ more, max(closed.shape[1] - 1, 1)))
    return more, spread, p


def _by_month(known: Known, ends: date, years: int) -> tuple[Floats, Floats]:
    """Won and closed deals of each year back from `ends` and month of the year: years x 12."""
    day = pl.col("closed_at").dt.convert_time_zone(known.settings.time_zone).dt.date()
    begins = ends.replace(year=ends.year - years)
    rows = known.closed.select("won", day=day).filter(pl.col("day").is_between(begins, ends, closed="left"))
    month = rows["day"].dt.month().to_numpy().astype(np.int64) - 1
    year = rows["day"].dt.year().to_numpy() - begins.year - (month < begins.month - 1)
    place = year * _MONTHS + month
    shape = (years, _MONTHS)
    closed: Floats = np.bincount(place, minlength=years * _MONTHS).astype(np.float64).reshape(shape)
    won = np.bincount(place, weights=rows["won"].to_numpy(), minlength=years * _MONTHS)
    return won.astype(np.float64).reshape(shape), closed


def _month(place: int, won: Floats, closed: Floats, more: tuple[float, float], q: float) -> Month:
    """A month's rate, and the points by which it differs from its years' rates; more: wins, and their sd."""
    k, n = int(won[:, place].sum()), int(closed[:, place].sum())
    points, half = 100 * more[0] / n, 100 * Z * more[1] / n
    added = Measure("season_points", points, n, low=points - half, high=points + half, kind="points")
    return Month(place + 1, share_of("season_win_rate", k, n, why=_NOTHING), added, q)
