"""What HubSpot is not asked, and what is said when it declines: the scope, version or name to mend."""

import pytest
from pydantic import SecretStr

from dealwatch.crm.api import Declined
from dealwatch.crm.hubspot.api import connect
from dealwatch.errors import ExtractRefused
from hubspot_samples import a_night
from standins.hubspot import TOKEN
from test_hubspot_api import all_deals


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        ("deals", "crm.objects.deals.read"),
        ("companies", "crm.objects.companies.read"),
        ("owners", "crm.objects.owners.read"),
        ("calls", "crm.objects.calls.read"),
        ("emails", "sales-email-read"),
        ("meetings", "crm.objects.meetings.read"),
        ("notes", "crm.objects.notes.read"),
        ("tasks", "crm.objects.tasks.read"),
    ],
)
def test_a_missing_scope_is_named(kind: str, scope: str) -> None:
    with a_night() as night, night.api() as api:
        night.server.desk.scopes.remove(scope)
        with pytest.raises(Declined, match=f"let the key read {kind}: tick the scope {scope}") as caught:
            if kind == "owners":
                api.owners(is_archived=False)
            elif kind in {"deals", "companies"}:
                api.properties(kind)
            else:
                api.links("deals", ["101"], kind)
    assert caught.value.code == "MISSING_SCOPES"


def test_a_version_that_ended_says_where_to_mend_it() -> None:
    with a_night() as night, night.api(version="2026-03") as api:
        assert all_deals(api) == ["101", "102", "103"]
        night.server.desk.versions = ("2027-03",)
        with pytest.raises(ExtractRefused, match="may not offer version 2026-03 any more; set another"):
            all_deals(api)


@pytest.mark.parametrize("version", ["v3", "2026-3", "2026-09/../x", "", "2026-04"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with a_night() as night, pytest.raises(ExtractRefused, match="no version"), night.api(version=version):
        raise AssertionError


@pytest.mark.parametrize("name", ["amount&archived=true", "Amount", "a,b", "", "amount "])
def test_a_property_that_is_no_name_is_never_asked_for(name: str) -> None:
    with a_night() as night, night.api() as api:
        with pytest.raises(ExtractRefused, match="no name of a HubSpot property"):
            api.listed("deals", properties=[name])
        with pytest.raises(ExtractRefused, match="no name of a HubSpot property"):
            list(api.read("deals", ["101"], properties=[name]))
    assert night.server.requests == []


def test_more_properties_than_an_address_holds_are_refused_before_they_are_asked_for() -> None:
    names = [f"a_rather_long_name_of_a_property_{number:05}" for number in range(400)]
    with a_night() as night, night.api() as api:
        with pytest.raises(
            ExtractRefused, match="cannot be asked for 400 properties of deals at once; map fewer"
        ):
            api.listed("deals", properties=names)
        assert night.server.requests == []
        api.listed("deals", properties=names[:300])


@pytest.mark.parametrize("token", ["", "  ", "kéy", "a\nb"])
def test_without_a_key_nobody_is_asked(token: str) -> None:
    with pytest.raises(ExtractRefused, match="there is no key to ask with"):
        connect(SecretStr(token))


@pytest.mark.parametrize(
    "origin", ["https://api.hubapi.com.evil.test", "http://api.hubapi.com", "https://hubspot.com"]
)
def test_a_host_that_is_none_of_hubspots_is_refused(origin: str) -> None:
    with pytest.raises(ExtractRefused, match="the address of HubSpot is none of its own"):
        connect(SecretStr(TOKEN), origin=origin)
