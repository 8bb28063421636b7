"""Replay quarantine after a fix: rows that can be used by now go into the ledger, as late news.

A replay is a run of its own that is no drop: it tells nothing of deals that are not in it, and no alert takes
it for an extract. All of a source's replay is one transaction.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from dealwatch.crm.contract import OBJECTS, Object
from dealwatch.crm.sheets import Arrival, Batch, reread
from dealwatch.errors import ExtractRefused
from dealwatch.history.extract import half_done
from dealwatch.history.knowing import Moments
from dealwatch.history.quarantine import KEY, REPLAYED, settle
from dealwatch.history.remember import remember, taken_over
from dealwatch.history.resetting import read_again
from dealwatch.history.strangers import Known, header_of, known_ids, without_strangers
from dealwatch.history.superseded import lie_behind, newest_drop, superseded
from dealwatch.history.taking import store
from dealwatch.history.terms import Terms
from dealwatch.settings import Settings
from dealwatch.tables import extract_runs, quarantine, raw_records
from dealwatch.warehouse import frame, writing

log = logging.getLogger(__name__)
_ORDER: tuple[Object, ...] = ("deals", "owners", "deal_history", "activities")
_COUNTS = ("replayed", "overtaken", "still_waiting", "changes", "activities", "deals")


def replay(engine: Engine, name: str, *, settings: Settings, now: datetime) -> dict[str, int]:
    """Take up what waits in quarantine of a source and can be used by the settings of this moment.

    What still cannot be used waits on, with the reason it has by now; a row whose deal was told of since is
    overtaken. A second call finds nothing more to do.
    """
    source = settings.sources[name]
    for extract_id in half_done(engine, name):
        remember(engine, extract_id, name, source, settings=settings, now=now)
    counts = dict.fromkeys(_COUNTS, 0)
    with writing(engine, alone="ledger") as connection:
        waiting = _waiting(connection, name)
        moment = _moment(connection, name, now)
        sheets, terms = read_again(connection, name, source, settings=settings)
        if waiting.is_empty() or not sheets:
            return {**counts, "still_waiting": waiting.height}
        arrival = Arrival(name, "quarantine", moment, Path(f"{name}: quarantine"), sheets, covers="none")
        over, idle = superseded(connection, name, waiting, terms)
        for by, rows in over.group_by("by"):
            settle(connection, rows.iter_rows(named=True), by=str(by[0]), as_="overtaken", now=now)
        waiting = _without(waiting, pl.concat([over["place"], idle]))
        newest = newest_drop(connection, name)
        is_earlier = pl.col("extracted_at") < (newest.extracted_at if newest is not None else moment)
        earlier = waiting.filter(is_earlier)["place"]
        batches, past = _judged(
            waiting, arrival, known_ids(connection, name, sources=settings.sources), earlier, settings
        )
        batches, behind = _of_now(connection, name, batches, moment, settings)
        past = pl.concat([past, behind])
        gone = waiting.filter(pl.col("place").is_in(past.implode()))
        newest_id = newest.extract_id if newest is not None else ""
        settle(connection, gone.iter_rows(named=True), by=newest_id, as_="overtaken", now=now)
        waiting = _without(waiting, past)
        for nth, part in enumerate(_alike(batches)):
            run_id = f"{_run_id(name, waiting, now)}{nth:02}"
            run = _run(connection, run_id, name, part, moment, now)
            for key, count in _take_up(connection, run, part, waiting, terms, settings, now).items():
                counts[key] += count
        _tell_anew(connection, waiting, batches)
        counts["overtaken"] = over.height + gone.height
        left = set(idle) - set(over["place"])
        counts["still_waiting"] = waiting.height - counts["replayed"] + len(left)
    return counts


def _without(rows: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    return rows.filter(~pl.col("place").is_in(places.implode()))


def _take_up(
    connection: Connection,
    run: Any,
    part: list[Batch],
    waiting: pl.DataFrame,
    terms: Terms,
    settings: Settings,
    now: datetime,
) -> dict[str, int]:
    """Take a run into the ledger, and settle the rows it is made of."""
    nobody = pl.Series("deal_id", [], dtype=pl.String)
    found = taken_over(connection, run, terms, nobody, settings=settings, now=now)
    _close(connection, run.extract_id, found["changes"])
    own = pl.concat([one.rows["row"] for one in part])
    used = waiting.filter(pl.col("place").is_in(own.implode())).iter_rows(named=True)
    settled = settle(connection, used, by=run.extract_id, as_="replayed", now=now)
    return {**found, "replayed": settled}


def _waiting(connection: Connection, name: str) -> pl.DataFrame:
    """The rows that wait, oldest drop first; `place` tells them apart: none is a line of this run's."""
    c, r = quarantine.c, extract_runs.c
    query = (
        select(quarantine, r.extracted_at)
        .join_from(quarantine, extract_runs, r.extract_id == c.extract_id)
        .where(c.source == name, c.settled_by.is_(None), c.object.in_(OBJECTS))
    )
    order = ["extracted_at", "extract_id", "object", "row"]
    # Of two rows of a deal in one drop the first one counts, so it comes last, as the newest word does.
    rows = frame(connection, query).sort(order, descending=[False, False, False, True])
    return rows.with_columns((-1 - pl.int_range(pl.len(), dtype=pl.Int64)).alias("place"))


def _moment(connection: Connection, name: str, now: datetime) -> datetime:
    """When we learn it: now, by the source's own clock if that is ahead of ours."""
    c = extract_runs.c
    query = select(func.max(c.extracted_at, type_=c.extracted_at.type)).where(c.source == name)
    newest: datetime | None = connection.execute(query).scalar_one()
    return now if newest is None else max(now, newest + timedelta(microseconds=1))


def _run_id(name: str, waiting: pl.DataFrame, now: datetime) -> str:
    told = [name, now.isoformat(), *waiting.select(pl.concat_str(KEY, separator=" ").alias("key"))["key"]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:30]


def _judged(
    waiting: pl.DataFrame, arrival: Arrival, known: Known, earlier: pl.Series, settings: Settings
) -> tuple[list[Batch], pl.Series]:
    """The rows as the mapping of this moment reads them; those it cannot read at all stay as they are.

    earlier: places of rows from before the newest drop. Every drop tells all open deals, so such a row that
    says that its deal is open is out of date; their places come back beside the batches.
    """
    batches, past = [], [pl.Series("row", [], dtype=pl.Int64)]
    for object_ in _ORDER:
        rows = waiting.filter(pl.col("object") == object_).with_columns(
            pl.col("record").map_elements(header_of, return_dtype=pl.String).alias("header")
        )
        for part in rows.partition_by("file", "header", maintain_order=True):
            sheet = arrival.sheet_of(object_, part["file"][0])
            if sheet is None:  # the source has none of that kind any more
                continue
            records = part.select(pl.col("place").alias("row"), "record")
            try:
                batch = reread(sheet, records, arrival, settings=settings)
            except ExtractRefused as error:
                log.info("quarantine of %s stays as it is: %s", arrival.source, error)
                continue
            batch = without_strangers(batch, known)
            if object_ == "deals":
                is_past = (pl.col("outcome") == "open") & pl.col("row").is_in(earlier.implode())
                past.append(batch.rows.filter(is_past)["row"])
                batch = Batch(object_, batch.file, batch.rows.filter(~is_past), batch.faulty)
                known.told.append(batch.rows["deal_id"])
            batches.append(batch)
    return batches, pl.concat(past)


def _of_now(
    connection: Connection, name: str, batches: list[Batch], moment: datetime, settings: Settings
) -> tuple[list[Batch], pl.Series]:
    """The batches without what lies behind the ledger's newest word, and the places of such rows."""
    moments = Moments(moment, None, settings.zone, settings.morning)
    found, behind = [], [pl.Series("row", [], dtype=pl.Int64)]
    for batch in batches:
        if batch.object == "deal_history" and batch.rows.height:
            behind.append(lie_behind(connection, name, batch, moments))
            left = batch.rows.filter(~pl.col("row").is_in(behind[-1].implode()))
            batch = Batch(batch.object, batch.file, left, batch.faulty)
        found.append(batch)
    return found, pl.concat(behind)


def _alike(batches: list[Batch]) -> list[list[Batch]]:
    """What can be used, in parts whose deals have the same columns, each with its deals' own history.

    A column that a row does not have is not said; within one run it would read as a value that went away.
    """
    deals = [one for one in batches if one.object == "deals" and one.rows.height]
    columns = list(dict.fromkeys(tuple(one.rows.columns) for one in deals)) or [()]
    parts = []
    left = [one for one in batches if one.object != "deals" and one.rows.height]
    for nth, names in enumerate(columns):
        own = [one for one in deals if tuple(one.rows.columns) == names]
        if nth == len(columns) - 1:  # and what is of deals known before
            parts.append([*own, *left])
            break
        ids = pl.concat([one.rows["deal_id"] for one in own])
        parts.append([*own, *(_of(one, ids, among=True) for one in left if one.object != "owners")])
        left = [one if one.object == "owners" else _of(one, ids, among=False) for one in left]
    return [part for part in parts if any(one.rows.height for one in part)]


def _of(batch: Batch, ids: pl.Series, *, among: bool) -> Batch:
    is_theirs = pl.col("deal_id").is_in(ids.implode())
    rows = batch.rows.filter(is_theirs if among else ~is_theirs)
    return Batch(batch.object, batch.file, rows, batch.faulty.clear())


def _run(
    connection: Connection, run_id: str, name: str, part: list[Batch], moment: datetime, now: datetime
) -> Any:
    """A run of its own, with the rows as its raw records."""
    values = {
        "extract_id": run_id,
        "source": name,
        "drop_name": "quarantine",
        "extracted_at": moment,
        "state": REPLAYED,
        "records": sum(one.rows.height for one in part),
        "quarantined": 0,
        "changes": 0,
        "covers": "none",
        "recorded_at": now,
    }
    connection.execute(insert(extract_runs).values(**values))
    for batch in _one_form(part):
        store(connection, run_id, batch)
    return connection.execute(select(extract_runs).where(extract_runs.c.extract_id == run_id)).one()


def _one_form(part: list[Batch]) -> list[Batch]:
    """Batches of one object with the same columns: beside deals, what a row lacks is empty."""
    found = []
    for object_ in _ORDER:
        own = [one for one in part if one.object == object_ and one.rows.height]
        if own:
            rows = pl.concat([one.rows for one in own], how="diagonal")
            found.append(Batch(object_, own[0].file, rows, own[0].faulty.clear()))
    return found


def _close(connection: Connection, run_id: str, changes: int) -> None:
    """The ledger holds it: the raw records can go."""
    connection.execute(delete(raw_records).where(raw_records.c.extract_id == run_id))
    c = extract_runs.c
    connection.execute(update(extract_runs).where(c.extract_id == run_id).values(changes=changes))


def _tell_anew(connection: Connection, waiting: pl.DataFrame, batches: list[Batch]) -> None:
    """The reason that each row has by now, beside those that wait on."""
    faulty = [one.faulty.select("row", "field", "reason", "remedy") for one in batches]
    if not faulty:
        return
    told = pl.concat(faulty).rename({"row": "place", "field": "now_field"})
    told = told.rename({"reason": "now_reason", "remedy": "now_remedy"})
    rows = waiting.join(told, on="place")
    c = quarantine.c
    statement = (
        update(quarantine)
        .where(*(c[name] == bindparam(f"of_{name}") for name in KEY))
        .values(**{name: bindparam(f"now_{name}") for name in ("field", "reason", "remedy")})
    )
    values = [_named(row) for row in rows.iter_rows(named=True)]
    if values:
        connection.execute(statement, values)


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    keys = {f"of_{name}": row[name] for name in KEY}
    return keys | {name: row[name] for name in ("now_field", "now_reason", "now_remedy")}
