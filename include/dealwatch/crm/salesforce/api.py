"""What we ask of a Salesforce org: fields, few rows by REST, many by a Bulk 2.0 job; each page counted.

A page that lacks rows it should have is asked for again, and in the end it is an error: never a short read.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl

from dealwatch.crm.api import Declined, Quota
from dealwatch.crm.bodies import Broken, read_json
from dealwatch.crm.pages import PlaceLost
from dealwatch.crm.salesforce.login import Session
from dealwatch.crm.salesforce.rows import exact_json, of_csv, of_records
from dealwatch.errors import ExtractRefused, SourceDown

log = logging.getLogger(__name__)

LONGEST_SOQL_OF_REST = 12_000  # as it stands in the address, of which Salesforce takes 16,000 bytes
LONGEST_WAIT_SECONDS = 2 * 3600.0
PAGE_ROWS = 25_000

_ID = re.compile(r"[A-Za-z0-9]{15,18}")
_MORE = re.compile(r"/services/data/v\d+\.\d/query/[A-Za-z0-9_-]+")
_TRACKED = (
    "SELECT QualifiedApiName FROM FieldDefinition WHERE EntityDefinition.QualifiedApiName = "
    "'Opportunity' AND IsFieldHistoryTracked = true"
)
_NO_BULK = frozenset({"INVALIDENTITY", "FEATURENOTENABLED"})


class Gone(PlaceLost):
    """A job or a cursor is not there any more, or came to nothing; the same has to be asked anew."""


class NoBulk(Exception):
    """The Bulk API does not serve this object; REST does."""


@dataclass(frozen=True)
class Described:
    """A field as describe tells it."""

    name: str
    type: str
    to: tuple[str, ...] = ()
    relationship: str = ""
    label: str = ""


@dataclass(frozen=True)
class Place:
    """Where the next page of a result is: a job's locator, or the path of a REST page.

    `seen` rows were told before it; `total` is how many there are, -1 until that is known.
    """

    job: str = ""
    version: str = ""
    locator: str = ""
    path: str = ""
    seen: int = 0
    total: int = -1

    def text(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value != ""})

    @staticmethod
    def of(text: str) -> "Place":
        """A place from its text; raises Gone when it is none of ours."""
        try:
            return Place(**json.loads(text))
        except (ValueError, TypeError):
            pass
        raise Gone("a place that is none")


@dataclass(frozen=True)
class Rows:
    """A page: its rows, all text in the columns asked for, and where the next one is."""

    rows: pl.DataFrame
    next: Place | None
    total: int
    read_at: datetime | None


class Salesforce:
    """The questions, over one session. All raise ExtractRefused and SourceDown as the client does."""

    def __init__(self, session: Session, *, page_rows: int = PAGE_ROWS) -> None:
        self.session, self.page_rows = session, page_rows

    def describe(self, object_: str) -> dict[str, Described] | None:
        """The fields we can see, by name in lower case; None when the object is not there for us."""
        try:
            answer = self.session.get(self.session.path(f"sobjects/{_name(object_)}/describe"))
        except Declined as error:
            if error.status == 404:
                return None
            raise
        fields = [
            Described(
                one["name"],
                one["type"],
                tuple(one["referenceTo"]),
                one["relationshipName"] or "",
                str(one.get("label") or ""),
            )
            for one in answer.data["fields"]
        ]
        return {one.name.lower(): one for one in fields}

    def tracked_fields(self) -> frozenset[str] | None:
        """The fields of Opportunity whose history is kept; None when we may not ask."""
        try:
            answer = self.session.get(self.session.path("tooling/query"), {"q": _TRACKED})
        except Declined as error:
            log.info("which fields are tracked cannot be asked: %s", error)
            return None
        return frozenset(one["QualifiedApiName"] for one in answer.data["records"])

    def daily_requests(self) -> Quota:
        """The day's requests, used and allowed; raises SourceDown when too many are used."""
        told = self.session.get(self.session.path("limits")).data["DailyApiRequests"]
        return Quota(told["Max"] - told["Remaining"], told["Max"])

    def query(self, soql: str, columns: Sequence[str], *, deleted: bool = False) -> Rows:
        """The first page of a REST query, for few rows; ExtractRefused when the query is too long for one."""
        if len(soql) > LONGEST_SOQL_OF_REST:
            raise ExtractRefused("Salesforce: a query is too long for REST; map fewer fields")
        path = self.session.path("queryAll" if deleted else "query")
        return self._rest_page(path, {"q": soql}, columns, Place())

    def more(self, place: Place, columns: Sequence[str]) -> Rows:
        """The page of a REST query at a place; raises Gone when its cursor is over."""
        try:
            return self._rest_page(place.path, None, columns, place)
        except Declined as error:
            if error.code != "INVALID_QUERY_LOCATOR" and error.status != 404:
                raise
        raise Gone("the query's cursor is over")

    def _rest_page(
        self, path: str, query: Mapping[str, str] | None, columns: Sequence[str], place: Place
    ) -> Rows:
        def reads(body: bytes, _: Mapping[str, str]) -> tuple[pl.DataFrame, int, str]:
            told = _checked(exact_json(body))
            rows, total = of_records(told["records"], columns), int(told["totalSize"])
            following = "" if told["done"] else str(told["nextRecordsUrl"])
            _count(place, total, rows.height, is_last=not following)
            return rows, total, following

        answer = self.session.send("GET", path, query=query, reads=reads)
        rows, total, following = answer.data
        if following and not _MORE.fullmatch(following):
            raise ExtractRefused("Salesforce: names a next page that is none of its own")
        seen = place.seen + rows.height
        return Rows(
            rows, Place(path=following, seen=seen, total=total) if following else None, total, answer.at
        )

    def create_job(self, soql: str, *, deleted: bool = False) -> Place:
        """Begin a bulk query; raises NoBulk when its object has none."""
        told = {"operation": "queryAll" if deleted else "query", "query": soql}
        declined: Declined | None = None
        try:
            data = self.session.send("POST", self.session.path("jobs/query"), json=told, reads=_job).data
        except Declined as error:
            declined = error
        if declined is not None:
            raise NoBulk(str(declined)) if declined.code in _NO_BULK else declined
        return Place(job=data["id"], version=self.session.version)

    def wait(self, place: Place) -> Place:
        """The place once the job is done, with the number of its rows.

        Raises Gone when the job came to nothing, SourceDown when it takes too long. Whoever stops us by
        Ctrl-C has the job aborted; when a task's time is over, the next try goes on with it.
        """
        pause, waited = 1.0, 0.0
        try:
            while True:
                told = self._job(place)
                if told["state"] == "JobComplete":
                    total = int(told["numberRecordsProcessed"])
                    log.info("Salesforce: %s rows of %s", f"{total:,}", told["object"])
                    return Place(place.job, place.version, place.locator, seen=place.seen, total=total)
                if told["state"] in {"Failed", "Aborted"}:
                    raise Gone(f"the job {told['state'].lower()}")
                if waited >= LONGEST_WAIT_SECONDS:
                    raise SourceDown(f"Salesforce: a job is not done after {waited / 60:.0f} minutes")
                self.session.sleep(pause)
                waited, pause = waited + pause, min(pause * 1.5, 30.0)
        except KeyboardInterrupt:
            self.abort(place)
            raise

    def _job(self, place: Place) -> dict[str, Any]:
        try:
            told: dict[str, Any] = self.session.send("GET", self._job_path(place), reads=_job).data
            return told
        except Declined as error:
            if error.status != 404:
                raise
        raise Gone("the job is not there any more")

    def abort(self, place: Place) -> None:
        """Have the server let go of a job that is not done; quiet when it cannot."""
        try:
            self.session.send("PATCH", self._job_path(place), json={"state": "Aborted"})
        except (ExtractRefused, SourceDown) as error:
            log.info("a job is left to itself: %s", error)

    def results(self, place: Place, columns: Sequence[str]) -> Rows:
        """The page of a finished job at a place; raises Gone when the job is over."""

        def reads(body: bytes, headers: Mapping[str, str]) -> tuple[pl.DataFrame, str]:
            count, locator = headers.get("sforce-numberofrecords", ""), headers.get("sforce-locator", "")
            if not count.isdigit() or not locator:
                raise Broken("a result that does not count its rows")
            rows = of_csv(body, columns, told=int(count))
            following = "" if locator == "null" else locator
            _count(place, place.total, rows.height, is_last=not following)
            if following and following == place.locator:
                raise Broken("a page that is followed by itself")
            return rows, following

        query = {"maxRecords": str(self.page_rows), **({"locator": place.locator} if place.locator else {})}
        gone: Declined | None = None
        try:
            path = f"{self._job_path(place)}/results"
            answer = self.session.send("GET", path, query=query, expects="text/csv", reads=reads)
        except Declined as error:
            gone = error
        if gone is not None:
            # 409: the job is of another API version than it says; 400: its locator is none.
            raise Gone(str(gone)) if gone.status in {400, 404, 409} else gone
        rows, following = answer.data
        seen = place.seen + rows.height
        following = following and Place(place.job, place.version, following, seen=seen, total=place.total)
        return Rows(rows, following or None, place.total, answer.at)

    def _job_path(self, place: Place) -> str:
        if not _ID.fullmatch(place.job):
            raise Gone("a place without a job")
        return self.session.path(f"jobs/query/{place.job}", version=place.version)

    def all_rows(self, object_: str, columns: Sequence[str]) -> pl.DataFrame:
        """The whole of an object of few rows."""
        page = self.query(f"SELECT {', '.join(columns)} FROM {_name(object_)}", columns)  # noqa: S608
        pages = [page.rows]
        while page.next is not None:
            page = self.more(page.next, columns)
            pages.append(page.rows)
        return pl.concat(pages)


def _count(place: Place, total: int, rows: int, *, is_last: bool) -> None:
    """Raise Broken when what was told so far, with this page, is not as many rows as there are."""
    seen = place.seen + rows
    if (is_last and seen != total) or seen > total or (place.total >= 0 and place.total != total):
        raise Broken(f"the {'last' if is_last else 'next'} page makes {seen:,} rows of {total:,}")
    if not is_last and rows == 0:
        raise Broken("an empty page before the last")


def _checked(told: Any) -> dict[str, Any]:
    """A page of REST with all its parts."""
    if not isinstance(told, dict) or not {"records", "totalSize", "done"} <= told.keys():
        raise Broken("a page without its parts")
    if not str(told["totalSize"]).isdigit() or (not told["done"] and "nextRecordsUrl" not in told):
        raise Broken("a page without its parts")
    return told


def _job(body: bytes, _: Mapping[str, str]) -> dict[str, Any]:
    told = read_json(body)
    is_job = isinstance(told, dict) and {"id", "state", "object"} <= told.keys()
    if not is_job or (told["state"] == "JobComplete" and "numberRecordsProcessed" not in told):
        raise Broken("a job without its parts")
    found: dict[str, Any] = told
    return found


def _name(object_: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", object_):
        raise ExtractRefused("Salesforce: the name of an object holds letters, digits and _ only")
    return object_
