"""Extract: land every drop of a source that is not known yet and remember it, in the order they speak for."""

import logging
from datetime import datetime

from sqlalchemy import Engine, and_, select, update

from dealwatch.errors import ExtractRefused, SettingsError
from dealwatch.history.landing import land, speak_again, unread_drops
from dealwatch.history.remember import remember
from dealwatch.settings import Settings
from dealwatch.tables import extract_runs
from dealwatch.warehouse import reading, rows_of, writing

log = logging.getLogger(__name__)


def extract(engine: Engine, source_name: str, *, settings: Settings, now: datetime) -> dict[str, int]:
    """Bring the ledger up to the source's newest drop; counts of what that took.

    A killed run is completed by the next: a drop that landed but was not remembered comes first. A drop that
    is refused does not hold up a later one that can be used; if it is the newest, ExtractRefused is raised.

    Plain files that the exporter wrote again without a change land nothing, but their run then speaks for
    `now`, so that a quiet weekend is not stale. Files that nobody wrote since stay as old as they are.

    The fault of a newest drop that is refused is kept until one can be used: alerts wait so long.
    """
    source = settings.sources.get(source_name)
    if source is None:
        names = ", ".join(sorted(settings.sources)) or "none"
        raise SettingsError(f"no source {source_name!r} is configured; there are: {names}")
    counts = dict.fromkeys(
        ("drops", "records", "quarantined", "refused", "changes", "activities", "deals"), 0
    )

    def count(found: dict[str, int]) -> None:
        for key, number in found.items():
            counts[key] += number

    for extract_id in _half_done(engine, source_name):
        count(remember(engine, extract_id, source_name, source, settings=settings, now=now))
    refusal: ExtractRefused | None = None
    try:
        unread_now = unread_drops(engine, source_name, source, settings=settings, now=now)
    except ExtractRefused as error:
        _keep_fault(engine, source_name, str(error), now=now)
        raise
    for unread in unread_now:
        refusal = None
        if unread.is_again:
            speak_again(engine, unread)
            continue
        try:
            landed = land(engine, unread, source, settings=settings, now=now)
        except ExtractRefused as error:
            log.warning("refused: %s", error)
            refusal = error
            count({"refused": 1})
            continue
        count({"drops": 1, "records": landed.records, "quarantined": landed.quarantined})
        count(remember(engine, landed.extract_id, source_name, source, settings=settings, now=now))
    if unread_now:
        _keep_fault(engine, source_name, str(refusal) if refusal else None, now=now)
    if refusal is not None:
        raise refusal
    return counts


def _keep_fault(engine: Engine, source_name: str, fault: str | None, *, now: datetime) -> None:
    """Put what is wrong with the newest drop beside the one that still speaks, or take it away.

    A source without any drop is stale, which says enough. A refusal to read the past again is no fault.
    """
    c = extract_runs.c
    newest = (
        select(c.extract_id)
        .where(c.source == source_name, c.state == "remembered")
        .order_by(c.extracted_at.desc(), c.extract_id)
        .limit(1)
    )
    with writing(engine, alone="ledger") as connection:
        mended = and_(c.source == source_name, c.fault.is_not(None))
        connection.execute(update(extract_runs).where(mended).values(fault=None))
        if fault is not None:
            last = and_(c.extract_id == newest.scalar_subquery(), c.extracted_at <= now)
            connection.execute(update(extract_runs).where(last).values(fault=fault))


def _half_done(engine: Engine, source_name: str) -> list[str]:
    query = (
        select(extract_runs.c.extract_id)
        .where(extract_runs.c.source == source_name, extract_runs.c.state == "landed")
        .order_by(extract_runs.c.extracted_at, extract_runs.c.extract_id)
    )
    with reading(engine) as connection:
        return [row.extract_id for row in rows_of(connection, query)]
