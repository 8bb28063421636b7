"""One training from end to end: panel, forest, gate, comparison with the champion, and what is decided.

Everything that takes time happens before the one short transaction that writes the decision, so scoring
goes on meanwhile.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, func, select

from dealwatch.alerts.renewal.model_card import dossier_of, draw, refused_card
from dealwatch.alerts.rules.rule import load_rules, rule_points
from dealwatch.history.stored import StoredLedger
from dealwatch.scoring.card import card as write_card
from dealwatch.scoring.panel import Panel, followed_panel
from dealwatch.scoring.promotion import Comparison, advice, band_changes, compare, share_moved
from dealwatch.scoring.registry import Model, champion_at, found, retire_waiting, standing, store, version_of
from dealwatch.scoring.succession import promote, reject
from dealwatch.scoring.trial import Trained
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, model_promotions
from dealwatch.warehouse import reading, writing


@dataclass(frozen=True)
class Case:
    """What is known when a challenger meets the champion; changes: as of `promotion.band_changes`."""

    challenger: Model
    champion: Model | None
    comparison: Comparison | None
    facts: pl.DataFrame  # of the deals open at the training's moment
    judged: pl.DataFrame  # facts of the mornings that the challenger was judged on, with p_loss and lost
    changes: pl.DataFrame


def decide(
    engine: Engine,
    known: Panel,
    trained: Trained,
    as_of: datetime,
    *,
    settings: Settings,
) -> dict[str, Any]:
    """Store a training's outcome and decide about it: version, decision, reason.

    decision: refused, keep, promoted or ask (see `jobs.train`). What was decided before stands.
    """
    version = version_of(trained, as_of)
    while True:
        with reading(engine) as connection:
            is_open = trained.may_alert and _earlier(connection, version) is None
            champion, _ = champion_at(connection, settings, as_of)
        case = _case(engine, known, trained, champion, as_of, settings=settings) if is_open else None
        card = _card(case, trained, version, as_of, settings=settings)
        with writing(engine, alone="models") as connection:
            if (earlier := _earlier(connection, version)) is not None or case is None:
                store(connection, settings, trained, as_of, card=card)  # mends files that were lost
                return {"version": version, **(earlier or {"decision": "refused", "reason": trained.reason})}
            serving, _ = champion_at(connection, settings, as_of)
            if (serving and serving.version) == (champion and champion.version):
                store(connection, settings, trained, as_of, card=card)
                return {"version": version, **_settle(connection, case, as_of, settings=settings)}
        # another decision fell while this one was prepared: look again


def _case(
    engine: Engine,
    known: Panel,
    trained: Trained,
    champion: Model | None,
    as_of: datetime,
    *,
    settings: Settings,
) -> Case:
    if trained.bundle is None:
        raise ValueError("a training without a model cannot pass the gate")
    challenger = Model(version_of(trained, as_of), as_of, trained.bundle, trained.metrics)
    points = rule_points(load_rules(settings.alerts.rules), known.morning)
    changes = band_changes(known.morning, points, champion, challenger, settings=settings)
    compared = _compared(engine, known.rows, champion, as_of, settings=settings) if champion else None
    said = trained.judged.select("as_of", "deal_id", "p_loss")
    judged = known.rows.join(said, on=["as_of", "deal_id"], how="inner")
    return Case(challenger, champion, compared, known.morning, judged, changes)


def _compared(
    engine: Engine, panel: pl.DataFrame, champion: Model, as_of: datetime, *, settings: Settings
) -> Comparison:
    def earlier() -> pl.DataFrame:
        with reading(engine) as connection:
            ledger = StoredLedger(connection, champion.trained_as_of)
            return followed_panel(ledger, champion.trained_as_of, settings=settings)

    return compare(panel, champion, as_of, earlier=earlier, settings=settings)


def _card(case: Case | None, trained: Trained, version: str, as_of: datetime, *, settings: Settings) -> str:
    if case is None:
        return refused_card(trained, version, as_of, settings=settings)
    dossier = dossier_of(
        case.challenger,
        case.champion,
        case.comparison,
        case.facts,
        case.changes,
        case.judged,
        settings=settings,
    )
    draw(dossier, settings=settings)
    return write_card(dossier, settings=settings)


def _settle(connection: Connection, case: Case, as_of: datetime, *, settings: Settings) -> dict[str, str]:
    """Promote, leave to a person, or keep the champion; inside the transaction that stored the challenger."""
    version = case.challenger.version
    step, reason = advice(case.champion, case.comparison, as_of, settings=settings)
    moment = _free_from(connection, case.champion, as_of)
    if moment is None:
        step, reason = "keep", "a later model serves already, and mornings since were judged"
    if step == "keep" or moment is None:
        reject(connection, version, reason=f"the champion stays: {reason}.")
        return {"decision": "keep", "reason": reason}
    retire_waiting(connection, version, as_of)
    if step == "promote" and settings.scoring.auto_approve:
        share, bound = share_moved(case.changes), settings.scoring.auto_approve_band_changes
        if case.champion is None or share <= bound:
            promote(connection, settings, version, as_of=moment, by="auto", reason=f"{reason}.")
            return {"decision": "promoted", "reason": reason}
        reason += f"; {share:.0%} of open deals would change band, and {bound:.0%} may unasked"
    return {"decision": "ask", "reason": reason}


def _free_from(connection: Connection, champion: Model | None, as_of: datetime) -> datetime | None:
    """From when a promotion changes no morning that the champion judged: `as_of`, or just after the last one.

    A training for a past moment must not rewrite what people were told since. None when a later promotion
    would be overruled by that.
    """
    if champion is None:
        return as_of
    judged = select(func.max(deal_scores.c.as_of)).where(
        deal_scores.c.as_of >= as_of, deal_scores.c.model_version == champion.version
    )
    last = connection.execute(judged).scalar_one()
    if last is None:
        return as_of
    moment = last + timedelta(microseconds=1)
    later = model_promotions.c.promoted_as_of
    between = select(later).where(later > as_of, later <= moment)
    return None if connection.execute(between).first() else moment


def _earlier(connection: Connection, version: str) -> dict[str, str] | None:
    """What was decided about this very outcome before; None when nothing was, or it still waits."""
    row = found(connection, version)
    if row is None or row.status == "challenger":
        return None
    if row.status == "refused":
        return {"decision": "refused", "reason": row.reason}
    if version in [entry.version for entry in standing(connection)]:
        return {"decision": "promoted", "reason": row.decision}
    served = select(model_promotions.c.version).where(model_promotions.c.version == version)
    if connection.execute(served).first():
        return {"decision": "keep", "reason": f"{row.decision} It was rolled back since."}
    return {"decision": "keep", "reason": row.decision}
