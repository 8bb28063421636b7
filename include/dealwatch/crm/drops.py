"""Where a source's drops lie, whether one has been seen before, and what its files say.

A source's folder holds either the files themselves, which speak for the moment they are read, or one folder a
day named YYYY-MM-DD, which speaks for 05:00 of that day in the organisation's zone.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

import polars as pl

from dealwatch.crm.checks import check
from dealwatch.crm.contract import OBJECTS, Object
from dealwatch.crm.faults import PROBLEM, Reading
from dealwatch.crm.files import Misfit, find_file, read_chunks
from dealwatch.crm.mapping import Mapper, mapper_of
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import FileMapping, Source
from dealwatch.settings import Settings

DAILY_AT = time(5)
PLAIN = "files"
FAULTS = {
    "row": pl.Int64,
    "field": pl.String,
    "reason": pl.String,
    "remedy": pl.String,
    "record": pl.String,
}
_KEYS: dict[Object, str] = {"deals": "deal_id", "owners": "owner_id"}


@dataclass(frozen=True)
class Drop:
    """One delivery of a source's files."""

    source: str
    name: str
    folder: Path
    extracted_at: datetime


@dataclass(frozen=True)
class Batch:
    """Some rows of one file: those in the contract's text, with `row` and `record`, and the faulty ones."""

    object: Object
    path: Path
    rows: pl.DataFrame
    faulty: pl.DataFrame


def find_drops(name: str, source: Source, *, settings: Settings, now: datetime) -> list[Drop]:
    """The source's drops up to `now`, in order of the moment they speak for."""
    if not source.path.is_dir():
        raise ExtractRefused(
            f"{source.path}: no such folder; correct [sources.{name}] path, or name it with --drop"
        )
    days = _day_folders(source.path)
    is_plain = find_file(source.path, source.deals.file) is not None
    if is_plain and days:
        raise ExtractRefused(
            f"{source.path}: holds {source.deals.file} and folders named by day; keep one of the two ways"
        )
    if not is_plain and not days:
        raise ExtractRefused(
            f"{source.path / source.deals.file}: no such file, nor a folder named YYYY-MM-DD beside it; "
            f"deliver it, or correct [sources.{name}] path or [sources.{name}.deals] file"
        )
    if is_plain:
        return [Drop(source=name, name=PLAIN, folder=source.path, extracted_at=now)]
    found = [
        Drop(
            source=name,
            name=day.isoformat(),
            folder=folder,
            extracted_at=datetime.combine(day, DAILY_AT, tzinfo=settings.zone).astimezone(UTC),
        )
        for day, folder in days
    ]
    return [drop for drop in found if drop.extracted_at <= now]


def _day_folders(path: Path) -> list[tuple[date, Path]]:
    found = []
    for folder in path.iterdir():
        try:
            found.append((date.fromisoformat(folder.name), folder))
        except ValueError:
            continue
    return sorted((day, folder) for day, folder in found if folder.is_dir() and len(folder.name) == 10)


def digest_of(drop: Drop, source: Source, *, settings: Settings) -> str:
    """The drop's identity: its source, name and content, and the settings by which it is read.

    The settings belong to it because a corrected mapping makes another reading of the same files.
    """
    read_by = {
        "source": source.model_dump(mode="json", exclude={"path", "max_vanished_share"}),
        "stages": [settings.pipeline.stages, settings.pipeline.won_stages, settings.pipeline.lost_stages],
        "zone": settings.time_zone,
    }
    whole = hashlib.sha256(json.dumps([drop.source, drop.name, read_by], sort_keys=True).encode())
    for path in _files_of(drop, source):
        whole.update(f"\n{path.name}\n".encode())
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:32]


def written_at(drop: Drop, source: Source) -> datetime:
    """When the last of the drop's files was written."""
    return max(datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in _files_of(drop, source))


def _files_of(drop: Drop, source: Source) -> list[Path]:
    names = set()
    for object_ in OBJECTS:
        mapping: FileMapping | None = getattr(source, object_)
        if mapping is not None:
            names |= {mapping.file, *(join.file for join in mapping.joins)}
    return [path for name in sorted(names) if (path := find_file(drop.folder, name)) is not None]


def read_drop(drop: Drop, source: Source, *, settings: Settings) -> Iterator[Batch]:
    """Every row of the drop's files, object by object in the contract's order.

    Raises ExtractRefused, naming file, reason and remedy, when a file cannot be used as a whole.
    """
    for object_ in OBJECTS:
        mapping: FileMapping | None = getattr(source, object_)
        if mapping is None:
            continue
        path = find_file(drop.folder, mapping.file)
        where = f"sources.{drop.source}.{object_}"
        if path is not None:
            yield from _read_file(object_, path, _reading(drop, source, mapping, where, settings))
        elif object_ == "deals" or mapping != Source.model_fields[object_].default:
            raise ExtractRefused(
                f"{drop.folder / mapping.file}: no such file; deliver it, or correct [{where}] file"
            )


def reread(
    object_: Object, records: pl.DataFrame, drop: Drop, source: Source, *, settings: Settings
) -> Batch:
    """Rows that were set aside before, judged as if they were in this drop; `record` as it was set aside.

    Raises ExtractRefused when their columns and the mapping do not fit.
    """
    mapping: FileMapping | None = getattr(source, object_)
    path = drop.folder / (mapping.file if mapping is not None else object_)
    if mapping is None:
        raise ExtractRefused(f"{path}: the source has no {object_} any more")
    header = list(json.loads(records["record"][0]))
    cells = pl.col("record").str.json_decode(pl.Struct(dict.fromkeys(header, pl.String)))
    text = records.select("row", *(cells.struct.field(name).alias(f"={name}") for name in header))
    reading = _reading(drop, source, mapping, f"sources.{drop.source}.{object_}", settings)
    mapper = mapper_of(object_, mapping, path=path, header=header, where=reading.where)
    return _batch(object_, path, check(object_, mapper(text), reading), [])


def _reading(drop: Drop, source: Source, mapping: FileMapping, where: str, settings: Settings) -> Reading:
    return Reading(
        mapping=mapping,
        deals_mapping=source.deals,
        pipeline=settings.pipeline,
        zone=settings.time_zone,
        extracted_at=drop.extracted_at,
        where=where,
    )


def _batch(object_: Object, path: Path, judged: pl.DataFrame, misfits: list[Misfit]) -> Batch:
    is_faulty = pl.col("=reason").is_not_null()
    told = (pl.col(name).alias(name.removeprefix("=")) for name in PROBLEM)
    found = judged.filter(is_faulty).select("row", *told, "record")
    faulty = pl.concat([found, _misfits(misfits)]).sort("row")
    return Batch(object_, path, judged.filter(~is_faulty).drop(*PROBLEM), faulty)


def _read_file(object_: Object, path: Path, reading: Reading) -> Iterator[Batch]:
    mapper: Mapper | None = None
    key = _KEYS.get(object_)
    seen = pl.DataFrame(schema={"key": pl.String, "=first": pl.Int64})
    for chunk in read_chunks(path, reading.mapping):
        if mapper is None:
            header = [name.removeprefix("=") for name in chunk.records.columns if name != "row"]
            mapper = mapper_of(object_, reading.mapping, path=path, header=header, where=reading.where)
        judged = check(object_, mapper(chunk.records), reading)
        if key is not None:
            judged, seen = _judge_repeats(judged, key, seen)
        yield _batch(object_, path, judged, chunk.misfits)


def _judge_repeats(judged: pl.DataFrame, key: str, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first usable row of an id stands; the others are faulty."""
    usable = judged.filter(pl.col("=reason").is_null()).select(pl.col(key).alias("key"), "row")
    first = usable.group_by("key").agg(pl.col("row").min().alias("=first"))
    seen = pl.concat([seen, first.join(seen, on="key", how="anti")])
    judged = judged.join(seen, left_on=key, right_on="key", how="left", maintain_order="left")
    repeats = pl.col("=reason").is_null() & (pl.col("row") != pl.col("=first"))
    told = {
        "=field": pl.lit(key),
        "=reason": pl.format("{} {} on line {} is already on line {}", pl.lit(key), key, "row", "=first"),
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
