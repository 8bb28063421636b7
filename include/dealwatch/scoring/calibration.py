"""From the forest's raw share of losing votes to a probability that can be believed.

Fitted on rows that the forest speaking of them had not learned from, which its callers see to: a straight
line in log-odds while outcomes are few; once there are enough to support one, the mean of that line and a
rising step curve (isotonic). The mean keeps what the steps alone lose: two deals that the forest tells apart
never get the same probability.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from dealwatch.scoring.reliability import log_odds

Floats = NDArray[np.float64]
ISOTONIC_FROM = 1_000  # deals with a known outcome; fewer cannot carry a curve of their own


@dataclass(frozen=True)
class Calibrator:
    """A rising curve from raw to probability: a line in log-odds and, with knots, a curve through them."""

    intercept: float
    slope: float
    knots: Floats
    values: Floats

    @property
    def method(self) -> str:
        return "isotonic" if len(self.knots) else "sigmoid"

    def __call__(self, raw: Floats) -> Floats:
        """Probabilities, element by element: the value of one row never depends on its neighbours."""
        line = 1 / (1 + np.exp(-(self.intercept + self.slope * log_odds(raw))))
        if not len(self.knots):
            return np.asarray(line, dtype=np.float64)
        return np.asarray((line + np.interp(raw, self.knots, self.values)) / 2, dtype=np.float64)


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
