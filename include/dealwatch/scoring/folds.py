"""Forests for the curves: grown on two thirds of the deals, each speaks of the third that it did not see.

A curve must fit the forest that it is put on. One of an earlier moment would not do: the more history a
forest has seen, the surer it is. What a forest says of its own deals would not do either: it knows how they
ended.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from dealwatch.knobs import Scoring
from dealwatch.scoring.forest import fit
from dealwatch.settings import Settings

FOLDS = 3  # parts of the deals; each is spoken of by a forest grown on the others
_TREES = 50


@dataclass(frozen=True)
class Folds:
    """The part of each deal (deal_id, fold) and, for each part, a forest grown on the others."""

    deals: pl.DataFrame
    forests: tuple[Pipeline, ...]

    def parts(self, rows: pl.DataFrame) -> Iterator[tuple[Pipeline, NDArray[np.bool_]]]:
        """Each forest with a mark on those of `rows` that it may speak of; every row has one mark."""
        fold = _fold(rows, self.deals)
        for n, forest in enumerate(self.forests):
            yield forest, fold == n


def grow_folds(rows: pl.DataFrame, learned: pl.DataFrame, *, settings: Settings) -> Folds:
    """Part the deals of `rows` by chance, all rows of a deal together, and grow the forests on `learned`.

    learned: rows of those deals with an outcome, as `panel.known_by` gives them.
    """
    names = rows["deal_id"].unique().sort()
    parted = np.random.default_rng(settings.scoring.seed).permutation(len(names)) % FOLDS
    deals = pl.DataFrame({"deal_id": names, "fold": parted})
    fold, fewer = _fold(learned, deals), settings.model_copy(update={"scoring": _fewer(settings.scoring)})
    return Folds(deals, tuple(fit(learned.filter(fold != n), settings=fewer) for n in range(FOLDS)))


def _fold(rows: pl.DataFrame, deals: pl.DataFrame) -> NDArray[np.int64]:
    found = rows.select("deal_id").join(deals, on="deal_id", how="left", maintain_order="left")
    return found["fold"].to_numpy()


def _fewer(knobs: Scoring) -> Scoring:
    """Fifty trees at most: a curve wants the trend of the votes, not each digit, and in less time."""
    return knobs.model_copy(update={"trees": min(knobs.trees, _TREES)})
