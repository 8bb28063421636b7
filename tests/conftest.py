"""What tests share: a warehouse of each kind, a provider of each kind, and where the real data lies."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Tests run side by side already, and on small tables threads wait for each other more than they compute. Said
# before polars is loaded, which reads it once.
os.environ["POLARS_MAX_THREADS"] = os.environ.get("POLARS_MAX_THREADS", "1")
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

import certifi
import pytest
from sqlalchemy import Engine

import postgresql
from dealwatch import migrations
from dealwatch.settings import Settings
from dealwatch.warehouse import connect
from postgresql import new_database

if TYPE_CHECKING:
    from small_company import SmallCompany
    from standins.slack import Slack
    from standins.smtp import Clock, Mailbox
    from standins.teams import Webhook

ROOT = Path(__file__).resolve().parents[1]
# Processes that a test starts run this tree's package, whatever is installed.
os.environ["PYTHONPATH"] = str(ROOT / "include")
# No test speaks to the world, whose hundred and fifty authorities would cost each new client 20 ms.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "standins" / "nobody.pem")
certifi.where = lambda: os.environ["SSL_CERT_FILE"]
REAL_DATA = Path(os.environ.get("DEALWATCH_REAL_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers begin with the files that hold long tests, so that none is left with one at the end.

    Of those, two that start an Airflow, which waits a good part of its time, and one that computes in turn.
    """
    if hasattr(config, "workerinput"):
        waiting, computing = (
            list(dict.fromkeys(item.path for item in items if item.get_closest_marker(mark)))
            for mark in ("airflow", "slow")
        )
        turns = {path: (n // 2, 0) for n, path in enumerate(waiting)}
        turns = {path: (n, 1) for n, path in enumerate(computing)} | turns
        last = (len(items), 0)
        items.sort(key=lambda item: turns.get(item.path, last))


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; tests that need it skip when it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real data is not at {REAL_DATA}; set DEALWATCH_REAL_DATA")
    return REAL_DATA


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A throw-away PostgreSQL on loopback; yields its URL without a database name."""
    if postgresql.programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with postgresql.running() as url:
        yield url


@pytest.fixture(scope="session")
def small_company(tmp_path_factory: pytest.TempPathFactory) -> "SmallCompany":
    """A company with a history and two models, founded once a process; tests work on copies of it."""
    from small_company import founded  # not above: most tests need no model

    return founded(tmp_path_factory.mktemp("small"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with everything below the test's own folder, on SQLite."""
    return Settings(home=tmp_path / "home")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a warehouse with the schema, migrated once a process; tests work on copies of it."""
    made = connect(Settings(home=tmp_path_factory.mktemp("migrated")))
    migrations.upgrade(made)
    with made.connect() as connection:  # all of it into the one file
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    made.dispose()
    return Path(str(made.url.database))


@pytest.fixture
def engine(settings: Settings, migrated: Path) -> Iterator[Engine]:
    """A fresh SQLite warehouse with the schema."""
    made = connect(settings)
    shutil.copyfile(migrated, str(made.url.database))
    yield made
    made.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def either_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings on each dialect in turn, for what must hold on both."""
    if request.param == "sqlite":
        return Settings(home=tmp_path / "home")
    server = request.getfixturevalue("postgres_server")
    name = f"t{abs(hash((request.node.nodeid, os.getpid()))):x}"
    return Settings(home=tmp_path / "home", warehouse_url=new_database(server, name))


@pytest.fixture
def either_engine(either_settings: Settings, migrated: Path) -> Iterator[Engine]:
    """A fresh warehouse with the schema, on each dialect in turn."""
    made = connect(either_settings)
    if made.dialect.name == "sqlite":
        shutil.copyfile(migrated, str(made.url.database))
    else:
        migrations.upgrade(made)  # PostgreSQL copies a database no faster
    yield made
    made.dispose()


@pytest.fixture
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins are on loopback, where no proxy leads."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def slack(_no_proxy: None) -> Iterator["Slack"]:
    """A workspace that knows nobody yet."""
    from standins.slack import slack_server  # not above: most tests send nothing

    with slack_server() as running:
        yield running


@pytest.fixture
def mail_clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """The mail client's clock. It stands still until a server takes time on it: no machine is too slow."""
    from dealwatch.delivery import email
    from standins.smtp import Clock

    clock = Clock()
    monkeypatch.setattr(email, "time", clock)
    return clock


@pytest.fixture
def mailbox(mail_clock: "Clock") -> Iterator["Mailbox"]:
    """A mail server that wants neither encryption nor a login."""
    from standins.smtp import smtp_server

    with smtp_server() as running:
        running.clock = mail_clock
        yield running


@pytest.fixture
def webhook(_no_proxy: None) -> Iterator["Webhook"]:
    """A workflow of Teams that takes every card."""
    from standins.teams import teams_webhook

    with teams_webhook() as running:
        yield running
