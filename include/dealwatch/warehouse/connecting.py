"""Opens the warehouse: SQLite (WAL) or PostgreSQL, each prepared for how we use it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from dealwatch.errors import NotReady, SettingsError, WarehouseDown
from dealwatch.settings import Settings
from dealwatch.tables import metadata

_BUSY_MILLISECONDS = 120_000
_CACHE_KILOBYTES = 32_000  # SQLite's 2,000 hold not even the inner pages of a large ledger's trees
_SPOKEN = ("sqlite+pysqlite", "postgresql+psycopg")
_SET_BY = "warehouse_url (DEALWATCH_WAREHOUSE_URL, the settings file or the connection dealwatch_warehouse)"


def connect(settings: Settings, *, patience_seconds: int | None = None) -> Engine:
    """An engine for the settings' warehouse; the SQLite file's folder is made when missing.

    patience_seconds: how long to wait for other writers; somebody who clicked cannot wait for a whole fold.
    Errors do not show the rows that were written: logs are read by people who may not see the CRM.
    Raises SettingsError for a URL that leads to no warehouse of ours and a folder that cannot be made.
    """
    url = _url(settings)
    if url.get_backend_name() == "sqlite":
        if url.database:
            _make_folder(Path(url.database).parent)
        engine = create_engine(url, connect_args={"timeout": _BUSY_MILLISECONDS / 1000}, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        waits = {} if patience_seconds is None else {"connect_timeout": patience_seconds}
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=waits)
    if patience_seconds is not None:
        is_sqlite = engine.dialect.name == "sqlite"
        event.listen(
            engine, "connect", _sqlite_waits(patience_seconds) if is_sqlite else _waits(patience_seconds)
        )
    return engine


def in_memory() -> Engine:
    """A warehouse with the schema and no rows, which is gone when it is disposed: to try things out in."""
    engine = create_engine("sqlite+pysqlite://", poolclass=StaticPool, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    metadata.create_all(engine)
    return engine


def knock(engine: Engine) -> None:
    """Raise WarehouseDown when the warehouse does not answer, NotReady when what is there is no database."""
    where = engine.url.set(query={}).render_as_string(hide_password=True)
    try:
        engine.connect().close()
    except OperationalError as error:
        reason = " ".join(str(error.orig).split()).rstrip(".?")
        raise WarehouseDown(
            f"the warehouse {where} does not answer ({reason}); mend that, or {_SET_BY}"
        ) from None
    except DatabaseError as error:
        raise NotReady(
            f"the warehouse {where} cannot be read: {error.orig}. Restore it from a backup, or move it away, "
            "run `python -m dealwatch db upgrade` and extract again"
        ) from None


def _sqlite_waits(seconds: int) -> Callable[[Any, Any], None]:
    return lambda connection, _record: connection.execute(f"PRAGMA busy_timeout={seconds * 1000}")


def _waits(seconds: int) -> Callable[[Any, Any], None]:
    def limit(connection: Any, _record: Any) -> None:
        connection.autocommit = True  # what a transaction sets would end with it
        connection.execute(f"SET lock_timeout = '{seconds}s'")
        connection.execute(f"SET statement_timeout = '{seconds}s'")
        connection.autocommit = False

    return limit


def _url(settings: Settings) -> URL:
    """The warehouse's URL; what is wrong with it is said without showing it, for it holds a password."""
    remedy = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE, or leave it out for SQLite in `home`"
    try:
        url = make_url(settings.url)
        spoken = f"{url.get_backend_name()}+{url.get_driver_name()}"
    except (ArgumentError, ValueError):
        raise SettingsError(f"{_SET_BY} is no database URL; {remedy}") from None
    if spoken not in _SPOKEN:
        raise SettingsError(
            f"{_SET_BY} begins with {url.drivername}, which dealwatch does not speak; {remedy}"
        )
    return url


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{folder}: the warehouse's folder cannot be made ({error.strerror}); "
            "let DEALWATCH_HOME, or `home` in the settings file, name a folder that we may write to"
        ) from None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's driver must not begin on its own: `writing` does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA cache_size=-{_CACHE_KILOBYTES}")
    cursor.close()
