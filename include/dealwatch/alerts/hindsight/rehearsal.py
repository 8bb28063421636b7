"""One rule alone: how often it would have fired, for whom, on which deals, and whether it was right."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Engine, select

from dealwatch.alerts.evidence.measure import measured
from dealwatch.alerts.hindsight.plan import EXAMPLES, known_since
from dealwatch.alerts.hindsight.plan_text import deal_words
from dealwatch.alerts.hindsight.trial_run import WARM_UP_DAYS, Past, Replayed, Trial, replay
from dealwatch.alerts.rules.rule import Rule, load_rule, load_rules
from dealwatch.alerts.speaking.content import record_line
from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import owners
from dealwatch.warehouse import instant, reading, rows_of


@dataclass(frozen=True)
class Fired:
    """An alert as it would have been: when it opened, how bad it got, and how the deal ended by now."""

    day: str
    level: int
    deal_id: str
    name: str
    outcome: str  # won, lost, open


@dataclass(frozen=True)
class Rehearsal:
    """What a rule would have done on its own over the days."""

    rule: str
    file: str
    days: int
    first: str
    last: str
    fired: int
    deals: int
    standing: int  # alerts that stand on the last morning
    reopened: int
    singles: int
    digests: int
    by_owner: Mapping[str, int]  # alerts by the owner's name, most first
    owners: int
    levels: Mapping[int, str]  # level: its name
    records: Sequence[Mapping[str, Any]]  # rows of rule_evidence
    evidence_minimum: int  # deals it takes to be proven
    examples: tuple[Fired, ...]  # spread over the days, newest first
    unscored: int
    uses_score: bool


def rehearse(engine: Engine, path: Path, *, days: int, as_of: datetime, settings: Settings) -> Rehearsal:
    """Replay the rule of a file beside the tree's rules; it alone speaks. Raises SettingsError."""
    rule = load_rule(path)
    others = [one for one in load_rules(settings.alerts.rules) if one.name != rule.name]
    records = measured(engine, [*others, rule], as_of, settings=settings)
    records = records.filter(pl.col("rule") == rule.name, pl.col("segment") == "").sort("level")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        alone = settings.model_copy(
            update={"alerts": settings.alerts.model_copy(update={"rules": Path(folder)})}
        )
        since = as_of - timedelta(days=days + WARM_UP_DAYS + 1)
        trial = Trial((rule,), alone, known_since(records, since), (*others, rule))
        past, (replayed,) = replay(engine, [trial], days=days, as_of=as_of, settings=settings)
    with reading(engine) as connection:
        people = {row.owner_id: row.name or row.owner_id for row in rows_of(connection, select(owners))}
    return _rehearsal(rule, path, days, past, replayed, people, records, settings)


def _rehearsal(
    rule: Rule,
    path: Path,
    days: int,
    past: Past,
    replayed: Replayed,
    people: Mapping[str, str],
    records: pl.DataFrame,
    settings: Settings,
) -> Rehearsal:
    told = past.deals.join(past.outcomes, on="deal_id", how="left")
    opened = replayed.alerts.filter(pl.col("opened_at") >= instant(past.first)).drop("owner_id")
    opened = opened.join(told, on="deal_id", how="left").sort(
        ["opened_at", "deal_id", "scope"], descending=[True, False, False]
    )
    by_owner = opened.group_by("owner_id").len().sort(["len", "owner_id"], descending=[True, False])
    kinds = replayed.messages["kind"]
    return Rehearsal(
        rule=rule.name,
        file=str(path),
        days=days,
        first=local_day(past.first, settings).isoformat(),
        last=local_day(past.last, settings).isoformat(),
        fired=opened.height,
        deals=opened["deal_id"].n_unique(),
        standing=replayed.alerts.filter(pl.col("resolved_at").is_null()).height,
        reopened=replayed.reopened,
        singles=int((kinds == "alert").sum()),
        digests=int((kinds == "digest").sum()),
        by_owner={people.get(owner, owner) or "nobody": n for owner, n in by_owner.rows()},
        owners=past.owners,
        levels={level.level: level.name for level in rule.levels},
        records=records.to_dicts(),
        evidence_minimum=settings.alerts.evidence_minimum,
        examples=tuple(_fired(row, settings) for row in _spread(opened).iter_rows(named=True)),
        unscored=past.unscored,
        uses_score=rule.uses_score,
    )


def _spread(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.gather_every(max(rows.height // EXAMPLES, 1)).head(EXAMPLES)


def _fired(row: Mapping[str, Any], settings: Settings) -> Fired:
    outcome = "open" if row["lost"] is None else "lost" if row["lost"] else "won"
    day = local_day(row["opened_at"], settings).isoformat()
    return Fired(day, row["level"], row["deal_id"], row["name"] or row["deal_id"], outcome)


def machine(found: Rehearsal) -> dict[str, Any]:
    """The rehearsal as JSON values."""
    return asdict(replace(found, records=[dict(row) for row in found.records]))


def text(found: Rehearsal) -> str:
    """The rehearsal in words."""
    weeks = found.days / 7
    lines = [
        f"{found.rule} ({found.file}), replayed over {found.days} days, {found.first} to {found.last}.",
        "",
        f"It would have fired {found.fired:,} times for {found.deals:,} deals, {found.fired / weeks:.1f} a"
        f" week; {found.reopened:,} came back. On the last morning {found.standing:,} stand.",
        f"Alone it would have sent {found.singles / weeks:.1f} single messages a week, and"
        f" {found.digests / weeks:.1f} digests.",
        *_by_owner(found, weeks),
        "",
        "Was it right?",
        *(f"  {line}" for row in found.records for line in _record(row, found)),
    ]
    if found.examples:
        lines += [
            "",
            "On which deals, some of them:",
            *(_example(one, found.levels) for one in found.examples),
        ]
    if found.unscored and found.uses_score:
        lines += [
            "",
            f"{found.unscored} of the mornings were never scored: there rules alone are the score.",
        ]
    return "\n".join(lines) + "\n"


def _by_owner(found: Rehearsal, weeks: float) -> list[str]:
    shown = list(found.by_owner.items())[:EXAMPLES]
    average = found.fired / weeks / max(found.owners, 1)
    lines = (
        ["", f"For whom: {average:.2f} alerts per owner and week on average. Most go to:"] if shown else []
    )
    lines += [f"  {count / weeks:5.2f} a week  {clean(name, NAME_LENGTH)}" for name, count in shown]
    more = len(found.by_owner) - len(shown)
    return [*lines, f"  and {more} more people"] if more > 0 else lines


def _record(row: Mapping[str, Any], found: Rehearsal) -> list[str]:
    lines = [f"level {row['level']} {found.levels.get(row['level'], '')}: {record_line(row)}"]
    if row["lift"] is not None and row["lift_low"] is not None:
        lift = f"lift {row['lift']:.2f} ({row['lift_low']:.2f} to {row['lift_high']:.2f})"
        lines.append(f"  {lift}: {_verdict(row, found.evidence_minimum)}")
    return lines


def _verdict(row: Mapping[str, Any], minimum: int) -> str:
    if row["proven"]:
        return "proven, so it may interrupt"
    if row["alerted"] < minimum:
        return f"unproven, for it takes {minimum} deals that ended; it speaks in digests"
    return "unproven, for the interval does not lie above 1; it speaks in digests"


def _example(one: Fired, levels: Mapping[int, str]) -> str:
    level = f"level {one.level} {levels.get(one.level, '')}"
    return f"  {one.day}  {level}  {deal_words(one.name, one.deal_id)}: {one.outcome}"
