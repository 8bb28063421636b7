"""Which demo is shown: by which command, under which settings, and how its company is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A CRM that answers on a port of loopback while Airflow runs.

    name: whose protocol it speaks. command: what to start, from the company's files, the port and the moment
    that it tells. connection: Airflow's variables that lead to the port.
    """

    name: str
    command: Callable[[Path, int, datetime], list[str]]
    connection: Callable[[int], Mapping[str, str]]


@dataclass(frozen=True)
class Demo:
    """command and afresh: what a person types for it, and for a new one. example: its settings, by name.

    read: what the extract does, in words. server: None when the company is read from its files.
    """

    command: str = "make run"
    afresh: str = "make fresh run"
    ui: str = "make ui"
    example: str = "demo.toml"
    read: str = "read the CRM's export into the ledger"
    server: Server | None = None


FROM_FILES = Demo()
