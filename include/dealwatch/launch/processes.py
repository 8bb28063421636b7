"""Child processes that end with us: started in sessions of their own, stopped to the last descendant."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from dealwatch.errors import NotReady

_GRACE_SECONDS = 4.0
_RESTARTS = 2
_PR_SET_PDEATHSIG = 1


class Children:
    """The processes we started; leaving the `with` block stops them all, whatever the reason."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.environment = dict(environment)
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.commands: dict[str, Sequence[str]] = {}
        self.restarts: Counter[str] = Counter()

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in its own session, so that Ctrl-C reaches only us; its words go to a log file."""
        self.commands[name] = command
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        return self.running[name]

    def airflow(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `airflow ARGUMENTS` under our own Python."""
        return self.start(arguments[0], [sys.executable, "-m", "airflow", *arguments])

    def check(self) -> None:
        """Start a component again that has died; raise when it keeps dying, with the place of its log."""
        for name, process in list(self.running.items()):
            if process.poll() is None:
                continue
            if self.restarts[name] >= _RESTARTS:
                raise NotReady(f"{name} ended with {process.returncode}; see {self.logs / name}.log")
            self.restarts[name] += 1
            _kill({process.pid})
            self.start(name, self.commands[name])

    def finish(self, name: str) -> None:
        """Wait for a command that ends by itself; raise when it failed."""
        process = self.running.pop(name)
        if process.wait() != 0:
            raise NotReady(f"airflow {name} failed; see {self.logs / name}.log")

    def stop(self) -> None:
        """Ask every component to end, then end whatever is left of their sessions.

        The first one goes last: tasks that end report to the API server, and wait long for one that is gone.
        Whatever is killed midway is repeated at the next start; every job is made for that.
        """
        started = list(self.running.values())
        for wave in (started[1:], started[:1]):
            _end(wave)
        self.running.clear()


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    sessions = {process.pid for process in processes}
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while _members(sessions) and time.monotonic() < deadline:
        for process in processes:
            process.poll()  # reaps, so that the dead stop counting as members
        time.sleep(0.1)
    _kill(sessions)
    for process in processes:
        process.wait()


def _kill(sessions: set[int]) -> None:
    while members := _members(sessions):
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _members(sessions: set[int]) -> list[int]:
    """Every living process of the sessions; groups are not enough, since each task has one of its own."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def _end_with_parent() -> None:
    """Have the kernel ask the child to end should we be killed without a chance to say so ourselves."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
