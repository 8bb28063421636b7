"""What each rep won over what anybody would have won of the deals they were given; for managers only.

Expected wins come from what was known when a deal began, by a regression that never saw the rep it is asked
about. Differences no larger than chance are no differences: then nobody has an index, and the reason says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from dealwatch.insights.entry import design, entry_facts
from dealwatch.insights.known import Known
from dealwatch.insights.logistic import Fit, chances, fit
from dealwatch.insights.measure import NO_AMOUNTS, NOTHING_CLOSED, Measure
from dealwatch.insights.money import PAID, refusal
from dealwatch.insights.statistics import Z, beta_binomial, wilson
from dealwatch.insights.windows import Window

FEWEST = 30  # closed deals before a rep has figures
SURE = 0.05
NO_EVIDENCE = "no evidence of differences between reps: chance alone makes differences as large."
_RAW = "a published form as it stands: without an interval, and chance not taken out."
_TESTED = "whether it is more than 0 is told by a test, see p."
_DRAWS = 2_000
_ENDS = (0.1, 0.9)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rep:
    """One rep's closed deals. index: 100 is what was to be expected; null without evidence of differences.

    won, expected: deals. rate: drawn towards everyone's. money_rate, published: raw
    forms, money won over money closed and win rate in percent x mean size / mean cycle of everything closed.
    """

    owner_id: str
    closed: int
    won: int
    expected: float | None
    index: Measure
    rate: Measure
    money_rate: Measure
    published: Measure


@dataclass(frozen=True)
class Reps:
    """All reps' figures, and whether reps differ at all.

    audience: who may be shown any of this: managers, and nobody else, in no shared channel.
    variance: between reps, of wins over expected wins; 0 is no evidence. p: that chance alone makes reps
    differ as they do. gap: between the reps at the tenth and the ninetieth per cent, after drawing them to
    everyone's rate. raw_gap: best rep's win rate less the worst's, with what chance alone makes of so many
    reps: the mean and the interval, and how often as large (chance_p); it is never shown without them.
    """

    reps: tuple[Rep, ...]
    variance: Measure
    p: float | None
    gap: Measure
    raw_gap: float | None
    chance_gap: Measure
    chance_p: float | None
    audience: Literal["managers"] = "managers"

    @property
    def differ(self) -> bool:
        return bool(self.variance.value) and self.p is not None and self.p < SURE


def reps(known: Known, window: Window) -> Reps:
    """The reps' figures over the deals closed in a window; reps with fewer than FEWEST are left out."""
    deals = known.closed.filter(window.holds("closed_at"), pl.col("owner_id").is_not_null())
    facts = entry_facts(deals, known.moves).with_columns(pl.col("owner_id").cast(pl.String))
    totals = _totals(facts).filter(pl.col("closed") >= FEWEST)
    if totals.height < 2:
        return _nobody(totals.height, facts.height)
    told = expected(facts, totals["owner_id"].to_list())
    variance = _variance(totals["won"].to_numpy().astype(np.float64), told)
    index = _indices(totals, told, variance, "" if variance > 0 and told.p < SURE else NO_EVIDENCE)
    rates = _rates(totals)
    refused = refusal(deals, known.settings)
    rows = totals.iter_rows(named=True)
    gap, raw, chance, chance_p = _gap(totals, known.settings.scoring.seed)
    return Reps(
        reps=tuple(
            Rep(
                owner_id=row["owner_id"],
                closed=row["closed"],
                won=row["won"],
                expected=float(told.wins[k]),
                index=index[k],
                rate=rates[k],
                money_rate=_money_rate(row, refused),
                published=_published(row, refused),
            )
            for k, row in enumerate(rows)
        ),
        variance=Measure("rep_variance", variance, int(totals["closed"].sum()), why=_TESTED, kind="ratio"),
        p=told.p,
        gap=gap,
        raw_gap=raw,
        chance_gap=chance,
        chance_p=chance_p,
    )


def _totals(facts: pl.DataFrame) -> pl.DataFrame:
    return (
        facts.group_by("owner_id")
        .agg(
            closed=pl.len(),
            won=pl.col("won").sum(),
            money=PAID.sum(),
            money_won=PAID.filter(pl.col("won")).sum(),
            squares=(PAID**2).sum(),
            sized=PAID.count(),
            days=pl.col("cycle_days").sum(),
        )
        .sort("owner_id")
    )


@dataclass(frozen=True)
class Expected:
    """Wins to be expected of each rep, the variance of wins less that by chance, and p of no differences."""

    wins: Floats
    noise: Floats
    p: float


def expected(facts: pl.DataFrame, owners: Sequence[str]) -> Expected:
    """Each rep's expected wins by a fit to everybody else's deals; facts as `entry_facts` makes them.

    Wins of given deals vary by p (1 - p), not by p as a Poisson count's do: with the latter, half of what
    reps differ by would pass for chance. What the fit itself is unsure of comes on top.
    """
    made = design(facts)
    x, cells, many = made.x, len(made.x), len(owners)
    place = {owner: k for k, owner in enumerate(owners)}
    who = facts["owner_id"].replace_strict(place, default=many, return_dtype=pl.Int64).to_numpy()
    at = who * cells + made.cell
    size = (many + 1) * cells
    counts = np.bincount(at, minlength=size).reshape(-1, cells).astype(np.float64)
    wins_here = np.bincount(at, weights=facts["won"].to_numpy(), minlength=size)
    won = wins_here.astype(np.float64).reshape(-1, cells)
    of_all, won_all = counts.sum(axis=0), won.sum(axis=0)
    everyone = fit(x, won_all, of_all)
    wins, noise = np.empty(many), np.empty(many)
    for k in range(many):
        others = fit(x, won_all - won[k], of_all - counts[k], start=everyone.beta)
        p = chances(x, others.beta)
        slope = (counts[k] * p * (1 - p)) @ x
        wins[k], noise[k] = counts[k] @ p, counts[k] @ (p * (1 - p)) + slope @ others.covariance @ slope
    return Expected(wins, noise, _no_differences(x, everyone, counts, won))


def _no_differences(x: Floats, everyone: Fit, counts: Floats, won: Floats) -> float:
    """Rao's score test that no group of deals (rows of counts) differs once x is known; its p-value."""
    p = chances(x, everyone.beta)
    weight = counts * p * (1 - p)
    slopes = weight @ x
    left = (won - counts * p).sum(axis=1)
    spread = np.diag(weight.sum(axis=1)) - slopes @ everyone.covariance @ slopes.T
    inverse = np.linalg.pinv(spread, rcond=1e-9, hermitian=True)
    groups = int(np.linalg.matrix_rank(spread, tol=1e-9 * float(spread.max()), hermitian=True))
    return float(stats.chi2.sf(left @ inverse @ left, groups))


def _variance(won: Floats, told: Expected) -> float:
    """The variance of won / expected between reps beyond chance, by moments."""
    surplus = float(((won - told.wins) ** 2 - told.noise).sum())
    return max(surplus / float((told.wins**2).sum()), 0.0)


def _indices(totals: pl.DataFrame, told: Expected, variance: float, why: str) -> list[Measure]:
    """100 (O + k) / (E + k), k by how much less reps differ than chance makes them."""
    closed = totals["closed"].to_list()
    if why:
        return [Measure.null("rei", why, n=n, kind="index") for n in closed]
    k = told.noise / (variance * told.wins)
    centre = 100 * (totals["won"].to_numpy() + k) / (told.wins + k)
    half = 100 * Z * np.sqrt(variance * told.noise / (variance * told.wins**2 + told.noise))
    return [
        Measure("rei", float(c), n, low=max(float(c - h), 0.0), high=float(c + h), kind="index")
        for c, h, n in zip(centre, half, closed, strict=True)
    ]


def _rates(totals: pl.DataFrame) -> list[Measure]:
    """Each rep's win rate drawn to everyone's, with the interval of its beta distribution."""
    won, closed = totals["won"].to_numpy(), totals["closed"].to_numpy()
    prior = beta_binomial(won, closed)
    assert prior is not None  # reps have closed deals
    rate = prior.rate(won, closed)
    if np.isfinite(prior.weight):
        whole = prior.weight + closed
        low, high = (stats.beta.ppf(q, rate * whole, (1 - rate) * whole) for q in (0.025, 0.975))
    else:  # everyone's rate, as sure as that is
        low, high = (np.full(len(rate), one) for one in wilson(won.sum(), closed.sum()))
    ends = zip(rate.tolist(), low.tolist(), high.tolist(), closed.tolist(), strict=True)
    return [Measure("rep_win_rate", r, n, low=min(lo, r), high=max(hi, r)) for r, lo, hi, n in ends]


def _gap(totals: pl.DataFrame, seed: int) -> tuple[Measure, float, Measure, float]:
    """The gap of drawn rates; the raw gap; what chance makes of it, and how often as large."""
    won, closed = totals["won"].to_numpy(), totals["closed"].to_numpy()
    random, n = np.random.default_rng(seed), int(closed.sum())
    prior = beta_binomial(won, closed)
    assert prior is not None
    here = _spread(won, closed)
    again = [
        _spread(won[drawn], closed[drawn])
        for drawn in random.integers(len(won), size=(_DRAWS // 10, len(won)))
    ]
    low, high = np.quantile(again, (0.025, 0.975))
    drawn = Measure("rep_gap", here, n, low=min(float(low), here), high=max(float(high), here))
    rates = won / closed
    raw = float(rates.max() - rates.min())
    chance = random.binomial(closed, prior.mean, size=(_DRAWS, len(won))) / closed
    gaps = chance.max(axis=1) - chance.min(axis=1)
    low, high = np.quantile(gaps, (0.025, 0.975))
    by_chance = Measure("rep_gap_by_chance", float(gaps.mean()), n, low=float(low), high=float(high))
    return drawn, raw, by_chance, float((gaps >= raw - 1e-12).mean())


def _spread(won: NDArray[np.int64], closed: NDArray[np.int64]) -> float:
    prior = beta_binomial(won, closed)
    assert prior is not None
    low, high = np.quantile(prior.rate(won, closed), _ENDS)
    return float(high - low)


def _money_rate(row: dict[str, Any], refused: str) -> Measure:
    name, n = "rep_money_win_rate", int(row["sized"])
    if refused or not row["money"] > 0:
        return Measure.null(name, refused or NO_AMOUNTS, n=n)
    n_eff = row["money"] ** 2 / row["squares"]
    share = row["money_won"] / row["money"]
    low, high = wilson(share * n_eff, n_eff)
    return Measure(name, share, n, n_eff, float(low), float(high))


def _published(row: dict[str, Any], refused: str) -> Measure:
    name, n = "rei_published", int(row["closed"])
    if refused or not row["sized"] or not row["days"] > 0:
        return Measure.null(name, refused or NO_AMOUNTS, n=n, kind="money_a_day")
    size, cycle = row["money"] / row["sized"], row["days"] / n
    return Measure(name, 100 * row["won"] / n * size / cycle, n, why=_RAW, kind="money_a_day")


def _nobody(reps: int, deals: int) -> Reps:
    why = f"{reps} reps have {FEWEST} closed deals; it takes two." if deals else NOTHING_CLOSED
    variance, gap, chance = (
        Measure.null(name, why, n=deals) for name in ("rep_variance", "rep_gap", "rep_gap_by_chance")
    )
    return Reps((), variance, None, gap, None, chance, None)
