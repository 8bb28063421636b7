"""What people do to a deal without moving it: touch, plan a step, re-price, move the close date, hand over.

None of this looks at how the deal will end.
"""

import numpy as np

from dealwatch.company.book import AMOUNT, CLOSE_DATE, NEXT_STEP, NONE, OWNER, Book, Day, Log
from dealwatch.company.calendar import (
    Bools,
    Floats,
    Ints,
    last_working_day,
    month_end,
    next_working_day,
)
from dealwatch.company.people import Staff
from dealwatch.company.process import DISCOUNTS, HABITS, NEGOTIATION, PROPOSAL, REGIONS

# Rows of a day's chances; journeys.py uses the rows before these.
TOUCHES, WAKES, PLANS, REPRICES, PUSHES, PULLS, REASSIGNS = range(4, 11)
CHANCES = 11


def touch(rng: np.random.Generator, day: Day, book: Book, log: Log) -> None:
    """Write, call or meet; then plan a next step, tidy up an old one, fall quiet or wake up."""
    quiet = book.is_quiet[day.deals]
    touched = day.hits(TOUCHES, np.where(quiet, HABITS.touch_when_quiet, HABITS.touch))
    deals, share = day.deals[touched], rng.random(int(touched.sum()))
    inbound = rng.random(len(deals)) < 0.35
    log.touch(deals, day.instants(touched, share), book.owner[deals], inbound, rng.random(len(deals)))
    replied = rng.random(len(deals)) < HABITS.reply
    later = share[replied] + (1.0 - share[replied]) * rng.random(int(replied.sum()))
    at = day.instants(np.flatnonzero(touched)[replied], later)
    answers = deals[replied]
    log.touch(answers, at, book.owner[answers], ~inbound[replied], rng.random(len(answers)))
    book.last_touch[deals] = day.number
    _plan(rng, day, book, log, touched=touched)
    book.is_quiet[day.deals] = quiet ^ day.hits(WAKES, np.where(quiet, HABITS.wakes_up, HABITS.goes_quiet))


def _plan(rng: np.random.Generator, day: Day, book: Book, log: Log, *, touched: Bools) -> None:
    due = book.next_step_on[day.deals]
    plans = touched & day.is_staying & (due <= day.number + 1) & (day.chance[PLANS] < HABITS.plan)
    tidies = ~touched & day.is_staying & (due != NONE) & (due < day.number) & day.hits(PLANS, HABITS.tidy)
    new = next_working_day(day.number + rng.integers(3, 15, int(plans.sum())))
    _edit(rng, day, log, tracked=NEXT_STEP, values=book.next_step_on, at=plans, new=new)
    nothing = np.full(int(tidies.sum()), NONE, dtype=np.int64)
    _edit(rng, day, log, tracked=NEXT_STEP, values=book.next_step_on, at=tidies, new=nothing)


def reprice(rng: np.random.Generator, day: Day, book: Book, log: Log) -> None:
    """Give a discount or sell more, mostly once there is a proposal."""
    odds = np.where(book.stage[day.deals] >= PROPOSAL, HABITS.reprice_late, HABITS.reprice)
    at = day.is_staying & day.hits(REPRICES, odds)
    factor = np.array(DISCOUNTS)[rng.integers(0, len(DISCOUNTS), int(at.sum()))]
    new = np.maximum(50, np.rint(book.amount[day.deals[at]] * factor / 50).astype(np.int64) * 50)
    _edit(rng, day, log, tracked=AMOUNT, values=book.amount, at=at, new=new)


def move_close_dates(rng: np.random.Generator, day: Day, book: Book, log: Log, *, factor: Floats) -> None:
    """Push a close date that comes too soon; seldom pull one in."""
    stage, slack = book.stage[day.deals], book.close_on[day.deals] - day.number
    odds = np.where(slack < 0, HABITS.push_when_overdue, np.where(slack <= 5, HABITS.push, 0.0))
    pushed = day.is_staying & day.hits(PUSHES, odds * np.where(stage > NEGOTIATION, 0.4, 1.0))
    pulled = day.is_staying & (stage >= NEGOTIATION) & (slack > 30) & day.hits(PULLS, HABITS.pull_in)
    count = int(pushed.sum())
    further = ((10.0 + rng.exponential(18.0, count)) * factor[pushed]).astype(np.int64)
    new = np.maximum(book.close_on[day.deals[pushed]], day.number) + np.maximum(7, further)
    new = last_working_day(np.where(rng.random(count) < 0.5, month_end(new), new))
    _edit(rng, day, log, tracked=CLOSE_DATE, values=book.close_on, at=pushed, new=new)
    book.pushes[day.deals[pushed]] += 1
    sooner = next_working_day(day.number + rng.integers(7, 25, int(pulled.sum())))
    _edit(rng, day, log, tracked=CLOSE_DATE, values=book.close_on, at=pulled, new=sooner)


def hand_over(
    rng: np.random.Generator, day: Day, book: Book, log: Log, *, staff: Staff, region: Ints
) -> None:
    """Give a deal to another rep of the region: now and then, and all of the leaver's on the last day."""
    leaves = (book.owner[day.deals] == staff.leaver) & (day.number == staff.left_on)
    at = day.is_staying & (leaves | day.hits(REASSIGNS, HABITS.reassign))
    chance = rng.random(int(at.sum()))
    new = np.zeros(len(chance), dtype=np.int64)
    for area in range(len(REGIONS)):
        mine = region[at] == area
        sellers = staff.sellers(area, with_leaver=day.number < staff.left_on)
        new[mine] = sellers[(chance[mine] * len(sellers)).astype(np.int64)]
    _edit(rng, day, log, tracked=OWNER, values=book.owner, at=at, new=new)


def _edit(
    rng: np.random.Generator, day: Day, log: Log, *, tracked: int, values: Ints, at: Bools, new: Ints
) -> None:
    """Set and log the field of the deals `at`, leaving out those that have the value already."""
    instants = day.instants(at, rng.random(len(new)))
    deals = day.deals[at]
    changed = values[deals] != new
    deals, new, instants = deals[changed], new[changed], instants[changed]
    log.change(tracked, deals, instants, values[deals], new)
    values[deals] = new
