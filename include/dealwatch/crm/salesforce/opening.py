"""A session of the org that the settings name, for whoever reads it or writes to it."""

import time
from collections.abc import Callable
from typing import Any

from dealwatch.crm.api import address_of
from dealwatch.crm.http import Policy
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.errors import SettingsError
from dealwatch.knobs import Access
from dealwatch.sources import Salesforce


def session_of(
    name: str,
    source: Salesforce,
    connection: str | None,
    access: Access | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    **policy: Any,
) -> Session:
    """A session of the source `name` as a connection says; SettingsError when there is no such connection.

    `policy` are bounds other than usual.
    """
    connection = connection or name
    if access is None:
        raise SettingsError(
            f"[sources.{name}] has no connection {connection}; make it in Airflow, or set "
            f"AIRFLOW_CONN_{connection.upper()}"
        )
    told = {**access.extra, "login": access.login, "password": access.password, "host": address_of(access)}
    own = Policy(**{"most_quota_share": source.max_quota_share, **policy})
    return Session(login_of(told, connection), version=source.api_version, policy=own, sleep=sleep)
