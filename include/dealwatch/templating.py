"""Templates of a room, filled so that no value can be markup and none can be missing."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(room: str) -> Environment:
    """The folder `templates` of a room of the package; every value is escaped."""
    return Environment(
        loader=PackageLoader(f"dealwatch.{room}", "templates"),
        autoescape=True,  # names come from the CRM
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
