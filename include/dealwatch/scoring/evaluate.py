"""How good past scores were, judged on outcomes that came later: what a newcomer reads before trusting us.

Reads the stored scores of a range of mornings and what became of those deals. Deals still open are counted,
not judged, except by the horizons they outlived. Intervals come from drawing whole deals anew (`quality`).
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
from sqlalchemy import Connection, and_, func, select

from dealwatch.moments import morning_of
from dealwatch.scoring.bands import BANDS, Advice, advice
from dealwatch.scoring.horizons import HORIZONS
from dealwatch.scoring.judgement import LEAST, Better, better_of, parted
from dealwatch.scoring.quality import Difference, Quality, difference, quality
from dealwatch.scoring.reliability import Bin, bin_of
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deal_snapshots, deals, extract_runs
from dealwatch.warehouse import frame, instant


@dataclass(frozen=True)
class Slice:
    """Quality of one method's scores on some rows: the score's ranking, and p_loss where there is one.

    difference: the score's AUC minus p_loss's.
    """

    method: str
    stage: str
    score: Quality
    p_loss: Quality | None
    difference: Difference = Difference()

    @property
    def better(self) -> Better:
        """Which of the two ranks better, beyond what chance would do."""
        return better_of(self.difference)


@dataclass(frozen=True)
class Band:
    """The deal-mornings of one band, and how many of them ended lost; no rate without any."""

    name: str
    share: float
    found: Bin | None


@dataclass(frozen=True)
class Report:
    """Scores of the mornings from `first` to `last` against outcomes that came later.

    judged: the rows, with lost (0/1), of the method that scored most of them; weeks: its AUC week by week.
    """

    first: date
    last: date
    scored: int  # deal-mornings with a stored score
    unresolved: int  # of them, of deals that are still open
    pooled: tuple[Slice, ...]
    stages: tuple[Slice, ...]
    horizons: tuple[tuple[int, Quality], ...] = ()
    bands: tuple[Band, ...] = ()
    cuts: Advice | None = None  # whether the bands should be cut anew
    weeks: tuple[tuple[date, Quality], ...] = ()
    judged: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)
    lacking: str = ""  # what a reader must know first: that there was no history to look at

    @property
    def main(self) -> Slice | None:
        """The method that scored most deal-mornings."""
        return max(self.pooled, key=lambda part: part.score.rows, default=None)

    def text(self) -> str:
        """The report as lines for a terminal."""
        from dealwatch.scoring.evaluation_text import text

        return text(self)


def evaluate(connection: Connection, first: date, last: date, settings: Settings) -> Report:
    """Judge the stored scores of the mornings from `first` to `last`, both included."""
    scored, speaks_for = _scored(connection, first, last, settings), _speaks_for(connection)
    judged = judged_of(scored)
    unresolved = scored.filter(pl.col("outcome").is_null()).height
    seed = settings.scoring.seed
    pooled = tuple(_slice(rows, method, "", seed) for method, rows in parted(judged, "method"))
    stages = [
        _slice(rows, method, stage, seed)
        for method, of_method in parted(judged, "method")
        for stage, rows in parted(of_method, "stage")
    ]
    report = Report(
        first,
        last,
        scored.height,
        unresolved,
        pooled,
        tuple(part for part in stages if min(part.score.won, part.score.lost) >= LEAST),
        tuple(_horizons(scored, speaks_for, seed)),
    )
    if report.main is None:
        return report
    mine = judged.filter(pl.col("method") == report.main.method)
    every = scored.filter(pl.col("method") == report.main.method)
    cuts = advice(every["score"], settings.scoring.bands)
    return replace(report, bands=_bands(mine), cuts=cuts, weeks=tuple(_weeks(mine, seed)), judged=mine)


def judged_of(scored: pl.DataFrame) -> pl.DataFrame:
    """The scored rows whose outcome came later than their morning, with `lost` (0/1)."""
    later = pl.col("outcome").is_not_null() & (pl.col("closed_at") > pl.col("as_of"))
    return scored.filter(later).with_columns(lost=(pl.col("outcome") == "lost").cast(pl.Int8))


def _scored(connection: Connection, first: date, last: date, settings: Settings) -> pl.DataFrame:
    same = and_(
        deal_snapshots.c.as_of == deal_scores.c.as_of, deal_snapshots.c.deal_id == deal_scores.c.deal_id
    )
    told = ("as_of", "deal_id", "score", "band", "p_loss", *(f"p_loss_{days}" for days in HORIZONS), "method")
    query = (
        select(
            *(deal_scores.c[name] for name in told),
            deal_snapshots.c.stage,
            deals.c.outcome,
            deals.c.closed_at,
        )
        .join_from(deal_scores, deals, deals.c.deal_id == deal_scores.c.deal_id)
        .join(deal_snapshots, same, isouter=True)
        .where(
            deal_scores.c.as_of >= morning_of(first, settings),
            deal_scores.c.as_of <= morning_of(last, settings),
            deals.c.is_deleted.is_(False),
        )
    )
    return frame(connection, query).sort("as_of", "deal_id")


def _speaks_for(connection: Connection) -> datetime | None:
    """The latest moment that extracts speak for: what had not happened by then may have happened since."""
    found = connection.execute(select(func.max(extract_runs.c.extracted_at))).scalar()
    return found if isinstance(found, datetime) else None


def _slice(rows: pl.DataFrame, method: str, stage: str, seed: int) -> Slice:
    lost, deal, morning = (rows[name].to_numpy() for name in ("lost", "deal_id", "as_of"))
    points = rows["score"].to_numpy()
    score = quality(lost, deal, points, p=None, seed=seed, mornings=morning)
    if rows["p_loss"].null_count():
        return Slice(method, stage, score, None)
    p = rows["p_loss"].to_numpy()
    found = quality(lost, deal, p, p=p, seed=seed, mornings=morning)
    return Slice(method, stage, score, found, difference(lost, deal, (points, None), (p, None), seed=seed))


def _horizons(scored: pl.DataFrame, speaks_for: datetime | None, seed: int) -> list[tuple[int, Quality]]:
    """For each horizon, quality on the mornings that were watched for as long; deals still open count."""
    if speaks_for is None:
        return []
    found = []
    for days in HORIZONS:
        by = pl.col("as_of") + timedelta(days=days)
        still_open = pl.col("closed_at").is_null() | (pl.col("closed_at") > pl.col("as_of"))
        rows = scored.filter(
            pl.col(f"p_loss_{days}").is_not_null() & (by <= instant(speaks_for)) & still_open
        )
        lost = rows.select(((pl.col("outcome") == "lost") & (pl.col("closed_at") <= by)).fill_null(False))
        if rows.height:
            p = rows[f"p_loss_{days}"].to_numpy()
            found.append(
                (days, quality(lost.to_series().to_numpy(), rows["deal_id"].to_numpy(), p, p=p, seed=seed))
            )
    return found


def _bands(judged: pl.DataFrame) -> tuple[Band, ...]:
    found = []
    for name in BANDS:
        rows = judged.filter(pl.col("band") == name)
        points, lost = rows["score"].to_numpy() / 100, rows["lost"].to_numpy().astype(np.float64)
        told = bin_of(points, lost, rows["deal_id"].to_numpy()) if rows.height else None
        found.append(Band(name, rows.height / judged.height, told))
    return tuple(found)


def _weeks(judged: pl.DataFrame, seed: int) -> list[tuple[date, Quality]]:
    """Quality of the ranking in each week that has enough deals, by the week's Monday."""
    ranking = "score" if judged["p_loss"].null_count() else "p_loss"
    named = judged.with_columns(week=pl.col("as_of").dt.date().dt.truncate("1w"))
    found = []
    for week in named["week"].unique().sort():
        rows = named.filter(pl.col("week") == week)
        told = quality(*(rows[n].to_numpy() for n in ("lost", "deal_id", ranking)), p=None, seed=seed)
        if min(told.won, told.lost) >= LEAST:
            found.append((week, told))
    return found
