"""The forest: trained on the past, judged on what came later, refused when it has nothing to say.

Training walks forward in time through three forests. The first learns from snapshots before one moment, the
second before a later one, the third from everything. Each forest's probabilities are mended by a curve
fitted on rows later than it saw (`calibration`), and the second is judged on rows later still: that is what
the third, made the same way one step on, may be expected to do. A forest of a moment learns only from
outcomes known by that moment, so no deal is both learned from and judged on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from dealwatch.scoring.calibration import Calibrator, fit_calibrator
from dealwatch.scoring.facts import FACTS
from dealwatch.scoring.panel import known_by
from dealwatch.scoring.quality import Quality, quality
from dealwatch.settings import Scoring, Settings
from dealwatch.warehouse import instant

Floats = NDArray[np.float64]
MODEL_FACTS = tuple(fact for fact in FACTS if fact.in_model)
LATER = 0.3  # share of what is known that a forest is kept from, to mend or to judge it by
_RARE = 0.01  # a category below this share of rows is treated as one of the rare ones
_UNKNOWN = "(unknown)"
_LARGEST = 1e30  # trees count in single precision; beyond its range they refuse


@dataclass(frozen=True)
class Bundle:
    """What is stored and loaded: preprocessing and forest in one pipeline, and the curve to probabilities."""

    pipeline: Pipeline
    calibrator: Calibrator

    @property
    def forest(self) -> RandomForestClassifier:
        return self.pipeline["forest"]

    def leaves(self, facts: pl.DataFrame) -> NDArray[np.int64]:
        """The leaf that each row reaches in each tree."""
        return np.asarray(self.forest.apply(self.pipeline["columns"].transform(table(facts))))

    def raw(self, facts: pl.DataFrame) -> Floats:
        """The forest's share of losing votes, before the curve."""
        return np.asarray(self.pipeline.predict_proba(table(facts))[:, 1])

    def columns_of_fact(self) -> dict[str, NDArray[np.int64]]:
        """Which columns of the forest's input each fact became."""
        places = self.pipeline["columns"].output_indices_
        numbers = [fact.name for fact in MODEL_FACTS if fact.kind != "category"]
        found = {name: np.array([places["numbers"].start + n]) for n, name in enumerate(numbers)}
        for fact in MODEL_FACTS:
            if fact.kind == "category":
                found[fact.name] = np.arange(places[fact.name].start, places[fact.name].stop)
        return found


@dataclass(frozen=True)
class Trained:
    """The outcome of one training: perhaps a bundle, its quality out of time, and the verdict in words."""

    bundle: Bundle | None
    metrics: dict[str, Any]
    usable: bool
    may_alert: bool
    reason: str


def train(panel: pl.DataFrame, as_of: datetime, *, settings: Settings) -> Trained:
    """A forest from the panel (see `panel.training_panel`) and whether it may be used.

    usable: there was enough to train on. may_alert: it also passed the gate, so its scores may be shown.
    Same panel and settings, same bundle to the byte, however many threads.
    """
    panel = panel.sort("as_of", "deal_id")
    learned = known_by(panel, as_of)
    counts = _counts(learned) | _reach(learned)
    knobs = settings.scoring
    if min(counts["n_won"], counts["n_lost"]) < knobs.train_minimum:
        reason = f"too little history: {_closed(counts)}, and training takes {knobs.train_minimum} of each."
        return Trained(None, counts, False, False, reason)
    walked = _walk(panel, as_of, settings=settings)
    if walked is None:
        reason = f"too little history: {_closed(counts)}, too few of them early enough to judge a model on."
        return Trained(None, counts, False, False, reason)
    curve, found = walked
    refusal = _refusal(counts, found, knobs)
    bundle = Bundle(_fit(learned, settings=settings), curve)
    reason = refusal or f"{_auc(found)} on {found.deals:,} later deals."
    return Trained(bundle, counts | found.as_dict(), True, not refusal, reason)


def _walk(panel: pl.DataFrame, as_of: datetime, *, settings: Settings) -> tuple[Calibrator, Quality] | None:
    """The curve for the forest of `as_of`, and the quality of its predecessor, made alike one step earlier.

    None when a step has too little to learn from.
    """
    test_from = _split(panel, as_of)
    calibrate_from = _split(panel, test_from)
    first = _step(panel, calibrate_from, test_from, settings=settings)
    second = _step(panel, test_from, as_of, settings=settings)
    if first is None or second is None:
        return None
    judged = quality(
        second.lost,
        second.deals,
        second.raw,  # ranks as its curve does but for ties; a curve without slope would hide how good it is
        p=first.curve()(second.raw),
        seed=settings.scoring.seed,
    )
    return second.curve(), judged


def _split(panel: pl.DataFrame, until: datetime) -> datetime:
    """The morning that begins the later part of what is known by `until`; `until` itself when nothing is."""
    moments = known_by(panel, until)["as_of"].to_list()
    return moments[int((1 - LATER) * (len(moments) - 1))] if moments else until


@dataclass(frozen=True)
class _Step:
    """What a forest of one moment said of later mornings, and how those ended."""

    raw: Floats
    lost: NDArray[np.int8]
    deals: NDArray[np.object_]

    def curve(self) -> Calibrator:
        return fit_calibrator(self.raw, self.lost, deals=len(set(self.deals)))


def _step(panel: pl.DataFrame, moment: datetime, until: datetime, *, settings: Settings) -> _Step | None:
    """Learn at `moment`, then look at the mornings from there on whose outcomes were known by `until`."""
    learned = known_by(panel, moment)
    later = known_by(panel, until).filter(pl.col("as_of") >= instant(moment))
    if _fewest(learned) < settings.scoring.train_minimum or _fewest(later) == 0:
        return None
    raw = np.asarray(_fit(learned, settings=settings).predict_proba(table(later))[:, 1])
    return _Step(raw, later["lost"].to_numpy(), later["deal_id"].to_numpy())


def _fit(panel: pl.DataFrame, *, settings: Settings) -> Pipeline:
    """One forest. Each tree draws snapshots by weight: one for every other deal at the default setting."""
    knobs = settings.scoring
    categories = [
        (
            fact.name,
            OneHotEncoder(min_frequency=_RARE, handle_unknown="infrequent_if_exist", sparse_output=False),
        )
        for fact in MODEL_FACTS
        if fact.kind == "category"
    ]
    numbers = [fact.name for fact in MODEL_FACTS if fact.kind != "category"]
    columns = ColumnTransformer(
        [("numbers", "passthrough", numbers), *[(name, encoder, [name]) for name, encoder in categories]]
    )
    forest = RandomForestClassifier(
        n_estimators=knobs.trees,
        max_depth=knobs.max_depth,
        min_weight_fraction_leaf=knobs.min_leaf_weight_share,
        max_samples=max(1, round(knobs.max_samples * float(panel["weight"].to_numpy().sum()))),
        random_state=knobs.seed,
        n_jobs=knobs.threads,
    )
    pipeline = Pipeline([("columns", columns), ("forest", forest)])
    pipeline.fit(table(panel), panel["lost"].to_numpy(), forest__sample_weight=panel["weight"].to_numpy())
    forest.set_params(n_jobs=1)  # threads add votes in any order; one thread keeps the last digit
    for tree in forest.estimators_:
        wipe_padding(tree.tree_)
    return pipeline


def wipe_padding(tree: Any) -> None:
    """Zero the unused bytes between a node's fields: they hold what memory held, and would reach the file."""
    state = tree.__getstate__()
    clean = np.zeros(state["nodes"].shape, state["nodes"].dtype)  # zeros_like would fill the fields alone
    for name in clean.dtype.names:
        clean[name] = state["nodes"][name]
    tree.__setstate__(state | {"nodes": clean})


def table(facts: pl.DataFrame) -> pl.DataFrame:
    """The model's facts as the pipeline takes them: numbers with NaN for unknown, categories as words."""
    return facts.select(
        pl.col(fact.name).cast(pl.String).fill_null(_UNKNOWN)
        if fact.kind == "category"
        else pl.col(fact.name).cast(pl.Float64).clip(-_LARGEST, _LARGEST).fill_null(float("nan"))
        for fact in MODEL_FACTS
    )


def _counts(panel: pl.DataFrame) -> dict[str, Any]:
    deals = panel.unique("deal_id")
    lost = int(deals["lost"].sum())
    return {"n_deals": deals.height, "n_won": deals.height - lost, "n_lost": lost, "n_rows": panel.height}


def _reach(panel: pl.DataFrame) -> dict[str, str]:
    """The first and last morning learned from."""
    mornings = panel["as_of"].dt.to_string("iso:strict").to_list()
    return {"first_morning": min(mornings), "last_morning": max(mornings)} if mornings else {}


def _fewest(panel: pl.DataFrame) -> int:
    counts = _counts(panel)
    return int(min(counts["n_won"], counts["n_lost"]))


def _closed(counts: dict[str, Any]) -> str:
    return f"{counts['n_won']} won and {counts['n_lost']} lost deals"


def _auc(found: Quality) -> str:
    return f"AUC {found.auc:.2f} ({found.auc_low:.2f} to {found.auc_high:.2f})"


def _refusal(counts: dict[str, Any], found: Quality, knobs: Scoring) -> str:
    """Why the model may not be used, in one sentence; empty when it may."""
    skill = (
        f"Brier skill {found.brier_skill:.3f} ({found.brier_skill_low:.3f} to {found.brier_skill_high:.3f})"
    )
    if found.auc_low is None or found.auc_low <= knobs.gate_auc_low:
        bound = f"its lower end must pass {knobs.gate_auc_low}"
        return f"no evidence: {_auc(found)} on {found.deals:,} later deals; {bound}."
    if found.brier_skill_low is None or found.brier_skill_low <= 0:
        return (
            f"no evidence: {skill} on {found.deals} later deals, no better than always saying the loss rate."
        )
    if min(counts["n_won"], counts["n_lost"]) < knobs.alert_minimum:
        return f"too little history: {_closed(counts)}, and alerting takes {knobs.alert_minimum} of each."
    return ""
