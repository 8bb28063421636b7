"""Reads a rule file's fields, and refuses with file, line and remedy what a rule cannot have."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dealwatch.errors import SettingsError


@dataclass(frozen=True)
class Field:
    """One field of a rule file; docs/rules.md is made of these."""

    name: str
    type: type
    sentence: str
    is_required: bool = True


FIELDS: tuple[Field, ...] = (
    Field("title", str, "What the alert is called."),
    Field("say", str, "The sentence about a deal; facts stand in braces, as in {days_in_stage:.0f}."),
    Field("why", str, "Why this is worth knowing; for the reader of this page."),
    Field("action", str, "The one suggestion, as an instruction."),
    Field("send_to", list, "Who is told: owner, manager, revops."),
    Field("cooldown_days", int, "Business days before the same alert may be repeated, 0 to 90."),
    Field("scope", str, "`deal` (default), or `stage_spell`: a new visit to a stage is a new alert.", False),
    Field("points", int, "Points a level adds to the score unless it has its own, 0 to 40.", False),
    Field("stays_when", str, "An open alert stays open while this holds, though no level does.", False),
    Field(
        "confirm_mornings",
        int,
        "Scored mornings in a row it has to hold before it opens an alert, 1 to 10; else 2 for a rule that"
        " compares the score, and 1 for any other.",
        False,
    ),
    Field("folds_others", bool, "The deal's other alerts become part of this one's message.", False),
    Field("when", str, "The condition of a rule with one level; else each level has its own.", False),
    Field("levels", list, "One [[levels]] table per level.", False),
)

LEVEL_FIELDS: tuple[Field, ...] = (
    Field("level", int, "1, 2 or 3; higher is worse, and the highest that holds counts."),
    Field("name", str, "What the level is called."),
    Field("when", str, "The condition."),
    Field("points", int, "Points it adds to the score, 0 to 40.", False),
    Field("say", str, "Its own sentence.", False),
    Field("digest_only", bool, "It never interrupts, whatever its record.", False),
)

_TYPE_NAMES = {
    str: "text in quotes",
    int: "a whole number without quotes or unit",
    bool: "true or false",
    list: "a list in square brackets",
}


@dataclass(frozen=True)
class RuleFile:
    """A rule file's text and values, with a way to refuse a field at its line."""

    path: Path
    text: str
    values: Mapping[str, Any]

    def line_of(self, key: str, level: int | None = None) -> int:
        """The line of a key; `level` counts the [[levels]] tables from 0, none is the top of the file."""
        table = -1
        first = 1
        for number, line in enumerate(self.text.splitlines(), start=1):
            if key == "levels" and re.match(r"\s*\[\s*levels\s*\]", line):
                return number
            if re.match(r"\s*\[\[\s*levels\s*\]\]", line):
                table += 1
                first = number if table == level else first
            elif table == (-1 if level is None else level) and re.match(
                rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line
            ):
                return number
        return first

    def refuse(self, key: str, problem: str, *, level: int | None = None) -> NoReturn:
        """Raise SettingsError about a field."""
        raise SettingsError(f"{self.path}:{self.line_of(key, level)}: {key}: {problem}")


def read_rule_file(path: Path) -> RuleFile:
    """The file with every field known and of its type; raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte-order mark first
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}:1: not UTF-8 text; save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line (\d+)", str(error))
        line = where.group(1) if where else len(text.splitlines())
        raise SettingsError(f"{path}:{line}: not TOML: {error}; see a shipped rule for the form") from error
    file = RuleFile(path, text, values)
    if isinstance(values.get("levels"), dict):
        file.refuse("levels", "write each level as a [[levels]] table, with two brackets")
    _check(file, values, FIELDS)
    for number, level in enumerate(values.get("levels", [])):
        if not isinstance(level, dict):
            file.refuse("levels", "write each level as a [[levels]] table, with two brackets")
        _check(file, level, LEVEL_FIELDS, level=number)
    return file


def _check(
    file: RuleFile, values: Mapping[str, Any], fields: tuple[Field, ...], *, level: int | None = None
) -> None:
    known = {field.name: field for field in fields}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            guess = f"did you mean {near[0]}? " if near else ""
            owner = "a rule" if level is None else "a level"
            file.refuse(key, f"unknown field; {guess}{owner} may have {', '.join(known)}", level=level)
        wanted = known[key].type
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            file.refuse(key, f"write {_TYPE_NAMES[wanted]}, not {value!r}", level=level)
        if isinstance(value, str) and not value.strip():
            file.refuse(key, "it is empty; write it or leave the line out", level=level)
    for field in fields:
        if field.is_required and field.name not in values:
            remedy = f"missing; add a line: {field.name} = ... ({field.sentence})"
            file.refuse(field.name, remedy, level=level)
