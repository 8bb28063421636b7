"""What could not be used, and what to do about it."""

from typing import Any

from sqlalchemy import Connection, select

from dealwatch.tables import extract_runs, quarantine

_COLUMNS = ("file", "row", "field", "reason", "remedy", "record")


def quarantined(connection: Connection, *, source: str | None = None) -> list[dict[str, Any]]:
    """Every row in quarantine: newest drop first, then by file and row."""
    query = (
        select(
            extract_runs.c.source,
            extract_runs.c.drop_name,
            extract_runs.c.extracted_at,
            *(quarantine.c[name] for name in _COLUMNS),
        )
        .join_from(quarantine, extract_runs, extract_runs.c.extract_id == quarantine.c.extract_id)
        .order_by(
            extract_runs.c.extracted_at.desc(),
            extract_runs.c.extract_id,
            quarantine.c.file,
            quarantine.c.row,
        )
    )
    if source is not None:
        query = query.where(extract_runs.c.source == source)
    return [dict(row._mapping) for row in connection.execute(query)]
