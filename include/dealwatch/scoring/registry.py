"""Model versions: stored with a signed manifest, verified before loading, chosen without looking ahead.

Loading an artefact runs code, so it is trusted only through its manifest: the file's sha256, the versions
of what wrote it and the facts it was trained on, signed with a key that only the house knows. Whatever does
not match is refused before it is opened, and the champion before it serves; with none, rules alone.

The champion at a moment is the latest version promoted by then, so a later training never changes an
earlier morning.
"""

import hashlib
import hmac
import io
import json
import os
import platform
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn
from sqlalchemy import Connection, func, insert, select, update

from dealwatch.errors import ModelUnusable
from dealwatch.scoring.calibration import Calibrator
from dealwatch.scoring.forest import MODEL_FACTS, Bundle
from dealwatch.scoring.trial import Trained
from dealwatch.settings import Settings
from dealwatch.tables import model_versions

ARTEFACT, MANIFEST, KEY = "model.joblib", "manifest.json", "model-signing.key"


@dataclass(frozen=True)
class Model:
    """A verified, loaded version."""

    version: str
    trained_as_of: datetime
    bundle: Bundle
    metrics: dict[str, Any]


def store(connection: Connection, settings: Settings, trained: Trained, as_of: datetime) -> str:
    """Keep the outcome of a training at `as_of`, promoted from that moment on if it passed; its version.

    The same outcome again changes nothing. Another outcome for the same moment takes its place. Run it inside
    `writing(engine, alone="models")`. Files are complete before the row that names them exists.
    """
    content = _artefact(trained)
    sha256 = hashlib.sha256(content).hexdigest() if content else ""
    stamp = as_of.astimezone(UTC).strftime("%Y%m%dT%H%MZ")
    version = f"{stamp}-{hashlib.sha256(sha256.encode() + trained.reason.encode()).hexdigest()[:12]}"
    if content:
        _write_files(settings, version, content, _manifest(version, sha256, trained, as_of))
    known = connection.execute(
        select(model_versions.c.version).where(model_versions.c.version == version)
    ).first()
    if known is None:
        connection.execute(
            insert(model_versions).values(
                version=version,
                trained_as_of=as_of,
                status="refused",
                metrics=trained.metrics,
                sha256=sha256,
                path=f"models/{version}" if content else "",
                reason=trained.reason,
                recorded_at=func.now(),  # the database's clock: for audit, read by nothing
            )
        )
    _decide(connection, version, as_of if trained.may_alert else None, as_of)
    return version


def champion_at(connection: Connection, settings: Settings, as_of: datetime) -> tuple[Model | None, str]:
    """The model that serves a moment, and in a sentence why it is this one or none."""
    return champions_at(connection, settings, [as_of])[0]


def champions_at(
    connection: Connection, settings: Settings, moments: Sequence[datetime]
) -> list[tuple[Model | None, str]]:
    """`champion_at` for each moment; each version is verified and loaded once."""
    rows = connection.execute(
        select(model_versions).order_by(model_versions.c.trained_as_of.desc(), model_versions.c.version)
    ).all()
    opened: dict[str, Model | str] = {}
    return [_champion(rows, settings, moment, opened) for moment in moments]


def _champion(
    rows: Sequence[Any], settings: Settings, as_of: datetime, opened: dict[str, Model | str]
) -> tuple[Model | None, str]:
    failures: list[str] = []
    for row in rows:
        if row.promoted_as_of is None or row.promoted_as_of > as_of:
            continue
        if row.version not in opened:
            try:
                opened[row.version] = load_version(settings, row)
            except ModelUnusable as error:
                opened[row.version] = str(error)
        found = opened[row.version]
        if isinstance(found, Model):
            return found, " ".join([*failures, f"model {row.version}: {row.reason}"])
        failures.append(found)
    if failures:
        return None, " ".join([*failures, "Rules alone."])
    latest = next((row for row in rows if row.trained_as_of <= as_of and row.status == "refused"), None)
    return None, latest.reason if latest else "no model was trained by then; run train."


def load_version(settings: Settings, row: Any) -> Model:
    """The version of a `model_versions` row, verified first; raises ModelUnusable with reason and remedy."""
    folder = settings.home / row.path
    try:
        content, manifest = (
            (folder / ARTEFACT).read_bytes(),
            dict(json.loads((folder / MANIFEST).read_bytes())),
        )
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(row.version, f"its files in {folder} cannot be read ({error})") from error
    signed = {name: value for name, value in manifest.items() if name != "signature"}
    if not hmac.compare_digest(_signature(settings, signed), str(manifest.get("signature", ""))):
        raise _unusable(row.version, "its manifest is not signed with our key")
    sha256 = hashlib.sha256(content).hexdigest()
    if (signed.get("version"), signed.get("sha256"), row.sha256) != (row.version, sha256, sha256):
        raise _unusable(row.version, "the file is not the one that was stored")
    for name, ours in _written_with().items():
        if signed.get(name) != ours:
            raise _unusable(row.version, f"it was trained with {name} {signed.get(name)}, and this is {ours}")
    try:
        bundle = joblib.load(io.BytesIO(content))
    except (
        Exception
    ) as error:  # anything may surface when code of another build is loaded; the answer is the same
        raise _unusable(row.version, f"loading it failed ({type(error).__name__}: {error})") from error
    return Model(row.version, row.trained_as_of, bundle, dict(row.metrics))


def _unusable(version: str, reason: str) -> ModelUnusable:
    return ModelUnusable(f"model {version} is not used: {reason}; train again to replace it.")


def _decide(connection: Connection, version: str, promoted_as_of: datetime | None, as_of: datetime) -> None:
    """Write every version's status anew from the decisions; rows that stay as they are are not touched."""
    rows = connection.execute(select(model_versions)).all()
    promoted = {row.version: row.promoted_as_of for row in rows}
    promoted |= {row.version: None for row in rows if row.trained_as_of == as_of}  # this training replaces it
    promoted[version] = promoted_as_of
    latest = max((moment for moment in promoted.values() if moment), default=None)
    for row in rows:
        moment = promoted[row.version]
        status = "champion" if moment and moment == latest else "retired" if moment else row.status
        if moment is None and row.status != "refused":
            status = "retired"
        if (status, moment) != (row.status, row.promoted_as_of):
            connection.execute(
                update(model_versions)
                .where(model_versions.c.version == row.version)
                .values(status=status, promoted_as_of=moment)
            )


def _artefact(trained: Trained) -> bytes:
    if trained.bundle is None:
        return b""
    buffer = io.BytesIO()
    joblib.dump(trained.bundle, buffer, compress=3)
    return buffer.getvalue()


def _written_with() -> dict[str, Any]:
    """What must be the same when a model is loaded: pickled trees promise nothing across versions."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "facts": [fact.name for fact in MODEL_FACTS],
        "parts": [part.name for kind in (Bundle, Calibrator) for part in fields(kind)],
    }


def _manifest(version: str, sha256: str, trained: Trained, as_of: datetime) -> dict[str, Any]:
    return {
        "version": version,
        "sha256": sha256,
        "trained_as_of": as_of.astimezone(UTC).isoformat(),
        "metrics": trained.metrics,
        **_written_with(),
    }


def _signature(settings: Settings, manifest: dict[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hmac.new(_key(settings), text.encode(), hashlib.sha256).hexdigest()


def _key(settings: Settings) -> bytes:
    """The settings' key, else one made once in `home`; of two that make one at once, the first wins."""
    if settings.signing_key is not None:
        return settings.signing_key.get_secret_value().encode()
    path = settings.home / KEY
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(path, secrets.token_hex(32).encode())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()


def _write_files(settings: Settings, version: str, content: bytes, manifest: dict[str, Any]) -> None:
    folder = settings.home / "models" / version
    folder.mkdir(parents=True, exist_ok=True)
    signed = manifest | {"signature": _signature(settings, manifest)}
    os.replace(_draft(folder / ARTEFACT, content), folder / ARTEFACT)
    text = json.dumps(signed, sort_keys=True, indent=1)
    os.replace(_draft(folder / MANIFEST, text.encode()), folder / MANIFEST)


def _draft(path: Path, content: bytes) -> Path:
    """The content in a file of its own beside `path`, on disk, readable by us alone."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
