"""The frames of a review that charts, pages and files are made from; each row a figure with its interval.

Where a frame has rows of measures, its last columns are those of `measure.SCHEMA`: name, value, n, n_eff,
low, high, why, kind. Columns before them say what each row is of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from dealwatch.insights import stages as staged
from dealwatch.insights.cohorts import cohort_win_rate, horizon
from dealwatch.insights.concentration import Concentration
from dealwatch.insights.cycles import Cohort, whole_from
from dealwatch.insights.drivers import Drivers
from dealwatch.insights.forecast import Forecast
from dealwatch.insights.health import Health
from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure, measured
from dealwatch.insights.movement import Bridge
from dealwatch.insights.periods import Periods, spans
from dealwatch.insights.rates import win_rate
from dealwatch.insights.reps import Reps
from dealwatch.insights.seasons import SEASONS, Seasons
from dealwatch.insights.slips import Slips
from dealwatch.insights.statistics import Floats
from dealwatch.insights.windows import Window
from dealwatch.moments import local_day

SERIES = {"week": 26, "month": 18}
TOP_DEALS = 10
_TESTED = {"p": pl.Float64(), "q": pl.Float64()}


def win_rate_series(known: Known, times: Periods) -> pl.DataFrame:
    """The win rate of the last weeks or months: time, first (date), then a measure; oldest first.

    Null where only quick deals can have closed yet: nearly all of those are losses.
    """
    chosen = spans(times.span, times.period, known.settings, count=SERIES[times.period])
    whole = whole_from(known)
    return measured(
        [_rate_of(known, one, whole) for one in chosen],
        time=[one.name for one in chosen],
        # A window holds what comes after its begin, which is the last instant of the day before.
        first=[local_day(one.after + timedelta(microseconds=1), known.settings) for one in chosen],
    )


def _rate_of(known: Known, window: Window, whole: datetime | None) -> Measure:
    rate = win_rate(known, window)
    if rate.value is None or (whole is not None and window.after >= whole):
        return rate
    return Measure.null(rate.name, "history is too short: only quick deals can have closed", n=rate.n)


def bridge(told: Sequence[Bridge], compared: str) -> pl.DataFrame:
    """What the change of the win rate consists of, dimension by dimension: compared, by, weight, then CELLS.

    compared: "before" or "year before". A dimension's `impact` sums to the change; never add dimensions.
    """
    rows = [
        one.cells.select(
            pl.lit(compared).alias("compared"),
            pl.lit(one.by).alias("by"),
            pl.lit(one.weight).alias("weight"),
            pl.all(),
        )
        for one in told
    ]
    return pl.concat(rows)


@dataclass(frozen=True)
class Stages:
    """before, after, change: the stages' figures in both windows, and how hazard and loss share moved."""

    before: pl.DataFrame
    after: pl.DataFrame
    change: pl.DataFrame

    def frame(self) -> pl.DataFrame:
        """time ("before", "after" or "change"), stage, a measure, p, q."""
        parts = {"before": self.before, "after": self.after, "change": self.change}
        return pl.concat(rows.select(pl.lit(time).alias("time"), pl.all()) for time, rows in parts.items())


def stages(known: Known, times: Periods) -> Stages:
    """The stages' figures of both windows."""
    change = [
        of(known, times.before, times.window) for of in (staged.hazard_changes, staged.loss_share_changes)
    ]
    return Stages(_stages(known, times.before), _stages(known, times.window), pl.concat(change))


def _stages(known: Known, window: Window) -> pl.DataFrame:
    of = (staged.conversion, staged.stage_win_rates, staged.loss_shares)
    plain = [_untested(one(known, window)) for one in of]
    return pl.concat([*plain, staged.hazards(known, window)])


def _untested(rows: pl.DataFrame) -> pl.DataFrame:
    missing = {name: type_ for name, type_ in _TESTED.items() if name not in rows.columns}
    return rows.with_columns(pl.lit(None, dtype=type_).alias(name) for name, type_ in missing.items())


def pipeline(health: Health, concentration: Concentration) -> pl.DataFrame:
    """The card of what is open: measures of health, then of concentration."""
    told: list[Measure] = list(vars(health).values())
    spread = [one for value in vars(concentration).values() for one in _each(value)]
    return measured([*told, *spread])


def _each(value: Measure | tuple[Measure, ...]) -> Iterable[Measure]:
    return (value,) if isinstance(value, Measure) else value


def cohorts(known: Known, told: Sequence[Cohort]) -> pl.DataFrame:
    """By quarter of creation: quarter, deals, still_open, then cycle_mean, cycle_median, cohort_win_rate."""
    days = horizon(known)
    rows = [
        (one, measure)
        for one in told
        for measure in (one.mean, one.median, cohort_win_rate(known, one.quarter, days))
    ]
    return measured(
        [measure for _, measure in rows],
        quarter=[one.quarter.name for one, _ in rows],
        deals=[one.deals for one, _ in rows],
        still_open=[one.still_open for one, _ in rows],
    )


def forecast(told: Forecast) -> pl.DataFrame:
    """What the forecast says: of, is_published, then a measure.

    of: a variant, with its value, gap to the open money, past bias, error and coverage; or a quarter's name,
    with money won, to come of open deals, of deals not begun, and all.
    """
    rows: list[tuple[str, bool, Measure]] = []
    for name, one in told.variants.items():
        record = told.records[name]
        judged = (one.value, one.gap, record.bias, record.error, record.covered)
        rows += [(name, name == told.published, value) for value in judged]
    for quarter in (told.this_quarter, told.next_quarter):
        values = (quarter.won, quarter.of_open, quarter.of_new, quarter.total)
        rows += [(quarter.window.name, True, value) for value in values]
    return measured(
        [value for _, _, value in rows],
        of=[of for of, _, _ in rows],
        is_published=[published for _, published, _ in rows],
    )


def reps(told: Reps) -> pl.DataFrame:
    """For managers only: owner_id, closed, won, expected, then a measure; owner_id "" is all reps."""
    rows: list[tuple[str, int | None, int | None, float | None, Measure]] = [
        (one.owner_id, one.closed, one.won, one.expected, value)
        for one in told.reps
        for value in (one.index, one.rate, one.money_rate, one.published)
    ]
    rows += [("", None, None, None, value) for value in (told.variance, told.gap, told.chance_gap)]
    names = ("owner_id", "closed", "won", "expected")
    columns: dict[str, list[Any]] = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    types = {"owner_id": pl.String(), "closed": pl.Int64(), "won": pl.Int64(), "expected": pl.Float64()}
    return measured([row[4] for row in rows], **columns).cast(pl.Schema(types))


def slips(told: Slips, of: str) -> pl.DataFrame:
    """What became of close dates in a time: of ("window" or "before"), then a measure."""
    measures = told.measures()
    return measured(measures, of=[of] * len(measures))


def largest_deals(known: Known, chances: Floats) -> pl.DataFrame:
    """The open deals that carry most expected money: deal_id, stage, amount, chance, expected, share.

    share: of the expected money of all that is open. Empty where amounts cannot be added up.
    """
    rows = known.open.select(
        "deal_id", pl.col("stage").cast(pl.String), "amount", chance=pl.Series(chances).fill_nan(None)
    )
    rows = rows.with_columns(expected=pl.col("amount") * pl.col("chance")).drop_nulls("expected")
    whole = pl.col("expected").sum()
    rows = rows.with_columns(share=pl.when(whole > 0).then(pl.col("expected") / whole))
    return rows.sort(["expected", "deal_id"], descending=[True, False]).head(TOP_DEALS)


def seasons(told: Seasons) -> pl.DataFrame:
    """Months of the year: month (1 to 12), q, is_found, then a measure; null rows say why there are none."""
    if not told.months:
        none = [Measure.null(name, told.why, kind=kind) for name, kind in SEASONS.items()]
        rows = measured(none, month=[None, None], q=[None, None], is_found=[False, False])
    else:
        each = [(one, measure) for one in told.months for measure in (one.win_rate, one.points)]
        columns = {name: [getattr(one, name) for one, _ in each] for name in ("month", "q", "is_found")}
        rows = measured([measure for _, measure in each], **columns)
    return rows.cast({"month": pl.Int64, "q": pl.Float64})


def drivers(told: Drivers) -> pl.DataFrame:
    """What goes with winning: feature, reference, q, is_found, segment (the value), then a measure."""
    rows = [(one, measure) for one in told.drivers for measure in (one.odds_ratio, one.points)]
    return measured(
        [measure for _, measure in rows],
        feature=[one.feature for one, _ in rows],
        segment=[one.value for one, _ in rows],
        reference=[one.reference for one, _ in rows],
        q=pl.Series([one.q for one, _ in rows], dtype=pl.Float64).to_list(),
        is_found=[one.is_found for one, _ in rows],
    )


def forest(told: Drivers) -> pl.DataFrame:
    """What moves the scores of open deals: group of facts, share of the points, the largest first."""
    return pl.DataFrame(list(told.forest), schema={"group": pl.String, "share": pl.Float64}, orient="row")
