"""Whether as many new deals came as before: where not, win rates by close date are bent for a while.

Lost deals close sooner than won ones. When more of a kind come in, the first to close are the quick losses,
and its win rate by close date falls although nothing about the deals has changed; when fewer come, it rises.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from dealwatch.insights.known import Known
from dealwatch.insights.money import refusal
from dealwatch.insights.segments import COLUMNS, labelled, name_of, with_bands
from dealwatch.insights.windows import Window

STEADY = (0.75, 1.33)  # new deals over those of the time before, within which intake counts as steady
Intake = Mapping[tuple[str, str], tuple[int, int]]


def intake(known: Known, before: Window, after: Window, dimensions: Sequence[Sequence[str]]) -> Intake:
    """Deals created in two windows, by dimension and segment; ("", "") is all of them."""
    columns = ("created_at", "amount", "currency", *COLUMNS)
    rows = pl.concat([one.select(columns) for one in (known.closed, known.open)])
    rows = rows.filter(before.holds("created_at") | after.holds("created_at"))
    rows = with_bands(rows, refused=refusal(rows, known.settings))
    rows = rows.with_columns(is_after=after.holds("created_at"))
    later = int(rows["is_after"].sum())
    found = {("", ""): (rows.height - later, later)}
    for by in dimensions:
        counts = (
            labelled(rows, by)
            .group_by(pl.col("segment").cast(pl.String))
            .agg(before=(~pl.col("is_after")).sum(), after=pl.col("is_after").sum())
        )
        found |= {(name_of(by), name): (first, then) for name, first, then in counts.iter_rows()}
    return found


def unsteady(before: int, after: int, *, what: str = "such deals were created") -> str:
    """Why a comparison by close date is bent; empty when about as many deals came in."""
    if before and STEADY[0] <= after / before <= STEADY[1]:
        return ""
    return (
        f"{after:,} {what}, {before:,} in the time before: losses close first, so the rate of what closed is "
        "bent for a while"
    )
