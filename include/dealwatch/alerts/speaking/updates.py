"""What becomes of messages that were sent: they are changed where they stand, and what follows joins them.

A message in Slack about one alert shows in one line how the alert's life went on: resolved, got worse,
answered, open again. That line is all there is to compare: a message that shows the newest one is left alone,
so a change is told once, whatever days are scored again, and an end that the data takes back is taken back.
What is said anew of an alert stands in the thread of what was said first. Mornings that are not live, or
whose data is not fit to alert on, change nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, and_, func, or_, select, update

from dealwatch.alerts.episodes.keeping import LIVE_STATES
from dealwatch.alerts.fingerprints import digest
from dealwatch.delivery.messages import ABOUT_ONE, Message, told_again
from dealwatch.delivery.wording import NAME_LENGTH, clean, day
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alert_events, alerts, deliveries, owners
from dealwatch.warehouse import add_missing, as_json, rows_of, schema_of

_TAKEN_BACK = "Open after all: the data that ended it was corrected"
_DAYS = 30  # a message older than this has scrolled out of everybody's sight
_CAUSES = {
    "cleared": "what it was about is over",
    "deleted": "the deal was deleted",
    "rule_retired": "the rule was retired",
}
_ANSWERS = {
    "acknowledged": "Acknowledged by {by}, quiet until {until} unless it gets worse",
    "snoozed": "Snoozed by {by} until {until} unless it gets worse",
    "already_knew": "Already known to {by}, quiet until {until} unless it gets worse",
    "false_alarm": "Called a false alarm by {by}, quiet until {until} unless it gets worse",
}


@dataclass(frozen=True)
class _News:
    """The newest turn in an alert's life, as one line."""

    at: datetime
    line: str
    is_over: bool = False


@dataclass(frozen=True)
class _Shown(_News):
    """What a message shows of it, or will when its changes have gone out."""

    delivery_id: str = ""  # of the change
    has_note: bool = False  # its end is told in the thread


def queue_updates(connection: Connection, morning: datetime, *, now: datetime, settings: Settings) -> int:
    """Queue one change for each message in Slack whose alert's life went on since; how many."""
    sent = rows_of(
        connection,
        select(deliveries, alerts.c.state.label("life"), alerts.c.resolved_at, alerts.c.resolution)
        .join(alerts, alerts.c.alert_id == deliveries.c.alert_id)
        .where(
            deliveries.c.kind.in_(ABOUT_ONE),
            deliveries.c.channel == "slack",
            deliveries.c.state == "sent",
            deliveries.c.as_of >= morning - timedelta(days=_DAYS),
        )
        .order_by(deliveries.c.delivery_id),
    )
    shown = _shown(connection, [row.delivery_id for row in sent])
    turns = _turns(connection, sent, now, settings)
    rows = []
    for row in sent:
        last = shown.get(row.delivery_id, _Shown(row.as_of, ""))
        news = _newest(row, turns.get(row.alert_id, ()), settings) or _unsaid(last)
        if last.line != news.line:
            rows.append(_row(row, news, last, morning, now=now, settings=settings))
    stale = and_(deliveries.c.state == "queued", deliveries.c.edits.in_([row["edits"] for row in rows]))
    connection.execute(update(deliveries).where(stale).values(state="cancelled", reason="no_longer_wanted"))
    return add_missing(connection, deliveries, pl.DataFrame(rows, schema=schema_of(deliveries)))


def join_threads(connection: Connection, morning: datetime) -> None:
    """Put a morning's queued messages in Slack into the thread of what their recipient was told first."""
    first, then = deliveries.alias("first"), deliveries.alias("then")
    pairs = (
        select(then.c.delivery_id, first.c.delivery_id.label("first_id"))
        .join(
            first,
            and_(
                first.c.alert_id == then.c.alert_id,
                first.c.kind == then.c.kind,
                first.c.recipient == then.c.recipient,
                first.c.channel == then.c.channel,
                first.c.address == then.c.address,
                first.c.as_of < then.c.as_of,
                first.c.state.in_(LIVE_STATES),
            ),
        )
        .where(
            then.c.as_of == morning,
            then.c.state == "queued",
            then.c.kind.in_(ABOUT_ONE),
            then.c.channel == "slack",
            then.c.attempts == 0,  # where a message stands is settled before its first try
            then.c.follows.is_(None),
        )
        .order_by(then.c.delivery_id, first.c.as_of, first.c.delivery_id)
    )
    found: dict[str, str] = {}
    for row in rows_of(connection, pairs):
        found.setdefault(row.delivery_id, row.first_id)
    for delivery_id, first_id in found.items():
        this = deliveries.c.delivery_id == delivery_id
        connection.execute(update(deliveries).where(this).values(follows=first_id))


def _shown(connection: Connection, told: Sequence[str]) -> dict[str, _Shown]:
    """What each message shows, by its delivery. A note that has not left may still be cancelled."""
    c = deliveries.c
    changes = (
        select(c.delivery_id, c.edits, c.as_of, c.message, c.follows, c.state)
        .where(c.edits.in_(told), c.kind == "update", c.state.not_in(("cancelled", "not_sent")))
        .order_by(c.as_of, c.not_before, c.delivery_id)
    )
    found: dict[str, _Shown] = {}
    for row in rows_of(connection, changes):
        message = Message.model_validate(row.message)
        is_over = not any(card.fingerprint for card in message.cards)
        has_left = row.follows is not None and row.state != "queued"
        has_note = is_over and (has_left or (row.edits in found and found[row.edits].has_note))
        found[row.edits] = _Shown(row.as_of, message.state, is_over, row.delivery_id, has_note)
    return found


def _unsaid(last: _Shown) -> _News:
    """What a message shows of an alert to which nothing happened, whatever it shows now."""
    return _News(last.at, _TAKEN_BACK if last.is_over or last.line == _TAKEN_BACK else "")


def _turns(
    connection: Connection, sent: Sequence[Any], now: datetime, settings: Settings
) -> dict[str, list[_News]]:
    """What happened to the alerts, by alert, in order: the fold's events and people's answers."""
    alert_of = {row.fingerprint: row.alert_id for row in sent if row.life != "resolved"}
    found: dict[str, list[_News]] = {}
    events = select(alert_events).where(
        alert_events.c.alert_id.in_({row.alert_id for row in sent}),
        alert_events.c.kind.in_(("escalated", "reopened")),
        alert_events.c.at <= now,
    )
    for event in rows_of(connection, events.order_by(alert_events.c.at, alert_events.c.kind)):
        found.setdefault(event.alert_id, []).append(_News(event.at, _event_line(event, settings)))
    answers = select(alert_actions).where(
        alert_actions.c.fingerprint.in_(list(alert_of)),
        alert_actions.c.kind.in_(list(_ANSWERS)),
        alert_actions.c.at <= now,
    )
    given = rows_of(connection, answers.order_by(alert_actions.c.at, alert_actions.c.action_id))
    names = _names(connection, [answer.by for answer in given])
    for answer in given:
        news = _News(answer.at, _answer_line(answer, names, settings))
        found.setdefault(alert_of[answer.fingerprint], []).append(news)
    return {alert_id: sorted(news, key=lambda one: one.at) for alert_id, news in found.items()}


def _names(connection: Connection, people: Sequence[str]) -> dict[str, str]:
    """The names of those who answered, whichever way they are known by."""
    c = owners.c
    told = {one.rpartition(":")[2] for one in people}
    is_one = or_(c.owner_id.in_(told), c.slack_user_id.in_(told), func.lower(c.email).in_(_lower(told)))
    found: dict[str, str] = {}
    for row in rows_of(connection, select(owners).where(is_one).order_by(c.owner_id)):
        for key in (row.owner_id, row.slack_user_id, (row.email or "").lower()):
            if key and row.name:
                found.setdefault(key, row.name)
    return found


def _lower(words: set[str]) -> list[str]:
    return [word.lower() for word in words]


def _newest(row: Any, turns: Sequence[_News], settings: Settings) -> _News | None:
    """The newest turn since a message, if there is one."""
    if row.life == "resolved" and row.resolved_at > row.as_of:
        cause = _CAUSES.get(row.resolution, row.resolution)
        line = f"Resolved {_written(row.resolved_at, settings)}: {cause}"
        return _News(row.resolved_at, line, is_over=True)
    since = [news for news in turns if news.at > row.as_of]
    return since[-1] if since else None


def _event_line(event: Any, settings: Settings) -> str:
    on = _written(event.at, settings)
    if event.kind == "reopened":
        return f"Open again since {on}"
    told = event.reason.replace("level", "up to level").replace("amount", "the amount grew")
    return f"More urgent since {on}: {told}"


def _answer_line(answer: Any, names: Mapping[str, str], settings: Settings) -> str:
    by = answer.by.rpartition(":")[2]
    name = clean(names.get(by) or names.get(by.lower()) or by, NAME_LENGTH)
    return _ANSWERS[answer.kind].format(by=name, until=_written(answer.until, settings))


def _written(moment: datetime, settings: Settings) -> str:
    return day(local_day(moment, settings))


def _row(
    told: Any, news: _News, last: _Shown, morning: datetime, *, now: datetime, settings: Settings
) -> dict[str, Any]:
    """The change's row. Its id says which message shows what from which morning on, and after what."""
    message = told_again(Message.model_validate(told.message), news.line, is_over=news.is_over)
    parts = (told.delivery_id, morning.isoformat(), news.line, last.delivery_id)
    return {
        "delivery_id": digest(settings.tenant, "update", *parts),
        "alert_id": told.alert_id,
        "fingerprint": told.fingerprint,
        "as_of": morning,
        "kind": "update",
        "recipient": told.recipient,
        "channel": told.channel,
        "address": told.provider_ref.partition(":")[0],
        "state": "queued",
        "reason": "",
        "message": as_json(message.model_dump(mode="json")),
        "not_before": now,
        "expires_at": now + timedelta(hours=settings.delivery.expires_after_hours),
        "attempts": 0,
        "edits": told.delivery_id,
        "follows": told.delivery_id if news.is_over and not last.has_note else None,
    }
