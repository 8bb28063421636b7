"""The trial: trained on the past, judged on what came later, refused when it has nothing to say.

The forest of a moment learns only from outcomes known by that moment. What it says is mended by a curve
(`calibration`) fitted on deals that its like did not see: forests grown on two thirds of the deals speak of
the last third. A predecessor, made the same way at an earlier moment, curve included, is judged on mornings
later than anything it saw: that is what the forest of now may be expected to do.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.scoring.calibration import Calibrator, fit_calibrator
from dealwatch.scoring.forest import Bundle, fit, table
from dealwatch.scoring.horizons import Step, learn_horizons
from dealwatch.scoring.judgement import by_slices
from dealwatch.scoring.panel import known_by
from dealwatch.scoring.quality import Quality, quality
from dealwatch.scoring.rivals import rivals
from dealwatch.settings import Scoring, Settings
from dealwatch.warehouse import instant

Floats = NDArray[np.float64]
LATER = 0.3  # share of what is known that a forest is kept from, to judge it by
FOLDS = 3  # parts of the deals; each is spoken of by a forest grown on the others


@dataclass(frozen=True)
class Trained:
    """The outcome of one training: perhaps a bundle, its quality out of time, and the verdict in words."""

    bundle: Bundle | None
    metrics: dict[str, Any]
    usable: bool
    may_alert: bool
    reason: str
    judged: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)  # rows it was judged on


def train(panel: pl.DataFrame, as_of: datetime, *, settings: Settings) -> Trained:
    """A forest from the panel (see `panel.followed_panel`) and whether it may be used.

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
    judged, steps = walked
    found = quality_of(judged, settings=settings)
    counts["rivals"] = rivals(panel, judged, _split(panel, as_of), settings=settings)
    refusal = _refusal(counts, found, knobs)
    forest = fit(learned, settings=settings)
    horizons, told = learn_horizons(panel, forest, steps, settings=settings)
    counts |= {**by_slices(judged, settings=settings), "horizons": told}
    bundle = Bundle(forest, curve_of(learned, settings=settings), horizons)
    reason = refusal or f"{_auc(found)} on {found.deals:,} later deals."
    return Trained(bundle, counts | found.as_dict(), True, not refusal, reason, judged)


def bundle_at(panel: pl.DataFrame, moment: datetime, *, settings: Settings) -> Bundle | None:
    """What `train` would have made at an earlier moment, unjudged; None when there was too little."""
    learned = known_by(panel, moment)
    if _fewest(learned) < settings.scoring.train_minimum:
        return None
    return Bundle(fit(learned, settings=settings), curve_of(learned, settings=settings))


def curve_of(learned: pl.DataFrame, *, settings: Settings) -> Calibrator:
    """The curve for a forest of these rows: what its like says of deals it did not see, and how they ended.

    A curve of an earlier forest would not do: the more history a forest has seen, the surer it is. Deals go
    to folds by chance, all rows of a deal together.
    """
    deals = learned["deal_id"].unique().sort()
    folds = np.random.default_rng(settings.scoring.seed).permutation(len(deals)) % FOLDS
    fold = learned.select("deal_id").join(
        pl.DataFrame({"deal_id": deals, "fold": folds}), on="deal_id", how="left", maintain_order="left"
    )["fold"]
    raw = np.empty(learned.height)
    fewer = settings.model_copy(update={"scoring": _fewer_trees(settings.scoring)})
    for n in range(FOLDS):
        own, others = learned.filter(fold == n), learned.filter(fold != n)
        raw[(fold == n).to_numpy()] = fit(others, settings=fewer).predict_proba(table(own))[:, 1]
    return fit_calibrator(raw, learned["lost"].to_numpy(), deals=len(deals))


def _fewer_trees(knobs: Scoring) -> Scoring:
    """A hundred trees at most: a curve wants the trend of the votes, not each digit, and in less time."""
    return knobs.model_copy(update={"trees": min(knobs.trees, 100)})


def _walk(
    panel: pl.DataFrame, as_of: datetime, *, settings: Settings
) -> tuple[pl.DataFrame, tuple[Step, Step]] | None:
    """What the predecessor of the forest of `as_of` said of later mornings, and two steps for the horizons.

    The rows are as_of, deal_id, stage, amount, lost, raw, p_loss. None when a step has too little to learn
    from.
    """
    test_from = _split(panel, as_of)
    early = _step(panel, _split(panel, test_from), test_from, settings=settings)
    late = _step(panel, test_from, as_of, settings=settings)
    if early is None or late is None:
        return None
    later = known_by(panel, as_of).filter(pl.col("as_of") >= instant(test_from))
    raw = np.asarray(late.pipeline.predict_proba(table(later))[:, 1])
    curve = curve_of(known_by(panel, test_from), settings=settings)
    judged = later.select("as_of", "deal_id", "stage", "amount", "lost")
    return judged.with_columns(raw=pl.Series(raw), p_loss=pl.Series(curve(raw))), (early, late)


def quality_of(judged: pl.DataFrame, *, settings: Settings) -> Quality:
    """Ranks by the raw share: it ranks as its curve does but for ties, which would hide how good it is."""
    return quality(
        judged["lost"].to_numpy(),
        judged["deal_id"].to_numpy(),
        judged["raw"].to_numpy(),
        p=judged["p_loss"].to_numpy(),
        seed=settings.scoring.seed,
        mornings=judged["as_of"].to_numpy(),
    )


def _split(panel: pl.DataFrame, until: datetime) -> datetime:
    """The morning that begins the later part of what is known by `until`; `until` itself when nothing is."""
    moments = known_by(panel, until)["as_of"].to_list()
    return moments[int((1 - LATER) * (len(moments) - 1))] if moments else until


def _step(panel: pl.DataFrame, moment: datetime, until: datetime, *, settings: Settings) -> Step | None:
    """Learn at `moment`, for mornings from there on whose outcomes were known by `until`."""
    learned = known_by(panel, moment)
    later = known_by(panel, until).filter(pl.col("as_of") >= instant(moment))
    if _fewest(learned) < settings.scoring.train_minimum or _fewest(later) == 0:
        return None
    return Step(fit(learned, settings=settings), moment, until)


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
    if not _is_calibrated(found, knobs):
        slope = "unknown"
        if found.slope is not None:
            slope = f"{found.slope:.2f} ({found.slope_low:.2f} to {found.slope_high:.2f})"
        return f"not calibrated: the slope is {slope} on {found.deals:,} later deals, which is not 1."
    if min(counts["n_won"], counts["n_lost"]) < knobs.alert_minimum:
        return f"too little history: {_closed(counts)}, and alerting takes {knobs.alert_minimum} of each."
    return ""


def _is_calibrated(found: Quality, knobs: Scoring) -> bool:
    """The slope's interval covers 1, or the slope is near it: with many deals an interval is never wide."""
    if found.slope is None or found.slope_low is None or found.slope_high is None:
        return False
    near = 1 + knobs.gate_slope_off
    return found.slope_low <= 1 <= found.slope_high or 1 / near <= found.slope <= near
