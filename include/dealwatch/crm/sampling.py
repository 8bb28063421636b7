"""The begin of a file as it seems to be written, and what its values look like: kinds, formats, shares."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dealwatch.crm.connecting import Field, Kind
from dealwatch.crm.files import read_chunks
from dealwatch.crm.values import iso_instants, plain_numbers
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import FileMapping

_SAMPLE_ROWS = 20_000
_DELIMITERS = (";", "\t", "|", ",")
_DATE_FORMATS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y")


@dataclass(frozen=True)
class Sample:
    """The begin of a file. mapping: how it is written, which may differ from what the settings say."""

    path: Path
    mapping: FileMapping
    records: pl.DataFrame
    misfits: int
    is_whole: bool

    @property
    def header(self) -> list[str]:
        return [name.removeprefix("=") for name in self.records.columns if name != "row"]

    def column(self, name: str) -> pl.Series:
        return self.records[f"={name}"].str.strip_chars().replace("", None).drop_nulls()

    def fields(self) -> list[Field]:
        return [Field(name, _kind(self.column(name))) for name in self.header]


def sample_of(path: Path, mapping: FileMapping) -> Sample:
    """The begin of a file, read as it seems to be written."""
    try:
        found = _begin(path, mapping)
    except ExtractRefused:
        if mapping.encoding != "utf-8":
            raise
        found = _begin(path, mapping.model_copy(update={"encoding": "cp1252"}))
    if len(found.header) > 1:
        return found
    others = [one for one in _DELIMITERS if one != mapping.delimiter and one in found.header[0]]
    return _begin(path, found.mapping.model_copy(update={"delimiter": others[0]})) if others else found


def _begin(path: Path, mapping: FileMapping) -> Sample:
    chunks = read_chunks(path, mapping, chunk_rows=_SAMPLE_ROWS)
    first = next(chunks)
    is_whole = first.records.height + len(first.misfits) < _SAMPLE_ROWS
    return Sample(path, mapping, first.records, len(first.misfits), is_whole)


def written(sample: Sample, own: FileMapping) -> dict[str, str]:
    """How the file is written, where the settings say otherwise."""
    return {
        key: getattr(sample.mapping, key)
        for key in ("delimiter", "encoding")
        if getattr(sample.mapping, key) != getattr(own, key)
    }


def _kind(values: pl.Series) -> Kind:
    if values.is_empty():
        return "other"
    if values.str.to_lowercase().is_in(["true", "false", "yes", "no"]).all():
        return "flag"
    if (
        share(values, plain_numbers(pl.col("v"))) > 0.95
        or share(values, plain_numbers(pl.col("v"), decimal=",")) > 0.95
    ):
        return "number"
    if share(values, iso_instants(pl.col("v"), zone="UTC")) > 0.9 or date_format_of([values]):
        return "date"
    return "text"


def share(values: pl.Series, read: pl.Expr) -> float:
    """How many of the values can be read so, as a share."""
    if values.is_empty():
        return 0.0
    readable = values.to_frame("v").select(read.is_not_null().sum()).item()
    return float(readable) / len(values)


def date_format_of(columns: list[pl.Series]) -> str | None:
    """The format of dates that are not ISO; None where they are, or nothing fits nearly all of them."""
    told = [one for one in columns if not one.is_empty()]
    if not told:
        return None
    values = pl.concat([one.alias("v") for one in told])
    if share(values, iso_instants(pl.col("v"), zone="UTC")) > 0.5:
        return None
    shares = {
        one: share(values, iso_instants(pl.col("v"), zone="UTC", date_format=one)) for one in _DATE_FORMATS
    }
    best = max(shares, key=lambda one: shares[one])
    return best if shares[best] > 0.9 else None
