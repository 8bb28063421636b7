"""Reviews in a warehouse as `keep` writes them, from deals of a few words; and the board asked for them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import httpx
import polars as pl
from fastapi import FastAPI
from sqlalchemy import Engine, delete, insert

from dealwatch.insights.composing import compose
from dealwatch.insights.keeping import as_plain, pipeline_rows
from dealwatch.insights.review import Period, Review
from dealwatch.moments import local_day
from dealwatch.tables import pipeline_metrics, reviews
from dealwatch.warehouse import replace as rewrite
from dealwatch.warehouse import schema_of, writing
from review_rows import UTC_SETTINGS, Life, begun, ended, known_at

HOST = "https://airflow.example.com"


def some_deals(*, stage: str = "A") -> list[Life]:
    """A deal a week is won and one lost for 100 each, over 2025 and the spring of 2026; some are open."""
    planned = {"close_date": "2026-04-08", "next_step_on": "2026-04-01"}
    found = [begun("2025-12-20", amount="50", stage=stage, **planned)]
    found.append(begun("2026-01-10", amount="150", stage="B", close_date="2026-06-30"))
    for week in range(70):
        found.append(ended(_monday(week), _monday(week + 3), won=week % 2 == 0, amount="100", stage=stage))
    return found


def _monday(week: int) -> str:
    return f"{date(2024, 12, 2) + timedelta(weeks=week)}"


def composed(day: str, lives: Sequence[Life], period: Period = "week") -> Review:
    """The review of a day's morning."""
    return compose(known_at(f"{day} 06:00", lives, settings=UTC_SETTINGS), period)


def store(engine: Engine, review: Review) -> Review:
    """Write a review as `keep` does, in place of what was there for it."""
    begin = review.span.after + timedelta(microseconds=1)
    row: dict[str, Any] = {
        "as_of": review.as_of,
        "period": review.period,
        "span": review.span.name,
        "first_on": local_day(begin, UTC_SETTINGS),
        "last_on": local_day(review.span.until, UTC_SETTINGS),
        "said": len(review.findings),
        "refused": len(review.refused),
        "review": as_plain(review),
    }
    mine = (pipeline_metrics.c.as_of == review.as_of) & (pipeline_metrics.c.period == review.period)
    types = pl.Schema(schema_of(pipeline_metrics))
    key = {"as_of": pl.lit(review.as_of), "period": pl.lit(review.period)}
    rows = pipeline_rows(review).with_columns(**key).select(list(types)).cast(types)
    with writing(engine) as connection:
        connection.execute(
            delete(reviews).where(reviews.c.as_of == review.as_of, reviews.c.period == review.period)
        )
        connection.execute(insert(reviews).values(**row))
        rewrite(connection, pipeline_metrics, mine, rows)
    return review


def with_sentence(review: Review, sentence: str, *, audience: Any = "everyone") -> Review:
    """The review with one more finding that says so."""
    first = (*review.findings, *review.refused)[0]
    said = replace(first, sentence=sentence, audience=audience, state="said", refusal="")
    return replace(review, findings=(said, *review.findings))


def ask(app: FastAPI, url: str, **more: Any) -> httpx.Response:
    """An answer of an app that hangs at the root."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            return await client.request(more.pop("method", "GET"), url, **more)

    return asyncio.run(asked())
