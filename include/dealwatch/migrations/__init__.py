"""The schema's history: Alembic revisions in `versions/`, applied by `python -m dealwatch db upgrade`.

A revision on main is never edited: warehouses were made by it. A change of `tables.py` is one more revision.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect

from dealwatch.errors import NotReady
from dealwatch.tables import metadata
from dealwatch.warehouse import knock

_VERSION_TABLE = "dealwatch_alembic_version"
_UPGRADE = "run `python -m dealwatch db upgrade`"
_NAMED = 6  # differences


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the warehouse's schema to `revision`; at head already, this changes nothing.

    Raises NotReady, before any change, for a warehouse of a later dealwatch.
    """
    knock(engine)
    with engine.connect() as connection:
        _refuse_later_ones(_revisions(connection))
        connection.rollback()
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def check(engine: Engine) -> None:
    """Raise NotReady, with the remedy, when the schema is not the one that this dealwatch works with.

    Raises WarehouseDown when the warehouse does not answer.
    """
    knock(engine)
    with engine.connect() as connection:
        found = _revisions(connection)
        if not found:
            raise NotReady(f"the warehouse has no tables yet; {_UPGRADE}")
        _refuse_later_ones(found)
        head = _script().get_current_head()
        if found != (head,):
            raise NotReady(f"the warehouse's schema is {', '.join(found)}, and this is {head}; {_UPGRADE}")
        different = differences(connection)
    if different:
        more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
        raise NotReady(
            f"the warehouse was made by an unreleased dealwatch whose schema {head} differed "
            f"({', '.join(different[:_NAMED])}{more}) and cannot be upgraded: move it away (the file of "
            f"SQLite, the schema of PostgreSQL), {_UPGRADE} and extract again; for the demo, `make fresh`"
        )


def differences(connection: Connection) -> list[str]:
    """Tables and columns that are missing, and columns that would refuse our rows; by name."""
    found = {name: columns for (_, name), columns in inspect(connection).get_multi_columns().items()}
    told = []
    for table in metadata.sorted_tables:
        there = {column["name"]: column for column in found.get(table.name, ())}
        if not there:
            told.append(table.name)
            continue
        told += [f"{table.name}.{name}" for name in table.columns.keys() if name not in there]
        foreign = [there[name] for name in there if name not in table.columns]
        told += [f"{table.name}.{c['name']}" for c in foreign if not c["nullable"] and c["default"] is None]
    return told


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent))


def _revisions(connection: Connection) -> tuple[str, ...]:
    context = MigrationContext.configure(connection, opts={"version_table": _VERSION_TABLE})
    return tuple(context.get_current_heads())


def _refuse_later_ones(found: tuple[str, ...]) -> None:
    script = _script()
    for revision in found:
        try:
            script.get_revision(revision)
        except CommandError:
            raise NotReady(
                f"the warehouse's schema {revision} is of a later dealwatch, and this one knows up to "
                f"{script.get_current_head()}; install that one, or name another warehouse"
            ) from None
