"""Drops brought to hand before they are read, and the ledger of files that were: those are not read again."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from sqlalchemy import Engine, func, select

from dealwatch.crm.drops import day_of, read_by, speaks_for
from dealwatch.crm.object_store import Delivery, Remote, StillWritten, called, check_sum, fetch, look
from dealwatch.errors import ExtractRefused
from dealwatch.history.quarantine import REPLAYED
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.tables import drop_files, extract_runs
from dealwatch.warehouse import instant, put, reading, rows_of, writing

log = logging.getLogger(__name__)


@dataclass
class Hand:
    """A source's drops that can be read here, and what the ledger will say of them.

    source: with the folder they lie in. is_empty: nothing is there that was not read before.
    """

    engine: Engine
    name: str
    source: Source
    told_as: str = ""
    read_by: str = ""
    is_empty: bool = False
    files: dict[str, list[tuple[Remote, str]]] = field(default_factory=dict)
    rows: dict[str, Mapping[str, int]] = field(default_factory=dict)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Refusals name the files where they came from, not their copies."""
        try:
            yield
        except ExtractRefused as error:
            if self.told_as:
                error.args = (str(error).replace(str(self.source.path), self.told_as), *error.args[1:])
            raise

    def refuse(self, drop: str) -> None:
        """What is refused will be fetched again."""
        self.files.pop(drop, None)

    def count(self, drop: str, rows: Mapping[str, int]) -> None:
        self.rows[drop] = rows

    def keep(self, now: datetime) -> None:
        """Write what was read into the ledger of files."""
        told = [
            {
                "source": self.name,
                "path": file.path,
                "size": file.size,
                "version": file.version,
                "sha256": sha256,
                "rows": self.rows.get(drop, {}).get(file.name),
                "read_by": self.read_by,
                "modified_at": file.modified_at,
            }
            for drop, files in self.files.items()
            for file, sha256 in files
        ]
        if told:
            frame = pl.DataFrame(told, schema_overrides={"rows": pl.Int64})
            frame = frame.with_columns(
                pl.col("modified_at").cast(pl.Datetime("us", "UTC")), instant(now).alias("recorded_at")
            )
            with writing(self.engine) as connection:
                put(connection, drop_files, frame)


@contextmanager
def at_hand(
    engine: Engine, name: str, source: Source, *, settings: Settings, now: datetime
) -> Iterator[Hand]:
    """The source's drops in a folder here: where they are, or copied there for as long as they are read.

    Raises ExtractRefused and SourceDown as the place they come from does.
    """
    if not source.is_fetched:
        yield Hand(engine, name, source)
        return
    told = json.dumps(read_by(source, settings=settings), sort_keys=True)
    with TemporaryDirectory(prefix="dealwatch-") as folder:
        near = source.model_copy(update={"path": Path(folder), "url": ""})
        digest = hashlib.sha256(told.encode()).hexdigest()[:32]
        hand = Hand(engine, name, near, called(source), digest)
        found = look(name, source, now=now)
        newest, known = _known(engine, name)
        for delivery in found:
            day = day_of(delivery.name)
            is_late = day is not None and newest is not None and speaks_for(day, settings) < newest
            if is_late or (day is not None and speaks_for(day, settings) > now):
                continue
            if delivery.not_yet:
                log.warning("%s: %s is left for later: %s", name, delivery.name, delivery.not_yet)
            elif not _is_known(delivery, known, hand.read_by):
                _bring(hand, delivery, source)
        hand.is_empty = bool(found) and not hand.files
        yield hand


def _known(engine: Engine, name: str) -> tuple[datetime | None, dict[str, Any]]:
    """The moment the newest drop speaks for, and the ledger of files by path."""
    c = extract_runs.c
    newest = select(func.max(c.extracted_at, type_=c.extracted_at.type)).where(
        c.source == name, c.state != REPLAYED
    )
    with reading(engine) as connection:
        files = rows_of(connection, select(drop_files).where(drop_files.c.source == name))
        return connection.execute(newest).scalar_one(), {row.path: row for row in files}


def _is_known(delivery: Delivery, known: Mapping[str, Any], digest: str) -> bool:
    """Whether all of its files are as they were when they were read, by these settings."""
    return bool(delivery.files) and all(
        (row := known.get(file.path)) is not None
        and (row.size, row.modified_at, row.version, row.read_by)
        == (file.size, file.modified_at, file.version, digest)
        for file in delivery.files
    )


def _bring(hand: Hand, delivery: Delivery, source: Source) -> None:
    """Copy a drop's files, checked; none of it when one is still being written."""
    folder = hand.source.path if day_of(delivery.name) is None else hand.source.path / delivery.name
    folder.mkdir(exist_ok=True)
    brought = []
    try:
        for file in delivery.files:
            into = folder / file.name
            sha256 = fetch(file, into, source)
            check_sum(file, sha256, delivery, source)
            stamp = file.modified_at.timestamp()
            os.utime(into, (stamp, stamp))
            brought.append((file, sha256))
    except StillWritten as file_:
        log.warning("%s: %s is left for later: %s changed meanwhile", hand.name, delivery.name, file_)
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()
        if folder != hand.source.path:
            folder.rmdir()
        return
    hand.files[delivery.name] = brought
