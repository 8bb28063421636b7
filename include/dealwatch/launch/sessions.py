"""Sessions of processes, ended to the last descendant.

Run as a program it is a guard: it reads from its starter which sessions live (`7 8`), from a leader that its
session has begun (`+9`), and ends those that still live when the starter is gone. The kernel's own signal at
a parent's death (prctl) would not do: it comes once for each of the parent's threads, and Airflow's scheduler
takes the second one for an order to leave its workers behind.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection, Iterable

import psutil  # type: ignore[import-untyped]

_GRACE_SECONDS = 4.0


def end(sessions: Iterable[int]) -> None:
    """Ask the sessions' leaders to end, then end whatever is left of the sessions.

    The first one goes last: tasks that end report to the API server, and wait long for one that is gone.
    Whatever is killed midway is repeated at the next start; every job is made for that.
    """
    begun = list(sessions)
    for wave in (begun[1:], begun[:1]):
        for pid in set(wave).intersection(_members(wave)):
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while _members(wave) and time.monotonic() < deadline:
            time.sleep(0.1)
        kill(wave)


def kill(sessions: Collection[int]) -> None:
    """End every process of the sessions at once."""
    while members := _members(sessions):
        for pid in members:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.05)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _members(sessions: Collection[int]) -> list[int]:
    """Every living process of the sessions; groups are not enough, since each task has one of its own."""
    found = []
    for pid in psutil.pids() if sessions else ():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def watch(told: Iterable[str]) -> None:
    """Follow what is told line by line, then end what lives."""
    living: list[int] = []
    for line in told:
        sessions = [int(pid) for pid in line.removeprefix("+").split()]
        living = [*living, *sessions] if line.startswith("+") else sessions
    end(living)


if __name__ == "__main__":
    watch(sys.stdin)
