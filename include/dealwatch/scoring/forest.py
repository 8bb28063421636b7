"""The forest: facts go in as the ledger tells them, a share of losing votes and a probability come out.

Categories, unknown values and rare levels are handled inside the pipeline that is saved, so a loaded model
needs nothing but facts. `trial` says when a forest may be used.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from dealwatch.scoring.calibration import Calibrator
from dealwatch.scoring.facts import FACTS
from dealwatch.settings import Settings

if TYPE_CHECKING:
    from dealwatch.scoring.horizons import Horizons

Floats = NDArray[np.float64]
MODEL_FACTS = tuple(fact for fact in FACTS if fact.in_model)
_RARE = 0.01  # a category below this share of rows is treated as one of the rare ones
UNKNOWN = "(unknown)"
_TRIED = 0.3  # share of columns a split may choose from; the root of their number starves on idle columns
_AT_ONCE = 100_000  # rows made ready at a time
_LARGEST = 1e30  # trees count in single precision; beyond its range they refuse


@dataclass(frozen=True)
class Bundle:
    """What is stored and loaded: preprocessing and forest in one pipeline, and the curve to probabilities.

    With the horizons, chances of losing a deal within so many days; see there.
    """

    pipeline: Pipeline
    calibrator: Calibrator
    horizons: "Horizons | None" = None

    @property
    def forest(self) -> RandomForestClassifier:
        return self.pipeline["forest"]

    def inputs(self, facts: pl.DataFrame) -> NDArray[np.float32]:
        """Rows x columns as the trees compare them: single precision, NaN for unknown."""
        return inputs(self.pipeline, facts)

    def leaves(self, facts: pl.DataFrame) -> NDArray[np.int64]:
        """The leaf that each row reaches in each tree."""
        return leaves(self.pipeline, self.inputs(facts))

    def raw(self, facts: pl.DataFrame) -> Floats:
        """The forest's share of losing votes, before the curve."""
        return votes(self.pipeline, facts)

    def p_loss(self, facts: pl.DataFrame) -> Floats:
        """The probability of a loss in the end: the share of votes through the curve, shifted by stage."""
        return self.calibrator(self.raw(facts), self.calibrator.shifts(facts["stage"]))

    def columns_of_fact(self) -> dict[str, NDArray[np.int64]]:
        """Which columns of the forest's input each fact became."""
        places = self.pipeline["columns"].output_indices_
        numbers = [fact.name for fact in MODEL_FACTS if fact.kind != "category"]
        found = {name: np.array([places["numbers"].start + n]) for n, name in enumerate(numbers)}
        for fact in MODEL_FACTS:
            if fact.kind == "category":
                found[fact.name] = np.arange(places[fact.name].start, places[fact.name].stop)
        return found


def fit(panel: pl.DataFrame, *, settings: Settings) -> Pipeline:
    """One forest. Each tree draws snapshots by their weights, about one a deal at the default setting."""
    knobs, weight = settings.scoring, teaching_weights(panel)
    forest = RandomForestClassifier(
        n_estimators=knobs.trees,
        max_depth=knobs.max_depth,
        min_weight_fraction_leaf=knobs.min_leaf_weight_share,
        max_features=_TRIED,
        max_samples=max(1, round(knobs.max_samples * float(weight.sum()))),
        random_state=knobs.seed,
        n_jobs=knobs.threads,
    )
    encoder = columns()
    # Trees count in single precision anyway; twice as much need not be held while they grow.
    known = encoder.fit_transform(table(panel, of=pl.Float32)).astype(np.float32)
    forest.fit(known, panel["lost"].to_numpy(), sample_weight=weight)
    forest.set_params(n_jobs=1)  # threads add votes in any order; one thread keeps the last digit
    for tree in forest.estimators_:
        wipe_padding(tree.tree_)
    return Pipeline([("columns", encoder), ("forest", forest)])


def inputs(pipeline: Pipeline, facts: pl.DataFrame) -> NDArray[np.float32]:
    """Rows x columns as the trees compare them: single precision, NaN for unknown."""
    asked = np.empty((facts.height, pipeline["forest"].n_features_in_), dtype=np.float32)
    for start in range(0, facts.height, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        asked[part] = pipeline["columns"].transform(table(facts[part]))
    return asked


def votes(pipeline: Pipeline, facts: pl.DataFrame) -> Floats:
    """The share of losing votes for each row; at least one row."""
    return np.asarray(pipeline["forest"].predict_proba(inputs(pipeline, facts))[:, 1])


def leaves(pipeline: Pipeline, asked: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows x trees: the leaf that each row of `inputs` reaches in each tree; of no rows, none."""
    return np.column_stack([tree.tree_.apply(asked) for tree in pipeline["forest"].estimators_])


def teaching_weights(panel: pl.DataFrame) -> Floats:
    """How much each row of a panel teaches: one over the root of its deal's snapshots.

    A deal's snapshots agree with each other, so ten tell less than ten deals; they tell more than one.
    """
    return np.asarray(np.sqrt(panel["weight"].to_numpy()), dtype=np.float64)


def columns() -> ColumnTransformer:
    """Facts to numbers: unknown stays NaN, a category becomes one column per level that is not rare."""
    categories = [
        (
            fact.name,
            OneHotEncoder(min_frequency=_RARE, handle_unknown="infrequent_if_exist", sparse_output=False),
        )
        for fact in MODEL_FACTS
        if fact.kind == "category"
    ]
    numbers = [fact.name for fact in MODEL_FACTS if fact.kind != "category"]
    return ColumnTransformer(
        [("numbers", "passthrough", numbers), *[(name, encoder, [name]) for name, encoder in categories]]
    )


def wipe_padding(tree: Any) -> None:
    """Zero the unused bytes between a node's fields: they hold what memory held, and would reach the file."""
    state = tree.__getstate__()
    clean = np.zeros(state["nodes"].shape, state["nodes"].dtype)  # zeros_like would fill the fields alone
    for name in clean.dtype.names:
        clean[name] = state["nodes"][name]
    tree.__setstate__(state | {"nodes": clean})


def table(facts: pl.DataFrame, *, of: type[pl.DataType] = pl.Float64) -> pl.DataFrame:
    """The model's facts as the pipeline takes them: numbers with NaN for unknown, categories as words."""
    return facts.select(
        pl.col(fact.name).cast(pl.String).fill_null(UNKNOWN)
        if fact.kind == "category"
        else pl.col(fact.name).cast(pl.Float64).clip(-_LARGEST, _LARGEST).fill_null(float("nan")).cast(of)
        for fact in MODEL_FACTS
    )
