"""The waits that norms are learned from, and the norms of each open deal: its stage's and its segment's.

A wait in a stage ends forwards (a later stage, or won) or otherwise (an earlier stage, or lost); a wait for
a win ends won or lost. A deleted deal's waits end censored: how they would have ended is unknown.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from dealwatch.knobs import Pipeline
from dealwatch.scoring.norms import CENSORED, COMPETING, EVENT, QUANTILES, Times, Waits, norms_at
from dealwatch.scoring.spells import Grid, Lives, microseconds
from dealwatch.scoring.stage_order import NO_RANK, StageOrder

_CLOSINGS = ("won", "lost", "deleted")
_NEVER = np.iinfo(np.int64).max


def win_norms(lives: Lives, grid: Grid, *, pipeline: Pipeline) -> pl.DataFrame:
    """Quantiles of the time to win in the segment of each pair of the grid."""
    rows = _still_known(lives.timeline, grid)
    opened, closed = rows.filter(pl.col("status") == "open"), rows.filter(pl.col("status") != "open")
    both = pl.concat([closed, opened])
    created = microseconds(both["created_at"])
    theirs, ours = _segments(both, lives.timeline[grid.row], pipeline)
    waits = Waits(
        start=created,
        length=_lengths(microseconds(closed["begun_at"]) - created[: len(closed)], len(opened)),
        ending=_padded(closed["status"].replace_strict(_CODES, return_dtype=pl.Int64), len(opened)),
        known_from=microseconds(both["known_from"]),
        known_to=microseconds(both["known_to"]),
        groups=theirs,
    )
    meaning = np.array([EVENT, COMPETING, CENSORED])
    norms = norms_at(
        waits,
        ours,
        grid.moment,
        moments=grid.moments,
        meanings=(meaning for _ in grid.moments),
        minimum=pipeline.norm_minimum,
    )
    return _named(norms, "segment_win")


_CODES = {name: code for code, name in enumerate(_CLOSINGS)}


def stage_norms(lives: Lives, grid: Grid, order: StageOrder, *, pipeline: Pipeline) -> pl.DataFrame:
    """Quantiles of the time to leave its stage forwards for each pair of the grid; stage by stage."""
    norms = np.full((len(grid.row), len(QUANTILES)), np.nan)
    current = lives.timeline[grid.row]
    rows = _still_known(lives.timeline, grid)
    for code, stage in enumerate(order.stages):
        here = np.flatnonzero((current["stage"] == stage).fill_null(False).to_numpy())
        if not len(here):
            continue
        of_stage = pl.col("stage") == stage
        ended = lives.stays.filter(of_stage & pl.col("took_us").is_not_null())
        waits, ours = _stage_waits(ended, rows.filter(of_stage), current[here], order, pipeline)
        norms[here] = norms_at(
            waits,
            ours,
            grid.moment[here],
            moments=grid.moments,
            meanings=_meanings(order, code),
            minimum=pipeline.norm_minimum,
        )
    return _named(norms, "stage")


def _stage_waits(
    ended: pl.DataFrame, running: pl.DataFrame, current: pl.DataFrame, order: StageOrder, pipeline: Pipeline
) -> tuple[Waits, tuple[Times, ...]]:
    """The waits in one stage, and the groups of the deals that are in it."""
    kept = ["stage", *pipeline.segment_by]
    theirs, ours = _segments(pl.concat([ended.select(kept), running.select(kept)]), current, pipeline)
    none = np.zeros(len(ended), dtype=np.int64)
    waits = Waits(
        start=np.concatenate([none, microseconds(running["begun_at"])]),
        length=_lengths(ended["took_us"].to_numpy(), len(running)),
        ending=_padded(_endings(ended, order), len(running)),
        known_from=np.concatenate([microseconds(ended["known_to"]), microseconds(running["known_from"])]),
        known_to=np.concatenate([np.full(len(ended), _NEVER), microseconds(running["known_to"])]),
        groups=theirs,
    )
    return waits, ours


def _still_known(rows: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Rows still valid when the first of the moments came; the others are none of a running wait's."""
    known_to = microseconds(rows["known_to"])
    return rows.filter(pl.Series(known_to > min(grid.moments, default=0)))


def _lengths(finished: Times, running: int) -> Times:
    return np.concatenate([np.maximum(finished, 0), np.full(running, -1)])


def _padded(codes: Times | pl.Series, running: int) -> Times:
    return np.concatenate([np.asarray(codes, dtype=np.int64), np.full(running, -1)])


def _endings(ended: pl.DataFrame, order: StageOrder) -> Times:
    """To which stage or closing waits led, as one code; closings come after the stages."""
    places = len(order.stages) + 1
    closing = ended["next_status"].replace_strict(
        {name: places + code for name, code in _CODES.items()}, default=None, return_dtype=pl.Int64
    )
    target = closing.fill_null(pl.Series(order.codes(ended["next_stage"])))
    return target.to_numpy().astype(np.int64)


def _meanings(order: StageOrder, stage: int) -> Iterator[Times]:
    """What each ending of `_endings` means for a wait in the stage, at each moment."""
    closings = np.array([EVENT, COMPETING, CENSORED])
    for rank in order.rank:
        forward = (rank[stage] != NO_RANK) & (rank > rank[stage])
        meaning = np.where(forward, EVENT, COMPETING)
        meaning[-1] = CENSORED  # on to a stage nobody named
        yield np.concatenate([meaning, closings])


def _segments(
    theirs: pl.DataFrame, ours: pl.DataFrame, pipeline: Pipeline
) -> tuple[tuple[Times, ...], tuple[Times, ...]]:
    """Codes of each row's segment, from all its columns down to none; unknown is a value like others."""
    code = np.zeros(len(theirs) + len(ours), dtype=np.int64)
    levels = [code]
    for column in pipeline.segment_by:
        values = pl.concat([theirs[column], ours[column]])
        one = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
        code = np.unique(code * (int(one.max(initial=0)) + 1) + one, return_inverse=True)[1]
        levels.append(code)
    levels.reverse()
    return tuple(c[: len(theirs)] for c in levels), tuple(c[len(theirs) :] for c in levels)


def _named(norms: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", prefix: str) -> pl.DataFrame:
    names = [f"{prefix}_p{round(100 * q)}_days" for q in QUANTILES]
    return pl.DataFrame(norms, schema=names).fill_nan(None)
