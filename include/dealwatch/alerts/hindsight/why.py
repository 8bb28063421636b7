"""Why somebody was, or was not, told about a deal on a day: the facts of it, from what is stored.

`why_reasons` explains a silence, `why_text` puts the whole in words.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, or_, select

from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.hindsight.why_reasons import Case, meaning
from dealwatch.alerts.hindsight.why_text import (
    Asked,
    Day,
    Held,
    RuleDay,
    Told,
    ended_text,
    text,
    unscored_text,
)
from dealwatch.alerts.rules.books import in_force
from dealwatch.alerts.rules.clauses import Clause, clauses
from dealwatch.alerts.rules.rule import STAYS_OPEN, Rule, load_rules
from dealwatch.alerts.trends.explained import explained
from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.errors import NotFound, SettingsError
from dealwatch.moments import morning_of
from dealwatch.settings import Settings
from dealwatch.tables import (
    alert_events,
    alert_mornings,
    alert_signals,
    alerts,
    deal_changes,
    deal_features,
    deal_scores,
    deal_snapshots,
    deals,
    deliveries,
    owners,
    scored_mornings,
    tellings,
)
from dealwatch.warehouse import rows_of

_LISTED = 10  # deals or people named where a name fits several


@dataclass(frozen=True)
class _Book:
    """The rules a morning is explained by, and whose they are."""

    rules: tuple[Rule, ...]
    words: str
    newer: frozenset[str] = frozenset()  # rules that held that morning, of the tree and not yet of the book


def why(
    connection: Connection, deal: str, on: date, *, to: str | None, now: datetime, settings: Settings
) -> str:
    """The answer in plain words. Raises NotFound for a deal or a person that is not there, or is several."""
    if (of_trend := explained(connection, deal, on, settings)) is not None:
        return of_trend
    found = _deal(connection, deal)
    morning = morning_of(on, settings)
    people = {row.owner_id: row for row in rows_of(connection, select(owners))}
    asked = Asked(found.deal_id, found.name or found.deal_id, on, _person(people, to) if to else None)
    scored = _scored(connection, found.deal_id, morning)
    if scored is None:
        if ended := _life(connection, found, morning):
            return ended_text(asked, ended, settings)
        is_scored = connection.execute(
            select(scored_mornings).where(scored_mornings.c.as_of == morning)
        ).first()
        return unscored_text(asked, is_known=is_scored is not None)
    book = _book(connection, morning, settings)
    state = select(alert_mornings.c.is_live).where(alert_mornings.c.as_of == morning)
    days = _rule_days(connection, scored, book, morning, people, settings)
    return text(
        Day(asked, now, scored, people, connection.execute(state).scalar(), book.words, days), settings
    )


def _deal(connection: Connection, asked: str) -> Any:
    """The deal of an id, or the only one with the words in its name."""
    row = connection.execute(select(deals).where(deals.c.deal_id == asked)).one_or_none()
    if row is not None:
        return row
    words = f"%{_like(asked.lower())}%"
    named = or_(*(func.lower(c).like(words, escape="\\") for c in (deals.c.name, deals.c.account)))
    rows = rows_of(
        connection,
        select(deals)
        .where(named)
        .order_by(deals.c.closed_at.is_not(None), deals.c.name, deals.c.deal_id)
        .limit(_LISTED + 1),
    )
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise NotFound(f"there is no deal {asked!r}: give its id in the CRM, or a part of its name")
    listed = "; ".join(f"{clean(row.name, NAME_LENGTH)} ({row.deal_id})" for row in rows[:_LISTED])
    more = " and more" if len(rows) > _LISTED else ""
    raise NotFound(f"{asked!r} is in the names of several deals: {listed}{more}. Ask with an id")


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _person(people: Mapping[str, Any], asked: str) -> Any:
    """Somebody by id or e-mail address, or the only one with the words in their name."""
    exact = [one for one in people.values() if asked in (one.owner_id, one.email)]
    near = [one for one in people.values() if one.name and asked.casefold() in one.name.casefold()]
    found = exact or near
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(f"the CRM names nobody {asked!r} among the owners of deals and their managers")
    listed = "; ".join(f"{clean(one.name or '', NAME_LENGTH)} ({one.owner_id})" for one in found[:_LISTED])
    raise NotFound(f"{asked!r} is several people: {listed}. Ask with an id")


def _scored(connection: Connection, deal_id: str, morning: datetime) -> dict[str, Any] | None:
    """The deal's snapshot, score and facts of the morning in one; none when it was not scored then."""
    asked = {"as_of": morning, "deal_id": deal_id}
    found: dict[str, Any] = {}
    for table in (deal_snapshots, deal_scores, deal_features):
        of_it = [table.c[name] == value for name, value in asked.items()]
        row = connection.execute(select(table).where(*of_it)).mappings().one_or_none()
        if row is None:
            return None
        found |= dict(row["facts"]) if table is deal_features else dict(row)
    return found


def _life(connection: Connection, deal: Any, morning: datetime) -> tuple[str, datetime] | None:
    """What kept the deal from being open that morning, as known then, and since when."""
    c = deal_changes.c
    rows = rows_of(
        connection,
        select(c.field, c.new_value, c.known_at, c.happened_at)
        .where(c.deal_id == deal.deal_id, c.field.in_(("outcome", "deleted")), c.known_at <= morning)
        .order_by(c.known_at, c.happened_at, c.seq),
    )
    last = {row.field: row for row in rows}
    if "deleted" in last and last["deleted"].new_value == "true":
        return "deleted", last["deleted"].known_at
    if "outcome" in last and last["outcome"].new_value in ("won", "lost"):
        return last["outcome"].new_value, last["outcome"].happened_at
    if deal.created_at > morning:
        return "created", deal.created_at
    first = select(func.min(c.known_at, type_=c.known_at.type)).where(c.deal_id == deal.deal_id)
    known_at = connection.execute(first).scalar()
    return ("known", known_at) if known_at is not None and known_at > morning else None


def _book(connection: Connection, morning: datetime, settings: Settings) -> _Book:
    """The rules in force that morning, as its own record tells, else those of the working tree."""
    tree = load_rules(settings.alerts.rules)
    kept = in_force(connection, morning)
    if kept is None:
        return _Book(tree, "rules as they are in this tree, for none were kept by then")
    try:
        with tempfile.TemporaryDirectory() as folder:
            rules = kept.load(Path(folder) / "rules")
    except SettingsError:
        return _Book(tree, "rules as they are in this tree, for those in force then cannot be read any more")
    held = select(alert_signals.c.rule).where(alert_signals.c.as_of == morning).distinct()
    lacking = set(connection.execute(held).scalars()) - {rule.name for rule in rules}
    newer = tuple(rule for rule in tree if rule.name in lacking)
    words = f"rules in force since {kept.in_force_from:%Y-%m-%d}"
    return _Book(rules + newer, words, frozenset(rule.name for rule in newer))


def _rule_days(
    connection: Connection,
    scored: Mapping[str, Any],
    book: _Book,
    morning: datetime,
    people: Mapping[str, Any],
    settings: Settings,
) -> tuple[RuleDay, ...]:
    """Each rule's day, and that of an alert whose rule exists no more."""
    c = alert_signals.c
    held = select(alert_signals).where(c.as_of == morning, c.deal_id == scored["deal_id"])
    signals = {row.rule: row for row in rows_of(connection, held)}
    prints = _fingerprints(connection, scored["deal_id"], signals.values(), settings)
    open_ = _open(connection, morning, prints)
    signals = {name: row for name, row in signals.items() if row.level > STAYS_OPEN or name in open_}
    told, silent = _tellings(connection, morning, prints), _silences(connection, morning, prints)
    rules = {rule.name: rule for rule in book.rules}
    days = []
    for name in sorted({*rules, *signals}):
        rule, signal = rules.get(name), signals.get(name)
        known = {mark for mark, of in prints.items() if of == name}
        case = Case(
            connection, morning, settings, scored, people, rule, name, signal.level if signal else None
        )
        days.append(
            RuleDay(
                name=name,
                title=rule.title if rule else "a rule that exists no more",
                send_to=rule.send_to if rule else (),
                is_newer=name in book.newer,
                level=signal.level if signal else None,
                levels=_levels(rule, scored),
                told=tuple(one for mark in sorted(known) for one in told.get(mark, [])),
                held=tuple(
                    Held(reason, meaning(reason, case, mark))
                    for mark in sorted(known)
                    for reason in silent.get(mark, [])
                ),
            )
        )
    return tuple(days)


def _levels(rule: Rule | None, scored: Mapping[str, Any]) -> tuple[tuple[str, tuple[Clause, ...]], ...]:
    if rule is None:
        return ()
    return tuple((f"level {one.level} {one.name}", clauses(one.when, scored)) for one in rule.levels)


def _fingerprints(
    connection: Connection, deal_id: str, signals: Iterable[Any], settings: Settings
) -> dict[str, str]:
    """The fingerprints of the deal's alerts, each with its rule; also of signals that opened none yet."""
    rows = rows_of(connection, select(alerts.c.fingerprint, alerts.c.rule).where(alerts.c.deal_id == deal_id))
    waiting = {digest(settings.tenant, one.rule, deal_id, one.scope): one.rule for one in signals}
    return waiting | {row.fingerprint: row.rule for row in rows}


def _open(connection: Connection, morning: datetime, prints: Mapping[str, str]) -> set[str]:
    """The rules whose alert of the deal stood that morning and had opened before it."""
    c = alerts.c
    is_open = (c.opened_at < morning, or_(c.resolved_at.is_(None), c.resolved_at > morning))
    query = select(c.rule).where(c.fingerprint.in_(sorted(prints)), *is_open)
    return set(connection.execute(query).scalars())


def _tellings(
    connection: Connection, morning: datetime, prints: Mapping[str, str]
) -> Mapping[str, Sequence[Told]]:
    """What the morning's messages told of the alerts, real ones and receipts, by fingerprint."""
    rows = rows_of(
        connection,
        select(tellings.c.fingerprint, tellings.c.kind.label("said_as"), deliveries)
        .join(deliveries, deliveries.c.delivery_id == tellings.c.delivery_id)
        .where(tellings.c.as_of == morning, tellings.c.fingerprint.in_(sorted(prints)))
        .order_by(deliveries.c.recipient, deliveries.c.kind),
    )
    found: dict[str, list[Told]] = defaultdict(list)
    for row in rows:
        found[row.fingerprint].append(Told(**{one.name: getattr(row, one.name) for one in fields(Told)}))
    return found


def _silences(
    connection: Connection, morning: datetime, prints: Mapping[str, str]
) -> Mapping[str, Sequence[str]]:
    c = alert_events.c
    is_then = (c.at == morning, c.kind == "held", c.fingerprint.in_(sorted(prints)))
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows_of(connection, select(c.fingerprint, c.reason).where(*is_then).order_by(c.reason)):
        found[row.fingerprint].append(row.reason)
    return found
