"""What happens to every deal, day by day, until it closes.

One pass over the days, all open deals at once. The morning's state decides the day's odds, so whatever moves
the odds was visible at that morning.
"""

import numpy as np

from dealwatch.company.book import AMOUNT, CLOSE_DATE, NEXT_STEP, NONE, OWNER, STAGE, Book, Day, Log
from dealwatch.company.calendar import HOUR, OPENS, SHUTS, Bools, Floats, Ints, paces, utc_offsets
from dealwatch.company.demand import Demand
from dealwatch.company.habits import CHANCES, hand_over, move_close_dates, reprice, touch
from dealwatch.company.odds import Sight, advance_ratio, loss_ratio
from dealwatch.company.people import Staff
from dealwatch.company.process import (
    DRIVERS,
    HABITS,
    LEAD_SOURCES,
    LEAKY_STAGE,
    LOST,
    STAGES,
    WEAK_PRODUCT,
    WEAK_SOURCE,
    WON,
)

TYPICAL_DAYS = np.array([stage.typical_days for stage in STAGES])
LOSS_SHARES = np.array([stage.loss_share for stage in STAGES])
LEAKY_SHARES = LOSS_SHARES * np.where(np.arange(len(STAGES)) == LEAKY_STAGE, DRIVERS.leak, 1.0)
INBOUND = [source.name for source in LEAD_SOURCES].index("Inbound")
WORKING_SHARE = 5 / 7
HAPPENS, WHICH, WHEN, SKIPS = range(4)


def travel(
    rng: np.random.Generator, demand: Demand, staff: Staff, days: Ints, *, leaks_from: int | None = None
) -> tuple[Book, Log]:
    """Live through `days` and return the final state and everything that happened on the way.

    leaks_from: the day number from which the leaky stage loses more.
    """
    book, log = _first_state(rng, demand), Log()
    _log_creation(rng, demand, log)
    offsets, pace_of_day = utc_offsets(days), paces(days)
    firsts = np.searchsorted(demand.created_on, days)
    deals = np.arange(0, dtype=np.int64)
    for position, number in enumerate(days[1:].tolist(), start=1):
        born = np.arange(firsts[position - 1], firsts[position], dtype=np.int64)
        deals = np.concatenate([deals, born])
        chance, pace = rng.random((CHANCES, len(deals))), float(pace_of_day[position])
        shares = LOSS_SHARES if leaks_from is None or number < leaks_from else LEAKY_SHARES
        target = _targets(chance, pace, demand, staff, book, deals, number, shares)
        moving = target != book.stage[deals]
        ends = np.where(moving, OPENS + 1.5 * HOUR + chance[WHEN] * 9 * HOUR, SHUTS).astype(np.int64)
        region = demand.region[deals]
        day = Day(number, pace, deals, target < WON, ends, offsets[position][region], chance)
        touch(rng, day, book, log)
        reprice(rng, day, book, log)
        move_close_dates(rng, day, book, log, factor=demand.stage_factor[deals])
        hand_over(rng, day, book, log, staff=staff, region=region)
        _move(day, book, log, moving=moving, target=target)
        deals = deals[day.is_staying]
    return book, log


def _first_state(rng: np.random.Generator, demand: Demand) -> Book:
    count = len(demand.created_on)
    return Book(
        stage=np.zeros(count, dtype=np.int64),
        stage_since=demand.created_on.copy(),
        last_touch=demand.created_on.copy(),
        close_on=demand.close_on.copy(),
        next_step_on=demand.next_step_on.copy(),
        amount=demand.amount.copy(),
        owner=demand.owner.copy(),
        pushes=np.zeros(count, dtype=np.int64),
        is_quiet=rng.random(count) < HABITS.starts_quiet,
        closed_at=np.full(count, NONE, dtype=np.int64),
    )


def _log_creation(rng: np.random.Generator, demand: Demand, log: Log) -> None:
    everyone = np.arange(len(demand.created_on), dtype=np.int64)
    firsts = {
        STAGE: np.zeros_like(everyone),
        AMOUNT: demand.amount,
        CLOSE_DATE: demand.close_on,
        OWNER: demand.owner,
        NEXT_STEP: demand.next_step_on,
    }
    for tracked, value in firsts.items():
        log.change(tracked, everyone, demand.created_at, np.full_like(everyone, NONE), value)
    chance = rng.random(len(everyone))
    log.touch(everyone, demand.created_at, demand.owner, demand.source == INBOUND, chance)


def _targets(
    chance: Floats,
    pace: float,
    demand: Demand,
    staff: Staff,
    book: Book,
    deals: Ints,
    today: int,
    loss_shares: Floats,
) -> Ints:
    """The stage in which each deal ends the day: where it was, unless one of three competing odds strikes."""
    stage = book.stage[deals]
    typical = TYPICAL_DAYS[stage] * demand.stage_factor[deals]
    sight = Sight(
        stall=(today - book.stage_since[deals]) / typical,
        silent_days=(today - book.last_touch[deals]).astype(np.float64),
        pushes=book.pushes[deals].astype(np.float64),
        has_planned_step=book.next_step_on[deals] >= today,
        is_weak_rep=book.owner[deals] == staff.weak_rep,
        is_weak_source=demand.source[deals] == WEAK_SOURCE,
        is_weak_product=demand.product[deals] == WEAK_PRODUCT,
    )
    usual = pace / (typical * WORKING_SHARE)
    losing = usual * loss_shares[stage] * loss_ratio(sight, DRIVERS)
    advancing = usual * advance_ratio(sight, DRIVERS)
    total = losing + advancing + usual * HABITS.step_back * (stage > 0)
    which = chance[WHICH] * total
    ahead = np.minimum(stage + 1 + ((chance[SKIPS] < HABITS.skip_stage) & (stage > 0)), WON)
    back = np.maximum(stage - 1, 0)
    target = np.where(which < losing, LOST, np.where(which < losing + advancing, ahead, back))
    return np.where(chance[HAPPENS] < 1.0 - np.exp(-total), target, stage)


def _move(day: Day, book: Book, log: Log, *, moving: Bools, target: Ints) -> None:
    """Write the day's stage moves; a deal that closes gets the day as its close date at the same moment."""
    deals, new = day.deals[moving], target[moving]
    at = day.instants(moving, np.ones(len(deals)))
    log.change(STAGE, deals, at, book.stage[deals], new)
    book.stage[deals], book.stage_since[deals] = new, day.number
    closed = deals[new >= WON]
    book.closed_at[closed] = at[new >= WON]
    redated = book.close_on[closed] != day.number
    closed, closed_at = closed[redated], at[new >= WON][redated]
    today = np.full_like(closed, day.number)
    log.change(CLOSE_DATE, closed, closed_at, book.close_on[closed], today)
    book.close_on[closed] = today
