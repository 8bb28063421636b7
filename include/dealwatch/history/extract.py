"""Extract: land every drop of a source that is not known yet and remember it, in the order they speak for."""

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime

from sqlalchemy import Engine, and_, select, update

from dealwatch.crm.pages import Reader
from dealwatch.crm.readers import READERS, Opener, open_reader
from dealwatch.errors import ExtractRefused, SettingsError
from dealwatch.history.absent import check_absent
from dealwatch.history.fetched import Hand, at_hand
from dealwatch.history.gates import keep_blocked
from dealwatch.history.gather import gather, refuse
from dealwatch.history.landing import land, land_pages, speak_again, unread_drops
from dealwatch.history.remember import remember
from dealwatch.history.terms import reads_a_source
from dealwatch.settings import Settings
from dealwatch.sources import LiveSource
from dealwatch.tables import extract_runs
from dealwatch.warehouse import reading, rows_of, writing

log = logging.getLogger(__name__)


def extract(
    engine: Engine,
    source_name: str,
    *,
    settings: Settings,
    now: datetime,
    readers: Mapping[str, Opener] = READERS,
) -> dict[str, int]:
    """Bring the ledger up to the source's newest drop; counts of what that took.

    A killed run is completed by the next: a drop that landed but was not remembered comes first. A drop that
    is refused does not hold up a later one that can be used; if it is the newest, ExtractRefused is raised.

    Plain files that the exporter wrote again without a change land nothing, but their run then speaks for
    `now`, so that a quiet weekend is not stale. Files that nobody wrote since stay as old as they are.

    The fault of a newest drop that is refused is kept until one can be used: alerts wait so long.
    `readers` open live sources by kind. Such a source raises SourceDown when it stops on the way.
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

    for extract_id in half_done(engine, source_name):
        count(remember(engine, extract_id, source_name, source, settings=settings, now=now))
    if isinstance(source, LiveSource):
        with closing(open_reader(source_name, source.kind, settings=settings, readers=readers)) as reader:
            count(_extract_live(engine, source_name, source, reader, settings=settings, now=now))
        return counts
    try:
        with at_hand(engine, source_name, source, settings=settings, now=now) as hand:
            _extract_files(hand, count, settings=settings, now=now)
    except ExtractRefused as error:
        _keep_fault(engine, source_name, str(error), until=now)
        raise
    return counts


def _extract_files(
    hand: Hand, count: Callable[[dict[str, int]], None], *, settings: Settings, now: datetime
) -> None:
    """Land and remember the drops at hand that are not known yet; what is refused last is raised."""
    if hand.is_empty:
        return
    engine, source_name, source = hand.engine, hand.name, hand.source
    refusal: ExtractRefused | None = None
    with hand.named():
        unread_now = unread_drops(engine, source_name, source, settings=settings, now=now)
    for unread in unread_now:
        refusal = None
        if unread.is_again:
            speak_again(engine, unread)
            continue
        try:
            with hand.named():
                landed = land(engine, unread, source, settings=settings, now=now)
        except ExtractRefused as error:
            log.warning("refused: %s", error)
            keep_blocked(engine, error, now=now)
            refusal = error
            hand.refuse(unread.drop.name)
            count({"refused": 1})
            continue
        hand.count(unread.drop.name, landed.rows)
        count({"drops": 1, "records": landed.records, "quarantined": landed.quarantined})
        count(remember(engine, landed.extract_id, source_name, source, settings=settings, now=now))
    if unread_now and refusal is None:
        _keep_fault(engine, source_name, None, until=now)
    hand.keep(now)
    if refusal is not None:
        raise refusal


def _extract_live(
    engine: Engine, name: str, source: LiveSource, reader: Reader, *, settings: Settings, now: datetime
) -> dict[str, int]:
    """Read a live source to its end, land what it tells and remember it.

    What cannot be used is let go with its pages, so that the next run reads anew; a source that stopped on
    the way is gone on with.
    """
    try:
        held = gather(engine, name, reader, source, settings=settings, now=now)
        check_absent(engine, held, reader)
        try:
            landed = land_pages(engine, held, source, settings=settings, now=now)
        except ExtractRefused:
            refuse(engine, held.extract_id)
            raise
    except ExtractRefused as error:
        keep_blocked(engine, error, now=now)
        _keep_fault(engine, name, str(error), until=now)
        raise
    counts = {"drops": 1, "records": landed.records, "quarantined": landed.quarantined}
    remembered = remember(engine, landed.extract_id, name, source, settings=settings, now=now)
    _keep_fault(engine, name, None)
    return counts | remembered


def _keep_fault(
    engine: Engine, source_name: str, fault: str | None, *, until: datetime | None = None
) -> None:
    """Put what is wrong with the newest drop beside the one that still speaks, or take it away.

    A source without any drop is stale, which says enough. A refusal to read the past again, for a moment
    before the newest drop, is no fault: `until` is the moment that was asked for.
    """
    c = extract_runs.c
    newest = (
        select(c.extract_id)
        .where(c.source == source_name, c.state == "remembered", reads_a_source())
        .order_by(c.extracted_at.desc(), c.extract_id)
        .limit(1)
    )
    with writing(engine, alone="ledger") as connection:
        mended = and_(c.source == source_name, c.fault.is_not(None))
        connection.execute(update(extract_runs).where(mended).values(fault=None))
        if fault is not None:
            last = c.extract_id == newest.scalar_subquery()
            if until is not None:
                last = and_(last, c.extracted_at <= until)
            connection.execute(update(extract_runs).where(last).values(fault=fault))


def half_done(engine: Engine, source_name: str) -> list[str]:
    """Runs of the source that landed and are not in the ledger yet, oldest first."""
    query = (
        select(extract_runs.c.extract_id)
        .where(extract_runs.c.source == source_name, extract_runs.c.state == "landed")
        .order_by(extract_runs.c.extracted_at, extract_runs.c.extract_id)
    )
    with reading(engine) as connection:
        return [row.extract_id for row in rows_of(connection, query)]
