"""What a change of rules and settings would do: the working tree against what was last in force, replayed.

Pure comparisons around `trial_run`; `plan_text` puts them in words.
"""

import logging
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Engine, select

from dealwatch.alerts.evidence.measure import measured
from dealwatch.alerts.hindsight.trial_run import WARM_UP_DAYS, Past, Replayed, Trial, replay
from dealwatch.alerts.rules.books import RuleBook, book_of, in_force
from dealwatch.alerts.rules.rule import Rule, load_rules
from dealwatch.alerts.speaking.materials import records_by
from dealwatch.errors import SettingsError
from dealwatch.moments import local_day
from dealwatch.scoring.reliability import wilson
from dealwatch.settings import Settings
from dealwatch.tables import rule_evidence
from dealwatch.warehouse import frame, instant, reading

log = logging.getLogger(__name__)
EXAMPLES = 10
_MEASURED = ("when", "stays_when", "scope", "levels", "confirm_mornings")  # what a rule's record depends on


@dataclass(frozen=True)
class Share:
    """So many of so many, with the interval that chance leaves."""

    lost: int
    of: int

    @property
    def value(self) -> float | None:
        return self.lost / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.lost / self.of, self.of) if self.of else None


@dataclass(frozen=True)
class Load:
    """What people are told per week, on average over all who own an open deal, and the busiest of them."""

    singles: float
    digests: float
    busiest: str
    busiest_singles: float


@dataclass(frozen=True)
class Side:
    """One rule book's replay in numbers. Precision: of the deals alerted that ended, how many were lost."""

    alerts: int
    load: Load
    reopened: int
    precision: Share


@dataclass(frozen=True)
class Example:
    """An alert that one side has and the other has not."""

    rule: str
    deal_id: str
    name: str
    day: str  # it first stood within the replay


@dataclass(frozen=True)
class Plan:
    """The comparison. `before` is none when no live morning has kept its rules."""

    days: int
    first: str
    last: str
    in_force_from: datetime | None
    rules: Mapping[str, str]  # rule: new, gone, or what of it changed
    settings: Mapping[str, tuple[Any, Any]]  # dotted name: before, after
    before: Side | None
    after: Side
    added: int
    removed: int
    added_examples: tuple[Example, ...]
    removed_examples: tuple[Example, ...]
    proven: Mapping[str, str]  # rule and level: how its standing changes
    unscored: int
    budget: float

    @property
    def is_over_budget(self) -> bool:
        return self.after.load.singles > self.budget


def plan(engine: Engine, *, days: int, as_of: datetime, settings: Settings) -> Plan:
    """Replay the tree's rules and settings, and those last in force, over so many days; writes nothing."""
    tree, tree_rules = book_of(settings), load_rules(settings.alerts.rules)
    with reading(engine) as connection:
        book = in_force(connection)
        measured_before = frame(connection, select(rule_evidence))
    stored = _newest_records(measured_before, as_of, tree_rules)
    rules, knobs = _differences(book, tree)
    since = as_of - timedelta(days=days + WARM_UP_DAYS + 1)
    records = _records(engine, tree_rules, rules, knobs, stored, as_of, settings=settings)
    trials = [Trial(tree_rules, settings, known_since(records, since), tree_rules)]
    standing_before = stored
    with tempfile.TemporaryDirectory() as folder:
        if book is not None:
            former = book.load(Path(folder) / "rules")
            standing_before = _newest_records(measured_before, as_of, former)
            trials.append(
                _in_force(book, former, Path(folder), known_since(standing_before, since), settings)
            )
        past, replayed = replay(engine, trials, days=days, as_of=as_of, settings=settings)
    after, before = replayed[0], replayed[1] if book else None
    added = _only(after, before) if before else after.alerts.clear()
    removed = _only(before, after) if before else after.alerts.clear()
    return Plan(
        days=days,
        first=local_day(past.first, settings).isoformat(),
        last=local_day(past.last, settings).isoformat(),
        in_force_from=book.in_force_from if book else None,
        rules=rules,
        settings=knobs,
        before=_side(before, past, days) if before else None,
        after=_side(after, past, days),
        added=added.height,
        removed=removed.height,
        added_examples=_examples(added, past, settings),
        removed_examples=_examples(removed, past, settings),
        proven=_standing(standing_before, records),
        unscored=past.unscored,
        budget=settings.alerts.plan_max_alerts_per_owner_week,
    )


def _in_force(
    book: RuleBook, rules: tuple[Rule, ...], folder: Path, records: pl.DataFrame, settings: Settings
) -> Trial:
    settled = book.settled(settings)
    knobs = settled.alerts.model_copy(update={"rules": folder / "rules"})
    return Trial(rules, settled.model_copy(update={"alerts": knobs}), records, rules)


def _differences(book: RuleBook | None, tree: RuleBook) -> tuple[dict[str, str], dict[str, tuple[Any, Any]]]:
    """Which rules are new, gone or changed (and in which fields), and which settings differ."""
    if book is None:
        return {}, {}
    rules: dict[str, str] = {}
    for name in sorted({*book.rules, *tree.rules}):
        old, new = book.rules.get(name), tree.rules.get(name)
        if old is None or new is None:
            rules[name] = "new" if old is None else "gone"
        elif changed := _fields_changed(old, new):
            rules[name] = f"changed: {', '.join(changed)}"
    before, after = book.settings, tree.settings
    knobs = {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if name in before and name in after and before[name] != after[name]
    }
    return rules, knobs


def _fields_changed(old: str, new: str) -> list[str]:
    """The fields whose values differ; another comment changes nothing."""
    before, after = tomllib.loads(old), tomllib.loads(new)
    return [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]


def _newest_records(rows: pl.DataFrame, as_of: datetime, rules: Sequence[Rule]) -> pl.DataFrame:
    """What is known by the moment of each level of these rules as they are."""
    of_all = rows.filter(pl.col("segment") == "").sort("measured_as_of").to_dicts()
    found = records_by(of_all, as_of, {rule.name: rule for rule in rules})
    return pl.DataFrame(list(found.values()), schema=rows.schema, orient="row").sort("rule", "level")


def known_since(records: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """Today's records for the whole replay: the question is what would come, not how records grew."""
    return records.with_columns(measured_as_of=instant(since))


def _records(
    engine: Engine,
    tree: Sequence[Rule],
    rules: Mapping[str, str],
    knobs: Mapping[str, Any],
    stored: pl.DataFrame,
    as_of: datetime,
    *,
    settings: Settings,
) -> pl.DataFrame:
    """The tree's records: those stored, and measured anew where the rule is another one than it was."""
    is_other_measure = any(name.startswith(("alerts.evidence_", "pipeline.")) for name in knobs)
    measured_anew = {
        rule.name for rule in tree if is_other_measure or _is_measured_anew(rules.get(rule.name, ""))
    }
    kept = stored.filter(pl.col("rule").is_in([rule.name for rule in tree if rule.name not in measured_anew]))
    if not measured_anew:
        return kept
    log.info("measuring the record of %s", ", ".join(sorted(measured_anew)))
    fresh = measured(engine, tree, as_of, settings=settings)
    fresh = fresh.filter(pl.col("rule").is_in(sorted(measured_anew)), pl.col("segment") == "")
    return pl.concat([kept, fresh], how="diagonal").sort("rule", "level")


def _is_measured_anew(difference: str) -> bool:
    return difference == "new" or any(
        name in _MEASURED for name in difference.removeprefix("changed: ").split(", ")
    )


def _standing(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, str]:
    """Rules and levels whose right to interrupt changes."""
    was = dict(zip(before.select("rule", "level").rows(), before["proven"], strict=True))
    told = {}
    for rule, level, is_proven in after.select("rule", "level", "proven").rows():
        if was.get((rule, level), False) != is_proven or (rule, level) not in was:
            told[f"{rule} level {level}"] = (
                "proven: it may interrupt" if is_proven else "unproven: digests only"
            )
    return told


def _only(one: Replayed, other: Replayed) -> pl.DataFrame:
    """The alerts that stood on one side alone, each once however often it came back."""
    mine = one.alerts.join(other.alerts, on="fingerprint", how="anti")
    return mine.sort("opened_at", "fingerprint").unique("fingerprint", keep="last", maintain_order=True)


def _side(replayed: Replayed, past: Past, days: int) -> Side:
    deals = replayed.alerts.select("deal_id").unique().join(past.outcomes, on="deal_id")
    return Side(
        alerts=replayed.alerts["fingerprint"].n_unique(),
        load=_load(replayed.messages, past.owners, days / 7),
        reopened=replayed.reopened,
        precision=Share(int(deals["lost"].sum()), deals.height),
    )


def _load(messages: pl.DataFrame, owners: int, weeks: float) -> Load:
    singles = messages.filter(pl.col("kind") == "alert")
    by_owner = singles.group_by("recipient").len().sort(["len", "recipient"], descending=[True, False])
    digests = messages.filter(pl.col("kind") == "digest").height
    everyone = max(owners, 1) * weeks
    return Load(
        singles=singles.height / everyone,
        digests=digests / everyone,
        busiest=by_owner["recipient"][0] if by_owner.height else "",
        busiest_singles=by_owner["len"][0] / weeks if by_owner.height else 0.0,
    )


def _examples(found: pl.DataFrame, past: Past, settings: Settings) -> tuple[Example, ...]:
    """The newest few of each rule in turn, so that no rule hides another."""
    stood = pl.max_horizontal(pl.col("opened_at"), instant(past.first))
    rows = found.with_columns(day=stood).join(past.deals.select("deal_id", "name"), on="deal_id", how="left")
    rows = rows.sort(["rule", "day", "deal_id"], descending=[False, True, False])
    turn = pl.int_range(pl.len()).over("rule")
    rows = rows.with_columns(turn=turn).sort("turn", "rule").head(EXAMPLES)
    return tuple(
        Example(
            row["rule"], row["deal_id"], row["name"] or row["deal_id"], f"{local_day(row['day'], settings)}"
        )
        for row in rows.iter_rows(named=True)
    )


def check_days(days: int) -> None:
    """Raise SettingsError for a number of days that cannot be replayed."""
    if not 7 <= days <= 730:
        raise SettingsError(f"--days {days}: a replay is of 7 to 730 days")
