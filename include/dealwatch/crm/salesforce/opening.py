"""A session of the org that the settings name, for whoever reads it or writes to it."""

import time

from dealwatch.crm.api import address_of
from dealwatch.crm.http import Policy
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.errors import SettingsError
from dealwatch.knobs import Access
from dealwatch.sources import Salesforce


def session_of(name: str, source: Salesforce, connection: str | None, access: Access | None) -> Session:
    """A session of the source `name` as a connection says; SettingsError when there is no such connection."""
    connection = connection or name
    if access is None:
        raise SettingsError(f"[sources.{name}] has no connection {connection}; make it in Airflow")
    told = {**access.extra, "login": access.login, "password": access.password, "host": address_of(access)}
    policy = Policy(most_quota_share=source.max_quota_share)
    return Session(login_of(told, connection), version=source.api_version, policy=policy, sleep=time.sleep)
