"""A rule's `say`: a sentence with places for facts, filled per deal.

Only names in braces are places, with at most a number format; what fills them is data and is never read again
as a template, so a deal named `{owner}` stays that.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from dealwatch.alerts.rules.conditions import FACT_TYPES, SCORE_TYPES, remedy_for

# What a sentence may name beside facts: word in the rule file = column of the facts frame.
IDENTITY = {
    "deal_name": "name",
    "account": "account",
    "currency": "currency",
    "close_date": "close_date",
    "next_step_on": "next_step_on",
}
UNKNOWN = "unknown"
_NUMBER_FORMAT = re.compile(r",?(\.[0-3])?[f%]")
_EXAMPLE = "{days_in_stage:.0f}"


class SayingFault(ValueError):
    """A sentence whose places cannot be filled: which one, and what to write instead."""


@dataclass(frozen=True)
class Saying:
    """A checked sentence, cut at its places."""

    parts: tuple[tuple[str, str | None, str], ...]  # text before, name or none, format

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, name, _ in self.parts if name is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the facts frame that the sentence needs, each once."""
        return tuple(dict.fromkeys(IDENTITY.get(name, name) for name in self.names))

    def about(self, row: Mapping[str, Any]) -> str:
        """The sentence for one deal."""
        return "".join(
            text if name is None else text + _shown(row.get(IDENTITY.get(name, name)), form)
            for text, name, form in self.parts
        )


def saying(text: str) -> Saying:
    """The sentence, checked; raises SayingFault."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise SayingFault(f"its braces do not match ({error}); write {{{{ for a brace itself") from error
    for _, name, form, conversion in parts:
        if name is not None:
            _check(name, form or "", conversion)
    return Saying(tuple((before, name, form or "") for before, name, form, _ in parts))


def _check(name: str, form: str, conversion: str | None) -> None:
    known = {**FACT_TYPES, **SCORE_TYPES, **IDENTITY}
    if conversion or not name.isidentifier():
        raise SayingFault(f"{{{name}}} is not a name; write a fact in braces, as in {_EXAMPLE}")
    if name not in known:
        raise SayingFault(f"{{{name}}} is no fact; {remedy_for(name, among=known)}")
    if form and (name in IDENTITY or not _is_number(name)):
        raise SayingFault(f"{{{name}:{form}}}: only numbers take a format; write {{{name}}}")
    if form and not _NUMBER_FORMAT.fullmatch(form):
        raise SayingFault(f"{{{name}:{form}}} has an unknown format; write .0f, ,.0f, .1f or .0%")


def _is_number(name: str) -> bool:
    return str({**FACT_TYPES, **SCORE_TYPES}[name]) == "Float64"


def _shown(value: Any, form: str) -> str:
    if value is None or value != value:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return format(value, form or ",.0f")
    if isinstance(value, date):
        return f"{value.day} {value:%B %Y}"
    return str(value)
