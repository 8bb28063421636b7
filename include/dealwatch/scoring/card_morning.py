"""The part of a model card about the morning after a yes: bands and alerts that would change."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from dealwatch.scoring.markdown import escaped, table
from dealwatch.scoring.score import BANDS, band

TOP = 10
APPEARS, VANISHES = "appears", "vanishes"
WANTED = (0.6, 0.3, 0.1)  # share of deals above the tops of Low, Medium and High when bands are cut anew
_CROWDED = 0.5
_CUTS = "## Where to cut the bands\n\n"


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


def bands(scores: Sequence[int], tops: tuple[int, int, int]) -> str:
    """How the bands would fill, and where to cut them when one would hold most deals."""
    held = [band(score, tops) for score in scores]
    shares = {name: held.count(name) / len(held) for name in BANDS}
    told = "Under this model the open deals fall into " + ", ".join(
        f"{name} {share:.0%}" for name, share in shares.items()
    )
    fullest = max(BANDS, key=lambda name: shares[name])
    if shares[fullest] <= _CROWDED and shares[BANDS[-1]] > 0:
        return f"{_CUTS}{told}: no band holds most of them, so the cuts may stay."
    crowded = f"{fullest} would hold most of them and tell little"
    wrong = crowded if shares[fullest] > _CROWDED else f"{BANDS[-1]} would stay empty"
    cut = recut(scores)
    if cut is None:
        return f"{_CUTS}{told}: {wrong}. The scores are too much alike to part them better."
    now = [sum(score > top for score in scores) / len(scores) for top in cut]
    filled = [1 - now[0], now[0] - now[1], now[1] - now[2], now[2]]
    advice = ", ".join(f"{name} {share:.0%}" for name, share in zip(BANDS, filled, strict=True))
    return f"{_CUTS}{told}: {wrong}. `scoring.bands = {list(cut)}` would give {advice}."


def recut(scores: Sequence[int]) -> tuple[int, int, int] | None:
    """Tops of Low, Medium and High that leave about `WANTED` above each; None when the scores do not part."""
    above = {top: sum(score > top for score in scores) / len(scores) for top in range(1, 100)}
    cut: list[int] = []
    for share in WANTED:
        left = [top for top in above if top > (cut[-1] if cut else 0)]
        if not left:
            return None
        cut.append(min(left, key=lambda top: (abs(above[top] - share), top)))
    filled = [1 - above[cut[0]], above[cut[0]] - above[cut[1]], above[cut[1]] - above[cut[2]], above[cut[2]]]
    return (cut[0], cut[1], cut[2]) if max(filled) <= _CROWDED else None


def _named(row: dict[str, object]) -> str:
    return escaped(row["name"] or row["deal_id"])


def _money(amount: object, currency: object) -> str:
    if not isinstance(amount, float | int) or amount != amount:
        return "–"
    return f"{escaped(currency or '')} {amount:,.0f}".strip()
