"""Rules: what is worth noticing about a deal, one TOML file each, and for which deals it holds.

A rule's name is its file's name and is its identity; everything else in it may change.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.rules.conditions import SCORE_TYPES, ConditionFault, condition, known_facts, names_in
from dealwatch.alerts.rules.files import RuleFile, read_rule_file
from dealwatch.alerts.rules.sayings import Saying, SayingFault, saying
from dealwatch.errors import SettingsError
from dealwatch.scoring.facts import FACTS
from dealwatch.warehouse import INSTANT

Scope = Literal["deal", "stage_spell"]
RECIPIENTS = ("owner", "manager", "revops")
MAX_POINTS = 40
MAX_COOLDOWN_DAYS = 90
MAX_CONFIRM_MORNINGS = 10
_HELD: Mapping[str, Any] = {"as_of": INSTANT, "deal_id": pl.String, "rule": pl.String, "level": pl.Int64}
_POINTS: Mapping[str, Any] = {
    "as_of": INSTANT,
    "deal_id": pl.String,
    "rule": pl.String,
    "about": pl.String,
    "points": pl.Int64,
    "sentence": pl.String,
    "action": pl.String,
}
STAYS_OPEN = 0  # the level of a signal that keeps an open alert open but opens none


@dataclass(frozen=True)
class Level:
    """One severity of a rule; higher is worse."""

    level: int
    name: str
    when: str
    points: int
    digest_only: bool
    say: Saying
    held: pl.Expr = field(compare=False, repr=False)


@dataclass(frozen=True)
class Rule:
    """One rule as its file says it, checked."""

    name: str
    title: str
    why: str
    action: str
    send_to: tuple[str, ...]
    cooldown_days: int
    scope: Scope
    folds_others: bool
    levels: tuple[Level, ...]  # rising
    stays_when: str | None
    stays: pl.Expr | None = field(compare=False, repr=False)
    confirms_after: int | None = None  # as the file says

    @property
    def confirm_mornings(self) -> int:
        """Scored mornings in a row before an alert opens: a score wavers, a fact does not."""
        if self.confirms_after is not None:
            return self.confirms_after
        return 2 if self.uses_score else 1

    @cached_property
    def uses_score(self) -> bool:
        """Whether it compares the score: then it adds no points to it."""
        texts = [level.when for level in self.levels] + ([self.stays_when] if self.stays_when else [])
        return any(name in SCORE_TYPES for text in texts for name in names_in(text))

    @cached_property
    def about(self) -> str:
        """The fact group it speaks about: that of the first fact it compares."""
        groups = {fact.name: fact.group for fact in FACTS}
        return next((groups[name] for name in names_in(self.levels[0].when) if name in groups), self.name)

    def at(self, level: int) -> Level:
        """The level of that number; of a signal that only keeps an alert open, the lowest."""
        return next((one for one in self.levels if one.level == level), self.levels[0])

    def condition_of(self, level: int) -> str:
        """What a level's record is a record of, as a digest: after another condition it says nothing."""
        whens = [one.when for one in self.levels if one.level >= level]
        return digest(self.scope, str(self.confirm_mornings), self.stays_when or "", *whens)


def load_rules(folder: Path) -> tuple[Rule, ...]:
    """Every rule of the folder, sorted by name; raises SettingsError naming file, line and remedy."""
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise SettingsError(f"{folder}: no rule files; check alerts.rules in the settings")
    return tuple(load_rule(path) for path in paths)


def load_rule(path: Path) -> Rule:
    """The rule of one file; raises SettingsError naming file, line and remedy."""
    file = read_rule_file(path)
    values = file.values
    _check_fields(file)
    stays = values.get("stays_when")
    rule = Rule(
        name=path.stem,
        title=values["title"],
        why=values["why"],
        action=values["action"],
        send_to=tuple(values["send_to"]),
        cooldown_days=values["cooldown_days"],
        scope=values.get("scope", "deal"),
        folds_others=values.get("folds_others", False),
        levels=_levels(file),
        stays_when=stays,
        stays=None if stays is None else _condition(file, "stays_when", stays, None),
        confirms_after=values.get("confirm_mornings"),
    )
    _check_score_rule(file, rule)
    return rule


def levels_held(rules: Sequence[Rule], facts: pl.DataFrame) -> pl.DataFrame:
    """Which rule holds for which deal and moment: as_of, deal_id, rule, level (the highest), sorted.

    Where a fact that a condition needs is unknown, the condition does not hold.
    """
    known = known_facts(facts)
    parts = [
        known.select("as_of", "deal_id", rule=pl.lit(rule.name), level=_highest(rule)).drop_nulls("level")
        for rule in rules
    ]
    held = pl.concat(parts) if parts else pl.DataFrame(schema=_HELD)
    return held.sort("as_of", "rule", "deal_id")


def rule_points(rules: Sequence[Rule], facts: pl.DataFrame) -> pl.DataFrame:
    """What rules add to the score, sorted by deal and rule; a row per rule that holds.

    Columns: as_of, deal_id, rule, about (its fact group), points, sentence, action. Rules about the score
    itself add nothing to it, nor do levels without points.
    """
    parts = [_with_sentences(held, rule, facts) for rule, held in _worth(rules, facts)]
    added = pl.concat(parts).select(list(_POINTS)) if parts else pl.DataFrame(schema=_POINTS)
    return added.sort("as_of", "deal_id", "rule")


def points_added(rules: Sequence[Rule], facts: pl.DataFrame) -> pl.Series:
    """What all rules together add to the score of each row of `facts`, in its order; nothing is capped."""
    keys = ["as_of", "deal_id"]
    held = [held.select(*keys, "points") for _, held in _worth(rules, facts)]
    if not held:
        return pl.Series("points", [0] * facts.height)
    sums = pl.concat(held).group_by(keys).agg(pl.col("points").sum())
    return facts.select(keys).join(sums, on=keys, how="left", maintain_order="left")["points"].fill_null(0)


def _worth(rules: Sequence[Rule], facts: pl.DataFrame) -> Iterator[tuple[Rule, pl.DataFrame]]:
    """The rules that add points, each with the rows of `levels_held` that are worth some."""
    for rule in rules:
        worth = {level.level: level.points for level in rule.levels if level.points}
        if worth and not rule.uses_score:
            points = pl.col("level").replace_strict(worth, default=None, return_dtype=pl.Int64)
            yield rule, levels_held([rule], facts).with_columns(points=points).drop_nulls("points")


def _with_sentences(held: pl.DataFrame, rule: Rule, facts: pl.DataFrame) -> pl.DataFrame:
    needed = sorted({name for level in rule.levels for name in level.say.columns})
    rows = held.join(
        facts.select("as_of", "deal_id", *needed), on=["as_of", "deal_id"], how="left", maintain_order="left"
    )
    sentences = [rule.at(row["level"]).say.about(row) for row in rows.iter_rows(named=True)]
    return held.with_columns(
        about=pl.lit(rule.about),
        sentence=pl.Series(sentences, dtype=pl.String),
        action=pl.lit(rule.action),
    )


def _highest(rule: Rule) -> pl.Expr:
    levels = [pl.when(level.held).then(pl.lit(level.level, pl.Int64)) for level in rule.levels]
    if rule.stays is not None:
        levels.append(pl.when(rule.stays).then(pl.lit(STAYS_OPEN, pl.Int64)))
    return pl.max_horizontal(levels)


def _check_fields(file: RuleFile) -> None:
    values = file.values
    if not values["send_to"] or any(one not in RECIPIENTS for one in values["send_to"]):
        file.refuse("send_to", f"write a list of {', '.join(RECIPIENTS)}, not {values['send_to']!r}")
    if not 0 <= values["cooldown_days"] <= MAX_COOLDOWN_DAYS:
        file.refuse("cooldown_days", f"write 0 to {MAX_COOLDOWN_DAYS} business days")
    if not 1 <= values.get("confirm_mornings", 1) <= MAX_CONFIRM_MORNINGS:
        file.refuse("confirm_mornings", f"write 1 to {MAX_CONFIRM_MORNINGS} scored mornings")
    if values.get("scope", "deal") not in ("deal", "stage_spell"):
        file.refuse("scope", f"write deal or stage_spell, not {values['scope']!r}")
    if ("when" in values) == bool(values.get("levels")):
        file.refuse("when", "write either one `when` or [[levels]] tables, each with its own")


def _levels(file: RuleFile) -> tuple[Level, ...]:
    values = file.values
    tables: list[dict[str, Any]] = values.get("levels") or []
    if not tables:
        single = {"level": 1, "name": values["title"], "when": values["when"]}
        return (_level(file, single, None),)
    made: list[Level] = []
    for number, table in enumerate(tables):
        if not 1 <= table["level"] <= 3:
            file.refuse("level", "write 1, 2 or 3", level=number)
        if table["level"] in [level.level for level in made]:
            file.refuse("level", f"level {table['level']} is there twice; number them 1, 2, 3", level=number)
        made.append(_level(file, table, number))
    return tuple(sorted(made, key=lambda level: level.level))


def _level(file: RuleFile, table: Mapping[str, Any], number: int | None) -> Level:
    points = table.get("points", file.values.get("points", 0))
    if not 0 <= points <= MAX_POINTS:
        owner = number if "points" in table else None
        file.refuse("points", f"write 0 to {MAX_POINTS}, not {points}", level=owner)
    own_say = number if "say" in table else None
    return Level(
        level=table["level"],
        name=table["name"],
        when=table["when"],
        points=points,
        digest_only=table.get("digest_only", False),
        say=_saying(file, table.get("say", file.values["say"]), own_say),
        held=_condition(file, "when", table["when"], number),
    )


def _condition(file: RuleFile, key: str, text: str, number: int | None) -> pl.Expr:
    try:
        return condition(text)
    except ConditionFault as fault:
        file.refuse(key, str(fault), level=number)


def _saying(file: RuleFile, text: str, number: int | None) -> Saying:
    try:
        return saying(text)
    except SayingFault as fault:
        file.refuse("say", str(fault), level=number)


def _check_score_rule(file: RuleFile, rule: Rule) -> None:
    """A rule about the score cannot add to it, and a rule about facts knows no score to print."""
    if rule.uses_score:
        if any(level.points for level in rule.levels):
            file.refuse("points", "a rule that compares score, band or p_loss adds no points; take it out")
        return
    for level in rule.levels:
        named = set(level.say.names) & set(SCORE_TYPES)
        if named:
            file.refuse("say", f"{{{min(named)}}} is only known to rules whose `when` compares it")
