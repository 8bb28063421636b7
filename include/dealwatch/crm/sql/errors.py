"""What a database's error means, in words that hold no statement, no value and nothing of the URL."""

import sqlalchemy as sa

from dealwatch.errors import ExtractRefused, SettingsError, SourceDown

_LOGIN = ("password", "authentication", "pg_hba", "role ", "access denied", "login")
_LACKS = ("no such table", "no such column", "unable to open", "does not exist", "unknown database")
_PERMISSION, _CANCELED = "42501", "57014"


def told(name: str, error: Exception, seconds: int) -> Exception:
    """SourceDown when trying again may help, else what a person has to mend."""
    if isinstance(error, (ImportError, sa.exc.NoSuchModuleError)):
        return SettingsError(f"[sources.{name}] names a database whose driver is not installed; install it")
    if not isinstance(error, sa.exc.DBAPIError):
        return ExtractRefused(
            f"{name}: the query could not be made ({type(error).__name__}); tell its maintainer"
        )
    cause = error.orig
    state = str(getattr(cause, "sqlstate", None) or "")
    kind = f"{type(cause).__name__}{f' {state}' if state else ''}"
    words = str(cause).casefold()  # looked into, never shown: it may quote a row
    if state == _CANCELED:
        return ExtractRefused(
            f"{name}: a query took longer than {seconds} seconds ({kind}); raise statement_timeout_seconds, "
            "or have the key's columns indexed"
        )
    if state == _PERMISSION:
        return ExtractRefused(
            f"{name}: the role may not read a table ({kind}); grant it SELECT on the schema's tables"
        )
    if not state.startswith("42") and not state and any(word in words for word in _LOGIN):
        return ExtractRefused(f"{name}: the warehouse refuses the login ({kind}); correct the connection")
    if state.startswith(("28", "3D")):
        return ExtractRefused(f"{name}: the warehouse refuses the login ({kind}); correct the connection")
    if any(word in words for word in _LACKS) and (state.startswith("42") or not state):
        return ExtractRefused(
            f"{name}: a table, a column or the database is not there ({kind}); correct the settings"
        )
    if isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)) or error.connection_invalidated:
        return SourceDown(f"{name}: the warehouse does not answer ({kind})")
    return ExtractRefused(f"{name}: the warehouse does not take our query ({kind}); check the columns' types")
