"""Land a drop: its rows as raw records, what cannot be used into quarantine, all in one transaction."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Engine, select, update

from dealwatch.crm.drops import PLAIN, Drop, arrival_of, digest_of, find_drops, written_at
from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.history.arriving import arrival_of_pages
from dealwatch.history.gates import pass_gates
from dealwatch.history.measures import faults_of
from dealwatch.history.quarantine import REPLAYED
from dealwatch.history.staging import Held, is_there, let_go, progress
from dealwatch.history.taking import Taken, take_in
from dealwatch.history.terms import terms_of, terms_of_plan
from dealwatch.history.vanished import refuse_a_drop_that_lacks_too_much
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.sources import LiveSource
from dealwatch.tables import extract_runs
from dealwatch.warehouse import add_missing, instant, reading, rows_of, writing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unread:
    """A drop to be read, and the digest it is known by.

    `is_again`: plain files already landed that the exporter has written again without a change.
    """

    drop: Drop
    extract_id: str
    is_again: bool = False


@dataclass(frozen=True)
class Landed:
    """A drop whose rows are in the warehouse."""

    extract_id: str
    records: int
    quarantined: int
    rows: Mapping[str, int] = field(default_factory=dict)  # that a file has, by its name


def unread_drops(
    engine: Engine, name: str, source: Source, *, settings: Settings, now: datetime
) -> list[Unread]:
    """The source's drops that are not landed yet, oldest first, or its plain files written again.

    A drop that speaks for an earlier moment than the newest one landed comes too late: what it would change
    is already known otherwise. Plain files that changed are refused then; a day's folder is passed over.
    """
    with reading(engine) as connection:
        known = rows_of(
            connection,
            select(extract_runs).where(extract_runs.c.source == name, extract_runs.c.state != REPLAYED),
        )
    names = {run.drop_name for run in known}
    newest = max((run.extracted_at for run in known), default=None)
    unread = []
    for drop in find_drops(name, source, settings=settings, now=now):
        is_late = newest is not None and drop.extracted_at < newest
        if is_late and drop.name != PLAIN:
            if drop.name not in names:
                log.warning(
                    "%s: this drop came after a later one was read, so it is passed over", drop.folder
                )
            continue
        digest = digest_of(drop, source, settings=settings)
        extract_id = _new_id(drop, digest, known)
        if extract_id is None:
            if drop.name == PLAIN and _is_written_again(drop, source, newest):
                unread.append(Unread(drop, _landed_id(digest, known), is_again=True))
            continue
        if is_late:
            raise ExtractRefused(
                f"{drop.folder}: these files changed since they were read for {newest}, so they cannot "
                f"speak for {drop.extracted_at}; extract with a later moment"
            )
        unread.append(Unread(drop, extract_id))
    return unread


def _new_id(drop: Drop, digest: str, known: Sequence[Any]) -> str | None:
    """The drop's id, or None when it has been landed.

    Plain files may return to what they were before the last change, which is news again: their id depends on
    the run before them, and only the newest run can be the same.
    """
    if drop.name != PLAIN:
        return None if any(run.extract_id == digest for run in known) else digest
    if _landed_id(digest, known):
        return None
    runs = _in_order(known)
    return _after(digest, runs[-1].extract_id if runs else "")


def _landed_id(digest: str, known: Sequence[Any]) -> str:
    """Under which id the newest run landed plain files of this content; empty when it did not."""
    runs = _in_order(known)
    possible = {_after(digest, before) for before in ("", *(run.extract_id for run in runs))}
    newest = [run.extract_id for run in runs if run.extracted_at == runs[-1].extracted_at]
    return next((extract_id for extract_id in newest if extract_id in possible), "")


def _in_order(runs: Sequence[Any]) -> list[Any]:
    return sorted(runs, key=lambda run: (run.extracted_at, run.extract_id))


def _after(digest: str, before: str) -> str:
    return hashlib.sha256(f"{before} {digest}".encode()).hexdigest()[:32]


def _is_written_again(drop: Drop, source: Source, newest: datetime | None) -> bool:
    """Whether a file was written between the newest run's moment and this one.

    One written after this moment cannot speak for it: an earlier day is then being replayed.
    """
    return newest is not None and newest < written_at(drop, source) <= drop.extracted_at


def speak_again(engine: Engine, unread: Unread) -> None:
    """Let the run that landed these files speak for this moment: a quiet day is no dead exporter."""
    c = extract_runs.c
    with writing(engine, alone="ledger") as connection:
        connection.execute(
            update(extract_runs)
            .where(c.extract_id == unread.extract_id, c.extracted_at < unread.drop.extracted_at)
            .values(extracted_at=unread.drop.extracted_at)
        )
    log.info("%s: written again, unchanged, for %s", unread.drop.folder, unread.drop.extracted_at)


def land(engine: Engine, unread: Unread, source: Source, *, settings: Settings, now: datetime) -> Landed:
    """Store the drop's rows; a second landing of the same drop changes nothing.

    Raises ExtractRefused, with nothing of the drop kept, when it cannot be used as a whole.
    """
    drop, extract_id = unread.drop, unread.extract_id
    with writing(engine, alone="ledger") as connection:
        if is_there(connection, extract_id):
            return Landed(extract_id, 0, 0)
        arrival = arrival_of(drop, source)
        terms = terms_of(None, source)
        taken = take_in(connection, arrival, extract_id, terms, settings=settings, now=now)
        refuse_a_drop_that_lacks_too_much(connection, arrival, extract_id, terms, source.max_vanished_share)
        faults = faults_of(connection, extract_id)
        pass_gates(connection, arrival, taken.measures, faults, settings=settings, now=now)
        add_missing(connection, extract_runs, _run(unread, taken, now))
    return Landed(extract_id, taken.records, taken.faulty, taken.rows)


def land_pages(
    engine: Engine, held: Held, source: LiveSource, *, settings: Settings, now: datetime
) -> Landed:
    """Store what the pages of a live source tell as a drop, and let the pages go; once, all or nothing.

    Raises ExtractRefused when it cannot be used as a whole; the ledger is as it was, and the pages are kept.
    """
    extract_id = held.extract_id
    with writing(engine, alone="ledger") as connection:
        if not progress(connection, extract_id):
            if not is_there(connection, extract_id):
                raise SourceDown(f"{held.source}: another run has let go what this one read; extract again")
            return Landed(extract_id, 0, 0)
        arrival = arrival_of_pages(connection, held)
        terms = terms_of_plan(held.plan)
        taken = take_in(connection, arrival, extract_id, terms, settings=settings, now=now)
        refuse_a_drop_that_lacks_too_much(connection, arrival, extract_id, terms, source.max_vanished_share)
        faults = faults_of(connection, extract_id).told_by(held.plan.stages)
        pass_gates(connection, arrival, taken.measures, faults, settings=settings, now=now)
        connection.execute(
            update(extract_runs)
            .where(extract_runs.c.extract_id == extract_id)
            .values(
                state="landed",
                extracted_at=arrival.extracted_at,
                records=taken.records,
                quarantined=taken.faulty,
                deals=taken.deals,
                recorded_at=now,
            )
        )
        let_go(connection, extract_id, landed=True)
    return Landed(extract_id, taken.records, taken.faulty)


def _run(unread: Unread, taken: Taken, now: datetime) -> pl.DataFrame:
    drop = unread.drop
    return pl.DataFrame(
        {
            "extract_id": [unread.extract_id],
            "source": [drop.source],
            "drop_name": [drop.name],
            "state": ["landed"],
            "records": [taken.records],
            "quarantined": [taken.faulty],
            "changes": [0],
            "deals": [taken.deals],
        }
    ).with_columns(instant(drop.extracted_at).alias("extracted_at"), instant(now).alias("recorded_at"))
