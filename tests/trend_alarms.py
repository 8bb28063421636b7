"""Counts alerts of stages and segments in made-up companies: false ones, and weeks to a true one.

PYTHONPATH=include:tests python tests/trend_alarms.py null --companies 20 --weeks 26
PYTHONPATH=include:tests python tests/trend_alarms.py leaking --companies 7 --weeks 17 --deals 8000
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl
from scipy import stats

from company_ledger import company
from dealwatch.alerts.episodes.fold import Background, fold
from dealwatch.alerts.trends.folding import signals_of
from dealwatch.alerts.trends.rule import TREND_RULES, WEEKS
from dealwatch.insights.known import known_of
from dealwatch.insights.looked import compare
from dealwatch.insights.periods import periods
from dealwatch.insights.trends import trends
from dealwatch.moments import morning_of
from dealwatch.settings import Settings

UTC = Settings(time_zone="UTC")
LAST = date(2026, 10, 26)  # a Monday, before the made-up companies end


@dataclass(frozen=True)
class Watched:
    """What a company's weeks came to: its alerts by subject and the moment each opened; its answer sheet."""

    opened: tuple[tuple[str, datetime], ...]
    weeks: int
    truth: dict[str, Any]


def watched(
    world: Literal["null", "leaking", "planted"], *, deals: int, weeks: int, seed: int, last: date = LAST
) -> Watched:
    """Review a company of two years on so many Mondays up to the last, and fold what they tell."""
    with tempfile.TemporaryDirectory() as folder:
        ledger, truth = company(world, Path(folder), deals=deals, days=730, seed=seed)
    mornings = [morning_of(last - timedelta(weeks=back), UTC) for back in range(weeks)[::-1]]
    rows = [
        trends(compare(known_of(ledger, one, UTC), periods(one, "week", UTC))).with_columns(as_of=pl.lit(one))
        for one in mornings
    ]
    known = Background(confirm=dict.fromkeys(TREND_RULES, WEEKS))
    found = fold(signals_of(pl.concat(rows)), mornings, known, settings=UTC).alerts
    return Watched(tuple(found.select("scope", "opened_at").sort("opened_at", "scope").rows()), weeks, truth)


def rate(alarms: int, years: float) -> tuple[float, float, float]:
    """Alarms a year, with Poisson's exact 95% interval."""
    low = stats.chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0
    return alarms / years, float(low) / years, float(stats.chi2.ppf(0.975, 2 * alarms + 2)) / 2 / years


def lines(world: Literal["null", "leaking", "planted"], found: Sequence[Watched]) -> Iterator[str]:
    """What the command prints, company by company and in all."""
    for number, one in enumerate(found, start=1):
        leak = one.truth.get("stage_leak") if world == "leaking" else None
        first = date.fromisoformat(leak["first_day"]) if leak else None
        told = [
            f"{subject} {at:%Y-%m-%d}" + (f" ({(at.date() - first).days / 7:.0f} weeks in)" if first else "")
            for subject, at in one.opened
        ]
        yield f"company {number}: {', '.join(told) or 'no alert'}"
    years = sum(one.weeks for one in found) / 52
    if world == "null":
        value, low, high = rate(sum(len(one.opened) for one in found), years)
        yield f"{value:.2f} false alarms a company and year ({low:.3f} to {high:.2f}), over {years:.1f} years"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("world", choices=("null", "leaking", "planted"))
    for name, number in (("companies", 20), ("weeks", 26), ("deals", 4000), ("first-seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=number)
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.companies)
    found = [watched(asked.world, deals=asked.deals, weeks=asked.weeks, seed=seed) for seed in seeds]
    print("\n".join(lines(asked.world, found)))


if __name__ == "__main__":
    main()
