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
from dealwatch.scoring.spells import Grid, Lives, ever_open, joined, life_fields, lives, open_deals
from dealwatch.scoring.stage_order import moves_back, stage_order, stage_reached
from dealwatch.scoring.touches import touches
from dealwatch.scoring.values import own_values
from dealwatch.scoring.waits import stage_norms, win_norms
from dealwatch.scoring.win_rates import win_rates
from dealwatch.settings import Settings
from dealwatch.warehouse import INSTANT


@dataclass(frozen=True)
class History:
    """A ledger made ready for questions: deals numbered in the order of their ids, and their lives.

    changes, activities: of deals open at a moment that may be asked for; others share the number -1.
    amounts: of all deals; deal, known_at, amount.
    """

    deal_ids: pl.Series
    changes: pl.DataFrame
    activities: pl.DataFrame
    amounts: pl.DataFrame
    lives: Lives


def history_of(ledger: Ledger | StoredLedger, moments: NDArray[np.int64], *, pipeline: Pipeline) -> History:
    """What facts at these moments (microseconds, ascending) are computed from, deals by the slice."""
    parts, deal_ids, amounts, deals = [], [], [], 0
    for part in ledger.slices([*life_fields(pipeline), "amount"]):
        changes = part.with_columns((pl.col("deal_id").rle_id().cast(pl.Int64) + deals).alias("deal"))
        deal_ids.append(changes.filter(pl.col("deal") != pl.col("deal").shift(1, fill_value=-1))["deal_id"])
        amount = pl.col("new_value").cast(pl.Float64).alias("amount")
        amounts.append(changes.filter(pl.col("field") == "amount").select("deal", "known_at", amount))
        parts.append(lives(changes, moments, pipeline=pipeline))
        deals += len(deal_ids[-1])
    lived = joined(parts)
    numbers = pl.concat(deal_ids).to_frame().with_row_index("deal").cast({"deal": pl.Int64})
    asked = numbers.join(ever_open(lived.timeline, moments), on="deal", how="semi", maintain_order="left")
    return History(
        deal_ids=numbers["deal_id"],
        changes=_numbered(ledger.changes_of(asked["deal_id"]), asked, CHANGE_ORDER).drop("seq"),
        activities=_numbered(ledger.touches_of(asked["deal_id"]), asked, TOUCH_ORDER),
        amounts=pl.concat(amounts),
        lives=lived,
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


def known_at(history: History, moments: NDArray[np.int64], *, settings: Settings) -> pl.DataFrame:
    """One row per deal open at each of the moments (microseconds, ascending), by moment and deal_id."""
    pipeline = settings.pipeline
    grid = open_deals(history.lives.timeline, moments)
    current = (
        history.lives.timeline[grid.row]
        .drop("deal", "known_from", "known_to", "run", "status", "begun_at")
        .with_columns(pl.col(pl.Categorical).cast(pl.String))
    )
    columns = pl.concat(
        [
            _calendar(grid, settings),
            pl.DataFrame({"deal_id": history.deal_ids.gather(grid.deal)}),
            current,
            _stages(history.lives, grid, pipeline),
            own_values(history.changes, history.amounts, grid, large_quantile=pipeline.large_deal_quantile),
            touches(history.activities, history.lives, grid, time_zone=settings.time_zone),
            grid.latest(_news(history.changes)),
            win_rates(history.lives, grid),
            win_norms(history.lives, grid, pipeline=pipeline),
        ],
        how="horizontal",
    )
    older = pl.col("created_at").rank("average", descending=True) - 1
    return columns.with_columns(
        age_percentile=pl.when(pl.len() > 1).then(older / (pl.len() - 1)).over("as_of", *pipeline.segment_by),
        stage_open_deals=pl.when(pl.col("stage").is_not_null()).then(pl.len().over("as_of", "stage")),
        owner_open_deals=pl.when(pl.col("owner_id").is_not_null()).then(pl.len().over("as_of", "owner_id")),
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


def _stages(lives: Lives, grid: Grid, pipeline: Pipeline) -> pl.DataFrame:
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
        [told, stage_norms(lives, grid, order, pipeline=pipeline), loss_chances(lives, grid, order)],
        how="horizontal",
    )


def microseconds_of(moments: Sequence[datetime]) -> NDArray[np.int64]:
    """Distinct moments, ascending, as whole microseconds; a moment without a zone is refused."""
    if any(moment.tzinfo is None for moment in moments):
        raise ValueError(f"a moment without a time zone among {list(moments)}")
    epoch = datetime.fromtimestamp(0, UTC)
    return np.unique(np.array([(m - epoch) // timedelta(microseconds=1) for m in moments], dtype=np.int64))
