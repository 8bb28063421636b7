"""What was known of a deal when it began, in a few words each: the only things a driver may be made of.

Stage, cycle, close date and amount at the end are known after the fact and would explain the outcome by
itself. A deal's amount is the one it began with, as a band of terciles, so that no currency matters.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.insights.segments import BANDS

SEGMENTS = ("industry", "region", "product_type", "lead_source")
ENTRY = (*SEGMENTS, "amount_band")
NONE, REST = "(none)", "(other)"
RARE = 30  # deals: a value with fewer is one of the rest

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """One column of the design: the feature has this value, and not the reference."""

    feature: str
    value: str
    reference: str
    deals: int


@dataclass(frozen=True)
class Design:
    """Deals as counted cells: x is cells x (1 + terms), the first column all ones; cell is each deal's."""

    terms: tuple[Term, ...]
    x: Floats
    cell: NDArray[np.int64]


def entry_facts(closed: pl.DataFrame, moves: pl.DataFrame) -> pl.DataFrame:
    """The deals with the columns of ENTRY as words: what is not told is `(none)`, what is rare `(other)`."""
    began = (
        moves.filter(pl.col("field") == "amount")
        .group_by("deal_id")
        .agg(began=pl.col("new").drop_nulls().first().cast(pl.Float64))
    )
    known = closed.join(began, on="deal_id", how="left", maintain_order="left")
    amount = pl.coalesce("began", "amount")
    low, high = (amount.quantile(q, "linear") for q in (1 / 3, 2 / 3))
    band = (
        pl.when(amount.is_null())
        .then(None)
        .when(amount <= low)
        .then(pl.lit(BANDS[0]))
        .when(amount <= high)
        .then(pl.lit(BANDS[1]))
        .otherwise(pl.lit(BANDS[2]))
    )
    words = known.with_columns(amount_band=band).with_columns(pl.col(ENTRY).cast(pl.String).fill_null(NONE))
    return words.with_columns(
        pl.when(pl.len().over(name) < RARE).then(pl.lit(REST)).otherwise(name).alias(name) for name in ENTRY
    ).drop("began")


def design(deals: pl.DataFrame) -> Design:
    """Indicators of every value but the most common of each of ENTRY; a feature with one value has none."""
    each = deals.select(ENTRY).unique().sort(ENTRY).with_row_index("cell")
    cells = deals.select(ENTRY).join(each, on=ENTRY, how="left", maintain_order="left")
    terms, columns = [], [np.ones(each.height)]
    for feature in ENTRY:
        counts = deals.group_by(feature).len().sort(["len", feature], descending=[True, False])
        reference = counts[feature][0] if counts.height else NONE
        for value, n in counts[1:].sort(feature).iter_rows():
            terms.append(Term(feature, value, reference, n))
            columns.append((each[feature] == value).to_numpy().astype(np.float64))
    return Design(tuple(terms), np.column_stack(columns), cells["cell"].to_numpy().astype(np.int64))
