"""Which deals are drawn to get no alerts, so that what alerting does can be measured. Pure.

Whole deals are drawn: a deal with one silent alert and one told would show the effect of the other. An
episode keeps what it was drawn as, whatever the share is set to while it is open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from dealwatch.scoring.lots import lot
from dealwatch.settings import Settings


@dataclass(frozen=True)
class Drawn:
    """An episode as an earlier fold left it."""

    opened_at: datetime
    ended_at: datetime | None  # none while it is open
    is_held_out: bool


def draw(runs: pl.DataFrame, drawn: Mapping[str, Sequence[Drawn]], settings: Settings) -> pl.Series:
    """Whether each run's episode is held out: as it was before, else by the deal and the share of today."""
    share = settings.alerts.holdout_share
    none_before = not any(one.is_held_out for episodes in drawn.values() for one in episodes)
    if share == 0 and none_before:
        return pl.Series("is_held_out", [False] * runs.height, dtype=pl.Boolean)
    ended = runs.select(pl.col("resolved_at").last().over("episode"))["resolved_at"]
    rows = runs.select("fingerprint", "deal_id", "opened_at").rows()
    found = []
    for (fingerprint, deal_id, opened_at), ended_at in zip(rows, ended, strict=True):
        before = [one for one in drawn.get(fingerprint, ()) if _overlap(one, opened_at, ended_at)]
        found.append(before[0].is_held_out if before else is_drawn(deal_id, share, settings))
    return pl.Series("is_held_out", found, dtype=pl.Boolean)


def is_drawn(deal_id: str, share: float, settings: Settings) -> bool:
    """Whether a deal falls into the share, by a number made of its name: even over deals, ever the same."""
    return lot(f"holdout {len(settings.tenant)}:{settings.tenant} {deal_id}") < share


def _overlap(one: Drawn, opened_at: datetime, ended_at: datetime | None) -> bool:
    return (one.ended_at is None or opened_at <= one.ended_at) and (
        ended_at is None or one.opened_at <= ended_at
    )
