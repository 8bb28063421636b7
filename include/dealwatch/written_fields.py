"""Which fields of a CRM our scores go into, and that nothing we write is read back as a fact about a deal."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from dealwatch.knobs import Access, RecordMapping, Section

VALUES = ("score", "band", "reason", "as_of")
# What a CRM moves with every write, ours too; spelled without case, underscores and a copy's prefixes.
_STAMPS = {"lastmodifieddate", "lastmodifiedbyid", "lastmodifiedby", "systemmodstamp", "hsupdatedbyuserid"}


class WriteBack(Section):
    """Custom fields of the CRM's deals that our scores go into; one that is not named is not written."""

    score: str | None = Field(default=None, description="Number field for the score, 0 to 100.")
    band: str | None = Field(
        default=None, description="Text field or picklist for the band: Low, Medium, High or Critical."
    )
    reason: str | None = Field(
        default=None, description="Text field for the first reason, cut to its length; needs as_of beside it."
    )
    as_of: str | None = Field(default=None, description="Date field for the morning the others speak of.")
    dry: bool = Field(
        default=True, description="Only say what would be written; set it to false once that is right."
    )
    connection: str | None = Field(
        default=None, description="Id of the Airflow connection that may write; else the source's own."
    )
    access: Access | None = Field(
        default=None, description="What that connection says, where there is no Airflow to ask."
    )

    @property
    def fields(self) -> dict[str, str]:
        """The CRM's field by our value: score, band, reason, as_of."""
        told = {value: getattr(self, value) for value in VALUES}
        return {value: field for value, field in told.items() if field is not None}

    @model_validator(mode="after")
    def _fields_make_sense(self) -> Self:
        fields = self.fields
        if not fields.keys() - {"as_of"}:
            raise ValueError("name a field for score, band or reason, or leave the table out")
        if self.reason is not None and self.as_of is None:
            raise ValueError("a reason speaks of one morning; name a date field for it by as_of")
        if len({_plain(field) for field in fields.values()}) < len(fields):
            raise ValueError("each value needs a field of its own")
        return self


def named_like(write_back: WriteBack | None, pattern: str, example: str) -> None:
    """Raise ValueError for a field that is none of the customer's own making."""
    for value, field in write_back.fields.items() if write_back else ():
        if not re.fullmatch(pattern, field):
            raise ValueError(f"write_back.{value}: {field[:80]!r} is no custom field; write it as {example}")


def check_nothing_is_read_back(sources: Mapping[str, Any]) -> None:
    """Raise ValueError when the mapping of any source reads what we write into another or the same.

    A score that came back as a fact would explain itself; a stamp that our own write moves would be taken for
    a sign of life.
    """
    written: dict[str, str] = {}
    for source in sources.values():
        if isinstance(found := getattr(source, "write_back", None), WriteBack):
            written |= {_plain(field): field for field in found.fields.values()}
    for name, source in sources.items() if written else ():
        for table, column, read in _read(source):
            first, *of_a_parent = read.split(".")
            own = _plain(first)
            where = f"sources.{name}.{table}: {column} = {read!r}"
            if own in written and not of_a_parent:
                raise ValueError(f"{where} is a field that write_back fills; a score must not become a fact")
            if own in _STAMPS or own.removeprefix("hs") in _STAMPS:
                raise ValueError(f"{where} moves with each of our own writes; leave it out of the mapping")


def _read(source: Any) -> Iterator[tuple[str, str, str]]:
    """Table of the mapping, our name, the source's column."""
    for table in type(source).model_fields:
        mapping = getattr(source, table)
        if isinstance(mapping, RecordMapping):
            yield from ((table, ours, theirs) for ours, theirs in mapping.columns.items())
            yield from ((table, ours, theirs) for join in mapping.joins for ours, theirs in join.take.items())


def _plain(field: str) -> str:
    """A field's name however a copy of the CRM spells it: Risk__c is risk_c there, risk is property_risk."""
    return field.casefold().removeprefix("property_").replace("_", "")
