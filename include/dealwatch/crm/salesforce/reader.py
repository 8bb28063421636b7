"""A Salesforce org as a live source: what is read each night, and each table page by page.

All open deals are read in full, closed ones if they changed since the last extract, and with each deal its
whole history. The histories come before the deals: what moves meanwhile is then in the deal's row and follows
in its history the next night, while the other way round a deal would seem to move back.
"""

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl

from dealwatch.crm.api import LOOPBACK
from dealwatch.crm.http import Policy
from dealwatch.crm.pages import Page, Past, PlaceLost, Plan, Table
from dealwatch.crm.salesforce.api import Gone, NoBulk, Place, Rows, Salesforce
from dealwatch.crm.salesforce.fields import Fields, fields_of
from dealwatch.crm.salesforce.history import COLUMNS as CHANGES
from dealwatch.crm.salesforce.history import Spread
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.crm.salesforce.queries import (
    CREATED_OF_DEAL,
    DEALS,
    Describe,
    Night,
    Request,
    all_ids,
    deals,
    owners,
    recycled,
    states,
    touches,
    tracked,
)
from dealwatch.crm.salesforce.rates import Rates, rates_of
from dealwatch.crm.salesforce.shape import renamed, with_end, with_moment
from dealwatch.crm.sheets import Covers
from dealwatch.crm.stages import Stage, has_renamed, since
from dealwatch.errors import SettingsError, SourceDown
from dealwatch.knobs import Access, RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce as SalesforceSource

log = logging.getLogger(__name__)

WEEK = timedelta(days=6, hours=12)  # a run that begins a little early is a week later all the same

_JOBS = 3  # tries of one query whose jobs come to nothing
_PAGE_ROWS = 25_000
_CODE = "CurrencyIsoCode"
_STAGE_FIELDS = ("Id", "ApiName", "SortOrder", "IsActive", "IsClosed", "IsWon")


def open_salesforce(name: str, settings: Settings) -> "SalesforceReader":
    """The reader of the source of that name; SettingsError when there is no connection."""
    source = settings.sources[name]
    if not isinstance(source, SalesforceSource):
        raise TypeError(f"the source {name} is no Salesforce")
    connection, access = source.connection or name, source.access
    if access is None:
        raise SettingsError(f"[sources.{name}] has no connection {connection}; make it in Airflow")
    told = {**access.extra, "login": access.login, "password": access.password, "host": _host(access)}
    policy = Policy(most_quota_share=source.max_quota_share)
    session = Session(login_of(told, connection), version=source.api_version, policy=policy, sleep=time.sleep)
    return SalesforceReader(
        Salesforce(session),
        own=source.deals,
        where=f"sources.{name}",
        overlap=source.overlap,
        currency=source.currency,
    )


def _host(access: Access) -> str | None:
    """The host with its port; a stand-in on loopback needs no scheme."""
    if not access.host or "://" in access.host:
        return access.host
    scheme = "http" if access.host in LOOPBACK else "https"
    return f"{scheme}://{access.host}{f':{access.port}' if access.port else ''}"


class SalesforceReader:
    """Reads one org. `own` is the settings' mapping of deals, `where` the source's place in the settings.

    `currency` is what amounts are brought to in an org of several currencies, its own without it.
    """

    def __init__(
        self,
        wire: Salesforce,
        *,
        own: RecordMapping,
        where: str,
        overlap: timedelta,
        currency: str | None = None,
    ) -> None:
        self._wire, self._own, self._where, self._overlap = wire, own, where, overlap
        self._currency = currency

    def plan(self, past: Past) -> Plan:
        """What to read tonight: everything, when nothing was read before or other fields were."""
        with self._wire.session:
            return self._planned(past)

    def _planned(self, past: Past) -> Plan:
        begun = self._wire.session.server_time()
        self._wire.daily_requests()
        describe = cache(self._wire.describe)
        fields = fields_of(self._own, describe, where=f"{self._where}.deals")
        kept = self._wire.tracked_fields()
        stages = since(self._stages(describe), past.last.stages if past.last else ())
        everything = Night(begun, None, describe, self._rates(fields, describe))
        whole = replace(self._plan(fields, kept, everything, covers="all"), stages=stages)
        if past.last is None or past.cursor is None:
            return whole
        if reason := _is_other(past.last, whole):
            log.info("%s than the last time, so all is read anew", reason)
            return whole
        is_week_over = past.whole_at is None or begun - past.whole_at >= WEEK
        night = replace(everything, since=past.cursor - self._overlap)
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

    def _rates(self, fields: Fields, describe: Describe) -> Rates | None:
        if not fields.money:
            return None
        asked = ["IsoCode", "ConversionRate", "IsCorporate"]
        dated = ["IsoCode", "ConversionRate", "StartDate"]
        has_dated = describe("DatedConversionRate") is not None
        return rates_of(
            self._wire.all_rows("CurrencyType", asked),
            self._wire.all_rows("DatedConversionRate", dated) if has_dated else None,
            self._currency,
        )

    def _plan(self, fields: Fields, kept: frozenset[str] | None, night: Night, *, covers: Covers) -> Plan:
        found = [one for one in (states(fields, night), tracked(fields, night, kept)) if one is not None]
        tables = [
            *(table for table, _ in found),
            *touches(night),
            owners(night),
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
            total = None if rows.total < 0 or request.shape == "tracked" else rows.total
            yield Page(table.name, shaped, rows.next.text() if rows.next else None, total, rows.read_at)

    def _rows(self, request: Request, place: Place | None) -> Iterator[Rows]:
        """The pages of a query; of a new job at first an empty one without a total, whose place keeps it."""
        nothing = pl.DataFrame(schema=dict.fromkeys(request.asked, pl.String))
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
                return _in_one_currency(rows, request, created="CreatedDate")
            case "states":
                return _in_one_currency(rows, request, created=CREATED_OF_DEAL)
            case "tracked":
                is_id = (pl.col("DataType") == "EntityId").fill_null(True)
                is_plain = ~pl.col("Field").is_in(list(request.links))
                return renamed(rows.filter(is_id | is_plain), dict(request.names))
            case "tasks":
                return with_moment(rows)
        return rows


def _in_one_currency(rows: pl.DataFrame, request: Request, *, created: str) -> pl.DataFrame:
    if _CODE not in rows.columns or not request.money or request.rates is None:
        return rows
    return request.rates.convert(rows, request.money, code=_CODE, created=created)


def _is_other(last: Plan, whole: Plan) -> str:
    """What is otherwise than the last time, such that closed deals have to be read again; or nothing."""
    try:
        known = {table.name: (table.columns, Request.of(table.request)) for table in last.tables}
        rates = _rates_of(last)
    except (KeyError, TypeError, ValueError):  # as another release wrote it
        return "another release planned"
    for table in whole.tables:
        columns, request = known.get(table.name, ((), None))
        if request is None or (columns, request.names) != (table.columns, Request.of(table.request).names):
            return "other fields or tables are there"
    if has_renamed(whole.stages, last.stages):
        return "stages are called otherwise"
    day = last.begun_at.date()
    ours = _rates_of(whole)
    if (rates and rates.until(day)) != (ours and ours.until(day)):
        return "rates of past days are others"
    return ""


def _rates_of(plan: Plan) -> Rates | None:
    return next(Request.of(table.request).rates for table in plan.tables if table.name == DEALS)


def _told(place: str) -> tuple[Place, int]:
    """What `_place` wrote."""
    told = json.loads(place)
    return Place.of(json.dumps(told["job"])), int(told["skip"])


def _place(job: Place | None, seen: int) -> str:
    """Where changes go on: the job from its start, and how many changes were told."""
    start = replace(job or Place(), locator="", seen=0, total=-1)
    return json.dumps({"job": json.loads(start.text()), "skip": seen})
