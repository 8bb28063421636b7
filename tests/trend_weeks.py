"""Reviewed Mondays for tests of alerts about stages and segments, written straight into the warehouse."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Engine

from alert_samples import at, rows_frame
from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.trends.rule import SEGMENT, STAGE
from dealwatch.settings import Settings
from dealwatch.tables import NO_DEAL, reviews, trends
from dealwatch.warehouse import replace, writing

FIRST = date(2026, 6, 1)  # a Monday, and no public holiday for four months
LEAK = "stage: Proposal"


def monday(week: int) -> str:
    """The first Monday is 0."""
    return (FIRST + timedelta(weeks=week)).isoformat()


def review_week(engine: Engine, week: int, held: Mapping[str, int | None], **changes: Any) -> None:
    """What reviewing a Monday leaves behind: the level of each stage and segment, by subject."""
    moment, day = at(monday(week)), FIRST + timedelta(weeks=week)
    rows = []
    for subject, level in held.items():
        rule = STAGE if subject.startswith("stage") else SEGMENT
        row = {
            "as_of": moment,
            "rule": rule,
            "subject": subject,
            "fingerprint": digest(Settings().tenant, rule, NO_DEAL, subject),
            "level": level,
            "sentence": f"More deals are lost from {subject}: +9.0 points (+5.0 to +13.0, 410 entries)."
            if level
            else "",
            "refusal": "" if level else "chance explains it",
            "n": 410,
            "value": 9.0,
            "low": 5.0,
            "high": 13.0,
            "p": 0.0001,
            "q": 0.003,
            "has_lasted": None,
        }
        rows.append(row | changes)
    kept = {
        "as_of": moment,
        "period": "week",
        "span": f"{day:%G-W%V}",
        "first_on": day - timedelta(days=7),
        "last_on": day - timedelta(days=1),
        "said": 1,
        "refused": 1,
        "review": "{}",
    }
    with writing(engine) as connection:
        replace(connection, reviews, reviews.c.as_of == moment, rows_frame([kept]))
        replace(connection, trends, trends.c.as_of == moment, rows_frame(rows) if rows else rows_frame([]))
