"""What each deal's fields in the CRM were last told, so that only what changed is sent.

A row is kept once the CRM has answered, never before: a process that dies in between sends the same again.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.crm.writing import Verdict
from dealwatch.tables import written_back
from dealwatch.warehouse import frame, instant, put, schema_of

SETTLED = ("written", "refused")  # until the value changes


def due(connection: Connection, source: str, wishes: pl.DataFrame, *, as_of: datetime) -> pl.DataFrame:
    """The wishes that the CRM has not been told, or could not take when it was; in their order.

    What a later morning has told stands.
    """
    c = written_back.c
    query = select(c.deal_id, c.state, c.digest.label("known"), c.as_of).where(c.source == source)
    joined = wishes.join(frame(connection, query), on="deal_id", how="left", maintain_order="left")
    is_settled = pl.col("state").is_in(SETTLED) & (pl.col("digest") == pl.col("known"))
    is_later = pl.col("as_of") > instant(as_of)
    return joined.filter(~(is_settled | is_later).fill_null(False)).select(wishes.columns)


def remember(
    connection: Connection,
    source: str,
    wishes: pl.DataFrame,
    verdicts: Sequence[Verdict],
    *,
    as_of: datetime,
    now: datetime,
) -> None:
    """Keep what the CRM said to these wishes."""
    said = pl.DataFrame(
        {
            "deal_id": [verdict.deal_id for verdict in verdicts],
            "state": [verdict.state for verdict in verdicts],
            "code": [verdict.code for verdict in verdicts],
        },
        schema=schema_of(written_back, "deal_id", "state", "code"),
    )
    rows = said.join(wishes.select("deal_id", "digest"), on="deal_id", how="inner", validate="1:1")
    stamps = {"source": pl.lit(source), "as_of": instant(as_of), "recorded_at": instant(now)}
    put(connection, written_back, rows.with_columns(**stamps).select(written_back.columns.keys()))
