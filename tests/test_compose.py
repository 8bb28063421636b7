"""docker-compose.yaml means what it says: valid, and every path, command, variable and connection exists."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dealwatch.__main__ import _parser
from dealwatch.launch.places import Places
from dealwatch.settings import Settings
from test_house import ROOT

COMPOSE = ROOT / "docker-compose.yaml"
EXAMPLE = ROOT / ".env.example"
AIRFLOW = (
    Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages/airflow"
)
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text()))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    assert len(compose["services"]) == 8
    return dict(compose["services"])


def test_it_follows_the_compose_specification() -> None:
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            str(COMPOSE),
        ],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def variables(text: str) -> set[str]:
    """The names that Compose fills in: ${NAME}, but not the $${NAME} that a shell fills in."""
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))


def test_the_example_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"^([A-Z_]+)=", EXAMPLE.read_text(), flags=re.M))
    assert named == variables(COMPOSE.read_text())
    assert len(named) >= 10, "found nothing to check"


def test_the_example_holds_no_secret_and_compose_refuses_an_empty_one() -> None:
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLE.read_text(), flags=re.M))
    secrets = {name for name in values if re.search(r"PASSWORD|SECRET|KEY", name)}
    assert len(secrets) == 7
    assert {values[name] for name in secrets} == {""}
    for name in secrets:
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", COMPOSE.read_text())
        assert uses and all(use.startswith(":?") for use in uses), name


def test_the_image_is_of_the_airflow_we_pin_and_gets_our_requirements(services: dict[str, Any]) -> None:
    dockerfile = services["scheduler"]["build"]["dockerfile_inline"]
    pinned = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.txt").read_text(), flags=re.M)
    assert pinned
    assert f"FROM apache/airflow:{pinned[1]}-python3.12\n" in dockerfile
    for source in re.findall(r"^COPY (\S+)", dockerfile, flags=re.M):
        assert (ROOT / source).exists()


def test_the_topology_is_complete(services: dict[str, Any]) -> None:
    assert {"postgres", "init", *PARTS, "redis", "worker"} == set(services)
    assert {name for name, s in services.items() if s.get("profiles") == ["celery"]} == {"redis", "worker"}
    for name in set(services) - {"init"}:
        assert services[name]["healthcheck"]["test"], name
    for name in (*PARTS, "worker"):
        assert services[name]["depends_on"]["init"] == {"condition": "service_completed_successfully"}


def test_every_mounted_path_exists(compose: dict[str, Any], services: dict[str, Any]) -> None:
    mounted = {volume.split(":")[0]: volume for volume in services["scheduler"]["volumes"]}
    folders = {source for source in mounted if source.startswith("./")}
    assert folders == {"./dags", "./plugins", "./include"}
    assert all((ROOT / folder).is_dir() for folder in folders)
    named = {v.split(":")[0] for s in services.values() for v in s.get("volumes", ()) if v[0].isalpha()}
    assert named == set(compose["volumes"])
    assert {c["source"] for s in services.values() for c in s.get("configs", ())} == set(compose["configs"])


def inside(path: str) -> Path:
    """Where a path of the container lies in the project."""
    return ROOT / Path(path).relative_to("/opt/airflow")


def test_every_path_in_the_environment_exists(services: dict[str, Any]) -> None:
    environment = services["scheduler"]["environment"]
    for path in environment["PYTHONPATH"].split(":"):
        assert inside(path).is_dir()
    assert any(
        (inside(p) / "airflow_local_settings.py").exists() for p in environment["PYTHONPATH"].split(":")
    )
    targets = [re.sub(r":ro$", "", v).rsplit(":", 1)[1] for v in services["scheduler"]["volumes"]]
    assert environment["DEALWATCH_HOME"] in targets
    file = Path(environment["DEALWATCH_SETTINGS"])
    assert str(file.parent) in targets
    # The folder that `.env.example` names is the one in which `make run` leaves such a file.
    assert "DEALWATCH_FILES=./var\n" in EXAMPLE.read_text()
    assert Settings.model_fields["home"].default == ROOT / "var"
    assert Places(ROOT / "var").settings_file.name == file.name


def test_every_airflow_setting_exists(services: dict[str, Any]) -> None:
    described = yaml.safe_load((AIRFLOW / "config_templates" / "config.yml").read_text())
    for provider in ("fab", "celery"):
        info = (AIRFLOW / "providers" / provider / "get_provider_info.py").read_text()
        scope: dict[str, Any] = {}
        exec(compile(info, provider, "exec"), scope)  # noqa: S102
        described |= scope["get_provider_info"]().get("config", {})
    settings = [n for s in services.values() for n in s.get("environment", ()) if n.startswith("AIRFLOW__")]
    assert len(settings) > 50, "found nothing to check"
    for name in settings:
        _, section, option = name.lower().split("__")
        assert option in described[section]["options"], name


def test_every_dealwatch_variable_is_a_setting(services: dict[str, Any]) -> None:
    ours = {n for s in services.values() for n in s.get("environment", ()) if n.startswith("DEALWATCH_")}
    assert len(ours) == 4
    fields = {f"DEALWATCH_{name.upper()}" for name in Settings.model_fields}
    assert ours - {"DEALWATCH_SETTINGS"} <= fields


def test_every_connection_is_one_that_dealwatch_looks_up(services: dict[str, Any]) -> None:
    named = {n for n in services["scheduler"]["environment"] if n.startswith("AIRFLOW_CONN_")}
    looked_up = set(
        re.findall(r'connection\("(\w+)"\)', (ROOT / "include/dealwatch/settings.py").read_text())
    )
    assert {name.removeprefix("AIRFLOW_CONN_").lower() for name in named} == looked_up
    assert looked_up


def commands(services: dict[str, Any]) -> list[list[str]]:
    """Every command line: what services run, and what their health checks ask."""
    found = []
    for service in services.values():
        command = service.get("command")
        if isinstance(command, str):
            found.append(["airflow", *shlex.split(command)])
        elif command:
            script = command[-1].replace("\\\n", " ").replace("$$", "$")
            found += [shlex.split(line) for line in script.splitlines()]
        kind, *check = service["healthcheck"]["test"] if "healthcheck" in service else ["", ""]
        found.append(check if kind == "CMD" else shlex.split(check[0]))
    return [line for line in found if line]


def test_every_command_exists(services: dict[str, Any]) -> None:
    lines = commands(services)
    assert len(lines) >= 14, "found nothing to check"
    known = {"airflow", "python", "celery", "curl", "pg_isready", "redis-cli"}
    assert {line[0] for line in lines} == known


@pytest.mark.airflow
def test_airflow_and_dealwatch_understand_their_command_lines(
    services: dict[str, Any], tmp_path: Path
) -> None:
    lines = {tuple(line) for line in commands(services) if line[0] in ("airflow", "python", "celery")}
    script = (
        "import json, sys\n"
        "from airflow.cli.cli_parser import get_parser\n"
        "for line in json.load(sys.stdin):\n"
        "    get_parser().parse_args(line)\n"
    )
    fab = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    understood = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([line[1:] for line in lines if line[0] == "airflow"]),
        env={
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__AUTH_MANAGER": fab,
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
    )
    assert understood.returncode == 0, understood.stderr
    for line in lines:
        if line[0] == "python":
            assert line[1:3] == ("-m", "dealwatch")
            _parser().parse_args(line[3:])
    (app,) = {line[2] for line in lines if line[0] == "celery"}
    module, name = app.rsplit(".", 1)
    source = (AIRFLOW.parent / module.replace(".", "/")).with_suffix(".py").read_text()
    assert re.search(rf"\b{name}\b", source)
