"""What became of close dates in a period: deals pushed later, pulled in, and slipped past its end.

All of it is counted, not sampled, but for the share that slipped, which is a rate of what was due. Days are
the organisation's. A deal's close date on a day is what the last move before it says, else what the first
says.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from dealwatch.insights.known import Known
from dealwatch.insights.measure import Kind, Measure
from dealwatch.insights.money import PAID, refusal
from dealwatch.insights.statistics import effective, wilson
from dealwatch.insights.windows import Window
from dealwatch.moments import local_day
from dealwatch.settings import Settings

_NO_DATES = "no close date is known of any deal."
_NONE_DUE = "no deal was due to close in this time."
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Slips:
    """Deals and money by what happened to their close dates; a deal counts once in each, with its amount.

    due: deals that were to close in the period, as known when it began or when they began later.
    slipped: of these, moved beyond its end, or still open with the date passed; so far, in a running period.
    slip_rate: slipped of due, by deals and by money. pushed: moved later, as often as it happened.
    pulled_in: moved from beyond the period's end into it.
    """

    due: Measure
    due_money: Measure
    slipped: Measure
    slipped_money: Measure
    slip_rate: Measure
    slip_rate_money: Measure
    pushed: Measure
    pushed_money: Measure
    pushes: Measure
    days_pushed: Measure
    pulled_in: Measure
    pulled_in_money: Measure

    def measures(self) -> tuple[Measure, ...]:
        """All of them, in order."""
        return tuple(vars(self).values())


def slips(known: Known, period: Window) -> Slips:
    """The close dates' story in a period, so far if it is not over at the moment of what is known."""
    settings = known.settings
    first = local_day(period.after + _TICK, settings)
    past = local_day(period.until, settings) + timedelta(days=1)
    today = min(local_day(known.as_of, settings), past)
    moves = _moves(known).filter(pl.col("day") < past)
    deals = _deals(known, moves, first)
    due = deals.filter(pl.col("due_on").is_between(first, past, closed="left"))
    is_open = pl.col("ended").is_null() | (pl.col("ended") >= past)
    slipped = due.filter(is_open & ((pl.col("now_on") >= past) | (pl.col("now_on") < today)))
    within = moves.filter(pl.col("day") >= first, pl.col("old").is_not_null())
    later = within.filter(pl.col("new") > pl.col("old")).join(deals, on="deal_id", how="semi")
    sooner = within.filter((pl.col("old") >= past) & pl.col("new").is_between(first, past, closed="left"))
    pushed, pulled = (deals.join(rows, on="deal_id", how="semi") for rows in (later, sooner))
    why = "" if deals["now_on"].is_not_null().any() else _NO_DATES
    return Slips(
        *_counted("due", due, why, settings),
        *_counted("slipped", slipped, why, settings),
        *_rates(due, slipped, why, settings),
        *_counted("pushed", pushed, why, settings),
        _exact("pushes", later.height, pushed.height, why, kind="count"),
        _exact("days_pushed", _days(later), pushed.height, why, kind="days"),
        *_counted("pulled_in", pulled, why, settings),
    )


def _moves(known: Known) -> pl.DataFrame:
    """deal_id, day, old, new: each move of a close date, in order, on the organisation's days."""
    day = pl.col("happened_at").dt.convert_time_zone(known.settings.time_zone).dt.date()
    dates = (pl.col(name).str.to_date("%Y-%m-%d") for name in ("old", "new"))
    rows = known.moves.filter(pl.col("field") == "close_date")
    return rows.select("deal_id", day.alias("day"), *dates).sort("deal_id", "day", maintain_order=True)


def _deals(known: Known, moves: pl.DataFrame, first: date) -> pl.DataFrame:
    """Deals open at some time since `first`: deal_id, amount, currency, ended, due_on, now_on.

    due_on: the close date at the start of `first`, else the first one told; now_on: the last one told.
    """
    ended = pl.col("closed_at").dt.convert_time_zone(known.settings.time_zone).dt.date()
    still = known.open.select("deal_id", PAID, "currency", ended=pl.lit(None, pl.Date))
    gone = known.closed.select("deal_id", PAID, "currency", ended=ended).filter(pl.col("ended") >= first)
    before = pl.col("new").filter(pl.col("day") < first).last()
    dates = moves.group_by("deal_id").agg(
        due_on=pl.when((pl.col("day") < first).any()).then(before).otherwise(pl.col("new").first()),
        now_on=pl.col("new").last(),
    )
    return pl.concat([still, gone]).join(dates, on="deal_id", how="left", maintain_order="left")


def _counted(name: str, deals: pl.DataFrame, why: str, settings: Settings) -> tuple[Measure, Measure]:
    """How many deals, and their money."""
    refused = why or refusal(deals, settings)
    money = float(deals["amount"].sum())
    return (
        _exact(name, deals.height, deals.height, why, kind="count"),
        _exact(f"{name}_money", money, deals["amount"].count(), refused, kind="money"),
    )


def _rates(due: pl.DataFrame, slipped: pl.DataFrame, why: str, settings: Settings) -> tuple[Measure, Measure]:
    of_deals = _rate("slip_rate", slipped.height, due.height, None, why)
    all_money, n_eff = float(due["amount"].sum()), effective(due["amount"].drop_nulls().to_numpy())
    lost, why = float(slipped["amount"].sum()), why or refusal(due, settings)
    if n_eff is None:
        return of_deals, Measure.null("slip_rate_money", why or _NONE_DUE)
    of_money = _rate("slip_rate_money", lost / all_money * n_eff, n_eff, due["amount"].count(), why)
    return of_deals, of_money


def _rate(name: str, part: float, whole: float, n: int | None, why: str) -> Measure:
    """A share with Wilson's interval; n: the deals, where the whole is what they are worth together."""
    if why or not whole:
        return Measure.null(name, why or _NONE_DUE)
    low, high = wilson(part, whole)
    n_eff = None if n is None else whole
    return Measure(name, part / whole, int(whole) if n is None else n, n_eff, float(low), float(high))


def _exact(name: str, value: float, n: int, why: str, *, kind: Kind) -> Measure:
    if why:
        return Measure.null(name, why, n=n, kind=kind)
    return Measure(name, value, n, low=value, high=value, kind=kind)


def _days(later: pl.DataFrame) -> float:
    return float(later.select((pl.col("new") - pl.col("old")).dt.total_days().sum()).item())
