"""The scores of past mornings as people saw them, or as the champion of the time would have given them."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl
from sqlalchemy import Connection, select

from dealwatch.alerts.evidence.replay import SCORED, Scores
from dealwatch.alerts.rules.rule import Rule, points_added
from dealwatch.scoring.bands import band
from dealwatch.scoring.registry import Model, champions_at
from dealwatch.scoring.score import MODEL_POINTS, RULE_POINTS
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from dealwatch.warehouse import frame, rows_of


def given_then(scored: pl.DataFrame | None) -> Scores:
    """Scores from a frame of them."""
    given = pl.DataFrame(schema=SCORED) if scored is None else scored.select(list(SCORED))

    def scores(facts: pl.DataFrame) -> pl.DataFrame:
        return given.join(facts.select("as_of", "deal_id"), on=["as_of", "deal_id"], how="semi")

    return scores


def scores_then(
    connection: Connection, moments: Sequence[datetime], rules: Sequence[Rule], *, settings: Settings
) -> Scores:
    """Stored scores of the mornings that were scored; of others, what their champion says, if they had one.

    The champion is the one of that morning, trained and promoted by then. A morning that nobody scored and
    that rules alone would have judged has no score.
    """
    c = deal_scores.c
    during = c.as_of.between(min(moments), max(moments))
    stored = {row.as_of for row in rows_of(connection, select(c.as_of).where(during).distinct())}
    unscored = [moment for moment in moments if moment not in stored]
    served = champions_at(connection, settings, unscored) if _is_asked(rules) else []
    champions = {m: one.model for m, one in zip(unscored, served, strict=bool(served)) if one.model}

    def scores(facts: pl.DataFrame) -> pl.DataFrame:
        found = [pl.DataFrame(schema=SCORED)]
        if not facts.is_empty():
            first, last = facts["as_of"].min(), facts["as_of"].max()
            columns = [c[name] for name in SCORED]
            found.append(frame(connection, select(*columns).where(c.as_of.between(first, last))))
        for (moment,), morning in facts.partition_by("as_of", as_dict=True).items():
            if moment in champions:
                found.append(_scored(morning, champions[moment], rules, settings))
        return pl.concat(
            part.select(pl.col(name).cast(type_) for name, type_ in SCORED.items()) for part in found
        )

    return scores


def _is_asked(rules: Sequence[Rule]) -> bool:
    return any(rule.uses_score for rule in rules)


def _scored(facts: pl.DataFrame, model: Model, rules: Sequence[Rule], settings: Settings) -> pl.DataFrame:
    """As `scoring.score` would have it, without the explanation."""
    p_loss = model.bundle.p_loss(facts)
    points = np.minimum(points_added(rules, facts).to_numpy(), RULE_POINTS)
    score = np.floor(MODEL_POINTS * p_loss + points + 0.5).astype(np.int64)
    bands = [band(int(one), settings.scoring.bands) for one in score]
    return facts.select("as_of", "deal_id").with_columns(
        score=pl.Series(score), band=pl.Series(bands, dtype=pl.String), p_loss=pl.Series(p_loss)
    )
