"""Which stage comes before which: as the settings say, else as the deals' own paths told by then.

A stage comes before another when more deals entered it first. Stages are ranked by how many others they come
before, less how many come before them; ties go by name, so the same history gives the same order.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.knobs import Pipeline
from dealwatch.scoring.spells import Grid, microseconds

NO_RANK = -1


@dataclass(frozen=True)
class StageOrder:
    """The ranks of stages at each moment.

    stages: every stage seen, by name; its place is its code.
    rank: moments x (stages + 1): the rank of each code, from 0, NO_RANK when none is known; the last column
        stands for no stage.
    last: the rank of the last stage at each moment, NO_RANK before there is one.
    """

    stages: tuple[str, ...]
    rank: NDArray[np.int64]
    last: NDArray[np.int64]

    def codes(self, stage: pl.Series) -> NDArray[np.int64]:
        """The stages' codes; a missing stage gets the code that never has a rank."""
        return _codes(stage, self.stages)


def _codes(stage: pl.Series, stages: tuple[str, ...]) -> NDArray[np.int64]:
    code = {name: number for number, name in enumerate(stages)}
    codes = stage.replace_strict(code, default=len(stages), return_dtype=pl.Int64).fill_null(len(stages))
    return codes.to_numpy().astype(np.int64)


def stage_order(stays: pl.DataFrame, moments: NDArray[np.int64], *, pipeline: Pipeline) -> StageOrder:
    """The order of stages known at each moment."""
    stages = tuple(stays["stage"].drop_nulls().unique().sort().to_list())
    if pipeline.stages:
        given = {name: rank for rank, name in enumerate(pipeline.stages)}
        rank = np.array([*(given.get(name, NO_RANK) for name in stages), NO_RANK], dtype=np.int64)
        ranks = np.tile(rank, (len(moments), 1))
        return StageOrder(stages=stages, rank=ranks, last=np.full(len(moments), len(given) - 1))
    ranks = _learned(stays, stages, moments)
    return StageOrder(stages=stages, rank=ranks, last=ranks.max(axis=1))


def _learned(stays: pl.DataFrame, stages: tuple[str, ...], moments: NDArray[np.int64]) -> NDArray[np.int64]:
    count = len(stages)
    entries = stays.filter("is_first")
    cells = np.zeros(len(moments) * count**2, dtype=np.int64)
    deal, code = entries["deal"].to_numpy(), _codes(entries["stage"], stages)
    first_known = np.searchsorted(moments, microseconds(entries["known_from"]), side="left")
    for later in range(1, count):  # a deal's entries stand together, so its pairs are rows so far apart
        both = np.flatnonzero((deal[later:] == deal[:-later]) & (first_known[later:] < len(moments)))
        pair = code[both] * count + code[both + later]
        cells += np.bincount(first_known[both + later] * count**2 + pair, minlength=len(cells))
    before = np.cumsum(cells.reshape(len(moments), count, count), axis=0)
    lead = np.sign(before - before.transpose(0, 2, 1)).sum(axis=2)
    first_seen = np.full(count, len(moments))
    np.minimum.at(first_seen, code, first_known)
    unseen = first_seen[None, :] > np.arange(len(moments))[:, None]
    # Unseen stages sort last and keep no rank; a stable sort leaves ties in the order of names.
    places = np.argsort(np.where(unseen, count**2, -lead), axis=1, kind="stable")
    rank = np.full((len(moments), count + 1), NO_RANK, dtype=np.int64)
    np.put_along_axis(rank, places, np.arange(count)[None, :], axis=1)
    rank[:, :count][unseen] = NO_RANK
    return rank


def stage_reached(runs: pl.DataFrame, grid: Grid, order: StageOrder) -> pl.Series:
    """The rank of the furthest stage each deal had reached by then, 0 for the first to 1 for the last."""
    first = runs.filter(pl.col("stage").is_not_null() & (pl.col("visits") == 1))
    entries = first.select("deal", known_at="known_from", code=pl.Series(order.codes(first["stage"])))
    furthest = np.full(len(grid.row), NO_RANK, dtype=np.int64)
    for code in range(len(order.stages)):
        entered = grid.latest(entries.filter(pl.col("code") == code))
        rank = np.where(entered["code"].is_not_null().to_numpy(), order.rank[grid.moment, code], NO_RANK)
        furthest = np.maximum(furthest, rank)
    share = furthest / np.maximum(order.last[grid.moment], 1)
    return pl.Series("stage_reached", share).set(pl.Series(furthest == NO_RANK), None)


def moves_back(runs: pl.DataFrame, grid: Grid, order: StageOrder, moves: pl.Series) -> pl.Series:
    """How many of each deal's first `moves` changes of stage led back, in the order known by then."""
    changed = runs.filter("is_move")
    source, target = order.codes(changed["previous_stage"]), order.codes(changed["stage"])
    first = np.searchsorted(changed["deal"].to_numpy(), grid.deal, side="left")
    times = moves.to_numpy()
    pair = np.repeat(np.arange(len(times)), times)
    move = first[pair] + np.arange(len(pair)) - np.repeat(np.cumsum(times) - times, times)
    moment = grid.moment[pair]
    there, here = order.rank[moment, target[move]], order.rank[moment, source[move]]
    back = (there != NO_RANK) & (there < here)
    return pl.Series("moves_back", np.bincount(pair[back], minlength=len(times)))
