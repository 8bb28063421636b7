"""Events that were received: kept once each, waiting until their deals are read and scored."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, delete, func, select, update

from dealwatch.crm.events import Event
from dealwatch.tables import crm_events, extract_runs
from dealwatch.warehouse import add_missing, among, instant, rows_of

WAITING, LANDED, SCORED, OVERTAKEN = "waiting", "landed", "scored", "overtaken"
# How far our clock may be behind the CRM's, or what it lists behind what it told.
_CLOCKS = timedelta(minutes=10)
_KEPT = timedelta(days=30)  # longer than any CRM tells the same event again


def keep_events(connection: Connection, source: str, events: Sequence[Event], *, now: datetime) -> int:
    """Store events that are not known yet; how many are new."""
    if not events:
        return 0
    rows = pl.DataFrame(
        {
            "event_id": [event.event_id for event in events],
            "deal_id": [event.deal_id for event in events],
            "what": [event.what for event in events],
            "happened_at": [event.happened_at or now for event in events],
        }
    )
    stamped = rows.unique("event_id", keep="first", maintain_order=True).with_columns(
        pl.col("happened_at").cast(pl.Datetime("us", "UTC")),
        instant(now).alias("received_at"),
        source=pl.lit(source),
        state=pl.lit(WAITING),
    )
    return add_missing(connection, crm_events, stamped)


def sources_with_events(connection: Connection) -> list[str]:
    """The sources of which an event waits to be read or scored."""
    c = crm_events.c
    asked = select(c.source).where(c.state.in_((WAITING, LANDED))).distinct().order_by(c.source)
    return list(connection.execute(asked).scalars())


def deals_waiting(connection: Connection, source: str, *, most: int) -> list[str]:
    """The deals that waiting events name, each once; those that have waited longest, in order."""
    c = crm_events.c
    asked = (
        select(c.deal_id)
        .where(c.source == source, c.state == WAITING)
        .group_by(c.deal_id)
        .order_by(func.min(c.received_at), c.deal_id)
        .limit(most)
    )
    return list(connection.execute(asked).scalars())


def events_of_deals(connection: Connection, source: str, deal_ids: Sequence[str]) -> pl.Series:
    """The ids of the events that wait for these deals: what comes later is for another read."""
    c = crm_events.c
    asked = select(c.event_id).where(
        c.source == source,
        c.state == WAITING,
        among(c.deal_id, pl.Series(deal_ids, dtype=pl.String), connection),
    )
    return pl.Series("event_id", connection.execute(asked).scalars().all(), dtype=pl.String)


def mark_landed(connection: Connection, event_ids: pl.Series, extract_id: str) -> None:
    c = crm_events.c
    of_these = (among(c.event_id, event_ids, connection), c.state == WAITING)
    connection.execute(update(crm_events).where(*of_these).values(state=LANDED, extract_id=extract_id))


def mark_scored(connection: Connection, extract_id: str) -> None:
    c = crm_events.c
    of_run = (c.extract_id == extract_id, c.state == LANDED)
    connection.execute(update(crm_events).where(*of_run).values(state=SCORED))


def to_score(connection: Connection, source: str) -> dict[tuple[str, datetime], list[str]]:
    """The deals that were read and not scored, by the run that read them and the moment it speaks for."""
    c, run = crm_events.c, extract_runs.c
    asked = (
        select(run.extract_id, run.extracted_at, c.deal_id)
        .join(extract_runs, run.extract_id == c.extract_id)
        .where(c.source == source, c.state == LANDED)
        .distinct()
        .order_by(run.extracted_at, c.deal_id)
    )
    found: dict[tuple[str, datetime], list[str]] = {}
    for row in rows_of(connection, asked):
        found.setdefault((row.extract_id, row.extracted_at), []).append(row.deal_id)
    return found


def let_go_of_old(connection: Connection, source: str, cursor: datetime | None, *, now: datetime) -> None:
    """Events that an extract of all has overtaken wait no longer, and what is long done is forgotten.

    cursor: the CRM's clock when that extract began: it has read what was told before.
    """
    c = crm_events.c
    own = c.source == source
    if cursor is not None:
        before = (own, c.state == WAITING, c.received_at < cursor - _CLOCKS)
        connection.execute(update(crm_events).where(*before).values(state=OVERTAKEN))
    is_done = c.state.in_((SCORED, OVERTAKEN))
    connection.execute(delete(crm_events).where(own, is_done, c.received_at < now - _KEPT))
