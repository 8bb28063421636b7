"""Episodes: runs of signals under one fingerprint, from opening to resolution, and people's part in them.

A pure fold over the mornings that were scored, in their order, and the answers, by their moment; the order
they were worked on leaves no trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from dealwatch.alerts.episodes.cooldowns import Tenure
from dealwatch.alerts.episodes.holdout import Drawn, draw
from dealwatch.alerts.episodes.lives import answered, handovers, tenures
from dealwatch.alerts.episodes.quiet import Given
from dealwatch.alerts.episodes.runs import FINGERPRINT, in_episodes, in_runs, resolved, runs_of
from dealwatch.alerts.fingerprints import digest
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, alerts, deal_snapshots
from dealwatch.warehouse import INSTANT, schema_of

_ALERTS = schema_of(alerts)
_EVENTS = schema_of(alert_events)
_STANDING: dict[str, Any] = {
    "as_of": INSTANT,
    "alert_id": pl.String,
    "fingerprint": pl.String,
    "rule": pl.String,
    "deal_id": pl.String,
    "opened_at": INSTANT,
    "level": pl.Int64,
    "owner_id": pl.String,
    "amount": pl.Float64,
    "score": pl.Int64,
    "is_held_out": pl.Boolean,
    "quiet": pl.String,
    "answered_at": INSTANT,
}
_PENDING: dict[str, Any] = {"as_of": INSTANT, "alert_id": pl.String, "fingerprint": pl.String}
_ENDINGS: dict[str, Any] = {"deal_id": pl.String, "known_at": INSTANT, "ending": pl.String}
_CLOSE_DATES = schema_of(deal_snapshots, "as_of", "deal_id", "close_date")


@dataclass(frozen=True)
class Background:
    """What is known beside the signals.

    endings: deal_id, known_at, ending (won, lost, deleted, or open again), in the order they became known.
    retired: rules that exist no more, each with the last morning it held for any deal.
    confirm: how many mornings in a row a rule wants before it opens an alert; one, when it is not named.
    answers: by fingerprint, in order. close_dates: as_of, deal_id and close_date of the deals with answers.
    drawn: which episodes of a fingerprint were held out when they were folded before.
    """

    endings: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_ENDINGS))
    retired: Mapping[str, datetime] = field(default_factory=dict)
    confirm: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, Sequence[Given]] = field(default_factory=dict)
    close_dates: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_CLOSE_DATES))
    drawn: Mapping[str, Sequence[Drawn]] = field(default_factory=dict)


@dataclass(frozen=True)
class Episodes:
    """The fold's result: rows of `alerts`, rows of `alert_events`, and how each alert stood each morning.

    An alert that is only kept open has nothing to say that morning, and is not among those that stand.
    `pending` are mornings of signals that were not confirmed by then. `tenures`: by alert and owner, of the
    alerts that changed hands.
    """

    alerts: pl.DataFrame
    events: pl.DataFrame
    standing: pl.DataFrame
    pending: pl.DataFrame
    tenures: Mapping[tuple[str, str], tuple[Tenure, ...]] = field(default_factory=dict)


def fold(
    signals: pl.DataFrame, mornings: Sequence[datetime], known: Background, *, settings: Settings
) -> Episodes:
    """Episodes from the signals of the given mornings."""
    scored = pl.DataFrame({"as_of": sorted(set(mornings))}, schema={"as_of": INSTANT}).with_row_index("n")
    rows = in_runs(signals, scored, known.confirm)
    pending = _pending(rows.filter(~pl.col("is_open") & pl.col("is_held")), settings)
    rows = rows.filter("is_open")
    if rows.is_empty():
        nothing = [pl.DataFrame(schema=named) for named in (_ALERTS, _EVENTS, _STANDING)]
        return Episodes(nothing[0], nothing[1], nothing[2], pending)
    runs = resolved(runs_of(rows), scored, known.endings, known.retired)
    runs = _identified(in_episodes(runs, settings), settings)
    runs = runs.with_columns(is_held_out=draw(runs, known.drawn, settings))
    standing = _graded(rows, runs, settings)
    life = answered(standing, runs, known.answers, known.close_dates, settings=settings)
    standing = standing.join(life.mornings, on=["alert_id", "as_of"], how="left", maintain_order="left")
    standing = standing.with_columns(pl.col("quiet").fill_null(""))
    events = [_began(runs), _over(runs), _escalations(standing), handovers(standing), life.events]
    return Episodes(
        alerts=_alerts(runs, life.now),
        events=pl.concat([part.select(list(_EVENTS)) for part in events]).sort("alert_id", "at", "kind"),
        standing=standing.filter("is_held")
        .select(list(_STANDING))
        .sort("as_of", "rule", "deal_id", "fingerprint"),
        pending=pending,
        tenures=tenures(standing),
    )


def _identified(runs: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Fingerprint: who is alerted about what, never how badly or when. An alert adds its opening moment."""
    fingerprints = [
        digest(settings.tenant, rule, deal_id, scope)
        for rule, deal_id, scope in runs.select(FINGERPRINT).rows()
    ]
    alert_ids = [
        digest(fingerprint, opened_at.isoformat())
        for fingerprint, opened_at in zip(fingerprints, runs["opened_at"], strict=True)
    ]
    return runs.with_columns(
        fingerprint=pl.Series(fingerprints, dtype=pl.String), alert_id=pl.Series(alert_ids, dtype=pl.String)
    )


def _pending(rows: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Mornings that wait for another one, each under the name the alert would have had, had it opened."""
    if rows.is_empty():
        return pl.DataFrame(schema=_PENDING)
    began = rows.with_columns(opened_at=pl.col("as_of").min().over("run"))
    return _identified(began, settings).select(list(_PENDING)).sort("as_of", "fingerprint")


def _graded(rows: pl.DataFrame, runs: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Each morning of each episode, and whether its level or its amount passed all that it had before."""
    of_run = ("episode", "alert_id", "fingerprint", "opened_at", "opening_amount", "is_held_out")
    standing = rows.join(runs.select("run", *of_run), on="run").sort("run", "n")
    worst_before = pl.col("level").cum_max().shift(1).over("episode")
    bar = pl.col("opening_amount") * (1 + settings.alerts.amount_escalation_pct / 100)
    grown = (pl.col("opening_amount") > 0) & (pl.col("amount") >= bar)
    return standing.with_columns(
        is_level=(pl.col("level") > worst_before).fill_null(False),
        is_amount=grown & (grown.cast(pl.Int64).cum_sum().over("episode") == 1),
    )


def _alerts(runs: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """The latest run of each episode, in the state that its answers leave it in."""
    latest = runs.group_by("episode", maintain_order=True).last()
    latest = latest.join(now, on="alert_id", how="left", maintain_order="left")
    is_over = pl.col("resolved_at").is_not_null()
    state = pl.when(is_over).then(pl.lit("resolved")).otherwise(pl.col("quiet").fill_null("open"))
    quiet_until = pl.when(~is_over).then(pl.col("quiet_until"))
    return latest.with_columns(state=state, quiet_until=quiet_until).select(list(_ALERTS)).sort("alert_id")


def _began(runs: pl.DataFrame) -> pl.DataFrame:
    is_first = pl.col("began_at") == pl.col("opened_at")
    return runs.select(
        "alert_id",
        at="began_at",
        kind=pl.when(is_first).then(pl.lit("opened")).otherwise(pl.lit("reopened")),
        reason=pl.format("level {}", "first_level"),
        fingerprint="fingerprint",
    )


def _over(runs: pl.DataFrame) -> pl.DataFrame:
    return runs.filter(pl.col("resolved_at").is_not_null()).select(
        "alert_id",
        at="resolved_at",
        kind=pl.lit("resolved"),
        reason="resolution",
        fingerprint="fingerprint",
    )


def _escalations(standing: pl.DataFrame) -> pl.DataFrame:
    """Mornings on which an episode reached a level, or an amount, above all it had before."""
    rows = standing.filter(pl.col("is_level") | pl.col("is_amount"))
    reason = pl.concat_str(
        pl.when(pl.col("is_level")).then(pl.format("level {}", "level")),
        pl.when(pl.col("is_amount")).then(pl.lit("amount")),
        separator=", ",
        ignore_nulls=True,
    )
    return rows.select(
        "alert_id", at="as_of", kind=pl.lit("escalated"), reason=reason, fingerprint="fingerprint"
    )
