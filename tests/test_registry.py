"""A stored model is trusted only after its check, chosen without looking ahead, and never half there."""

import hashlib
import json
import os
import pickle
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select, update

from dealwatch import migrations
from dealwatch.scoring import registry
from dealwatch.scoring.explain import explain
from dealwatch.scoring.registry import Model, champion_at, champions_at, store
from dealwatch.scoring.trial import Trained
from dealwatch.settings import Settings
from dealwatch.tables import model_versions
from dealwatch.warehouse import connect, frame, reading, writing
from made_up_facts import PANEL_UNTIL, made_up_facts, small_training

MONTH = timedelta(days=30)
JANUARY, FEBRUARY, MARCH = PANEL_UNTIL, PANEL_UNTIL + MONTH, PANEL_UNTIL + 2 * MONTH


@pytest.fixture(scope="module")
def good() -> Trained:
    return small_training()


@pytest.fixture(scope="module")
def other() -> Trained:
    return small_training(seed=2)


@pytest.fixture(scope="module")
def refused() -> Trained:
    return small_training(signal=0.0)


def stored(engine: Engine, settings: Settings, trained: Trained, as_of: Any) -> str:
    with writing(engine, alone="models") as connection:
        return store(connection, settings, trained, as_of)


def champion(engine: Engine, settings: Settings, as_of: Any) -> tuple[Model | None, str]:
    with reading(engine) as connection:
        return champion_at(connection, settings, as_of)


def versions(engine: Engine) -> pl.DataFrame:
    with reading(engine) as connection:
        return frame(connection, select(model_versions)).sort("version")


def statuses(engine: Engine) -> dict[str, str]:
    return {row["version"]: row["status"] for row in versions(engine).iter_rows(named=True)}


def test_what_is_stored_comes_back_with_the_same_scores(
    either_engine: Engine, either_settings: Settings, good: Trained
) -> None:
    version = stored(either_engine, either_settings, good, JANUARY)
    model, reason = champion(either_engine, either_settings, JANUARY)
    assert model is not None and model.version == version and model.trained_as_of == JANUARY
    assert reason == f"model {version}: {good.reason}"
    assert good.bundle is not None
    facts = made_up_facts(50)
    assert explain(model.bundle, facts).p_loss.tolist() == explain(good.bundle, facts).p_loss.tolist()


def test_the_same_training_again_changes_no_row_and_no_file(
    either_engine: Engine, either_settings: Settings, good: Trained
) -> None:
    version = stored(either_engine, either_settings, good, JANUARY)
    before = versions(either_engine)
    files = {p: p.read_bytes() for p in (either_settings.home / "models").rglob("*") if p.is_file()}
    assert stored(either_engine, either_settings, good, JANUARY) == version
    assert versions(either_engine).equals(before)
    assert {
        p: p.read_bytes() for p in (either_settings.home / "models").rglob("*") if p.is_file()
    } == files and len(files) == 2


def test_a_moment_is_served_by_the_latest_model_promoted_by_then(
    engine: Engine, settings: Settings, good: Trained, other: Trained
) -> None:
    second = stored(engine, settings, other, MARCH)
    first = stored(engine, settings, good, JANUARY)  # trained afterwards, for an earlier moment
    with reading(engine) as connection:
        found = champions_at(connection, settings, [JANUARY - MONTH, JANUARY, FEBRUARY, MARCH, MARCH + MONTH])
    assert [model and model.version for model, _ in found] == [None, first, first, second, second]
    assert statuses(engine) == {first: "retired", second: "champion"}


def test_the_order_of_trainings_leaves_the_same_rows(
    settings: Settings, engine: Engine, tmp_path: Path, good: Trained, other: Trained, refused: Trained
) -> None:
    elsewhere = settings.model_copy(update={"home": tmp_path / "elsewhere"})
    there = connect(elsewhere)
    migrations.upgrade(there)
    trainings = [(good, JANUARY), (refused, FEBRUARY), (other, MARCH)]
    for trained, moment in trainings:
        stored(engine, settings, trained, moment)
    for trained, moment in reversed(trainings):
        stored(there, elsewhere, trained, moment)
    assert versions(engine).drop("recorded_at").equals(versions(there).drop("recorded_at"))
    there.dispose()


def test_a_refused_training_is_kept_with_its_reason_and_serves_nobody(
    engine: Engine, settings: Settings, refused: Trained
) -> None:
    version = stored(engine, settings, refused, JANUARY)
    assert statuses(engine) == {version: "refused"}
    assert champion(engine, settings, FEBRUARY) == (None, refused.reason)
    assert champion(engine, settings, JANUARY - MONTH) == (None, "no model was trained by then; run train.")


def test_a_training_without_a_model_is_kept_too(engine: Engine, settings: Settings) -> None:
    nothing = Trained(None, {"n_won": 3}, False, False, "too little history: 3 won.")
    version = stored(engine, settings, nothing, JANUARY)
    assert versions(engine).select("version", "status", "sha256", "path").row(0) == (
        version,
        "refused",
        "",
        "",
    )
    assert champion(engine, settings, JANUARY) == (None, "too little history: 3 won.")


def test_a_refusal_leaves_the_champion_in_place(
    engine: Engine, settings: Settings, good: Trained, refused: Trained
) -> None:
    first = stored(engine, settings, good, JANUARY)
    stored(engine, settings, refused, FEBRUARY)
    model, _ = champion(engine, settings, MARCH)
    assert model is not None and model.version == first


def test_another_training_for_the_same_moment_takes_its_place(
    engine: Engine, settings: Settings, good: Trained, other: Trained
) -> None:
    first = stored(engine, settings, good, JANUARY)
    second = stored(engine, settings, other, JANUARY)
    model, _ = champion(engine, settings, JANUARY)
    assert model is not None and model.version == second
    assert statuses(engine) == {first: "retired", second: "champion"}
    stored(engine, settings, good, JANUARY)
    assert statuses(engine) == {first: "champion", second: "retired"}


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def break_file(folder: Path, mark: Path) -> None:
    (folder / registry.ARTEFACT).write_bytes(pickle.dumps(Trap(mark)))


def cut_file(folder: Path, mark: Path) -> None:
    content = (folder / registry.ARTEFACT).read_bytes()
    (folder / registry.ARTEFACT).write_bytes(content[: len(content) // 2])


def remove_file(folder: Path, mark: Path) -> None:
    (folder / registry.ARTEFACT).unlink()


def remove_manifest(folder: Path, mark: Path) -> None:
    (folder / registry.MANIFEST).unlink()


def empty_manifest(folder: Path, mark: Path) -> None:
    (folder / registry.MANIFEST).write_text("{}")


def garbage_manifest(folder: Path, mark: Path) -> None:
    (folder / registry.MANIFEST).write_bytes(b"\xff[1, 2")


def manifest_that_is_a_list(folder: Path, mark: Path) -> None:
    (folder / registry.MANIFEST).write_text("[1]")


def forge_manifest(folder: Path, mark: Path) -> None:
    break_file(folder, mark)
    manifest = json.loads((folder / registry.MANIFEST).read_text())
    manifest["sha256"] = hashlib.sha256((folder / registry.ARTEFACT).read_bytes()).hexdigest()
    (folder / registry.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "harm",
    [
        break_file,
        cut_file,
        remove_file,
        remove_manifest,
        empty_manifest,
        garbage_manifest,
        manifest_that_is_a_list,
        forge_manifest,
    ],
)
def test_a_broken_or_tampered_model_is_never_opened_and_the_one_before_serves(
    engine: Engine, settings: Settings, good: Trained, other: Trained, tmp_path: Path, harm: Any
) -> None:
    first, second = stored(engine, settings, good, JANUARY), stored(engine, settings, other, FEBRUARY)
    harm(settings.home / "models" / second, tmp_path / "opened")
    model, reason = champion(engine, settings, MARCH)
    assert model is not None and model.version == first
    assert f"model {second} is not used: " in reason and "train again" in reason
    assert not (tmp_path / "opened").exists()


def test_when_no_model_can_be_trusted_rules_are_alone(
    engine: Engine, settings: Settings, good: Trained
) -> None:
    version = stored(engine, settings, good, JANUARY)
    remove_file(settings.home / "models" / version, settings.home)
    model, reason = champion(engine, settings, FEBRUARY)
    assert model is None and reason.endswith("Rules alone.")


def test_a_model_of_another_library_version_or_other_facts_is_refused(
    engine: Engine, settings: Settings, good: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(engine, settings, good, JANUARY)
    monkeypatch.setattr(registry.sklearn, "__version__", "9.9.9")
    assert "trained with scikit-learn" in champion(engine, settings, JANUARY)[1]
    monkeypatch.undo()
    monkeypatch.setattr(registry, "MODEL_FACTS", registry.MODEL_FACTS[:-1])
    assert "trained with facts" in champion(engine, settings, JANUARY)[1]


def test_a_signed_model_does_not_pass_under_another_versions_name(
    engine: Engine, settings: Settings, good: Trained, other: Trained
) -> None:
    first, second = stored(engine, settings, good, JANUARY), stored(engine, settings, other, FEBRUARY)
    for name in (registry.ARTEFACT, registry.MANIFEST):
        old = settings.home / "models" / first / name
        (settings.home / "models" / second / name).write_bytes(old.read_bytes())
    model, reason = champion(engine, settings, FEBRUARY)
    assert model is not None and model.version == first and "not the one that was stored" in reason


def test_another_key_refuses_what_ours_signed(engine: Engine, settings: Settings, good: Trained) -> None:
    ours = settings.model_copy(update={"signing_key": SecretStr("ours")})
    stored(engine, ours, good, JANUARY)
    assert champion(engine, ours, JANUARY)[0] is not None
    theirs = settings.model_copy(update={"signing_key": SecretStr("theirs")})
    assert "not signed with our key" in champion(engine, theirs, JANUARY)[1]
    assert not (settings.home / registry.KEY).exists()


def test_a_changed_row_in_the_warehouse_is_noticed(engine: Engine, settings: Settings, good: Trained) -> None:
    stored(engine, settings, good, JANUARY)
    with writing(engine) as connection:
        connection.execute(update(model_versions).values(sha256="0" * 64))
    assert "not the one that was stored" in champion(engine, settings, JANUARY)[1]


def test_the_key_is_made_once_by_many_at_once_and_is_ours_to_read_alone(settings: Settings) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: registry._key(settings), range(64)))
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert stat.S_IMODE((settings.home / registry.KEY).stat().st_mode) == 0o600
    assert [path.name for path in settings.home.iterdir()] == [registry.KEY]


def test_of_processes_that_all_find_no_key_the_first_to_make_one_wins(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert len({registry._key(settings) for _ in range(3)}) == 1


def test_a_training_killed_before_its_row_leaves_no_trace_and_the_next_completes_it(
    engine: Engine, settings: Settings, good: Trained
) -> None:
    with pytest.raises(KeyboardInterrupt), writing(engine, alone="models") as connection:
        store(connection, settings, good, JANUARY)
        raise KeyboardInterrupt
    assert versions(engine).is_empty()
    assert champion(engine, settings, JANUARY) == (None, "no model was trained by then; run train.")
    (settings.home / "models" / "x").mkdir()
    version = stored(engine, settings, good, JANUARY)
    assert champion(engine, settings, JANUARY)[0] is not None
    assert statuses(engine) == {version: "champion"}


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_storing_leaves_what_the_next_one_completes(
    engine: Engine, settings: Settings, good: Trained
) -> None:
    code = (
        "import os, signal, pathlib\n"
        "from dealwatch.scoring import registry\n"
        "from dealwatch.scoring.trial import Trained\n"
        "from dealwatch.settings import Settings\n"
        "replace = os.replace\n"
        "def once(*names):\n"
        "    replace(*names)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.replace = once\n"
        f"settings = Settings(home=pathlib.Path({str(settings.home)!r}))\n"
        f"registry._write_files(settings, 'v', b'half', {{'version': 'v'}})\n"
    )
    run = subprocess.run([sys.executable, "-c", code], env=os.environ)
    assert run.returncode == -9
    assert (settings.home / "models" / "v" / registry.ARTEFACT).read_bytes() == b"half"
    assert not (settings.home / "models" / "v" / registry.MANIFEST).exists()
    registry._write_files(settings, "v", b"whole", {"version": "v"})
    assert (settings.home / "models" / "v" / registry.ARTEFACT).read_bytes() == b"whole"


def test_another_verdict_on_the_same_forest_is_another_version(
    engine: Engine, settings: Settings, good: Trained
) -> None:
    strict = replace(good, may_alert=False, reason="no evidence: the gate was raised.")
    assert stored(engine, settings, good, JANUARY) != stored(engine, settings, strict, JANUARY)
    assert champion(engine, settings, JANUARY) == (None, "no evidence: the gate was raised.")
