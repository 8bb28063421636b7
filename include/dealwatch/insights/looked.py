"""Everything that one review looks at, worked out once: findings, frames and tables are all made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dealwatch.insights import figures, same_mix
from dealwatch.insights.chances import p_of
from dealwatch.insights.cohorts import horizon, too_young
from dealwatch.insights.concentration import Concentration, concentration
from dealwatch.insights.cycles import Cohort, by_cohort, chosen
from dealwatch.insights.drivers import Drivers, drivers
from dealwatch.insights.figures import Stages
from dealwatch.insights.forecast import Forecast, forecast
from dealwatch.insights.health import Health, health
from dealwatch.insights.intake import Intake, intake
from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure
from dealwatch.insights.money import currencies, refusal
from dealwatch.insights.movement import Bridge, bridges
from dealwatch.insights.pace import Pace, pace
from dealwatch.insights.periods import Periods
from dealwatch.insights.rates import differences, revenue_weighted, segments, win_rate
from dealwatch.insights.reps import Reps, reps
from dealwatch.insights.seasons import Seasons, seasons
from dealwatch.insights.segments import AMOUNT_BAND, LAST_STAGE
from dealwatch.insights.slips import Slips, slips
from dealwatch.insights.statistics import Homogeneity
from dealwatch.insights.windows import Window, earlier, last_days, quarters

# Reps are looked at apart, for managers, and never as a segment of the whole.
DIMENSIONS = (("industry",), ("region",), ("product_type",), ("lead_source",), (AMOUNT_BAND,))
COHORTS = 6  # quarters of creation
MAY_BE_CHANCE = 0.05  # a mix that moved less surely is not held


@dataclass(frozen=True)
class Compared:
    """What is known of two windows, side by side.

    by_count: the change between the two windows, a bridge a dimension. bent: why what closed in the times
    compared is a choice of deals, empty when it is not; by "before" and "year before". intake: deals created,
    by segment. same_mix: the column whose mix moved, and the stages' changes at the same mix of it.
    """

    known: Known
    times: Periods
    rates: Mapping[str, Measure]
    by_count: list[Bridge]
    bent: Mapping[str, str]
    intake: Intake
    stages: Stages
    same_mix: tuple[str, pl.DataFrame] | None


@dataclass(frozen=True)
class Looked(Compared):
    """The metrics of one review. year: the 365 days up to the moment, of which levels are told.

    by_money: as by_count; year_ago: by count, against the same weeks or months a year before; by_creation:
    between the two newest quarters of creation that are old enough. segments: win rates over the year;
    differ: whether chance explains their differences, by dimension.
    """

    year: Window
    weighted: Mapping[str, Measure]
    by_money: list[Bridge]
    year_ago: list[Bridge]
    by_creation: list[Bridge]
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
    seasons: Seasons

    @property
    def currency(self) -> str:
        """That of all money in it; empty when there are several, and then nothing is said of money."""
        found = currencies(self._money, self.known.settings)
        return found[0] if len(found) == 1 else self.known.settings.currency if not found else ""

    @property
    def no_money(self) -> str:
        """Why nothing is said of money; empty when it is."""
        return refusal(self._money, self.known.settings)

    @property
    def _money(self) -> pl.DataFrame:
        deals = (self.known.closed, self.known.open)
        return pl.concat([one.select("amount", "currency") for one in deals])


def look(
    known: Known,
    times: Periods,
    *,
    origins: Sequence[Known] | None = None,
    forest: Mapping[str, float] | None = None,
) -> Looked:
    """Work out all that the review of these times needs, from what is known.

    origins: earlier months to judge the forecast by, with the scores of then; forest: as `forest_points`.
    """
    year = last_days(known.as_of, known.settings)
    windows = {"span": times.span, "window": times.window, "before": times.before, "year": year}
    told = forecast(known, origins)
    compared = compare(known, times)
    rates = {name: win_rate(known, window) for name, window in windows.items()}
    return Looked(
        **{**vars(compared), "rates": rates},
        year=year,
        weighted={name: revenue_weighted(known, window) for name, window in windows.items()},
        by_money=bridges(known, times.before, times.window, DIMENSIONS, weight="amount"),
        year_ago=bridges(known, times.year_before, times.window, DIMENSIONS),
        by_creation=_by_creation(known),
        segments=segments(known, year, (*DIMENSIONS, (LAST_STAGE,))),
        differ={by[0]: differences(known, year, by) for by in (*DIMENSIONS, (LAST_STAGE,))},
        drivers=drivers(known, forest=forest),
        reps=reps(known, year),
        cohorts=by_cohort(known, quarters(known.as_of, known.settings, count=COHORTS)),
        slips=slips(known, times.window),
        slips_before=slips(known, times.before),
        forecast=told,
        health=health(known, told),
        concentration=concentration(known.open["amount"].fill_null(float("nan")).to_numpy(), told.chances),
        pace=pace(known),
        seasons=seasons(known),
    )


def compare(known: Known, times: Periods) -> Compared:
    """Work out what the two windows tell side by side: all that an alert of a stage or segment rests on."""
    by_count = bridges(known, times.before, times.window, DIMENSIONS)
    return Compared(
        known=known,
        times=times,
        rates={name: win_rate(known, getattr(times, name)) for name in ("window", "before")},
        by_count=by_count,
        bent={
            "before": chosen(known, times.before) or chosen(known, times.window),
            "year before": chosen(known, times.year_before) or chosen(known, times.window),
        },
        intake=intake(known, times.before, times.window, DIMENSIONS),
        stages=figures.stages(known, times),
        same_mix=_at_the_same_mix(known, times, by_count),
    )


def _by_creation(known: Known) -> list[Bridge]:
    """The newest quarters of creation whose deals had the time to close; none where history is short."""
    days = horizon(known)
    for after in reversed(quarters(known.as_of, known.settings, count=COHORTS)):
        if not too_young(known, after, days):
            before = earlier(after, known.settings)
            return bridges(known, before, after, DIMENSIONS, clock="created_at")
    return []


def _at_the_same_mix(known: Known, times: Periods, by_count: list[Bridge]) -> tuple[str, pl.DataFrame] | None:
    """By the column whose mix moved the win rate most, among those of which chance may not be why."""
    found = [
        (abs(one.mix.value or 0.0), one.by)
        for one in by_count
        if one.by != AMOUNT_BAND and (p_of(one.mix) or 1.0) < MAY_BE_CHANCE
    ]
    if not found or not known.stages:
        return None
    by = max(found)[1]
    return by, same_mix.hazard_changes(known, times.before, times.window, by)
