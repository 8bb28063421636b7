"""Is what we know fit to speak about a morning? If not: what is wrong, and what somebody has to mend.

Asked of live mornings only. A past one is worked on with all that is known since, so that its receipt says
what a well-run morning would have said.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from sqlalchemy import Connection, func, or_, select

from dealwatch.history.gates import warnings
from dealwatch.history.terms import reads_a_source
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import extract_runs

_TOLD = 3  # warnings in a morning's messages
_USUAL_RUNS = 7  # of which the median is what a source usually tells of


@dataclass(frozen=True)
class Incident:
    """Why no deal alerts go out: what sort of fault, in one sentence, and what to do."""

    kind: Literal["schema", "stale", "volume"]
    sentence: str
    remedy: str

    @property
    def reason(self) -> str:
        """Under which of the closed list's words alerts are held."""
        return "stale_extract" if self.kind == "stale" else "incident"


def newest_extracts(connection: Connection) -> dict[str, datetime]:
    """Per source, the latest moment that a remembered drop speaks for."""
    query = (
        select(
            extract_runs.c.source,
            func.max(extract_runs.c.extracted_at, type_=extract_runs.c.extracted_at.type),
        )
        .where(extract_runs.c.state == "remembered", reads_a_source())
        .group_by(extract_runs.c.source)
    )
    return {source: moment for source, moment in connection.execute(query)}


def incident(connection: Connection, as_of: datetime, *, settings: Settings) -> Incident | None:
    """What makes the data unfit to speak about the morning; None when nothing does.

    A drop that was refused comes first, because it tells most about what to mend: it is often why there is no
    fresh extract. What else is wrong is told with it.
    """
    found = [
        one
        for one in (
            _refused(connection, settings),
            _stale(connection, as_of, settings=settings),
            _fallen(connection, settings),
        )
        if one is not None
    ]
    if not found:
        return None
    return Incident(
        found[0].kind, " ".join(one.sentence for one in found), " ".join(one.remedy for one in found)
    )


def age_of_data(connection: Connection, as_of: datetime, *, settings: Settings) -> str:
    """One line when the newest extract of a source is of an earlier day than the morning; else empty."""
    newest = newest_extracts(connection)
    moments = [newest[name] for name in settings.sources if name in newest]
    if not moments:
        return ""
    oldest = min(moments)
    days = (local_day(as_of, settings) - local_day(oldest, settings)).days
    if days < 1:
        return ""
    return "Scores from yesterday's data" if days == 1 else f"Scores from data of {days} days ago"


def caveats(connection: Connection, as_of: datetime, *, settings: Settings) -> str:
    """What a reader of the morning's messages should know of its data, in a line; else empty.

    That it is of an earlier day, and what the gates warned of when it was taken in.
    """
    newest = newest_extracts(connection)
    told = [
        f"{name}: {sentence.partition('. ')[0].rstrip('.')}."  # the remedy is for operations
        for name in sorted(settings.sources)
        if name in newest
        for sentence in warnings(connection, name, newest[name])
    ]
    more = [f"{len(told) - _TOLD} more are in extract_gates."] if len(told) > _TOLD else []
    lines = [age_of_data(connection, as_of, settings=settings), *told[:_TOLD], *more]
    return " ".join(line for line in lines if line)


def _refused(connection: Connection, settings: Settings) -> Incident | None:
    """A source's newest drop could not be used at all: the form of the export changed, or it is cut short."""
    c = extract_runs.c
    query = select(c.source, c.fault).where(c.fault.is_not(None), c.source.in_(sorted(settings.sources)))
    faults = connection.execute(query.order_by(c.source)).all()
    if not faults:
        return None
    told = "; ".join(f"{row.source}: {row.fault}" for row in faults)
    return Incident(
        "schema",
        f"The newest drop could not be used, and scores are of the one before. {told}.",
        "Mend the export or the source's mapping, then run `python -m dealwatch extract`.",
    )


def _stale(connection: Connection, as_of: datetime, *, settings: Settings) -> Incident | None:
    """A source's extract is missing or too old for the morning; a younger one covers it too."""
    if not settings.sources:
        return Incident(
            "stale", "No source is configured, so nothing was extracted.", "Add a [sources.NAME] table."
        )
    newest = newest_extracts(connection)
    oldest = as_of - timedelta(hours=settings.alerts.stale_after_hours)
    remedy = "Look into the runs of extract_crm and whether the export wrote its files."
    missing = sorted(name for name in settings.sources if name not in newest)
    if missing:
        return Incident("stale", f"Nothing was ever extracted from {', '.join(missing)}.", remedy)
    stale = sorted(name for name in settings.sources if newest[name] < oldest)
    if not stale:
        return None
    told = ", ".join(f"{name} ({newest[name].astimezone(settings.zone):%Y-%m-%d %H:%M})" for name in stale)
    hours = settings.alerts.stale_after_hours
    return Incident("stale", f"The last extract is older than {hours} hours: {told}.", remedy)


def _fallen(connection: Connection, settings: Settings) -> Incident | None:
    """A source's newest extract has far fewer deals than it usually has."""
    told = []
    for name in sorted(settings.sources):
        counts = _deals_told(connection, name)
        if len(counts) < 2:
            continue
        usual = median(counts[1:])
        is_large = usual >= settings.alerts.volume_minimum
        if is_large and counts[0] <= usual * (1 - settings.alerts.volume_fall_pct / 100):
            told.append(f"{name} has {counts[0]:,} deals where {usual:,.0f} are usual")
    if not told:
        return None
    return Incident(
        "volume",
        f"The newest extract is incomplete: {'; '.join(told)}.",
        "Check the export's filter. If the deals are really gone, raise alerts.volume_fall_pct until the"
        " usual number has followed.",
    )


def _deals_told(connection: Connection, source: str) -> list[int]:
    """How many deals the newest extracts of a source held, the newest first.

    Extracts that tell all deals and those that tell the open ones count different things.
    """
    c = extract_runs.c
    told = (c.source == source, c.state == "remembered", c.deals.is_not(None), reads_a_source())
    newest = select(c.covers).where(*told).order_by(c.extracted_at.desc(), c.extract_id).limit(1)
    is_all = or_(c.covers.is_(None), c.covers == "all")
    covers = connection.execute(newest).scalar()
    query = (
        select(c.deals)
        .where(*told, is_all if covers in (None, "all") else ~is_all)
        .order_by(c.extracted_at.desc(), c.extract_id)
        .limit(1 + _USUAL_RUNS)
    )
    return list(connection.execute(query).scalars())
