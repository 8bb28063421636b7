"""Should a model that passed the gate take the champion's place? A fair comparison, and what follows.

Fair means that neither has seen the outcomes it is judged on. The challenger has, so its twin stands in: made
by its recipe from what was known when the champion was trained. Both are judged on mornings since then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from dealwatch.scoring.forest import Bundle, Floats
from dealwatch.scoring.panel import known_by
from dealwatch.scoring.quality import Difference, Quality, difference, quality
from dealwatch.scoring.registry import Model
from dealwatch.scoring.score import score
from dealwatch.scoring.trial import bundle_at
from dealwatch.settings import Settings
from dealwatch.warehouse import instant

# A challenger is as good when the bad end of the 95% interval of its difference stays within these.
AUC_MARGIN, BRIER_MARGIN = 0.01, 0.005

Outcome = Literal["better", "as good", "not as good", "unknown"]
Advice = Literal["promote", "ask", "keep"]


@dataclass(frozen=True)
class Comparison:
    """The challenger's twin minus the champion, on the same rows of deals decided since `since`."""

    since: datetime
    won: int
    lost: int
    difference: Difference
    outcome: Outcome
    ours: Quality | None = None  # of the twin
    theirs: Quality | None = None  # of the champion

    def sentence(self) -> str:
        """The outcome with its numbers, to be read after the champion's name."""
        on = f"on {self.won:,} won and {self.lost:,} lost deals since {self.since:%Y-%m-%d}"
        found = self.difference
        if found.auc is None or found.brier is None:
            return f"too few deals to compare: {on}"
        return (
            f"{self.outcome} {on}: AUC {found.auc:+.3f} ({found.auc_low:+.3f} to {found.auc_high:+.3f}), "
            f"Brier {found.brier:+.4f} ({found.brier_low:+.4f} to {found.brier_high:+.4f})"
        )


def compare(
    panel: pl.DataFrame,
    champion: Model,
    as_of: datetime,
    *,
    earlier: Callable[[], pl.DataFrame],
    settings: Settings,
) -> Comparison:
    """How the recipe of today would have done against the champion, both from the champion's moment on.

    panel: as of `as_of`, the challenger's own. earlier: makes the panel as of the champion's moment, for the
    recipe to learn from; it looks at other mornings than the later one. Intervals resample whole deals, the
    same for both models.
    """
    since = champion.trained_as_of
    rows = known_by(panel, as_of).filter(pl.col("as_of") >= instant(since)).sort("as_of", "deal_id")
    deals = rows.unique("deal_id")
    lost = int(deals["lost"].sum())
    counts = since, deals.height - lost, lost
    if min(counts[1:]) < settings.scoring.compare_minimum:
        return Comparison(*counts, Difference(), "unknown")
    twin = bundle_at(earlier(), since, settings=settings)
    if twin is None:
        return Comparison(*counts, Difference(), "unknown")
    lost_later, deal, seed = rows["lost"].to_numpy(), rows["deal_id"].to_numpy(), settings.scoring.seed
    ours, theirs = _said(twin, rows), _said(champion.bundle, rows)
    found = difference(lost_later, deal, ours, theirs, seed=seed)
    each = (quality(lost_later, deal, raw, p=p, seed=seed) for raw, p in (ours, theirs))
    return Comparison(*counts, found, outcome_of(found), *each)


def outcome_of(found: Difference) -> Outcome:
    """better: as good, and AUC or Brier is beyond doubt ahead. None in the difference is never good."""
    auc_low, brier_high = found.auc_low, found.brier_high
    if auc_low is None or brier_high is None:
        return "unknown"
    if auc_low < -AUC_MARGIN or brier_high > BRIER_MARGIN:
        return "not as good"
    return "better" if auc_low > 0 or brier_high < 0 else "as good"


def advice(
    champion: Model | None, comparison: Comparison | None, as_of: datetime, *, settings: Settings
) -> tuple[Advice, str]:
    """What should become of a challenger that passed the gate, and why, in a sentence.

    promote: it should serve. ask: only a person may say so, as when nobody can say which is better. keep: the
    champion stays. Without a champion that can be loaded the gate is enough.
    """
    if champion is None or comparison is None:
        return "promote", "no model serves, and it passed the gate"
    age = as_of - champion.trained_as_of
    told = (
        f"compared with the champion {champion.version}, {age.days} days old, it is {comparison.sentence()}"
    )
    if comparison.outcome == "unknown":
        told = (
            f"the champion {champion.version} is {age.days} days old, and there are {comparison.sentence()}"
        )
    if comparison.outcome == "better":
        return "promote", told
    if age <= timedelta(days=settings.scoring.champion_days):
        return "keep", told
    return ("promote" if comparison.outcome == "as good" else "ask"), told


def band_changes(
    facts: pl.DataFrame,
    rule_points: pl.DataFrame,
    champion: Model | None,
    challenger: Model,
    *,
    settings: Settings,
) -> pl.DataFrame:
    """Each open deal of a morning under both models, sorted by deal_id.

    deal_id, then score, band and p_loss of the champion (of rules alone, without one) with `_before` and
    of the challenger with `_after`. facts and rule_points: as `score` takes them, of one morning.
    """
    said = ["score", "band", "p_loss"]
    before, after = (
        score(facts, model, rule_points, settings=settings).select("deal_id", *said)
        for model in (champion, challenger)
    )
    return (
        before.join(after, on="deal_id", suffix="_after", validate="1:1")
        .rename({name: f"{name}_before" for name in said})
        .sort("deal_id")
    )


def share_moved(changes: pl.DataFrame) -> float:
    """The share of open deals that change band; 0 when none is open."""
    moved = changes.filter(pl.col("band_before") != pl.col("band_after")).height
    return moved / changes.height if changes.height else 0.0


def _said(bundle: Bundle, rows: pl.DataFrame) -> tuple[Floats, Floats]:
    return bundle.raw(rows), bundle.p_loss(rows)
