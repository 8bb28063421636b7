"""Where the launcher keeps things below `home`, and the environment its children get."""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dealwatch.knobs import PROJECT

LOGIN = "admin"


@dataclass(frozen=True)
class Places:
    """Every path the launcher knows."""

    home: Path

    @property
    def airflow(self) -> Path:
        return self.home / "airflow"

    @property
    def settings_file(self) -> Path:
        return self.home / "dealwatch.toml"

    @property
    def demo(self) -> Path:
        return self.home / "demo"

    @property
    def diary(self) -> Path:
        return self.home / "demo.json"

    @property
    def logs(self) -> Path:
        return self.airflow / "logs"

    @property
    def keys(self) -> Path:
        return self.airflow / "keys.json"


def prepare(places: Places) -> dict[str, str]:
    """Make Airflow's home, with keys and a password made once; the keys and the password by name."""
    places.logs.mkdir(parents=True, exist_ok=True)
    if not places.keys.exists():
        keys = {
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "jwt_secret": secrets.token_hex(48),
            "secret_key": secrets.token_hex(32),
            "password": secrets.token_urlsafe(9),
        }
        _write_private(places.keys, json.dumps(keys))
    kept: dict[str, str] = json.loads(places.keys.read_text(encoding="utf-8"))
    _write_private(places.airflow / "passwords.json", json.dumps({LOGIN: kept["password"]}))
    return kept


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def environment(
    places: Places, keys: Mapping[str, str], *, port: int, has_schedules: bool, inherited: Mapping[str, str]
) -> dict[str, str]:
    """What the components see: ours alone, so that no other Airflow or warehouse of this shell is touched."""
    address = f"http://127.0.0.1:{port}"
    # SQLite waits 30 s for a lock instead of 5.
    database = f"sqlite:///{places.airflow / 'airflow.db'}?timeout=30"
    ours = {
        "AIRFLOW_HOME": str(places.airflow),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": keys["secret_key"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt_secret"],
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet_key"],
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(places.airflow / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(places.logs),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(has_schedules),
        # A task that cannot report for 5 s fails otherwise; a busy laptop takes longer.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "DEALWATCH_HOME": str(places.home),
        "DEALWATCH_SETTINGS": str(places.settings_file),
        **{name: _without_proxy(inherited.get(name)) for name in ("NO_PROXY", "no_proxy")},
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "2",
        "PYTHONPATH": os.pathsep.join(
            [str(PROJECT / "include"), str(PROJECT / "include" / "airflow_config")]
        ),
        "PYTHONWARNINGS": "ignore",
    }
    return {**without_ours(inherited), **ours}


def _without_proxy(inherited: str | None) -> str:
    """Hosts to be reached directly; some clients read the small name first, others the capital one."""
    return ",".join(filter(None, [inherited, "127.0.0.1", "localhost"]))


def without_ours(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment without what could lead Airflow or dealwatch to somebody's real systems."""
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("AIRFLOW_", "_AIRFLOW_", "DEALWATCH_"))
    }
