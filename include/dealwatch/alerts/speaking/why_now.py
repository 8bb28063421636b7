"""Why a deal is told of now: what moved its score since the last message, and why it is said again.

"The last message" is the newest one in which this recipient read of an alert that is still open. A reader's
first message about a deal compares with a week ago, if the deal was scored then; else there are only reasons.
Points sum to the score on every morning, so the differences sum to the change.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from dealwatch.alerts.episodes.cooldowns import Standing, Telling
from dealwatch.alerts.speaking.decisions import Line, Listener, Morning, Planned, past_tellings
from dealwatch.moments import local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alert_mornings, deal_scores
from dealwatch.warehouse import frame, rows_of

Reader = tuple[Line, str]  # the sort of message, and its recipient
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
    points: Sequence[Mapping[str, Any]]
    model_version: str | None


@dataclass(frozen=True)
class Past:
    """What the messages of a morning need to know of earlier ones."""

    befores: Mapping[Reader, Mapping[str, Before]] = field(default_factory=dict)  # by deal
    heard: Mapping[Reader, Mapping[str, Sequence[Telling]]] = field(default_factory=dict)  # by fingerprint
    passed_on: frozenset[str] = frozenset()  # fingerprints that a former owner was told of, this one not
    reopened: Mapping[str, date] = field(default_factory=dict)  # by alert: when it last came back
    paths: Mapping[str, Sequence[tuple[date, int]]] = field(default_factory=dict)  # by deal, in order of days


def reader_of(planned: Planned) -> Reader:
    """Whose earlier messages a message continues."""
    line: Line = "alert" if planned.kind == "digest" else planned.kind
    return line, planned.route.recipient


def why_now(before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """What moved between two scores, largest first; the changes sum to the difference of the scores."""
    moved: dict[tuple[str, str], int] = defaultdict(int)
    for sign, points in ((-1, before), (1, now)):
        for part in points:
            moved[part["name"], part["kind"]] += sign * int(part["points"])
    changes = [Change(name, kind, points) for (name, kind), points in moved.items() if points]
    return tuple(sorted(changes, key=lambda one: (-abs(one.points), one.kind, one.name)))


def in_words(
    changes: Sequence[Change], titles: Mapping[str, str], *, has_owner: bool = True
) -> tuple[str, ...]:
    """The three largest changes and the sum of the others, so that what is shown sums as well.

    `titles` are the rules' titles by name; a rule that is no more keeps its name. Where others read along,
    what the deal's owner has to do with it is not told apart.
    """
    named = [one for one in changes if has_owner or (one.kind, one.name) != ("group", "owner")][:SHOWN]
    rest = sum(one.points for one in changes) - sum(one.points for one in named)
    told = [f"{_label(one, titles)} {one.points:+d}" for one in named]
    return (*told, *([f"everything else {rest:+d}"] if rest else []))


def read_past(
    connection: Connection, planned: Sequence[Planned], morning: Morning, *, settings: Settings
) -> Past:
    """The past that a morning's messages tell of, in a few queries."""
    heard: dict[Reader, dict[str, Sequence[Telling]]] = defaultdict(dict)
    befores: dict[Reader, dict[str, Before]] = defaultdict(dict)
    passed_on = set()
    deal_ids = sorted({item.lead.standing.deal_id for one in planned for item in one.items})
    first = _a_week_ago(connection, deal_ids, morning, settings)
    for message in planned:
        reader = reader_of(message)
        for item in message.counted:
            tellings = []
            for one in (said.standing for said in item.said):
                mine = heard_by(message, one, morning)
                heard[reader][one.fingerprint] = mine
                tellings += mine
                at_all = [
                    at for at in morning.told.get(one.fingerprint, {}) if one.opened_at <= at < morning.as_of
                ]
                if at_all and not mine and one.owner_id == message.route.recipient:
                    passed_on.add(one.fingerprint)
            deal_id = item.lead.standing.deal_id
            before = _as_told(tellings, settings) if tellings else first.get(deal_id)
            if before is not None:
                befores[reader][deal_id] = before
    singles = {item.lead.standing.deal_id for one in planned if one.kind == "alert" for item in one.items}
    ids = {said.standing.alert_id for one in planned for item in one.counted for said in item.said}
    return Past(
        befores=befores,
        heard=heard,
        passed_on=frozenset(passed_on),
        reopened=_reopened(connection, sorted(ids), morning.as_of, settings),
        paths=_paths(connection, sorted(singles), morning, settings),
    )


def heard_by(message: Planned, one: Standing, morning: Morning) -> list[Telling]:
    """What the reader of a message was told of an alert's present episode before, in order."""
    line, _ = reader_of(message)
    told = past_tellings(one, morning, Listener(message.route, line, 0))
    return [telling for telling in told if telling.as_of < morning.as_of]


def _reopened(
    connection: Connection, alert_ids: Sequence[str], morning: datetime, settings: Settings
) -> dict[str, date]:
    c = alert_events.c
    found = {}
    for some in in_parts(alert_ids):
        query = select(c.alert_id, c.at).where(c.kind == "reopened", c.at <= morning, c.alert_id.in_(some))
        for alert_id, at in frame(connection, query).sort("at").iter_rows():
            found[alert_id] = local_day(at, settings)
    return found


def _label(change: Change, titles: Mapping[str, str]) -> str:
    if change.kind == "rule":
        return f"rule {titles.get(change.name, change.name)}"
    return label_of(change.name)


def label_of(group: str) -> str:
    """A fact group's name as people read it."""
    return _GROUPS.get(group, group)


def _as_told(tellings: Sequence[Telling], settings: Settings) -> Before | None:
    """The score that the newest of some messages told; none for what was told before points were kept."""
    last = max(tellings, key=lambda one: one.as_of)
    if last.scored is None:
        return None
    kept = json.loads(last.scored)
    score = sum(part["points"] for part in kept["points"])
    return Before(local_day(last.as_of, settings), score, kept["points"], kept["model"])


def _a_week_ago(
    connection: Connection, deal_ids: Sequence[str], morning: Morning, settings: Settings
) -> dict[str, Before]:
    day = local_day(morning.as_of, settings) - timedelta(days=7)
    known = known_mornings(connection, morning, [morning_of(day, settings)])
    c = deal_scores.c
    found = {}
    for some in in_parts(deal_ids if known else ()):
        query = select(c.deal_id, c.score, c.points, c.model_version)
        for row in rows_of(connection, query.where(c.as_of.in_(known), c.deal_id.in_(some))):
            found[row.deal_id] = Before(day, row.score, row.points, row.model_version)
    return found


def _paths(
    connection: Connection, deal_ids: Sequence[str], morning: Morning, settings: Settings
) -> dict[str, list[tuple[date, int]]]:
    today = local_day(morning.as_of, settings)
    days = [morning_of(today - timedelta(days=ago), settings) for ago in range(1, PATH_DAYS + 1)]
    known = [*known_mornings(connection, morning, days), morning.as_of]
    c = deal_scores.c
    found: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for some in in_parts(deal_ids):
        query = select(c.deal_id, c.as_of, c.score).where(c.as_of.in_(known), c.deal_id.in_(some))
        for deal_id, at, score in frame(connection, query).sort("deal_id", "as_of").iter_rows():
            found[deal_id].append((local_day(at, settings), score))
    return found


def known_mornings(connection: Connection, morning: Morning, asked: Sequence[datetime]) -> list[datetime]:
    """Those of some earlier mornings that a message may look back on.

    A live one looks back on live ones only: so it says the same whether or not the days between were filled
    in since. The receipt of a past one looks back on all.
    """
    if not morning.is_live:
        return sorted(asked)
    c = alert_mornings.c
    return sorted(connection.execute(select(c.as_of).where(c.is_live, c.as_of.in_(asked))).scalars())


def in_parts(names: Sequence[str]) -> list[Sequence[str]]:
    """As many names as one query takes."""
    return [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
