"""A client of the account that the settings name, for whoever reads it or writes to it."""

from typing import Any

from dealwatch.crm.api import address_of
from dealwatch.crm.http import Client, Policy
from dealwatch.crm.hubspot.api import connect
from dealwatch.errors import SettingsError
from dealwatch.knobs import Access
from dealwatch.sources import HubSpot


def client_of(
    name: str, source: HubSpot, connection: str | None, access: Access | None, **policy: Any
) -> Client:
    """A client of the source `name` with a connection's key, to be closed; SettingsError when it has none.

    `policy` are bounds other than usual.
    """
    connection = connection or name
    if access is None or access.password is None:
        raise SettingsError(
            f"[sources.{name}] there is no key for HubSpot; make the Airflow connection "
            f"{connection}, or AIRFLOW_CONN_{connection.upper()}, and put a service key into its password"
        )
    own = Policy(**{"most_quota_share": source.max_quota_share, **policy})
    return connect(access.password, origin=address_of(access, usual="api.hubapi.com"), policy=own)
