"""Frames of made-up facts with the columns of `facts_at`, for tests that need no ledger."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from dealwatch.knobs import Scoring
from dealwatch.scoring.facts import FACTS
from dealwatch.scoring.trial import Trained, train
from dealwatch.settings import Settings

START = datetime(2025, 1, 6, 5, tzinfo=UTC)
STAGES = ("Qualify", "Propose", "Negotiate")


def made_up_facts(rows: int, *, seed: int = 1) -> pl.DataFrame:
    """Random facts of as many deals on one morning, some unknown."""
    random = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "as_of": [START] * rows,
        "deal_id": [f"d{n:05}" for n in range(rows)],
        "owner_id": [f"o{n % 7}" for n in range(rows)],
        "currency": ["EUR"] * rows,
        **{name: ["North"] * rows for name in ("industry", "region", "product_type", "lead_source")},
    }
    for fact in FACTS:
        if fact.kind == "category":
            values: list[object] = list(random.choice(STAGES, rows))
        elif fact.kind == "flag":
            values = [bool(value) for value in random.random(rows) < 0.3]
        else:
            values = [float(value) for value in random.exponential(10, rows)]
        columns[fact.name] = [None if random.random() < 0.03 else value for value in values]
    numbers = {fact.name: pl.Float64 for fact in FACTS if fact.kind == "number"}
    return pl.DataFrame(columns, schema_overrides={"as_of": pl.Datetime("us", "UTC"), **numbers})


def made_up_panel(deals: int, *, signal: float, weeks: int = 40, seed: int = 1) -> pl.DataFrame:
    """A training panel in which silence and pushed close dates raise the odds of losing by `signal`."""
    random = np.random.default_rng(seed)
    begins = random.integers(0, weeks, deals)
    lives = random.integers(1, 8, deals)
    driver = random.normal(size=deals)
    lost = random.random(deals) < 1 / (1 + np.exp(-signal * driver))
    deal = np.repeat(np.arange(deals), lives)
    week = np.concatenate([np.arange(b, b + n) for b, n in zip(begins, lives, strict=True)])
    ends = [START + timedelta(weeks=int(b + n), hours=1) for b, n in zip(begins, lives, strict=True)]
    panel = made_up_facts(len(deal), seed=seed).with_columns(
        as_of=pl.Series([START + timedelta(weeks=int(w)) for w in week], dtype=pl.Datetime("us", "UTC")),
        deal_id=pl.Series([f"d{n:05}" for n in deal]),
        days_since_touch=pl.Series(driver[deal] * 5 + random.normal(size=len(deal)) + 20),
        times_pushed=pl.Series(np.maximum(0, np.round(driver[deal] + 1))),
        lost=pl.Series(lost[deal].astype(np.int8)),
        closed_at=pl.Series([ends[n] for n in deal], dtype=pl.Datetime("us", "UTC")),
    )
    return panel.with_columns(outcome_known_at=pl.col("closed_at"), weight=1 / pl.len().over("deal_id")).sort(
        "as_of", "deal_id"
    )


SMALL = Scoring(trees=20, train_minimum=20, alert_minimum=100)
PANEL_UNTIL = START + timedelta(weeks=50)


def small_training(*, signal: float = 2.0, seed: int = 1) -> Trained:
    """A training that takes a moment: 600 deals, 20 trees."""
    panel = made_up_panel(600, signal=signal, seed=seed)
    return train(panel, PANEL_UNTIL, settings=Settings(scoring=SMALL))
