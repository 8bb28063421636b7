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
from threadpoolctl import threadpool_limits

from dealwatch.scoring.forest import columns, table
from dealwatch.scoring.panel import known_by
from dealwatch.settings import Settings

Floats = NDArray[np.float64]
RESAMPLES = 200
PRIOR_DEALS = 20.0  # as much weight as twenty deals: a segment with twenty of its own stands half-way
_INTERVAL = (2.5, 97.5)
_FAR = 5.0  # standard deviations; a line should not be led by a few absurd values


def rivals(
    panel: pl.DataFrame, judged: pl.DataFrame, moment: datetime, *, settings: Settings
) -> list[dict[str, Any]]:
    """One row a model: name, auc, brier, skill, and how far ours is ahead on identical rows, with intervals.

    `judged` are the rows the forest of `moment` was judged on, with `raw` and `p_loss`. Differences are ours
    minus the rival's, so a positive auc_difference and a negative brier_difference speak for the forest.
    """
    later = judged.select("as_of", "deal_id").join(
        panel, on=["as_of", "deal_id"], how="left", maintain_order="left"
    )
    said = predictions(known_by(panel, moment), later, settings=settings)
    lost = judged["lost"].to_numpy().astype(np.float64)
    ours, p = judged["raw"].to_numpy(), judged["p_loss"].to_numpy()
    deal = judged["deal_id"].rank("dense").to_numpy().astype(np.int64) - 1
    return compared(
        lost, deal, {"forest": (ours, p)} | {n: (q, q) for n, q in said.items()}, settings=settings
    )


def predictions(learned: pl.DataFrame, later: pl.DataFrame, *, settings: Settings) -> dict[str, Floats]:
    """Each rival's probability of a loss for the later rows, by name."""
    lost, weight = learned["lost"].to_numpy(), learned["weight"].to_numpy()
    encoder = columns().fit(table(learned))
    known, asked = encoder.transform(table(learned)), encoder.transform(table(later))
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
    spread[spread == 0] = 1

    def scaled(facts: Floats) -> Floats:
        missing = np.isnan(facts)
        steps = (np.where(missing, middle, facts) - mean) / spread
        return np.hstack([np.clip(steps, -_FAR, _FAR), missing])

    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaled(known), lost, sample_weight=weight)
    return lambda facts: np.asarray(model.predict_proba(scaled(facts))[:, 1])


def compared(
    lost: Floats, deal: NDArray[np.int64], said: dict[str, tuple[Floats, Floats]], *, settings: Settings
) -> list[dict[str, Any]]:
    """Each model's quality and, beside the first's, the differences; intervals draw whole deals anew."""
    models = [_Ranked(lost, deal, ranking, p) for ranking, p in said.values()]
    once = np.array([model.measures(np.ones(int(deal.max()) + 1)) for model in models])
    generator = np.random.default_rng(settings.scoring.seed)
    count = int(deal.max()) + 1
    draws = []
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64)
        measured = np.array([model.measures(times) for model in models])
        draws.append(measured[0] - measured)
    low, high = np.nanpercentile(np.array(draws), _INTERVAL, axis=0)
    constant = lost.mean() * (1 - lost.mean())
    rows = []
    for n, name in enumerate(said):
        row: dict[str, Any] = {"name": name, "auc": once[n, 0], "brier": once[n, 1]}
        row["skill"] = 1 - once[n, 1] / constant if constant else None
        if n:
            for column, what in enumerate(("auc_difference", "brier_difference")):
                row[what] = once[0, column] - once[n, column]
                row[f"{what}_low"], row[f"{what}_high"] = low[n, column], high[n, column]
        rows.append({key: value if isinstance(value, str) else _plain(value) for key, value in row.items()})
    return rows


def _plain(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


class _Ranked:
    """A model's rows in order of its ranking, so that a resample is a few passes over arrays."""

    def __init__(self, lost: Floats, deal: NDArray[np.int64], ranking: Floats, p: Floats) -> None:
        order = np.argsort(ranking, kind="stable")
        self.lost, self.deal = lost[order], deal[order]
        self.ties = np.flatnonzero(np.r_[True, np.diff(ranking[order]) > 0])
        self.error = (p[order] - self.lost) ** 2

    def measures(self, times: Floats) -> tuple[float, float]:
        """AUC and Brier score with each deal counted so many times."""
        weight = times[self.deal]
        lost = np.add.reduceat(weight * self.lost, self.ties)
        won = np.add.reduceat(weight * (1 - self.lost), self.ties)
        pairs = lost.sum() * won.sum()
        auc = (lost * (np.cumsum(won) - won / 2)).sum() / pairs if pairs else np.nan
        return float(auc), float((weight * self.error).sum() / weight.sum())
