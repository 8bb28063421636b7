"""From the forest's raw share of losing votes to a probability that can be believed.

Fitted on rows that the forest speaking of them had not learned from, which its callers see to: a straight
line in log-odds while outcomes are few; once there are enough to support one, the mean of that line and a
rising step curve (isotonic). The mean keeps what the steps alone lose: two deals that the forest tells apart
never get the same probability.

One curve cannot be right in every stage: the forest counts deals, and in a stage where deals to be lost stay
a night and deals to be won move on, mornings tell another rate. So each stage shifts the log-odds by what
makes its mean come true, drawn to no shift where few deals are known.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from dealwatch.scoring.reliability import log_odds

Floats = NDArray[np.float64]
ISOTONIC_FROM = 1_000  # deals with a known outcome; fewer cannot carry a curve of their own
STAGE_DEALS = 20.0  # as much weight as the curve's word has against a stage's own record
_FURTHEST = 5.0  # of shifts in log-odds
_HALVINGS = 50


@dataclass(frozen=True)
class Calibrator:
    """A rising curve from raw to probability: a line in log-odds and, with knots, a curve through them."""

    intercept: float
    slope: float
    knots: Floats
    values: Floats
    by_stage: dict[str, float] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return "isotonic" if len(self.knots) else "sigmoid"

    def __call__(self, raw: Floats, shift: Floats | None = None) -> Floats:
        """Probabilities, element by element: the value of one row never depends on its neighbours.

        shift: of the log-odds, as `shifts` tells it; none leaves the curve as it is.
        """
        p = 1 / (1 + np.exp(-(self.intercept + self.slope * log_odds(raw))))
        if len(self.knots):
            p = (p + np.interp(raw, self.knots, self.values)) / 2
        if shift is not None:
            p = _shifted(p, shift)
        return np.asarray(p, dtype=np.float64)

    def shifts(self, stages: pl.Series) -> Floats:
        """What each deal's stage adds to its log-odds; nothing for a stage that the curve has not seen."""
        known = stages.cast(pl.String).replace_strict(self.by_stage, default=0.0, return_dtype=pl.Float64)
        return known.fill_null(0.0).to_numpy()


def _shifted(p: Floats, shift: Any) -> Floats:
    return np.asarray(1 / (1 + np.exp(-(log_odds(p) + shift))), dtype=np.float64)


def fit_calibrator(raw: Floats, lost: NDArray[Any], *, deals: int) -> Calibrator:
    """The curve for rows that their forest had not learned from; `deals` is how many deals they come from.

    The step curve's ends are kept off 0 and 1 by what that many deals can tell apart.
    """
    outcome = np.asarray(lost, dtype=np.float64)
    intercept, slope = _line(raw, outcome)
    if deals < ISOTONIC_FROM:
        return Calibrator(intercept, slope, np.empty(0), np.empty(0))
    edge = 1 / (deals + 2)
    curve = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(raw, outcome)
    return Calibrator(intercept, slope, curve.X_thresholds_.copy(), curve.y_thresholds_.copy())


def _line(raw: Floats, lost: Floats) -> tuple[float, float]:
    """Intercept and slope; a slope that would turn the ranking round becomes a constant."""
    line = LogisticRegression().fit(log_odds(raw).reshape(-1, 1), lost)
    if line.coef_[0, 0] <= 0:
        return float(log_odds(np.array([lost.mean()]))[0]), 0.0
    return float(line.intercept_[0]), float(line.coef_[0, 0])


def with_stages(curve: Calibrator, raw: Floats, rows: pl.DataFrame) -> Calibrator:
    """The curve with a shift for each stage of `rows` (deal_id, stage, lost), of which the forest said `raw`.

    A stage's mean becomes the share of its rows that were lost, drawn to what the curve says by as much as
    STAGE_DEALS deals.
    """
    told = rows.select("deal_id", pl.col("stage").cast(pl.String), "lost", p=pl.Series(curve(raw)))
    shifts = {}
    for (stage,), part in told.drop_nulls("stage").sort("stage").group_by("stage", maintain_order=True):
        p, deals = part["p"].to_numpy(), part["deal_id"].n_unique()
        rate = (deals * part["lost"].to_numpy().mean() + STAGE_DEALS * p.mean()) / (deals + STAGE_DEALS)
        shifts[str(stage)] = _shift_to(rate, p)
    return replace(curve, by_stage=shifts)


def _shift_to(rate: float, p: Floats) -> float:
    """The shift of the log-odds that brings the mean of `p` to `rate`, by halving the range it lies in."""
    low, high = -_FURTHEST, _FURTHEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _shifted(p, middle).mean() < rate else (low, middle)
    return (low + high) / 2
