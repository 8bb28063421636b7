"""How good probabilities turned out to be: AUC and Brier skill, with intervals that respect deals.

One deal gives many rows (a row a morning), and those rows agree with each other. Intervals therefore come
from drawing whole deals anew, not rows.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 400
INTERVAL = (2.5, 97.5)  # percentiles of the resamples: a 95% interval


@dataclass(frozen=True)
class Quality:
    """Quality over rows of deals whose outcome came later; what cannot be known is None, never 0.

    brier_skill compares with the best constant there is, the loss rate of these very rows.
    """

    rows: int
    deals: int
    won: int
    lost: int
    loss_rate: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    brier: float | None = None
    brier_constant: float | None = None
    brier_skill: float | None = None
    brier_skill_low: float | None = None
    brier_skill_high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def quality(
    lost: NDArray[Any], deals: NDArray[Any], ranking: NDArray[Any], *, p: NDArray[Any] | None, seed: int
) -> Quality:
    """Quality of `ranking` (higher = riskier) and of the probabilities `p`, over rows tied by `deals`.

    Without `p` there is no Brier score. One outcome alone leaves AUC and skill unknown.
    """
    outcome = np.asarray(lost, dtype=np.float64)
    names, first, deal = np.unique(np.asarray(deals), return_index=True, return_inverse=True)
    lost_deals = int(outcome[first].sum())
    unknown = Quality(len(outcome), len(names), len(names) - lost_deals, lost_deals)
    if min(unknown.won, unknown.lost) == 0:
        return unknown
    order = np.argsort(np.asarray(ranking, dtype=np.float64), kind="stable")
    rows = _Rows(outcome, deal, order, np.asarray(ranking, dtype=np.float64), p)
    once = rows.measures(np.ones(len(names)))
    draws = np.array(list(_resampled(rows, len(names), seed)))
    low, high = np.nanpercentile(draws[:, 0], INTERVAL)
    found = {"auc": once[0], "auc_low": low, "auc_high": high, "loss_rate": outcome.mean()}
    if p is not None:
        low, high = np.nanpercentile(draws[:, 3], INTERVAL)
        found |= {"brier": once[1], "brier_constant": once[2]}
        found |= {"brier_skill": once[3], "brier_skill_low": low, "brier_skill_high": high}
    plain: dict[str, Any] = {name: float(value) for name, value in found.items()}
    return replace(unknown, **plain)


class _Rows:
    """Rows in order of rank, so that each resample is a few passes over arrays."""

    def __init__(
        self,
        outcome: Floats,
        deal: NDArray[np.intp],
        order: NDArray[np.intp],
        ranking: Floats,
        p: NDArray[Any] | None,
    ) -> None:
        self.outcome, self.deal = outcome[order], deal[order]
        self.ties = np.flatnonzero(np.r_[True, np.diff(ranking[order]) > 0])
        error = np.full(len(order), np.nan) if p is None else (np.asarray(p, dtype=np.float64) - outcome) ** 2
        self.error = error[order]

    def measures(self, times: Floats) -> tuple[float, float, float, float]:
        """AUC, Brier, the constant's Brier and the skill, with each deal counted `times` times."""
        weight = times[self.deal]
        lost = np.add.reduceat(weight * self.outcome, self.ties)
        won = np.add.reduceat(weight * (1 - self.outcome), self.ties)
        pairs = lost.sum() * won.sum()
        if pairs == 0:
            return (np.nan,) * 4
        auc = (lost * (np.cumsum(won) - won / 2)).sum() / pairs
        rate = lost.sum() / (lost.sum() + won.sum())
        brier, constant = (weight * self.error).sum() / weight.sum(), rate * (1 - rate)
        return float(auc), float(brier), float(constant), float(1 - brier / constant)


def _resampled(rows: _Rows, deals: int, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        drawn = generator.integers(deals, size=deals)
        yield rows.measures(np.bincount(drawn, minlength=deals).astype(np.float64))
