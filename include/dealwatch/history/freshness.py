"""Is what we know recent enough to speak about a morning?"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from dealwatch.settings import Settings
from dealwatch.tables import extract_runs


def newest_extracts(connection: Connection) -> dict[str, datetime]:
    """Per source, the latest moment that a remembered drop speaks for."""
    query = (
        select(
            extract_runs.c.source,
            func.max(extract_runs.c.extracted_at, type_=extract_runs.c.extracted_at.type),
        )
        .where(extract_runs.c.state == "remembered")
        .group_by(extract_runs.c.source)
    )
    return {source: moment for source, moment in connection.execute(query)}


def is_stale(connection: Connection, as_of: datetime, *, settings: Settings) -> str | None:
    """A sentence saying which source's extract is missing or too old for the morning; None when none is.

    An extract younger than the morning covers it too.
    """
    if not settings.sources:
        return "No source is configured, so nothing was extracted."
    newest = newest_extracts(connection)
    oldest = as_of - timedelta(hours=settings.alerts.stale_after_hours)
    missing = sorted(name for name in settings.sources if name not in newest)
    if missing:
        return f"Nothing was ever extracted from {', '.join(missing)}."
    stale = sorted(name for name in settings.sources if newest[name] < oldest)
    if not stale:
        return None
    told = ", ".join(f"{name} ({newest[name].astimezone(settings.zone):%Y-%m-%d %H:%M})" for name in stale)
    return f"The last extract is older than {settings.alerts.stale_after_hours} hours: {told}."
