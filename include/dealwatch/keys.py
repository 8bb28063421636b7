"""The house's key: what it signs (a model's manifest, a link in a message) can only be ours, unchanged."""

import os
import secrets
import time
from pathlib import Path

from dealwatch.errors import SettingsError
from dealwatch.settings import KEY_LENGTH, Settings

KEY = "model-signing.key"
_KEY_TRIES = 20


def signing_key(settings: Settings) -> bytes:
    """The settings' key, else one made once in `home`; of two that make one at once, the first wins.

    Raises SettingsError when the key's file cannot be read or is too short to be a key.
    """
    if settings.signing_key is not None:
        return settings.signing_key.get_secret_value().encode()
    path = settings.home / KEY
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_key(path)
        key = path.read_bytes()
        for _ in range(_KEY_TRIES):  # a mount without links shows the file before what is in it
            if len(key) >= KEY_LENGTH:
                return key
            time.sleep(0.05)
            key = path.read_bytes()
        reason = f"it holds {len(key)} bytes where {KEY_LENGTH} or more are due"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise SettingsError(
        f"the key that signs models and links, {path}, is of no use: {reason}; "
        "put it back from a backup, or remove it"
    )


def _make_key(path: Path) -> None:
    """A new key, whole or not at all, unless somebody else was first."""
    made = draft(path, secrets.token_hex(32).encode())
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    except OSError:  # SMB, exFAT and some mounts of containers know no hard links
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "wb") as file:
            file.write(made.read_bytes())
    finally:
        made.unlink()


def draft(path: Path, content: bytes) -> Path:
    """The content in a file of its own beside `path`, on disk, readable by us alone."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return made
