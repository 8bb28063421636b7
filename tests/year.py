"""A year, or the end of one, lived through in a made-up world as the DAGs would do it, scored and alerted
every morning; trained and measured each quarter: a month's model shows nothing that a quarter's does not.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from sqlalchemy import select

from dealwatch import jobs
from dealwatch.knobs import Scoring, Source
from dealwatch.moments import morning_of
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from dealwatch.warehouse import connect, frame, reading
from model_samples import without_rivals

UNTIL = date(2026, 11, 1)
QUARTERS = (date(2025, 11, 1), date(2026, 2, 1), date(2026, 5, 1), date(2026, 8, 1))


def lived_through(
    world: Literal["planted", "null"],
    home: Path,
    *,
    deals: int,
    seed: int,
    trees: int,
    quarters: Sequence[date] = QUARTERS,
) -> Settings:
    """The settings of a warehouse that holds the quarters of 18 months, each by the model of its own time."""
    jobs.simulate(world, home / "drop", deals=deals, days=548, seed=seed, until=UNTIL)
    # Few trees rank nearly as well as two hundred, and are grown each quarter here.
    scoring = Scoring(trees=trees, auto_approve=True, threads=1)
    settings = Settings(home=home, sources={"crm": Source(path=home / "drop")}, scoring=scoring)
    jobs.upgrade(settings)
    jobs.extract(settings, now=datetime(2026, 11, 1, 4, tzinfo=UTC))
    for first, following in zip(quarters, [*quarters[1:], UNTIL], strict=True):
        last = date.fromordinal(following.toordinal() - 1)
        with without_rivals():
            jobs.train(settings, as_of=morning_of(first, settings))
        jobs.measure(settings, as_of=morning_of(first, settings))
        jobs.score(settings, as_of=morning_of(first, settings), until=morning_of(last, settings))
    jobs.alert(settings, as_of=morning_of(last, settings), now=datetime(2026, 12, 1, tzinfo=UTC))
    return settings


def rows(settings: Settings, *columns: object) -> pl.DataFrame:
    """The columns of a table in the world's warehouse."""
    with reading(connect(settings)) as connection:
        return frame(connection, select(*columns))  # type: ignore[call-overload]


def scores_that_do_not_sum(settings: Settings) -> tuple[int, pl.DataFrame]:
    """How many scores the year has, and those whose points do not sum to the score shown."""
    columns = ("as_of", "deal_id", "score", "points")
    scored = rows(settings, *(deal_scores.c[name] for name in columns))
    points = pl.col("points").str.json_decode(pl.List(pl.Struct({"points": pl.Int64})))
    summed = scored.with_columns(sum=points.list.eval(pl.element().struct.field("points")).list.sum())
    return scored.height, summed.filter(pl.col("sum").ne_missing(pl.col("score")))
