"""How a stage's losses changed among deals of the same mix: what is left of it when the mix is held.

When more deals of a weak kind come, every stage loses more, and no stage has a leak. So a stage's change is
told at the mix of both times together: the change within each segment, weighted by its share of all entries.
"""

import numpy as np
import polars as pl

from dealwatch.insights.known import Known
from dealwatch.insights.segments import labelled
from dealwatch.insights.stages import HAZARD_CHANGE, told_of
from dealwatch.insights.statistics import Floats, by_block
from dealwatch.insights.windows import Window


def hazard_changes(known: Known, before: Window, after: Window, by: str) -> pl.DataFrame:
    """As `stages.hazard_changes`, at the same mix of one column; a segment without entries counts nowhere."""
    stages = known.stages
    kinds = pl.concat([one.select("deal_id", by) for one in (known.closed, known.open)])
    kinds = labelled(kinds, (by,)).select("deal_id", "segment")
    rows = _events(known, (before, after)).join(kinds, on="deal_id", how="inner", maintain_order="left")
    names = rows["segment"].cast(pl.String).unique().sort()
    segment = rows["segment"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
    # Stage by segment by time by (loss, entry): the last two lie side by side, as `change` reads them.
    cell = ((rows["place"].to_numpy() * len(names) + segment) * 2 + rows["time"].to_numpy()) * 2
    deal = rows["deal_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    seed = known.settings.scoring.seed
    cells = 4 * len(stages) * len(names)
    sums = by_block(
        cell + rows["is_entry"].to_numpy(), (np.ones(len(cell)),), cells=cells, seed=seed, deal=deal
    )
    shape = (-1, len(stages), len(names), 2, 2)

    def change(drawn: Floats) -> Floats:
        losses, entries = (drawn.reshape(shape)[..., kind] for kind in (0, 1))
        has_both = (entries > 0).all(axis=3)
        hazard = np.divide(losses, entries, out=np.zeros_like(losses), where=entries > 0)
        weight = np.where(has_both, entries.sum(axis=3), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = weight / weight.sum(axis=2, keepdims=True)
            return np.asarray(100 * (share * (hazard[..., 1] - hazard[..., 0])).sum(axis=2))

    whole = sums.sum(axis=0).reshape(shape)[0]
    counts = whole[..., 1].sum(axis=1).min(axis=1)
    return told_of(stages, HAZARD_CHANGE, change, sums, counts, seed=seed)


def _events(known: Known, windows: tuple[Window, Window]) -> pl.DataFrame:
    """deal_id, place (of the stage), time (0 or 1), is_entry: every entry to a stage and loss from one."""
    places = {stage: place for place, stage in enumerate(known.stages)}
    lost = known.closed.filter(~pl.col("won")).select(
        "deal_id", stage="last_stage", at="closed_at", is_entry=0
    )
    came = known.spells.select("deal_id", "stage", at="entered_at", is_entry=1)
    both = pl.concat([one.with_columns(pl.col("stage").cast(pl.String)) for one in (lost, came)])
    place = pl.col("stage").replace_strict(places, default=None, return_dtype=pl.Int64)
    parts = [
        both.filter(window.holds("at")).select("deal_id", "is_entry", place=place, time=pl.lit(time))
        for time, window in enumerate(windows)
    ]
    return pl.concat(parts).drop_nulls("place")
