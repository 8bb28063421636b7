"""What could not be used, what to do about it, and what became of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, select, update

from dealwatch.tables import extract_runs, quarantine

# The state of a run that is no drop: rows of quarantine that could be used after a fix.
REPLAYED = "replayed"
Settled = Literal["replayed", "overtaken"]
KEY = ("extract_id", "object", "row")
_COLUMNS = ("file", "row", "field", "reason", "remedy", "record")


def quarantined(
    connection: Connection,
    *,
    source: str | None = None,
    file: str | None = None,
    reason: str | None = None,
    settled: bool = False,
) -> list[dict[str, Any]]:
    """Rows that wait in quarantine: newest drop first, then by file and row.

    file: as quarantine calls it. reason: a part of the reason. settled: those too that wait no more.
    """
    c = quarantine.c
    columns = (*_COLUMNS, *(("settled_as", "settled_at", "settled_by") if settled else ()))
    query = (
        select(
            extract_runs.c.source,
            extract_runs.c.drop_name,
            extract_runs.c.extracted_at,
            *(c[name] for name in columns),
        )
        .join_from(quarantine, extract_runs, extract_runs.c.extract_id == c.extract_id)
        .order_by(extract_runs.c.extracted_at.desc(), extract_runs.c.extract_id, c.file, c.row)
    )
    if not settled:
        query = query.where(c.settled_by.is_(None))
    if source is not None:
        query = query.where(extract_runs.c.source == source)
    if file is not None:
        query = query.where(c.file == file)
    if reason is not None:
        query = query.where(c.reason.icontains(reason, autoescape=True))
    return [dict(row._mapping) for row in connection.execute(query)]


def by_reason(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many rows there are of each source, file, field and kind of reason, the most first."""
    counts: Counter[tuple[str, ...]] = Counter()
    first: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for row in rows:
        key = (row["source"], row["file"], row["field"], row["remedy"])
        counts[key] += 1
        first.setdefault(key, row)
    return [
        {
            "rows": count,
            **{name: first[key][name] for name in ("source", "file", "field")},
            "such_as": first[key]["reason"],
            "remedy": first[key]["remedy"],
        }
        for key, count in counts.most_common()
    ]


def settle(
    connection: Connection, keys: Iterable[Mapping[str, Any]], *, by: str, as_: Settled, now: datetime
) -> int:
    """Let rows wait no more; they stay to be looked up. `keys` hold KEY; how many there were."""
    c = quarantine.c
    told = [{f"of_{name}": key[name] for name in KEY} for key in keys]
    if told:
        mine = [c[name] == bindparam(f"of_{name}") for name in KEY]
        values = {"settled_at": now, "settled_by": by, "settled_as": as_}
        connection.execute(update(quarantine).where(*mine).values(**values), told)
    return len(told)
