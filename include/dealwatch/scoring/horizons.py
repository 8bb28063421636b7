"""How likely a deal is lost within 30, 60 or 90 days: what became of deals like it, told by the one forest.

Two deals are alike in a tree when they end in the same leaf. A leaf's share of past rows that were lost
within the horizon is its chance; the trees' chances are averaged and mended by a curve (`calibration`), as
p_loss is. Deals still open count: a deal that is open 30 days after a morning was not lost within 30 days.
Only rows followed for the whole horizon count, or those lost quickly would be known first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from dealwatch.scoring.calibration import Calibrator, fit_calibrator
from dealwatch.scoring.forest import Bundle, table
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
    """Stored with the forest; a horizon that the history is too short for has no curve."""

    leaves: Leaves
    curves: tuple[Calibrator | None, ...]


@dataclass(frozen=True)
class Step:
    """A forest of the walk forward: trained at `moment`, looking at mornings from there to `until`."""

    pipeline: Pipeline
    moment: datetime
    until: datetime


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


def leaf_rates(pipeline: Pipeline, panel: pl.DataFrame, *, until: datetime) -> Leaves:
    """The chance of each leaf as known at `until`; where few deals ended there, drawn to the overall rate."""
    by_days = [followed(panel, days, until=until) for days in HORIZONS]
    columns = pipeline["columns"].transform(table(by_days[0])).astype(np.float32)  # the longest watched come
    trees = [tree.tree_ for tree in pipeline["forest"].estimators_]  # first, for rows stand in order of time
    rates = []
    for tree in trees:
        leaf = tree.apply(columns)
        rates.append([_shares(leaf[: rows.height], rows, tree.node_count) for rows in by_days])
    offsets = np.cumsum([0, *[tree.node_count for tree in trees]])[:-1]
    return Leaves(offsets, np.concatenate(rates, axis=1))


def _shares(leaf: NDArray[np.int64], rows: pl.DataFrame, nodes: int) -> Floats:
    weight, lost = rows["weight"].to_numpy(), rows["lost_within"].to_numpy()
    deals, gone = np.bincount(leaf, weight, nodes), np.bincount(leaf, weight * lost, nodes)
    overall = gone.sum() / deals.sum() if rows.height else 0.0
    return np.asarray((gone + _PRIOR_DEALS * overall) / (deals + _PRIOR_DEALS))


def learn_horizons(
    panel: pl.DataFrame, forest: Pipeline, steps: tuple[Step, Step], *, settings: Settings
) -> tuple[Horizons, list[dict[str, Any]]]:
    """The horizons for a forest trained at the end of the walk, and for each how good its predecessor was.

    panel: of `followed_panel`, in order of time. As with p_loss, the curve that the first step's later rows
    give is judged on the second's, and the second's give the curve that is kept. A horizon longer than a
    step is mended by nothing (the first) or not offered at all (the second).
    """
    first, second = (_later(panel, step) for step in steps)
    curves: list[Calibrator | None] = []
    told = []
    for n, days in enumerate(HORIZONS):
        curve, later = _curve(first[n], settings), second[n]
        curves.append(_curve(later, settings))
        if curves[-1] is None:
            least = settings.scoring.train_minimum
            reason = f"too short a history: fewer than {least} deals lost, or not, within {days} days of it."
            told.append({"days": days, "n": later.height, "reason": reason})
            continue
        raw = later["raw"].to_numpy()
        p = raw if curve is None else curve(raw)
        found = quality(
            later["lost_within"].to_numpy(), later["deal_id"].to_numpy(), raw, p=p, seed=settings.scoring.seed
        )
        told.append({"days": days, "n": later.height, "is_mended": curve is not None, **found.as_dict()})
    return Horizons(leaf_rates(forest, panel, until=steps[1].until), tuple(curves)), told


def _later(panel: pl.DataFrame, step: Step) -> list[pl.DataFrame]:
    """For each horizon, the mornings from the step's moment on that were watched long enough by its end."""
    leaves = leaf_rates(step.pipeline, panel, until=step.moment)
    found = []
    for n, days in enumerate(HORIZONS):
        rows = followed(panel, days, until=step.until).filter(pl.col("as_of") >= instant(step.moment))
        raw = leaves.mean(reached(step.pipeline, rows))[:, n]
        found.append(rows.select("as_of", "deal_id", "stage", "amount", "lost_within", raw=pl.Series(raw)))
    return found


def reached(pipeline: Pipeline, facts: pl.DataFrame) -> NDArray[np.int64]:
    """The leaf that each row reaches in each tree."""
    trees = pipeline["forest"].estimators_
    if facts.is_empty():
        return np.empty((0, len(trees)), dtype=np.int64)
    return np.asarray(pipeline["forest"].apply(pipeline["columns"].transform(table(facts))))


def _curve(rows: pl.DataFrame, settings: Settings) -> Calibrator | None:
    lost = rows["lost_within"].to_numpy()
    deals, gone = rows["deal_id"].n_unique(), rows.filter(pl.col("lost_within") == 1)["deal_id"].n_unique()
    if min(gone, deals - gone) < settings.scoring.train_minimum:
        return None
    return fit_calibrator(rows["raw"].to_numpy(), lost, deals=deals)
