"""Read a live source: every table of the night's plan, page by page, going on where a killed run stopped."""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, select

from dealwatch.crm.pages import Past, PlaceLost, Plan, Reader, Table, plan_of
from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.history.staging import (
    Held,
    Progress,
    begin_again,
    held_extract,
    held_from,
    hold,
    is_there,
    keep,
    let_go,
    progress,
    progress_of,
)
from dealwatch.history.terms import reads_a_source
from dealwatch.settings import Settings
from dealwatch.sources import LiveSource
from dealwatch.tables import extract_runs
from dealwatch.warehouse import reading, rows_of, writing

log = logging.getLogger(__name__)
# What was read of a source that goes on changing is of little use a day later; the next night begins anew,
# also when its run begins some seconds earlier than the last one did.
TOO_OLD = timedelta(hours=20)
_AHEAD = timedelta(minutes=15)
_TOLD_EVERY = 10_000  # rows
# What changes neither the questions nor what the answers mean.
_NOT_ASKED = {"access", "connection", "events", "max_vanished_share", "max_quota_share", "write_back"}


def gather(
    engine: Engine, name: str, reader: Reader, source: LiveSource, *, settings: Settings, now: datetime
) -> Held:
    """All of the source's pages of one plan, kept; the plan of a run that was not finished is gone on with.

    Raises ExtractRefused, with the pages let go, when a table is not as long as the source says; SourceDown,
    with the pages kept for the next run, when the source stops on the way.
    """
    asked_by = asked_digest(source, settings)
    held = _unfinished(engine, name, asked_by=asked_by, now=now) or _begun(
        engine, name, reader, asked_by=asked_by, now=now
    )
    for table in held.plan.tables:
        _read(engine, held, table, reader)
    _check_totals(engine, held)
    return held


def past_of(connection: Connection, source: str, asked_by: str) -> Past:
    """What extracts of the source that landed have read before; `asked_by` is the digest of the settings."""
    c = extract_runs.c
    runs = rows_of(
        connection,
        select(c.plan, c.covers, c.cursor, c.asked_by)
        .where(
            c.source == source,
            c.state.in_(("landed", "remembered")),
            c.plan.is_not(None),
            reads_a_source(),
        )
        .order_by(c.extracted_at.desc()),
    )
    whole = [run.cursor for run in runs if run.covers in ("all", "ids")]
    if not runs:
        return Past()
    newest = runs[0]
    return Past(
        last=plan_of(newest.plan),
        cursor=newest.cursor if newest.asked_by == asked_by else None,
        whole_at=max(whole, default=None),
    )


def asked_digest(source: LiveSource, settings: Settings) -> str:
    """A digest of the settings that decide what is asked and how it is understood; no secret is in it."""
    told = {
        "source": source.model_dump(mode="json", exclude=_NOT_ASKED),
        "stages": [settings.pipeline.stages, settings.pipeline.won_stages, settings.pipeline.lost_stages],
        "zone": settings.time_zone,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _unfinished(engine: Engine, name: str, *, asked_by: str, now: datetime) -> Held | None:
    """The extract that a run before left unfinished; one too old, or of other settings, is let go."""
    with writing(engine, alone="ledger") as connection:
        run = held_extract(connection, name)
        if run is None:
            return None
        is_usable = run.asked_by == asked_by and now - run.recorded_at < TOO_OLD
        if not is_usable:
            log.info("%s: what was read by %s is let go, and reading begins anew", name, run.recorded_at)
            let_go(connection, run.extract_id)
            return None
        return held_from(run)


def _begun(engine: Engine, name: str, reader: Reader, *, asked_by: str, now: datetime) -> Held:
    with reading(engine) as connection:
        past = past_of(connection, name, asked_by)
    plan = reader.plan(past)
    if past.last is not None and plan.begun_at < past.last.begun_at:
        raise ExtractRefused(
            f"{name}: the source's clock says {plan.begun_at.isoformat()}, which is before the last extract "
            f"began, {past.last.begun_at.isoformat()}; one of the two clocks was wrong, and has to be mended"
        )
    ahead = plan.begun_at - now
    if ahead > _AHEAD:
        # A morning would not see what is dated after it.
        raise ExtractRefused(
            f"{name}: the source's clock says {plan.begun_at.isoformat()}, which is {ahead} ahead of ours; "
            "mend the clock or the zone of one of the two. A live source is read as of now"
        )
    held = Held(_extract_id(name, plan, past), name, plan)
    with writing(engine, alone="ledger") as connection:
        other = held_extract(connection, name)
        if other is not None:
            raise SourceDown(f"{name}: another run has begun to read the source; let it end")
        if is_there(connection, held.extract_id):
            words = f"{name}: an extract that began in the same second has landed; extract again"
            raise SourceDown(words, after=timedelta(seconds=1))
        hold(connection, held, asked_by=asked_by, now=now)
    return held


def _extract_id(name: str, plan: Plan, past: Past) -> str:
    before = past.last.begun_at.isoformat() if past.last else ""
    return hashlib.sha256(f"{name} {before} {plan.begun_at.isoformat()}".encode()).hexdigest()[:32]


def _read(engine: Engine, held: Held, table: Table, reader: Reader) -> None:
    so_far = progress_of(engine, held.extract_id, table)
    if so_far.is_complete:
        return
    if so_far.pages:
        log.info("%s: %s goes on after %s", held.source, table.name, _rows(so_far))
    try:
        so_far = _read_from(engine, held, table, reader, so_far)
    except PlaceLost as lost:
        log.warning("%s: %s begins anew: %s", held.source, table.name, lost)
        begin_again(engine, held.extract_id, table)
        so_far = progress_of(engine, held.extract_id, table)
        try:
            so_far = _read_from(engine, held, table, reader, so_far)
        except PlaceLost as again:
            raise SourceDown(f"{held.source}: {table.name} cannot be read in one go: {again}") from again
    if not so_far.is_complete:
        raise SourceDown(f"{held.source}: {table.name} stopped after {_rows(so_far)} without its last page")


def _read_from(engine: Engine, held: Held, table: Table, reader: Reader, so_far: Progress) -> Progress:
    for page in reader.pages(table, so_far.place):
        before, so_far = so_far, keep(engine, held, table, so_far, page)
        if so_far.is_complete or so_far.rows // _TOLD_EVERY > before.rows // _TOLD_EVERY:
            log.info("%s: %s: %s", held.source, table.name, _rows(so_far))
        if so_far.is_complete:
            break
    return so_far


def _rows(so_far: Progress) -> str:
    """How far a table is read, as "142,000 of 310,000 rows"."""
    return f"{so_far.rows:,} rows" if so_far.total is None else f"{so_far.rows:,} of {so_far.total:,} rows"


def _check_totals(engine: Engine, held: Held) -> None:
    """A table that is not as long as the source says was cut short on the way, or grew twice."""
    with reading(engine) as connection:
        tables = progress(connection, held.extract_id)
    wrong = _wrong_totals(tables)
    if wrong:
        refuse(engine, held.extract_id)
        raise ExtractRefused(
            f"{held.source}: {wrong}. Nothing was kept; extract again, and if it stays so, tell the source's "
            "administrator"
        )


def _wrong_totals(tables: Mapping[str, Progress]) -> str:
    return "; ".join(
        f"{name} came with {one.rows:,} rows where the source counts {one.total:,}"
        for name, one in tables.items()
        if one.total is not None and one.total != one.rows
    )


def refuse(engine: Engine, extract_id: str) -> None:
    """Let an extract that cannot be used go, with its pages: the next run reads anew."""
    with writing(engine, alone="ledger") as connection:
        let_go(connection, extract_id)
