"""The life of each deal as it became known: open or closed, in which stage, since when.

Everything is ordered by `known_at`, so what was known at a moment is a prefix of a deal's rows. Each row is
valid from `known_from` up to `known_to` (null: to this day), which is how one pass serves any number of
moments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.knobs import Pipeline

GROUPING = ("owner_id", "industry", "region", "product_type", "lead_source")
_STATE = ("created_at", "outcome", "stage", "deleted")
_ORDER = ["deal", "known_at", "happened_at", "seq", "field"]


@dataclass(frozen=True)
class Lives:
    """What moments can ask of deals' lives; of deals never open at one of them only what they teach.

    timeline: one row per deal and instant at which its state, owner or segment changed: deal, known_from,
        known_to, run (its row in `runs`, null for deals not in there), status (open, won, lost, deleted),
        stage, created_at, begun_at (of its stretch) and the grouping columns.
    runs: of deals open at a moment, one row per stretch in one state, in order: deal, status, stage,
        begun_at, known_from, known_to (when its end became known), created_at, earlier_us (microseconds of
        earlier visits to the stage), visits, previous_stage, is_move, moves (changes of stage so far).
    stays: of all deals, one row per stretch in a stage, in order: deal, stage, is_first (visit to the stage),
        known_from, known_to, and once it has ended took_us, next_status, next_stage and the segment then.
    closings: of all deals, each stretch won or lost: status, begun_at, known_from, known_to, and the grouping
        columns.
    """

    timeline: pl.DataFrame
    runs: pl.DataFrame
    stays: pl.DataFrame
    closings: pl.DataFrame


def life_fields(pipeline: Pipeline) -> list[str]:
    """The fields that deals' lives are told by."""
    return list(dict.fromkeys([*_STATE, *GROUPING, *pipeline.segment_by]))


def lives(changes: pl.DataFrame, moments: NDArray[np.int64], *, pipeline: Pipeline) -> Lives:
    """The deals' lives from their changes, which carry `deal`, a number in the order of deal_id."""
    return _told_by(*stretches(changes, pipeline=pipeline), moments, pipeline)


def stretches(changes: pl.DataFrame, *, pipeline: Pipeline) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The timeline and the runs of all of the changes' deals, and all there is to tell of each run."""
    columns = life_fields(pipeline)
    timeline = _with_runs(_with_status(_known_states(changes, columns), pipeline))
    return timeline, _runs(timeline, columns)


def joined(parts: Sequence[Lives]) -> Lives:
    """The lives of several slices of deals as one."""
    first, timelines = 0, []
    for part in parts:
        timelines.append(part.timeline.with_columns(pl.col("run") + first))
        first += part.runs.height
    rest = (pl.concat(getattr(part, name) for part in parts) for name in ("runs", "stays", "closings"))
    return Lives(pl.concat(timelines), *rest)


def _known_states(changes: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """One row per deal and instant of news, with every column's latest known value and when it happened."""
    rows = changes.filter(pl.col("field").is_in(columns)).sort(_ORDER)
    deal = rows["deal"].to_numpy()
    row = np.arange(len(deal))
    first_of_deal = np.searchsorted(deal, deal, side="left")
    latest = {}
    for name in columns:
        here = np.where((rows["field"] == name).to_numpy(), row, -1)
        seen = np.maximum.accumulate(here) if len(here) else here
        latest[name] = pl.Series(name, seen).set(pl.Series(seen < first_of_deal), None)
    last_of_instant = (
        ((pl.col("deal") != pl.col("deal").shift(-1)) | (pl.col("known_at") != pl.col("known_at").shift(-1)))
        .fill_null(True)
        .alias("last")
    )
    known = rows.select(
        "deal",
        pl.col("known_at").alias("known_from"),
        *(pl.col("new_value").gather(at).alias(name) for name, at in latest.items()),
        *(pl.col("happened_at").gather(latest[name]).alias(f"{name}_since") for name in _STATE),
        last_of_instant,
    )
    return (
        known.filter("last", pl.col("created_at").is_not_null())
        .drop("last")
        .with_columns(
            instant_of("created_at"),
            _next("known_from").alias("known_to"),
        )
    )


def _next(column: str) -> pl.Expr:
    """What the deal's next row says; rows are ordered by deal, which makes this quicker than a window."""
    return pl.when(pl.col("deal") == pl.col("deal").shift(-1)).then(pl.col(column).shift(-1))


def instant_of(column: str) -> pl.Expr:
    """The ledger's text of an instant as an instant."""
    return pl.col(column).str.to_datetime("%+", time_unit="us", time_zone="UTC")


def _with_status(known: pl.DataFrame, pipeline: Pipeline) -> pl.DataFrame:
    """Whether the deal was open, and since when it was in that state."""
    by_stage = {stage: "won" for stage in pipeline.won_stages} | {
        stage: "lost" for stage in pipeline.lost_stages
    }
    told = pl.col("outcome").is_in(["won", "lost"])
    return (
        known.with_columns(
            closing=pl.col("stage").replace_strict(by_stage, default=None, return_dtype=pl.String)
        )
        .with_columns(
            status=pl.when(pl.col("deleted") == "true")
            .then(pl.lit("deleted"))
            .when(told)
            .then("outcome")
            .otherwise(pl.coalesce("closing", pl.lit("open"))),
            since=pl.when(pl.col("deleted") == "true")
            .then("deleted_since")
            .when(told)
            .then("outcome_since")
            .when(pl.col("closing").is_not_null())
            .then("stage_since")
            # A reopened or restored deal starts anew in its stage.
            .otherwise(
                pl.coalesce(pl.max_horizontal("stage_since", "outcome_since", "deleted_since"), "created_at")
            ),
        )
        .with_columns(stage=pl.when(pl.col("status") == "open").then("stage"))
        .drop("outcome", "deleted", "closing", *(f"{name}_since" for name in _STATE))
    )


def _with_runs(timeline: pl.DataFrame) -> pl.DataFrame:
    """Number the stretches of rows in one state; repeats of the same state are one stretch."""
    return timeline.with_columns(run=pl.struct("deal", "status", "stage").rle_id())


def _runs(timeline: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    grouping = [name for name in columns if name not in _STATE]
    is_first = (pl.col("run") != pl.col("run").shift(1)).fill_null(True)
    runs = (
        timeline.filter(is_first)
        .select("deal", "run", "status", "stage", "created_at", "known_from", "since", *grouping)
        # What became known later cannot have begun before what it followed.
        .with_columns(begun_at=pl.col("since").cum_max().over("deal"))
        .drop("since")
        .with_columns(
            _next("known_from").alias("known_to"),
            _next("status").alias("next_status"),
            _next("stage").alias("next_stage"),
            _next("begun_at").alias("ended_at"),
        )
    )
    return _with_moves(runs)


def _with_moves(runs: pl.DataFrame) -> pl.DataFrame:
    """Add how often the deal had moved, from where it came, and how long it had been in this stage before."""
    in_stage = pl.col("stage").is_not_null()
    spent = (pl.col("ended_at") - pl.col("begun_at")).dt.total_microseconds().fill_null(0)
    return (
        runs.with_columns(
            previous_stage=pl.col("stage").forward_fill().shift(1).over("deal"),
            earlier_us=pl.when(in_stage).then(spent).otherwise(0).cum_sum().over("deal", "stage") - spent,
        )
        .with_columns(visits=pl.int_range(1, pl.len() + 1).over("deal", "stage"))
        .with_columns(is_move=(in_stage & (pl.col("previous_stage") != pl.col("stage"))).fill_null(False))
        .with_columns(moves=pl.col("is_move").cum_sum().over("deal").cast(pl.Int64))
    )


@dataclass(frozen=True)
class Grid:
    """The pairs of moment and open deal, ordered by moment and deal; `row` points into the timeline."""

    moments: NDArray[np.int64]
    moment: NDArray[np.int64]
    deal: NDArray[np.int64]
    row: NDArray[np.int64]

    def only(self, deals: NDArray[np.bool_]) -> "Grid":
        """The pairs of the marked deals, at the same moments."""
        kept = deals[self.deal]
        return Grid(self.moments, self.moment[kept], self.deal[kept], self.row[kept])

    def latest(self, rows: pl.DataFrame) -> pl.DataFrame:
        """For each pair the deal's last of `rows` known by then, or nulls.

        `rows` carries `deal` and `known_at`, sorted by them.
        """
        width = len(self.moments) + 1
        deal = rows["deal"].to_numpy().astype(np.int64)
        keys = deal * width + np.searchsorted(self.moments, microseconds(rows["known_at"]), side="left")
        at = np.searchsorted(keys, self.deal * width + self.moment, side="right") - 1
        found = (at >= 0) & (deal[at] == self.deal) if len(deal) else np.zeros(len(at), dtype=bool)
        index = pl.Series(at).set(pl.Series(~found), None)
        return rows.drop("deal", "known_at").select(pl.all().gather(index))


def microseconds(instants: pl.Series) -> NDArray[np.int64]:
    """Instants as whole microseconds; a missing one lies after all others."""
    whole = instants.dt.timestamp("us").fill_null(np.iinfo(np.int64).max)
    return whole.to_numpy().astype(np.int64)


def valid(rows: pl.DataFrame, moments: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row the first moment it is valid at and the first at which it no longer is."""
    first = np.searchsorted(moments, microseconds(rows["known_from"]), side="left")
    end = np.searchsorted(moments, microseconds(rows["known_to"]), side="left")
    return first, end


def open_deals(timeline: pl.DataFrame, moments: NDArray[np.int64]) -> Grid:
    """Every deal that was open, as known, at each moment."""
    first, end = valid(timeline, moments)
    times = np.where((timeline["status"] == "open").to_numpy(), end - first, 0)
    row = np.repeat(np.arange(len(times)), times)
    moment = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
    created = microseconds(timeline["created_at"])[row] <= moments[moment]
    row, moment = row[created], moment[created]
    deal = timeline["deal"].to_numpy().astype(np.int64)[row]
    order = np.lexsort((deal, moment))
    return Grid(moments=moments, moment=moment[order], deal=deal[order], row=row[order])


def _told_by(
    timeline: pl.DataFrame, runs: pl.DataFrame, moments: NDArray[np.int64], pipeline: Pipeline
) -> Lives:
    """What these moments can ask, in little space: words as numbers, and most of it of open deals alone."""
    grouping = list(dict.fromkeys([*GROUPING, *pipeline.segment_by]))
    text = pl.col(pl.String).cast(pl.Categorical)
    timeline, runs = timeline.with_columns(text), runs.with_columns(text)
    is_last = pl.col("run") != pl.col("run").shift(-1)
    last = timeline.filter(is_last.fill_null(True)).select(*pipeline.segment_by)
    stays = runs.with_columns(last.get_columns()).filter(pl.col("stage").is_not_null())
    first, end = valid(timeline, moments)
    valid_rows = timeline.filter(pl.Series(first < end))
    asked = runs["deal"].is_in(ever_open(timeline, moments)["deal"].implode())
    number = (asked.cum_sum() - 1).set(~asked, None)
    return Lives(
        timeline=valid_rows.drop("since").with_columns(
            run=number.gather(valid_rows["run"]), begun_at=runs["begun_at"].gather(valid_rows["run"])
        ),
        runs=runs.filter(asked).drop("run", "next_status", "next_stage", "ended_at", *grouping),
        stays=stays.select(
            pl.col("deal").cast(pl.UInt32),
            "stage",
            "known_from",
            "known_to",
            "next_status",
            "next_stage",
            *pipeline.segment_by,
            is_first=pl.col("visits") == 1,
            took_us=(pl.col("ended_at") - pl.col("begun_at")).dt.total_microseconds(),
        ),
        closings=runs.filter(pl.col("status").is_in(["won", "lost"])).select(
            "status", "begun_at", "known_from", "known_to", *GROUPING
        ),
    )


def ever_open(timeline: pl.DataFrame, moments: NDArray[np.int64]) -> pl.DataFrame:
    """The deals that were open, as known, at one of the moments at least: `deal`."""
    first, end = valid(timeline, moments)
    is_open = (timeline["status"] == "open").to_numpy() & (first < end)
    return timeline.filter(pl.Series(is_open)).select(pl.col("deal").unique())


def with_runs_of(lives: Lives, deals: NDArray[np.bool_]) -> Lives:
    """The same lives without the `runs` of deals that are not marked: nobody will ask for these."""
    kept = pl.Series(deals[lives.runs["deal"].to_numpy()])
    if kept.all():
        return lives
    number = (kept.cast(pl.Int64).cum_sum() - 1).set(~kept, None)
    timeline = lives.timeline.with_columns(run=number.gather(lives.timeline["run"]))
    return replace(lives, timeline=timeline, runs=lives.runs.filter(kept))


def in_slices(timeline: pl.DataFrame, moments: NDArray[np.int64], *, rows: int) -> list[NDArray[np.int64]]:
    """The moments in slices that hold at most so many open deals together, and one moment at least."""
    first, end = valid(timeline.filter(pl.col("status") == "open"), moments)
    change = np.bincount(first, minlength=len(moments) + 1) - np.bincount(end, minlength=len(moments) + 1)
    slices, start, held = [], 0, 0
    for number, deals in enumerate(np.cumsum(change)[: len(moments)]):
        if number > start and held + deals > rows:
            slices.append(moments[start:number])
            start, held = number, 0
        held += int(deals)
    return [*slices, moments[start:]]
