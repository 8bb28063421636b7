"""How healthy the open pipeline is: its money-weighted chance, its coverage of a target, and what is wrong.

What is open is counted, so the shares of its money are exact for the moment.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.forecast import Forecast, Quarter
from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure
from dealwatch.insights.money import PAID, currencies, refusal
from dealwatch.insights.statistics import CENSORED, COMPETING, EVENT, aalen_johansen, effective
from dealwatch.insights.win_curves import waits
from dealwatch.moments import local_day

SLOW = 0.8  # of stays that moved on, or of wins, took less: the first levels of the rules
STEP_WITHIN_DAYS = 14
FEWEST = 30
_NOTHING = "no deal is open with an amount."

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Health:
    """ratio: money-weighted mean chance. coverage: money expected of open deals in
    the quarter / what is missing to the target.

    stalled: share of open money in a stage for longer than 80% of stays that moved on, without a next step
    in 14 days. breached: older than 80% of won deals were. overdue: the close date has passed. no_next_step:
    none is planned from today on. There is no index of all of these: parts that do not sum hide each other.
    """

    ratio: Measure
    coverage: Measure
    stalled: Measure
    breached: Measure
    overdue: Measure
    no_next_step: Measure


def health(known: Known, forecast: Forecast) -> Health:
    """The card of the open pipeline."""
    why = refusal(known.open, known.settings)
    today = local_day(known.as_of, known.settings)
    planned = pl.col("next_step_on") >= today
    soon = planned & ((pl.col("next_step_on") - pl.lit(today)).dt.total_days() <= STEP_WITHIN_DAYS)
    steps = "" if known.open["next_step_on"].is_not_null().any() else "no next step is told of any open deal."
    dates = "" if known.open["close_date"].is_not_null().any() else "no close date is told of any open deal."
    limits, no_limits = _stage_limits(known)
    slow = pl.col("days_in_stage") > pl.col("stage").cast(pl.String).replace_strict(
        limits, default=float("inf"), return_dtype=pl.Float64
    )
    age, no_age = _age_limit(known)
    return Health(
        ratio=_ratio(known, forecast, why),
        coverage=_coverage(known, forecast),
        stalled=_share("stalled_share", known, slow & ~soon.fill_null(False), why or no_limits),
        breached=_share("breached_share", known, pl.col("age_days") > age, why or no_age),
        overdue=_share("overdue_share", known, pl.col("close_date") < today, why or dates),
        no_next_step=_share("no_next_step_share", known, ~planned.fill_null(False), why or steps),
    )


def _share(name: str, known: Known, which: pl.Expr, why: str) -> Measure:
    """The share of the open money that an expression holds for; exact, so its interval is a point."""
    told = known.open.filter(pl.col("amount") > 0)
    whole = float(told["amount"].sum())
    if why or not whole > 0:
        return Measure.null(name, why or _NOTHING, n=told.height)
    share = float(told.filter(which.fill_null(False))["amount"].sum()) / whole
    return Measure(name, share, told.height, effective(told["amount"].to_numpy()), share, share)


def _ratio(known: Known, forecast: Forecast, why: str) -> Measure:
    """The published RAPV over the open money."""
    value, name = forecast.rapv.value, "pipeline_health_ratio"
    whole = float(known.open.select(PAID.sum()).item())
    if value.value is None or value.low is None or value.high is None or not whole > 0:
        return Measure.null(name, why or value.why or _NOTHING, n=value.n)
    ends = value.low / whole, value.high / whole
    return Measure(name, value.value / whole, value.n, value.n_eff, *ends)


def _coverage(known: Known, forecast: Forecast) -> Measure:
    """What this quarter's open deals are expected to bring over what is missing to the target."""
    name, quarter = "coverage", forecast.this_quarter
    told, won, target = quarter.of_open, quarter.won.value, target_of(quarter, known)
    if target is None:
        return Measure.null(
            name, f"no target is set for {quarter.window.name} in review.targets.", kind="ratio"
        )
    if told.value is None or told.low is None or told.high is None or won is None:
        return Measure.null(name, told.why, kind="ratio")
    if others := foreign(known):
        why = f"the target is in {known.settings.currency}, and deals are in {others}."
        return Measure.null(name, why, n=told.n, kind="ratio")
    missing = target - won
    if missing <= 0:
        return Measure.null(name, f"the target of {quarter.window.name} is reached.", n=told.n, kind="ratio")
    ends = told.low / missing, told.high / missing
    return Measure(name, told.value / missing, told.n, low=ends[0], high=ends[1], kind="ratio")


def target_of(quarter: Quarter, known: Known) -> float | None:
    """The money to be won in a quarter, in the organisation's currency; None where none is set."""
    return known.settings.review.targets.get(quarter.window.name)


def foreign(known: Known) -> str:
    """The currency of all money, where it is not the organisation's; else empty."""
    money = pl.concat([one.select("amount", "currency") for one in (known.closed, known.open)])
    found = currencies(money, known.settings)
    return ", ".join(found) if found not in ([], [known.settings.currency]) else ""


def _stage_limits(known: Known) -> tuple[dict[str, float], str]:
    """For each stage the days within which SLOW of the stays that move on do; a stage with few has none."""
    ended = pl.coalesce("left_at", pl.lit(known.as_of))
    how = (
        pl.when(pl.col("to") == "forward")
        .then(EVENT)
        .when(pl.col("to").is_null())
        .then(CENSORED)
        .otherwise(COMPETING)
    )
    days = (ended - pl.col("entered_at")).dt.total_microseconds() / 86_400e6
    stays = known.spells.select(pl.col("stage").cast(pl.String), days=days.clip(0.0), how=how)
    limits = {}
    for (stage,), rows in stays.group_by("stage", maintain_order=True):
        limit = _limit(rows["days"].to_numpy(), rows["how"].to_numpy())
        if limit is not None:
            limits[str(stage)] = limit
    return limits, "" if limits else f"no stage has {FEWEST} stays that moved on, to tell what is slow."


def _age_limit(known: Known) -> tuple[float, str]:
    """The age by which SLOW of the wins have come."""
    limit = _limit(*waits(known))
    return (
        (float("inf"), f"it takes {FEWEST} won deals to tell what is old.") if limit is None else (limit, "")
    )


def _limit(days: Floats, how: NDArray[np.int64]) -> float | None:
    """The days by which SLOW of the events come, among those that will (decision 0010); None of few."""
    if int((how == EVENT).sum()) < FEWEST:
        return None
    curve = aalen_johansen(days, how)
    return curve.reached(SLOW * float(curve.value[-1]))
