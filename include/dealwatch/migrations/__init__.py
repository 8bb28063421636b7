"""The schema's history: Alembic revisions in `versions/`, applied by `python -m dealwatch db upgrade`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, inspect

from dealwatch.errors import NotReady

_VERSION_TABLE = "dealwatch_alembic_version"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the warehouse's schema to `revision`; at head already, this changes nothing."""
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def check(engine: Engine) -> None:
    """Raise NotReady when the warehouse has no schema yet."""
    if not inspect(engine).has_table(_VERSION_TABLE):
        raise NotReady("the warehouse has no tables yet; run `python -m dealwatch db upgrade`")
