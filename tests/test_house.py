"""The house stands: arrows point left, sockets are thin, the network stays at the edge."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "include" / "dealwatch"
ORDER = (
    "errors environment checks knobs written_fields sources settings keys moments calendars drawing "
    "templating tables warehouse migrations company crm history scoring delivery alerts insights board jobs "
    "reference launch questions answering setting_right __main__"
).split()
ALERTS = (
    "reasons fingerprints rules morning intraday episodes evidence renewal speaking trends write_back "
    "hindsight"
).split()
NETWORK = {
    "httpx",
    "requests",
    "urllib.request",
    "http.client",
    "smtplib",
    "socket",
    "ssl",
    "slack_sdk.web",
    "slack_sdk.webhook",
}
MAY_USE_THE_NETWORK = {"crm", "launch"} | {
    f"delivery/{name}.py" for name in ("slack", "slack_client", "slack_replies", "email", "teams")
}


def imports_of(path: Path) -> set[str]:
    """Every dotted name a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def package_files() -> list[Path]:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    assert len(files) > 15, "found nothing to check"
    return files


def wrong_arrows(path: Path, room: str) -> list[str]:
    reached = {name.split(".")[1] for name in imports_of(path) if name.startswith("dealwatch.")}
    return [
        f"{path.name} ({room}) imports {other}"
        for other in sorted(reached)
        if other != room and other != "__version__" and ORDER.index(other) >= ORDER.index(room)
    ]


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room_of(path) for path in package_files()} <= set(ORDER)


def test_arrows_point_one_way() -> None:
    assert [wrong for path in package_files() for wrong in wrong_arrows(path, room_of(path))] == []


def test_arrows_inside_the_alerts_room_point_one_way_too() -> None:
    wrong = []
    for path in sorted((PACKAGE / "alerts").rglob("*.py")):
        room = path.relative_to(PACKAGE / "alerts").parts[0].removesuffix(".py")
        for name in imports_of(path):
            other = name.removeprefix("dealwatch.alerts.").split(".")[0]
            if name.startswith("dealwatch.alerts.") and other != room:
                wrong += [f"{path.name} imports {name}"] * (ALERTS.index(other) >= ALERTS.index(room))
    assert wrong == []


def test_a_wrong_arrow_is_noticed(tmp_path: Path) -> None:
    wrong = tmp_path / "ledger.py"
    wrong.write_text("def f():\n    from dealwatch.alerts import queue\n")
    assert wrong_arrows(wrong, "history") == ["ledger.py (history) imports alerts"]


def test_airflow_is_imported_in_sockets_only() -> None:
    users = [path for path in package_files() if any(n.split(".")[0] == "airflow" for n in imports_of(path))]
    assert users == []


def test_the_network_is_touched_at_the_edge_only() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in package_files()
        for name in imports_of(path)
        if any(name == n or name.startswith(f"{n}.") for n in NETWORK)
        and room_of(path) not in MAY_USE_THE_NETWORK
        and str(path.relative_to(PACKAGE)) not in MAY_USE_THE_NETWORK
    ]
    assert offenders == []


@pytest.mark.parametrize("folder", ["dags", "plugins"])
def test_sockets_are_thin(folder: str) -> None:
    sockets = sorted((ROOT / folder).rglob("*.py"))
    assert sockets or folder == "plugins", "found nothing to check"
    assert {path.name: n for path in sockets if (n := len(path.read_text().splitlines())) > 60} == {}


def test_the_clock_is_read_in_sockets_only() -> None:
    readers = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in package_files()
        if room_of(path) not in {"__main__", "launch"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr)
        in {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time")}
    ]
    assert readers == []


def test_the_top_level_holds_what_the_readme_says_and_nothing_else() -> None:
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in tracked.splitlines()}
    allowed = set(
        ".ci .env.example .gitignore .dockerignore CHANGELOG.md LICENSE Makefile README.md dags docs include "
        "docker-compose.yaml plugins pyproject.toml requirements-dev.txt requirements.txt tests".split()
    )
    assert top - allowed == set()
