"""Where a model is good and where it is not: by stage, by size of the deal, beside the score."""

from itertools import pairwise
from typing import Any, Literal

import polars as pl

from dealwatch.scoring.forest import UNKNOWN
from dealwatch.scoring.quality import Difference, Quality, difference, quality
from dealwatch.settings import Settings

LEAST = 20  # won and lost deals; below, a slice's numbers say nothing and are left unknown
_BANDS = 3  # bands of amount that hold alike many rows
_LEFT_OUT = {"reliability", "calibration_error", "calibration_error_chance", "rows"}


Better = Literal["score", "p_loss", "no difference"]


def by_slices(judged: pl.DataFrame, *, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Quality of the judged rows (see `trial.train`) under `by_stage` and `by_amount`: a row a slice."""
    seed = settings.scoring.seed
    return {
        "by_stage": [_row(name, rows, seed) for name, rows in parted(judged, "stage")],
        "by_amount": [_row(name, rows, seed) for name, rows in amount_bands(judged)],
    }


def ranks_better(rows: pl.DataFrame, *, settings: Settings) -> list[dict[str, Any]]:
    """Whether the score or p_loss alone ranks deals better, over all (first, without a name) and by stage.

    rows: deal_id, stage, lost (0/1), score, p_loss. A row each of the result: name, deals, the score's AUC
    less p_loss's with its interval by paired bootstrap over deals, better. Stages with few deals stay out.
    """
    found = []
    for name, part in [("", rows), *parted(rows, "stage")]:
        deals = part.group_by("deal_id").agg(pl.col("lost").max())["lost"]
        if min(deals.sum(), len(deals) - deals.sum()) >= LEAST:
            lost, deal, score, p = (part[c].to_numpy() for c in ("lost", "deal_id", "score", "p_loss"))
            ahead = difference(lost, deal, (score, None), (p, None), seed=settings.scoring.seed)
            told = {"auc": ahead.auc, "auc_low": ahead.auc_low, "auc_high": ahead.auc_high}
            found.append({"name": name, "deals": len(deals), **told, "better": better_of(ahead)})
    return found


def better_of(ahead: Difference) -> Better:
    """Which ranks better beyond what chance would do, by how far the score is ahead of p_loss."""
    if ahead.auc_low is None or ahead.auc_high is None or ahead.auc_low <= 0 <= ahead.auc_high:
        return "no difference"
    return "score" if ahead.auc_low > 0 else "p_loss"


def parted(rows: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    """The rows by what the column says, in the order of its words; an unknown one has a name too."""
    named = rows.with_columns(pl.col(column).cast(pl.String).fill_null(UNKNOWN))
    return [(name, named.filter(pl.col(column) == name)) for name in named[column].unique().sort()]


def amount_bands(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The rows in bands of alike many rows by `amount`, by name; without an amount, a band of its own."""
    known = rows.filter(pl.col("amount").is_not_null())
    amounts = known["amount"]
    cuts = (amounts.quantile(n / _BANDS, "nearest") for n in range(1, _BANDS))
    edges = [float("-inf"), *sorted({float(cut) for cut in cuts if cut is not None}), float("inf")]
    bands = []
    for low, high in pairwise(edges):
        inside = known.filter((pl.col("amount") > low) & (pl.col("amount") <= high))
        if inside.height:
            bands.append((_name(low, high), inside))
    unknown = rows.filter(pl.col("amount").is_null())
    return [*bands, *([("(no amount)", unknown)] if unknown.height else [])]


def _name(low: float, high: float) -> str:
    if low == float("-inf"):
        return "any amount" if high == float("inf") else f"up to {high:,.0f}"
    return f"above {low:,.0f}" if high == float("inf") else f"{low:,.0f} to {high:,.0f}"


def _row(name: str, rows: pl.DataFrame, seed: int) -> dict[str, Any]:
    deals = rows.group_by("deal_id").agg(pl.col("lost").max())
    lost = int(deals["lost"].sum())
    if min(lost, deals.height - lost) < LEAST:
        found = Quality(rows.height, deals.height, deals.height - lost, lost)
    else:
        columns = (rows[column].to_numpy() for column in ("lost", "deal_id", "raw"))
        found = quality(*columns, p=rows["p_loss"].to_numpy(), seed=seed)
    told = {key: value for key, value in found.as_dict().items() if key not in _LEFT_OUT}
    return {"name": name, "n": found.rows, **told}
