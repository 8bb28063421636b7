"""What a Salesforce answers to each call once it knows who asks: status, body, headers."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import polars as pl

from standins.salesforce_rows import Refused, form_of, updated
from standins.salesforce_soql import Query, answer

BULKLESS = {"OpportunityStage", "CurrencyType"}
Told = tuple[int, Any, dict[str, str]]


@dataclass
class Job:
    id: str
    operation: str
    soql: str
    version: str
    created: datetime
    query: Query | None = None
    state: str = "UploadComplete"
    polls: int = 0
    wrong: str = ""
    object: str = ""


def to_describe(sf: Any, steps: list[str], *_: Any) -> Told:
    object_ = sf.org.object_named(steps[4])
    if object_ is None:
        raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
    fields = [
        {
            "name": one.name,
            "label": one.name,
            "type": one.type,
            "custom": one.name.endswith("__c"),
            "nillable": one.type not in {"id", "boolean"},
            "referenceTo": [one.to] if one.to else [],
            "relationshipName": one.relationship or None,
            **form_of(one, is_fixed=one.name in sf.org.fixed),
        }
        for one in sf.org.fields(object_).values()
    ]
    is_ours = object_ != "Opportunity" or sf.may_edit
    return 200, {"name": object_, "queryable": True, "updateable": is_ours, "fields": fields}, {}


def to_update(sf: Any, _: list[str], query: dict[str, str], body: bytes, fault: Any) -> Told:
    if query:
        raise Refused(400, "INVALID_QUERY_FILTER_OPERATOR", "unknown parameter")
    results = updated(sf, body)
    if fault == "short":
        results.pop()
    return 200, results[::-1] if fault == "swapped" else results, {}


def to_limits(sf: Any, *_: Any) -> Told:
    left = {"Max": sf.allowed, "Remaining": sf.allowed - sf.used}
    return 200, {"DailyApiRequests": left, "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 9998}}, {}


def to_tooling(sf: Any, _: Any, query: dict[str, str], *__: Any) -> Told:
    wanted = (
        "SELECT QualifiedApiName FROM FieldDefinition WHERE EntityDefinition.QualifiedApiName = "
        "'Opportunity' AND IsFieldHistoryTracked = true"
    )
    if query.get("q") != wanted:
        raise Refused(400, "MALFORMED_QUERY", "the stand-in knows one question to the Tooling API")
    kind = {"type": "FieldDefinition", "url": "x"}
    found = [{"attributes": kind, "QualifiedApiName": name} for name in sorted(sf.org.tracked)]
    return 200, {"size": len(found), "totalSize": len(found), "done": True, "records": found}, {}


def to_query(sf: Any, steps: list[str], query: dict[str, str], _: Any, fault: Any) -> Told:
    sf.asked.append(query.get("q", ""))
    found = answer(sf.org, query.get("q", ""), deleted=steps[3] == "queryAll")
    cursor = f"01g{next(sf.counter):012d}AAA"
    sf.cursors[cursor] = found
    return rest_page(sf, steps[2], cursor, 0, fault)


def to_more(sf: Any, steps: list[str], _: Any, __: Any, fault: Any) -> Told:
    cursor, _, at = steps[4].rpartition("-")
    if cursor not in sf.cursors or not at.isdigit():
        raise Refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return rest_page(sf, steps[2], cursor, int(at), fault)


def rest_page(sf: Any, version: str, cursor: str, at: int, fault: Any) -> Told:
    query = sf.cursors[cursor]
    rows = query.frame[at : at + sf.page]
    total, end = len(query.frame), at + sf.page
    if query.is_count:
        return 200, {"totalSize": total, "done": True, "records": []}, {}
    is_done = end >= total or fault == "short"
    if fault == "short":
        rows = rows[: len(rows) // 2]
    data = {"totalSize": total, "done": is_done, "records": _records(query, rows, version)}
    following = f"/services/data/{version}/query/{cursor}-{end}"
    return 200, data if is_done else data | {"nextRecordsUrl": following}, {}


def to_create(sf: Any, steps: list[str], _: Any, body: bytes, __: Any) -> Told:
    told = json.loads(body)
    known = {"operation", "query", "contentType", "columnDelimiter", "lineEnding"}
    if {*told} - known or told.get("operation") not in {"query", "queryAll"}:
        raise Refused(400, "INVALIDJOB", "unknown property or operation")
    if told.get("columnDelimiter", "COMMA") != "COMMA" or told.get("lineEnding", "LF") != "LF":
        raise Refused(400, "INVALIDJOB", "the stand-in writes commas and LF")
    sf.asked.append(told["query"])
    found = answer(sf.org, told["query"], deleted=told["operation"] == "queryAll", bulk=True)
    if found.object in BULKLESS:
        raise Refused(400, "INVALIDENTITY", f"Entity '{found.object}' is not supported by the Bulk API.")
    id_ = f"750{next(sf.counter):012d}AAA"
    version = steps[2].removeprefix("v")
    job = Job(id_, told["operation"], told["query"], version, sf.org.now, object=found.object)
    sf.jobs[id_] = job
    return 200, _told(job), {}


def job_of(sf: Any, steps: list[str]) -> Job:
    job = sf.jobs.get(steps[5])
    if job is None:
        raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
    return job


def to_job(sf: Any, steps: list[str], _: Any, __: Any, fault: Any) -> Told:
    job = job_of(sf, steps)
    if fault == "gone":
        del sf.jobs[job.id]
        raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
    job.polls += 1
    if fault in {"Failed", "Aborted"}:
        job.state, job.wrong = fault, "InternalServerError: canary-message"
    if job.state in {"UploadComplete", "InProgress"}:
        job.state = "InProgress"
        if job.query is None:
            job.query = answer(sf.org, job.soql, deleted=job.operation == "queryAll", bulk=True)
            # In no order that one could rely on.
            job.query.frame = job.query.frame.sample(fraction=1, shuffle=True, seed=len(sf.jobs))
        if job.polls > sf.polls:
            job.state = "JobComplete"
    return 200, _told(job), {}


def to_abort(sf: Any, steps: list[str], _: Any, body: bytes, __: Any) -> Told:
    job = job_of(sf, steps)
    if json.loads(body) != {"state": "Aborted"}:
        raise Refused(400, "INVALIDJOB", "a query job can only be aborted")
    if job.state not in {"UploadComplete", "InProgress"}:
        raise Refused(400, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed")
    job.state = "Aborted"
    return 200, _told(job), {}


def to_results(sf: Any, steps: list[str], query: dict[str, str], _: Any, fault: Any) -> Told:
    job = job_of(sf, steps)
    if fault == "conflict" or steps[2] != f"v{job.version}":
        raise Refused(409, "API_ERROR", "the job is of another API version")
    if job.state != "JobComplete" or job.query is None:
        raise Refused(400, "INVALIDJOBSTATE", "the job is not complete")
    if {*query} - {"locator", "maxRecords"}:
        raise Refused(400, "INVALIDREQUEST", "unknown parameter")
    at = _place(job, query["locator"]) if "locator" in query else 0
    size = min(int(query.get("maxRecords", 50_000)), sf.bulk_page)
    rows = job.query.frame[at : at + size]
    is_last = at + size >= len(job.query.frame) or fault == "fewer"
    told = len(rows)
    if fault == "fewer" and at + size >= len(job.query.frame):
        rows = rows[: told // 2]
        told = len(rows)
    headers = {
        "Content-Type": "text/csv",
        "Sforce-NumberOfRecords": str(told),
        "Sforce-Locator": "null" if is_last else _locator(job, at + size),
    }
    if isinstance(fault, tuple):
        return 200, str(fault[1]).encode(), headers
    if fault == "short":
        rows = rows[:-1]
    return 200, _csv(rows, header=at == 0 or sf.has_headers), headers


def _told(job: Job) -> dict[str, Any]:
    """A job as Salesforce tells it; how many records only once it is done."""
    told: dict[str, Any] = {
        "id": job.id,
        "operation": job.operation,
        "object": job.object,
        "createdDate": job.created.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        "state": job.state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(job.version),
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    if job.state == "JobComplete" and job.query is not None:
        told["numberRecordsProcessed"] = len(job.query.frame)
    return told | ({"errorMessage": job.wrong} if job.state == "Failed" else {})


def _locator(job: Job, at: int) -> str:
    return base64.b64encode(f"{at}:{job.id}".encode()).decode().rstrip("=")


def _place(job: Job, locator: str) -> int:
    try:
        at, _, id_ = base64.b64decode(unquote(locator) + "==").decode().partition(":")
        assert id_ == job.id
        return int(at)
    except (ValueError, AssertionError):
        raise Refused(400, "INVALIDLOCATOR", "invalid locator") from None


def _text(frame: pl.DataFrame, instant: str) -> pl.DataFrame:
    """Instants and dates as text; Bulk and REST write instants differently."""
    return frame.with_columns(
        pl.col(pl.Datetime("us", "UTC")).dt.strftime(f"%Y-%m-%dT%H:%M:%S{instant}"),
        pl.col(pl.Date).dt.strftime("%Y-%m-%d"),
    )


def _csv(rows: pl.DataFrame, *, header: bool) -> bytes:
    text: str = _text(rows, ".000Z").write_csv(quote_style="always", include_header=header)
    return text.encode()


def _records(query: Query, rows: pl.DataFrame, version: str) -> list[dict[str, Any]]:
    """Rows as REST has them: parents are objects of their own, or null."""
    found = []
    for row in _text(rows, ".000+0000").iter_rows(named=True):
        url = f"/services/data/{version}/sobjects/{query.object}/{row.get('Id', 'x')}"
        record: dict[str, Any] = {"attributes": {"type": query.object, "url": url}}
        for name, value in row.items():
            parent, _, own = name.rpartition(".")
            if not parent:
                record[name] = value
            elif value is not None or record.get(parent):
                held = record.get(parent) or {"attributes": {"type": parent, "url": "/x"}}
                record[parent] = held | {own: value}
            else:
                record.setdefault(parent, None)
        found.append(record)
    return found
