"""Take a drop's sheets in: usable rows as raw records, the others into quarantine, strangers set aside."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
from sqlalchemy import Connection

from dealwatch.crm.sheets import Arrival, Batch, read
from dealwatch.errors import ExtractRefused
from dealwatch.history.measures import Measures
from dealwatch.history.overtaking import overtake
from dealwatch.history.strangers import known_ids, taken_up, without_strangers
from dealwatch.history.terms import Terms
from dealwatch.settings import Settings
from dealwatch.tables import quarantine, raw_records
from dealwatch.warehouse import add_missing, instant


@dataclass
class Taken:
    """What was taken in. deals: of a drop that tells all deals, those it told; of another, the open ones."""

    deals: int = 0
    records: int = 0
    faulty: int = 0
    measures: Measures = field(default_factory=Measures)
    rows: Counter[str] = field(default_factory=Counter)  # that a file has, by its name


def take_in(
    connection: Connection,
    arrival: Arrival,
    extract_id: str,
    terms: Terms,
    *,
    settings: Settings,
    now: datetime,
) -> Taken:
    """Store the arrival's rows within the caller's transaction, sheet by sheet in bounded memory.

    Raises ExtractRefused, upon which nothing of it may be kept, when it cannot be used as a whole.
    """
    known = known_ids(connection, arrival.source, sources=settings.sources)
    taken = Taken()
    told, columns, first_fault = 0, list[str](), ""
    for batch in read(arrival, settings=settings):
        taken.rows[batch.file] += batch.rows.height + batch.faulty.height
        batch = without_strangers(batch, known)
        taken.measures.add(batch)
        if batch.object == "deals":
            columns = _same_columns(columns, batch, arrival)
            known.told.append(batch.rows["deal_id"])
            told += batch.rows.height
            if not first_fault and not batch.faulty.is_empty():
                first_fault = _fault(arrival, batch)
        elif batch.object in ("deal_history", "activities") and not told and terms.covers == "all":
            break
        taken.records += store(connection, extract_id, batch)
        taken.faulty += _set_aside(connection, extract_id, arrival, batch, now)
    is_some = terms.covers == "some"  # of a few deals that were asked for by id, all may be gone or faulty
    if not told and not is_some and (terms.covers == "all" or first_fault or len(known.open)):
        raise ExtractRefused(
            f"{arrival.place}: no deal in it can be used"
            f"{first_fault or ', because there is none'}. Nothing was kept, so no deal counts as deleted"
        )
    # Nights that read the closed deals since the last one tell as many of them as it takes.
    taken.deals = told if terms.covers == "all" else taken.measures.open
    overtake(connection, arrival, extract_id, terms, told=pl.concat([*known.told, *known.gone]), now=now)
    for batch in taken_up(connection, arrival, extract_id, settings=settings, known=known, now=now):
        taken.records += store(connection, extract_id, batch)
    return taken


def _fault(arrival: Arrival, batch: Batch) -> str:
    """The first row of a batch that cannot be used, for a log, in which no value of a customer's may stand.

    Of a live source it is told by its table and id, too. A stage or an outcome is a word of the sales
    process, and has to be told to be mended.
    """
    first, sheet = batch.faulty.row(0, named=True), arrival.sheet_of(batch.object, batch.file)
    record, field, reason = json.loads(first["record"]), first["field"], first["reason"]
    is_live = sheet is not None and sheet.counted != "line"
    values = [str(value).strip() for value in record.values() if value]
    if field not in ("stage", "outcome") and any(value in reason for value in values):
        reason = "cannot be used" if is_live else f"{field} cannot be used"
    if sheet is None or not is_live:
        return f"; line {first['row']}: {reason}. {first['remedy']}"
    told = record.get(sheet.mapping.columns.get("deal_id", "deal_id"))
    whose = f" ({told})" if told else ""
    return f"; {batch.file}, row {first['row']}{whose}, {field}: {reason}. {first['remedy']}"


def _same_columns(columns: list[str], batch: Batch, arrival: Arrival) -> list[str]:
    """A column that one table of deals has and another lacks would read as a value that went away."""
    own = sorted(batch.rows.columns)
    if columns and own != columns:
        different = ", ".join(sorted({*own} ^ {*columns}))
        raise ExtractRefused(f"{arrival.place}: its tables of deals differ in {different}; map both alike")
    return own


def store(connection: Connection, extract_id: str, batch: Batch) -> int:
    values = [name for name in batch.rows.columns if name not in ("row", "record")]
    rows = batch.rows.select(
        pl.lit(extract_id).alias("extract_id"),
        pl.lit(batch.object).alias("object"),
        "row",
        pl.struct(values).struct.json_encode().alias("record"),
    )
    return add_missing(connection, raw_records, rows)


def _set_aside(connection: Connection, extract_id: str, arrival: Arrival, batch: Batch, now: datetime) -> int:
    rows = batch.faulty.with_columns(
        pl.lit(extract_id).alias("extract_id"),
        pl.lit(batch.object).alias("object"),
        pl.lit(arrival.source).alias("source"),
        pl.lit(batch.file).alias("file"),
        instant(now).alias("recorded_at"),
    )
    return add_missing(connection, quarantine, rows)
