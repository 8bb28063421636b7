"""A connection to a warehouse that can only read, and that sees one state of it until it is closed."""

import logging
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from dealwatch.errors import SettingsError
from dealwatch.sources import Sql

_CONNECT_SECONDS = 30
_LOG = "source"


def engine_of(name: str, source: Sql, url: str) -> sa.Engine:
    """An engine that logs no values. Raises SettingsError, without a word of the URL, when it is none."""
    # At DEBUG SQLAlchemy logs whole rows.
    logging.getLogger(f"sqlalchemy.engine.Engine.{_LOG}").setLevel(logging.WARNING)
    made: sa.Engine | None = None
    what = "is no SQLAlchemy URL, as postgresql+psycopg://reader@host/database"
    try:
        parsed = _read_only_file(sa.make_url(url))
        is_postgresql = parsed.get_backend_name() == "postgresql"
        arguments = {"connect_timeout": _CONNECT_SECONDS} if is_postgresql else {}
        arguments = {key: value for key, value in arguments.items() if key not in parsed.query}
        made = sa.create_engine(
            parsed, poolclass=NullPool, hide_parameters=True, logging_name=_LOG, connect_args=arguments
        )
    except (ImportError, sa.exc.NoSuchModuleError):
        what = "names a database whose driver is not installed; install it"
    except (sa.exc.ArgumentError, ValueError, TypeError):
        pass
    if made is None:
        raise SettingsError(f"[sources.{name}] url {what}")
    return made


def _read_only_file(url: sa.URL) -> sa.URL:
    """SQLite would make a file that is not there, and read an empty warehouse."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return url
    return url.set(database=Path(url.database).absolute().as_uri(), query={"mode": "ro", "uri": "true"})


def one_state(connection: sa.Connection, source: Sql) -> sa.Connection:
    """The connection in a read-only transaction of one state; the database's own errors go through."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        limits = {"statement_timeout": f"{source.statement_timeout_seconds}s", "timezone": "UTC"}
        for setting, value in limits.items():
            connection.execute(sa.select(sa.func.set_config(setting, value, True)))
    elif dialect == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")  # Python's driver begins with the first write only
    elif "REPEATABLE READ" in connection.get_isolation_level_values():  # type: ignore[attr-defined]
        connection.execution_options(isolation_level="REPEATABLE READ")
    return connection
