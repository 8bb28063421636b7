"""A client of the account that the settings name, for whoever reads it or writes to it."""

from dealwatch.crm.api import address_of
from dealwatch.crm.http import Client, Policy
from dealwatch.crm.hubspot.api import connect
from dealwatch.errors import SettingsError
from dealwatch.knobs import Access
from dealwatch.sources import HubSpot


def client_of(name: str, source: HubSpot, connection: str | None, access: Access | None) -> Client:
    """A client of the source `name` with a connection's key, to be closed; SettingsError when it has none."""
    if access is None or access.password is None:
        raise SettingsError(
            f"[sources.{name}] there is no key for HubSpot; make the Airflow connection "
            f"{connection or name} and put a service key into its password"
        )
    policy = Policy(most_quota_share=source.max_quota_share)
    return connect(access.password, origin=address_of(access, usual="api.hubapi.com"), policy=policy)
