"""Drops that lie in S3, on an SFTP server or in a folder that others still write to: looked at, then copied.

A drop is taken when nothing of it has changed for a while and the marker that the exporter writes last is
there. A file that changes while it is copied is left for later with its drop.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from upath import UPath

from dealwatch.crm.drops import PLAIN, day_of, names_of
from dealwatch.errors import ExtractRefused, SettingsError, SourceDown
from dealwatch.knobs import Access, Source

Place = Path | UPath
_T = TypeVar("_T")
_AT_ONCE = 1 << 20  # bytes
_SECONDS = 30
SUCCESS, SHA256 = "_SUCCESS", ".sha256"


@dataclass(frozen=True)
class Remote:
    """A file as it lies there. path: what messages and the ledger call it; version: the store's own mark."""

    path: str
    at: Place
    size: int
    modified_at: datetime
    version: str

    @property
    def name(self) -> str:
        return self.at.name


@dataclass(frozen=True)
class Delivery:
    """A drop as it lies there: PLAIN or a day, its files, and why it is not taken yet, if so."""

    name: str
    files: tuple[Remote, ...]
    markers: Mapping[str, Remote]
    not_yet: str = ""


class StillWritten(Exception):
    """A file changed while it was copied."""


def called(source: Source) -> str:
    """Where the source's drops lie, as messages say it."""
    return source.url or str(source.path)


def look(name: str, source: Source, *, now: datetime) -> list[Delivery]:
    """The source's drops as they lie there, in the order of their days.

    Raises ExtractRefused when the folder is not there or may not be read, SourceDown when it does not answer.
    """
    root = asked(source, lambda: _root(name, source))
    there = asked(source, lambda: _listed(root, called(source)))
    plain = _delivery(PLAIN, there, source, now)
    days = sorted(one for one, at in there.items() if day_of(one) and not isinstance(at, Remote))
    stem = source.deals.file.removesuffix(".gz")
    is_plain = any(file.name in (stem, f"{stem}.gz") for file in plain.files)
    if is_plain and days:
        raise ExtractRefused(
            f"{called(source)}: holds {source.deals.file} and folders named by day; keep one of the two ways"
        )
    if is_plain or not days:
        return [plain] if is_plain else []
    found = []
    for day in days:
        folder = root / day
        inside = asked(source, lambda at=folder, day=day: _listed(at, f"{called(source)}/{day}"))  # type: ignore[misc]
        found.append(_delivery(day, inside, source, now))
    return found


def fetch(file: Remote, into: Path, source: Source) -> str:
    """Copy a file; its sha256. Raises StillWritten when it is another by then."""

    def copy() -> str:
        digest = hashlib.sha256()
        with file.at.open("rb") as stream, into.open("wb") as copied:
            while part := stream.read(_AT_ONCE):
                digest.update(part)
                copied.write(part)
        if into.stat().st_size != file.size or _seen(file.at, file.path) != file:
            raise StillWritten(file.path)
        return digest.hexdigest()

    return asked(source, copy)


def check_sum(file: Remote, sha256: str, delivery: Delivery, source: Source) -> None:
    """Raises ExtractRefused when the file's own checksum says that it is another."""
    marker = delivery.markers.get(file.name + SHA256)
    if source.ready_by != "sha256" or marker is None:
        return
    text = asked(source, lambda: marker.at.read_bytes()[:1000].decode("ascii", "replace"))
    told = re.match(r"\s*([0-9a-fA-F]{64})\b", text)
    if told is None:
        raise ExtractRefused(f"{marker.path}: does not begin with a SHA-256 of 64 hex digits; write it anew")
    if told.group(1).lower() != sha256:
        raise ExtractRefused(
            f"{file.path}: its SHA-256 is not what {marker.name} says; it was damaged or cut short on "
            "the way, or one of the two is of another day: deliver both again"
        )


def _delivery(name: str, there: Mapping[str, Any], source: Source, now: datetime) -> Delivery:
    wanted = {one for bare in names_of(source) for one in _spellings(bare)}
    files = {one: at for one, at in there.items() if isinstance(at, Remote)}
    own = tuple(file for one, file in sorted(files.items()) if one in wanted)
    markers = {one: file for one, file in files.items() if one == SUCCESS or one.endswith(SHA256)}
    return Delivery(name, own, markers, _not_yet(own, markers, source, now))


def _spellings(name: str) -> tuple[str, str]:
    stem = name.removesuffix(".gz")
    return stem, f"{stem}.gz"


def _not_yet(files: tuple[Remote, ...], markers: Mapping[str, Remote], source: Source, now: datetime) -> str:
    """Why a drop is not taken yet; empty when it can be."""
    if not files:
        return ""
    newest = max(files, key=lambda file: file.modified_at)
    if newest.modified_at > now - timedelta(minutes=source.settle_minutes) and source.settle_minutes:
        return f"{newest.path} changed less than {source.settle_minutes} minutes ago"
    if source.ready_by == SUCCESS:
        marker = markers.get(SUCCESS)
        if marker is None:
            return f"there is no {SUCCESS} yet"
        if marker.modified_at < newest.modified_at:
            return f"{newest.path} is younger than {SUCCESS}"
    if source.ready_by == "sha256":
        lacking = [file.name for file in files if file.name + SHA256 not in markers]
        if lacking:
            return f"there is no {lacking[0]}{SHA256} yet"
    return ""


def _listed(folder: Place, told: str) -> dict[str, Remote | Place]:
    """By name what is in a folder: its files as they are, and folders."""
    found: dict[str, Remote | Place] = {}
    for at in folder.iterdir():
        found[at.name] = at if at.is_dir() else _seen(at, f"{told}/{at.name}")
    return found


def _seen(at: Place, told: str) -> Remote:
    stat = at.stat()
    info = stat.as_info() if hasattr(stat, "as_info") else {}
    changed = datetime.fromtimestamp(stat.st_mtime, UTC)
    return Remote(told, at, stat.st_size, changed, str(info.get("ETag") or ""))


def _root(name: str, source: Source) -> Place:
    if not source.url:
        return source.path
    access = source.access or Access()
    options = _s3(access) if source.url.startswith("s3:") else _sftp(name, source.url, access)
    root: UPath = UPath(source.url, **options)
    return root


def _secret(access: Access, name: str) -> str | None:
    found = access.extra.get(name)
    return None if found is None else found.get_secret_value()


def _s3(access: Access) -> dict[str, Any]:
    """Without a login the environment's own credentials count, such as the role of a worker."""
    region, endpoint = _secret(access, "region_name"), _secret(access, "endpoint_url")
    return {
        "key": access.login,
        "secret": access.password.get_secret_value() if access.password else None,
        "token": _secret(access, "aws_session_token"),
        "client_kwargs": {"region_name": region} if region else {},
        "config_kwargs": {
            "connect_timeout": _SECONDS,
            "read_timeout": _SECONDS,
            "retries": {"max_attempts": 3},
        },
        "use_listings_cache": False,
        "skip_instance_cache": True,
        **({"endpoint_url": endpoint} if endpoint else {}),
    }


def _sftp(name: str, url: str, access: Access) -> dict[str, Any]:
    import asyncssh

    host, port = urlsplit(url).hostname or "", urlsplit(url).port or access.port or 22
    options: dict[str, Any] = {"port": port, "skip_instance_cache": True, "connect_timeout": _SECONDS}
    if access.login:
        options["username"] = access.login
    if access.password:
        options["password"] = access.password.get_secret_value()
    try:
        options["known_hosts"] = _known_hosts(access, host, port)
        if key := _secret(access, "private_key"):
            phrase = _secret(access, "private_key_passphrase")
            options["client_keys"] = [asyncssh.import_private_key(key.replace("\\n", "\n"), phrase)]
        elif path := _secret(access, "key_file"):
            options["client_keys"] = [path]
        is_unreadable = False
    except (ValueError, asyncssh.KeyImportError):
        is_unreadable = True
    if is_unreadable:
        raise SettingsError(
            f"the connection of [sources.{name}] has a host_key or a private_key that cannot be read; write "
            "the former as ssh-ed25519 AAAA..., the latter in PEM"
        )
    return options


def _known_hosts(access: Access, host: str, port: int) -> Any:
    """Whose key the server has to show: the connection's, else one in ~/.ssh/known_hosts."""
    import asyncssh

    if str(_secret(access, "no_host_key_check")).lower() == "true":
        return None  # said on purpose; asyncssh takes None for any key
    key = _secret(access, "host_key")
    if not key:
        usual = Path("~/.ssh/known_hosts").expanduser()
        return str(usual) if usual.is_file() else asyncssh.import_known_hosts("")
    if " " not in key.strip():  # Airflow writes the key without its kind
        blob = base64.b64decode(key, validate=True)
        kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii")
        key = f"{kind} {key.strip()}"
    line = f"[{host}]:{port} {key}" if port != 22 else f"{host} {key}"
    return asyncssh.import_known_hosts(line)


def asked(source: Source, do: Callable[[], _T]) -> _T:
    """What the store answers; its errors in our words, which hold no credentials."""
    try:
        return do()
    except (ExtractRefused, SettingsError, StillWritten):
        raise
    except Exception as error:
        if not isinstance(error, tuple(_errors(source))):
            raise
        said = _told(source, error)
    raise said  # out here, so that the store's own error does not hang on it


def _errors(source: Source) -> Iterator[type[Exception]]:
    yield from (OSError, ImportError)
    try:
        if source.url.startswith("s3:"):
            from botocore.exceptions import BotoCoreError, ClientError

            yield from (BotoCoreError, ClientError)
        elif source.url:
            from asyncssh import Error

            yield Error
    except ImportError:
        return


def _told(source: Source, error: Exception) -> Exception:
    kind, place = type(error).__name__, called(source)
    match error:
        case ImportError():
            what = "s3fs" if source.url.startswith("s3:") else "sshfs"
            return SettingsError(f"{place}: needs the package {what}; install it beside dealwatch")
        case FileNotFoundError() | NotADirectoryError():
            return ExtractRefused(f"{place}: no such folder, or a file in it went away; correct url or path")
        case PermissionError():
            return ExtractRefused(
                f"{place}: may not be read with the source's connection; correct its rights"
            )
    if kind == "HostKeyNotVerifiable":
        return ExtractRefused(
            f"{place}: the server's key is not the one of the connection's host_key or ~/.ssh/known_hosts; "
            "ask its administrator, then put it into host_key"
        )
    if kind in (
        "NoCredentialsError",
        "PartialCredentialsError",
        "PermissionDenied",
        "NoAuthenticationMethods",
    ):
        return ExtractRefused(f"{place}: the source's connection lets nobody in ({kind}); correct it")
    return SourceDown(f"{place}: does not answer ({kind})")
