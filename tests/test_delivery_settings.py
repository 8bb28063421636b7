"""Who is told what is one TOML file; what is wrong in it names the key and what to write instead."""

from pathlib import Path

import pytest

from dealwatch.errors import SettingsError
from dealwatch.settings import load

WHOLE = """
[alerts]
manager_budget = 5
unanswered_days = 3
volume_fall_pct = 30

[delivery]
leadership_amount = 100000
leadership = ["cro@example.com", "C0LEADERS"]
holidays = true

[delivery.countries]
"Europe/Berlin" = "DE-BY"
"UTC" = ""

[review]
to = ["cro@example.com", "C0SALES", "teams:sales", "CRO@example.com"]
managers = ["max@example.com", "U0MAX"]

[[delivery.channel_map]]
where = {region = "EMEA", industry = "Retail"}
slack = "C0EMEA"
time_zone = "Europe/Paris"

[[delivery.channel_map]]
where = {region = "US"}
teams = "us-sales"
"""


def test_all_of_it_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "dealwatch.toml"
    path.write_text(WHOLE)
    settings = load(path)
    assert settings.delivery.countries == {"Europe/Berlin": "DE-BY", "UTC": ""}
    emea, us = settings.delivery.channel_map
    assert (emea.where, emea.slack, emea.time_zone) == (
        {"region": "EMEA", "industry": "Retail"},
        "C0EMEA",
        "Europe/Paris",
    )
    assert us.teams == "us-sales"
    assert settings.review.to == ("cro@example.com", "C0SALES", "teams:sales"), "nobody twice"
    assert settings.review.managers == ("max@example.com", "U0MAX")
    assert settings.delivery.leadership == ("cro@example.com", "C0LEADERS")
    assert (settings.alerts.manager_budget, settings.alerts.volume_fall_pct) == (5, 30)


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ('[delivery.countries]\n"Europe/Berlin" = "XX"', "delivery.countries", "write its code, as DE"),
        ('[delivery.countries]\n"Europe/Berlin" = "DE-XX"', "delivery.countries", "its parts are: BB, BE"),
        ('[delivery.countries]\n"Europe/Atlantis" = "DE"', "delivery.countries", "Europe/Berlin"),
        ('[review]\nto = ["#sales"]', "review.to", "teams:NAME of a webhook"),
        ('[review]\nboard_url = "airflow:8080"', "review.board_url", "https://airflow.example.com"),
        ('[review]\nto = ["U0ANN"]', "review.to", "reached by e-mail address"),
        ('[review]\nto = ["a b@example.com"]', "review.to", "cro@example.com"),
        ('[review]\nto = ["a@example.com,b@example.com"]', "review.to", "one for each reader"),
        ('[review]\nmanagers = ["C0SALES"]', "review.managers", "names reps"),
        ('[review]\nmanagers = ["G0GROUP"]', "review.managers", "put the channel into review.to"),
        ('[review]\nmanagers = ["teams:sales"]', "review.managers", "names reps"),
        ('[review]\nmanagers = ["D0MAX"]', "review.managers", "copy it from their profile"),
        ('[review]\nmanagers = ["@max"]', "review.managers", "cro@example.com"),
        (
            '[[delivery.channel_map]]\nwhere = {region = "EMEA"}',
            "delivery.channel_map.0",
            'write one of slack = "C0123ABCD"',
        ),
        (
            '[[delivery.channel_map]]\nwhere = {region = "EMEA"}\nslack = "C1"\nteams = "t"',
            "delivery.channel_map.0",
            "write one of slack",
        ),
        (
            '[[delivery.channel_map]]\nwhere = {region = "EMEA"}\nslack = "#emea"',
            "delivery.channel_map.0.slack",
            "copy it from the channel's details",
        ),
        (
            '[[delivery.channel_map]]\nwhere = {region = "EMEA"}\nemail = "emea"',
            "delivery.channel_map.0.email",
            "emea@example.com",
        ),
        (
            '[[delivery.channel_map]]\nwhere = {}\nslack = "C1"',
            "delivery.channel_map.0",
            'where = {region = "EMEA"}',
        ),
        (
            '[[delivery.channel_map]]\nwhere = {regoin = "EMEA"}\nslack = "C1"',
            "delivery.channel_map.0.where.regoin",
            "'industry', 'region', 'product_type' or 'lead_source'",
        ),
        (
            '[[delivery.channel_map]]\nwhere = {region = "EMEA"}\nslack = "C1"\ntime_zone = "Berlin"',
            "delivery.channel_map.0.time_zone",
            "Europe/Berlin",
        ),
        ('[review.targets]\n"2026-Q4" = 5', "review.targets", "write it as the review does: 2026Q4"),
        (
            "[review.targets]\n2026Q4 = 0",
            "review.targets",
            "the target of 2026Q4 is 0.0; write money above 0",
        ),
        ("[review.targets]\n2026Q4 = nan", "review.targets", "write money above 0"),
        ("[review.targets]\nFY2027Q1 = 5", "review.targets.FY2027Q1", "the review calls quarters as 2027Q1"),
        (
            "[pipeline]\nfiscal_year_starts = 4\n[review.targets]\n2026Q4 = 5",
            "review.targets.2026Q4",
            "the review calls quarters as FY2026Q4",
        ),
        ('[review]\nmanagers = ["C0123ABCD"]', "review.managers", "put the channel into review.to"),
        ('[review]\nmanagers = ["ann"]', "review.managers", "nor a person's id in Slack"),
        ("[delivery]\nleadership_amount = 5", "delivery", 'add leadership = ["cro@example.com"]'),
        (
            '[delivery]\nleadership = ["cro@example.com"]',
            "delivery",
            "add leadership_amount = 100000",
        ),
        (
            '[delivery]\nleadership_amount = 5\nleadership = ["#board"]',
            "delivery.leadership",
            "as C0123ABCD",
        ),
        ("[alerts]\nmanager_budget = 11", "alerts.manager_budget", "less than or equal to 10"),
        ("[alerts]\nvolume_fall_pct = 0", "alerts.volume_fall_pct", "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_names_the_key_and_the_remedy(tmp_path: Path, text: str, key: str, remedy: str) -> None:
    path = tmp_path / "dealwatch.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert f"{path}: {key}" in str(refused.value)
    assert remedy in str(refused.value)
