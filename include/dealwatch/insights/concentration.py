"""How much of the open revenue hangs on few deals, and which few decide whether the forecast comes true.

What is open is counted, not sampled: these shares are exact for the moment, so their intervals are points.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.known import Known
from dealwatch.insights.measure import Kind, Measure
from dealwatch.insights.money import refusal
from dealwatch.insights.statistics import effective

FEW_DEALS = 10  # an effective number of deals below this is worth a word
ONE_DEAL = 0.2  # and so is a single deal with more than this share of the expected revenue
_LARGEST = (1, 3, 5)
_TOP = 0.2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Concentration:
    """Shares between 0 and 1; `hhi` is the sum of squared shares and `effective_deals` its inverse.

    expected_top_1: the largest deal's share of the expected revenue; variance_top_5: the share of the
    expected revenue's variance that the five most uncertain deals carry.
    """

    top_fifth: Measure
    hhi: Measure
    effective_deals: Measure
    largest: tuple[Measure, ...]
    expected_top_1: Measure
    variance_top_5: Measure

    @property
    def is_risky(self) -> bool:
        """Whether few deals, or one, decide the outcome."""
        few, one = self.effective_deals.value, self.expected_top_1.value
        return (few is not None and few < FEW_DEALS) or (one is not None and one > ONE_DEAL)


def of_open(known: Known, chances: Floats) -> Concentration:
    """Of what is open; chances: of each open deal to be won."""
    amounts = known.open["amount"].cast(pl.Float64).to_numpy()
    return concentration(amounts, chances, refused=refusal(known.open, known.settings))


def concentration(amounts: Floats, chances: Floats, *, refused: str = "") -> Concentration:
    """Of deals with these amounts (one currency) and chances to be won (NaN: unknown).

    A deal without an amount (NaN, 0 or less) is left out; n is the number of deals that count. refused: why
    these amounts cannot be added up, if so.
    """
    told = (amounts > 0) & (not refused)
    a, p = amounts[told], chances[told]
    shares, why = _shares(a, refused)
    likely = ~np.isnan(p)
    expected, no_chance = _shares(a[likely] * p[likely], refused)
    variance, no_doubt = _shares(a[likely] ** 2 * p[likely] * (1 - p[likely]), refused)
    hhi = float(np.square(shares).sum())
    return Concentration(
        top_fifth=_exact("top_fifth_share", _top(shares, round(_TOP * len(shares))), shares, why),
        hhi=_exact("hhi", hhi, shares, why, kind="ratio"),
        effective_deals=_exact("effective_deals", 1 / hhi if hhi else 0.0, shares, why, kind="count"),
        largest=tuple(_exact(f"top_{k}_share", _top(shares, k), shares, why) for k in _LARGEST),
        expected_top_1=_exact("expected_top_1_share", _top(expected, 1), expected, no_chance),
        variance_top_5=_exact("variance_top_5_share", _top(variance, 5), variance, no_doubt),
    )


def _shares(values: Floats, refused: str) -> tuple[Floats, str]:
    """Shares of the total, largest first, and why there are none."""
    total = float(values.sum())
    if not len(values):
        return values, refused or "no deal is open with an amount and, where it is asked, a chance."
    if total <= 0:
        return values[:0], "the deals sum to nothing."
    return np.sort(values)[::-1] / total, ""


def _top(shares: Floats, k: int) -> float:
    return float(shares[: max(k, 1)].sum())


def _exact(name: str, value: float, shares: Floats, why: str, *, kind: Kind = "share") -> Measure:
    if why:
        return Measure.null(name, why, n=len(shares), kind=kind)
    return Measure(name, value, len(shares), effective(shares), low=value, high=value, kind=kind)
