"""The processes of docker-compose.yaml, started natively: PostgreSQL beneath Airflow and the warehouse."""

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import SecretStr
from slack_sdk.signature import SignatureVerifier
from sqlalchemy import text

from airflow_support import (
    LAST,
    PATIENCE,
    House,
    again,
    assert_nobody_was_messaged,
    backfill,
    copied,
    differing,
    forget,
    learn,
    moment,
    score_each_day,
    small_company,
    tables_of,
)
from conftest import new_database
from dealwatch.delivery.links import settings_link
from dealwatch.knobs import Delivery
from dealwatch.launch.airflow_api import AirflowApi
from dealwatch.launch.airflow_home import DAGS, READ_SELDOM, free_port
from dealwatch.launch.places import without_ours
from dealwatch.launch.processes import Children
from dealwatch.settings import Settings
from dealwatch.warehouse import connect
from test_compose import COMPOSE, PARTS, ROOT

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(3 * PATIENCE)]

SCORED = (
    "deal_snapshots",
    "deal_features",
    "deal_scores",
    "alert_signals",
    "alerts",
    "alert_events",
    "alert_mornings",
    "deliveries",
    "tellings",
    "scored_mornings",
)
SECRETS = {  # what a person writes into .env
    "ADMIN_PASSWORD": "admin1",
    "AIRFLOW_FERNET_KEY": "x" * 43 + "=",
    "AIRFLOW_JWT_SECRET": "j" * 96,
    "AIRFLOW_SECRET_KEY": "s" * 64,
    "DEALWATCH_SIGNING_KEY": "d" * 64,
    "POSTGRES_PASSWORD": "postgres1",
    "WAREHOUSE_PASSWORD": "warehouse1",
}


@contextmanager
def slack_listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a Slack that takes any message, and the messages."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"ok": true}')

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/", posted
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Composed:
    """The compose file's environment, as it reads on this machine."""

    home: Path
    port: int
    postgres: str  # host:port
    values: dict[str, str]

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        native = {name: self.here(str(value)) for name, value in service["environment"].items()}
        return {
            **without_ours(os.environ),
            **native,
            # What the image sets itself, and what keeps off other Airflows on this machine.
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(free_port()),
            **READ_SELDOM,
            # What keeps a busy machine from failing a task that could not report for 5 s.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONWARNINGS": "ignore",
        }

    def here(self, value: str) -> str:
        """The value with its variables filled in, and the containers' names and paths made ours."""
        filled = re.sub(r"\$\{([A-Z_]+)(?::-([^}]*))?[^}]*\}", self._fill, value)
        return (
            filled.replace("@postgres:5432", f"@{self.postgres}")
            .replace("http://api-server:8080", f"http://127.0.0.1:{self.port}")
            .replace("/opt/airflow/var", str(self.home))
            .replace("/opt/airflow/files", str(self.home))
            .replace("/opt/airflow", str(ROOT))
        )

    def _fill(self, found: re.Match[str]) -> str:
        return self.values.get(found[1], found[2] or "")


def databases(server: str) -> None:
    """Two databases with a role each, as the compose file's script makes them."""
    admin = connect(Settings(warehouse_url=SecretStr(f"{server}/postgres")))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE ROLE airflow LOGIN SUPERUSER"))
    admin.dispose()
    new_database(server, "airflow")
    new_database(server, "dealwatch")


@pytest.fixture(scope="module")
def slack() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    with slack_listening() as found:
        yield found


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, slack: tuple[str, list[dict[str, Any]]]
) -> Iterator[House]:
    """Init step, then every process of the compose file by itself; scores expected from SQLite."""
    home = tmp_path_factory.mktemp("composed")
    databases(postgres_server)
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    connection = {
        "conn_type": "slack",
        "password": "xoxb-1",
        "extra": {"base_url": slack[0], "signing_secret": "shh"},
    }
    values = {**SECRETS, "AIRFLOW_CONN_SLACK_DEFAULT": json.dumps(connection)}
    composed = Composed(home, free_port(), urlsplit(postgres_server).netloc.split("@")[1], values)
    logs = home / "logs"
    logs.mkdir()
    init = services["init"]
    with Children(composed.environment(init), logs) as preparing:
        preparing.start("init", [word.replace("$$", "$") for word in init["command"]])
        key = SecretStr(SECRETS["DEALWATCH_SIGNING_KEY"])
        on_sqlite = small_company(home).model_copy(update={"signing_key": key})
        learn(on_sqlite)
        calm = copied(on_sqlite, home / "calm.db")
        score_each_day(calm)
        preparing.finish("init")
    url = SecretStr(f"{postgres_server}/dealwatch")
    settings = on_sqlite.model_copy(update={"warehouse_url": url})
    (home / "dealwatch.db").unlink()
    environment = composed.environment(services["scheduler"])
    with Children(environment, logs) as children:
        for part in PARTS:
            children.airflow(services[part]["command"])
        address = f"http://127.0.0.1:{composed.port}"
        password = SECRETS["ADMIN_PASSWORD"]
        api = AirflowApi(address, login="admin", password=password, check=children.check)
        api.wait_until_healthy(("metadatabase", "scheduler", "dag_processor", "triggerer"), seconds=PATIENCE)
        api.wait_for_dags(DAGS, seconds=PATIENCE)
        api.pause("score_deals", is_paused=False)
        api.wait(lambda: scheduled_run(api)["state"] == "failed", seconds=PATIENCE, what="the scheduled run")
        learn(settings)
        yield House(settings, api, environment, tables_of(calm))
        api.close()


def scheduled_run(api: AirflowApi) -> dict[str, Any]:
    """The run of the latest tick, which Airflow makes by itself when a DAG is unpaused."""
    runs = api.get("/dags/score_deals/dagRuns", limit=100)["dag_runs"]
    return next((run for run in runs if run["run_type"] == "scheduled"), {"state": "none"})


def test_the_init_step_makes_both_schemas_and_lets_viewers_see_plugins(house: House) -> None:
    roles = house.api.http.get("/auth/fab/v1/roles/Viewer")
    assert roles.status_code == 200, roles.text
    actions = [(a["action"]["name"], a["resource"]["name"]) for a in roles.json()["actions"]]
    assert ("can_read", "Plugins") in actions
    assert tables_of(house.settings, only=("model_versions",))["model_versions"].height == 1


def test_answers_are_let_in_by_a_signature_alone_and_no_link_is_logged(house: House) -> None:
    http, now = house.api.http, datetime.now(UTC)
    assert http.post("/dealwatch/slack/actions", content=b"payload=x").status_code == 401
    body, stamp = b"payload=nonsense", str(int(now.timestamp()))
    proof = SignatureVerifier("shh").generate_signature(timestamp=stamp, body=body) or ""
    signed = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": proof}
    assert http.post("/dealwatch/slack/actions", content=body, headers=signed).status_code == 400
    known = house.settings.model_copy(update={"delivery": Delivery(public_url="https://x.test")})
    page = settings_link(known, "ann", expires=now + timedelta(days=1)).removeprefix("https://x.test")
    answered = http.get(page, headers={"Authorization": ""})
    assert answered.status_code == 200 and "How dealwatch tells you" in answered.text
    assert http.get(page[:-5]).status_code == 401
    logged = "".join(path.read_text() for path in (house.settings.home / "logs").glob("api-server*"))
    assert "path=/dealwatch/settings" in logged
    assert page.partition("token=")[2][:40] not in logged


@pytest.mark.parametrize(
    ("by", "options"),
    [
        ("shell", {"max_active_runs": 10}),
        ("rest", {"max_active_runs": 2, "run_backwards": True}),
    ],
    ids=["shell-side-by-side", "rest-backwards"],
)
def test_a_backfill_on_postgresql_ends_in_the_tables_of_nine_calm_mornings_on_sqlite(
    house: House, by: str, options: dict[str, Any]
) -> None:
    forget(house.settings, only=SCORED)
    backfill(house, by, **options)
    assert differing(tables_of(house.settings), house.expected) == []
    assert_nobody_was_messaged(house)


def test_one_morning_runs_from_scores_to_files(house: House) -> None:
    forget(house.settings, only=SCORED)
    house.api.pause("deliver_alerts", is_paused=False)
    house.api.run("score_deals", "one_morning", {"as_of": LAST.isoformat(), "notify": "force"})
    runs = "/dags/deliver_alerts/dagRuns"

    def are_delivered() -> bool:
        ended = [r["state"] for r in house.api.get(runs)["dag_runs"] if r["run_type"] == "operator_triggered"]
        assert "failed" not in ended
        return ended == ["success"]

    house.api.wait(are_delivered, seconds=PATIENCE, what="deliver_alerts, triggered by score_deals")
    deliveries = tables_of(house.settings, only=("deliveries",))["deliveries"]
    sent = deliveries.filter(deliveries["state"] == "sent")
    assert sent.height > 0
    assert len(list(house.settings.home.glob("outbox/*/*.html"))) == sent.height
    before = tables_of(house.settings)
    again(house, "score_deals", "one_morning")
    assert differing(tables_of(house.settings), before) == []


def test_a_failed_run_is_told_to_operations_in_slack(
    house: House, slack: tuple[str, list[dict[str, Any]]]
) -> None:
    """The scheduled run met an empty ledger: a person must extract first, so it was not tried again."""
    house.api.wait(lambda: bool(slack[1]), seconds=PATIENCE, what="the notice in Slack")
    (notice,) = slack[1]
    run_id = scheduled_run(house.api)["dag_run_id"]
    assert notice["channel"] == "C0OPERATIONS"
    assert notice["text"].startswith(f"Look at score_deals: run {run_id} failed")
    tasks = house.api.get(f"/dags/score_deals/dagRuns/{run_id}/taskInstances")["task_instances"]
    assert {task["task_id"]: (task["state"], task["try_number"]) for task in tasks}["score"] == ("failed", 1)


def test_a_scheduled_run_is_about_its_tick(house: House) -> None:
    run = scheduled_run(house.api)
    tick = moment(run["logical_date"])
    again(house, "score_deals", run["dag_run_id"])
    (event,) = house.api.get("/assets/events", source_dag_id="score_deals", source_run_id=run["dag_run_id"])[
        "asset_events"
    ]
    assert moment(event["extra"]["as_of"]) == tick
    local = tick.astimezone(house.settings.zone)
    assert (local.hour, local.minute) == (6, 0)
    assert run["run_type"] == "scheduled"
