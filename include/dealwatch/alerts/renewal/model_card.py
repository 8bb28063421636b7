"""What there is to know about a new model on the day of its training, put together for its card.

Here the model meets the rules: which alerts it would bring and take away on the next morning, all else equal.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import numpy as np
import polars as pl

from dealwatch.alerts.rules.rule import STAYS_OPEN, Rule, load_rules, points_added
from dealwatch.alerts.rules.signals import signals
from dealwatch.scoring import artefacts
from dealwatch.scoring.card import Dossier, card
from dealwatch.scoring.card_morning import APPEARS, VANISHES
from dealwatch.scoring.card_picture import picture
from dealwatch.scoring.judgement import ranks_better
from dealwatch.scoring.promotion import Comparison, advice
from dealwatch.scoring.registry import Model
from dealwatch.scoring.score import MODEL_POINTS, RULE_POINTS
from dealwatch.scoring.trial import Trained
from dealwatch.settings import Settings

PICTURE = "card.png"
_SAID = ("score", "band", "p_loss")
_VERDICTS = {
    "promote": "It may serve: {}.",
    "ask": "Doubtful, and the champion is old: {}.",
    "keep": "No reason to change: {}.",
}


def refused_card(trained: Trained, version: str, as_of: datetime, *, settings: Settings) -> str:
    """The card of a training that the gate refused."""
    dossier = Dossier(version, as_of, f"Refused by the gate: {trained.reason}", trained.metrics)
    return card(dossier, settings=settings)


def dossier_of(
    challenger: Model,
    champion: Model | None,
    comparison: Comparison | None,
    facts: pl.DataFrame,
    changes: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    settings: Settings,
) -> Dossier:
    """What the card of a challenger tells; facts and changes as in `alert_changes`, judged as in `scored`."""
    as_of = challenger.trained_as_of
    step, reason = advice(champion, comparison, as_of, settings=settings)
    rules = load_rules(settings.alerts.rules)
    known = ("deal_id", "name", "amount", "currency")
    ours, theirs = (comparison.ours, comparison.theirs) if comparison else (None, None)
    return Dossier(
        challenger.version,
        as_of,
        _VERDICTS[step].format(reason),
        challenger.metrics,
        champion=champion.version if champion else None,
        ours=ours.as_dict() if ours else None,
        theirs=theirs.as_dict() if theirs else None,
        difference=asdict(comparison.difference) if comparison else None,
        since=comparison.since if comparison else None,
        deals=changes.join(facts.select(known), on="deal_id"),
        alerts=alert_changes(rules, facts, changes),
        ranks_better=ranks_better(scored(rules, judged), settings=settings),
    )


def scored(rules: Sequence[Rule], judged: pl.DataFrame) -> pl.DataFrame:
    """The rows with `score`, as the rules would have it with the rows' own p_loss.

    judged: facts of past mornings, with p_loss and what became of the deals.
    """
    points = np.minimum(points_added(rules, judged).to_numpy(), RULE_POINTS)
    return judged.with_columns(score=np.floor(MODEL_POINTS * judged["p_loss"].to_numpy() + points + 0.5))


def draw(dossier: Dossier, *, settings: Settings) -> None:
    """Put the card's picture beside the model's file."""
    ours = dossier.ours or dossier.metrics
    if bins := ours.get("reliability"):
        theirs = (dossier.theirs or {}).get("reliability") or ()
        drawn = picture(dossier.version, bins, theirs, champion=dossier.champion)
        artefacts.add(settings, dossier.version, PICTURE, drawn)


def alert_changes(rules: Sequence[Rule], facts: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """deal_id, title (of the rule) and change (appears, vanishes), sorted.

    facts: of the deals open on one morning. changes: their score, band and p_loss under both models, with
    `_before` and `_after`. An alert that its rule would merely keep open neither appears nor vanishes.
    """
    before, after = (_held(rules, facts, changes, suffix) for suffix in ("_before", "_after"))
    keys = ["rule", "deal_id"]
    opens = pl.col("level") > STAYS_OPEN
    appears = after.filter(opens).join(before.filter(opens), on=keys, how="anti")
    vanishes = before.filter(opens).join(after, on=keys, how="anti")
    titles = {rule.name: rule.title for rule in rules}
    found = pl.concat(
        [appears.with_columns(change=pl.lit(APPEARS)), vanishes.with_columns(change=pl.lit(VANISHES))]
    )
    return found.select(
        "deal_id", pl.col("rule").replace_strict(titles, return_dtype=pl.String).alias("title"), "change"
    ).sort("deal_id", "title")


def _held(rules: Sequence[Rule], facts: pl.DataFrame, changes: pl.DataFrame, suffix: str) -> pl.DataFrame:
    scores = facts.select("as_of", "deal_id").join(
        changes.select("deal_id", *(pl.col(f"{name}{suffix}").alias(name) for name in _SAID)), on="deal_id"
    )
    return signals(rules, facts, scores).select("rule", "deal_id", "level")
