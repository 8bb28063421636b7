"""A whole Airflow on this machine: database, components, health."""

import importlib.metadata
import os
import socket
from collections.abc import Mapping
from typing import Self

from dealwatch.errors import NotReady
from dealwatch.launch.airflow_api import AirflowApi
from dealwatch.launch.places import LOGIN, Places, environment, prepare
from dealwatch.launch.processes import Children

DAGS = {
    "extract_crm",
    "take_events",
    "score_deals",
    "write_back",
    "deliver_alerts",
    "retrain_model",
    "measure_alerts",
    "review_pipeline",
}
_HEALTH = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
_START_SECONDS = 900.0
# For an Airflow under which nobody edits a DAG. Reading their files twice a minute takes a sixth of a
# processor; once would not do, as one that could not be read is tried again no sooner.
READ_SELDOM = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300"}


class LocalAirflow:
    """Airflow on a port of loopback; leaving the `with` block leaves no process behind.

    `changes` goes over the components' environment.
    """

    def __init__(
        self,
        places: Places,
        *,
        port: int,
        has_schedules: bool = False,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.address = f"http://127.0.0.1:{port}"
        keys = prepare(places)
        self.password = keys["password"]
        made = environment(places, keys, port=port, has_schedules=has_schedules, inherited=os.environ)
        self.children = Children({**made, **(changes or {})}, places.logs)
        self.database_stamp = places.airflow / f"migrated-{importlib.metadata.version('apache-airflow')}"
        self.api: AirflowApi | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.api is not None:
            self.api.close()
        self.children.stop()

    def begin_database(self) -> None:
        """Start to bring Airflow's own database up to date, unless that was done before."""
        if not self.database_stamp.exists():
            self.children.airflow("db", "migrate")

    def start(self, parts: tuple[str, ...] = ("scheduler", "dag-processor")) -> AirflowApi:
        """Start the API server and the parts, and wait until all answer and the DAGs are read."""
        if "db" in self.children.running:
            self.children.finish("db")
            self.database_stamp.touch()
        self.children.airflow("api-server")
        for part in parts:
            quiet = [] if part == "dag-processor" else ["--skip-serve-logs"]
            self.children.airflow(part, *quiet)
        api = AirflowApi(self.address, login=LOGIN, password=self.password, check=self.children.check)
        self.api = api
        api.wait_until_healthy(("metadatabase", *(_HEALTH[part] for part in parts)), seconds=_START_SECONDS)
        api.wait_for_dags(DAGS, seconds=_START_SECONDS)
        return api


def is_answering(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def require_free(port: int) -> None:
    """Refuse a port that somebody listens on, with the way out."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise NotReady(f"port {port} is taken; choose another, as in: make ui PORT={port + 1}") from error
