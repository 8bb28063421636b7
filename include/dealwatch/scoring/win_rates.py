"""Shares of the deals closed in the past year that were won, per owner and segment, as known at a moment.

A share of few deals says little, so each is drawn towards everyone's: (won + K x overall) / (closed + K) with
K = PRIOR_DEALS. A closed deal counts for the owner and segment it had when its closing became known: whoever
inherits a colleague's closed deals inherits no record.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.scoring.spells import GROUPING, Grid, Lives, microseconds, valid

# As much weight as twenty closed deals: an owner with twenty of their own stands half-way between both.
PRIOR_DEALS = 20
WINDOW_DAYS = 365  # by close date; docs/decisions/0033-win-rates-and-stalls.md
_DAY = 86_400_000_000  # microseconds


def win_rates(lives: Lives, grid: Grid) -> pl.DataFrame:
    """The win rates of each pair's owner, industry, region, product type and lead source, where known.

    Columns: ..._win_rate, ..._closed_deals (how many stand behind it), and win_rate, which is everyone's.
    """
    closings, current = lives.closings, lives.timeline[grid.row]
    told = [_win_rate(closings, current, grid, by=column) for column in GROUPING]
    return pl.concat([*told, _everyones(closings, grid).to_frame()], how="horizontal")


def share_won(win_rate: float, closed: float, overall: float) -> float:
    """The plain share won of so many closed deals, before their win rate was drawn to everyone's."""
    return round((closed + PRIOR_DEALS) * win_rate - PRIOR_DEALS * overall) / closed


def _win_rate(closings: pl.DataFrame, current: pl.DataFrame, grid: Grid, *, by: str) -> pl.DataFrame:
    values = pl.concat([closings[by], current[by]])
    code = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    theirs, ours = code[: len(closings)], code[len(closings) :]
    size = int(code.max(initial=0)) + 1
    is_won = (closings["status"] == "won").to_numpy()
    closed = _known(closings, theirs, grid.moments, size)
    won = _known(closings.filter(pl.Series(is_won)), theirs[is_won], grid.moments, size)
    n_all, won_all = closed.sum(axis=1)[grid.moment], won.sum(axis=1)[grid.moment]
    overall = won_all / np.maximum(n_all, 1)
    n_ours = closed[grid.moment, ours]
    rate = (won[grid.moment, ours] + PRIOR_DEALS * overall) / (n_ours + PRIOR_DEALS)
    name = by.removesuffix("_id")
    return pl.DataFrame(
        {
            f"{name}_win_rate": pl.Series(rate).set(pl.Series((n_all == 0) | (ours == 0)), None),
            f"{name}_closed_deals": pl.Series(n_ours).set(pl.Series(ours == 0), None),
        }
    )


def _everyones(closings: pl.DataFrame, grid: Grid) -> pl.Series:
    """The plain share of everyone's closed deals that were won; null where none closed."""
    is_won = (closings["status"] == "won").to_numpy().astype(np.int64)
    lost, won = _known(closings, is_won, grid.moments, 2).T
    share = pl.DataFrame({"won": won, "all": lost + won}).select(
        win_rate=pl.when(pl.col("all") > 0).then(pl.col("won") / pl.col("all"))
    )
    return share["win_rate"].gather(grid.moment)


def _known(
    closings: pl.DataFrame, code: NDArray[np.int64], moments: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """How many closings of the past WINDOW_DAYS of each code were known at each moment: moments x codes."""
    first, end = valid(closings, moments)
    aged = microseconds(closings["begun_at"]) + WINDOW_DAYS * _DAY
    end = np.clip(np.searchsorted(moments, aged, side="left"), first, end)
    cells = (len(moments) + 1) * size
    change = np.bincount(first * size + code, minlength=cells) - np.bincount(
        end * size + code, minlength=cells
    )
    return np.cumsum(change.reshape(-1, size), axis=0)[:-1]
