"""Episodes of stages and segments: the weekly reviews' rows folded as the signals of mornings are.

Few rows a week, so all of them are folded each time: the order in which past weeks were reviewed leaves no
trace. A Monday without a review says nothing, as a morning that was not scored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.alerts.episodes.fold import Background, fold
from dealwatch.alerts.episodes.keeping import TRENDS, Folded, answers_about, live_mornings, rewrite
from dealwatch.alerts.trends.rule import TREND_RULES, WEEKS
from dealwatch.moments import local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import NO_DEAL, alert_signals, reviews, trends
from dealwatch.warehouse import frame, rows_of, schema_of

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNALS = schema_of(alert_signals)


@dataclass(frozen=True)
class FoldedTrends:
    """The fold, its weeks' rows of `trends`, and when each alert opened: rule, subject and moment."""

    folded: Folded
    rows: pl.DataFrame
    openings: tuple[tuple[str, str, datetime], ...]


def is_trend_morning(moment: datetime, settings: Settings) -> bool:
    """Whether alerts of stages and segments are told of a moment: on Mondays' mornings, with the review."""
    day = local_day(moment, settings)
    return day.weekday() == 0 and moment == morning_of(day, settings)


def fold_trends(connection: Connection, *, until: datetime, settings: Settings) -> FoldedTrends:
    """Fold all reviewed Mondays up to a moment, and keep `alerts` and `alert_events` equal to it."""
    c = reviews.c
    reviewed = rows_of(connection, select(c.as_of).where(c.period == "week", c.as_of <= until))
    mornings = sorted(row.as_of for row in reviewed if is_trend_morning(row.as_of, settings))
    rows = frame(connection, select(trends).where(trends.c.as_of.in_(mornings)))
    known = Background(
        confirm=dict.fromkeys(TREND_RULES, WEEKS),
        answers=answers_about(connection, pl.Series([NO_DEAL])),
    )
    # The holdout draws deals, to measure what telling does to them; there is one stage of a name.
    alerts = settings.alerts.model_copy(update={"holdout_share": 0.0})
    episodes = fold(
        signals_of(rows), mornings, known, settings=settings.model_copy(update={"alerts": alerts})
    )
    rewrite(connection, _ALWAYS, episodes, episodes.standing, episodes.pending, TRENDS)
    live = live_mornings(connection, TRENDS)
    start = mornings[0] if mornings else until
    folded = Folded(start, tuple(mornings), live, episodes.standing, episodes.pending, episodes.tenures)
    openings = tuple(episodes.alerts.select("rule", "scope", "opened_at").rows())
    return FoldedTrends(folded, rows, openings)


def signals_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `trends` that hold, as signals about no deal, whose scope is the subject."""
    return (
        rows.filter(pl.col("level").is_not_null())
        .with_columns(
            deal_id=pl.lit(NO_DEAL), scope="subject", owner_id=pl.lit(""), amount=0.0, score=pl.lit(0)
        )
        .select(pl.col(name).cast(type_) for name, type_ in _SIGNALS.items())
        .sort("as_of", "rule", "scope")
    )


def lasting(rows: pl.DataFrame, settings: Settings) -> Mapping[tuple[str, str, date], bool | None]:
    """Whether each stage and segment was still worse than half a year before, by the day of the review."""
    asked = rows.select("rule", "subject", "as_of", "has_lasted").rows()
    return {(rule, subject, local_day(at, settings)): lasted for rule, subject, at, lasted in asked}
