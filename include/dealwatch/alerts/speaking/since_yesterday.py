"""What a digest tells beside its deals: what ended since the last working day, and what is due today.

Read for the mornings that send a digest. An ending is told only to those who were told of the alert; it is
read from the deal's last scored morning, for a deal that is closed has none since.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from dealwatch.alerts.episodes.keeping import LIVE_STATES
from dealwatch.alerts.speaking.decisions import Morning, Planned
from dealwatch.alerts.speaking.why_now import in_parts, known_mornings
from dealwatch.moments import is_business_day, local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alerts, deal_snapshots, deliveries, scored_mornings, tellings
from dealwatch.warehouse import rows_of

_LOOK_BACK = timedelta(days=31)  # for the last morning on which a deal was scored


@dataclass(frozen=True)
class Note:
    """One deal's line: what about it, and whose it is."""

    word: str
    deal_id: str
    name: str
    amount: float | None
    currency: str | None
    owner_id: str
    rule: str = ""


@dataclass(frozen=True)
class Day:
    """The notes of a morning, in the order in which they are told."""

    since: date
    ended: Sequence[Note] = field(default_factory=tuple)
    due: Sequence[Note] = field(default_factory=tuple)


def read_day(
    connection: Connection, planned: Sequence[Planned], morning: Morning, *, settings: Settings
) -> Day | None:
    """What ended since the last working day's morning, and what is due on this day; none without a digest."""
    if not any(one.kind in ("digest", "manager_digest") for one in planned):
        return None
    today = local_day(morning.as_of, settings)
    since = _last_morning(connection, morning, today, settings)
    ended = _ended(connection, morning, since, settings)
    snoozes = _snoozes_ending(connection, morning, settings) if morning.is_live else []
    due = [*_next_steps(connection, morning.as_of, today), *snoozes]
    return Day(local_day(since, settings), ended, due)


def _last_morning(connection: Connection, morning: Morning, today: date, settings: Settings) -> datetime:
    """Since when things count as new: the last live morning, for a live one; else the last working day's."""
    days = [today - timedelta(days=ago) for ago in range(1, _LOOK_BACK.days)]
    working = [morning_of(day, settings) for day in days if is_business_day(day)]
    return max(known_mornings(connection, morning, working), default=working[0])


def _ended(connection: Connection, morning: Morning, since: datetime, settings: Settings) -> list[Note]:
    c = alert_events.c
    events = rows_of(
        connection,
        select(c.at, c.reason, c.fingerprint, alerts.c.rule, alerts.c.deal_id)
        .join(alerts, alerts.c.alert_id == c.alert_id)
        .where(c.kind == "resolved", c.at > since, c.at <= morning.as_of)
        .order_by(c.at, alerts.c.deal_id, alerts.c.rule),
    )
    told = _told(connection, [row.fingerprint for row in events], morning)
    events = [row for row in events if row.fingerprint in told]
    seen = _last_seen(connection, {row.deal_id: row.at for row in events}, morning, settings)
    words = {"won": "Won", "lost": "Lost"}
    notes: dict[tuple[str, str], Note] = {}
    for row in events:
        deal = seen.get(row.deal_id)
        if deal is None or row.reason in ("deleted", "rule_retired"):
            continue
        word = words.get(row.reason, "Resolved")
        rule = "" if row.reason in words else row.rule
        notes[row.deal_id, rule] = _note(word, deal, rule)
    return sorted(notes.values(), key=lambda note: (note.word, -(note.amount or 0), note.deal_id))


def _told(connection: Connection, fingerprints: Sequence[str], morning: Morning) -> set[str]:
    """Which of the alerts anybody was told of before this morning."""
    known = {f for f in fingerprints if any(at < morning.as_of for at in morning.told.get(f, {}))}
    c = deliveries.c
    is_seen: ColumnElement[bool] = c.state.in_(LIVE_STATES)
    if not morning.is_live:
        is_seen = or_(is_seen, and_(c.state == "not_sent", c.reason.in_(("past_day", "dry_run"))))
    for some in in_parts(sorted(set(fingerprints) - known)):
        query = select(tellings.c.fingerprint).join(
            deliveries, deliveries.c.delivery_id == tellings.c.delivery_id
        )
        is_meant = and_(tellings.c.fingerprint.in_(some), tellings.c.as_of < morning.as_of, is_seen)
        known |= set(connection.execute(query.where(is_meant).distinct()).scalars())
    return known


def _last_seen(
    connection: Connection, before: Mapping[str, datetime], morning: Morning, settings: Settings
) -> dict[str, Any]:
    """Each deal as it was on the last morning before a moment."""
    today = local_day(morning.as_of, settings)
    days = [morning_of(today - timedelta(days=ago), settings) for ago in range(1, _LOOK_BACK.days)]
    c = scored_mornings.c
    is_scored = and_(c.as_of.in_(known_mornings(connection, morning, days)), c.deals > 0)
    scored = sorted(connection.execute(select(c.as_of).where(is_scored)).scalars())
    by_morning: dict[datetime, list[str]] = defaultdict(list)
    for deal_id, moment in before.items():
        earlier = [at for at in scored if at < moment]
        if earlier:
            by_morning[earlier[-1]].append(deal_id)
    snapshot = deal_snapshots.c
    found: dict[str, Any] = {}
    for at, deal_ids in by_morning.items():
        for some in in_parts(sorted(deal_ids)):
            is_meant = and_(snapshot.as_of == at, snapshot.deal_id.in_(some))
            found |= {row.deal_id: row for row in rows_of(connection, _deals().where(is_meant))}
    return found


def _next_steps(connection: Connection, morning: datetime, today: date) -> list[Note]:
    c = deal_snapshots.c
    query = _deals().where(c.as_of == morning, c.next_step_on == today)
    notes = [_note("Next step", row) for row in rows_of(connection, query)]
    return sorted(notes, key=lambda note: (-(note.amount or 0), note.deal_id))


def _snoozes_ending(connection: Connection, morning: Morning, settings: Settings) -> list[Note]:
    """Snoozes that end before the next morning. Only of a live morning: a past one's may have moved since."""
    tomorrow = morning_of(local_day(morning.as_of, settings) + timedelta(days=1), settings)
    c = alerts.c
    ends = and_(c.state == "snoozed", c.quiet_until > morning.as_of, c.quiet_until <= tomorrow)
    rules = {row.deal_id: row.rule for row in rows_of(connection, select(c.deal_id, c.rule).where(ends))}
    found = []
    for some in in_parts(sorted(rules)):
        is_meant = and_(deal_snapshots.c.as_of == morning.as_of, deal_snapshots.c.deal_id.in_(some))
        for row in rows_of(connection, _deals().where(is_meant)):
            found.append(_note("Snooze ends", row, rules[row.deal_id]))
    return sorted(found, key=lambda note: (-(note.amount or 0), note.deal_id))


def _deals() -> Any:
    c = deal_snapshots.c
    return select(c.deal_id, c.name, c.account, c.amount, c.currency, c.owner_id)


def _note(word: str, row: Any, rule: str = "") -> Note:
    name = row.name or row.account or row.deal_id
    return Note(word, row.deal_id, name, row.amount, row.currency, row.owner_id or "", rule)
