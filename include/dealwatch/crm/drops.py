"""Where a source's drops lie, whether one has been seen before, and which files it holds.

A source's folder holds either the files themselves, which speak for the moment they are read, or one folder a
day named YYYY-MM-DD, which speaks for 05:00 of that day in the organisation's zone.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

from dealwatch.crm.contract import OBJECTS
from dealwatch.crm.files import find_file, read_chunks
from dealwatch.crm.sheets import Arrival, Sheet
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import FileMapping, Source
from dealwatch.settings import Settings

DAILY_AT = time(5)
PLAIN = "files"
# What of a source's settings does not change how its files are understood.
_NOT_READ_BY = {"path", "url", "connection", "access", "settle_minutes", "ready_by", "max_vanished_share"}


@dataclass(frozen=True)
class Drop:
    """One delivery of a source's files."""

    source: str
    name: str
    folder: Path
    extracted_at: datetime


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
            extracted_at=speaks_for(day, settings),
        )
        for day, folder in days
    ]
    return [drop for drop in found if drop.extracted_at <= now]


def day_of(name: str) -> date | None:
    """The day that a folder is named by, if it is one."""
    try:
        return date.fromisoformat(name) if len(name) == 10 else None
    except ValueError:
        return None


def speaks_for(day: date, settings: Settings) -> datetime:
    """The moment that the folder of a day speaks for."""
    return datetime.combine(day, DAILY_AT, tzinfo=settings.zone).astimezone(UTC)


def _day_folders(path: Path) -> list[tuple[date, Path]]:
    found = [(day_of(folder.name), folder) for folder in path.iterdir()]
    return sorted((day, folder) for day, folder in found if day is not None and folder.is_dir())


def read_by(source: Source, *, settings: Settings) -> dict[str, Any]:
    """The settings by which files are understood."""
    return {
        "source": source.model_dump(mode="json", exclude=_NOT_READ_BY),
        "stages": [settings.pipeline.stages, settings.pipeline.won_stages, settings.pipeline.lost_stages],
        "zone": settings.time_zone,
    }


def digest_of(drop: Drop, source: Source, *, settings: Settings) -> str:
    """The drop's identity: its source, name and content, and the settings by which it is read.

    The settings belong to it because a corrected mapping makes another reading of the same files.
    """
    told = [drop.source, drop.name, read_by(source, settings=settings)]
    whole = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for path in _files_of(drop, source):
        whole.update(f"\n{path.name}\n".encode())
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:32]


def written_at(drop: Drop, source: Source) -> datetime:
    """When the last of the drop's files was written."""
    return max(datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in _files_of(drop, source))


def _files_of(drop: Drop, source: Source) -> list[Path]:
    names = names_of(source)
    return [path for name in sorted(names) if (path := find_file(drop.folder, name)) is not None]


def names_of(source: Source) -> set[str]:
    """The files that a drop of the source may hold, as the mappings name them."""
    names = set()
    for object_ in OBJECTS:
        mapping: FileMapping | None = getattr(source, object_)
        if mapping is not None:
            names |= {mapping.file, *(join.file for join in mapping.joins)}
    return names


def arrival_of(drop: Drop, source: Source) -> Arrival:
    """The drop with its files as sheets, in order; raises ExtractRefused when one is missing."""
    sheets = []
    for object_ in OBJECTS:
        mapping: FileMapping | None = getattr(source, object_)
        if mapping is None:
            continue
        path = find_file(drop.folder, mapping.file)
        where = f"sources.{drop.source}.{object_}"
        if path is None and (object_ == "deals" or mapping != Source.model_fields[object_].default):
            raise ExtractRefused(
                f"{drop.folder / mapping.file}: no such file; deliver it, or correct [{where}] file"
            )
        # Rows that wait in quarantine are read by the mapping whether or not today's file is there.
        chunks = partial(read_chunks, path, mapping) if path else partial(iter, ())
        path = path or drop.folder / mapping.file
        sheets.append(Sheet(object_, path.name, path, mapping, where, chunks))
    return Arrival(
        source=drop.source,
        name=drop.name,
        extracted_at=drop.extracted_at,
        place=drop.folder / source.deals.file,
        sheets=tuple(sheets),
    )
