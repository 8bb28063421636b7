"""What a drop's records say, wherever they lie: mapped to the contract, judged, the faulty ones set apart.

A sheet is a file of a drop, or a table that a live source told page by page; from here on they are the same.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

from dealwatch.crm.checks import check
from dealwatch.crm.contract import Object
from dealwatch.crm.faults import PROBLEM, Reading
from dealwatch.crm.files import Chunk, Misfit
from dealwatch.crm.mapping import Beside, Mapper, mapper_of
from dealwatch.knobs import FileMapping, RecordMapping
from dealwatch.settings import Settings

# all: a deal that is not told is gone. open: so is one known as open, and of a closed one that says nothing.
# ids: as open, and a list of every id there is tells which of the others are gone. none: it says nothing.
# some: those that were asked for by id; that another is not told says nothing.
Covers = Literal["all", "open", "ids", "some", "none"]
FAULTS = {
    "row": pl.Int64,
    "field": pl.String,
    "reason": pl.String,
    "remedy": pl.String,
    "record": pl.String,
}
KEYS: dict[Object, str] = {"deals": "deal_id", "owners": "owner_id"}


@dataclass(frozen=True)
class Sheet:
    """The records of one file or table, and how to read them."""

    object: Object
    file: str  # what quarantine calls it
    path: Path  # what messages call it
    mapping: RecordMapping
    where: str  # the mapping's place in the settings
    chunks: Callable[[], Iterator[Chunk]]
    beside: Beside | None = None

    @property
    def counted(self) -> str:
        """What its rows are counted in."""
        return "line" if isinstance(self.mapping, FileMapping) else "row"


@dataclass(frozen=True)
class Arrival:
    """A drop on its way in: whose it is, the moment it speaks for, what it covers, and its sheets in order.

    `place` is what messages call it as a whole.
    """

    source: str
    name: str
    extracted_at: datetime
    place: Path
    sheets: tuple[Sheet, ...]
    covers: Covers = "all"
    repeats: int = 0  # rows left out because the same id was told again later

    def sheet_of(self, object_: Object, file: str) -> Sheet | None:
        """The sheet an object's rows came from, or its first one when the file has another name by now."""
        own = [sheet for sheet in self.sheets if sheet.object == object_]
        same = [sheet for sheet in own if sheet.file == file]
        return next(iter(same or own[:1]), None)


@dataclass(frozen=True)
class Batch:
    """Some rows of one sheet: those in the contract's text, with `row` and `record`, and the faulty ones."""

    object: Object
    file: str
    rows: pl.DataFrame
    faulty: pl.DataFrame


def read(arrival: Arrival, *, settings: Settings) -> Iterator[Batch]:
    """Every row of the sheets, in their order.

    Raises ExtractRefused, naming file, reason and remedy, when one cannot be used as a whole.
    """
    for sheet in arrival.sheets:
        yield from _read_sheet(sheet, _reading(sheet, arrival, settings))


def reread(sheet: Sheet, records: pl.DataFrame, arrival: Arrival, *, settings: Settings) -> Batch:
    """Rows that were set aside before, judged as if they were in this drop; `record` as it was set aside.

    Raises ExtractRefused when their columns and the mapping do not fit.
    """
    header = list(json.loads(records["record"][0]))
    cells = pl.col("record").str.json_decode(pl.Struct(dict.fromkeys(header, pl.String)))
    text = records.select("row", *(cells.struct.field(name).alias(f"={name}") for name in header))
    reading = _reading(sheet, arrival, settings)
    mapper = _mapper(sheet, header, reading)
    return _batch(sheet, check(sheet.object, mapper(text), reading), [])


def _reading(sheet: Sheet, arrival: Arrival, settings: Settings) -> Reading:
    of_deals = [one.mapping for one in arrival.sheets if one.object == "deals"]
    return Reading(
        mapping=sheet.mapping,
        deals_mapping=of_deals[0] if of_deals else sheet.mapping,
        pipeline=settings.pipeline,
        zone=settings.time_zone,
        extracted_at=arrival.extracted_at,
        where=sheet.where,
    )


def _mapper(sheet: Sheet, header: Sequence[str], reading: Reading) -> Mapper:
    return mapper_of(
        sheet.object,
        sheet.mapping,
        path=sheet.path,
        header=list(header),
        where=reading.where,
        beside=sheet.beside,
    )


def _batch(sheet: Sheet, judged: pl.DataFrame, misfits: list[Misfit]) -> Batch:
    is_faulty = pl.col("=reason").is_not_null()
    told = (pl.col(name).alias(name.removeprefix("=")) for name in PROBLEM)
    found = judged.filter(is_faulty).select("row", *told, "record")
    faulty = pl.concat([found, _misfits(misfits)]).sort("row")
    return Batch(sheet.object, sheet.file, judged.filter(~is_faulty).drop(*PROBLEM), faulty)


def _read_sheet(sheet: Sheet, reading: Reading) -> Iterator[Batch]:
    mapper: Mapper | None = None
    key = KEYS.get(sheet.object)
    seen = pl.DataFrame(schema={"key": pl.String, "=first": pl.Int64})
    for chunk in sheet.chunks():
        if mapper is None:
            header = [name.removeprefix("=") for name in chunk.records.columns if name != "row"]
            mapper = _mapper(sheet, header, reading)
        judged = check(sheet.object, mapper(chunk.records), reading)
        if key is not None:
            judged, seen = _judge_repeats(judged, key, seen, place=sheet.counted)
        yield _batch(sheet, judged, chunk.misfits)


def _judge_repeats(
    judged: pl.DataFrame, key: str, seen: pl.DataFrame, *, place: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first usable row of an id stands; the others are faulty."""
    usable = judged.filter(pl.col("=reason").is_null()).select(pl.col(key).alias("key"), "row")
    first = usable.group_by("key").agg(pl.col("row").min().alias("=first"))
    seen = pl.concat([seen, first.join(seen, on="key", how="anti")])
    judged = judged.join(seen, left_on=key, right_on="key", how="left", maintain_order="left")
    repeats = pl.col("=reason").is_null() & (pl.col("row") != pl.col("=first"))
    told = {
        "=field": pl.lit(key),
        "=reason": pl.format(
            f"{{}} {{}} on {place} {{}} is already on {place} {{}}", pl.lit(key), key, "row", "=first"
        ),
        "=remedy": pl.lit("Deliver each id once; the first usable row was taken."),
    }
    return (
        judged.with_columns(
            pl.when(repeats).then(value).otherwise(pl.col(name)).alias(name) for name, value in told.items()
        ).drop("=first"),
        seen,
    )


def _misfits(misfits: list[Misfit]) -> pl.DataFrame:
    remedy = "Quote values that hold the delimiter, quotes or line breaks, and double the quotes inside."
    return pl.DataFrame(
        [(m.row, "", m.reason, remedy, json.dumps({"text": m.text}, ensure_ascii=False)) for m in misfits],
        schema=FAULTS,
        orient="row",
    )
