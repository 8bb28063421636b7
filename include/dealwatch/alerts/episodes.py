"""Episodes: runs of signals under one fingerprint, from opening to resolution.

A pure fold over the mornings that were scored, in their order; the order they were worked on leaves no trace.
A condition that is absent on a scored morning is over. A morning that was not scored says nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from dealwatch.alerts.rules import INSTANT, STAYS_OPEN
from dealwatch.settings import Settings

FINGERPRINT = ["rule", "deal_id", "scope"]
_ALERTS: dict[str, Any] = {
    "alert_id": pl.String,
    "fingerprint": pl.String,
    "rule": pl.String,
    "deal_id": pl.String,
    "scope": pl.String,
    "opened_at": INSTANT,
    "last_seen_at": INSTANT,
    "level": pl.Int64,
    "state": pl.String,
    "resolved_at": INSTANT,
    "resolution": pl.String,
}
_EVENTS: dict[str, Any] = {
    "alert_id": pl.String,
    "at": INSTANT,
    "kind": pl.String,
    "reason": pl.String,
    "fingerprint": pl.String,
}
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
}


@dataclass(frozen=True)
class Episodes:
    """The fold's result: rows of `alerts`, rows of `alert_events`, and how each alert stood each morning.

    An alert that is only kept open has nothing to say that morning, and is not among those that stand.
    """

    alerts: pl.DataFrame
    events: pl.DataFrame
    standing: pl.DataFrame


def fold(
    signals: pl.DataFrame,
    mornings: Sequence[datetime],
    endings: pl.DataFrame,
    *,
    retired: Mapping[str, datetime],
    settings: Settings,
) -> Episodes:
    """Episodes from the signals of the given mornings.

    endings: deal_id, known_at, ending (won, lost, deleted, or open again), in the order they became known.
    retired: rules that exist no more, each with the last morning it held for any deal; what was open then is
    resolved as retired.
    """
    scored = pl.DataFrame({"as_of": sorted(set(mornings))}, schema={"as_of": INSTANT}).with_row_index("n")
    held = _held(signals, scored)
    if held.is_empty():
        return Episodes(
            pl.DataFrame(schema=_ALERTS), pl.DataFrame(schema=_EVENTS), pl.DataFrame(schema=_STANDING)
        )
    runs = _resolved(_runs(held), scored, endings, retired)
    runs = _identified(_episodes_of(runs, settings), settings)
    standing = held.join(runs.select("run", "episode", "alert_id", "fingerprint", "opened_at"), on="run")
    standing = standing.sort("run", "n")
    return Episodes(
        alerts=_alerts(runs),
        events=_events(runs, standing, settings),
        standing=standing.filter("is_held")
        .select(list(_STANDING))
        .sort("as_of", "rule", "deal_id", "fingerprint"),
    )


def _held(signals: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    """Signals that are part of an episode, numbered by run: mornings in a row under one fingerprint."""
    rows = signals.join(scored.with_columns(pl.col("n").cast(pl.Int64)), on="as_of").sort(*FINGERPRINT, "n")
    begins = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in FINGERPRINT) | (
        pl.col("n") - pl.col("n").shift(1) != 1
    )
    rows = rows.with_columns(run=begins.fill_null(True).cum_sum())
    # A signal that only keeps an alert open begins no run, and passes the level on that it found.
    level = pl.when(pl.col("level") > STAYS_OPEN).then(pl.col("level")).forward_fill().over("run")
    return rows.with_columns(level=level, is_held=pl.col("level") > STAYS_OPEN).drop_nulls("level")


def _runs(held: pl.DataFrame) -> pl.DataFrame:
    return held.group_by("run", maintain_order=True).agg(
        *[pl.col(name).first() for name in FINGERPRINT],
        began_at=pl.col("as_of").first(),
        first_level=pl.col("level").first(),
        first_amount=pl.col("amount").first(),
        last_n=pl.col("n").last(),
        last_seen_at=pl.col("as_of").last(),
        level=pl.col("level").last(),
    )


def _resolved(
    runs: pl.DataFrame, scored: pl.DataFrame, endings: pl.DataFrame, retired: Mapping[str, datetime]
) -> pl.DataFrame:
    """Each run with the first scored morning without it, and why it was over by then."""
    next_morning = scored.select(last_n=pl.col("n").cast(pl.Int64) - 1, resolved_at="as_of")
    known = endings.select("deal_id", "ending", pl.col("known_at").cast(INSTANT)).sort(
        "known_at", maintain_order=True
    )
    over = runs.join(next_morning, on="last_n", how="left").sort("resolved_at", "run", nulls_last=True)
    over = over.join_asof(
        known,
        left_on="resolved_at",
        right_on="known_at",
        by="deal_id",
        strategy="backward",
        check_sortedness=False,
    )
    rules = pl.DataFrame(
        {"rule": list(retired), "rule_last_held_at": list(retired.values())},
        schema={"rule": pl.String, "rule_last_held_at": INSTANT},
    )
    over = over.join(rules, on="rule", how="left", maintain_order="left")
    is_retired = pl.col("last_seen_at") == pl.col("rule_last_held_at")
    cause = (
        pl.when(pl.col("resolved_at").is_null())
        .then(None)
        .when(pl.col("ending").is_in(["won", "lost", "deleted"]))
        .then(pl.col("ending"))
        .when(is_retired)
        .then(pl.lit("rule_retired"))
        .otherwise(pl.lit("cleared"))
    )
    return over.with_columns(resolution=cause).sort("run")


def _episodes_of(runs: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Runs that follow each other within the reopening days are one episode."""
    day_ended = pl.col("resolved_at").dt.convert_time_zone(settings.time_zone).dt.date().shift(1)
    day_began = pl.col("began_at").dt.convert_time_zone(settings.time_zone).dt.date()
    begins = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in FINGERPRINT) | (
        (day_began - day_ended).dt.total_days() > settings.alerts.reopen_days
    )
    runs = runs.with_columns(episode=begins.fill_null(True).cum_sum())
    return runs.with_columns(
        opened_at=pl.col("began_at").first().over("episode"),
        opening_amount=pl.col("first_amount").first().over("episode"),
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


def digest(*parts: str) -> str:
    """A name that no other parts have: their lengths are in it, so that no two joins are the same."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _alerts(runs: pl.DataFrame) -> pl.DataFrame:
    latest = runs.group_by("episode", maintain_order=True).last()
    state = pl.when(pl.col("resolved_at").is_null()).then(pl.lit("open")).otherwise(pl.lit("resolved"))
    return latest.with_columns(state=state).select(list(_ALERTS)).sort("alert_id")


def _events(runs: pl.DataFrame, standing: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    is_first = pl.col("began_at") == pl.col("opened_at")
    began = runs.select(
        "alert_id",
        at="began_at",
        kind=pl.when(is_first).then(pl.lit("opened")).otherwise(pl.lit("reopened")),
        reason=pl.format("level {}", "first_level"),
        fingerprint="fingerprint",
    )
    over = runs.filter(pl.col("resolved_at").is_not_null()).select(
        "alert_id",
        at="resolved_at",
        kind=pl.lit("resolved"),
        reason="resolution",
        fingerprint="fingerprint",
    )
    return pl.concat([began, over, _escalations(runs, standing, settings)]).sort("alert_id", "at", "kind")


def _escalations(runs: pl.DataFrame, standing: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Mornings on which an episode reached a level, or an amount, above all it had before."""
    worst_before = pl.col("level").cum_max().shift(1).over("episode")
    bar = pl.col("opening_amount") * (1 + settings.alerts.amount_escalation_pct / 100)
    grown = (pl.col("opening_amount") > 0) & (pl.col("amount") >= bar)
    rows = standing.join(
        runs.select("run", "opening_amount"), on="run", how="left", maintain_order="left"
    ).with_columns(is_level=pl.col("level") > worst_before, grown=grown)
    rows = rows.with_columns(
        is_amount=pl.col("grown") & (pl.col("grown").cast(pl.Int64).cum_sum().over("episode") == 1)
    ).filter(pl.col("is_level").fill_null(False) | pl.col("is_amount"))
    reason = pl.concat_str(
        pl.when(pl.col("is_level")).then(pl.format("level {}", "level")),
        pl.when(pl.col("is_amount")).then(pl.lit("amount")),
        separator=", ",
        ignore_nulls=True,
    )
    return rows.select(
        "alert_id", at="as_of", kind=pl.lit("escalated"), reason=reason, fingerprint="fingerprint"
    )
