"""Settings are read once, refuse what they do not know, and keep secrets to themselves."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dealwatch.errors import SettingsError
from dealwatch.reference import settings_page
from dealwatch.settings import load


def written(folder: Path, text: str) -> Path:
    path = folder / "dealwatch.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    settings = load(written(tmp_path, 'home = "state"\n[sources.crm]\npath = "drops"\n'))
    assert settings.home == tmp_path / "state"
    assert settings.sources["crm"].path == tmp_path / "drops"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEALWATCH_ALERTS__DAILY_BUDGET", "7")
    settings = load(written(tmp_path, "[alerts]\ndaily_budget = 1\nreopen_days = 9\n"))
    assert (settings.alerts.daily_budget, settings.alerts.reopen_days) == (7, 9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", ["dealwatch.toml", "colour"]),
        ("[alerts]\nbudget = 1", ["dealwatch.toml", "alerts.budget"]),
        ('time_zone = "Europe/Atlantis"', ["time_zone", "IANA"]),
        ("[scoring]\nbands = [50, 25, 75]", ["bands", "rise"]),
        ('[delivery]\nwindow_opens = "21:00"', ["window_opens", "before"]),
        ("= 3", ["dealwatch.toml", "not a TOML file"]),
        ('signing_key = ""', ["dealwatch.toml: signing_key: ", "32 characters", "token_hex"]),
        ('signing_key = "canary"', ["signing_key", "32 characters"]),
        ('model_store_options = "canary"', ["dealwatch.toml: model_store_options: ", "JSON"]),
        ('model_store_options = "[1]"', ["model_store_options", "JSON"]),
        ('[scoring]\nmodel_store = "s3://key:canary@b/x"', ["scoring.model_store", "_STORE_OPTIONS"]),
        ('[scoring]\nmodel_store = "abfs://c@a/x?sig=canary"', ["scoring.model_store", "dealwatch_models"]),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as refusal:
        load(written(tmp_path, text))
    assert [word for word in words if word not in str(refusal.value)] == []
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SCORING__BANDS", "25,50,75", ["variable DEALWATCH_SCORING__BANDS", "'[25, 50, 75]'"]),
        ("SCORING__BANDS", "[75, 50, 25]", ["variable DEALWATCH_SCORING__BANDS", "must rise"]),
        ("SCORING__BANDZ", "[25, 50, 75]", ["variable DEALWATCH_SCORING__BANDZ", "no such setting"]),
        ("SCORING", '{"bandz": 1}', ["variable DEALWATCH_SCORING:", "scoring.bandz"]),
        (
            "SCORING_BANDS",
            "[25, 50, 75]",
            ["DEALWATCH_SCORING_BANDS", "did you mean DEALWATCH_SCORING__BANDS?"],
        ),
        ("HOM", "/elsewhere", ["DEALWATCH_HOM ", "did you mean DEALWATCH_HOME?"]),
        ("DELIVERY__WINDOW_OPENS", "21:00", ["variable DEALWATCH_DELIVERY__WINDOW_OPENS", "before"]),
    ],
)
def test_what_the_environment_says_wrong_is_blamed_on_its_variable_and_not_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]
) -> None:
    monkeypatch.setenv(f"DEALWATCH_{name}", value)
    with pytest.raises(SettingsError) as refusal:
        load(written(tmp_path, "[alerts]\ndaily_budget = 1\n"))
    assert [word for word in words if word not in str(refusal.value)] == []
    assert "dealwatch.toml" not in str(refusal.value)


def test_each_wrong_setting_is_blamed_on_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEALWATCH_ALERTS__DAILY_BUDGET", "many")
    with pytest.raises(SettingsError) as refusal:
        load(written(tmp_path, "[alerts]\nbudget = 1\n"))
    told = str(refusal.value).splitlines()
    assert [line for line in told if "dealwatch.toml: alerts.budget: " in line]
    assert [line for line in told if "variable DEALWATCH_ALERTS__DAILY_BUDGET: " in line]


def test_a_foreign_variable_that_begins_like_ours_is_told_of_once_and_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEALWATCH_PORT", "tcp://10.0.0.7:80")  # Kubernetes, for a service named dealwatch
    monkeypatch.setenv("DEALWATCH_FILES", "./var")
    load()
    assert [record.getMessage().split(" is ")[0] for record in caplog.records] == [
        "environment variable DEALWATCH_PORT"
    ]


def test_a_settings_file_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load(Path("/nowhere/dealwatch.toml"))


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEALWATCH_SLACK_TOKEN", "xoxb-canary")
    monkeypatch.setenv("DEALWATCH_WAREHOUSE_URL", "postgresql+psycopg://u:canary@h/d")
    monkeypatch.setenv("DEALWATCH_SIGNING_KEY", "canary-key" * 4)
    settings = load()
    assert "canary" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert "canary" in settings.url


def connection(uri: str = "", **fields: object) -> SimpleNamespace:
    return SimpleNamespace(**{"get_uri": lambda: uri, "extra_dejson": {}, **fields})


def test_airflow_connections_fill_what_the_settings_leave_open() -> None:
    known = {
        "dealwatch_warehouse": connection("postgres://u:p@h:5432/d"),
        "dealwatch_models": connection(extra_dejson={"key": "k", "secret": "s"}),
        "slack_default": connection(password="xoxb-1"),
        "smtp_default": connection(
            host="mail",
            port=None,
            login="u",
            password="p",
            extra_dejson={"disable_ssl": True, "from_email": "deals@example.com"},
        ),
    }
    settings = load(connection=known.get)
    assert settings.url == "postgresql+psycopg://u:p@h:5432/d"
    assert settings.slack_token is not None and settings.slack_token.get_secret_value() == "xoxb-1"
    assert settings.model_store_options is not None and "'s'" not in repr(settings)
    assert settings.model_store_options.get_secret_value() == '{"key": "k", "secret": "s"}'
    assert settings.smtp is not None
    assert (settings.smtp.port, settings.smtp.starttls, settings.smtp.ssl) == (587, True, False)
    assert settings.delivery.sender == "deals@example.com"


def test_without_connections_everything_stays_on_files() -> None:
    settings = load(connection=lambda _: None)
    assert settings.url.startswith("sqlite:///") and settings.slack_token is None and settings.smtp is None


def test_every_setting_has_a_sentence() -> None:
    knobs = [line.split("|") for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(knobs) > 40
    assert [knob[1] for knob in knobs if not knob[4].strip()] == []


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEALWATCH_WAREHOUSE_URL", "")
    assert load().url.startswith("sqlite:///")


def test_a_postgres_url_gets_our_driver_wherever_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEALWATCH_WAREHOUSE_URL", "postgres://u:p@h/d")
    assert load().url == "postgresql+psycopg://u:p@h/d"


def test_a_slack_connection_without_a_token_does_not_count() -> None:
    assert load(connection={"slack_default": connection(password=None)}.get).slack_token is None


def test_a_signing_secret_is_found_beside_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    slack = connection(password="xoxb-1", extra_dejson={"signing_secret": "canary", "base_url": "https://x/"})
    monkeypatch.setenv("DEALWATCH_SLACK_TOKEN", "xoxb-2")
    settings = load(connection={"slack_default": slack}.get)
    assert settings.slack_token is not None and settings.slack_token.get_secret_value() == "xoxb-2"
    assert settings.slack_url == "https://slack.com/api/"
    assert settings.slack_signing_secret is not None and "canary" not in repr(settings)
    assert settings.slack_signing_secret.get_secret_value() == "canary"


def test_switches_written_in_a_connection_uri_are_read_as_switches() -> None:
    mail = connection(host="m", port=None, login=None, password=None, extra_dejson={"disable_ssl": "false"})
    smtp = load(connection={"smtp_default": mail}.get).smtp
    assert smtp is not None and smtp.ssl


def test_deals_are_segmented_by_columns_that_can_segment(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="segment_by"):
        load(written(tmp_path, '[pipeline]\nsegment_by = ["currency"]\n'))
