"""A condition taken apart for one deal: which of its clauses hold, with the numbers of the day."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dealwatch.alerts.rules.conditions import FACT_TYPES, SCORE_TYPES, TOKEN, WORDS, condition

_COMPARISONS = ("<=", ">=", "<>", "!=", "=", "<", ">")
_TYPES = {**FACT_TYPES, **SCORE_TYPES}


@dataclass(frozen=True)
class Clause:
    """One of the clauses that AND joins: if it holds, its text with the deal's numbers, what it lacks."""

    holds: bool
    told: str
    lacks: str  # empty when it holds


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def clauses(when: str, facts: Mapping[str, Any]) -> tuple[Clause, ...]:
    """The clauses of a condition that was checked before; facts by name, unknown ones null or left out."""
    row = _row(facts)
    return tuple(_clause(part, row) for part in _parts(tuple(_tokens(when))))


def shown(value: Any) -> str:
    """A fact's value as people write it."""
    if value is None or value != value:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 1 or not value else f"{value:.3g}"
    return f"'{value}'"


def _row(facts: Mapping[str, Any]) -> pl.DataFrame:
    values = {name: [facts.get(name)] for name in _TYPES}
    row = pl.DataFrame(values, schema_overrides=_TYPES, strict=False)
    return row.with_columns(pl.col(pl.Float64).fill_nan(None))


def _tokens(text: str) -> Iterator[_Token]:
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "name" and match.group().upper() in WORDS:
            yield _Token("word", match.group().upper())
        elif kind != "space":
            yield _Token(kind, match.group())


def _parts(tokens: Sequence[_Token]) -> list[tuple[_Token, ...]]:
    """Cut at each AND that joins clauses; with an OR outside brackets it is all one clause."""
    parts: list[list[_Token]] = [[]]
    depth, is_between = 0, False
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token == _Token("word", "OR"):
            return [tuple(tokens)]
        if depth == 0 and token == _Token("word", "BETWEEN"):
            is_between = True
        elif depth == 0 and token == _Token("word", "AND"):
            if not is_between:
                parts.append([])
                continue
            is_between = False
        parts[-1].append(token)
    return [tuple(part) for part in parts]


def _clause(tokens: tuple[_Token, ...], row: pl.DataFrame) -> Clause:
    holds = bool(row.select(held=condition(_text(tokens)))["held"][0])
    told = _told(tokens, row)
    if holds:
        return Clause(True, told, "")
    return Clause(False, told, _comparison_lacks(tokens, row) or f"needs {told}")


def _told(tokens: tuple[_Token, ...], row: pl.DataFrame) -> str:
    """A plain comparison with its numbers within; anything longer with them behind."""
    if not any(token.kind == "word" or token.text == "(" for token in tokens):
        return _joined([f"{one.text} {_of(one, row)}" if one.kind == "name" else one.text for one in tokens])
    names = dict.fromkeys(token.text for token in tokens if token.kind == "name")
    return f"{_text(tokens)} (here {', '.join(f'{name} is {_shown_of(name, row)}' for name in names)})"


def _comparison_lacks(tokens: tuple[_Token, ...], row: pl.DataFrame) -> str:
    """What a plain comparison lacks: the bound in numbers, and what there is. Empty for other clauses."""
    signs = [n for n, token in enumerate(tokens) if token.text in _COMPARISONS]
    if len(signs) != 1 or any(token.kind == "word" for token in tokens) or tokens[0].text == "(":
        return ""
    left, sign, right = tokens[: signs[0]], tokens[signs[0]].text, tokens[signs[0] + 1 :]
    if (unknown := _unknown((*left, *right), row)) or not any(one.kind == "name" for one in left):
        return f"cannot be told: {_listed(unknown)}" if unknown else ""
    bound = f" ({_value(right, row)})" if any(one.kind == "name" for one in right) else ""
    return f"needs {_text(left)} {sign} {_text(right)}{bound}, has {_value(left, row)}"


def _unknown(tokens: Sequence[_Token], row: pl.DataFrame) -> list[str]:
    return [one.text for one in tokens if one.kind == "name" and row[one.text][0] is None]


def _listed(names: Sequence[str]) -> str:
    return f"{' and '.join(dict.fromkeys(names))} {'is' if len(set(names)) == 1 else 'are'} unknown"


def _value(tokens: Sequence[_Token], row: pl.DataFrame) -> str:
    return shown(row.select(value=pl.sql_expr(_text(tokens)))["value"][0])


def _of(token: _Token, row: pl.DataFrame) -> str:
    return _shown_of(token.text, row)


def _shown_of(name: str, row: pl.DataFrame) -> str:
    return shown(row[name][0])


def _text(tokens: Sequence[_Token]) -> str:
    return _joined([token.text for token in tokens])


def _joined(words: Sequence[str]) -> str:
    return " ".join(words).replace("( ", "(").replace(" )", ")").replace(" ,", ",")
