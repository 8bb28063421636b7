"""What may be written where, and that nothing written comes back as a fact."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dealwatch.errors import SettingsError
from dealwatch.settings import load
from dealwatch.sources import HubSpot, Salesforce
from test_settings import written

SALES = """[sources.crm]
kind = "salesforce"
[sources.crm.write_back]
score = "Risk__c"
"""


def test_write_back_is_off_until_fields_are_named_and_dry_until_told_otherwise(tmp_path: Path) -> None:
    text = f'{SALES}[sources.hub]\nkind = "hubspot"\n'
    sources = load(written(tmp_path, text)).sources
    crm, hub = sources["crm"], sources["hub"]
    assert isinstance(crm, Salesforce) and crm.write_back is not None
    assert crm.write_back.fields == {"score": "Risk__c"} and crm.write_back.dry
    assert isinstance(hub, HubSpot) and hub.write_back is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            SALES.replace("Risk__c", "Probability"),
            "write_back.score: 'Probability' is no custom field; .*__c",
        ),
        (SALES.replace("salesforce", "hubspot").replace("Risk__c", "hs_priority"), "is no custom field"),
        (SALES.replace("salesforce", "hubspot").replace("Risk__c", "Deal Risk"), "its internal name"),
        (SALES.replace('score = "Risk__c"', "dry = false"), "name a field for score, band or reason"),
        (SALES.replace("score", "as_of"), "name a field for score, band or reason"),
        (SALES.replace("score", "reason"), "a reason speaks of one morning; name a date field"),
        (f'{SALES}band = "risk__C"', "each value needs a field of its own"),
        (f'{SALES}amount = "Risk__c"', "there is no such setting"),
        (SALES.replace("salesforce", "sql"), "there is no such setting"),
        (f'{SALES}[sources.crm.deals.columns]\ndeal_id = "Other__c"', "finds deals by their Id"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ('lead_source = "Risk__c"', r"sources.crm.deals: lead_source = 'Risk__c' is a field that write_back"),
        ('mood = "RISK__C"', "a score must not become a fact"),
        ('touched = "LastModifiedDate"', "'LastModifiedDate' moves with each of our own writes"),
        ('touched = "SystemModstamp"', "moves with each of our own writes"),
        ('by = "LastModifiedBy.Name"', "moves with each of our own writes"),
    ],
)
def test_nothing_that_is_written_is_read_back(tmp_path: Path, columns: str, words: str) -> None:
    text = f"{SALES}[sources.crm.deals.columns]\n{columns}\n"
    with pytest.raises(SettingsError, match=words):
        load(written(tmp_path, text))
    load(written(tmp_path, text.replace('[sources.crm.write_back]\nscore = "Risk__c"\n', "")))


@pytest.mark.parametrize("column", ["risk_c", "last_modified_date"])
def test_nor_through_a_copy_of_the_crm(tmp_path: Path, column: str) -> None:
    copy = '[sources.copy]\nkind = "sql"\npreset = "fivetran_salesforce"\n[sources.copy.deals.columns]\n'
    with pytest.raises(SettingsError, match=f"sources.copy.deals: mood = '{column}'"):
        load(written(tmp_path, f'{SALES}{copy}mood = "{column}"\n'))
    load(written(tmp_path, f'{SALES}{copy}mood = "mood_c"\n'))


def test_nor_by_a_property_of_hubspot(tmp_path: Path) -> None:
    text = SALES.replace("salesforce", "hubspot").replace("Risk__c", "deal_risk")
    for column in ("deal_risk", "hs_lastmodifieddate", "hs_updated_by_user_id"):
        with pytest.raises(SettingsError, match=f"mood = '{column}'"):
            load(written(tmp_path, f'{text}[sources.crm.deals.columns]\nmood = "{column}"\n'))


def test_the_connection_that_writes_may_be_another_one(tmp_path: Path) -> None:
    def connection(name: str) -> Any:
        known = {"host": f"{name}.my.salesforce.com", "port": None, "login": "", "password": "canary"}
        return SimpleNamespace(**known, extra_dejson={}) if name in {"crm", "writer"} else None

    own = load(written(tmp_path, SALES), connection=connection).sources["crm"]
    other = load(written(tmp_path, f'{SALES}connection = "writer"'), connection=connection).sources["crm"]
    lost = load(written(tmp_path, f'{SALES}connection = "nobody"'), connection=connection).sources["crm"]
    assert isinstance(own, Salesforce) and isinstance(other, Salesforce) and isinstance(lost, Salesforce)
    assert own.writer[1] is not None and own.writer[1].host == "crm.my.salesforce.com"
    assert other.writer[1] is not None and other.writer[1].host == "writer.my.salesforce.com"
    assert other.access is not None and other.access.host == "crm.my.salesforce.com"
    assert lost.writer == ("nobody", None)
    assert "canary" not in repr(other) + other.model_dump_json()
