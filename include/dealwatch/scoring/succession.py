"""Who serves from when: promote, reject and roll back, each one entry in an append-only log.

Each is one transaction, so a worker that scores meanwhile finds the log before it or after it, never between.
Run each inside `writing(engine, alone="models")`. The same decision again changes nothing.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from dealwatch.errors import DecisionRefused, ModelUnusable
from dealwatch.scoring.registry import found, load_version, standing
from dealwatch.settings import Settings
from dealwatch.tables import model_promotions, model_versions


def promote(
    connection: Connection,
    settings: Settings,
    version: str,
    *,
    as_of: datetime,
    by: str = "",
    reason: str = "",
) -> dict[str, Any]:
    """Let a version that passed the gate serve from `as_of` on.

    Raises DecisionRefused for what the gate refused, what is older than the champion (that is a rollback),
    and moments before its training; ModelUnusable when its files cannot be trusted.
    """
    row = _known(connection, version)
    if row.status == "refused":
        raise DecisionRefused(f"model {version} was refused by the gate and cannot serve: {row.reason}")
    if as_of < row.trained_as_of:
        raise DecisionRefused(
            f"model {version} was trained as of {row.trained_as_of.isoformat()} and cannot serve before; "
            f"{as_of.isoformat()} would look ahead"
        )
    champion = _champion(connection, as_of)
    if champion is not None and champion.version == version:
        return _told(version, champion.version, as_of, changed=False)
    if champion is not None and champion.trained_as_of > row.trained_as_of:
        raise DecisionRefused(
            f"model {version} is older than the champion {champion.version}; "
            f"to return to a former champion, run rollback --to {version}"
        )
    load_version(settings, row)
    why = reason or f"promoted{_by(by)}."
    _append(connection, version, "promoted", as_of=as_of, by=by, reason=why)
    return _told(version, champion and champion.version, as_of, changed=True)


def reject(connection: Connection, version: str, *, by: str = "", reason: str = "") -> dict[str, Any]:
    """Turn a challenger down; what was refused, retired or rejected stays as it is.

    Raises DecisionRefused for the champion: that is what rollback is for.
    """
    row = _known(connection, version)
    if row.status == "champion":
        raise DecisionRefused(f"model {version} is the champion; run rollback to take it out of service")
    if row.status == "challenger":
        connection.execute(
            update(model_versions)
            .where(model_versions.c.version == version)
            .values(status="rejected", decision=reason or f"rejected{_by(by)}.")
        )
    status = _known(connection, version).status
    return {"version": version, "status": status, "changed": status != row.status}


def roll_back(
    connection: Connection, settings: Settings, *, as_of: datetime, to: str | None = None, by: str = ""
) -> dict[str, Any]:
    """Return to the champion before the one that serves at `as_of`, or to a former champion by name.

    Without `to`, versions whose files cannot be trusted are passed over. Raises DecisionRefused when there is
    none to return to or a later promotion stands, ModelUnusable when the named one cannot be trusted.
    """
    stack = standing(connection, as_of)
    if not stack:
        raise DecisionRefused(f"no model serves at {as_of.isoformat()}; there is nothing to roll back")
    champion = stack[-1].version
    if to is None:
        to = _before(connection, settings, [entry.version for entry in stack[:-1]], champion)
    else:
        _was_champion(connection, to, as_of)
        load_version(settings, _known(connection, to))
    if to == champion:
        return _told(to, champion, as_of, changed=False)
    later = [entry for entry in standing(connection) if entry.promoted_as_of > as_of]
    if later:
        raise DecisionRefused(
            f"model {later[-1].version} was promoted later, on {later[-1].promoted_as_of.isoformat()}, and "
            "would go on serving; run rollback without --as-of first"
        )
    reason = f"rolled back from {champion}{_by(by)}."
    _append(connection, to, "rolled_back", as_of=as_of, by=by, reason=reason)
    return _told(to, champion, as_of, changed=True)


def _before(connection: Connection, settings: Settings, versions: list[str], champion: str) -> str:
    for version in reversed(versions):
        try:
            load_version(settings, _known(connection, version))
        except ModelUnusable:
            continue
        return version
    raise DecisionRefused(f"there is no usable model before {champion} to return to")


def _was_champion(connection: Connection, version: str, as_of: datetime) -> None:
    _known(connection, version)
    served = select(model_promotions.c.version).where(
        model_promotions.c.version == version, model_promotions.c.promoted_as_of <= as_of
    )
    if connection.execute(served).first() is None:
        raise DecisionRefused(f"model {version} never was champion by then; run promote {version}")


def _known(connection: Connection, version: str) -> Any:
    row = found(connection, version)
    if row is None:
        raise DecisionRefused(f"there is no model {version!r}; the table model_versions lists them")
    return row


def _champion(connection: Connection, as_of: datetime | None = None) -> Any:
    stack = standing(connection, as_of)
    return _known(connection, stack[-1].version) if stack else None


def _append(
    connection: Connection, version: str, kind: str, *, as_of: datetime, by: str, reason: str
) -> None:
    """Add to the log and bring every version's status up to date with it."""
    of_moment = select(func.count()).where(model_promotions.c.promoted_as_of == as_of)
    connection.execute(
        insert(model_promotions).values(
            promoted_as_of=as_of,
            number=connection.execute(of_moment).scalar_one(),
            version=version,
            kind=kind,
            decided_by=by,
            reason=reason,
            recorded_at=func.now(),  # the database's clock: for audit, read by nothing
        )
    )
    champion = standing(connection)[-1].version
    served = select(model_promotions.c.version)
    rows = model_versions.c
    for where, status in (
        (rows.version == champion, "champion"),
        (rows.version.in_(served) & (rows.version != champion), "retired"),
    ):
        connection.execute(update(model_versions).where(where).values(status=status))
    connection.execute(update(model_versions).where(rows.version == version).values(decision=reason))


def _by(by: str) -> str:
    return f" by {by}" if by else ""


def _told(version: str, before: str | None, as_of: datetime, *, changed: bool) -> dict[str, Any]:
    return {"version": version, "before": before, "as_of": as_of.isoformat(), "changed": changed}
