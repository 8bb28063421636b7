"""Deliveries by four senders that are killed at random moments: none is lost, none is doubled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from outbox_rows import NOW, POST, queue, rows
from sender import UNSETTLED
from standins.slack import TOKEN, Slack
from standins.smtp import Mailbox

MANY = [f"a{n:03}" for n in range(120)]
SPEED = 20  # a lease of a minute ends after three seconds
PATIENCE = 480

pytestmark = pytest.mark.slow


@contextmanager
def nursery(settings: Settings, **values: Any) -> Iterator[subprocess.Popen[str]]:
    told = {"home": str(settings.home), "warehouse_url": settings.url, **values}
    script = Path(__file__).with_name("sender.py")
    process = subprocess.Popen(
        [sys.executable, str(script), json.dumps(told), NOW.isoformat(), str(SPEED)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def born(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def left(engine: Engine) -> int:
    unsettled = select(func.count()).where(deliveries.c.state.in_(UNSETTLED))
    with engine.connect() as connection:
        return int(connection.execute(unsettled).scalar_one())


def kill_until_drained(
    process: subprocess.Popen[str], engine: Engine, arrived: Callable[[], int], dice: random.Random
) -> int:
    """Four senders at any time, one of them killed after every few messages; how many were killed."""
    alive = [born(process) for _ in range(4)]
    limit, kills, next_kill = time.monotonic() + PATIENCE, 0, 5
    while arrived() < len(MANY) or left(engine):
        assert time.monotonic() < limit, f"{left(engine)} messages are left"
        time.sleep(dice.uniform(0.01, 0.06) if arrived() < len(MANY) else 0.3)
        if arrived() >= next_kill:
            next_kill = arrived() + dice.randint(4, 11)
            victim = alive.pop(dice.randrange(4))
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                kills += 1
            alive.append(born(process))
    return kills


@pytest.mark.parametrize("faults", ["none", "replies lost"])
def test_each_message_exists_exactly_once_in_slack(
    either_engine: Engine, either_settings: Settings, slack: Slack, faults: str
) -> None:
    dice = random.Random(20260302)
    moods: list[Any] = [None, ("stall", 0.02), ("slow", 0.05), ("slow", 0.1)]
    if faults == "replies lost":
        moods += ["drop", "drop"]
    slack.faults[POST].extend(dice.choice(moods) for _ in range(400))
    queue(either_engine, *MANY)
    told = {"slack_token": TOKEN, "slack_url": slack.url, "delivery": {"slack_pause_seconds": 0}}
    with nursery(either_settings, **told) as process:
        kills = kill_until_drained(process, either_engine, lambda: len(slack.messages["C0GENERAL"]), dice)
    assert kills > 10
    assert Counter(slack.delivery_ids()) == Counter(MANY)
    assert {r.state for r in rows(either_engine)} == {"sent"}
    assert max(r.attempts for r in rows(either_engine)) > 1, "nobody was killed over a message"


def test_each_mail_arrives_and_a_second_copy_has_the_same_id(
    either_engine: Engine, either_settings: Settings, mailbox: Mailbox
) -> None:
    dice = random.Random(20260303)
    mailbox.after_data.extend(dice.choice([*[None] * 9, "drop"]) for _ in range(400))
    queue(either_engine, *MANY, channel="email")
    smtp = {"host": "127.0.0.1", "port": mailbox.port, "starttls": False}
    sender = {"sender": "dealwatch@example.com"}
    with nursery(either_settings, smtp=smtp, delivery=sender) as process:
        kill_until_drained(process, either_engine, lambda: len(mailbox.mails), dice)
    arrived = Counter(str(mail["Message-ID"]) for mail in mailbox.mails)
    assert set(arrived) == {f"<{name}@example.com>" for name in MANY}
    assert arrived.total() > len(MANY), "no second copy was needed"
    assert {r.state for r in rows(either_engine)} <= {"sent", "dead"}
    assert not any("refused" in (r.last_error or "") for r in rows(either_engine))
