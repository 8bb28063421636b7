"""A run killed at any moment is made whole by the next, as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from conftest import new_database
from dealwatch import migrations
from dealwatch.history.extract import extract
from dealwatch.settings import Settings
from dealwatch.warehouse import connect
from drop_files import ACTIVITIES, DEALS, HISTORY, NOW, contents, with_source, write_drop

RUN = """
import sys
from datetime import datetime
from dealwatch.history.extract import extract
from dealwatch.settings import Settings
from dealwatch.warehouse import connect

settings = Settings.model_validate_json(sys.stdin.read())
engine = connect(settings)
engine.connect().close()
print("ready", flush=True)
extract(engine, "crm", settings=settings, now=datetime.fromisoformat(sys.argv[1]))
print("done", flush=True)
"""
KILLS = 5


def big_drop(folder: Path) -> Path:
    deals, history, touches = [DEALS], [HISTORY], [ACTIVITIES]
    for n in range(1500):
        day = f"2026-01-{n % 28 + 1:02}T09:00:00Z"
        close = "2026-02-20T10:00:00Z,won" if n % 3 else ","
        deals.append(f"d{n:05},Deal {n},{n},Demo,o{n % 9},{day},2026-06-30,{close}\n")
        for step, (old, new) in enumerate([("", "New"), ("New", "Call"), ("Call", "Demo")]):
            history.append(f"d{n:05},2026-02-{step + 1:02}T09:00:00Z,stage,{old},{new}\n")
            touches.append(f"d{n:05},2026-02-{step + 1:02}T10:00:00Z,call,out,o{n % 9}\n")
    deals.append("bad,Bad,lots,Demo,,2026-01-01,,,\n")
    return write_drop(
        folder, deals="".join(deals), deal_history="".join(history), activities="".join(touches)
    )


def run_and_kill(settings: Settings, after: float | None) -> tuple[bool, float]:
    """Extract in a process of its own, killed so many seconds after it begins; did it finish, and when."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, NOW.isoformat()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(plain_json(settings))
        process.stdin.close()
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        if after is not None:
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
        return process.stdout.read() == "done\n", time.monotonic() - began


def plain_json(settings: Settings) -> str:
    """The settings with the warehouse's URL in the open, for our own child's eyes."""
    return (
        settings.model_copy(update={"warehouse_url": None})
        .model_dump_json()
        .replace('"warehouse_url":null', f'"warehouse_url":"{settings.url}"')
    )


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_killed_extract_is_made_whole(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    drop = big_drop(tmp_path / "drop")
    server = request.getfixturevalue("postgres_server") if dialect == "postgresql" else None

    def fresh(name: str) -> Settings:
        url = new_database(server, f"killed_{name}") if server else f"sqlite:///{tmp_path}/{name}.db"
        settings = with_source(Settings(home=tmp_path), drop, warehouse_url=SecretStr(url))
        engine = connect(settings)
        migrations.upgrade(engine)
        engine.dispose()
        return settings

    undisturbed = fresh("undisturbed")
    finished, seconds = run_and_kill(undisturbed, None)
    assert finished
    engine = connect(undisturbed)
    wanted = contents(engine)
    engine.dispose()
    assert len(wanted["deals"]) == 1500 and len(wanted["quarantine"]) == 1
    random.seed(20120116)
    killed = attempts = 0
    while killed < KILLS:
        attempts += 1
        assert attempts < 5 * KILLS, "the run is always quicker than the kill"
        settings = fresh(str(attempts))
        finished, _ = run_and_kill(settings, seconds * (killed + random.random()) / KILLS)
        if finished:  # this machine is quicker by now than it was with the undisturbed run
            seconds *= 0.8
            continue
        killed += 1
        engine = connect(settings)
        extract(engine, "crm", settings=settings, now=NOW)
        assert contents(engine) == wanted
        engine.dispose()
