"""Writes a review to the warehouse: its figures as rows for BI tools, and all of it as JSON.

A review of a moment is composed of what was known then, so making it again writes the same bytes, whatever
came since and on whichever database.
"""

from collections.abc import Mapping
from dataclasses import replace as replaced
from datetime import date, datetime, timedelta
from math import floor, isfinite, log10
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Engine

from dealwatch.alerts.fingerprints import digest
from dealwatch.insights.composing import composed
from dealwatch.insights.forest_shares import forest_points
from dealwatch.insights.known import read, scores_by
from dealwatch.insights.looked import look
from dealwatch.insights.measure import SCHEMA
from dealwatch.insights.periods import periods
from dealwatch.insights.replay import past_origins
from dealwatch.insights.review import Audience, Period, Review
from dealwatch.insights.trends import trends as trends_of
from dealwatch.insights.windows import Window
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import NO_DEAL, pipeline_metrics, rep_metrics, reviews, segment_metrics, trends
from dealwatch.warehouse import as_json, reading, replace, schema_of, writing

DIGITS = 10  # of a stored figure: sums in another order differ only beyond these
_FIGURE = list(SCHEMA)[1:]
_BRIDGE = {"impact": "segment_impact", "rate": "segment_rate_effect", "mix": "segment_mix_effect"}


def keep(engine: Engine, as_of: datetime, period: Period, *, settings: Settings) -> Review:
    """Compose the review of a moment, write it in place of what was there for it, and give it back."""
    with reading(engine) as connection:
        known = read(connection, as_of, settings)
        origins = past_origins(known, scores=lambda moment: scores_by(connection, moment))
        forest = forest_points(connection, known)
    looked = look(known, periods(as_of, period, settings), origins=origins, forest=forest)
    review, worse = composed(looked), trends_of(looked) if period == "week" else None
    rows = {
        reviews: _review(review, settings),
        pipeline_metrics: pipeline_rows(review),
        segment_metrics: segment_rows(review),
        rep_metrics: rep_rows(review),
    }
    with writing(engine, alone="review") as connection:
        for table, frame in rows.items():
            mine = (table.c.as_of == as_of) & (table.c.period == period)
            types = pl.Schema(schema_of(table))
            kept = frame.with_columns(pl.lit(as_of).alias("as_of"), pl.lit(period).alias("period"))
            replace(connection, table, mine, kept.select(list(types)).cast(types))
        if worse is not None:
            replace(connection, trends, trends.c.as_of == as_of, trend_rows(worse, as_of, settings))
    return review


def trend_rows(told: pl.DataFrame, as_of: datetime, settings: Settings) -> pl.DataFrame:
    """Rows of `trends`, each under the fingerprint of the alert that it would be."""
    named = told.select("rule", "subject").rows()
    prints = [digest(settings.tenant, rule, NO_DEAL, subject) for rule, subject in named]
    types = pl.Schema(schema_of(trends))
    told = told.with_columns(pl.lit(as_of).alias("as_of"), fingerprint=pl.Series(prints, dtype=pl.String))
    return _rounded(told).select(list(types)).cast(types)


def pipeline_rows(review: Review) -> pl.DataFrame:
    """name, scope and the figure: all that is about all deals together."""
    told = review.figures
    card = told["pipeline"].with_columns(of=pl.lit("now"))
    # The published variant once more, so that a series of it needs no knowledge of which one that was.
    is_published = pl.col("is_published") & pl.col("name").is_in(["rapv", "optimism_gap", "forecast_bias"])
    published = told["forecast"].filter(is_published).with_columns(of=pl.lit("now"))
    month = pl.col("month").cast(pl.String).str.zfill(2)
    seasons = told["seasons"].with_columns(of=pl.format("month {}", month).fill_null("now"))
    parts = (told["totals"], card, told["forecast"], published, told["slips"], _series(review), seasons)
    return _rounded(pl.concat(part.select("name", pl.col("of").alias("scope"), *_FIGURE) for part in parts))


def _series(review: Review) -> pl.DataFrame:
    """The win rates of single weeks or months under a name of their own, since they overlap the windows."""
    rows = review.figures["win_rate_series"]
    return rows.with_columns(name=pl.lit(f"win_rate_of_{review.period}"), of=pl.col("time"))


def segment_rows(review: Review) -> pl.DataFrame:
    """name, dimension, segment, scope, the figure, p and q: all that is by a part of the business."""
    told = review.figures
    segments = told["segments"].with_columns(of=pl.lit("year"))
    stages = told["stages"].with_columns(by=pl.lit("stage"), segment="stage", of="time")
    cohorts = told["cohorts"].with_columns(by=pl.lit("quarter_created"), segment="quarter", of=pl.lit("now"))
    drivers = told["drivers"].with_columns(by="feature", of=pl.lit("year"))
    parts = (segments, *_effects(told["bridge"]), stages, cohorts, drivers)
    keys = ("name", pl.col("by").alias("dimension"), "segment", pl.col("of").alias("scope"))
    return _rounded(pl.concat(_with(part, ("p", "q")).select(*keys, *_FIGURE, "p", "q") for part in parts))


def _effects(bridge: pl.DataFrame) -> list[pl.DataFrame]:
    """Each segment's part of the change; only the impact has an interval of its own."""
    parts = []
    for column, name in _BRIDGE.items():
        is_whole = column == "impact"
        ends = {
            end: pl.col(f"impact_{end}") if is_whole else pl.lit(None, pl.Float64) for end in ("low", "high")
        }
        why = pl.lit("" if is_whole else "a part of the impact, which has the interval")
        suffix = pl.when(pl.col("weight") == "amount").then(pl.lit("_by_money")).otherwise(pl.lit(""))
        parts.append(
            bridge.select(
                (pl.lit(name) + suffix).alias("name"),
                "by",
                "segment",
                of="compared",
                value=column,
                n=pl.col("n0") + pl.col("n1"),
                n_eff=pl.lit(None, pl.Float64),
                **ends,
                why=pl.when(ends["low"].is_null() & (why == "")).then(pl.lit("too few deals")).otherwise(why),
                kind=pl.lit("points"),
                p=pl.col("p") if is_whole else pl.lit(None, pl.Float64),
                q=pl.col("q") if is_whole else pl.lit(None, pl.Float64),
            )
        )
    return parts


def rep_rows(review: Review) -> pl.DataFrame:
    """owner_id, name, closed, won, expected and the figure."""
    told = review.figures["reps"].select("owner_id", "name", "closed", "won", "expected", *_FIGURE)
    return _rounded(told)


def _with(rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    missing = [name for name in columns if name not in rows.columns]
    return rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in missing)


def _rounded(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col(pl.Float64).round_sig_figs(DIGITS))


def _review(review: Review, settings: Settings) -> pl.DataFrame:
    # A span holds what comes after its begin, which is the last instant of the day before.
    begin = review.span.after + timedelta(microseconds=1)
    return pl.DataFrame(
        {
            "span": [review.span.name],
            "first_on": [local_day(begin, settings)],
            "last_on": [local_day(review.span.until, settings)],
            "said": [len(review.findings)],
            "refused": [len(review.refused)],
            "review": [as_json(as_plain(review))],
        }
    )


def written(review: Review, text: str, out: Path, audience: Audience) -> list[Path]:
    """The files of a review for an audience, in a folder: its text and its JSON."""
    name = f"review-{review.period}-{review.span.name}"
    plain = as_plain(review) if audience == "managers" else for_everyone(review)
    files = {f"{name}.txt": text, f"{name}.json": as_json(plain) + "\n"}
    out.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (out / file).write_text(content, encoding="utf-8", newline="\n")
    return [out / file for file in files]


def for_everyone(review: Review) -> dict[str, Any]:
    """As `as_plain`, without what only managers may read."""
    told = [one for one in review.refused if one.audience == "everyone"]
    shown = replaced(review, findings=review.said_to("everyone"), refused=tuple(told))
    return as_plain(replaced(shown, figures=review.figures_for("everyone")))


def as_plain(review: Review) -> dict[str, Any]:
    """All of a review as plain values, for JSON; figures to DIGITS digits."""
    found = {
        "as_of": review.as_of.isoformat(),
        "period": review.period,
        **{name: _span(getattr(review, name)) for name in ("span", "window", "before")},
        "headline": [one.as_dict() for one in review.headline],
        "findings": [one.as_dict() for one in review.findings],
        "refused": [one.as_dict() for one in review.refused],
        "figures": {name: rows.to_dicts() for name, rows in review.figures.items()},
        "currency": review.currency,
        "caveats": list(review.caveats),
        "footer": review.footer,
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _span(window: Window) -> dict[str, str]:
    return {"name": window.name, "after": window.after.isoformat(), "until": window.until.isoformat()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return _short(value) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _short(value: float) -> float:
    return round(value, DIGITS - 1 - floor(log10(abs(value)))) if value else 0.0
