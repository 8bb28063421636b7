"""What a sales leader wants to know of one morning, read from the warehouse; nothing is printed here."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from dealwatch.insights.kept import kept
from dealwatch.insights.review import Review
from dealwatch.settings import Settings
from dealwatch.tables import (
    NO_DEAL,
    activities,
    alert_events,
    alerts,
    deal_changes,
    deal_scores,
    deal_snapshots,
    deals,
    deliveries,
    extract_runs,
    model_versions,
    owners,
)

BANDS = ("Critical", "High", "Medium", "Low")
RISKIEST = 5


@dataclass(frozen=True)
class Told:
    """What the CRM has told by the morning, and how many of its rows nothing could be made of."""

    deals: int
    changes: int
    touches: int
    quarantined: int


@dataclass(frozen=True)
class Band:
    """The open deals of one band."""

    name: str
    deals: int
    amount: float


@dataclass(frozen=True)
class RiskyDeal:
    """One deal with the reasons for its score."""

    name: str
    owner: str
    stage: str
    amount: float | None
    currency: str
    score: int
    band: str
    reasons: tuple[str, ...]
    action: str


@dataclass(frozen=True)
class Summary:
    """One morning, and what the mornings before it would have said."""

    as_of: datetime
    told: Told
    bands: tuple[Band, ...]
    currencies: tuple[str, ...]
    riskiest: tuple[RiskyDeal, ...]
    model: str
    alerts_open: int
    alerts_opened: int
    messages: dict[tuple[str, str], int]  # (kind, state) -> how many, of this morning
    held: dict[str, int]  # reason -> alerts, of this morning
    past_messages: dict[str, int]  # kind -> how many a backfilled morning would have sent
    past_sent: int
    review: Review | None  # of the newest week that was over


def read_summary(connection: Connection, as_of: datetime, settings: Settings) -> Summary:
    """The summary of a scored morning."""
    snapshots, scores = deal_snapshots.c, deal_scores.c
    morning = deal_scores.join(
        deal_snapshots, (scores.as_of == snapshots.as_of) & (scores.deal_id == snapshots.deal_id)
    )
    amount = func.coalesce(snapshots.amount, 0.0)
    by_band = _grouped(
        connection,
        select(scores.band, func.count(), func.sum(amount)).select_from(morning).where(scores.as_of == as_of),
        scores.band,
    )
    is_past = (deliveries.c.as_of < as_of) & (deliveries.c.reason == "past_day")
    return Summary(
        as_of=as_of,
        told=_told(connection, as_of),
        bands=tuple(Band(name, *by_band.get((name,), (0, 0.0))) for name in BANDS),
        currencies=tuple(
            connection.scalars(  # an org of one currency does not say which
                select(snapshots.currency)
                .where(snapshots.as_of == as_of, snapshots.currency.is_not(None))
                .distinct()
                .order_by(snapshots.currency)
            )
        ),
        riskiest=_riskiest(connection, as_of, settings, morning=morning),
        model=_model(connection, as_of),
        alerts_open=_count(
            connection,
            alerts.c.deal_id != NO_DEAL,
            alerts.c.opened_at <= as_of,
            alerts.c.resolved_at.is_(None) | (alerts.c.resolved_at > as_of),
        ),
        alerts_opened=_count(connection, alerts.c.opened_at == as_of, alerts.c.deal_id != NO_DEAL),
        messages={
            (kind, state): number
            for (kind, state), (number,) in _grouped(
                connection,
                select(deliveries.c.kind, deliveries.c.state, func.count()).where(
                    deliveries.c.as_of == as_of
                ),
                deliveries.c.kind,
                deliveries.c.state,
            ).items()
        },
        held={
            reason: number
            for (reason,), (number,) in _grouped(
                connection,
                select(alert_events.c.reason, func.count()).where(
                    alert_events.c.at == as_of, alert_events.c.kind == "held"
                ),
                alert_events.c.reason,
            ).items()
        },
        past_messages={
            kind: number
            for (kind,), (number,) in _grouped(
                connection, select(deliveries.c.kind, func.count()).where(is_past), deliveries.c.kind
            ).items()
        },
        past_sent=_count(connection, deliveries.c.as_of < as_of, deliveries.c.sent_at.is_not(None)),
        review=kept(connection, as_of, "week"),
    )


def _grouped(connection: Connection, query: Select[Any], *by: Any) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The query's rows by their first columns."""
    rows = connection.execute(query.group_by(*by).order_by(*by))
    return {tuple(row[: len(by)]): tuple(row[len(by) :]) for row in rows}


def _count(connection: Connection, *where: Any) -> int:
    return int(connection.execute(select(func.count()).where(*where)).scalar_one())


def _told(connection: Connection, as_of: datetime) -> Told:
    run = extract_runs.c
    set_aside = select(func.coalesce(func.sum(run.quarantined), 0)).where(run.extracted_at <= as_of)
    return Told(
        deals=_count(connection, deals.c.deal_id.is_not(None)),
        changes=_count(connection, deal_changes.c.known_at <= as_of),
        touches=_count(connection, activities.c.happened_at <= as_of),
        quarantined=int(connection.execute(set_aside).scalar_one()),
    )


def _riskiest(
    connection: Connection, as_of: datetime, settings: Settings, *, morning: Any
) -> tuple[RiskyDeal, ...]:
    snapshots, scores = deal_snapshots.c, deal_scores.c
    query = (
        select(
            snapshots.name,
            snapshots.deal_id,
            owners.c.name.label("owner"),
            snapshots.stage,
            snapshots.amount,
            snapshots.currency,
            scores.score,
            scores.band,
            scores.reasons,
            scores.action,
        )
        .select_from(morning.outerjoin(owners, owners.c.owner_id == snapshots.owner_id))
        .where(scores.as_of == as_of)
        .order_by(scores.score.desc(), snapshots.amount.desc().nulls_last(), scores.deal_id)
        .limit(RISKIEST)
    )
    return tuple(
        RiskyDeal(
            name=row.name or row.deal_id,
            owner=row.owner or "nobody",
            stage=row.stage or "",
            amount=row.amount,
            currency=row.currency or settings.currency,
            score=row.score,
            band=row.band,
            reasons=tuple(_sentence(reason) for reason in row.reasons),
            action=row.action or "",
        )
        for row in connection.execute(query)
    )


def _sentence(reason: dict[str, Any]) -> str:
    return f"{reason['sentence']} ({reason['points']:+d})"


def _model(connection: Connection, as_of: datetime) -> str:
    """What judged the morning's deals, in a sentence."""
    version = connection.execute(
        select(deal_scores.c.model_version).where(deal_scores.c.as_of == as_of).limit(1)
    ).scalar_one_or_none()
    if version is None:
        return "Rules alone: no usable model."
    row = connection.execute(select(model_versions).where(model_versions.c.version == version)).one()
    metrics = row.metrics if isinstance(row.metrics, dict) else json.loads(row.metrics)
    learned = f"learned from {metrics['n_won']:,} won and {metrics['n_lost']:,} lost deals"
    return (
        f"Model {version} and rules; {learned}; on later deals it ranked a lost deal above a won one "
        f"{metrics['auc']:.0%} of the time."
    )
