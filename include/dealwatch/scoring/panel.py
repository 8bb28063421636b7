"""The training panel: what mornings of the past knew about their open deals, with what became of those deals.

The facts come from the same function as in scoring. A deal counts once in sum, however many mornings saw
it. Deals still open have no label and stay out, which leaves the latest mornings to the quickest deals;
`known_by` mends that. Of more deals than the settings allow some are drawn by lot, whole deals and before
anything else is asked, so forest, curves, horizons and what they are judged on are of the same sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.history.ledger import Ledger, values_as_of
from dealwatch.history.stored import StoredLedger
from dealwatch.moments import local_day, morning_of
from dealwatch.scoring.facts import facts_in_parts
from dealwatch.scoring.known import History, Past, microseconds_of, past_of, told_of
from dealwatch.scoring.lots import Draw, drawn
from dealwatch.settings import Settings
from dealwatch.warehouse import instant

FOLLOW_UP = 0.8  # share of the waits for an outcome that a morning must have had time for
PANEL_MORNINGS = 50  # a short history is looked at more often than the setting says, until it has so many
_MONTH_DAYS = 30.4375


@dataclass(frozen=True)
class Panel:
    """What a training reads of the ledger, all of it known by its moment.

    rows: see `followed_panel`. draw: how many of the deals that were open on the panel's mornings are in it.
    morning: facts of every deal open at the moment itself. deal_ids: of all deals known.
    """

    rows: pl.DataFrame
    draw: Draw
    morning: pl.DataFrame
    deal_ids: pl.Series


def training_panel(ledger: Ledger | StoredLedger, as_of: datetime, *, settings: Settings) -> pl.DataFrame:
    """Facts of past mornings with `lost` (0/1), `weight` (1 a deal in sum), `closed_at`, `outcome_known_at`.

    Only what is known by `as_of` enters, labels included. Sorted by as_of and deal_id.
    """
    followed = followed_panel(ledger, as_of, settings=settings).filter(pl.col("lost").is_not_null())
    return followed.with_columns(weight=1 / pl.len().over("deal_id"))


def followed_panel(ledger: Ledger | StoredLedger, as_of: datetime, *, settings: Settings) -> pl.DataFrame:
    """The panel with the deals that are still open in it: of them `lost` and the two instants are null.

    They have no outcome, and yet they tell something: that they were not lost so far (see `horizons`).
    """
    return read_panel(ledger, as_of, settings=settings).rows


def read_panel(ledger: Ledger | StoredLedger, as_of: datetime, *, settings: Settings) -> Panel:
    """The panel and the facts of the moment itself, read once; a stored ledger is never held as a whole."""
    moments = panel_moments(ledger, as_of, settings=settings)
    known, asked = ledger.known_at(as_of), microseconds_of([*moments, as_of])
    past = past_of(known, asked, pipeline=settings.pipeline)
    open_then = past.open_at(microseconds_of(moments))
    in_it = _drawn(past, open_then, settings)
    history = told_of(known, past, in_it | past.open_at(microseconds_of([as_of])))
    latest = _ends(history)
    parts = [
        _with_ends(part, latest) for part in facts_in_parts(history, moments, settings=settings, only=in_it)
    ]
    return Panel(
        rows=pl.concat(parts).with_columns(weight=1 / pl.len().over("deal_id")),
        draw=Draw(int(in_it.sum()), int(open_then.sum())),
        morning=pl.concat(facts_in_parts(history, [as_of], settings=settings)),
        deal_ids=past.deal_ids,
    )


def _drawn(past: Past, open_then: NDArray[np.bool_], settings: Settings) -> NDArray[np.bool_]:
    """Those of the deals open on the mornings that are in the panel."""
    knobs, in_it = settings.scoring, open_then.copy()
    in_it[open_then] = drawn(past.deal_ids.filter(pl.Series(open_then)), knobs.panel_deals, seed=knobs.seed)
    return in_it


def _ends(history: History) -> pl.DataFrame:
    """As `values_as_of`, of the two fields that tell how a deal ended and of the history's deals alone."""
    of_ends = pl.col("field").cast(pl.String).is_in(["outcome", "deleted"])
    last = (
        history.changes.filter(of_ends & (pl.col("deal") >= 0))
        .group_by("deal", "field", maintain_order=True)
        .agg(pl.col("new_value", "happened_at", "known_at").last())
    )
    deal_id = history.deal_ids.gather(last["deal"]).alias("deal_id")
    return last.with_columns(deal_id, pl.col("field").cast(pl.String))


def _with_ends(facts: pl.DataFrame, latest: pl.DataFrame) -> pl.DataFrame:
    """The rows of deals that still exist and had not ended, with how they ended since, in the same order."""
    return (
        facts.join(_deleted(latest), on="deal_id", how="anti", maintain_order="left")
        .join(_outcomes(latest), on="deal_id", how="left", maintain_order="left")
        .filter(pl.col("closed_at").is_null() | (pl.col("closed_at") > pl.col("as_of")))
    )


def known_by(panel: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """The part of a panel that training at `moment` may learn from, weights anew.

    Only outcomes known by then, and only mornings far enough back for most outcomes to have come by then: of
    the latest mornings only deals that closed at once are known, and those are lost more often than the rest.
    """
    known = panel.filter(
        (pl.col("as_of") < instant(moment)) & (pl.col("outcome_known_at") <= instant(moment))
    )
    waits = known.select((pl.col("closed_at") - pl.col("as_of")).dt.total_microseconds()).to_series()
    enough = pl.duration(microseconds=waits.quantile(FOLLOW_UP, interpolation="nearest"))
    followed = known.filter(pl.col("as_of") + enough <= instant(moment))
    return followed.with_columns(weight=1 / pl.len().over("deal_id"))


def panel_moments(
    ledger: Ledger | StoredLedger, as_of: datetime, *, settings: Settings
) -> Sequence[datetime]:
    """One morning every so many days, from the day before `as_of` back to where ledger or setting end.

    The setting says how many days at most: a history with fewer than PANEL_MORNINGS such steps gets shorter.
    """
    knobs = settings.scoring
    earliest = ledger.first_known()
    if earliest is None:
        return []
    reach = max(earliest, as_of - timedelta(days=knobs.panel_months * _MONTH_DAYS))
    every = min(knobs.panel_every_days, max(1, (as_of - reach).days // PANEL_MORNINGS))
    day = local_day(as_of, settings) - timedelta(days=1)
    moments = []
    while (moment := morning_of(day, settings)) >= reach:
        moments.append(moment)
        day -= timedelta(days=every)
    return moments[::-1]


def outcomes_at(ledger: Ledger, as_of: datetime) -> pl.DataFrame:
    """Closed deals as known at `as_of`, deleted ones left out: deal_id, lost, closed_at, outcome_known_at."""
    return _outcomes(values_as_of(ledger, as_of))


def _outcomes(latest: pl.DataFrame) -> pl.DataFrame:
    closed = (pl.col("field") == "outcome") & pl.col("new_value").is_in(["won", "lost"])
    return (
        latest.filter(closed)
        .join(_deleted(latest), on="deal_id", how="anti")
        .select(
            "deal_id",
            lost=(pl.col("new_value") == "lost").cast(pl.Int8),
            closed_at="happened_at",
            outcome_known_at="known_at",
        )
        .sort("deal_id")
    )


def _deleted(latest: pl.DataFrame) -> pl.DataFrame:
    return latest.filter((pl.col("field") == "deleted") & (pl.col("new_value") == "true")).select("deal_id")
