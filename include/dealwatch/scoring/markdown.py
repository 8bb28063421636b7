"""Markdown that outside words cannot bend: a deal's name from the CRM is shown as it is and does nothing."""

import re
import unicodedata
from collections.abc import Sequence

LONGEST = 60  # characters of an outside word
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&^$:=\"'])")
_BEGINS_A_LINK = re.compile(r"(?i)(https?|ftp|mailto|www)(?=[:.])|@")
_JOINER = "\N{WORD JOINER}"  # invisible; renderers that make links of bare addresses find none


def plain(text: object) -> str:
    """Text on one line without the characters that have no shape of their own.

    Such turn the direction of reading, or tell a terminal what to do.
    """
    kept = "".join(
        " " if character.isspace() else character
        for character in str(text)
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    return " ".join(kept.split())


def escaped(text: object) -> str:
    """Text on one line, of `LONGEST` characters at most, in which nothing is markup, a link or HTML."""
    whole = plain(text)
    short = whole if len(whole) <= LONGEST else whole[: LONGEST - 1] + "…"
    parted = _BEGINS_A_LINK.sub(lambda found: found[0] + _JOINER, short)
    return _SPECIAL.sub(r"\\\1", parted)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table; the first `left` columns are set to the left, numbers to the right. Cells are Markdown."""
    lines = [titles, ["---" if n < left else "--:" for n in range(len(titles))], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
