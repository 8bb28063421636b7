"""Model versions: which were trained, and which one serves a moment, found without looking ahead.

The champion of a moment is read from the log of promotions up to that moment, so nothing decided later
changes an earlier morning. A champion that cannot be trusted gives way to the one before it that still
stands; with none, rules alone.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from dealwatch.errors import ModelUnusable
from dealwatch.scoring.artefacts import keep, opened
from dealwatch.scoring.forest import Bundle
from dealwatch.scoring.trial import Trained
from dealwatch.settings import Settings
from dealwatch.tables import model_promotions, model_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A verified, loaded version."""

    version: str
    trained_as_of: datetime
    bundle: Bundle
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Serving:
    """Who serves a moment: a model, or none for rules alone; why; and who should, but cannot be trusted."""

    model: Model | None
    reason: str
    unusable: tuple[str, ...] = ()


def version_of(trained: Trained, as_of: datetime) -> str:
    """The name of a training's outcome: its moment and a digest of artefact and verdict."""
    digest = hashlib.sha256(_sha256(trained).encode() + trained.reason.encode()).hexdigest()[:12]
    return f"{as_of.astimezone(UTC):%Y%m%dT%H%MZ}-{digest}"


def _sha256(trained: Trained) -> str:
    return hashlib.sha256(trained.content).hexdigest() if trained.content else ""


def store(
    connection: Connection, settings: Settings, trained: Trained, as_of: datetime, *, card: str | None = None
) -> str:
    """Keep the outcome of a training at `as_of`: refused by the gate, or a challenger; its version.

    The same outcome again changes no row, and mends its files if they were lost. Run it inside
    `writing(engine, alone="models")`. Files are complete before the row that names them exists.
    """
    version = version_of(trained, as_of)
    if trained.content:
        keep(settings, version, trained.content, trained_as_of=as_of, metrics=trained.metrics)
    if found(connection, version) is not None:
        return version
    connection.execute(
        insert(model_versions).values(
            version=version,
            trained_as_of=as_of,
            status="challenger" if trained.may_alert else "refused",
            metrics=trained.metrics,
            sha256=_sha256(trained),
            reason=trained.reason,
            decision="" if trained.may_alert else "refused by the gate.",
            card=card,
            recorded_at=func.now(),  # the database's clock: for audit, read by nothing
        )
    )
    return version


def retire_waiting(connection: Connection, version: str, as_of: datetime) -> None:
    """Challengers trained by `as_of` that still wait for a decision give way to this one."""
    rows = model_versions.c
    is_waiting = (rows.status == "challenger") & (rows.version != version) & (rows.trained_as_of <= as_of)
    decision = f"{version} was trained before anybody decided."
    connection.execute(update(model_versions).where(is_waiting).values(status="retired", decision=decision))


def found(connection: Connection, version: str) -> Any:
    """The row of a version, or None."""
    return connection.execute(select(model_versions).where(model_versions.c.version == version)).first()


def standing(connection: Connection, as_of: datetime | None = None) -> list[Any]:
    """The promotions that stand at a moment, the latest last; without a moment, all there are.

    A rollback takes back what was promoted since the version it returns to, so a model that people turned
    away from does not come back when another fails to load.
    """
    return _standing([e for e in _promotions(connection) if as_of is None or e.promoted_as_of <= as_of])


def _promotions(connection: Connection) -> Sequence[Any]:
    moment, number = model_promotions.c.promoted_as_of, model_promotions.c.number
    return connection.execute(select(model_promotions).order_by(moment, number)).all()


def _standing(entries: Sequence[Any]) -> list[Any]:
    stack: list[Any] = []
    for entry in entries:
        versions = [earlier.version for earlier in stack]
        if entry.kind == "rolled_back" and entry.version in versions:
            del stack[versions.index(entry.version) :]
        stack.append(entry)
    return stack


def champion_at(connection: Connection, settings: Settings, as_of: datetime) -> tuple[Model | None, str]:
    """The model that serves a moment, and in a sentence why it is this one or none."""
    (serving,) = champions_at(connection, settings, [as_of])
    return serving.model, serving.reason


def champions_at(connection: Connection, settings: Settings, moments: Sequence[datetime]) -> list[Serving]:
    """`champion_at` for each moment; each version is verified and loaded once, each failure logged once."""
    entries = _promotions(connection)
    newest_first = model_versions.c.trained_as_of.desc(), model_versions.c.version
    rows = connection.execute(select(model_versions).order_by(*newest_first)).all()
    known = {row.version: row for row in rows}
    tried: dict[str, Model | str] = {}
    answers: list[Serving] = []
    for moment in moments:
        failures: dict[str, str] = {}
        model = None
        for entry in reversed(_standing([e for e in entries if e.promoted_as_of <= moment])):
            if entry.version not in tried:
                tried[entry.version] = _tried(settings, known[entry.version])
            outcome = tried[entry.version]
            if isinstance(outcome, Model):
                model = outcome
                break
            failures[entry.version] = outcome
        trained_by_then = [row for row in rows if row.trained_as_of <= moment]
        why = _why(model, list(failures.values()), trained_by_then)
        answers.append(Serving(model, why, tuple(failures)))
    return answers


def _tried(settings: Settings, row: Any) -> Model | str:
    try:
        return load_version(settings, row)
    except ModelUnusable as error:
        log.warning("%s", error)
        return str(error)


def _why(model: Model | None, failures: list[str], trained: Sequence[Any]) -> str:
    """`trained`: the rows of what was trained by then, the latest first."""
    if model is not None:
        reason = next(row.reason for row in trained if row.version == model.version)
        return " ".join([*failures, f"model {model.version}: {reason}"])
    if failures:
        return " ".join([*failures, "Rules alone."])
    if not trained:
        return "no model was trained by then; run train."
    latest = trained[0]
    if latest.status == "refused":
        return str(latest.reason)
    return f"model {latest.version} passed the gate, and nobody promoted it by then."


def load_version(settings: Settings, row: Any) -> Model:
    """The version of a `model_versions` row, verified first; raises ModelUnusable with reason and remedy."""
    bundle = opened(settings, row.version, row.sha256, trained_as_of=row.trained_as_of)
    return Model(row.version, row.trained_as_of, bundle, dict(row.metrics))
