"""Keeps `alerts` and `alert_events` equal to the fold of all signals, reading only what a morning can change.

What came to be before the first changed morning is settled: an episode opened then keeps its id and its
earlier events. So signals are read for deals that have any from that morning on or an alert that reaches it,
and later rows are written anew.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, or_, select, union, update

from dealwatch.alerts.episodes.cooldowns import Tenure
from dealwatch.alerts.episodes.fold import Background, Episodes, fold
from dealwatch.alerts.episodes.holdout import Drawn
from dealwatch.alerts.episodes.quiet import Given
from dealwatch.alerts.rules.rule import Rule
from dealwatch.settings import Settings
from dealwatch.tables import (
    NO_DEAL,
    alert_actions,
    alert_events,
    alert_mornings,
    alert_signals,
    alerts,
    deal_changes,
    deal_snapshots,
    deliveries,
    scored_mornings,
    trend_mornings,
    trends,
)
from dealwatch.warehouse import among, frame, instant, put, replace, rows_of

LIVE_STATES = ("queued", "sending", "sent", "uncertain")  # a message that was, or will be, seen


@dataclass(frozen=True)
class Line:
    """Alerts that are folded together: those of deals every morning, those of stages and segments weekly.

    Neither touches what the other keeps in the same tables. `mornings` says which of its mornings were live.
    """

    mornings: Table
    is_of_trends: bool

    @property
    def alerts(self) -> ColumnElement[bool]:
        """Which rows of `alerts` are its own."""
        has_none = alerts.c.deal_id == NO_DEAL
        return has_none if self.is_of_trends else ~has_none

    def holds(self, fingerprint: ColumnElement[Any]) -> ColumnElement[bool]:
        """Whether a fingerprint is that of one of its alerts."""
        known = select(trends.c.fingerprint)
        return fingerprint.in_(known) if self.is_of_trends else fingerprint.not_in(known)


DEALS, TRENDS = Line(alert_mornings, False), Line(trend_mornings, True)


@dataclass(frozen=True)
class Folded:
    """The fold as of a call: from which morning on things were worked out anew, and how alerts stood then."""

    start: datetime
    mornings: tuple[datetime, ...]  # all scored ones, in order
    live: frozenset[datetime]  # those on which messages were queued for real
    standing: pl.DataFrame  # of `start` and later
    pending: pl.DataFrame  # of `start` and later: signals that were not confirmed by then
    tenures: Mapping[tuple[str, str], tuple[Tenure, ...]]  # by alert and owner, where the owner changed


def refold(
    connection: Connection, as_of: datetime, *, until: datetime, rules: Sequence[Rule], settings: Settings
) -> Folded:
    """Fold anew from `as_of`, or from the first one whose signals no fold has seen; none after `until`."""
    rows = rows_of(connection, select(scored_mornings).where(scored_mornings.c.as_of <= until))
    scored = sorted(row.as_of for row in rows)
    anew = sorted(row.as_of for row in rows if not row.is_folded)
    # Before the signals are read: a scoring that ends in between leaves its mark for the next fold.
    connection.execute(
        update(scored_mornings).where(scored_mornings.c.as_of.in_(anew)).values(is_folded=True)
    )
    live = live_mornings(connection, DEALS)
    start = min([as_of, *anew])
    signals = _signals(connection, start)
    deals = signals["deal_id"].unique()
    known = Background(
        endings=_endings(connection, signals),
        retired=_retired(connection, rules, until),
        confirm={rule.name: rule.confirm_mornings for rule in rules},
        answers=answers_about(connection, deals),
        close_dates=_close_dates(connection, deals),
        drawn=_drawn(connection, deals, settings),
    )
    episodes = fold(signals, scored, known, settings=settings)
    is_later = pl.col("as_of") >= instant(start)
    standing, pending = episodes.standing.filter(is_later), episodes.pending.filter(is_later)
    rewrite(connection, start, episodes, standing, pending, DEALS)
    return Folded(start, tuple(scored), live, standing, pending, episodes.tenures)


def live_mornings(connection: Connection, line: Line) -> frozenset[datetime]:
    """The mornings on which messages were queued for real."""
    rows = rows_of(connection, select(line.mornings).where(line.mornings.c.is_live))
    return frozenset(row.as_of for row in rows)


def _signals(connection: Connection, start: datetime) -> pl.DataFrame:
    touched = union(
        select(alert_signals.c.deal_id).where(alert_signals.c.as_of >= start),
        select(alerts.c.deal_id).where(_reaches(start), DEALS.alerts),
    ).subquery()
    return frame(
        connection, select(alert_signals).where(alert_signals.c.deal_id.in_(select(touched.c.deal_id)))
    )


def _reaches(start: datetime) -> ColumnElement[bool]:
    """Alerts that a change from `start` on can change."""
    return or_(alerts.c.resolved_at.is_(None), alerts.c.last_seen_at >= start, alerts.c.resolved_at >= start)


def answers_about(connection: Connection, deals: pl.Series) -> dict[str, list[Given]]:
    """What people answered about the deals, by fingerprint and in order."""
    c = alert_actions.c
    columns = (c.at, c.kind, c.by, c.until, c.choice, c.reason, c.close_date, c.fingerprint)
    rows = frame(connection, select(*columns, c.deal_id, c.action_id))
    rows = rows.filter(pl.col("deal_id").is_in(deals.implode())).sort("at", "action_id")
    found: dict[str, list[Given]] = defaultdict(list)
    for *given, fingerprint in rows.select(column.name for column in columns).iter_rows():
        found[fingerprint].append(Given(*given))
    return found


def _close_dates(connection: Connection, deals: pl.Series) -> pl.DataFrame:
    """The close date on each morning of the deals that somebody answered about."""
    c = deal_snapshots.c
    answered = frame(connection, select(alert_actions.c.deal_id).distinct())["deal_id"]
    meant = among(c.deal_id, answered.filter(answered.is_in(deals.implode())), connection)
    return frame(connection, select(c.as_of, c.deal_id, c.close_date).where(meant))


def _drawn(connection: Connection, deals: pl.Series, settings: Settings) -> dict[str, list[Drawn]]:
    """What the episodes were drawn as when they were folded before; older than the draw is not held out.

    While nobody is drawn anew, only those that were held out matter.
    """
    c = alerts.c
    query = select(c.fingerprint, c.opened_at, c.resolved_at, c.is_held_out, c.deal_id)
    rows = frame(connection, query if settings.alerts.holdout_share else query.where(c.is_held_out))
    rows = rows.filter(pl.col("deal_id").is_in(deals.implode())).sort("opened_at")
    found: dict[str, list[Drawn]] = defaultdict(list)
    for fingerprint, opened_at, resolved_at, is_held_out, _ in rows.iter_rows():
        found[fingerprint].append(Drawn(opened_at, resolved_at, bool(is_held_out)))
    return found


def _endings(connection: Connection, signals: pl.DataFrame) -> pl.DataFrame:
    """How each deal ended, as it became known; a deal that came back is open again."""
    c = deal_changes.c
    changes = frame(
        connection,
        select(c.deal_id, c.field, c.new_value, c.known_at, c.happened_at, c.seq).where(
            c.field.in_(("outcome", "deleted"))
        ),
    )
    is_deletion = pl.col("field") == "deleted"
    ending = (
        pl.when(is_deletion & (pl.col("new_value") == "true"))
        .then(pl.lit("deleted"))
        .when(is_deletion)
        .then(pl.lit("open"))
        .otherwise(pl.col("new_value").fill_null("open"))
    )
    return (
        changes.join(signals.select("deal_id").unique(), on="deal_id", how="semi")
        .sort("deal_id", "known_at", "happened_at", "field", "seq")
        .select("deal_id", "known_at", ending=ending)
    )


def _retired(connection: Connection, rules: Sequence[Rule], until: datetime) -> Mapping[str, datetime]:
    """Rules that held once and exist no more, with the last morning they did."""
    in_force = {rule.name for rule in rules}
    last = (
        select(alert_signals.c.rule, func.max(alert_signals.c.as_of).label("last"))
        .join(scored_mornings, scored_mornings.c.as_of == alert_signals.c.as_of)
        .where(alert_signals.c.as_of <= until)
        .group_by(alert_signals.c.rule)
    )
    return {row.rule: row.last for row in rows_of(connection, last) if row.rule not in in_force}


def rewrite(
    connection: Connection,
    start: datetime,
    episodes: Episodes,
    standing: pl.DataFrame,
    pending: pl.DataFrame,
    line: Line,
) -> None:
    """The later part of both tables anew; what live mornings left is carried over to the episodes' ids."""
    ids, waiting = (
        rows.select("fingerprint", pl.col("as_of").alias("at"), "alert_id") for rows in (standing, pending)
    )
    silences = frame(connection, _live_silences(start, line)).join(
        pl.concat([ids, waiting]), on=["fingerprint", "at"], how="inner"
    )
    messages = frame(connection, _live_messages(start, line)).join(ids, on=["fingerprint", "at"], how="left")
    mine = and_(_reaches(start), line.alerts)
    before = frame(connection, select(alerts.c.alert_id).where(mine))["alert_id"]
    reaches = pl.any_horizontal(
        pl.col("resolved_at").is_null(),
        pl.col("last_seen_at", "resolved_at") >= instant(start),
        pl.col("alert_id").is_in(before.implode()),
    )
    replace(connection, alerts, mine, pl.DataFrame())
    put(connection, alerts, episodes.alerts.filter(reaches))  # one that was over may have come back
    events = pl.concat([episodes.events, silences.select(episodes.events.columns)])
    later = events.filter(pl.col("at") >= instant(start))
    told = and_(alert_events.c.at >= start, line.holds(alert_events.c.fingerprint))
    replace(connection, alert_events, told, later)
    renamed = messages.filter(pl.col("alert_id").ne_missing(pl.col("told_id")))
    for row in renamed.iter_rows(named=True):
        this = deliveries.c.delivery_id == row["delivery_id"]
        connection.execute(update(deliveries).where(this).values(alert_id=row["alert_id"]))


def _live_silences(start: datetime, line: Line) -> Select[Any]:
    """What was held on live mornings, which no fold decides again.

    By fingerprint: a morning folded before may open an episode earlier, which renames it, or end it.
    """
    c = alert_events.c
    return (
        select(c.at, c.kind, c.reason, c.fingerprint)
        .join(line.mornings, line.mornings.c.as_of == c.at)
        .where(c.at >= start, c.kind == "held", line.mornings.c.is_live, line.holds(c.fingerprint))
    )


def _live_messages(start: datetime, line: Line) -> Select[Any]:
    """The messages of live mornings about one alert; its id is empty while it does not stand that morning."""
    c = deliveries.c
    return (
        select(c.delivery_id, c.as_of.label("at"), c.alert_id.label("told_id"), c.fingerprint)
        .join(line.mornings, line.mornings.c.as_of == c.as_of)
        .where(
            c.as_of >= start,
            c.fingerprint.is_not(None),
            line.mornings.c.is_live,
            line.holds(c.fingerprint),
        )
    )
