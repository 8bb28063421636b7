"""The files of a model: written artefact first and signed manifest last, opened only after their check.

Loading an artefact runs code, so it is trusted only through its manifest: the file's sha256, the versions
of what wrote it and the facts it was trained on, signed with a key that only the house knows. The bytes that
were checked are the bytes that are loaded. A version's files never change, and none is ever deleted: a past
morning scored again needs the model of its day.
"""

import hashlib
import hmac
import io
import json
import logging
import os
import platform
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
import sklearn
from upath import UPath

from dealwatch.errors import ModelUnusable, SettingsError
from dealwatch.keys import draft, signing_key
from dealwatch.scoring.calibration import Calibrator
from dealwatch.scoring.forest import MODEL_FACTS, Bundle
from dealwatch.scoring.horizons import Horizons, Leaves, chances_within
from dealwatch.settings import Settings

log = logging.getLogger(__name__)
_PAUSES = (1.0, 5.0, 15.0)  # seconds before each further try to read from a store
ARTEFACT, MANIFEST = "model.joblib", "manifest.json"


def packed(bundle: Bundle | None) -> bytes:
    """The bundle as the bytes that are stored; none of it, none of them."""
    if bundle is None:
        return b""
    buffer = io.BytesIO()
    joblib.dump(bundle, buffer, compress=3)
    return buffer.getvalue()


def keep(
    settings: Settings, version: str, content: bytes, *, trained_as_of: datetime, metrics: dict[str, Any]
) -> None:
    """Put a version into the model store; a reader finds all of it or, without its manifest, nothing."""
    manifest = {
        "version": version,
        "sha256": hashlib.sha256(content).hexdigest(),
        "trained_as_of": trained_as_of.astimezone(UTC).isoformat(),
        "metrics": metrics,
        **_written_with(),
    }
    signed = manifest | {"signature": _signature(settings, manifest)}
    folder = _folder(settings, version)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / ARTEFACT, content)
    _write(folder / MANIFEST, json.dumps(signed, sort_keys=True, indent=1).encode())


def add(settings: Settings, version: str, name: str, content: bytes) -> None:
    """Put something to look at beside a version; nothing that is read back."""
    folder = _folder(settings, version)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / name, content)


def opened(settings: Settings, version: str, sha256: str, *, trained_as_of: datetime) -> Bundle:
    """The bundle of a version, verified first; raises ModelUnusable with reason and remedy.

    sha256 and trained_as_of are what the warehouse says of it.
    """
    try:
        content, manifest = _read(settings, version)
    except Exception as error:  # an object store's client raises what it likes; the answer is the same
        raise _unusable(version, f"its files cannot be read ({type(error).__name__}: {error})") from error
    signed = {name: value for name, value in manifest.items() if name != "signature"}
    try:
        ours = _signature(settings, signed).encode()
    except ModelUnusable as error:
        raise _unusable(version, str(error)) from error
    if not hmac.compare_digest(ours, str(manifest.get("signature", "")).encode("utf-8", "replace")):
        raise _unusable(version, "its manifest is not signed with our key")
    found = hashlib.sha256(content).hexdigest()
    told = (signed.get("version"), signed.get("sha256"), sha256, signed.get("trained_as_of"))
    if told != (version, found, found, trained_as_of.astimezone(UTC).isoformat()):
        raise _unusable(version, "the file is not the one that was stored")
    for name, here in _written_with().items():
        if signed.get(name) != here:
            raise _unusable(version, f"it was trained with {name} {signed.get(name)}, and this is {here}")
    try:
        bundle = joblib.load(io.BytesIO(content))
        _try_out(bundle)
    except Exception as error:  # code of another build may raise anything, and memory may not suffice
        raise _unusable(version, f"loading it failed ({type(error).__name__}: {error})") from error
    return bundle  # type: ignore[no-any-return]


def _try_out(bundle: Any) -> None:
    """Ask the model about a deal of which nothing is known; what cannot answer that must not meet a morning.

    A model that is whole but takes other columns is found here, while there is another to turn to.
    """
    nothing = {
        fact.name: pl.Series([None], dtype=pl.String if fact.kind == "category" else pl.Float64)
        for fact in MODEL_FACTS
    }
    deal = pl.DataFrame(nothing)
    bundle.leaves(deal)
    p = bundle.p_loss(deal)
    for answer in (p, *chances_within(bundle, deal, p).values()):
        if not 0 <= answer[0] <= 1:
            raise ValueError(f"it answers {answer[0]} where a probability is due")


def _unusable(version: str, reason: str) -> ModelUnusable:
    return ModelUnusable(f"model {version} is not used: {reason}; train again to replace it.")


def _written_with() -> dict[str, Any]:
    """What must be the same when a model is loaded: pickled trees promise nothing across versions."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "facts": [fact.name for fact in MODEL_FACTS],
        "parts": [part.name for kind in (Bundle, Calibrator, Horizons, Leaves) for part in fields(kind)],
    }


def _signature(settings: Settings, manifest: dict[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hmac.new(_key(settings), text.encode(), hashlib.sha256).hexdigest()


def _key(settings: Settings) -> bytes:
    """The house's key; raises ModelUnusable when it cannot be read."""
    try:
        return signing_key(settings)
    except SettingsError as error:
        raise ModelUnusable(str(error)) from error


def _folder(settings: Settings, version: str) -> Path | UPath:
    """Where a version's files are: below `home`, or in the store that the settings name."""
    url = settings.scoring.model_store
    if not url:
        return settings.home / "models" / version
    secret = settings.model_store_options
    try:
        options = json.loads(secret.get_secret_value()) if secret else {}
        root = UPath(url, **options)
        local = root.protocol in ("", "file", "local")
        return (Path(root.path) if local else root) / version
    except (ImportError, ValueError, TypeError) as error:
        scheme = url.partition("://")[0]
        raise SettingsError(
            f"scoring.model_store, {scheme}://..., cannot be opened ({error}); name a store "
            "that fsspec knows, install its driver, and check model_store_options"
        ) from None


def _read(settings: Settings, version: str) -> tuple[bytes, dict[str, Any]]:
    """Artefact and manifest. A store across a network may fail once and answer the next time."""
    folder = _folder(settings, version)
    pauses = _PAUSES if isinstance(folder, UPath) else ()
    for pause in pauses:
        try:
            return _read_once(folder)
        except FileNotFoundError:
            raise
        except Exception as error:  # as in `opened`
            log.warning("model %s cannot be read, trying again in %.0f s: %s", version, pause, error)
            time.sleep(pause)
    return _read_once(folder)


def _read_once(folder: Path | UPath) -> tuple[bytes, dict[str, Any]]:
    return (folder / ARTEFACT).read_bytes(), dict(json.loads((folder / MANIFEST).read_bytes()))


def _write(path: Path | UPath, content: bytes) -> None:
    """Whole or not at all: an object store does that by itself, a file takes the place of the other."""
    if isinstance(path, UPath):
        path.write_bytes(content)
    else:
        os.replace(draft(path, content), path)
