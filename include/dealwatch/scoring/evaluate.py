"""How good past scores were, judged on outcomes that came later: what a newcomer reads before trusting us.

Reads the stored scores of a range of mornings and what became of those deals. Only mornings are judged that
were followed long enough for most outcomes to have come: of later ones only the deals that ended fast have an
outcome, and these are the easy ones. Deals still open are counted, not judged, except by the horizons they
outlived. Intervals come from drawing whole deals anew (`quality`).
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
from sqlalchemy import Connection, and_, func, select

from dealwatch.history.ledger import CHANGE_ORDER, TOUCH_ORDER, Ledger
from dealwatch.history.terms import reads_a_source
from dealwatch.moments import local_day, morning_of
from dealwatch.scoring.bands import BANDS, Advice, advice
from dealwatch.scoring.horizons import HORIZONS
from dealwatch.scoring.judgement import LEAST, Better, better_of, parted
from dealwatch.scoring.quality import Difference, Quality, difference, quality
from dealwatch.scoring.realised import followed_until
from dealwatch.scoring.reliability import Bin, bin_of
from dealwatch.settings import Settings
from dealwatch.tables import (
    activities,
    deal_changes,
    deal_scores,
    deal_snapshots,
    deals,
    extract_runs,
    model_versions,
)
from dealwatch.warehouse import frame, instant

MOST_OPEN = 0.25  # share of the judged mornings' rows that may lack an outcome, for a verdict
_LIFE = ("created_at", "outcome", "deleted")  # what the ledger must tell to see how long outcomes take


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
class Followed:
    """Which of the scored mornings were followed long enough to be judged, and how far outcomes are known."""

    known_until: date | None  # the latest extract; without one nothing can be judged
    until: date | None  # later mornings are left out; None: the history is too short to know
    mornings: int
    rows: int  # their deal-mornings
    unresolved: int  # of them, of deals that are still open
    recent_mornings: int  # those left out
    recent_rows: int

    @property
    def open_share(self) -> float:
        """The share of the deal-mornings followed long enough whose deals are still open."""
        return self.unresolved / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Report:
    """Scores of the mornings from `first` to `last` against outcomes that came later.

    judged: the rows, with lost (0/1), of the method that scored most of them; weeks: its AUC week by week.
    """

    first: date
    last: date
    scored: int  # deal-mornings with a stored score
    followed: Followed
    pooled: tuple[Slice, ...]
    stages: tuple[Slice, ...]
    horizons: tuple[tuple[int, Quality], ...] = ()
    bands: tuple[Band, ...] = ()
    cuts: Advice | None = None  # whether the bands should be cut anew
    weeks: tuple[tuple[date, Quality], ...] = ()
    waiting: tuple[str, date] | None = (
        None  # a model that waits for a yes, and from when it could have served
    )
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
    followed, old_enough = _followed(connection, scored, speaks_for, settings)
    judged = judged_of(old_enough)
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
        followed,
        pooled,
        tuple(part for part in stages if min(part.score.won, part.score.lost) >= LEAST),
        tuple(_horizons(scored, speaks_for, seed)),
        waiting=_waiting(connection, last, settings) if "rules" in scored["method"] else None,
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
    found = connection.execute(
        select(func.max(extract_runs.c.extracted_at)).where(
            extract_runs.c.state.not_in(("reading", "replayed")),
            reads_a_source(),
        )
    ).scalar()
    return found if isinstance(found, datetime) else None


def _followed(
    connection: Connection, scored: pl.DataFrame, speaks_for: datetime | None, settings: Settings
) -> tuple[Followed, pl.DataFrame]:
    """What may be judged, and its rows: mornings that a training could learn from by now."""
    until = None
    if speaks_for is not None:
        until = followed_until(_lives(connection, speaks_for), speaks_for, settings=settings)
    if until is not None and until < (same_day := morning_of(local_day(until, settings), settings)):
        until = same_day - timedelta(days=1)  # a whole morning, which can be named by its day
    old_enough = scored.filter(pl.col("as_of") <= instant(until)) if until else scored.clear()
    mornings = old_enough["as_of"].n_unique()
    found = Followed(
        speaks_for and local_day(speaks_for, settings),
        until and local_day(until, settings),
        mornings,
        old_enough.height,
        old_enough["outcome"].null_count(),
        scored["as_of"].n_unique() - mornings,
        scored.height - old_enough.height,
    )
    return found, old_enough


def _lives(connection: Connection, until: datetime) -> Ledger:
    """When each deal came to be known and how it ended, without the rest of the ledger."""
    names = ("deal_id", "field", "old_value", "new_value", "happened_at", "known_at", "seq")
    changes = select(*(deal_changes.c[name] for name in names)).where(
        deal_changes.c.field.in_(_LIFE), deal_changes.c.known_at <= until
    )
    none = select(*(activities.c[name] for name in TOUCH_ORDER)).where(activities.c.deal_id.is_(None))
    return Ledger(frame(connection, changes).sort(CHANGE_ORDER), frame(connection, none))


def _waiting(connection: Connection, last: date, settings: Settings) -> tuple[str, date] | None:
    """The latest model that passed the gate by the end of the range, and that nobody has decided about."""
    moment = model_versions.c.trained_as_of
    asked = select(model_versions.c.version, moment).where(
        model_versions.c.status == "challenger", moment <= morning_of(last, settings)
    )
    row = connection.execute(asked.order_by(moment.desc(), model_versions.c.version)).first()
    if row is None:
        return None
    day = local_day(row.trained_as_of, settings)
    return row.version, day if row.trained_as_of <= morning_of(day, settings) else day + timedelta(days=1)


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
