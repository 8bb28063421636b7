"""The page about one's own data is run as it stands, on a made-up company's export."""

import json
import re
import shlex
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from dealwatch.__main__ import main
from dealwatch.company.world import simulate

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "your-own-data.md").read_text(encoding="utf-8")
EXPORTED = "2026-11-21"
NAMES = {
    "deal_id": "Opportunity ID",
    "stage": "Stage",
    "created_at": "Created Date",
    "close_date": "Close Date",
    "closed_at": "Closed At",
    "amount": "Amount",
    "owner_id": "Owner",
}
STAGES = {"Qualification": "Qualify", "Discovery": "Qualify", "Legal Review": "Negotiation"}
# Fewer trees and deals than the page's reader has: the test is about the page, not about the forest.
SMALL = """
[scoring]
trees = 25
train_minimum = 20
alert_minimum = 60
gate_slope_off = 9
panel_every_days = 14
"""


def blocks(language: str) -> list[str]:
    """The page's blocks of code of that language, without their indent."""
    fenced = re.findall(r"^   ```(\w*)\n(.*?)^   ```$", PAGE, re.DOTALL | re.MULTILINE)
    return [re.sub(r"^   ", "", text, flags=re.MULTILINE) for name, text in fenced if name == language]


def commands() -> list[list[str]]:
    """The words of each dealwatch command on the page, in its order."""
    lines = "\n".join(blocks("")).splitlines()
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m dealwatch ")]


def export(folder: Path) -> None:
    """A CRM's export in the page's columns and stages, with a column that gives the outcome away."""
    simulate("planted", deals=1100, days=500, seed=7, until=date(2026, 10, 31), out=folder)
    (folder / "owners.csv").unlink()
    renamed = pl.col("stage").replace(STAGES)
    deals = pl.read_csv(folder / "deals.csv", infer_schema=False).with_columns(
        renamed, loss_reason=pl.when(pl.col("outcome") == "lost").then(pl.lit("price"))
    )
    deals.select(*NAMES, "loss_reason").rename(NAMES).write_csv(folder / "deals.csv")
    history = pl.read_csv(folder / "deal_history.csv", infer_schema=False)
    moved = [pl.col(name).replace(STAGES) for name in ("old_value", "new_value")]
    history.with_columns(moved).filter(pl.col("old_value").ne_missing(pl.col("new_value"))).write_csv(
        folder / "deal_history.csv"
    )


@pytest.mark.slow
def test_the_pages_commands_give_a_newcomer_a_judged_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export(tmp_path / "exports")
    (settings,) = blocks("toml")
    (tmp_path / "dealwatch.toml").write_text(settings + SMALL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEALWATCH_SETTINGS", str(tmp_path / "dealwatch.toml"))
    monkeypatch.setenv("DEALWATCH_HOME", str(tmp_path / "home"))
    said: dict[str, str] = {}
    for verb, *rest in commands():
        version = json.loads(said["train"])["model"]["version"] if "VERSION" in rest else ""
        words = [version if word == "VERSION" else word for word in rest]
        at = ["--at", EXPORTED] if verb == "extract" else []  # else the clock decides what is too recent
        assert main([verb, *words, *at]) == 0, verb
        said[verb] = capsys.readouterr().out
    assert list(said) == "db extract quarantine train card promote score evaluate".split()
    assert json.loads(said["quarantine"]) == []
    assert json.loads(said["train"])["model"]["decision"] == "ask"
    report = said["evaluate"]
    assert "Method hybrid: " in report and "Method rules" not in report
    assert "29 mornings with" in report and "No verdict" not in report and "Brier skill" in report
    assert (tmp_path / "report" / "index.html").exists()
