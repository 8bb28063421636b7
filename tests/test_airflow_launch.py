"""`make run` and `make ui`: nothing of the shell gets in, nothing is left behind, nothing is done twice."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, insert

from airflow_support import PATIENCE, ROOT, differing, tables_of
from dealwatch.errors import NotReady
from dealwatch.launch import diary, sessions, story
from dealwatch.launch.airflow_home import free_port, require_free
from dealwatch.launch.diary import Diary
from dealwatch.launch.places import Places, environment, prepare
from dealwatch.launch.processes import Children
from dealwatch.settings import Settings, load
from dealwatch.tables import extract_runs
from dealwatch.warehouse import writing

DEALS = 800


def test_no_system_of_the_shell_reaches_the_demo(tmp_path: Path) -> None:
    places = Places(tmp_path)
    shell = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production",
        "AIRFLOW_CONN_SLACK_DEFAULT": "slack://:token@",
        "AIRFLOW_HOME": "/production",
        "DEALWATCH_WAREHOUSE_URL": "postgresql://production",
        "_AIRFLOW_PROCESS_CONTEXT": "x",
        "PATH": "/usr/bin",
    }
    made = environment(places, prepare(places), port=1, has_schedules=False, inherited=shell)
    assert "production" not in json.dumps(made)
    assert not [name for name in made if name.startswith(("AIRFLOW_CONN", "_AIRFLOW"))]
    assert made["PATH"] == "/usr/bin"
    assert made["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_keys_are_made_once_and_are_ours_alone(tmp_path: Path) -> None:
    places = Places(tmp_path)
    keys = prepare(places)
    assert prepare(places) == keys
    assert len(set(keys.values())) == 4
    for path in (places.keys, places.airflow / "passwords.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_taken_port_is_refused_with_a_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NotReady, match=f"make ui PORT={port + 1}"):
            require_free(port)
    require_free(port)


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)  # as Airflow does with each task
    os.fork()
time.sleep(600)
"""


STOPPED_IN_MADE_CODE = """
import os, signal, sys
from dealwatch.launch import __main__ as door

door._fresh = lambda *_: exec("os.kill(os.getpid(), signal.SIGTERM)", {"os": os, "signal": signal})
sys.exit(door.main(sys.argv[1:]))
"""


def test_being_stopped_in_code_made_of_text_is_an_orderly_end(tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text(STOPPED_IN_MADE_CODE)
    command = [sys.executable, "-m", "door", "--home", str(tmp_path / "home"), "fresh"]
    shell = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "include"), str(tmp_path)))}
    ended = subprocess.run(command, env=shell, capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stderr) == (130, "")
    assert "Every process has been stopped" in ended.stdout


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, or so long that it never will; the caller says what that means."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def family_of(process: "subprocess.Popen[Any]", members: int) -> list[psutil.Process]:
    """The descendants of a process, once there are so many."""
    found: list[psutil.Process] = []

    def are_born() -> bool:
        found[:] = psutil.Process(process.pid).children(recursive=True)
        return len(found) >= members

    wait_until(are_born)
    assert len(found) >= members
    return found


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; who waits to be buried by a parent that never looks has."""
    found = []
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def left_of(family: list[psutil.Process]) -> list[psutil.Process]:
    """Who still lives when all had time to end."""
    wait_until(lambda: not living(family))
    return living(family)


@pytest.mark.slow
def test_stubborn_processes_are_ended_to_the_last_descendant(tmp_path: Path) -> None:
    with Children(dict(os.environ), tmp_path) as children:
        started = children.start("stubborn", [sys.executable, "-c", STUBBORN])
        family = family_of(started, 2)
    assert started.returncode == -signal.SIGKILL
    assert living(family) == []


STARTER = f"""
import os, pathlib, sys, threading, time
from dealwatch.launch import diary
from dealwatch.launch.places import Places
from dealwatch.launch.processes import Children

home = pathlib.Path(sys.argv[1])
with diary.alone(Places(home)):
    children = Children(dict(os.environ), home)
    children.start("over", ["true"])
    children.finish("over")
    children.start("stubborn", [sys.executable, "-c", {STUBBORN!r}])
    for _ in range(3):
        threading.Thread(target=time.sleep, args=[600]).start()
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_starter_killed_outright_leaves_no_process_behind(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)])
    family = family_of(starter, 4)  # the guard, the child, and its two
    (guard,) = [one for one in family if sessions.__name__ in one.cmdline()]
    guard.suspend()
    starter.kill()
    starter.wait()
    with pytest.raises(NotReady, match="is using"), diary.alone(Places(tmp_path)):
        pass  # its processes are not over
    guard.resume()
    assert left_of(family) == []
    with diary.alone(Places(tmp_path)):
        pass


def test_a_guard_that_died_is_replaced_by_one_that_knows_who_lives(tmp_path: Path) -> None:
    with Children(dict(os.environ), tmp_path) as children:
        first = children.start("first", ["sleep", "600"])
        assert children.guard is not None
        children.guard.kill()
        children.guard.wait()
        second = children.start("second", ["sleep", "600"])
        guard = children.guard
        assert guard.stdin is not None
        guard.stdin.close()  # as when we are killed
        guard.wait(timeout=PATIENCE)
        assert (first.wait(), second.wait()) == (-signal.SIGTERM, -signal.SIGTERM)


SIGNED = """
import pathlib, signal, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])

def end(*_):
    with (folder / "ended").open("a") as book:
        book.write(f"{name}\\n")
    sys.exit()

signal.signal(signal.SIGTERM, end)
(folder / name).touch()
time.sleep(600)
"""


def test_the_guard_ends_the_first_one_last_also_after_it_was_started_again(tmp_path: Path) -> None:
    def begun(name: str) -> None:
        wait_until((tmp_path / name).exists)
        (tmp_path / name).unlink()

    with Children(dict(os.environ), tmp_path) as children:
        for name in ("first", "second", "third"):
            children.start(name, [sys.executable, "-c", SIGNED, name, str(tmp_path)])
            begun(name)
        children.running["first"].kill()
        children.running["first"].wait()
        guard = children.guard
        assert guard is not None
        guard.kill()
        guard.wait()
        children.check()
        begun("first")
        assert children.guard is not None and children.guard is not guard, "check() looks after the guard too"
        assert children.guard.stdin is not None
        children.guard.stdin.close()  # as when we are killed
        children.guard.wait(timeout=PATIENCE)
        ended = (tmp_path / "ended").read_text().split()
    assert sorted(ended[:2]) == ["second", "third"] and ended[2:] == ["first"]


def test_a_guard_leaves_alone_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[list[int]] = []
    monkeypatch.setattr(sessions, "end", lambda living: ended.append(list(living)))
    for told in (["+7\n", "7\n", "+8\n", "7 8\n", "+9\n", "9 8\n"], ["7\n", "\n"], ["7\n", "+8\n"], []):
        sessions.watch(told)
    assert ended == [[9, 8], [], [7, 8], []]


def test_a_component_that_dies_is_started_again_but_not_for_ever(tmp_path: Path) -> None:
    with Children(dict(os.environ), tmp_path) as children:
        children.start("brief", ["true"])
        for _ in range(2):
            children.running["brief"].wait()
            children.check()
        children.running["brief"].wait()
        with pytest.raises(NotReady, match=r"brief ended with 0; see .*brief\.log"):
            children.check()


THREADS = """
import pathlib, sys
sys.argv = ["airflow", "scheduler"]
import airflow_local_settings
assert {"polars", "sklearn.ensemble", "dealwatch.scoring.coalitions"} <= sys.modules.keys()

def tell():
    names = {path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")}
    print(*(name for name in names if not name.startswith("python")))

tell()
import polars
polars.DataFrame({"a": range(9)}).lazy().sort("a").group_by("a").len().collect()
tell()
"""


@pytest.mark.airflow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_what_is_loaded_before_the_fork_starts_none_of_the_threads_that_compute() -> None:
    harmless = {"jemalloc_bg_thd", "polars-ooc-clea"}  # the allocator's, and a sleeping cleaner
    folders = os.pathsep.join(str(ROOT / "include" / name) for name in ("", "airflow_config"))
    shell = {**os.environ, "PYTHONPATH": folders, "OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", THREADS], env=shell, capture_output=True, text=True, check=True
    )
    loaded, computed = (set(line.split()) for line in told.stdout.splitlines())
    assert loaded <= harmless
    assert not computed <= harmless, "this test would not notice"


def test_two_launchers_never_share_a_home(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with diary.alone(places):
        with pytest.raises(NotReady, match="is using"), diary.alone(places):
            pass
    with diary.alone(places):
        pass


def test_the_demo_refuses_a_home_with_other_data(engine: Engine, settings: Settings) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    rest = {"drop_name": "", "state": "remembered", "records": 0, "quarantined": 0, "changes": 0}
    times = {"extracted_at": moment, "recorded_at": moment}
    with writing(engine) as connection:
        connection.execute(insert(extract_runs).values(extract_id="1", source="demo", **rest, **times))
    diary.refuse_other_data(settings)
    with writing(engine) as connection:
        connection.execute(insert(extract_runs).values(extract_id="2", source="crm", **rest, **times))
    with pytest.raises(NotReady, match="holds data of crm"):
        diary.refuse_other_data(settings)
    diary.write(Places(settings.home), Diary(date(2026, 1, 1)))
    with pytest.raises(NotReady, match="holds data of crm"):
        diary.forget(Places(settings.home), settings)


def test_forgetting_the_demo_leaves_what_somebody_else_keeps_in_its_folder(settings: Settings) -> None:
    places = Places(settings.home)
    for path in (
        places.home / "mine" / "dealwatch.db",
        places.demo / "deals.csv",
        places.home / "dealwatch.db",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (places.home / "dealwatch.db").unlink()
    diary.write(places, Diary(date(2026, 11, 20)))
    diary.forget(places, settings)
    assert sorted(path.name for path in places.home.rglob("*") if path.name != "launch.lock") == [
        "dealwatch.db",
        "mine",
    ]


def test_the_demo_keeps_its_morning_and_an_unfinished_one_is_not_carried_over(settings: Settings) -> None:
    places = Places(settings.home)
    places.home.mkdir()
    friday, monday = datetime(2026, 11, 20, 5, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC)
    assert story.begin(places, settings, friday) == Diary(date(2026, 11, 20))
    assert story.begin(places, settings, friday) == Diary(date(2026, 11, 20))
    with pytest.raises(NotReady, match="make fresh run"):
        story.begin(places, settings, monday)
    diary.write(places, Diary(date(2026, 11, 20), is_finished=True))
    assert story.begin(places, settings, monday).morning_on == date(2026, 11, 20)


def test_ten_business_days_before_the_morning_are_backfilled() -> None:
    days = story.backfilled_days(date(2026, 11, 23))
    assert len(days) == 10
    assert (days[0], days[-1]) == (date(2026, 11, 9), date(2026, 11, 20))
    assert all(day.weekday() < 5 for day in days)


def launched(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """The launcher in a shell that knows other systems, which it must not touch."""
    shell = {
        **os.environ,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://nowhere/airflow",
        "DEALWATCH_WAREHOUSE_URL": "postgresql+psycopg://nowhere/warehouse",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "dealwatch.launch", "--home", str(home), *arguments],
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(home: Path) -> list[psutil.Process]:
    """Every living process that has a file of the home open; each component has at least its log."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(Path(file.path).is_relative_to(home) for file in process.open_files()):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A home in which a small demo has run, and what was printed."""
    home = tmp_path_factory.mktemp("demo")
    process = launched(home, "run", "--deals", str(DEALS))
    told, _ = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, told
    assert processes_of(home) == []
    yield home, told


@pytest.mark.airflow
@pytest.mark.timeout(3 * PATIENCE)
def test_the_demo_ends_with_what_a_sales_leader_asks(demo: tuple[Path, str]) -> None:
    home, told = demo
    for words in (
        "The CRM told of 800 deals with",
        "every row could be used",
        "deals are open, worth",
        "Critical",
        "The 5 riskiest deals",
        "Alerts this morning",
        "sent.",
        "They would have sent",
        "they sent 0",
        "in review",
        "make ui, then Reviews in Airflow's navigation",
    ):
        assert words in told, told
    assert (home / "outbox" / "index.html").as_uri() in told
    assert len(list(home.glob("outbox/*/*.html"))) > 0


@pytest.mark.airflow
def test_a_second_run_starts_no_airflow_and_changes_nothing(demo: tuple[Path, str]) -> None:
    home, told = demo
    settings = load(home / "dealwatch.toml").model_copy(update={"home": home})
    before, of_airflow = tables_of(settings), written_in(home / "airflow")
    process = launched(home, "run")
    again, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, again
    assert again.strip() == told[told.index("Done in") :].partition("\n\n")[2].strip()
    assert differing(tables_of(settings), before) == []
    assert of_airflow and written_in(home / "airflow") == of_airflow


def written_in(folder: Path) -> dict[Path, int]:
    """When each file of the folder was last written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("number", "awaited"),
    [
        (signal.SIGINT, "Start Airflow"),
        (signal.SIGTERM, "Start Airflow"),
        (signal.SIGKILL, "Ctrl-C stops everything"),
    ],
)
def test_the_ui_leaves_no_process_behind(
    demo: tuple[Path, str], number: signal.Signals, awaited: str
) -> None:
    port = free_port()
    process = launched(demo[0], "ui", "--port", str(port))
    assert process.stdout
    told = ""
    while awaited not in told:
        line = process.stdout.readline()
        assert line, told
        told += line
    if number == signal.SIGKILL:
        assert f"http://localhost:{port}" in told
        assert "Password" in told
    # The guard and the components; then the scheduler's workers, too.
    family = family_of(process, 9 if number == signal.SIGKILL else 5)
    assert len(processes_of(demo[0])) >= 4, "this test would not notice"
    process.send_signal(number)
    assert process.wait(timeout=PATIENCE) == (-9 if number == signal.SIGKILL else 0)
    assert left_of(family) == []
    assert processes_of(demo[0]) == []
    process.stdout.close()
