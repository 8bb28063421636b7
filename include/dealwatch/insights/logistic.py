"""Logistic regression on counted cells, by Newton's method: a million deals are a few thousand cells.

scikit-learn's has no intervals and cannot start from a fit that is nearly right, which leaving out one rep
after another wants; statsmodels' is what the tests compare with.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ROUNDS = 50
_CLOSE = 1e-10  # of the largest step
_FAR = 15.0  # log odds: nobody's; won and lost are parted by a column
_RIDGE = 1e-9  # against columns that say the same


@dataclass(frozen=True)
class Fit:
    """Log odds and their covariance; `settled` is False where won and lost are parted by the columns."""

    beta: Floats
    covariance: Floats
    log_likelihood: float
    settled: bool


def fit(x: Floats, won: Floats, n: Floats, *, start: Floats | None = None) -> Fit:
    """The regression of `won` of `n` deals in each cell on the cell's row of x.

    start: where to begin, such as the fit to nearly the same counts.
    """
    beta = np.zeros(x.shape[1]) if start is None else start.copy()
    settled = False
    for _ in range(_ROUNDS):
        p = chances(x, beta)
        step = np.linalg.solve(_information(x, n * p * (1 - p)), x.T @ (won - n * p))
        beta += np.clip(step, -2, 2)
        if np.abs(beta).max() > _FAR:
            break
        if np.abs(step).max() < _CLOSE:
            settled = True
            break
    p = chances(x, beta)
    covariance: Floats = np.linalg.inv(_information(x, n * p * (1 - p))).astype(np.float64)
    told = won * np.log(np.maximum(p, 1e-300)) + (n - won) * np.log(np.maximum(1 - p, 1e-300))
    return Fit(beta, covariance, float(told.sum()), settled)


def chances(x: Floats, beta: Floats) -> Floats:
    """The chance to be won of each row."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x @ beta, -_FAR * 2, _FAR * 2))), dtype=np.float64)


def _information(x: Floats, weight: Floats) -> Floats:
    return np.asarray((x * weight[:, None]).T @ x + _RIDGE * np.eye(x.shape[1]), dtype=np.float64)
