"""What the forest's scores are made of: how much each group of facts moves them, over all open deals."""

import polars as pl
from sqlalchemy import Connection, func, select

from dealwatch.insights.known import Known
from dealwatch.tables import deal_scores
from dealwatch.warehouse import frames

_PART = pl.Struct({"name": pl.String(), "kind": pl.String(), "points": pl.Int64()})


def forest_points(connection: Connection, known: Known) -> dict[str, float]:
    """Mean absolute points of each group of facts on the newest scored morning by the moment; {} without.

    Only deals that the forest scored count; points of rules are none of the forest's. Points are whole
    numbers, so what moves scores by less than half a point does not show.
    """
    c = deal_scores.c
    newest = select(func.max(c.as_of)).where(c.as_of <= known.as_of).scalar_subquery()
    query = select(c.points).where(c.as_of == newest, c.method == "hybrid")
    sums = [_sums(part) for part in frames(connection, query)]
    told = pl.concat(sums).group_by("name").agg(pl.col("points", "deals").sum()).sort("name")
    return {name: points / deals for name, points, deals in told.iter_rows()}


def _sums(part: pl.DataFrame) -> pl.DataFrame:
    points = part.select(pl.col("points").str.json_decode(pl.List(_PART)).explode()).unnest("points")
    groups = points.filter(pl.col("kind") == "group").group_by("name")
    return groups.agg(pl.col("points").abs().sum(), deals=pl.len())
