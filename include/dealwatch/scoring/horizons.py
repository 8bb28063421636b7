"""How likely a deal is lost within 30, 60 or 90 days: what became of deals like it, told by the one forest.

Two deals are alike in a tree when they end in the same leaf. A leaf's share of past rows that were lost
within the horizon is its chance; the trees' chances are averaged and mended by a curve (`calibration`) from
deals that the forest's like did not see (`folds`), as p_loss is. Deals still open count: a deal that is open
30 days after a morning was not lost within 30 days. Only rows followed for the whole horizon count, or those
lost quickly would be known first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from dealwatch.scoring.calibration import Calibrator, fit_calibrator
from dealwatch.scoring.folds import Folds
from dealwatch.scoring.forest import Bundle, inputs, leaves
from dealwatch.scoring.quality import quality
from dealwatch.settings import Settings
from dealwatch.warehouse import instant

Floats = NDArray[np.float64]
HORIZONS = (30, 60, 90)  # days; each is a column of deal_scores, so they are no setting
COLUMNS = tuple(f"p_loss_{days}" for days in HORIZONS)
_PRIOR_DEALS = 2.0  # a leaf is taken to have seen so many deals of the overall rate besides its own
_ROWS = 4_000  # rows looked up at once


@dataclass(frozen=True)
class Leaves:
    """The chance of each leaf, by horizon (a row of `rates` each); the nodes of all trees in one line."""

    offsets: NDArray[np.int64]
    rates: Floats

    def mean(self, leaves: NDArray[np.int64]) -> Floats:
        """Each row's chances, a column a horizon; added tree by tree, so a row's sum is always the same."""
        total = np.zeros((len(leaves), len(self.rates)))
        for tree, offset in enumerate(self.offsets):
            total += self.rates[:, leaves[:, tree] + offset].T
        return total / len(self.offsets)


@dataclass(frozen=True)
class Horizons:
    """Stored with the forest; a horizon that the history is too short for, or to judge, has no curve."""

    leaves: Leaves
    curves: tuple[Calibrator | None, ...]


def chances_within(bundle: Bundle, facts: pl.DataFrame, p_loss: Floats) -> dict[str, Floats]:
    """Columns p_loss_30, _60, _90 for the rows of `facts`; a horizon that cannot be told is left out.

    None is above the next longer one, nor above p_loss.
    """
    horizons = bundle.horizons
    if horizons is None:
        return {}
    raw = np.empty((facts.height, len(HORIZONS)))
    for start in range(0, facts.height, _ROWS):
        part = slice(start, start + _ROWS)
        raw[part] = horizons.leaves.mean(bundle.leaves(facts[part]))
    return capped(raw, horizons.curves, p_loss)


def capped(raw: Floats, curves: Sequence[Calibrator | None], p_loss: Floats) -> dict[str, Floats]:
    """What the curves make of `raw`, each capped by the next longer horizon and in the end by p_loss."""
    found: dict[str, Floats] = {}
    bound = p_loss
    for n in reversed(range(len(HORIZONS))):
        curve = curves[n]
        if curve is not None:
            bound = found[COLUMNS[n]] = np.minimum(curve(np.ascontiguousarray(raw[:, n])), bound)
    return found


def followed(panel: pl.DataFrame, days: int, *, until: datetime) -> pl.DataFrame:
    """The rows of a `followed_panel` that were watched for `days` by `until`, with `lost_within` (0/1).

    Only outcomes known by `until` count. Each deal weighs one in sum.
    """
    by = pl.col("as_of") + timedelta(days=days)
    lost = (
        (pl.col("lost") == 1) & (pl.col("closed_at") <= by) & (pl.col("outcome_known_at") <= instant(until))
    )
    rows = panel.filter(by <= instant(until))
    return rows.with_columns(
        lost_within=lost.fill_null(False).cast(pl.Int8), weight=1 / pl.len().over("deal_id")
    )


def learn_horizons(
    panel: pl.DataFrame, moment: datetime, forest: Pipeline, folds: Folds, *, settings: Settings
) -> Horizons:
    """The horizons for a forest of `moment`: its leaves' chances, and curves from deals its like did not see.

    panel: of `followed_panel`, in order of time. A forest of the folds takes its leaves' chances from the
    deals that it was grown on and speaks of the others, those still open included.
    """
    ends = panel.select("as_of", "deal_id", "lost", "closed_at", "outcome_known_at")
    by_days = [followed(ends, days, until=moment) for days in HORIZONS]
    # For the shortest horizon; the longer ones' rows are the first of these.
    watched = panel.head(by_days[0].height)
    raw = np.empty((watched.height, len(HORIZONS)))
    for like, unseen in folds.parts(watched):
        asked = inputs(like, watched)
        seen = [rows.filter(~unseen[: rows.height]) for rows in by_days]
        raw[unseen] = leaf_rates(like, asked[~unseen], seen).mean(leaves(like, asked[unseen]))
    curves = [_curve(rows, raw[: rows.height, n], settings) for n, rows in enumerate(by_days)]
    return Horizons(leaf_rates(forest, inputs(forest, watched), by_days), tuple(curves))


def judge_horizons(
    before: Bundle, panel: pl.DataFrame, since: datetime, until: datetime, *, settings: Settings
) -> list[dict[str, Any]]:
    """For each horizon, how good the bundle of `since` was on the mornings from then on.

    Judged by what was known at `until`, on rows that were watched for the whole horizon: what it would have
    told, cap included. A `reason` instead where there was too little to learn from or to judge on.
    """
    told = []
    for days, column in zip(HORIZONS, COLUMNS, strict=True):
        rows = followed(panel.filter(pl.col("as_of") >= instant(since)), days, until=until)
        found: dict[str, Any] = {"days": days, "n": rows.height}
        said = chances_within(before, rows, before.p_loss(rows)) if _is_enough(rows, settings) else {}
        if column in said:
            p, lost = said[column], rows["lost_within"].to_numpy()
            judged = quality(lost, rows["deal_id"].to_numpy(), p, p=p, seed=settings.scoring.seed)
            told.append(found | judged.as_dict())
        else:
            least = settings.scoring.train_minimum
            reason = f"too short a history: fewer than {least} deals lost, or not, within {days} days of it."
            told.append(found | {"reason": reason})
    return told


def offered(horizons: Horizons, told: Sequence[dict[str, Any]]) -> Horizons:
    """Only those that could be judged: nobody knows what the others are worth."""
    curves = (
        curve if "reason" not in judged else None for curve, judged in zip(horizons.curves, told, strict=True)
    )
    return replace(horizons, curves=tuple(curves))


def leaf_rates(pipeline: Pipeline, asked: NDArray[np.float32], by_days: Sequence[pl.DataFrame]) -> Leaves:
    """The chance of each leaf in rows `followed` for each horizon; of few deals, drawn to the overall rate.

    asked: the inputs of the first horizon's rows. Those of a horizon are the first of those of the next
    shorter one: they stand in order of time.
    """
    trees = [tree.tree_ for tree in pipeline["forest"].estimators_]
    rates = []
    for tree in trees:
        leaf = tree.apply(asked)
        rates.append([_shares(leaf[: rows.height], rows, tree.node_count) for rows in by_days])
    offsets = np.cumsum([0, *[tree.node_count for tree in trees]])[:-1]
    return Leaves(offsets, np.concatenate(rates, axis=1))


def _shares(leaf: NDArray[np.int64], rows: pl.DataFrame, nodes: int) -> Floats:
    weight, lost = rows["weight"].to_numpy(), rows["lost_within"].to_numpy()
    deals, gone = np.bincount(leaf, weight, nodes), np.bincount(leaf, weight * lost, nodes)
    overall = gone.sum() / deals.sum() if rows.height else 0.0
    return np.asarray((gone + _PRIOR_DEALS * overall) / (deals + _PRIOR_DEALS))


def _curve(rows: pl.DataFrame, raw: Floats, settings: Settings) -> Calibrator | None:
    if not _is_enough(rows, settings):
        return None
    return fit_calibrator(raw, rows["lost_within"].to_numpy(), deals=rows["deal_id"].n_unique())


def _is_enough(rows: pl.DataFrame, settings: Settings) -> bool:
    deals, gone = rows["deal_id"].n_unique(), rows.filter(pl.col("lost_within") == 1)["deal_id"].n_unique()
    return min(gone, deals - gone) >= settings.scoring.train_minimum
