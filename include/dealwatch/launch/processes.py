"""Child processes that end with us: started in sessions of their own, stopped to the last descendant."""

import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dealwatch.errors import NotReady
from dealwatch.launch import sessions

_RESTARTS = 2


class Children:
    """The processes we started; leaving the `with` block stops them all, whatever the reason.

    Should we be killed without a chance to leave it, a guard of our own does.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.environment = dict(environment)
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.commands: dict[str, Sequence[str]] = {}
        self.restarts: Counter[str] = Counter()
        self.guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in its own session, so that Ctrl-C reaches only us; its words go to a log file."""
        self.commands[name] = command
        guard = self._living_guard()
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # The child says itself that it is there: we might be killed before we could.
                preexec_fn=lambda: _tell(guard, f"+{os.getpid()}"),
            )
        self._tell_who_lives(guard)
        return self.running[name]

    def airflow(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `airflow ARGUMENTS` under our own Python."""
        return self.start(arguments[0], [sys.executable, "-m", "airflow", *arguments])

    def check(self) -> None:
        """Start again what has died, the guard too; raise when a component keeps dying, and name its log."""
        self._living_guard()
        for name, process in list(self.running.items()):
            if process.poll() is None:
                continue
            if self.restarts[name] >= _RESTARTS:
                raise NotReady(f"{name} ended with {process.returncode}; see {self.logs / name}.log")
            self.restarts[name] += 1
            sessions.kill({process.pid})
            self.start(name, self.commands[name])

    def finish(self, name: str) -> None:
        """Wait for a command that ends by itself; raise when it failed."""
        process = self.running[name]
        status = process.wait()
        del self.running[name]
        self._tell_who_lives(self._living_guard())
        if status != 0:
            raise NotReady(f"airflow {name} failed; see {self.logs / name}.log")

    def stop(self) -> None:
        """Stop every component to the last descendant."""
        sessions.end(process.pid for process in self.running.values())
        for process in self.running.values():
            process.wait()
        self.running.clear()
        self._dismiss()

    def _dismiss(self) -> None:
        """Let the guard go. It ends what nobody else knows of: a child whose start was interrupted."""
        if self.guard is not None and self.guard.stdin is not None:
            self.guard.stdin.close()
            self.guard.wait()
        self.guard = None

    def _living_guard(self) -> subprocess.Popen[bytes]:
        """Who ends our children after us; another one, should it have died."""
        if self.guard is None or self.guard.poll() is not None:
            self._dismiss()
            command = [sys.executable, "-m", sessions.__name__]
            self.guard = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                close_fds=False,  # it inherits the lock of the home, which our children do not
            )
            self._tell_who_lives(self.guard)
        return self.guard

    def _tell_who_lives(self, guard: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died just now; the next one is told all
            _tell(guard, " ".join(str(process.pid) for process in self.running.values()))


def _tell(guard: subprocess.Popen[bytes], line: str) -> None:
    if guard.stdin is not None:
        guard.stdin.write(f"{line}\n".encode())
