"""A throw-away PostgreSQL on loopback, for tests and measurements."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from dealwatch.launch.airflow_home import free_port
from dealwatch.settings import Settings
from dealwatch.warehouse import connect


def programs() -> Path | None:
    """Where the server's programs are; None when it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    beside = shutil.which("initdb")
    return found[-1].parent if found else Path(beside).parent if beside else None


@contextmanager
def running() -> Iterator[str]:
    """A server until the block ends; its URL without a database name. It trusts anybody on this machine."""
    binaries = programs()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed (apt-get install postgresql)")
    # PostgreSQL refuses to run as root, and its user cannot enter pytest's private temporary folder.
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def run(*command: str) -> str:
        made = subprocess.run([*as_owner, *command], check=True, capture_output=True, text=True, cwd="/")
        return made.stdout.strip()

    folder = run("mktemp", "-d")
    port = free_port()
    run(str(binaries / "initdb"), "-D", folder, "-U", "dealwatch", "-A", "trust", "-E", "UTF8", "-N")
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        " -c fsync=off -c max_connections=200"
    )
    control = [*as_owner, str(binaries / "pg_ctl"), "-D", folder, "-w"]
    log = f"{folder}/server.log"
    # Its words go to the log: a pipe that it inherits would never end.
    subprocess.run([*control, "-o", options, "-l", log, "start"], check=True, capture_output=True, cwd="/")
    try:
        yield f"postgresql+psycopg://dealwatch@127.0.0.1:{port}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")
        run("rm", "-rf", folder)


def new_database(server: str, name: str) -> str:
    """An empty database on the test server; its URL."""
    admin = connect(Settings(warehouse_url=f"{server}/postgres"))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}"'))
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    admin.dispose()
    return f"{server}/{name}"
