"""One morning's judgement: facts, the points of rules, scores and signals of every open deal, written whole.

A morning depends on what was known by then and on the model that was champion then, so it can be written
again at any time, alone or among others, and comes out the same.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Engine, select

from dealwatch.alerts.rules.rule import Rule, rule_points
from dealwatch.alerts.rules.signals import signals
from dealwatch.errors import NotReady
from dealwatch.history.stored import StoredLedger
from dealwatch.moments import local_day, morning_of
from dealwatch.scoring.facts import FACTS, facts_of
from dealwatch.scoring.known import history_of, microseconds_of
from dealwatch.scoring.registry import Serving, champions_at
from dealwatch.scoring.score import score
from dealwatch.settings import Settings
from dealwatch.tables import alert_signals, deal_features, deal_scores, deal_snapshots, scored_mornings
from dealwatch.warehouse import instant, reading, replace, writing

log = logging.getLogger(__name__)
_AT_ONCE = 31  # mornings whose facts are held in memory together


def score_mornings(
    engine: Engine, moments: Sequence[datetime], *, rules: Sequence[Rule], settings: Settings
) -> dict[str, int]:
    """Write the given mornings; counts of mornings, deals and signals. Raises NotReady without a ledger.

    A morning that was scored by a model that cannot be loaded now is kept: nothing could write it as it was.
    """
    counts = {"mornings": 0, "deals": 0, "signals": 0, "by_rules_alone": 0}
    alone: dict[str, list[datetime]] = {}  # mornings without a usable model, by the reason
    with reading(engine) as connection:
        served = dict(zip(moments, champions_at(connection, settings, moments), strict=True))
        kept = _kept(connection, served)
        ledger = StoredLedger(connection, max(moments))
        moments = [moment for moment in moments if moment not in kept]
        if not moments:
            return counts | {"kept": len(kept)}
        history = history_of(ledger, microseconds_of(moments), pipeline=settings.pipeline)
    if history.deal_ids.is_empty():
        raise NotReady("the ledger is empty; run `python -m dealwatch extract` first")
    for start in range(0, len(moments), _AT_ONCE):
        part = moments[start : start + _AT_ONCE]
        facts = facts_of(history, part, settings=settings)
        if part[-1] == moments[-1]:
            del history  # hundreds of megabytes, and no longer asked
        points = rule_points(rules, facts)
        for moment in part:
            model = served[moment].model
            if model is None:
                reason = served[moment].reason
                alone[reason] = [*alone.get(reason, []), moment]
            this_morning = pl.col("as_of") == instant(moment)
            todays = facts.filter(this_morning)
            scores = score(todays, model, points.filter(this_morning), settings=settings)
            held = signals(rules, todays, scores)
            is_morning = moment == morning_of(local_day(moment, settings), settings)
            _write(engine, moment, todays, scores, held, is_morning=is_morning)
            counts["mornings"] += 1
            counts["deals"] += todays.height
            counts["signals"] += held.height
            counts["by_rules_alone"] += scores.height if model is None else 0
    for reason, mornings in alone.items():
        log.warning("%d mornings from %s are scored by rules alone: %s", len(mornings), mornings[0], reason)
    return counts | {"kept": len(kept)}


def _kept(connection: Connection, served: Mapping[datetime, Serving]) -> set[datetime]:
    """The mornings that were scored by a model which should serve them, and cannot be loaded now."""
    unusable = {version for one in served.values() for version in one.unusable}
    if not unusable:
        return set()
    scores = deal_scores.c
    of_these = scores.as_of.in_(list(served)) & scores.model_version.in_(unusable)
    kept = set(connection.execute(select(scores.as_of).where(of_these).distinct()).scalars())
    if kept:
        told = "%d mornings from %s keep the scores of a model that cannot be loaded now: %s"
        log.warning(told, len(kept), min(kept), served[min(kept)].reason)
    return kept


def _write(
    engine: Engine,
    moment: datetime,
    facts: pl.DataFrame,
    scores: pl.DataFrame,
    held: pl.DataFrame,
    *,
    is_morning: bool,
) -> None:
    """A morning's slices in one transaction: all of it is there, or none.

    A morning's row tells the alert fold to begin anew from here; any other moment is no part of the fold.
    """
    snapshot = facts.select(column for column in deal_snapshots.columns.keys() if column in facts.columns)
    features = facts.select(
        "as_of", "deal_id", facts=pl.struct(fact.name for fact in FACTS).struct.json_encode()
    )
    scored = pl.DataFrame({"as_of": [moment], "deals": [facts.height], "is_folded": [False]})
    with writing(engine, alone=f"morning {moment.isoformat()}") as connection:
        for table, rows in (
            (deal_snapshots, snapshot),
            (deal_features, features),
            (deal_scores, scores),
            (alert_signals, held),
            (scored_mornings, scored if is_morning else scored.clear()),
        ):
            replace(connection, table, table.c.as_of == moment, rows)
