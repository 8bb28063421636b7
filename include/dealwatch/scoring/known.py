"""Everything known of every open deal at each moment, side by side: what facts are computed from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from dealwatch.history.ledger import CHANGE_ORDER, TOUCH_ORDER, Ledger
from dealwatch.history.stored import StoredLedger
from dealwatch.knobs import Pipeline
from dealwatch.moments import local_day
from dealwatch.scoring.chances import loss_chances
from dealwatch.scoring.spells import (
    Grid,
    Lives,
    ever_open,
    joined,
    life_fields,
    lives,
    open_deals,
    with_runs_of,
)
from dealwatch.scoring.stage_order import moves_back, stage_order, stage_reached
from dealwatch.scoring.touches import touches
from dealwatch.scoring.values import own_values
from dealwatch.scoring.waits import stage_norms, win_norms
from dealwatch.scoring.win_rates import win_rates
from dealwatch.settings import Settings
from dealwatch.warehouse import INSTANT


@dataclass(frozen=True)
class Past:
    """What all deals of a ledger teach at some moments: their ids, numbered in this order, and their lives.

    amounts: of all deals; deal, known_at, amount.
    """

    deal_ids: pl.Series
    amounts: pl.DataFrame
    lives: Lives

    def open_at(self, moments: NDArray[np.int64]) -> NDArray[np.bool_]:
        """A mark on each deal that was open, as known, at one of these moments; all are of the past's own."""
        marked = np.zeros(len(self.deal_ids), dtype=np.bool_)
        marked[ever_open(self.lives.timeline, moments)["deal"].to_numpy()] = True
        return marked


@dataclass(frozen=True)
class History(Past):
    """A ledger made ready for questions about some of its deals, if not all that were open.

    changes, activities: of the deals that may be asked for; others share the number -1.
    """

    changes: pl.DataFrame
    activities: pl.DataFrame


def history_of(ledger: Ledger | StoredLedger, moments: NDArray[np.int64], *, pipeline: Pipeline) -> History:
    """What facts at these moments (microseconds, ascending) are computed from, of every deal open by then."""
    past = past_of(ledger, moments, pipeline=pipeline)
    return told_of(ledger, past, past.open_at(moments))


def past_of(ledger: Ledger | StoredLedger, moments: NDArray[np.int64], *, pipeline: Pipeline) -> Past:
    """What deals open at these moments (microseconds, ascending) are compared with, deals by the slice."""
    parts, deal_ids, amounts, deals = [], [], [], 0
    for part in ledger.slices([*life_fields(pipeline), "amount"]):
        changes = part.with_columns((pl.col("deal_id").rle_id().cast(pl.Int64) + deals).alias("deal"))
        deal_ids.append(changes.filter(pl.col("deal") != pl.col("deal").shift(1, fill_value=-1))["deal_id"])
        amount = pl.col("new_value").cast(pl.Float64).alias("amount")
        amounts.append(changes.filter(pl.col("field") == "amount").select("deal", "known_at", amount))
        parts.append(lives(changes, moments, pipeline=pipeline))
        deals += len(deal_ids[-1])
    return Past(deal_ids=pl.concat(deal_ids), amounts=pl.concat(amounts), lives=joined(parts))


def told_of(ledger: Ledger | StoredLedger, past: Past, deals: NDArray[np.bool_]) -> History:
    """The past with everything else that facts about the marked deals are computed from."""
    numbers = past.deal_ids.to_frame().with_row_index("deal").cast({"deal": pl.Int64})
    asked = numbers.filter(pl.Series(deals, dtype=pl.Boolean))
    return History(
        deal_ids=past.deal_ids,
        amounts=past.amounts,
        lives=with_runs_of(past.lives, deals),
        changes=_numbered(ledger.changes_of(asked["deal_id"]), asked, CHANGE_ORDER).drop("seq"),
        activities=_numbered(ledger.touches_of(asked["deal_id"]), asked, TOUCH_ORDER),
    )


_WORDS = ("field", "kind", "direction", "by")


def _numbered(parts: Iterable[pl.DataFrame], asked: pl.DataFrame, order: list[str]) -> pl.DataFrame:
    """Rows in order, few words as categories, and the deal's number in place of its id.

    Deals that are not asked share the number -1: of their rows no more counts than that they are there.
    """
    numbered = pl.col("deal").fill_null(-1)
    words = cs.by_name(_WORDS, require_all=False).cast(pl.Categorical)
    told = [
        part.join(asked, on="deal_id", how="left").drop("deal_id").with_columns(numbered, words)
        for part in parts
    ]
    keys = [pl.col(name).cast(pl.String) if name in _WORDS else pl.col(name) for name in order[1:]]
    return pl.concat(told).sort("deal", *keys)


def known_at(
    history: History,
    moments: NDArray[np.int64],
    *,
    settings: Settings,
    only: NDArray[np.bool_] | None = None,
) -> pl.DataFrame:
    """One row per deal open at each of the moments (microseconds, ascending), by moment and deal_id.

    only: a mark on the deals that are asked for; the others still are what these are compared with.
    """
    pipeline = settings.pipeline
    everyone = open_deals(history.lives.timeline, moments)
    grid = everyone if only is None else everyone.only(only)
    current = (
        history.lives.timeline[grid.row]
        .drop("deal", "known_from", "known_to", "run", "status", "begun_at")
        .with_columns(pl.col(pl.Categorical).cast(pl.String))
    )
    return pl.concat(
        [
            _calendar(grid, settings),
            pl.DataFrame({"deal_id": history.deal_ids.gather(grid.deal)}),
            current,
            _stages(history.lives, grid, everyone, pipeline),
            own_values(history.changes, history.amounts, grid, large_quantile=pipeline.large_deal_quantile),
            touches(history.activities, history.lives, grid, time_zone=settings.time_zone),
            grid.latest(_news(history.changes)),
            win_rates(history.lives, grid),
            win_norms(history.lives, grid, pipeline=pipeline),
            _among_others(history.lives.timeline, everyone, pipeline).filter(_asked(everyone, only)),
        ],
        how="horizontal",
    )


def _asked(everyone: Grid, only: NDArray[np.bool_] | None) -> pl.Series | pl.Expr:
    return pl.lit(True) if only is None else pl.Series(only[everyone.deal], dtype=pl.Boolean)


def _among_others(timeline: pl.DataFrame, everyone: Grid, pipeline: Pipeline) -> pl.DataFrame:
    """How each pair stands among all deals open at its moment."""
    columns = dict.fromkeys(["created_at", "stage", "owner_id", *pipeline.segment_by])
    rows = timeline.select(*columns)[everyone.row].with_columns(moment=pl.Series(everyone.moment))
    older = pl.col("created_at").rank("average", descending=True) - 1
    of_segment = older / (pl.len() - 1)
    return rows.select(
        age_percentile=pl.when(pl.len() > 1).then(of_segment).over("moment", *pipeline.segment_by),
        stage_open_deals=pl.when(pl.col("stage").is_not_null()).then(pl.len().over("moment", "stage")),
        owner_open_deals=pl.when(pl.col("owner_id").is_not_null()).then(pl.len().over("moment", "owner_id")),
    )


def _news(changes: pl.DataFrame) -> pl.DataFrame:
    """When each change of a deal became known."""
    return changes.select("deal", "known_at", last_change_at="known_at").sort("deal", "known_at")


def _calendar(grid: Grid, settings: Settings) -> pl.DataFrame:
    """Each pair's moment, its day where the organisation is, and the last day of its fiscal quarter."""
    moments = [datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(m)) for m in grid.moments]
    days = [local_day(moment, settings) for moment in moments]
    ends = [quarter_end(day, settings.pipeline.fiscal_year_starts) for day in days]
    schema = {"as_of": INSTANT, "today": pl.Date(), "quarter_ends_on": pl.Date()}
    return pl.DataFrame({"as_of": moments, "today": days, "quarter_ends_on": ends}, schema=schema)[
        grid.moment
    ]


def quarter_end(day: date, fiscal_year_starts: int) -> date:
    """The last day of the day's quarter; quarters are counted from the month the fiscal year starts in."""
    months_left = 3 - (day.month - fiscal_year_starts) % 3
    month = day.year * 12 + day.month - 1 + months_left
    return date(month // 12, month % 12 + 1, 1) - timedelta(days=1)


def _stages(lives: Lives, grid: Grid, everyone: Grid, pipeline: Pipeline) -> pl.DataFrame:
    """How each deal stands in its stage, how it came there, and the stage's norms; null without a stage."""
    order = stage_order(lives.stays, grid.moments, pipeline=pipeline)
    run = lives.runs[lives.timeline["run"].gather(grid.row)]
    named = pl.col("stage").is_not_null()
    told = run.select(
        stage_entered_at=pl.when(named).then("begun_at").otherwise("created_at"),
        stage_visits=pl.when(named).then("visits"),
        earlier_us=pl.when(named).then("earlier_us"),
        stage_moves=pl.when(named).then("moves"),
        moves_back=pl.when(named).then(moves_back(lives.runs, grid, order, run["moves"])),
        stage_reached=stage_reached(lives.runs, grid, order),
    )
    return pl.concat(
        [
            told,
            stage_norms(lives, grid, order, pipeline=pipeline),
            loss_chances(lives, grid, everyone, order),
        ],
        how="horizontal",
    )


def microseconds_of(moments: Sequence[datetime]) -> NDArray[np.int64]:
    """Distinct moments, ascending, as whole microseconds; a moment without a zone is refused."""
    if any(moment.tzinfo is None for moment in moments):
        raise ValueError(f"a moment without a time zone among {list(moments)}")
    epoch = datetime.fromtimestamp(0, UTC)
    return np.unique(np.array([(m - epoch) // timedelta(microseconds=1) for m in moments], dtype=np.int64))
