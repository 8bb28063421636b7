"""Everything that one review looks at, worked out once: findings, frames and tables are all made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from dealwatch.insights import figures
from dealwatch.insights.concentration import Concentration, concentration
from dealwatch.insights.cycles import Cohort, by_cohort
from dealwatch.insights.drivers import Drivers, drivers
from dealwatch.insights.figures import Stages
from dealwatch.insights.forecast import Forecast, forecast
from dealwatch.insights.health import Health, health
from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure
from dealwatch.insights.money import currencies
from dealwatch.insights.movement import Bridge, bridges
from dealwatch.insights.pace import Pace, pace
from dealwatch.insights.periods import Periods
from dealwatch.insights.rates import differences, revenue_weighted, segments, win_rate
from dealwatch.insights.reps import Reps, reps
from dealwatch.insights.segments import AMOUNT_BAND, LAST_STAGE
from dealwatch.insights.slips import Slips, slips
from dealwatch.insights.statistics import Homogeneity
from dealwatch.insights.windows import Window, last_days, quarters

# Reps are looked at apart, for managers, and never as a segment of the whole.
DIMENSIONS = (("industry",), ("region",), ("product_type",), ("lead_source",), (AMOUNT_BAND,))
COHORTS = 6  # quarters of creation


@dataclass(frozen=True)
class Looked:
    """The metrics of one review. year: the 365 days up to the moment, of which levels are told.

    by_count, by_money: the change between the two windows, a bridge a dimension; year_ago: by count, against
    the same weeks or months a year before. segments: win rates over the year; differ: whether chance explains
    their differences, by dimension.
    """

    known: Known
    times: Periods
    year: Window
    rates: Mapping[str, Measure]
    weighted: Mapping[str, Measure]
    by_count: list[Bridge]
    by_money: list[Bridge]
    year_ago: list[Bridge]
    stages: Stages
    segments: pl.DataFrame
    differ: Mapping[str, Homogeneity | None]
    drivers: Drivers
    reps: Reps
    cohorts: list[Cohort]
    slips: Slips
    slips_before: Slips
    forecast: Forecast
    health: Health
    concentration: Concentration
    pace: Pace

    @property
    def currency(self) -> str:
        """That of all money in it; several are never added up, and then it is not used."""
        money = [one.select("amount", "currency") for one in (self.known.closed, self.known.open)]
        found = currencies(pl.concat(money), self.known.settings)
        return found[0] if len(found) == 1 else self.known.settings.currency


def look(known: Known, times: Periods) -> Looked:
    """Work out all that the review of these times needs, from what is known."""
    year = last_days(known.as_of, known.settings)
    windows = {"span": times.span, "window": times.window, "before": times.before, "year": year}
    told = forecast(known)
    return Looked(
        known=known,
        times=times,
        year=year,
        rates={name: win_rate(known, window) for name, window in windows.items()},
        weighted={name: revenue_weighted(known, window) for name, window in windows.items()},
        by_count=bridges(known, times.before, times.window, DIMENSIONS),
        by_money=bridges(known, times.before, times.window, DIMENSIONS, weight="amount"),
        year_ago=bridges(known, times.year_before, times.window, DIMENSIONS),
        stages=figures.stages(known, times),
        segments=segments(known, year, (*DIMENSIONS, (LAST_STAGE,))),
        differ={by[0]: differences(known, year, by) for by in (*DIMENSIONS, (LAST_STAGE,))},
        drivers=drivers(known),
        reps=reps(known, year),
        cohorts=by_cohort(known, quarters(known.as_of, known.settings, count=COHORTS)),
        slips=slips(known, times.window),
        slips_before=slips(known, times.before),
        forecast=told,
        health=health(known, told),
        concentration=concentration(known.open["amount"].fill_null(float("nan")).to_numpy(), told.chances),
        pace=pace(known),
    )
