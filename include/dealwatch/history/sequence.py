"""In which order a deal's field changed when the history names one instant for several changes.

Files may be sorted anew, so the order in the file means nothing; what a change leads from and to does.
"""

from collections.abc import Sequence

import polars as pl

FIELD = ["deal_id", "field"]


def with_sequence(history: pl.DataFrame) -> pl.DataFrame:
    """Distinct changes with `seq`, 1 for the first at its instant; sorted by deal, field, instant and seq."""
    rows = history.unique().sort(*FIELD, "happened_at", "old_value", "new_value", "told", nulls_last=False)
    tied = rows.filter(pl.struct(*FIELD, "happened_at").is_duplicated()).select(FIELD).unique()
    alone = rows.join(tied, on=FIELD, how="anti", nulls_equal=True)
    chained = rows.join(tied, on=FIELD, how="semi", nulls_equal=True)
    parts = [alone.with_columns(pl.lit(1, dtype=pl.Int64).alias("seq"))]
    parts += [_chained(series) for series in chained.partition_by(FIELD, maintain_order=True)]
    return pl.concat(parts).sort(*FIELD, "happened_at", "seq")


def _chained(series: pl.DataFrame) -> pl.DataFrame:
    """One deal's one field, its tied changes linked from value to value."""
    value: str | None = None
    order: list[int] = []
    for tied in series.partition_by("happened_at", maintain_order=True):
        links = list(zip(tied["old_value"], tied["new_value"], strict=True))
        place = _chain(links, value)
        order += [place.index(number) + 1 for number in range(len(links))]
        value = links[place[-1]][1]
    return series.with_columns(pl.Series("seq", order, dtype=pl.Int64))


def _chain(links: Sequence[tuple[str | None, str | None]], value: str | None) -> list[int]:
    """Positions of the links in an order in which each begins where the one before ends, if any does."""
    left = list(range(len(links)))
    placed: list[int] = []
    while left:
        fitting = [n for n in left if links[n][0] == value]
        reached = {links[n][1] for n in left}
        starts = [n for n in left if links[n][0] not in reached]
        chosen = (fitting or starts or left)[0]
        placed.append(chosen)
        left.remove(chosen)
        value = links[chosen][1]
    return placed
