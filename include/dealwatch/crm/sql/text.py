"""A warehouse's values as text, and the key of a row as JSON from which the same table is gone on with."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from dealwatch.errors import ExtractRefused

Key = tuple[Any, ...]
_READERS: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "Decimal": Decimal,
    "UUID": UUID,
}


def text_of(value: Any, zone: ZoneInfo) -> str | None:
    """A value as the mapping reads it; an instant without a zone is in `zone`.

    Raises TypeError for what is no text, number, date or table, such as a picture.
    """
    match value:
        case None:
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=zone)
            return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Decimal():
            return format(value, "f") if value.is_finite() else None
        case int() | float() | UUID():
            return str(value)
        case list() | dict():
            return json.dumps(value, default=str, sort_keys=True, ensure_ascii=False)
        case timedelta():
            return str(value.total_seconds())
    raise TypeError(type(value).__name__)


def is_same_key(one: Key, other: Key) -> bool:
    """Whether rows of these keys may not be parted; a database may take two spellings for one."""
    return tuple(map(_spelt_alike, one)) == tuple(map(_spelt_alike, other))


def _spelt_alike(value: Any) -> Any:
    return value.casefold().strip() if isinstance(value, str) else value


def place_of(key: Key, rows: int) -> str:
    """The place after the row of that key, which `rows` rows lead up to."""
    return json.dumps({"rows": rows, "key": [_written(value) for value in key]})


def read_place(place: str) -> tuple[Key, int]:
    """The key and the rows of a place."""
    said = json.loads(place)
    return tuple(_read(one) for one in said["key"]), int(said["rows"])


def _written(value: Any) -> list[Any]:
    kind = type(value).__name__
    return [kind, str(value) if kind in _READERS else value]


def _read(one: Sequence[Any]) -> Any:
    kind, value = one
    return _READERS[kind](value) if kind in _READERS else value


def check_key(key: Key, labels: Sequence[str], where: str) -> None:
    """Raises ExtractRefused when rows cannot be put in order by this key, or it cannot be kept."""
    for label, value in zip(labels, key, strict=True):
        if value is None or not isinstance(value, (str, int, float, datetime, date, Decimal, UUID)):
            what = "is empty in some row" if value is None else f"is a {type(value).__name__}"
            raise ExtractRefused(
                f"{where}: the key's column {label} {what}; name as key columns that every row fills"
            )
