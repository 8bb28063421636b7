"""The facts of every open deal at a moment.

Training, scoring, replay and rules all use `facts_at`; there is no second way to compute a fact.
`definitions` lists what is computed, `known` lays out what it is computed from.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.history.ledger import Ledger
from dealwatch.scoring.definitions import FACTS as FACTS
from dealwatch.scoring.definitions import GROUPS as GROUPS
from dealwatch.scoring.definitions import Fact as Fact
from dealwatch.scoring.known import History, history_of, known_at, microseconds_of
from dealwatch.scoring.spells import in_slices
from dealwatch.settings import Settings

# Who the deal is, beside the facts: for messages, routing and the model's categories.
IDENTITY: tuple[str, ...] = (
    "name",
    "account",
    "currency",
    "owner_id",
    "close_date",
    "next_step_on",
    "created_at",
    "stage_entered_at",
    "industry",
    "region",
    "product_type",
    "lead_source",
)

_DTYPES: dict[str, pl.DataType] = {"number": pl.Float64(), "flag": pl.Boolean(), "category": pl.String()}
_ROWS_AT_ONCE = 400_000  # pairs of deal and moment in memory at a time, about half a gigabyte


def facts_at(ledger: Ledger, moments: Sequence[datetime], *, settings: Settings) -> pl.DataFrame:
    """One row of facts per deal open at each moment, sorted by as_of and deal_id.

    A moment's rows depend on `ledger.known_at(moment)` alone: neither later changes nor the other moments
    asked for alter a byte of them. Raises ValueError for a moment without a time zone.
    """
    asked = microseconds_of(moments)
    known = ledger.known_at(max(moments)) if len(asked) else ledger
    return facts_of(history_of(known, asked, pipeline=settings.pipeline), moments, settings=settings)


def facts_of(history: History, moments: Sequence[datetime], *, settings: Settings) -> pl.DataFrame:
    """As `facts_at`, of a history that was made for these moments, perhaps among others."""
    return pl.concat(facts_in_parts(history, moments, settings=settings))


def facts_in_parts(
    history: History,
    moments: Sequence[datetime],
    *,
    settings: Settings,
    only: NDArray[np.bool_] | None = None,
) -> Iterator[pl.DataFrame]:
    """As `facts_of`, some moments at a time and one part at least, perhaps of the marked deals alone."""
    timeline = history.lives.timeline
    if only is not None:
        timeline = timeline.filter(pl.Series(only[timeline["deal"].to_numpy()], dtype=pl.Boolean))
    for part in in_slices(timeline, microseconds_of(moments), rows=_ROWS_AT_ONCE):
        yield _facts(known_at(history, part, settings=settings, only=only))


def _facts(known: pl.DataFrame) -> pl.DataFrame:
    return known.select(
        "as_of",
        "deal_id",
        *IDENTITY,
        *(fact.value.cast(_DTYPES[fact.kind]).alias(fact.name) for fact in FACTS),
    )
