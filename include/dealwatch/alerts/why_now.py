"""Why a deal is told of now: what moved its score since the last message, and why it is said again.

"The last message" is the newest earlier morning on which an alert that is still open was told of, to anybody.
So every reader of a deal sees the same line with the day it compares with, and who takes a deal over reads
what its last owner would have read. A deal's first message compares with a week ago, if it was scored then.
Points sum to the score on every morning, so the differences sum to the change.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from dealwatch.alerts.cooldowns import Standing, Telling
from dealwatch.alerts.decisions import Planned
from dealwatch.moments import local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from dealwatch.warehouse import frame

Tellings = Mapping[str, Mapping[datetime, Telling]]  # by fingerprint and morning
SHOWN = 3
PATH_DAYS = 56
_AT_ONCE = 1_000  # deals named in one query
_GROUPS = {
    "age": "Age",
    "stage": "Stage timing",
    "amount": "Amount",
    "close_date": "Close date",
    "activity": "Activity",
    "owner": "Ownership",
    "segment": "Segment",
    "calendar": "Calendar",
    "base": "The model's base",
}


@dataclass(frozen=True)
class Change:
    """By how much one part of a score moved."""

    name: str
    kind: str  # base, group, rule
    points: int


@dataclass(frozen=True)
class Before:
    """How a deal was scored on an earlier morning."""

    on: date
    score: int
    points: tuple[Mapping[str, Any], ...]
    model_version: str | None


@dataclass(frozen=True)
class Past:
    """What the messages of a morning need to know of earlier ones."""

    befores: Mapping[str, Before] = field(default_factory=dict)  # by deal
    paths: Mapping[str, Sequence[tuple[date, int]]] = field(default_factory=dict)  # by deal, in order of days
    tellings: Mapping[str, Sequence[Telling]] = field(default_factory=dict)  # of this episode, by fingerprint


def why_now(before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """What moved between two scores, largest first; the changes sum to the difference of the scores."""
    moved: dict[tuple[str, str], int] = defaultdict(int)
    for sign, points in ((-1, before), (1, now)):
        for part in points:
            moved[part["name"], part["kind"]] += sign * int(part["points"])
    changes = [Change(name, kind, points) for (name, kind), points in moved.items() if points]
    return tuple(sorted(changes, key=lambda one: (-abs(one.points), one.kind, one.name)))


def in_words(changes: Sequence[Change], titles: Mapping[str, str]) -> tuple[str, ...]:
    """The three largest changes and the sum of the others, so that what is shown sums as well.

    `titles` are the rules' titles by name; a rule that is no more keeps its name.
    """
    rest = sum(one.points for one in changes[SHOWN:])
    told = [f"{_label(one, titles)} {one.points:+d}" for one in changes[:SHOWN]]
    return (*told, *([f"everything else {rest:+d}"] if rest else []))


def read_past(
    connection: Connection, planned: Sequence[Planned], told: Tellings, morning: datetime, settings: Settings
) -> Past:
    """The past that a morning's messages tell of, in a query for each earlier morning compared with."""
    tellings: dict[str, Sequence[Telling]] = {}
    last: dict[str, datetime] = {}
    for item in (item for one in planned for item in one.items):
        deal_id = item.lead.standing.deal_id
        for said in item.said:
            found = episode(told, said.standing, morning)
            tellings[said.standing.fingerprint] = found
            if found:
                last[deal_id] = max(found[-1].as_of, last.get(deal_id, found[-1].as_of))
        last.setdefault(deal_id, _days_before(morning, 7, settings))
    singles = {item.lead.standing.deal_id for one in planned if one.kind == "alert" for item in one.items}
    return Past(
        befores=_befores(connection, last, settings),
        paths=_paths(connection, sorted(singles), morning, settings),
        tellings=tellings,
    )


def episode(told: Tellings, standing: Standing, morning: datetime) -> list[Telling]:
    """What was said of an alert's present episode before a morning, in order."""
    tellings = told.get(standing.fingerprint, {})
    return [one for at, one in sorted(tellings.items()) if standing.opened_at <= at < morning]


def _label(change: Change, titles: Mapping[str, str]) -> str:
    if change.kind == "rule":
        return f"rule {titles.get(change.name, change.name)}"
    return _GROUPS.get(change.name, change.name)


def _befores(connection: Connection, last: Mapping[str, datetime], settings: Settings) -> dict[str, Before]:
    by_morning: dict[datetime, list[str]] = defaultdict(list)
    for deal_id, at in last.items():
        by_morning[at].append(deal_id)
    c = deal_scores.c
    found = {}
    for at, deal_ids in sorted(by_morning.items()):
        for some in _parts(sorted(deal_ids)):
            query = select(c.deal_id, c.score, c.points, c.model_version).where(
                c.as_of == at, c.deal_id.in_(some)
            )
            for row in connection.execute(query):
                found[row.deal_id] = Before(
                    local_day(at, settings), row.score, tuple(row.points), row.model_version
                )
    return found


def _paths(
    connection: Connection, deal_ids: Sequence[str], morning: datetime, settings: Settings
) -> dict[str, list[tuple[date, int]]]:
    c = deal_scores.c
    mornings = [_days_before(morning, days, settings) for days in range(PATH_DAYS + 1)]
    found: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for some in _parts(deal_ids):
        query = select(c.deal_id, c.as_of, c.score).where(c.as_of.in_(mornings), c.deal_id.in_(some))
        for deal_id, at, score in frame(connection, query).sort("deal_id", "as_of").iter_rows():
            found[deal_id].append((local_day(at, settings), score))
    return found


def _parts(deal_ids: Sequence[str]) -> list[Sequence[str]]:
    return [deal_ids[start : start + _AT_ONCE] for start in range(0, len(deal_ids), _AT_ONCE)]


def _days_before(morning: datetime, days: int, settings: Settings) -> datetime:
    return morning_of(local_day(morning, settings) - timedelta(days=days), settings)
