"""A Salesforce org as a live source: what is read each night, and each table page by page.

All open deals are read in full, closed ones if they changed since the last extract, and with each deal its
whole history. The histories come before the deals: what moves meanwhile is then in the deal's row and follows
in its history the next night, while the other way round a deal would seem to move back.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl

from dealwatch.crm.pages import Page, Past, PlaceLost, Plan, Table
from dealwatch.crm.salesforce.api import Gone, NoBulk, Place, Rows, Salesforce
from dealwatch.crm.salesforce.fields import CODE, Fields, fields_of
from dealwatch.crm.salesforce.hidden import refuse_hidden, requests_of
from dealwatch.crm.salesforce.history import COLUMNS as CHANGES
from dealwatch.crm.salesforce.history import Spread
from dealwatch.crm.salesforce.opening import session_of
from dealwatch.crm.salesforce.queries import (
    CREATED_OF_DEAL,
    DEALS,
    Describe,
    Night,
    Request,
    all_ids,
    deals,
    one_by_one,
    owners,
    recycled,
    states,
    touches,
    tracked,
)
from dealwatch.crm.salesforce.rates import Rates, rates_of
from dealwatch.crm.salesforce.shape import renamed, with_end, with_moment, with_whole_ids
from dealwatch.crm.sheets import Covers
from dealwatch.crm.stages import Stage, has_renamed, since
from dealwatch.errors import SourceDown
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce as SalesforceSource

log = logging.getLogger(__name__)

WEEK = timedelta(days=6, hours=12)  # a run that begins a little early is a week later all the same

_JOBS = 3  # tries of one query whose jobs come to nothing
_PAGE_ROWS = 25_000
_IDS_A_QUERY = 200  # as they stand in an address, 28 bytes each
_STAGE_FIELDS = ("Id", "ApiName", "SortOrder", "IsActive", "IsClosed", "IsWon")


def open_salesforce(name: str, settings: Settings) -> "SalesforceReader":
    """The reader of the source of that name; SettingsError when there is no connection."""
    source = settings.sources[name]
    if not isinstance(source, SalesforceSource):
        raise TypeError(f"the source {name} is no Salesforce")
    return SalesforceReader(
        Salesforce(session_of(name, source, source.connection, source.access)),
        own=source.deals,
        where=f"sources.{name}",
        overlap=source.overlap,
        currency=source.currency,
        without=source.without,
        is_written=source.write_back is not None,
    )


class SalesforceReader:
    """Reads one org. `own` is the settings' mapping of deals, `where` the source's place in the settings.

    `currency` is what amounts are brought to in an org of several currencies, its own without it. `without`
    are objects that are left out on purpose. `is_written` says that our scores are written into its deals.
    """

    def __init__(
        self,
        wire: Salesforce,
        *,
        own: RecordMapping,
        where: str,
        overlap: timedelta,
        currency: str | None = None,
        without: Sequence[str] = (),
        is_written: bool = False,
    ) -> None:
        self._wire, self._own, self._where, self._overlap = wire, own, where, overlap
        self._currency, self._without, self._is_written = currency, tuple(without), is_written

    def close(self) -> None:
        self._wire.session.close()

    def plan(self, past: Past) -> Plan:
        """What to read tonight: everything, when nothing was read before or other fields were."""
        with self._wire.session:
            return self._planned(past)

    def _planned(self, past: Past) -> Plan:
        fields, kept, every = self._seen(past)
        stages = since(self._stages(every.describe), past.last.stages if past.last else ())
        whole = replace(self._plan(fields, kept, every, covers="all"), stages=stages)
        if past.last is None or past.cursor is None:
            return whole
        if reason := _is_other(past.last, whole):
            log.info("%s than the last time, so all is read anew", reason)
            return whole
        is_week_over = past.whole_at is None or every.begun - past.whole_at >= WEEK
        night = replace(every, since=past.cursor - self._overlap)
        tonight = self._plan(fields, kept, night, covers="ids" if is_week_over else "open")
        return replace(tonight, stages=stages)

    def _stages(self, describe: Describe) -> list[Stage]:
        """The org's stages in its order; none where it does not show them."""
        if not {*_STAGE_FIELDS} <= {one.name for one in (describe("OpportunityStage") or {}).values()}:
            return []
        rows = self._wire.all_rows("OpportunityStage", _STAGE_FIELDS)
        in_order = rows.sort(pl.col("SortOrder").cast(pl.Int64, strict=False), "Id", nulls_last=True)
        is_closed, is_won = pl.col("IsClosed") == "true", pl.col("IsWon") == "true"
        outcome = pl.when(is_closed & is_won).then(pl.lit("won")).when(is_closed).then(pl.lit("lost"))
        return [
            Stage(row["Id"], row["ApiName"] or "", "", row["outcome"], row["IsActive"] == "true")
            for row in in_order.with_columns(outcome.otherwise(pl.lit("open")).alias("outcome")).to_dicts()
        ]

    def plan_of(self, past: Past, deal_ids: Sequence[str]) -> Plan:
        """What to read of these deals, as they are now: what `plan` reads of them, by REST."""
        with self._wire.session:
            fields, kept, every = self._seen(past)
            parts = [tuple(deal_ids[n : n + _IDS_A_QUERY]) for n in range(0, len(deal_ids), _IDS_A_QUERY)]
            plans = [self._plan(fields, kept, replace(every, ids=ids), covers="some") for ids in parts]
        return replace(plans[0], tables=one_by_one([plan.tables for plan in plans]))

    def _seen(self, past: Past) -> tuple[Fields, frozenset[str] | None, Night]:
        """The fields to read, those whose history is kept, and a night of everything, as the org is now.

        Raises ExtractRefused when it hides what it showed the last time.
        """
        begun = self._wire.session.server_time()
        self._wire.daily_requests()
        describe = cache(self._wire.describe)
        fields = fields_of(self._own, describe, where=f"{self._where}.deals", is_written=self._is_written)
        kept = self._wire.tracked_fields()
        rates = self._rates(past.last) if fields.money else None
        every = Night(begun, None, describe, rates, self._without)
        if past.last is not None:
            whole = self._plan(fields, kept, every, covers="all")
            refuse_hidden(whole, past.last, own=self._own, without=self._without)
        return fields, kept, every

    def _plan(self, fields: Fields, kept: frozenset[str] | None, night: Night, *, covers: Covers) -> Plan:
        found = [one for one in (states(fields, night), tracked(fields, night, kept)) if one is not None]
        tables = [
            *(table for table, _ in found),
            *touches(night),
            *([] if covers == "some" else [owners(night)]),
            deals(fields, night),
            recycled(night),
            *([all_ids(night)] if covers == "ids" else []),
        ]
        return Plan(tuple(tables), night.begun, covers, tuple(name for _, names in found for name in names))

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        """The table's pages from a place on; raises PlaceLost when its job is over."""
        with self._wire.session:
            request = Request.of(table.request)
            told = self._changes if request.shape == "states" else self._pages
            yield from told(table, request, place)

    def _pages(self, table: Table, request: Request, place: str | None) -> Iterator[Page]:
        for rows in self._rows(request, Place.of(place) if place else None):
            shaped = self._shaped(rows.rows, request).select(table.columns)
            # Rows that are left out on the way would look like rows that were lost.
            is_counted = rows.total >= 0 and request.shape != "tracked" and not request.parts
            total = rows.total if is_counted else None
            yield Page(table.name, shaped, rows.next.text() if rows.next else None, total, rows.read_at)

    def _rows(self, request: Request, place: Place | None) -> Iterator[Rows]:
        """The pages of a query; of a new job at first an empty one without a total, whose place keeps it."""
        nothing = pl.DataFrame(schema=dict.fromkeys(request.asked, pl.String))
        for soql in request.parts:
            yield from self._from(self._wire.query(soql, request.asked, deleted=request.deleted), request)
        if request.parts:
            return
        for nth in range(1, _JOBS + 1):
            if place is None:
                try:
                    place = self._wire.create_job(request.soql, deleted=request.deleted)
                except NoBulk:
                    first = self._wire.query(request.soql, request.asked, deleted=request.deleted)
                    yield from self._from(first, request)
                    return
                yield Rows(nothing, place, -1, None)
            if place.path:
                yield from self._from(self._wire.more(place, request.asked), request)
                return
            try:
                place = place if place.total >= 0 else self._wire.wait(place)
            except Gone as gone:
                log.info("Salesforce: %s (job %d of %d at most)", gone, nth, _JOBS)
                place = None
                continue
            yield from self._from(self._wire.results(place, request.asked), request)
            return
        raise SourceDown(f"Salesforce: {_JOBS} jobs in a row came to nothing")

    def _from(self, page: Rows, request: Request) -> Iterator[Rows]:
        yield page
        while page.next is not None:
            ask = self._wire.more if page.next.path else self._wire.results
            page = ask(page.next, request.asked)
            yield page

    def _changes(self, table: Table, request: Request, place: str | None) -> Iterator[Page]:
        """The changes between states; gone on with by reading the states of the same job once more."""
        job, skip = _told(place) if place else (None, 0)
        if job is not None and not job.job:
            raise PlaceLost("a query without a job cannot be gone on with")
        nothing = pl.DataFrame(schema=dict.fromkeys(CHANGES, pl.String))
        with tempfile.TemporaryDirectory(prefix="dealwatch-") as folder:
            spread, read_at = Spread(Path(folder)), None
            for rows in self._rows(request, job):
                if rows.total < 0:  # a new job: the changes told before were of another
                    if skip:
                        raise PlaceLost("its job came to nothing")
                    job = rows.next
                    yield Page(table.name, nothing, _place(job, 0))
                spread.add(self._shaped(rows.rows, request))
                read_at = rows.read_at or read_at
            seen = 0
            for part in spread.changes([theirs for theirs, _ in request.names]):
                for page in part.iter_slices(_PAGE_ROWS):
                    seen += page.height
                    if seen > skip:
                        fresh = page.tail(min(seen - skip, page.height))
                        yield Page(table.name, fresh, _place(job, seen), None, read_at)
        yield Page(table.name, nothing, None, None, read_at)

    def _shaped(self, rows: pl.DataFrame, request: Request) -> pl.DataFrame:
        match request.shape:
            case "deals":
                rows = with_end(rows, until=datetime.fromisoformat(request.until))
                return self._in_one_currency(rows, request, created="CreatedDate")
            case "states":
                return self._in_one_currency(rows, request, created=CREATED_OF_DEAL)
            case "tracked":
                is_id = (pl.col("DataType") == "EntityId").fill_null(True)
                is_plain = ~pl.col("Field").is_in(list(request.links))
                return renamed(with_whole_ids(rows.filter(is_id | is_plain)), dict(request.names))
            case "tasks":
                return with_moment(rows)
        return rows

    def _in_one_currency(self, rows: pl.DataFrame, request: Request, *, created: str) -> pl.DataFrame:
        if CODE not in rows.columns or not request.money:
            return rows
        rates = Rates.of(request.into, request.rates)
        return rates.convert(rows, request.money, code=CODE, created=created)

    def _rates(self, last: Plan | None) -> Rates:
        """The org's rates for deals created from the day after the last extract on, and before as they were.

        A rate that is set anew would else change the amount of every deal, back to its creation.
        """
        asked = ["IsoCode", "ConversionRate", "IsCorporate"]
        dated = ["IsoCode", "ConversionRate", "StartDate"]
        has_dated = self._wire.describe("DatedConversionRate") is not None
        rates = rates_of(
            self._wire.all_rows("CurrencyType", asked),
            self._wire.all_rows("DatedConversionRate", dated) if has_dated else None,
            self._currency,
        )
        before = requests_of(last).get(DEALS) if last is not None else None
        if last is None or before is None or not before.rates:
            return rates
        since = last.begun_at.date() + timedelta(days=1)
        return rates.after(Rates.of(before.into, before.rates), since=since)


def _is_other(last: Plan, whole: Plan) -> str:
    """What is otherwise than the last time, such that closed deals have to be read again; or nothing."""
    requests = requests_of(last)
    known = {table.name: (table.columns, requests[table.name].names) for table in last.tables if requests}
    if any(known.get(one.name) != (one.columns, Request.of(one.request).names) for one in whole.tables):
        return "other fields or tables are there"
    return "stages are called otherwise" if has_renamed(whole.stages, last.stages) else ""


def _told(place: str) -> tuple[Place, int]:
    """What `_place` wrote."""
    told = json.loads(place)
    return Place.of(json.dumps(told["job"])), int(told["skip"])


def _place(job: Place | None, seen: int) -> str:
    """Where changes go on: the job from its start, and how many changes were told."""
    start = replace(job or Place(), locator="", seen=0, total=-1)
    return json.dumps({"job": json.loads(start.text()), "skip": seen})
