"""People's part in an episode: who had the deal when, and what their answers did. Pure, over frames."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from dealwatch.alerts.episodes.cooldowns import Tenure
from dealwatch.alerts.episodes.quiet import Given, Sight, event_of, walk
from dealwatch.settings import Settings
from dealwatch.tables import alert_events
from dealwatch.warehouse import INSTANT, schema_of

Span = tuple[datetime, datetime | None]
_MORNINGS: dict[str, Any] = {
    "alert_id": pl.String,
    "as_of": INSTANT,
    "quiet": pl.String,
    "answered_at": INSTANT,
}
_NOW: dict[str, Any] = {"alert_id": pl.String, "quiet": pl.String, "quiet_until": INSTANT}


@dataclass(frozen=True)
class Answered:
    """What the answers did: on each morning, in the end, and as rows of `alert_events`."""

    mornings: pl.DataFrame
    now: pl.DataFrame
    events: pl.DataFrame


def handovers(standing: pl.DataFrame) -> pl.DataFrame:
    """The mornings on which a deal had another owner than on the one before; rows of `alert_events`."""
    before = pl.col("owner_id").shift(1).over("episode")
    rows = standing.with_columns(former=before).filter(pl.col("former") != pl.col("owner_id"))
    return rows.select(
        "alert_id",
        at="as_of",
        kind=pl.lit("handed_over"),
        reason=pl.format("from {} to {}", _name("former"), _name("owner_id")),
        fingerprint="fingerprint",
    )


def _name(column: str) -> pl.Expr:
    return pl.when(pl.col(column) == "").then(pl.lit("nobody")).otherwise(pl.col(column))


def tenures(standing: pl.DataFrame) -> dict[tuple[str, str], tuple[Tenure, ...]]:
    """When whom had the deal, by alert and owner; only of alerts that changed hands."""
    before = pl.col("owner_id").shift(1).over("episode")
    moved = standing.filter(pl.col("owner_id").n_unique().over("episode") > 1)
    starts = moved.filter((before != pl.col("owner_id")).fill_null(True)).with_columns(
        ended_at=pl.col("as_of").shift(-1).over("episode")
    )
    found: dict[tuple[str, str], tuple[Tenure, ...]] = {}
    for alert_id, owner_id, began_at, ended_at in starts.select(
        "alert_id", "owner_id", "as_of", "ended_at"
    ).rows():
        tenure = Tenure(began_at, ended_at)
        found[alert_id, owner_id] = (*found.get((alert_id, owner_id), ()), tenure)
    return found


def answered(
    standing: pl.DataFrame,
    runs: pl.DataFrame,
    answers: Mapping[str, Sequence[Given]],
    close_dates: pl.DataFrame,
    *,
    settings: Settings,
) -> Answered:
    """What people's answers did to the episodes they were given to.

    An answer belongs to the episode that was open at its moment; it lives on when that one reopens, and does
    not carry over to another.
    """
    spans = _spans(runs.filter(pl.col("fingerprint").is_in(list(answers))))
    rows = standing.filter(pl.col("fingerprint").is_in(list(answers)))
    rows = rows.join(close_dates, on=["as_of", "deal_id"], how="left").sort("run", "n")
    rows = rows.with_columns(is_worse=pl.col("is_level") | pl.col("is_amount") | _came_near(settings))
    mornings: list[dict[str, Any]] = []
    now: list[dict[str, Any]] = []
    events: dict[tuple[str, datetime, str], dict[str, Any]] = {}
    for episode in rows.partition_by("alert_id", maintain_order=True):
        alert_id, fingerprint = episode["alert_id"][0], episode["fingerprint"][0]
        given = [one for one in answers[fingerprint] if _is_within(one.at, spans[alert_id])]
        *each, last = walk(_sights(episode), given)
        for as_of, kept in zip(episode["as_of"], each, strict=True):
            state = kept.quiet.state if kept.quiet else ""
            mornings.append(
                {"alert_id": alert_id, "as_of": as_of, "quiet": state, "answered_at": kept.answered_at}
            )
        if last.quiet is not None:
            now.append({"alert_id": alert_id, "quiet": last.quiet.state, "quiet_until": last.quiet.until})
        for answer in given:
            event = event_of(answer, alert_id, fingerprint)
            events[alert_id, answer.at, str(event["kind"])] = event
    return Answered(
        pl.DataFrame(mornings, schema=_MORNINGS, orient="row"),
        pl.DataFrame(now, schema=_NOW, orient="row"),
        pl.DataFrame(list(events.values()), schema=schema_of(alert_events), orient="row"),
    )


def _came_near(settings: Settings) -> pl.Expr:
    """The close date is near that morning for the first time in the episode."""
    day = pl.col("as_of").dt.convert_time_zone(settings.time_zone).dt.date()
    left = (pl.col("close_date") - day).dt.total_days()
    is_near = left.is_between(0, settings.alerts.close_date_near_days).fill_null(False)
    return is_near & (is_near.cast(pl.Int64).cum_sum().over("episode") == 1)


def _spans(runs: pl.DataFrame) -> dict[str, list[Span]]:
    """When each alert was open."""
    found: dict[str, list[Span]] = defaultdict(list)
    for alert_id, began_at, resolved_at in runs.select("alert_id", "began_at", "resolved_at").rows():
        found[alert_id].append((began_at, resolved_at))
    return found


def _is_within(moment: datetime, spans: Sequence[Span]) -> bool:
    return any(began <= moment and (ended is None or moment < ended) for began, ended in spans)


def _sights(episode: pl.DataFrame) -> list[Sight]:
    rows = episode.select("as_of", "owner_id", "is_worse", "close_date").rows()
    return [Sight(*row) for row in rows]
