"""What simpler and other models would have said of the very rows the forest was judged on.

Three rivals learn from the same panel at the same moment: the segment prior (the smoothed loss rate of the
deal's stage and segment), logistic regression and gradient boosting, both on the forest's own facts. A
forest that cannot beat the prior has learned nothing; one that falls behind the others lacks a fact. The
rivals' probabilities are taken as they come, ours through its curve.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from dealwatch.scoring.forest import columns, table, teaching_weights
from dealwatch.scoring.panel import known_by
from dealwatch.scoring.quality import difference
from dealwatch.settings import Settings

Floats = NDArray[np.float64]
PRIOR_DEALS = 20.0  # as much weight as twenty deals: a segment with twenty of its own stands half-way
_MEASURES, _ENDS = ("auc", "brier"), ("", "_low", "_high")
_FAR = 5.0  # standard deviations; a line should not be led by a few absurd values


def rivals(
    panel: pl.DataFrame, judged: pl.DataFrame, moment: datetime, *, settings: Settings
) -> list[dict[str, Any]]:
    """One row a model: name, auc, brier, skill, and how far ours is ahead on identical rows, with intervals.

    `judged` are the rows the forest of `moment` was judged on, with `raw` and `p_loss`. Differences are ours
    minus the rival's on the same draws of deals: a positive auc_difference and a negative brier_difference
    speak for the forest.
    """
    later = judged.select("as_of", "deal_id").join(
        panel, on=["as_of", "deal_id"], how="left", maintain_order="left"
    )
    said = predictions(known_by(panel, moment), later, settings=settings)
    return compared(judged, said, settings=settings)


def predictions(learned: pl.DataFrame, later: pl.DataFrame, *, settings: Settings) -> dict[str, Floats]:
    """Each rival's probability of a loss for the later rows, by name."""
    lost, weight = learned["lost"].to_numpy(), teaching_weights(learned)
    encoder = columns()
    known = encoder.fit_transform(table(learned))
    asked = encoder.transform(table(later))
    told = ~np.isnan(known).all(axis=0)
    known, asked = known[:, told], asked[:, told]
    boosting = HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=40,
        l2_regularization=1.0,
        random_state=settings.scoring.seed,
    )
    with threadpool_limits(limits=1):  # threads add gradients in any order
        boosting.fit(known, lost, sample_weight=weight)
        boosted = np.asarray(boosting.predict_proba(asked)[:, 1])
        line = _line(known, lost, weight)(asked)
    prior = segment_prior(learned, later, settings=settings)
    return {"segment prior": prior, "logistic regression": line, "gradient boosting": boosted}


def segment_prior(learned: pl.DataFrame, later: pl.DataFrame, *, settings: Settings) -> Floats:
    """The loss rate of each row's stage and segment, drawn to everyone's where few deals are known."""
    by = ["stage", *settings.pipeline.segment_by]
    overall = float(np.average(learned["lost"].to_numpy(), weights=learned["weight"].to_numpy()))
    deals, losses = pl.col("weight").sum(), (pl.col("weight") * pl.col("lost")).sum()
    rates = learned.group_by(by, maintain_order=True).agg(
        rate=(losses + PRIOR_DEALS * overall) / (deals + PRIOR_DEALS)
    )
    found = later.select(by).join(rates, on=by, how="left", nulls_equal=True, maintain_order="left")
    return found["rate"].fill_null(overall).to_numpy()


def _line(known: Floats, lost: NDArray[Any], weight: Floats) -> Callable[[Floats], Floats]:
    """Logistic regression on scaled facts; an unknown one stands in the middle, and a column says so."""
    middle = np.nanmedian(known, axis=0)
    filled = np.where(np.isnan(known), middle, known)
    mean, spread = filled.mean(axis=0), filled.std(axis=0)
    del filled  # as large as what is known
    spread[spread == 0] = 1

    def scaled(facts: Floats) -> Floats:
        missing = np.isnan(facts)
        steps = np.where(missing, middle, facts)
        steps -= mean
        steps /= spread
        return np.hstack([np.clip(steps, -_FAR, _FAR, out=steps), missing])

    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaled(known), lost, sample_weight=weight)
    return lambda facts: np.asarray(model.predict_proba(scaled(facts))[:, 1])


def compared(judged: pl.DataFrame, said: dict[str, Floats], *, settings: Settings) -> list[dict[str, Any]]:
    """The forest's quality on the judged rows, and each rival's with the differences, ours minus theirs."""
    lost, deals = judged["lost"].to_numpy(), judged["deal_id"].to_numpy()
    ours = (judged["raw"].to_numpy(), judged["p_loss"].to_numpy())
    rows = [_quality("forest", lost, *ours)]
    for name, p in said.items():
        found = difference(lost, deals, ours, (p, p), seed=settings.scoring.seed)
        ahead = {f"{what}_difference{end}": getattr(found, what + end) for what in _MEASURES for end in _ENDS}
        rows.append(_quality(name, lost, p, p) | ahead)
    return rows


def _quality(name: str, lost: NDArray[Any], ranking: Floats, p: Floats) -> dict[str, Any]:
    both = bool(lost.min() != lost.max())
    brier, constant = float(np.mean((p - lost) ** 2)), float(lost.mean() * (1 - lost.mean()))
    return {
        "name": name,
        "auc": float(roc_auc_score(lost, ranking)) if both else None,
        "brier": brier,
        "skill": 1 - brier / constant if both else None,
    }
