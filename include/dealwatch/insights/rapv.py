"""What the open pipeline is worth by its chances (risk-adjusted pipeline value), in four variants.

published: amount x mean win rate of the deal's segments x an aging factor, which past their median cycle
takes deals down. weighted: the same without aging. survival: by what deals of its age did. model: by the
score's p_loss. `replay` measures which one was right in the past.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.entry import SEGMENTS
from dealwatch.insights.known import Known
from dealwatch.insights.measure import Measure
from dealwatch.insights.money import refusal
from dealwatch.insights.statistics import Z, effective
from dealwatch.insights.win_curves import win_curves

_FEW = 0.1  # of the open deals may have begun since they were scored
_NOTHING_OPEN = "no deal is open with an amount."
_NO_CHANCE = "the open deals have no chance of this kind: {}"
_WHY = {
    "survival": "no deal has closed yet.",
    "model": "most were not scored by a model.",
    "weighted": "no deal has closed yet.",
    "seed": "no deal has closed yet.",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rapv:
    """One variant. value: expected money of what is open. gap: the share of the open money beyond it."""

    variant: str
    value: Measure
    gap: Measure


def survival(known: Known) -> Floats:
    """The chance of each open deal to be won, by deals of its segment and age."""
    curves = win_curves(known)
    return np.full(known.open.height, np.nan) if curves is None else curves.ever()


def model(known: Known) -> Floats:
    """1 - p_loss of the newest scored morning; `survival` for the few it left out, NaN when they are many."""
    p_loss: Floats = known.open["p_loss"].fill_null(float("nan")).to_numpy()
    left_out = np.isnan(p_loss)
    if not left_out.any() or left_out.mean() > _FEW:
        return 1 - p_loss
    found: Floats = np.where(left_out, survival(known), 1 - p_loss)
    return found


def weighted(known: Known) -> Floats:
    """The mean of the win rates of the deal's segments, over all deals that have closed."""
    return _by_segments(known)[0]


def seed(known: Known) -> Floats:
    """`weighted`, times median cycle of its segments / age once a deal is older than that."""
    rate, cycle = _by_segments(known)
    age = known.open["age_days"].to_numpy()
    aging: Floats = np.minimum(1.0, np.divide(cycle, age, out=np.ones_like(rate), where=age > 0))
    return rate * aging


VARIANTS: Mapping[str, Callable[[Known], Floats]] = {
    "survival": survival,
    "model": model,
    "weighted": weighted,
    "seed": seed,
}


def rapv(known: Known, variant: str, chances: Floats | None = None) -> Rapv:
    """One variant's value of what is open; its interval takes deals as independent and chances as right."""
    p = VARIANTS[variant](known) if chances is None else chances
    amount = known.open["amount"].to_numpy()
    told = amount > 0
    why = refusal(known.open, known.settings) or _missing(variant, p[told])
    if why:
        n = int(told.sum())
        return Rapv(
            variant, Measure.null("rapv", why, n=n, kind="money"), Measure.null("optimism_gap", why, n=n)
        )
    a, p = amount[told], p[told]
    value, low, high = expected(a, p)
    n, n_eff, whole = len(a), effective(a), float(a.sum())
    gap = [1 - one / whole for one in (value, high, low)]
    return Rapv(
        variant,
        Measure("rapv", value, n, n_eff, low, high, kind="money"),
        Measure("optimism_gap", gap[0], n, n_eff, gap[1], gap[2]),
    )


def expected(a: Floats, p: Floats) -> tuple[float, float, float]:
    """Expected money and its 95% interval, within nothing and everything."""
    value, half = float((a * p).sum()), Z * float(np.sqrt((a**2 * p * (1 - p)).sum()))
    whole = float(a.sum())
    return value, min(max(value - half, 0.0), value), max(min(value + half, whole), value)


def _missing(variant: str, p: Floats) -> str:
    if not len(p):
        return _NOTHING_OPEN
    return _NO_CHANCE.format(_WHY[variant]) if np.isnan(p).any() else ""


def _by_segments(known: Known) -> tuple[Floats, Floats]:
    """Mean win rate and mean median cycle of each open deal's segments; everyone's where it has none."""
    closed = known.closed.with_columns(pl.col(SEGMENTS).cast(pl.String))
    rows = known.open.select(pl.col(SEGMENTS).cast(pl.String))
    for name in SEGMENTS:
        told = (
            closed.filter(pl.col(name).is_not_null())
            .group_by(name)
            .agg(
                pl.col("won").mean().alias(f"{name}_rate"),
                pl.col("cycle_days").median().alias(f"{name}_cycle"),
            )
        )
        rows = rows.join(told, on=name, how="left", maintain_order="left")
    everyone = closed.select(rate=pl.col("won").mean(), cycle=pl.col("cycle_days").median())
    found = rows.select(
        pl.mean_horizontal(*(f"{name}_{what}" for name in SEGMENTS))
        .fill_null(pl.lit(everyone[what].item(), pl.Float64))
        .alias(what)
        for what in ("rate", "cycle")
    )
    rate, cycle = (found[what].fill_null(float("nan")).to_numpy() for what in ("rate", "cycle"))
    return rate, cycle
