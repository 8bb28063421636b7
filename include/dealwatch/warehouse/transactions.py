"""One view of the warehouse for those who read, one transaction for those who write."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Select, text


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the warehouse for the length of the block."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
        try:
            yield connection
        finally:
            connection.rollback()


@contextmanager
def writing(engine: Engine, *, alone: str | None = None) -> Iterator[Connection]:
    """One transaction: all of the block or nothing.

    `alone` names work that must not run twice at once ("fold"): writers of that name queue up, so what one
    reads cannot be changed by another before it has written. SQLite has one writer anyway.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif alone is not None:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"dealwatch {alone}"}
            )
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def unclaimed(query: Select[Any]) -> Select[Any]:
    """The rows that nobody else is claiming, held until the transaction ends; use inside `writing`.

    PostgreSQL passes over rows that another claimant holds. SQLite ignores the clause: it has one writer.
    """
    return query.with_for_update(skip_locked=True)
