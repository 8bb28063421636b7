"""What a rule's `when` may say: comparisons of facts, joined by AND, OR and NOT, and nothing else.

The text is read as a Polars SQL expression, which could do far more; so each word is checked against a short
list before the expression is made. The rest raises ConditionFault; the rule file's reader adds the line.
"""

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache

import polars as pl
from polars.exceptions import PolarsError

from dealwatch.scoring.facts import FACTS

WORDS = frozenset({"AND", "OR", "NOT", "IS", "NULL", "BETWEEN", "IN", "TRUE", "FALSE"})
TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--|/\*)
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<string>'(?:[^']|'')*')
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign><=|>=|<>|!=|[=<>+\-*(),])
    """,
    re.VERBOSE,
)
_UNIT = re.compile(r"\s*(%|[A-Za-z]\w*)")  # what people write behind a number
_TYPES: dict[str, pl.DataType] = {"number": pl.Float64(), "flag": pl.Boolean(), "category": pl.String()}

FACT_TYPES: Mapping[str, pl.DataType] = {fact.name: _TYPES[fact.kind] for fact in FACTS}
SCORE_TYPES: Mapping[str, pl.DataType] = {"score": pl.Float64(), "band": pl.String(), "p_loss": pl.Float64()}


class ConditionFault(ValueError):
    """A condition that cannot be followed: what is wrong with it and what to write instead."""


def names_in(text: str) -> tuple[str, ...]:
    """The facts a condition names, in order, each once; raises ConditionFault for anything not allowed."""
    found: dict[str, None] = {}
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ConditionFault(_unreadable(text, position))
        position = match.end()
        if match.lastgroup == "number":
            _check_unit(match.group(), text, position)
        if match.lastgroup == "comment":
            raise ConditionFault("comments belong outside the quotes, after a #")
        if match.lastgroup == "name" and match.group().upper() not in WORDS:
            _check_name(match.group(), follows=text[position:].lstrip()[:1])
            found[match.group()] = None
    if not found:
        raise ConditionFault("it names no fact; compare at least one, as in: days_in_stage > 30")
    return tuple(found)


@lru_cache(maxsize=1_000)  # the same few on every morning of a backfill
def condition(text: str) -> pl.Expr:
    """The condition as an expression; where a fact it needs is unknown it does not hold.

    Raises ConditionFault.
    """
    types = {**FACT_TYPES, **SCORE_TYPES}
    names_in(text)
    try:
        made = pl.sql_expr(text)
        result = pl.DataFrame(schema=types).select(held=made).schema["held"]
    except PolarsError as error:
        raise ConditionFault(f"it cannot be read: {str(error).splitlines()[0]}") from error
    if result != pl.Boolean():
        raise ConditionFault("it is a value, not a yes or no; compare it, as in: days_in_stage > 30")
    return made.fill_null(False)


def known_facts(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with not-a-number as unknown: Polars holds NaN to be greater than any number."""
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def _check_unit(number: str, text: str, position: int) -> None:
    unit = _UNIT.match(text, position)
    if unit and unit.group(1).upper() not in WORDS:
        raise ConditionFault(
            f"numbers stand alone: write {number} without {unit.group(1)!r}; docs/facts.md gives each fact's"
            " unit, and a share is 0.5, not 50%"
        )


def _check_name(name: str, *, follows: str) -> None:
    if follows == "(" or name.upper() in {"CASE", "SELECT", "CAST"}:
        raise ConditionFault(
            f"{name} is not allowed: a condition compares facts with numbers, words and each other; "
            "if it needs a function or a query, a fact is missing"
        )
    if name not in FACT_TYPES and name not in SCORE_TYPES:
        raise ConditionFault(f"unknown fact {name!r}; {remedy_for(name)}")


def remedy_for(name: str, *, among: Mapping[str, object] | None = None) -> str:
    """The nearest known names, or where they are listed."""
    near = difflib.get_close_matches(name, [*(among or {**FACT_TYPES, **SCORE_TYPES})], n=2, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else "docs/facts.md lists the facts"


def _unreadable(text: str, position: int) -> str:
    sign = text[position]
    if sign == "/":
        return "division is not allowed, for it may be by zero; write a > 2 * b instead of a / b > 2"
    if sign == '"':
        return "words stand in single quotes, as in: stage = 'Legal'"
    if sign == "'":
        return "a quoted word is not closed; end it with '"
    return f"{sign!r} is not allowed; use comparisons, + - *, AND, OR, NOT, IN, BETWEEN and IS NULL"
