"""The verbs that tell a person something: `connect`, `why`, `plan`, `rehearse` and `review`."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from dealwatch import jobs
from dealwatch.settings import Settings

MomentOf = Callable[[argparse.Namespace, Settings], datetime]


@dataclass(frozen=True)
class Answer:
    """What a verb says, as text or for machines, and its exit code."""

    said: Any
    code: int = 0


def add_verbs(
    verb: Callable[..., argparse.ArgumentParser],
    *,
    as_of: MomentOf,
    day: Callable[[str], date],
    clock: Callable[[], datetime],
) -> None:
    """Add the verbs to the parser; `as_of` reads the option of that name, `day` a date, `clock` the time."""

    def visited(options: argparse.Namespace, settings: Settings) -> Answer:
        text, machine, works = jobs.visit(settings, source=options.source, now=clock())
        return Answer(machine if options.json else text, int(not works))

    connect = verb("connect", visited, "Say whether a source can be read, and draft its mapping.")
    connect.add_argument("source", metavar="SOURCE", help="its name in the settings")
    connect.add_argument("--json", action="store_true", help="for machines")

    def explained(options: argparse.Namespace, settings: Settings) -> str:
        return jobs.why(settings, deal=options.deal, on=options.on, to=options.to, now=clock())

    why = verb("why", explained, "Say why somebody was, or was not, told about a deal on a day.")
    why.add_argument("deal", help="the deal's id, or a part of its name that no other has")
    why.add_argument("--on", type=day, required=True, help="the day in question")
    why.add_argument("--to", metavar="PERSON", help="somebody's id, e-mail address or name")

    def planned(options: argparse.Namespace, settings: Settings) -> Answer:
        text, machine, is_over = jobs.plan(settings, days=options.days, as_of=as_of(options, settings))
        return Answer(machine if options.json else text, int(is_over))

    plan = verb("plan", planned, "Replay the past under this tree's rules and settings, and compare.")
    plan.add_argument("--days", type=int, default=90, help="how many days to replay, 7 to 730 (default: 90)")

    def rehearsed(options: argparse.Namespace, settings: Settings) -> Answer:
        moment = as_of(options, settings)
        text, machine = jobs.rehearse(settings, rule=options.rule, days=options.days, as_of=moment)
        return Answer(machine if options.json else text)

    rehearse = verb(
        "rehearse", rehearsed, "Say how often one rule would have fired, for whom, and how right."
    )
    rehearse.add_argument("rule", type=Path, metavar="RULE.toml")
    rehearse.add_argument(
        "--days", type=int, default=365, help="how many days to look back, 7 to 730 (default: 365)"
    )

    def reviewed(options: argparse.Namespace, settings: Settings) -> Answer:
        text, machine = jobs.review(
            settings,
            as_of=as_of(options, settings),
            period="month" if options.month else "week",
            audience="managers" if options.managers else "everyone",
            out=options.out,
        )
        return Answer(machine if options.json else text)

    review = verb("review", reviewed, "Say why the win rate moved, and keep it; sends nothing.")
    review.add_argument("--month", action="store_true", help="the month that was over (default: the week)")
    review.add_argument("--managers", action="store_true", help="with what names reps")
    review.add_argument("--out", type=Path, help="folder for the review as files")
    for asked in (plan, rehearse, review):
        asked.add_argument("--as-of", help="last morning (default: the newest business morning)")
        asked.add_argument("--json", action="store_true", help="for machines")
