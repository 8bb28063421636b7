"""What a CRM that takes our scores is to us: fields that fit, and a verdict for every deal sent.

A `Writer` knows the wire; what to write, and what was written, is known elsewhere. Writing the same values
twice is the same as writing them once, so whatever is in doubt is simply sent again.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self

from dealwatch.errors import SettingsError

Plain = str | int | None


@dataclass(frozen=True)
class Target:
    """A field of the CRM, checked to take what we put into it.

    length: UTF-16 units of text that fit, as CRMs count. words: of a picklist, its value for each of ours.
    """

    name: str
    kind: Literal["number", "text", "day"]
    length: int | None = None
    words: Mapping[str, str] = field(default_factory=dict)

    def shown(self, value: Plain) -> Plain:
        """The value as the field takes it."""
        if not isinstance(value, str):
            return value
        told = self.words.get(value, value)
        return told if self.length is None else cut(told, self.length)


@dataclass(frozen=True)
class Row:
    """What the fields of one deal are to hold, by the CRM's own names; None empties a field."""

    deal_id: str
    values: Mapping[str, Plain] = field(repr=False)


# written: the CRM says so. refused: it will not have these values, so they are not sent again. busy: somebody
# holds the deal just then. gone: there is no such deal any more. failed: anything else, to be mended there.
State = Literal["written", "refused", "busy", "gone", "failed"]


@dataclass(frozen=True)
class Verdict:
    """What became of a row; `code` is the CRM's own, of a row that was not written."""

    deal_id: str
    state: State
    code: str = ""


class Writer(Protocol):
    """A CRM as it is written to; to be closed, by `with`. Errors say no secret and nothing of a row."""

    most: int  # rows a call
    place: str  # the account's address: what was written to another does not count here

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def targets(self, fields: Mapping[str, str], bands: Sequence[str]) -> Mapping[str, Target]:
        """The fields by our value (score, band, reason, as_of), checked before anything is written.

        `bands` are the words that the field of the band has to take.

        Raises SettingsError, naming field and remedy, when one is not there, may not be written or does not
        fit; ExtractRefused and SourceDown as reading does.
        """

    def write(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        """Write `most` rows at most; a verdict for each, in any order.

        Raises ExtractRefused when the CRM refuses the request as a whole, SourceDown when it does not answer
        or is to be left alone; then nobody knows what of it was written, and it is to be sent again.
        """


def cut(text: str, length: int) -> str:
    """The text, at most so many UTF-16 units long, with an ellipsis where something is left out."""
    if _units(text) <= length:
        return text
    kept = text[: length - 1]
    while kept and (_units(kept) > length - 1 or unicodedata.combining(text[len(kept)])):
        kept = kept[:-1]
    return kept.rstrip() + "…"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def words_of(options: Mapping[str, str], bands: Sequence[str], *, where: str) -> dict[str, str]:
    """A picklist's value for each band, from its values by label; a value counts as a label of its own.

    Raises SettingsError naming the bands that the picklist lacks.
    """
    told = {value.casefold(): value for value in options.values()}
    told |= {label.casefold(): value for label, value in options.items()}
    missing = [band for band in bands if band.casefold() not in told]
    if missing:
        raise SettingsError(f"{where} lacks the values {', '.join(missing)}; add them to the picklist")
    return {band: told[band.casefold()] for band in bands}
