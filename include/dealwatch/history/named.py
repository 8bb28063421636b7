"""Read the deals that events named into the ledger: as an extract does, in full, but those deals only.

An event is a hint: it says which deal to read. A read and its landing are one step: it is all there, with its
events marked, or nothing is. It shares the ledger with the extract of all by never being at work beside it.
"""

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Engine, select, update

from dealwatch.crm.pages import NamedReader, Page, Past, PlaceLost, Plan, check_page
from dealwatch.errors import SourceDown
from dealwatch.history.arriving import arrival_of_pages
from dealwatch.history.extract import half_done
from dealwatch.history.gather import asked_digest, past_of
from dealwatch.history.remember import remember, remember_within
from dealwatch.history.staging import Held, held_extract, hold, let_go, put_page
from dealwatch.history.taking import take_in
from dealwatch.history.terms import terms_of_plan
from dealwatch.history.waiting import deals_waiting, events_of_deals, let_go_of_old, mark_landed
from dealwatch.settings import Settings
from dealwatch.sources import LiveSource
from dealwatch.tables import extract_runs, extract_tables
from dealwatch.warehouse import writing

log = logging.getLogger(__name__)
MOST_DEALS = 2_000  # read at once; the others are next


def read_named(
    engine: Engine, name: str, source: LiveSource, reader: NamedReader, *, settings: Settings, now: datetime
) -> dict[str, int]:
    """Bring the deals that events of the source named into the ledger; how many were read and what changed.

    Events wait while an extract of the source is under way, and until the first one has read all of it by the
    settings as they are. Raises what the reader raises, with the events waiting.
    """
    for extract_id in half_done(engine, name):
        remember(engine, extract_id, name, source, settings=settings, now=now)
    with writing(engine, alone="ledger") as connection:
        past = past_of(connection, name, asked_digest(source, settings))
        let_go_of_old(connection, name, past.cursor, now=now)
        deal_ids = deals_waiting(connection, name, most=MOST_DEALS)
        event_ids = events_of_deals(connection, name, deal_ids)
        before = _standing(connection, name)
    if not deal_ids:
        return {"read": 0, "changes": 0}
    if before is None or past.cursor is None:
        why = (
            "an extract is under way" if before is None else "no extract has read all of it by these settings"
        )
        log.info("%s: events of %d deals wait, because %s", name, len(deal_ids), why)
        return {"read": 0, "changes": 0}
    plan = reader.plan_of(past, deal_ids)
    _check(plan, past, name)
    try:
        pages = [page for table in plan.tables for page in reader.pages(table, None)]
    except PlaceLost as lost:
        raise SourceDown(f"{name}: a result came to nothing while it was read: {lost}") from lost
    held = Held(_extract_id(name, plan, event_ids), name, plan)
    with writing(engine, alone="ledger") as connection:
        if _standing(connection, name) != before:
            log.info("%s: another run read the source meanwhile, so its events wait for the next", name)
            return {"read": 0, "changes": 0}
        changes = _land(connection, held, pages, source, settings=settings, now=now)
        mark_landed(connection, event_ids, held.extract_id)
    log.info("%s: %d events were about %d deals, which were read", name, len(event_ids), len(deal_ids))
    return {"read": len(deal_ids), "changes": changes}


def _standing(connection: Connection, name: str) -> str | None:
    """The newest run of the source; None while one is reading it.

    A read that finds the same one after as before was alone with the source.
    """
    if held_extract(connection, name) is not None:
        return None
    c = extract_runs.c
    newest = select(c.extract_id).where(c.source == name).order_by(c.extracted_at.desc(), c.extract_id)
    return str(connection.execute(newest.limit(1)).scalar() or "")


def _check(plan: Plan, past: Past, name: str) -> None:
    if plan.covers != "some":
        raise ValueError(f"{name}: a read of some deals covers some, not {plan.covers}")
    if past.last is not None and plan.begun_at < past.last.begun_at:
        raise SourceDown(f"{name}: the source's clock is before the last extract, so its events wait")


def _extract_id(name: str, plan: Plan, event_ids: pl.Series) -> str:
    told = [name, plan.begun_at.isoformat(), *event_ids.sort()]
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:32]


def _land(
    connection: Connection,
    held: Held,
    pages: Sequence[Page],
    source: LiveSource,
    *,
    settings: Settings,
    now: datetime,
) -> int:
    """The pages in the ledger, within the caller's transaction; how many changes they told.

    No gate judges them and no deal that lacks is gone: a few deals say nothing about the source as a whole.
    """
    extract_id = held.extract_id
    hold(connection, held, asked_by=asked_digest(source, settings), now=now)
    _stage(connection, held, pages)
    arrival = arrival_of_pages(connection, held)
    taken = take_in(connection, arrival, extract_id, terms_of_plan(held.plan), settings=settings, now=now)
    let_go(connection, extract_id, landed=True)
    run = {"state": "landed", "extracted_at": arrival.extracted_at, "drop_name": "events"}
    counts = {"records": taken.records, "quarantined": taken.faulty}
    connection.execute(
        update(extract_runs).where(extract_runs.c.extract_id == extract_id).values(**run, **counts)
    )
    told = remember_within(connection, extract_id, held.source, source, settings=settings, now=now)
    return told["changes"]


def _stage(connection: Connection, held: Held, pages: Sequence[Page]) -> None:
    """Put the pages where landing finds them; they are gone again by the end of the transaction."""
    for table in held.plan.tables:
        own = [page for page in pages if page.table == table.name]
        rows = 0
        for number, page in enumerate(own, 1):
            part = check_page(page, table)
            rows += part.height
            put_page(connection, held.extract_id, table, number, part)
        read_at = max((page.read_at for page in own if page.read_at is not None), default=None)
        c = extract_tables.c
        connection.execute(
            update(extract_tables)
            .where(c.extract_id == held.extract_id, c.name == table.name)
            .values(pages=len(own), rows=rows, is_complete=True, read_at=read_at)
        )
