"""Which `DEALWATCH_*` variables of the environment are settings, and which of them a message must name.

Airflow's connections may stand there too, as `AIRFLOW_CONN_*`, for a shell that has no Airflow. Pure
functions over the variables and the model of the settings: `settings.load` alone reads the environment.
"""

import difflib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel

from dealwatch.errors import SettingsError

PREFIX = "DEALWATCH_"
_CONNECTION = "AIRFLOW_CONN_"
# No settings, and ours all the same: where the file is, what compose mounts, where tests find real data.
_OTHERS = ("DEALWATCH_SETTINGS", "DEALWATCH_FILES", "DEALWATCH_REAL_DATA")
_NEAR = 0.84
_DOTTED = re.compile(r"\b[a-z_]+(?:\.[a-z_]+)+\b")

log = logging.getLogger(__name__)


def ours(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that begin like ours and hold something, by upper-case name."""
    return {
        name.upper(): value for name, value in environ.items() if name.upper().startswith(PREFIX) and value
    }


def variable(place: Sequence[object]) -> str:
    """The variable of a setting's place, as DEALWATCH_ALERTS__DAILY_BUDGET."""
    return PREFIX + "__".join(str(part).upper() for part in place)


def check_names(environ: Mapping[str, str], model: type[BaseModel]) -> None:
    """Refuse a name that is nearly a setting's; warn of one that is nothing of ours, for it has no effect.

    Raises SettingsError naming the variable and the setting it resembles.
    """
    known = [*_OTHERS, *(variable(place) for place in _places(model))]
    for name in sorted(ours(environ)):
        if name in _OTHERS or name.removeprefix(PREFIX).split("__")[0].lower() in model.model_fields:
            continue  # what comes after the first part is checked like a key of the file
        near = _nearest(name, known)
        if near:
            raise SettingsError(
                f"environment variable {name} is no setting; did you mean {near}? Rename it or unset it"
            )
        log.warning(
            "environment variable %s is no setting, so it has no effect; docs/settings.md lists them",
            name,
        )


def _nearest(name: str, known: Sequence[str]) -> str:
    """The known name that differs by a slip; one underscore where two belong is a slip too."""
    plain = {re.sub("_+", "_", one.removeprefix(PREFIX)): one for one in reversed(known)}
    found = difflib.get_close_matches(re.sub("_+", "_", name.removeprefix(PREFIX)), plain, 1, _NEAR)
    return plain[found[0]] if found else ""


def _places(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, told in model.model_fields.items():
        yield (name,)
        for kind in (told.annotation, *get_args(told.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from ((name, *rest) for rest in _places(kind))


def origin(place: Sequence[object], message: str, environ: Mapping[str, str]) -> str:
    """The variable that an error about a setting is about, or nothing when it is not the environment's.

    place: the setting's path; when it is of no one setting, the dotted names in the message count.
    """
    told = [place] if len(place) > 1 else [place, *(name.split(".") for name in _DOTTED.findall(message))]
    set_ = ours(environ)
    for path in told:
        for length in range(len(path), 0, -1):
            name = variable(path[:length])
            if name in set_ and (length == len(path) or _holds(set_[name], path[length:])):
                return name
    return ""


def _holds(text: str, path: Sequence[object]) -> bool:
    """Whether a variable of JSON has something at the path."""
    try:
        value: Any = json.loads(text)
        for part in path:
            value = value[part]
    except (ValueError, KeyError, IndexError, TypeError):
        return False
    return True


@dataclass(frozen=True)
class Connection:
    """What an Airflow connection says; the fields are called as Airflow calls them."""

    conn_type: str = ""
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra_dejson: dict[str, Any] = field(default_factory=dict, repr=False)


def connection_of(name: str, environ: Mapping[str, str]) -> Connection | None:
    """The connection of that id as Airflow reads it from AIRFLOW_CONN_<ID>, by JSON or as a URI; or None.

    Raises SettingsError, without a word of the value, when it is neither.
    """
    variable_ = f"{_CONNECTION}{name.upper()}"
    told = environ.get(variable_, "").strip()
    if not told:
        return None
    try:
        return _of_json(json.loads(told)) if told.startswith("{") else _of_uri(told)
    except (ValueError, TypeError, AttributeError):
        pass  # the error quotes the value, so nothing of it may hang on ours
    raise SettingsError(
        f"environment variable {variable_}: no connection; write JSON with conn_type, host, login, password "
        "and extra, or a URI, as `airflow connections get` prints them"
    )


def _of_json(told: Mapping[str, Any]) -> Connection:
    extra = told.get("extra") or {}
    extra = json.loads(extra) if isinstance(extra, str) else extra
    port = told.get("port")
    text = {key: str(told.get(key) or "") for key in ("conn_type", "host", "login", "password", "schema")}
    return Connection(**text, port=int(port) if port else None, extra_dejson=dict(extra))


def _of_uri(told: str) -> Connection:
    parts = urlsplit(told)
    if not parts.scheme:
        raise ValueError
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    whole = said.pop("__extra__", None)
    return Connection(
        conn_type=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname or ""),
        port=parts.port,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path.removeprefix("/")),
        extra_dejson=dict(json.loads(whole)) if whole else said,
    )
