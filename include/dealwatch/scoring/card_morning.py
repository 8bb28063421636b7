"""The part of a model card about the morning after a yes: bands and alerts that would change."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from dealwatch.scoring.bands import BANDS, Tops, advice, in_words
from dealwatch.scoring.markdown import escaped, table

TOP = 10
APPEARS, VANISHES = "appears", "vanishes"


def band_changes(deals: pl.DataFrame, *, before: str, day: date) -> str:
    """Which deals change band, the largest first, and how many go where."""
    moved = deals.filter(pl.col("band_before") != pl.col("band_after"))
    told = (
        f"{moved.height:,} of {deals.height:,} deals open on {day} would change band, compared with {before}."
    )
    if moved.is_empty():
        return f"## Bands tomorrow\n\n{told}"
    largest = moved.sort(pl.col("amount").fill_null(-1), "deal_id", descending=[True, False]).head(TOP)
    rows = [
        [
            _named(row),
            _money(row["amount"], row.get("currency")),
            f"{row['band_before']} → {row['band_after']}",
            f"{row['score_before']} → {row['score_after']}",
        ]
        for row in largest.iter_rows(named=True)
    ]
    listed = table(["Deal", "Amount", "Band", "Score"], rows)
    more = f"\n\nand {moved.height - TOP:,} more." if moved.height > TOP else ""
    counts = deals.group_by("band_before", "band_after").len()
    cells = {(b, a): n for b, a, n in counts.iter_rows()}
    grid = [[b, *(f"{cells.get((b, a), 0):,}" for a in BANDS)] for b in BANDS]
    return f"## Bands tomorrow\n\n{told}\n\n{listed}{more}\n\n" + table(["Before ↓ after →", *BANDS], grid)


def alerts(deals: pl.DataFrame, changes: pl.DataFrame) -> str:
    """How many alerts of each rule appear and vanish, then the deals, the largest first."""
    if changes.is_empty():
        return "## Alerts tomorrow\n\nNo alert would appear or vanish."
    counts = changes.group_by("title").agg(
        appear=(pl.col("change") == APPEARS).sum(), vanish=(pl.col("change") == VANISHES).sum()
    )
    told = [
        f"- {escaped(title)}: {appear:,} would appear, {vanish:,} would vanish."
        for title, appear, vanish in counts.sort("title").iter_rows()
    ]
    largest = (
        changes.join(deals.select("deal_id", "name", "amount", "currency"), on="deal_id", how="left")
        .sort(pl.col("amount").fill_null(-1), "deal_id", "title", descending=[True, False, False])
        .head(TOP)
    )
    rows = [
        [_named(row), _money(row["amount"], row["currency"]), escaped(row["title"]), row["change"]]
        for row in largest.iter_rows(named=True)
    ]
    listed = table(["Deal", "Amount", "Alert", "Change"], rows)
    return "## Alerts tomorrow\n\n" + "\n".join(told) + f"\n\n{listed}"


def bands(scores: Sequence[int], tops: Tops) -> str:
    """How the bands would fill, and where to cut them when one would hold most deals."""
    found = advice(scores, tops)
    told = f"Under this model the open deals fall into {in_words(found.shares)}: {found.sentence}"
    return f"## Where to cut the bands\n\n{told}"


def _named(row: dict[str, object]) -> str:
    return escaped(row["name"] or row["deal_id"])


def _money(amount: object, currency: object) -> str:
    if not isinstance(amount, float | int) or amount != amount:
        return "–"
    return f"{escaped(currency or '')} {amount:,.0f}".strip()
