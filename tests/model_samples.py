"""Small trained models and what tests do with them: store, promote, ask who serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from dealwatch.scoring.registry import Model, champion_at, store
from dealwatch.scoring.succession import promote
from dealwatch.scoring.trial import Trained
from dealwatch.settings import Settings
from dealwatch.tables import model_versions
from dealwatch.warehouse import frame, reading, writing
from made_up_facts import PANEL_UNTIL, small_training

MONTH = timedelta(days=30)
JANUARY, FEBRUARY, MARCH = PANEL_UNTIL, PANEL_UNTIL + MONTH, PANEL_UNTIL + 2 * MONTH


@contextmanager
def without_rivals() -> Iterator[None]:
    """Trainings without rivals: less than half of the time, and rivals have no say in what is decided."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dealwatch.scoring.trial.rivals", lambda *_, **__: [])
        yield


@cache
def good() -> Trained:
    """A training that passes the gate."""
    return small_training()


@cache
def other() -> Trained:
    """Another one that does."""
    return small_training(seed=2)


@cache
def refused() -> Trained:
    """One that the gate refuses."""
    return small_training(signal=0.0)


def stored(engine: Engine, settings: Settings, trained: Trained, as_of: datetime) -> str:
    with writing(engine, alone="models") as connection:
        return store(connection, settings, trained, as_of)


def promoted(engine: Engine, settings: Settings, trained: Trained, as_of: datetime) -> str:
    """Stored, and champion from its own moment on."""
    with writing(engine, alone="models") as connection:
        version = store(connection, settings, trained, as_of)
        promote(connection, settings, version, as_of=as_of)
        return version


def champion(engine: Engine, settings: Settings, as_of: datetime) -> tuple[Model | None, str]:
    with reading(engine) as connection:
        return champion_at(connection, settings, as_of)


def serving(engine: Engine, settings: Settings, as_of: datetime) -> str | None:
    """The name of the version that serves."""
    model, _ = champion(engine, settings, as_of)
    return model.version if model else None


def versions(engine: Engine) -> pl.DataFrame:
    with reading(engine) as connection:
        return frame(connection, select(model_versions)).sort("version")


def statuses(engine: Engine) -> dict[str, Any]:
    return {row["version"]: row["status"] for row in versions(engine).iter_rows(named=True)}
