"""Which changes of a history are in the ledger already, because comparing the deal's row had found them.

A deal that moves while its source is read has its new value in its row tonight and the change in its history
tomorrow; a value that was renamed is in the row at once, and in the history from its next state on. The same
change of value, with nothing between the two moments, is one change: the ledger keeps the one it has.
"""

import polars as pl

_FIELD = ["deal_id", "field"]
_CHANGE = [*_FIELD, "old_value", "new_value"]


def found_before(history: pl.DataFrame, found: pl.DataFrame, known: pl.DataFrame) -> pl.Series:
    """`row` of those changes of a history that comparing had found.

    history: distinct changes with row, deal_id, field, old_value, new_value, happened_at.
    found: the ledger's changes of these deals that no history told, in the same columns without row.
    known: every change of theirs in the ledger, with deal_id, field, happened_at.
    """
    moments = [*_FIELD, "happened_at"]
    every = pl.concat([history.select(moments), known.select(moments)]).unique()
    nth = pl.col("happened_at").rank("dense").over(_FIELD).cast(pl.Int64)
    told, before = (
        frame.join(every.with_columns(nth.alias(name)), on=moments)
        for frame, name in ((history, "nth"), (found, "found nth"))
    )
    pairs = told.join(before.select(*_CHANGE, "found nth"), on=_CHANGE, nulls_equal=True)
    return pairs.filter((pl.col("nth") - pl.col("found nth")).abs() <= 1)["row"].unique()
