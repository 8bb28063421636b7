"""The training panel: what mornings of the past knew about their open deals, with what became of those deals.

The facts come from the same function as in scoring. A deal counts once in sum, however many mornings saw
it. Deals still open have no label and stay out, which leaves the latest mornings to the quickest deals;
`known_by` mends that.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from dealwatch.history.ledger import Ledger, values_as_of
from dealwatch.moments import local_day, morning_of
from dealwatch.scoring.facts import facts_at
from dealwatch.settings import Settings
from dealwatch.warehouse import instant

FOLLOW_UP = 0.8  # share of the waits for an outcome that a morning must have had time for
PANEL_MORNINGS = 50  # a short history is looked at more often than the setting says, until it has so many
_MONTH_DAYS = 30.4375


def training_panel(ledger: Ledger, as_of: datetime, *, settings: Settings) -> pl.DataFrame:
    """Facts of past mornings with `lost` (0/1), `weight` (1 a deal in sum), `closed_at`, `outcome_known_at`.

    Only what is known by `as_of` enters, labels included. Sorted by as_of and deal_id.
    """
    followed = followed_panel(ledger, as_of, settings=settings).filter(pl.col("lost").is_not_null())
    return followed.with_columns(weight=1 / pl.len().over("deal_id"))


def followed_panel(ledger: Ledger, as_of: datetime, *, settings: Settings) -> pl.DataFrame:
    """The panel with the deals that are still open in it: of them `lost` and the two instants are null.

    They have no outcome, and yet they tell something: that they were not lost so far (see `horizons`).
    """
    facts = facts_at(ledger, panel_moments(ledger, as_of, settings=settings), settings=settings)
    latest = values_as_of(ledger, as_of)
    return (
        facts.join(_deleted(latest), on="deal_id", how="anti")
        .join(_outcomes(latest), on="deal_id", how="left")
        .filter(pl.col("closed_at").is_null() | (pl.col("closed_at") > pl.col("as_of")))
        .with_columns(weight=1 / pl.len().over("deal_id"))
        .sort("as_of", "deal_id")
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


def panel_moments(ledger: Ledger, as_of: datetime, *, settings: Settings) -> Sequence[datetime]:
    """One morning every so many days, from the day before `as_of` back to where ledger or setting end.

    The setting says how many days at most: a history with fewer than PANEL_MORNINGS such steps gets shorter.
    """
    knobs = settings.scoring
    earliest = ledger.changes["known_at"].min()
    if not isinstance(earliest, datetime):
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
