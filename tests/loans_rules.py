"""Loans, every morning from 1 January 2012 on: the shipped rules, each with the record it had that day.

    python tests/loans_rules.py FOLDER     (FOLDER holds `loans`; it takes two minutes)

The rules are replayed once, over every morning; the record of a day is made of the mornings before it and of
the outcomes known by it. Scores are those of a model trained on 15 January, 1 February and 1 March.
"""

import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl

from dealwatch import jobs
from dealwatch.alerts.evidence.measure import judged, outcomes_of
from dealwatch.alerts.evidence.past_scores import scores_then
from dealwatch.alerts.evidence.record_table import record_table
from dealwatch.alerts.evidence.replay import Replay, replay, replayed
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.history.ledger import Ledger
from dealwatch.moments import morning_of, mornings
from dealwatch.scoring.known import history_of, microseconds_of
from dealwatch.scoring.panel import outcomes_at
from dealwatch.settings import Settings
from dealwatch.warehouse import INSTANT, connect, reading
from loans_rivals import LAST, TRAININGS, landed

FIRST = date(2012, 1, 1)


def past_of(settings: Settings, ledger: Ledger) -> Replay:
    """Every morning to the last one, scored by the champion it had."""
    moments = replayed(morning_of(LAST, settings), settings)
    rules = load_rules(settings.alerts.rules)
    history = history_of(ledger.known_at(moments[-1]), microseconds_of(moments), pipeline=settings.pipeline)
    with reading(connect(settings)) as connection:
        scores = scores_then(connection, moments, rules, settings=settings)
        return replay(history, moments, rules, settings=settings, scores=scores)


def day_by_day(past: Replay, ledger: Ledger, settings: Settings) -> Iterator[tuple[date, pl.DataFrame]]:
    """The record of every day, as `measure` would have made it."""
    for moment in mornings(FIRST, LAST, settings):
        so_far = past.until(moment)
        yield (
            moment.date(),
            judged(so_far, outcomes_of(ledger, moment, so_far), moment, settings=settings),
        )


def flagged(past: Replay, ledger: Ledger, settings: Settings) -> Iterator[str]:
    """On the same mornings: what share of deal-mornings each rule flags, and how flagged and others ended."""
    first = past.moments.index(morning_of(FIRST, settings))
    ended = outcomes_of(ledger, morning_of(date(2012, 3, 20), settings), past).ended
    moments = pl.Series("moments", past.moments, dtype=INSTANT)
    rows = past.rows.filter(pl.col("morning") >= first).join(ended, on="deal", maintain_order="left")
    rows = rows.filter(pl.col("closed_at") > moments.gather(rows["morning"].cast(pl.UInt32)))
    deals = rows.unique("deal")
    lost = deals["lost"].mean()
    yield f"{rows.height:,} deal-mornings of {deals.height:,} deals that ended, {lost:.1%} lost"
    for number, rule in enumerate(past.rules):
        for level in rule.levels:
            held = past.held.filter(pl.col("rule") == number, pl.col("level") >= level.level)
            told = rows.join(held.select("deal", "morning", is_held=True), on=["deal", "morning"], how="left")
            yes, no = (told.filter(pl.col("is_held").is_not_null() == one)["lost"] for one in (True, False))
            if len(yes):
                share = len(yes) / rows.height
                deals_held = told.filter("is_held").unique("deal")["lost"].mean()
                yield (
                    f"{rule.name} {level.level}: {share:.0%} of deal-mornings, {yes.mean():.1%} lost against "
                    f"{no.mean():.1%}; {deals_held:.0%} of the deals lost"
                )


def unseen(past: Replay, ledger: Ledger) -> str:
    """How many losses came between two mornings, so that no rule could find them."""
    lost = outcomes_at(ledger, past.moments[-1]).filter(pl.col("lost") == 1)
    seen = past.deal_ids.gather(past.rows["deal"].unique())
    count = lost.filter(~pl.col("deal_id").is_in(seen.implode())).height
    return f"{lost.height:,} deals lost by the last morning, {count:,} of them open on none"


def main() -> None:
    folder = Path(sys.argv[1]) / "loans"
    with tempfile.TemporaryDirectory() as home:
        settings, ledger = landed(folder, Path(home))
        for day in TRAININGS:
            jobs.train(settings, as_of=morning_of(day, settings))
        past = past_of(settings, ledger)
        print("\n".join(flagged(past, ledger, settings)))
        print(unseen(past, ledger))
        days = list(day_by_day(past, ledger, settings))
    proven: dict[tuple[str, int], list[date]] = {}
    for day, rows in days:
        for rule, level in rows.filter("proven").select("rule", "level").rows():
            proven.setdefault((rule, level), []).append(day)
    for (rule, level), on in sorted(proven.items()):
        print(f"{rule} {level} is proven on {len(on)} of {len(days)} days, the first {on[0]}")
    print(record_table(days[-1][1].to_dicts()))


if __name__ == "__main__":
    main()
