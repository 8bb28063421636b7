"""The trial: trained on the past, judged on what came later, refused when it has nothing to say.

The forest of a moment learns only from outcomes known by that moment. What it says is mended by a curve
(`calibration`) fitted on deals that its like did not see: forests grown on two thirds of the deals speak of
the last third. A predecessor, made the same way at an earlier moment, curve included, is judged on mornings
later than anything it saw: that is what the forest of now may be expected to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.knobs import Scoring
from dealwatch.scoring.artefacts import packed
from dealwatch.scoring.calibration import Calibrator, fit_calibrator, with_stages
from dealwatch.scoring.facts import IDENTITY
from dealwatch.scoring.folds import Folds, grow_folds
from dealwatch.scoring.forest import MODEL_FACTS, Bundle, fit, votes
from dealwatch.scoring.horizons import judge_horizons, learn_horizons, offered
from dealwatch.scoring.judgement import LEAST, by_slices
from dealwatch.scoring.lots import Draw
from dealwatch.scoring.panel import known_by
from dealwatch.scoring.quality import Quality, calibration, quality
from dealwatch.scoring.rivals import rivals
from dealwatch.settings import Settings
from dealwatch.warehouse import instant

Floats = NDArray[np.float64]
LATER = 0.3  # share of what is known that a forest is kept from, to judge it by


@dataclass(frozen=True)
class Trained:
    """The outcome of one training: perhaps a bundle, its quality out of time, and the verdict in words."""

    bundle: Bundle | None
    metrics: dict[str, Any]
    usable: bool
    may_alert: bool
    reason: str
    judged: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)  # rows it was judged on

    @cached_property
    def content(self) -> bytes:
        """The bundle as it is stored, packed once: it takes as long as a few trees. Empty without one."""
        return packed(self.bundle)


def train(panel: pl.DataFrame, as_of: datetime, *, settings: Settings, draw: Draw | None = None) -> Trained:
    """A forest from the panel (see `panel.followed_panel`) and whether it may be used.

    draw: how many deals the panel has, of how many; without it, all there were.
    usable: there was enough to train on. may_alert: it also passed the gate, so its scores may be shown.
    Same panel and settings, same bundle to the byte, however many threads.
    """
    panel = _in_order(_without_names(panel, settings))
    learned = known_by(panel, as_of)
    counts = _counts(learned) | _reach(learned) | _sample(draw)
    knobs = settings.scoring
    if min(counts["n_won"], counts["n_lost"]) < knobs.train_minimum:
        reason = f"too little history: {_closed(counts)}, and training takes {knobs.train_minimum} of each."
        return Trained(None, counts, False, False, reason)
    since = _split(learned)
    before = bundle_at(panel, since, settings=settings)
    later = learned.filter(pl.col("as_of") >= instant(since))
    if before is None or _fewest(later) < LEAST:
        reason = f"too little history: {_closed(counts)}, too few of them early enough to judge a model on."
        return Trained(None, counts, False, False, reason)
    judged = _judged(before, later)
    found = quality_of(judged, settings=settings)
    told = judge_horizons(before, panel, since, as_of, settings=settings)
    counts |= {**by_slices(judged, settings=settings), "horizons": told}
    counts["rivals"] = rivals(panel, judged, since, settings=settings)
    refusal = _refusal(counts, found, knobs)
    reason = refusal or f"{_auc(found)} on {found.deals:,} later deals."
    bundle = _made(panel, learned, as_of, settings=settings, told=told)
    return Trained(bundle, counts | found.as_dict(), True, not refusal, reason, judged)


def bundle_at(panel: pl.DataFrame, moment: datetime, *, settings: Settings) -> Bundle | None:
    """What `train` would have made at an earlier moment, unjudged; None when there was too little.

    panel: in order of time. Nothing that became known after the moment enters.
    """
    panel = _without_names(panel, settings)
    learned = known_by(panel, moment)
    if _fewest(learned) < settings.scoring.train_minimum:
        return None
    return _made(panel, learned, moment, settings=settings)


def _made(
    panel: pl.DataFrame,
    learned: pl.DataFrame,
    moment: datetime,
    *,
    settings: Settings,
    told: Sequence[dict[str, Any]] | None = None,
) -> Bundle:
    """Forest, curve and horizons; with `told`, only the horizons that were judged."""
    forest = fit(learned, settings=settings)
    before = panel.select("as_of", "deal_id").filter(pl.col("as_of") < instant(moment))
    folds = grow_folds(before, learned, settings=settings)
    horizons = learn_horizons(panel, moment, forest, folds, settings=settings)
    return Bundle(forest, curve_of(learned, folds), offered(horizons, told) if told else horizons)


def curve_of(learned: pl.DataFrame, folds: Folds) -> Calibrator:
    """The curve for a forest of these rows, from what its like says of deals that it did not see."""
    raw = np.empty(learned.height)
    for forest, unseen in folds.parts(learned):
        raw[unseen] = votes(forest, learned.filter(unseen))
    curve = fit_calibrator(raw, learned["lost"].to_numpy(), deals=learned["deal_id"].n_unique())
    return with_stages(curve, raw, learned)


def _judged(before: Bundle, later: pl.DataFrame) -> pl.DataFrame:
    """What the predecessor says of later mornings: as_of, deal_id, stage, amount, lost, raw, p_loss."""
    raw = before.raw(later)
    return later.select(
        "as_of",
        "deal_id",
        "stage",
        "amount",
        "lost",
        raw=pl.Series(raw),
        p_loss=pl.Series(before.p_loss(later)),
    )


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


def _without_names(panel: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The panel without what no model asks: a quarter of each of its many copies."""
    unasked = set(IDENTITY) - set(settings.pipeline.segment_by) - {fact.name for fact in MODEL_FACTS}
    return panel.drop(*unasked, strict=False)


def _in_order(panel: pl.DataFrame) -> pl.DataFrame:
    """By as_of and deal_id; a panel that is so already is not copied."""
    keys = panel.select("as_of", "deal_id")
    return panel if keys.equals(keys.sort("as_of", "deal_id")) else panel.sort("as_of", "deal_id")


def _split(learned: pl.DataFrame) -> datetime:
    """The morning that begins the later part of what is known; at least one row, in order of time."""
    moments = learned["as_of"].to_list()
    return moments[int((1 - LATER) * (len(moments) - 1))]  # type: ignore[no-any-return]


def _counts(panel: pl.DataFrame) -> dict[str, Any]:
    deals = panel.unique("deal_id")
    lost = int(deals["lost"].sum())
    return {"n_deals": deals.height, "n_won": deals.height - lost, "n_lost": lost, "n_rows": panel.height}


def _reach(panel: pl.DataFrame) -> dict[str, str]:
    """The first and last morning learned from."""
    mornings = panel["as_of"].dt.to_string("iso:strict").to_list()
    return {"first_morning": min(mornings), "last_morning": max(mornings)} if mornings else {}


def _sample(draw: Draw | None) -> dict[str, int]:
    """How many deals were drawn for the panel, of how many; nothing where all are in it."""
    return {"drawn_deals": draw.deals, "drawn_of": draw.of} if draw and draw.is_sample else {}


def _fewest(panel: pl.DataFrame) -> int:
    counts = _counts(panel)
    return int(min(counts["n_won"], counts["n_lost"]))


def _closed(counts: dict[str, Any]) -> str:
    return f"{counts['n_won']} won and {counts['n_lost']} lost deals"


def _auc(found: Quality) -> str:
    return f"AUC {found.auc:.2f} ({found.auc_low:.2f} to {found.auc_high:.2f})"


def _calibration(found: Quality) -> str:
    slope = bias = "unknown"
    if found.slope is not None:
        slope = f"{found.slope:.2f} ({found.slope_low:.2f} to {found.slope_high:.2f})"
    if found.bias is not None:
        bias = f"{found.bias:+.2f} ({found.bias_low:+.2f} to {found.bias_high:+.2f})"
    return f"the slope, which should be 1, is {slope}, and more were lost than was said by {bias}"


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
    fit_of = calibration(found, near_slope=knobs.gate_slope_off, near_bias=knobs.gate_bias_off)
    if fit_of.is_off:
        return f"not calibrated: {_calibration(found)} on {found.deals:,} later deals."
    if min(counts["n_won"], counts["n_lost"]) < knobs.alert_minimum:
        return f"too little history: {_closed(counts)}, and alerting takes {knobs.alert_minimum} of each."
    return ""
