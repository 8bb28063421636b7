"""What the demo remembers between two starts: which morning it shows, and whether it got there."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import inspect, select

from dealwatch.errors import NotReady
from dealwatch.knobs import PROJECT
from dealwatch.launch.places import Places
from dealwatch.settings import Settings
from dealwatch.tables import extract_runs
from dealwatch.warehouse import connect, reading

SOURCE = "demo"
_DATABASE = "dealwatch.db"
_MADE = (
    "models",
    "outbox",
    "reviews",
    "model-signing.key",
)  # what the jobs leave in a home besides the warehouse


@dataclass(frozen=True)
class Diary:
    """The demo's morning never changes; a later day asks for a fresh demo."""

    morning_on: date
    is_finished: bool = False


def read(places: Places) -> Diary | None:
    """The diary, or None before the first start."""
    if not places.diary.exists():
        return None
    kept = json.loads(places.diary.read_text(encoding="utf-8"))
    return Diary(date.fromisoformat(kept["morning_on"]), kept["is_finished"])


def write(places: Places, diary: Diary) -> None:
    """Keep the diary."""
    kept = {"morning_on": diary.morning_on.isoformat(), "is_finished": diary.is_finished}
    places.diary.write_text(json.dumps(kept) + "\n", encoding="utf-8")


def settings_file(places: Places, example: str) -> Path:
    """The demo's settings, copied from the example of that name unless they are there already."""
    places.home.mkdir(parents=True, exist_ok=True)
    if not places.settings_file.exists():
        shutil.copyfile(PROJECT / "include" / "examples" / example, places.settings_file)
    return places.settings_file


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """Hold the home for ourselves: two Airflows on one SQLite database would run every task twice.

    Should we be killed, the guard of our processes holds it until it has ended them.
    """
    places.home.mkdir(parents=True, exist_ok=True)
    with (places.home / "launch.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise NotReady(
                f"another `make run` or `make ui` is using {places.home}; stop it first"
            ) from error
        os.set_inheritable(lock.fileno(), True)
        yield


def refuse_other_data(settings: Settings) -> None:
    """Raise when the warehouse holds anything but the demo."""
    engine = connect(settings)
    try:
        with reading(engine) as connection:
            if not inspect(connection).has_table(extract_runs.name):
                return
            others = set(connection.scalars(select(extract_runs.c.source).distinct())) - {SOURCE}
    finally:
        engine.dispose()
    if others:
        raise NotReady(
            f"{settings.home} holds data of {', '.join(sorted(others))}; give the demo a home of its own, "
            "as in: make run DEALWATCH_HOME=~/dealwatch-demo"
        )


def forget(places: Places, settings: Settings) -> None:
    """Remove the demo with all it made; refuses a home that holds anything else."""
    if read(places) is None:
        raise NotReady(f"there is no demo in {places.home}")
    refuse_other_data(settings)
    # By name, the diary last: whatever else somebody keeps in this folder is theirs.
    ours = [places.home / name for name in (*_MADE, *(f"{_DATABASE}{end}" for end in ("", "-wal", "-shm")))]
    for path in [*ours, places.settings_file, places.demo, places.airflow, places.diary]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
