"""Remember a landed drop: its raw records into the ledger, and the deals it touches as they stand."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, select, update

from dealwatch.crm.values import instant_of
from dealwatch.history.changes import changes_of, deletions
from dealwatch.history.current import rebuild_deals
from dealwatch.history.knowing import Moments
from dealwatch.history.quarantine import REPLAYED
from dealwatch.history.raw import raw_rows, raw_slices
from dealwatch.history.slices import RECORDS_A_PART, deal_slices
from dealwatch.history.telling import digests, identified, told_of
from dealwatch.history.terms import Terms, reads_a_source, terms_of
from dealwatch.history.vanished import told_alive, vanished_deals
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.sources import LiveSource
from dealwatch.tables import activities, deal_changes, extract_runs, owners, raw_records
from dealwatch.warehouse import add_missing, among, frame, instant, put, rows_of, writing

_MOMENT = ["deal_id", "field", "known_at", "happened_at"]


def remember(
    engine: Engine,
    extract_id: str,
    name: str,
    source: Source | LiveSource,
    *,
    settings: Settings,
    now: datetime,
    at_once: int = RECORDS_A_PART,
) -> dict[str, int]:
    """Take one landed drop into the ledger; how many changes, touches and deals that made.

    All or nothing, and once: a second call finds the drop remembered and changes nothing. `at_once` is how
    many of its records are worked on together, about.
    """
    with writing(engine, alone="ledger") as connection:
        return remember_within(
            connection, extract_id, name, source, settings=settings, now=now, at_once=at_once
        )


def remember_within(
    connection: Connection,
    extract_id: str,
    name: str,
    source: Source | LiveSource,
    *,
    settings: Settings,
    now: datetime,
    at_once: int = RECORDS_A_PART,
) -> dict[str, int]:
    """As `remember`, in the caller's transaction, which has to be alone with the ledger."""
    run = connection.execute(select(extract_runs).where(extract_runs.c.extract_id == extract_id)).one()
    if run.state == "remembered":
        return {"changes": 0, "activities": 0, "deals": 0}
    terms = terms_of(run.plan, source)
    gone = vanished_deals(connection, extract_id, name, terms)["deal_id"]
    counts = taken_over(connection, run, terms, gone, settings=settings, now=now, at_once=at_once)
    _settle(connection, run, counts["changes"])
    return counts


def taken_over(
    connection: Connection,
    run: Any,
    terms: Terms,
    gone: pl.Series,
    *,
    settings: Settings,
    now: datetime,
    at_once: int = RECORDS_A_PART,
) -> dict[str, int]:
    """Take a run's raw records into the ledger, within the caller's transaction; counts as `remember`'s.

    gone: ids of deals that are gone by the run.
    """
    moments = Moments(run.extracted_at, _previous(connection, run), settings.zone, settings.morning)
    stamp = [instant(now).alias("recorded_at"), pl.lit(run.source).alias("source")]
    _remember_owners(connection, run.extract_id, run.source)
    added, touched = 0, list[pl.Series]()
    for changes in _changes(connection, run, terms, moments, gone, at_once):
        changes = _after_known_ones(connection, changes, run.source)
        added += add_missing(connection, deal_changes, changes.with_columns(stamp))
        touched.append(changes["deal_id"].unique().sort())
        rebuild_deals(connection, touched[-1], source=run.source)
    touches = _remember_activities(connection, run.extract_id, run.source, moments)
    return {"changes": added, "activities": touches, "deals": pl.concat(touched).n_unique()}


def _changes(
    connection: Connection, run: Any, terms: Terms, moments: Moments, gone: pl.Series, at_once: int
) -> Iterator[pl.DataFrame]:
    """What the drop adds to the ledger, all of a deal's fields at once, and the deals that are gone last.

    The next part is worked out once the one before is in the ledger, which is what bounds the memory.
    """
    alive = told_alive(connection, run.extract_id, terms)
    for rows in deal_slices(connection, run, terms, alive, at_once=at_once):
        told = told_of(connection, rows, run.source, terms, moments)
        yield identified(changes_of(told, moments)).drop("told")
    yield identified(deletions(gone, moments)).drop("told")


def _previous(connection: Connection, run: Any) -> datetime | None:
    """The moment of the last run that read the source.

    What it did not tell is late news. A run for a few deals told nothing of the others, and even of its own
    a well-run morning knows what the next extract tells. A replay tells what was set aside before it, so all
    of that is late news by then.
    """
    if run.state == REPLAYED:
        replayed_at: datetime = run.extracted_at
        return replayed_at
    query = select(func.max(extract_runs.c.extracted_at, type_=extract_runs.c.extracted_at.type)).where(
        extract_runs.c.source == run.source, extract_runs.c.state == "remembered", reads_a_source()
    )
    moment: datetime | None = connection.execute(query).scalar_one()
    return moment


def _after_known_ones(connection: Connection, changes: pl.DataFrame, name: str) -> pl.DataFrame:
    """`seq` counted on where the ledger already has changes of the same deal, field and instants."""
    earliest = changes["known_at"].min()
    if earliest is None:
        return changes
    query = select(*(deal_changes.c[column] for column in (*_MOMENT, "seq"))).where(
        deal_changes.c.source == name,
        deal_changes.c.known_at >= earliest,
        among(deal_changes.c.deal_id, changes["deal_id"].unique(), connection),
    )
    last = frame(connection, query).group_by(_MOMENT).agg((pl.col("seq").max() + 1).alias("offset"))
    counted = changes.join(last, on=_MOMENT, how="left", maintain_order="left")
    return counted.with_columns(pl.col("seq") + pl.col("offset").fill_null(0)).drop("offset")


def _remember_activities(connection: Connection, extract_id: str, name: str, moments: Moments) -> int:
    """Touches, each once: rows equal in every column are the same touch."""
    slices = raw_slices(connection, extract_id, "activities")
    return sum(add_missing(connection, activities, _touches(rows, name, moments)) for rows in slices)


def _touches(rows: pl.DataFrame, name: str, moments: Moments) -> pl.DataFrame:
    happened = instant_of(
        pl.col("happened_at"), zone=moments.zone.key, end="end", latest=moments.extracted_at
    )
    own = ["kind", "direction", "by"]
    told = pl.col("happened_at").alias("told")
    touches = rows.select("deal_id", happened.alias("happened_at"), *own, told).unique().sort(pl.all())
    parts = [
        pl.col("deal_id"),
        pl.col("told"),  # its own stamp: the instant of a day that is not over differs from drop to drop
        *(pl.col(column).fill_null("\x00") for column in own),
    ]
    ids = digests(touches.select(pl.concat_str(parts, separator="\x1f").alias("activity_id"))["activity_id"])
    return touches.drop("told").with_columns(
        ids, moments.known(pl.col("happened_at")).alias("known_at"), pl.lit(name).alias("source")
    )


def _remember_owners(connection: Connection, extract_id: str, name: str) -> None:
    rows = raw_rows(connection, extract_id, "owners")
    told = rows.select(
        "owner_id",
        pl.lit(name).alias("source"),
        *(column for column in ("name", "email", "manager_id", "time_zone", "slack_user_id")),
        (pl.col("active") != "false").fill_null(True).alias("is_active"),
    )
    put(connection, owners, told)


def _settle(connection: Connection, run: Any, added: int) -> None:
    """Mark the drop remembered and let go of the raw records of drops before it, which the ledger holds."""
    connection.execute(
        update(extract_runs)
        .where(extract_runs.c.extract_id == run.extract_id)
        .values(state="remembered", changes=added)
    )
    if run.covers == "some":  # there are many such runs: what they leave behind is a short row each
        connection.execute(delete(raw_records).where(raw_records.c.extract_id == run.extract_id))
        is_clean = (extract_runs.c.extract_id == run.extract_id, extract_runs.c.quarantined == 0)
        connection.execute(update(extract_runs).where(*is_clean).values(plan=None))
        return
    older = [
        row.extract_id
        for row in rows_of(
            connection,
            select(extract_runs.c.extract_id).where(
                extract_runs.c.source == run.source,
                extract_runs.c.state == "remembered",
                extract_runs.c.extract_id != run.extract_id,
                reads_a_source(),
            ),
        )
    ]
    for extract_id in older:
        connection.execute(delete(raw_records).where(raw_records.c.extract_id == extract_id))
