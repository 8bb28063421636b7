"""Works past mornings out anew under other rules and settings, in a warehouse in memory; nothing is stored.

Facts are computed as of each morning and the model's chances are those given then, so only the rules and the
settings differ. Folding and deciding are the live ones: what a replay says is what mornings would have said.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Table, select

from dealwatch.alerts.rules.rule import Rule, points_added
from dealwatch.alerts.rules.signals import signals
from dealwatch.alerts.speaking.queue import speak
from dealwatch.history.stored import StoredLedger
from dealwatch.knobs import Pipeline
from dealwatch.moments import local_day, morning_of, mornings
from dealwatch.scoring.bands import BANDS
from dealwatch.scoring.facts import FACTS, facts_of
from dealwatch.scoring.known import History, history_of, microseconds_of
from dealwatch.scoring.score import MODEL_POINTS, RULE_POINTS
from dealwatch.settings import Settings
from dealwatch.tables import (
    alert_actions,
    alert_events,
    alert_signals,
    alerts,
    deal_changes,
    deal_features,
    deal_scores,
    deal_snapshots,
    deliveries,
    extract_runs,
    owners,
    recipient_choices,
    rule_evidence,
    scored_mornings,
)
from dealwatch.warehouse import INSTANT, frame, in_memory, instant, put, reading, writing

log = logging.getLogger(__name__)
WARM_UP_DAYS = 28  # replayed before and not counted: else all that stands on the first morning would be news
_AT_ONCE = 31  # mornings whose facts are held in memory together
_KEYS = ["as_of", "deal_id"]
_COPIED = (owners, extract_runs, recipient_choices, alert_actions)  # what deciding reads beside the mornings
_CHANCES: Mapping[str, Any] = {
    "as_of": INSTANT,
    "deal_id": pl.String,
    "p_loss": pl.Float64,
    "method": pl.String,
    "model_version": pl.String,
}


@dataclass(frozen=True)
class Trial:
    """Rules and settings to replay, the settings naming the folder the rules lie in, and their records.

    scored_by: the rules whose points are in the score; they may be more than those that speak.
    """

    rules: tuple[Rule, ...]
    settings: Settings
    evidence: pl.DataFrame  # rows of rule_evidence
    scored_by: tuple[Rule, ...]


@dataclass(frozen=True)
class Replayed:
    """What a trial's mornings came to, from the first that counts on.

    alerts: rows of `alerts` that stood; messages: as_of, recipient, kind; reopened: alerts that came back.
    """

    alerts: pl.DataFrame
    messages: pl.DataFrame
    reopened: int


@dataclass(frozen=True)
class Past:
    """The mornings replayed, and what is the same for all trials.

    deals: deal_id, name, owner_id as last seen open; outcomes: deal_id, lost; by the last morning.
    """

    first: datetime  # the first morning that counts
    last: datetime
    deals: pl.DataFrame
    outcomes: pl.DataFrame
    owners: int  # people who owned an open deal
    unscored: int  # mornings that count and were never scored


@dataclass
class _Rows:
    """What scoring a trial's mornings leaves behind."""

    signals: list[pl.DataFrame] = field(default_factory=list)
    snapshots: list[pl.DataFrame] = field(default_factory=list)
    features: list[pl.DataFrame] = field(default_factory=list)
    scores: list[pl.DataFrame] = field(default_factory=list)


def replay(
    engine: Engine, trials: Sequence[Trial], *, days: int, as_of: datetime, settings: Settings
) -> tuple[Past, list[Replayed]]:
    """The trials' mornings over so many days up to a moment; reads the warehouse and writes nothing to it."""
    last = local_day(as_of, settings)
    moments = mornings(last - timedelta(days=days + WARM_UP_DAYS - 1), last, settings)
    first = moments[WARM_UP_DAYS]
    with reading(engine) as connection:
        histories = _histories(connection, moments, trials)
        chances = _chances(connection, moments)
        copied = {table: frame(connection, select(table)) for table in _COPIED}
        copied[deal_changes] = _endings(connection, moments[-1])
    log.info(
        "%d mornings of %d deals are replayed", len(moments), len(next(iter(histories.values())).deal_ids)
    )
    rows = [_Rows() for _ in trials]
    seen: list[pl.DataFrame] = []
    for start in range(0, len(moments), _AT_ONCE):
        part = moments[start : start + _AT_ONCE]
        facts = {one: facts_of(history, part, settings=settings) for one, history in histories.items()}
        for trial, gathered in zip(trials, rows, strict=True):
            _score(facts[trial.settings.pipeline], chances, trial, gathered)
        seen.append(next(iter(facts.values())).select(*_KEYS, "name", "owner_id"))
        log.info("facts and signals up to %s", local_day(part[-1], settings))
    replayed = []
    for trial, gathered in zip(trials, rows, strict=True):
        replayed.append(_spoken(trial, gathered, copied, moments, first))
        log.info("alerts and messages of %d of %d books", len(replayed), len(trials))
    given = set(chances["as_of"].unique())
    unscored = sum(moment >= first and moment not in given for moment in moments)
    return _past(pl.concat(seen), copied[deal_changes], moments, first, unscored), replayed


def scored(facts: pl.DataFrame, chances: pl.DataFrame, trial: Trial) -> pl.DataFrame:
    """The score of each row: the trial's rule points beside the chance the model gave then.

    Without a chance the rules speak alone, as in a morning's score.
    """
    points = points_added(trial.scored_by, facts).clip(upper_bound=RULE_POINTS).cast(pl.Float64)
    rows = facts.select(_KEYS).with_columns(points=points)
    rows = rows.join(chances, on=_KEYS, how="left", maintain_order="left")
    size = pl.coalesce(
        pl.col("p_loss") * MODEL_POINTS + pl.col("points"), pl.col("points") * (100 / RULE_POINTS)
    )
    rows = rows.with_columns(
        score=(size + 0.5).floor().cast(pl.Int64), method=pl.col("method").fill_null("rules")
    )
    above = pl.sum_horizontal(pl.col("score") > top for top in trial.settings.scoring.bands)
    return rows.with_columns(band=above.replace_strict(list(range(4)), BANDS, return_dtype=pl.String)).drop(
        "points"
    )


def _histories(
    connection: Connection, moments: Sequence[datetime], trials: Sequence[Trial]
) -> dict[Pipeline, History]:
    ledger = StoredLedger(connection, moments[-1])
    return {
        pipeline: history_of(ledger, microseconds_of(moments), pipeline=pipeline)
        for pipeline in dict.fromkeys(trial.settings.pipeline for trial in trials)
    }


def _chances(connection: Connection, moments: Sequence[datetime]) -> pl.DataFrame:
    c = deal_scores.c
    given = select(*(c[name] for name in _CHANCES)).where(c.as_of >= moments[0], c.as_of <= moments[-1])
    asked = pl.DataFrame({"as_of": list(moments)}, schema={"as_of": INSTANT})
    return frame(connection, given).join(asked, on="as_of", how="semi")


def _endings(connection: Connection, last: datetime) -> pl.DataFrame:
    c = deal_changes.c
    return frame(
        connection, select(deal_changes).where(c.field.in_(("outcome", "deleted")), c.known_at <= last)
    )


def _score(facts: pl.DataFrame, chances: pl.DataFrame, trial: Trial, rows: _Rows) -> None:
    """What a morning's scoring would store, of the deals that a rule holds for."""
    scores = scored(facts, chances, trial)
    held = signals(trial.rules, facts, scores)
    flagged = facts.join(held.select(_KEYS).unique(), on=_KEYS, how="semi")
    rows.signals.append(held)
    rows.snapshots.append(
        flagged.select(name for name in deal_snapshots.columns.keys() if name in facts.columns)
    )
    rows.features.append(
        flagged.select(*_KEYS, facts=pl.struct(fact.name for fact in FACTS).struct.json_encode())
    )
    rows.scores.append(
        scores.join(held.select(_KEYS).unique(), on=_KEYS, how="semi").with_columns(
            points=pl.concat_str(
                pl.lit('[{"kind":"base","name":"base","points":'), pl.col("score"), pl.lit("}]")
            ),
            reasons=pl.lit("[]"),
        )
    )


def _spoken(
    trial: Trial,
    rows: _Rows,
    copied: Mapping[Table, pl.DataFrame],
    moments: Sequence[datetime],
    first: datetime,
) -> Replayed:
    """Fold and decide the mornings in order, as a backfill does: all messages become receipts."""
    settings = trial.settings
    counts = pl.DataFrame({"as_of": list(moments)}, schema={"as_of": INSTANT})
    scratch = in_memory()
    try:
        with writing(scratch) as connection:
            for table, stored in copied.items():
                put(connection, table, stored)
            put(connection, rule_evidence, trial.evidence)
            put(connection, alert_signals, pl.concat(rows.signals))
            put(connection, deal_snapshots, pl.concat(rows.snapshots))
            put(connection, deal_features, pl.concat(rows.features))
            put(connection, deal_scores, pl.concat(rows.scores))
            put(connection, scored_mornings, counts.with_columns(deals=pl.lit(0), is_folded=pl.lit(False)))
        later = morning_of(local_day(moments[-1], settings) + timedelta(days=7), settings)
        speak(scratch, settings=settings, as_of=moments[-1], now=later, notify="dry")
        with reading(scratch) as connection:
            return _read(connection, first)
    finally:
        scratch.dispose()


def _read(connection: Connection, first: datetime) -> Replayed:
    said, events = deliveries.c, alert_events.c
    stood = select(alerts).where(alerts.c.last_seen_at >= first)
    would = select(said.as_of, said.recipient, said.kind).where(
        said.as_of >= first, said.reason == "past_day"
    )
    back = select(events.at).where(events.at >= first, events.kind == "reopened")
    messages = frame(connection, would).sort("as_of", "recipient", "kind")
    return Replayed(
        frame(connection, stood).sort("rule", "deal_id", "scope"), messages, frame(connection, back).height
    )


def _past(
    seen: pl.DataFrame, endings: pl.DataFrame, moments: Sequence[datetime], first: datetime, unscored: int
) -> Past:
    outcomes = (
        endings.filter(pl.col("field") == "outcome")
        .sort("known_at", "happened_at", "seq")
        .group_by("deal_id", maintain_order=True)
        .agg(pl.col("new_value").last())
        .filter(pl.col("new_value").is_in(["won", "lost"]))
        .select("deal_id", lost=pl.col("new_value") == "lost")
    )
    people = seen.filter(pl.col("as_of") >= instant(first))["owner_id"].drop_nulls().n_unique()
    deals = seen.sort(_KEYS).unique("deal_id", keep="last", maintain_order=True)
    return Past(first, moments[-1], deals.select("deal_id", "name", "owner_id"), outcomes, people, unscored)
