"""What people said of a rule's alerts, beside its record: how many were told, and how many of them were
useful, known already or false. Numbers to look at: no rule is proven, silenced or changed by them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, select

from dealwatch.alerts.episodes.answers import FEEDBACK
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alerts, deliveries, tellings

ANSWERS = ("acknowledged", "snoozed", *sorted(FEEDBACK))
_SENT = ("sent", "uncertain")
_MONTH = timedelta(days=365.25 / 12)


def with_feedback(
    connection: Connection, records: Sequence[Mapping[str, Any]], as_of: datetime, *, settings: Settings
) -> list[dict[str, Any]]:
    """Records of rules, those of all deals together each with what people said in the same months."""
    since = as_of - settings.alerts.evidence_months * _MONTH
    told = _told(connection, since, as_of)
    said = _said(connection, since, as_of)
    found = []
    for record in records:
        key = (record["rule"], record["level"])
        answers = said.get(key, {})
        counts = {"told": told.get(key, 0), **{kind: len(answers.get(kind, ())) for kind in ANSWERS}}
        found.append({**record, **({} if record["segment"] else {"feedback": counts})})
    return found


def _told(connection: Connection, since: datetime, until: datetime) -> dict[tuple[str, int], int]:
    """How many alerts of each rule and level were in a message that went out."""
    rule_of = select(alerts.c.fingerprint, alerts.c.rule).distinct().subquery()
    query = (
        select(rule_of.c.rule, tellings.c.level, func.count(tellings.c.fingerprint.distinct()))
        .join(deliveries, deliveries.c.delivery_id == tellings.c.delivery_id)
        .join(rule_of, rule_of.c.fingerprint == tellings.c.fingerprint)
        .where(deliveries.c.state.in_(_SENT), tellings.c.as_of > since, tellings.c.as_of <= until)
        .group_by(rule_of.c.rule, tellings.c.level)
    )
    return {(rule, level): count for rule, level, count in connection.execute(query)}


def _said(
    connection: Connection, since: datetime, until: datetime
) -> dict[tuple[str, int], dict[str, set[str]]]:
    """The alerts of each rule and level, by what somebody answered; the level is the one told last."""
    c = alert_actions.c
    query = (
        select(c.rule, c.kind, c.fingerprint, c.action_id, tellings.c.level)
        .join(tellings, and_(tellings.c.fingerprint == c.fingerprint, tellings.c.as_of <= c.at))
        .join(deliveries, deliveries.c.delivery_id == tellings.c.delivery_id)
        .where(c.at > since, c.at <= until, deliveries.c.state.in_(_SENT))
        .order_by(tellings.c.as_of, tellings.c.level)
    )
    newest = {row.action_id: row for row in connection.execute(query)}
    said: dict[tuple[str, int], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in newest.values():
        said[row.rule, row.level][row.kind].add(row.fingerprint)
    return said
