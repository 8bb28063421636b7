"""How likely a deal of a stage is lost in the end, by how long it has been there, from moves known by then.

Every stay in a stage teaches: finished ones by where they led and after how long, stays still going on by
having lasted so far. From both comes the chance, bin by bin of days, to leave the stage for each other stage,
for a win or for a loss (a life table). A stay that leads to another stage is worth what a deal is worth that
just came there, so the chances of all stages are solved together, each backwards from its last bin.

What ends within the first minutes fills the first bin and says nothing of deals that outlive it.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.scoring.spells import Grid, Lives, microseconds
from dealwatch.scoring.stage_order import StageOrder

_DAY = 86_400_000_000
_EDGES = np.array(
    [0, 0.5, 1, 2, 3, 4, 5, 7, 9, 12, 15, 18, 22, 26, 30, 35, 40, 50, 60, 75, 90, 120, 150, 180, 240, 365]
)
_PRIOR = 20.0  # stays; as much weight as the whole stage's record has against the end of its table
_ROUNDS = 40  # of solving; a deal seldom moves more often
_CLOSINGS = ("won", "lost", "deleted")
_AT_ONCE = 500_000  # stays counted at a time

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def loss_chances(lives: Lives, grid: Grid, everyone: Grid, order: StageOrder) -> pl.DataFrame:
    """The chance of a loss of each pair of the grid, by its stage and days there; null without a stage.

    everyone: the pairs of all open deals, which teach by having lasted so far.
    """
    moments, stages, bins = len(grid.moments), len(order.stages), len(_EDGES)
    theirs, so_far = _stretch(lives, everyone, order)
    here = (everyone.moment * (stages + 1) + theirs) * bins + _bin(so_far)
    running = np.bincount(here, minlength=moments * (stages + 1) * bins).reshape(moments, stages + 1, bins)
    stage, days = _stretch(lives, grid, order)
    start = _bin(days)
    chance = np.full((moments, stages + 1, bins + 1), np.nan)
    chance[:, :stages] = _solved(_left(lives.stays, grid.moments, order), running[:, :stages])
    passed = (np.maximum(days, 0) - _EDGES[start]) / np.append(np.diff(_EDGES), np.inf)[start]
    first, last = chance[grid.moment, stage, start], chance[grid.moment, stage, start + 1]
    told = {
        "loss_chance": first + passed * (last - first),
        "stage_loss_chance": chance[grid.moment, stage, 0],
    }
    return pl.DataFrame(told).fill_nan(None)


def _stretch(lives: Lives, grid: Grid, order: StageOrder) -> tuple[Counts, Floats]:
    """The stage of each pair and how many days it has lasted."""
    begun = microseconds(lives.timeline["begun_at"].gather(grid.row))
    days = (grid.moments[grid.moment] - begun) / _DAY
    return order.codes(lives.timeline["stage"].gather(grid.row)), days


def _bin(days: Floats) -> Counts:
    found: Counts = np.clip(np.searchsorted(_EDGES, days, side="right") - 1, 0, None)
    return found


def _left(stays: pl.DataFrame, moments: Counts, order: StageOrder) -> Counts:
    """Stays known to have ended by each moment: moments x stages x bins x where they led."""
    places = len(order.stages) + 1 + len(_CLOSINGS)
    shape = (len(moments), len(order.stages), len(_EDGES), places)
    counts = np.zeros(shape, dtype=np.int64)
    for part in stays.iter_slices(_AT_ONCE):
        ended = part.filter(pl.col("took_us").is_not_null())
        closing = ended["next_status"].replace_strict(
            {name: len(order.stages) + 1 + n for n, name in enumerate(_CLOSINGS)},
            default=None,
            return_dtype=pl.Int64,
        )
        target = closing.fill_null(pl.Series(order.codes(ended["next_stage"]))).to_numpy()
        days = ended["took_us"].to_numpy() / _DAY
        cell = (order.codes(ended["stage"]) * len(_EDGES) + _bin(days)) * places + target
        size = counts[0].size if len(moments) else 0
        at = np.searchsorted(moments, microseconds(ended["known_to"]), side="left")
        known = at < len(moments)
        found = np.bincount(at[known] * size + cell[known], minlength=len(moments) * size)
        counts += found.reshape(shape)
    return np.cumsum(counts, axis=0)


def _solved(left: Counts, running: Counts) -> Floats:
    """Chances of a loss at the start of each bin and after the last: moments x stages x (bins + 1).

    Sums over stages run one by one in the order of names: a stage nobody has seen yet then adds an exact
    zero, and a morning's chances stay what they were to the last digit when later stages turn up.
    """
    moments, stages, bins, places = left.shape
    lost, unknown = places - 2, (stages, places - 1)  # led to no stage with a name, or deleted
    known = [place for place in range(places) if place not in unknown]
    censored = sum((left[..., place] for place in unknown), start=running)
    stays = left.sum(axis=3) + running
    at_risk = np.maximum(stays[:, :, ::-1].cumsum(axis=2)[:, :, ::-1] - censored / 2, 1)
    hazard = {place: left[..., place] / at_risk for place in known}
    stay = 1 - sum((hazard[place] for place in known), start=np.zeros(at_risk.shape))
    exits = left.sum(axis=2)
    wins, losses = exits[..., places - 3].sum(axis=1), exits[..., lost].sum(axis=1)
    overall = np.where(wins + losses > 0, losses / np.maximum(wins + losses, 1), np.nan)
    worth = np.zeros((moments, places))
    worth[:, lost] = 1
    worth[:, :stages] = overall[:, None]
    ways_out = sum((exits[..., place] for place in known), start=np.zeros((moments, stages), dtype=np.int64))
    chance = np.empty((moments, stages, bins + 1))
    for _ in range(_ROUNDS):
        value = sum((exits[..., k] * worth[:, k, None] for k in known), start=_PRIOR * overall[:, None])
        chance[:, :, bins] = value / (ways_out + _PRIOR)
        gain = sum((hazard[k] * worth[:, k, None, None] for k in known), start=np.zeros(at_risk.shape))
        for b in range(bins - 1, -1, -1):
            chance[:, :, b] = gain[:, :, b] + np.maximum(stay[:, :, b], 0) * chance[:, :, b + 1]
        worth[:, :stages] = chance[:, :, 0]
    return chance
