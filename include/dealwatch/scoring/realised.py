"""What became of past scores, measured as the trial measured the model: outcomes against what was promised.

Scores of one morning a week are judged by the outcomes known by a moment. Of the latest mornings only deals
that closed at once have an outcome, and they are not like the others; so only mornings count that a training
would use by then (`panel.known_by`). The trial's numbers come from the same estimator, so the two compare.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from dealwatch.history.ledger import Ledger
from dealwatch.scoring.judgement import parted
from dealwatch.scoring.panel import known_by, outcomes_at, panel_moments
from dealwatch.scoring.quality import quality
from dealwatch.scoring.stability import CHANCE
from dealwatch.settings import Settings
from dealwatch.warehouse import instant

LEAST = 40  # won and lost deals; with fewer an interval says nothing
LEAST_DAYS = 30  # between a score and the moment it is judged
OVERALL = "overall"
# Differences too small to retrain for. Without them an unlucky trial, or a year unlike the last, raises an
# alarm whenever outcomes are many.
MARGINS = {"auc": 0.02, "brier_skill": 0.05, "slope": 0.3, "bias": 0.05}
RIGHT = {"slope": 1.0, "bias": 0.0}  # a trial that was far off promises no better, and nearer is not worse
_NORMAL = NormalDist()
_WIDTH = 2 * _NORMAL.inv_cdf(0.975)  # of a 95% interval, in standard errors


@dataclass(frozen=True)
class Realised:
    """One number of what came true, beside what the trial promised; p tells how easily chance does this.

    kind: auc, brier, brier_skill, slope, bias (share lost less mean p_loss). subject: overall or a stage.
    expected, threshold and p are None where the trial promised nothing to compare with.
    """

    kind: str
    subject: str
    value: float
    low: float | None
    high: float | None
    deals: int
    expected: float | None = None
    threshold: float | None = None
    p: float | None = None


def judged_at(ledger: Ledger, scored: pl.DataFrame, moment: datetime, *, settings: Settings) -> pl.DataFrame:
    """The rows of `scored` (as_of, deal_id, ...) to judge by what is known at `moment`, with `lost`."""
    until = followed_until(ledger, moment, settings=settings)
    if until is None:
        return scored.clear().with_columns(lost=pl.lit(None, dtype=pl.Int8))
    outcomes = outcomes_at(ledger, moment)
    return (
        scored.filter(pl.col("as_of") <= instant(until))
        .join(outcomes.select("deal_id", "lost", "closed_at"), on="deal_id", how="inner")
        .filter(pl.col("closed_at") > pl.col("as_of"))
        .drop("closed_at")
        .sort("as_of", "deal_id")
    )


def followed_until(ledger: Ledger, moment: datetime, *, settings: Settings) -> datetime | None:
    """The last moment that may be judged by what is known at `moment`; None when the history is too short.

    Of later mornings the deals that have an outcome by then are those that ended fast.
    """
    waiting = _waiting(ledger, outcomes_at(ledger, moment), moment, settings=settings)
    last = known_by(waiting, moment)["as_of"].max()
    return min(last, moment - timedelta(days=LEAST_DAYS)) if isinstance(last, datetime) else None


def realised(
    rows: pl.DataFrame, trial: Mapping[str, Any] | None, *, settings: Settings, only: str | None = None
) -> list[Realised]:
    """What came true of the rows (deal_id, stage, lost, p_loss), overall and by stage.

    trial: the metrics that the model was promoted on; None when the rows come from several models, and then
    nothing is compared. only: this subject alone. Subjects with fewer than LEAST won or lost are left out.
    """
    found: list[Realised] = []
    for subject, part in [(OVERALL, rows), *parted(rows, "stage")]:
        ends = part.unique("deal_id")["lost"]
        if only in (None, subject) and min(ends.sum(), len(ends) - ends.sum()) >= LEAST:
            found += _of(subject, part, _promised(trial, subject), settings=settings)
    return found


def _waiting(ledger: Ledger, outcomes: pl.DataFrame, moment: datetime, *, settings: Settings) -> pl.DataFrame:
    """The training panel's rows without their facts: which deals stood open on which mornings until when."""
    first = ledger.known_at(moment).changes.group_by("deal_id").agg(known_from=pl.col("known_at").min())
    closed = outcomes.join(first, on="deal_id", how="inner").sort("deal_id")
    parts = [
        closed.filter((pl.col("known_from") <= instant(m)) & (pl.col("closed_at") > instant(m))).with_columns(
            as_of=instant(m)
        )
        for m in panel_moments(ledger, moment, settings=settings)
    ]
    return pl.concat(parts) if parts else closed.clear().with_columns(as_of=instant(moment))


def _promised(trial: Mapping[str, Any] | None, subject: str) -> Mapping[str, Any] | None:
    """The trial's numbers for a subject; nothing where the trial had none."""
    if trial is None or subject == OVERALL:
        return trial
    rows = [row for row in trial.get("by_stage") or [] if row.get("name") == subject]
    return rows[0] if rows else {}


def _of(
    subject: str, rows: pl.DataFrame, trial: Mapping[str, Any] | None, *, settings: Settings
) -> Iterator[Realised]:
    lost, deals, p = (rows[name].to_numpy() for name in ("lost", "deal_id", "p_loss"))
    found = quality(lost, deals, p, p=p, seed=settings.scoring.seed).as_dict()
    for kind in ("auc", "brier_skill", "slope"):
        value, low, high = (found.get(f"{kind}{end}") for end in ("", "_low", "_high"))
        expected, lowest, highest = ((trial or {}).get(f"{kind}{end}") for end in ("", "_low", "_high"))
        if value is None or low is None or high is None:
            continue
        one = Realised(kind, subject, value, low, high, found["deals"])
        if expected is not None and lowest is not None and highest is not None:
            one = _judged(one, expected, float(np.hypot(high - low, highest - lowest)) / _WIDTH)
        yield one
    if found["brier"] is not None:
        ends = found.get("brier_low"), found.get("brier_high")
        yield Realised("brier", subject, found["brier"], *ends, found["deals"])
    yield _bias(subject, rows, trial)


def _bias(subject: str, rows: pl.DataFrame, trial: Mapping[str, Any] | None) -> Realised:
    """Share lost less mean p_loss, beside the trial's own, which its reliability bins tell."""
    of_row = rows.select("deal_id", missed=pl.col("lost") - pl.col("p_loss"))
    by_deal = of_row.group_by("deal_id").agg(n=pl.len(), missed=pl.col("missed").sum()).sort("deal_id")
    n, missed = by_deal["n"].to_numpy().astype(np.float64), by_deal["missed"].to_numpy()
    value = float(missed.sum() / n.sum())
    error = float(np.sqrt(((missed - value * n) ** 2).sum()) / n.sum())
    half = error * _WIDTH / 2
    one = Realised("bias", subject, value, value - half, value + half, len(n))
    told = trial or {}
    bins, rate, deals = told.get("reliability"), told.get("loss_rate"), told.get("deals")
    if not bins or rate is None or not deals:
        return one
    expected = sum(b["n"] * (b["rate"] - b["p"]) for b in bins) / sum(b["n"] for b in bins)
    return _judged(one, expected, float(np.hypot(error, np.sqrt(rate * (1 - rate) / deals))))


def _judged(one: Realised, expected: float, error: float) -> Realised:
    """Against what was expected: worse is lower for AUC and skill, farther from RIGHT for slope and bias.

    A difference within MARGINS is not worth a retrain, so chance is asked about what lies beyond it.
    """
    if error == 0:
        return replace(one, expected=expected)
    margin, right = MARGINS[one.kind], RIGHT.get(one.kind)
    away = margin + _NORMAL.inv_cdf(1 - CHANCE) * error
    if right is None:
        short, threshold = expected - one.value, expected - away
    else:
        short, away = abs(one.value - right) - abs(expected - right), abs(expected - right) + away
        threshold = right + (away if one.value > right else -away)
    return replace(one, expected=expected, threshold=threshold, p=_NORMAL.cdf((margin - short) / error))
