"""The shell speaks the verbs: what works prints its answer, what cannot be done exits with 2 and why."""

import json
import logging
import os
from pathlib import Path

import pytest

from alert_samples import Deal, at, know, score_morning
from dealwatch import jobs
from dealwatch.__main__ import _Shown, main
from dealwatch.alerts.speaking.queue import speak
from dealwatch.scoring.evaluation_text import table
from dealwatch.settings import Settings
from dealwatch.tables import deals
from dealwatch.warehouse import connect


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a verb in a home of its own; answers (exit code, standard output, standard error)."""
    monkeypatch.setenv("DEALWATCH_HOME", str(tmp_path / "home"))
    settings = tmp_path / "dealwatch.toml"
    settings.write_text('[sources.crm]\npath = "drop"\n')
    monkeypatch.setenv("DEALWATCH_SETTINGS", str(settings))

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


def test_a_morning_from_the_shell(shell, tmp_path: Path) -> None:
    drop = str(tmp_path / "drop")
    code, told, _ = shell(
        "simulate", "--deals", "150", "--days", "200", "--until", "2026-03-02", "--out", drop
    )
    assert (code, json.loads(told)["deals"]) == (0, 150)
    assert shell("db", "upgrade")[0] == 0
    assert json.loads(shell("extract", "--at", "2026-03-02")[1])["deals"] == 150
    assert shell("quarantine")[1].strip() == "[]"
    trained = json.loads(shell("train", "--as-of", "2026-02-01")[1])
    assert trained["model"]["gate"] == "refused"
    version = trained["model"]["version"]
    assert version in shell("card", version)[1]
    assert "refused by the gate" in shell("promote", version, "--by", "Ann")[2]
    assert "no model serves" in shell("rollback")[2]
    assert json.loads(shell("reject", version)[1])["changed"] is False
    assert {row["rule"] for row in trained["rules"]} >= {"stage_stall", "lifecycle_breach"}
    scored = json.loads(shell("score", "--as-of", "2026-02-25", "--until", "2026-03-02")[1])
    assert scored["mornings"] == 6 and scored["deals"] > 0 and scored["queued"] == 0
    assert json.loads(shell("deliver", "--dry")[1]) == {"would_send": 0}
    assert "judged on outcomes" in shell("evaluate", "--from", "2026-02-25", "--until", "2026-03-02")[1]


def test_a_deal_is_answered_from_the_shell(shell, tmp_path: Path) -> None:
    assert shell("db", "upgrade")[0] == 0
    house = Settings(home=tmp_path / "home")
    engine = connect(house)
    score_morning(engine, "2026-03-02", [Deal("D-7", {"stage_stall": 1, "lifecycle_breach": 1})])
    speak(engine, settings=house, as_of=at("2026-03-02"), now=at("2026-03-02"))
    for deal_id in ("D-7", "D-8"):
        know(
            engine,
            deals,
            {"deal_id": deal_id, "source": "crm", "created_at": at("2026-01-05"), "is_deleted": False},
        )
    engine.dispose()
    code, told, _ = shell("acknowledge", "D-7")
    assert code == 0 and told.count("Got it. Quiet until ") == 2 and "D-7, lifecycle_breach: " in told
    code, told, _ = shell("feedback", "D-7", "--as", "false_alarm", "--rule", "stage_stall", "--by", "Ann")
    assert (code, told.splitlines()) == (0, [told.strip()]) and "Noted as a false alarm." in told
    words = ("snooze", "D-7", "--for", "3", "--rule", "stage_stall")
    assert "Snoozed. Quiet until " in shell(*words, "--reason", "in legal")[1]
    assert "a snooze needs a reason" in shell(*words, "--reason", "")[2]
    assert "no next step" in shell("snooze", "D-7", "--for", "next_step", "--reason", "call")[2]
    assert "no alert is open for the deal D-8" in shell("acknowledge", "D-8")[2]
    assert "there is no deal 'NOPE': give its id in the CRM" in shell("acknowledge", "NOPE")[2]
    missing = shell("acknowledge", "D-7", "--rule", "other")[2]
    assert "open are: lifecycle_breach, stage_stall" in missing


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["extract"], "db upgrade"),
        (["score", "--as-of", "yesterday"], "no moment"),
        (["score", "--as-of", "2026-03-02", "--until", "2026-03-01"], "before it begins"),
        (["score", "--as-of", "2026-03-02", "--until", "2026-03-03T14:30"], "whole days"),
        (["score", "--as-of", "2962-11-21", "--notify", "dry"], "2962-11-21 is to come"),
        (["score", "--as-of", "2026-03-02", "--until", "2962-03-01"], "is to come"),
        (["train", "--as-of", "2962-11-21"], "is to come"),
        (["promote", "a version", "--as-of", "2962-11-21"], "is to come"),
        (["rollback", "--as-of", "2962-11-21"], "is to come"),
        (["evaluate", "--from", "2026-03-02", "--until", "2026-03-01"], "before it begins"),
        (["extract", "--source", "sap", "--drop", "x"], "no source 'sap'"),
        (["db", "upgrade", "--settings", "/nowhere.toml"], "no such settings file"),
    ],
)
def test_what_cannot_be_done_exits_with_its_reason(shell, words: list[str], reason: str) -> None:
    code, told, reasons = shell(*words)
    assert (code, told) == (2, "")
    assert reason in reasons


def test_what_the_house_cannot_work_with_is_a_sentence_and_no_traceback(
    shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEALWATCH_WAREHOUSE_URL", "postgresql://u:geheim@127.0.0.1:1/d")
    code, told, reasons = shell("quarantine")
    assert (code, told) == (2, "") and "does not answer" in reasons and "geheim" not in reasons
    monkeypatch.delenv("DEALWATCH_WAREHOUSE_URL")
    assert shell("db", "upgrade")[0] == 0
    (tmp_path / "drop").write_text("a file, not a folder")
    for words in (["evaluate", "--from", "2026-01-01", "--until", "2026-02-01"], ["simulate", "--days", "9"]):
        code, told, reasons = shell(*words, "--out", str(tmp_path / "drop"))
        assert (code, told) == (2, "") and reasons.count("\n") == 1
        assert f"--out {tmp_path / 'drop'}: " in reasons and "name a folder" in reasons


@pytest.mark.parametrize("day", ["yesterday", "2026-3-9", "29.03.2026", "0001-01-01"])
def test_what_is_no_day_is_told_with_the_form(shell, capsys: pytest.CaptureFixture[str], day: str) -> None:
    for words in (["evaluate", "--from", day, "--until", day], ["simulate", "--until", day, "--out", "x"]):
        with pytest.raises(SystemExit) as end:
            shell(*words)
        assert end.value.code == 2
        assert f"{day!r} is no day; write it as 2026-03-29" in capsys.readouterr().err


def test_what_a_terminal_would_obey_does_not_reach_it(
    shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;owned\x07De\u202emo\n\tnext line"
    monkeypatch.setattr(jobs, "card", lambda *_, **__: hostile)
    assert shell("card", "v") == (0, "]0;ownedDemo\n\tnext line\n", "")
    assert "\x1b" not in shell("extract", "--source", hostile, "--drop", "x")[2]
    record = logging.makeLogRecord({"msg": "refused: %s", "args": (hostile,)})
    assert _Shown("%(message)s").format(record) == "refused: ]0;ownedDemo\n\tnext line"


def test_a_reader_who_has_read_enough_ends_it_quietly(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "card", lambda *_, **__: "a long card\n" * 100_000)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed, monkeypatch.context() as piped:
        piped.setattr("sys.stdout", closed)
        assert main(["card", "v"]) == 0
    assert shell("card", "v")[2] == ""


def test_a_stage_named_to_fool_a_terminal_stays_in_its_cell() -> None:
    assert table(("stage", "rows"), [("\x1b[2JDe\nmo", "1")]) == ["  stage     rows", "  [2JDe mo     1"]
