"""Of the deals created in a quarter, how many are won by so many days: open deals count as not over yet.

The win rate of closed deals flatters a quarter whose lost deals are still open; this one does not.
"""

from datetime import timedelta

import numpy as np
import polars as pl

from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure, share_of
from dealwatch.insights.statistics import CENSORED, COMPETING, EVENT, aalen_johansen
from dealwatch.insights.windows import Window

COHORT_WIN_RATE = "cohort_win_rate"
NOTHING_CREATED = "no deal was created in this time"
MATURE = 0.9  # share of closings that a cohort must have had the time for


def created(known: Known) -> pl.DataFrame:
    """Every deal with how long it took or has taken: created_at, days, outcome (of `aalen_johansen`)."""
    closed = known.closed.select(
        "created_at",
        days="cycle_days",
        outcome=pl.when("won").then(EVENT).otherwise(COMPETING),
    )
    running = known.open.select("created_at", days="age_days", outcome=pl.lit(CENSORED))
    # A closing dated before the deal began took no time.
    return pl.concat([closed, running]).with_columns(pl.col("days").clip(lower_bound=0.0))


def horizon(known: Known) -> float | None:
    """The days within which MATURE of all deals that ever close do, open ones censored; None without any."""
    rows = created(known)
    ended = np.where(rows["outcome"].to_numpy() == CENSORED, CENSORED, EVENT)
    curve = aalen_johansen(rows["days"].to_numpy(), ended)
    return curve.reached(MATURE * float(curve.value[-1])) if len(curve.times) else None


def too_young(known: Known, cohort: Window, days: float | None) -> str:
    """Why deals created in a window cannot be judged yet; empty once the youngest has had so many days."""
    if days is None:
        return "no deal has been closed yet"
    youngest = (known.as_of - cohort.until) / timedelta(days=1)
    if youngest >= days:
        return ""
    return f"deals take up to {days:.0f} days to close; the last of these have had {max(youngest, 0):.0f}"


def cohort_win_rate(known: Known, cohort: Window, days: float | None) -> Measure:
    """The share of the deals created in a window that is won within so many days; see `horizon`.

    Null until the youngest of them has had so many days. Then nobody is censored before the horizon, and the
    cumulative incidence of Aalen and Johansen there is a plain share with Wilson's interval.
    """
    rows = created(known).filter(cohort.holds("created_at"))
    if not rows.height:
        return Measure.null(COHORT_WIN_RATE, NOTHING_CREATED)
    if (why := too_young(known, cohort, days)) or days is None:
        return Measure.null(COHORT_WIN_RATE, why, n=rows.height)
    is_won = (pl.col("outcome") == EVENT) & (pl.col("days") <= days)
    won = rows.filter(is_won).height
    return share_of(COHORT_WIN_RATE, won, rows.height, why=NOTHING_CREATED)
