"""Makes up a company with a known truth, and writes it as the file drop that a CRM would export."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dealwatch.company.book import STAGE, Book, History
from dealwatch.company.calendar import day_number, full_quarters, next_working_day
from dealwatch.company.demand import accounts, demand
from dealwatch.company.files import (
    activity_frames,
    deals_frame,
    history_frames,
    owners_frame,
    write_frames,
)
from dealwatch.company.journeys import travel
from dealwatch.company.people import staff
from dealwatch.company.process import LOST, WON
from dealwatch.company.truth import measure, stage_leak, truth
from dealwatch.errors import SettingsError

WORLDS = ("planted", "null", "leaking")
LEAVER_STAYS = 0.55  # of the days


def simulate(
    world: Literal["planted", "null", "leaking"],
    *,
    deals: int,
    days: int,
    seed: int,
    until: date,
    out: Path,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Write the `days` days before `until` of a company with `deals` deals into `out`.

    The same seed makes the same bytes. In the `planted` world losing has causes, listed in truth.json; in the
    `null` world it has none. The `leaking` world is the planted one in which, from the last full quarter on,
    one stage loses more.
    """
    _check(world, deals=deals, days=days, seed=seed)
    tell = progress or (lambda _: None)
    rng, coin = _chances(seed)
    end = day_number(until)
    calendar = np.arange(end - days, end, dtype=np.int64)
    people = staff(rng, left_on=int(next_working_day(calendar[int(days * LEAVER_STAYS)])))
    quarters = full_quarters(end - days, end)
    shift = quarters[-2] if len(quarters) > 1 else None
    book_of_accounts = accounts(rng, deals=deals)
    begun = demand(rng, people, book_of_accounts, days=calendar, deals=deals, shift=shift)
    tell(f"{deals:,} deals are created over {days} days")
    leaks_from = quarters[-1].first if world == "leaking" and quarters else None
    book, log = travel(rng, begun, people, calendar, leaks_from=leaks_from)
    history, activities = log.history(), log.activities()
    if world == "null":
        toss_outcomes(coin, book, history)
    tell(f"{int((book.stage >= WON).sum()):,} of them closed")
    out.mkdir(parents=True, exist_ok=True)
    table = deals_frame(begun, book_of_accounts, book, people)
    write_frames(iter([table]), out / "deals.csv", tell)
    changes = write_frames(history_frames(history, people, deals=deals), out / "deal_history.csv", tell)
    touches = write_frames(activity_frames(activities, people, deals=deals), out / "activities.csv", tell)
    write_frames(iter([owners_frame(people)]), out / "owners.csv", tell)
    measured = measure(begun, book, people, shift)
    asked = {"deals": deals, "days": days, "seed": seed, "until": until.isoformat()}
    told = {"asked": asked, **truth(world, staff=people, shift=shift, measured=measured)}
    if leaks_from is not None:
        told["stage_leak"] = stage_leak(leaks_from)
    text = json.dumps(told, indent=2, ensure_ascii=False)
    (out / "truth.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    counts = {name: measured[name] for name in ("deals", "won", "lost", "open", "win_rate")}
    return {
        "world": world,
        **counts,
        "changes": changes,
        "activities": touches,
        "owners": len(people.owners),
    }


def toss_outcomes(coin: np.random.Generator, book: Book, history: History) -> None:
    """Decide every closed deal anew by a coin of the same overall win rate, in the state and the history."""
    closed = book.stage >= WON
    rate = float((book.stage[closed] == WON).mean()) if closed.any() else 0.5
    outcome = np.where(coin.random(len(book.stage)) < rate, WON, LOST)
    book.stage[closed] = outcome[closed]
    closing = (history.field == STAGE) & (history.new >= WON)
    history.new[closing] = outcome[history.deal[closing]]


def _chances(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Two independent streams: one for the world, one for the null world's coin."""
    world, coin = np.random.SeedSequence(seed).spawn(2)
    return np.random.Generator(np.random.PCG64(world)), np.random.Generator(np.random.PCG64(coin))


def _check(world: str, *, deals: int, days: int, seed: int) -> None:
    if world not in WORLDS:
        raise SettingsError(f"--world {world}: there is no such world; choose one of {', '.join(WORLDS)}")
    for name, value, least in (("deals", deals, 1), ("days", days, 7), ("seed", seed, 0)):
        if value < least:
            raise SettingsError(f"--{name} {value}: must be at least {least}")
