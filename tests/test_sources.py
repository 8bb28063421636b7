"""A source says of which kind it is, and what its connection holds is known without being shown."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dealwatch.errors import SettingsError
from dealwatch.jobs import with_drop
from dealwatch.knobs import Source
from dealwatch.settings import Settings, load
from dealwatch.sources import HubSpot, Salesforce
from test_settings import written

LIVE = """[sources.crm]
kind = "salesforce"
connection = "sales"
[sources.crm.deals.columns]
name = "Name"
"""


def test_each_source_is_of_its_kind_and_files_are_the_usual_one(tmp_path: Path) -> None:
    text = f'{LIVE}[sources.hub]\nkind = "hubspot"\n[sources.drops]\npath = "drops"\n'
    sources = load(written(tmp_path, text)).sources
    assert [type(sources[name]) for name in ("crm", "hub", "drops")] == [Salesforce, HubSpot, Source]
    assert sources["crm"].deals.columns == {"name": "Name"}
    assert isinstance(sources["drops"], Source) and sources["drops"].path == tmp_path / "drops"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[sources.crm]\nkind = "oracle"', "sources.crm: .*'oracle'.*'files', 'salesforce', 'hubspot'"),
        ('[sources.crm]\nkind = "salesforce"\nbudget = 1', r"sources\.crm\.budget: there is no such setting"),
        ("[sources.crm]", r"sources\.crm: say where the files are: by path, or by url"),
    ],
)
def test_what_a_source_says_wrong_is_named_where_it_stands(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(written(tmp_path, text))


def test_a_live_source_is_reached_as_its_connection_says(tmp_path: Path) -> None:
    found = SimpleNamespace(
        host="example.my.salesforce.com",
        port=None,
        login="",
        password="canary-1",
        extra_dejson={"extra__salesforce__consumer_key": "canary-2", "security_token": "", "domain": None},
    )
    asked: list[str] = []

    def connection(name: str) -> SimpleNamespace | None:
        asked.append(name)
        return found if name == "sales" else None

    settings = load(written(tmp_path, LIVE), connection=connection)
    source = settings.sources["crm"]
    assert isinstance(source, Salesforce) and source.access is not None and "sales" in asked
    assert (source.access.host, source.access.login) == ("example.my.salesforce.com", None)
    assert {key: value.get_secret_value() for key, value in source.access.extra.items()} == {
        "consumer_key": "canary-2"
    }
    assert "canary" not in repr(settings) + str(settings) + settings.model_dump_json()
    own = load(written(tmp_path, LIVE.replace('connection = "sales"\n', "")), connection=connection)
    assert "crm" in asked
    assert isinstance(own.sources["crm"], Salesforce) and own.sources["crm"].access is None


def test_what_the_environment_says_of_access_wins_over_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEALWATCH_SOURCES__CRM__ACCESS__PASSWORD", "canary")
    source = load(written(tmp_path, LIVE), connection=lambda _: None).sources["crm"]
    assert isinstance(source, Salesforce) and source.access is not None and source.access.password is not None
    assert source.access.password.get_secret_value() == "canary"


def test_no_folder_can_stand_in_for_a_live_source(tmp_path: Path) -> None:
    settings = Settings(sources={"crm": HubSpot(kind="hubspot")})
    with pytest.raises(SettingsError, match="the source 'crm' is no folder"):
        with_drop(settings, "crm", tmp_path)
