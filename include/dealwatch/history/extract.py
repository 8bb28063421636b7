"""Extract: land every drop of a source that is not known yet and remember it, in the order they speak for."""

import logging
from datetime import datetime

from sqlalchemy import Engine, select

from dealwatch.errors import ExtractRefused, SettingsError
from dealwatch.history.landing import land, speak_again, unread_drops
from dealwatch.history.remember import remember
from dealwatch.settings import Settings
from dealwatch.tables import extract_runs
from dealwatch.warehouse import reading, rows_of

log = logging.getLogger(__name__)


def extract(engine: Engine, source_name: str, *, settings: Settings, now: datetime) -> dict[str, int]:
    """Bring the ledger up to the source's newest drop; counts of what that took.

    A killed run is completed by the next: a drop that landed but was not remembered comes first. A drop that
    is refused does not hold up a later one that can be used; if it is the newest, ExtractRefused is raised.

    Plain files that the exporter wrote again without a change land nothing, but their run then speaks for
    `now`, so that a quiet weekend is not stale. Files that nobody wrote since stay as old as they are.
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
    for unread in unread_drops(engine, source_name, source, settings=settings, now=now):
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
        refusal = None
        count({"drops": 1, "records": landed.records, "quarantined": landed.quarantined})
        count(remember(engine, landed.extract_id, source_name, source, settings=settings, now=now))
    if refusal is not None:
        raise refusal
    return counts


def _half_done(engine: Engine, source_name: str) -> list[str]:
    query = (
        select(extract_runs.c.extract_id)
        .where(extract_runs.c.source == source_name, extract_runs.c.state == "landed")
        .order_by(extract_runs.c.extracted_at, extract_runs.c.extract_id)
    )
    with reading(engine) as connection:
        return [row.extract_id for row in rows_of(connection, query)]
