"""A stored model is trusted only after its check and never half there; its failure fails no morning."""

import hashlib
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import SecretStr, ValidationError
from sqlalchemy import Engine, update
from upath import UPath

from dealwatch.errors import ModelUnusable, SettingsError
from dealwatch.keys import KEY
from dealwatch.knobs import Scoring
from dealwatch.scoring import artefacts
from dealwatch.scoring.artefacts import ARTEFACT, MANIFEST
from dealwatch.settings import Settings
from dealwatch.tables import model_versions
from dealwatch.warehouse import writing
from model_samples import FEBRUARY, JANUARY, MARCH, champion, good, other, promoted, serving, stored, versions

OURS = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def break_file(folder: Path, mark: Path) -> None:
    (folder / ARTEFACT).write_bytes(pickle.dumps(Trap(mark)))


def cut_file(folder: Path, mark: Path) -> None:
    content = (folder / ARTEFACT).read_bytes()
    (folder / ARTEFACT).write_bytes(content[: len(content) // 2])


def flip_bit(folder: Path, mark: Path) -> None:
    content = bytearray((folder / ARTEFACT).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / ARTEFACT).write_bytes(content)


def remove_file(folder: Path, mark: Path) -> None:
    (folder / ARTEFACT).unlink()


def remove_manifest(folder: Path, mark: Path) -> None:
    (folder / MANIFEST).unlink()


def empty_manifest(folder: Path, mark: Path) -> None:
    (folder / MANIFEST).write_text("{}")


def garbage_manifest(folder: Path, mark: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff[1, 2")


def manifest_that_is_a_list(folder: Path, mark: Path) -> None:
    (folder / MANIFEST).write_text("[1]")


def change_manifest(folder: Path, mark: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"metrics": {"auc": 0.99}}))


def bad_signature(folder: Path, mark: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"signature": "0" * 64}))


def forge_manifest(folder: Path, mark: Path) -> None:
    break_file(folder, mark)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"] = hashlib.sha256((folder / ARTEFACT).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


HARMS = [
    break_file,
    cut_file,
    flip_bit,
    remove_file,
    remove_manifest,
    empty_manifest,
    garbage_manifest,
    manifest_that_is_a_list,
    change_manifest,
    bad_signature,
    forge_manifest,
]


@pytest.fixture
def two(engine: Engine, settings: Settings) -> tuple[str, str]:
    """Two champions, one after the other."""
    return promoted(engine, settings, good(), JANUARY), promoted(engine, settings, other(), FEBRUARY)


@pytest.mark.parametrize("harm", HARMS)
def test_a_broken_or_tampered_model_is_never_opened_and_the_one_before_serves_then_rules(
    engine: Engine, settings: Settings, two: tuple[str, str], tmp_path: Path, harm: Any
) -> None:
    first, second = two
    harm(settings.home / "models" / second, tmp_path / "opened")
    model, reason = champion(engine, settings, MARCH)
    assert model is not None and model.version == first
    assert f"model {second} is not used: " in reason and "train again" in reason
    harm(settings.home / "models" / first, tmp_path / "opened")
    model, reason = champion(engine, settings, MARCH)
    assert model is None and first in reason and second in reason and reason.endswith("Rules alone.")
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("sklearn.__version__", "9.9.9", "trained with scikit-learn"),
        ("np.__version__", "9.9.9", "trained with numpy"),
        ("platform.python_version_tuple", lambda: ("9", "9", "9"), "trained with python"),
        ("MODEL_FACTS", artefacts.MODEL_FACTS[:-1], "trained with facts"),
    ],
)
def test_a_model_of_another_version_or_other_facts_is_refused(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: str, value: Any, told: str
) -> None:
    promoted(engine, settings, good(), JANUARY)
    monkeypatch.setattr(f"dealwatch.scoring.artefacts.{place}", value)
    model, reason = champion(engine, settings, JANUARY)
    assert model is None and told in reason and reason.endswith("Rules alone.")


def test_a_signed_model_does_not_pass_under_another_versions_name(
    engine: Engine, settings: Settings, two: tuple[str, str]
) -> None:
    first, second = two
    for name in (ARTEFACT, MANIFEST):
        old = settings.home / "models" / first / name
        (settings.home / "models" / second / name).write_bytes(old.read_bytes())
    model, reason = champion(engine, settings, FEBRUARY)
    assert model is not None and model.version == first and "not the one that was stored" in reason


def test_another_key_refuses_what_ours_signed(engine: Engine, settings: Settings) -> None:
    ours = settings.model_copy(update={"signing_key": SecretStr("ours")})
    promoted(engine, ours, good(), JANUARY)
    assert champion(engine, ours, JANUARY)[0] is not None
    theirs = settings.model_copy(update={"signing_key": SecretStr("theirs")})
    assert "not signed with our key" in champion(engine, theirs, JANUARY)[1]
    assert not (settings.home / KEY).exists()


@pytest.mark.parametrize("signature", ["é", "\ud800", "", None, 7, ["a"], {}])
def test_a_damaged_signature_fails_no_morning(engine: Engine, settings: Settings, signature: object) -> None:
    version = promoted(engine, settings, good(), JANUARY)
    path = settings.home / "models" / version / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "signature": signature}))
    assert "not signed with our key" in champion(engine, settings, JANUARY)[1]


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"trained_as_of": FEBRUARY}])
def test_a_changed_row_in_the_warehouse_is_noticed(
    engine: Engine, settings: Settings, change: dict[str, Any]
) -> None:
    promoted(engine, settings, good(), JANUARY)
    with writing(engine) as connection:
        connection.execute(update(model_versions).values(**change))
    assert "not the one that was stored" in champion(engine, settings, MARCH)[1]


def test_what_is_whole_but_cannot_answer_meets_no_morning(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed by us and loadable, yet its forest takes other columns, or its answer is no probability."""
    first = promoted(engine, settings, good(), JANUARY)
    bundle = other().bundle
    assert bundle is not None
    columns, horizons = bundle.pipeline["columns"], bundle.horizons
    assert horizons is not None
    few = {"rates": horizons.leaves.rates[:, :1]}  # of one leaf
    for told, harm in (
        ("which is not in", replace(bundle, calibrator=None)),
        ("is not used", replace(bundle, pipeline=columns)),
        ("nan where a probability", replace(bundle, calibrator=replace(bundle.calibrator, slope=np.nan))),
        ("is not used", replace(bundle, horizons=replace(horizons, leaves=replace(horizons.leaves, **few)))),
        ("is not used", {"a": "dictionary"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(artefacts, "_try_out", lambda _: None)
            broken = promoted(engine, settings, replace(other(), bundle=harm, reason=told), FEBRUARY)
        model, reason = champion(engine, settings, MARCH)
        assert model is not None and model.version == first
        assert f"model {broken} is not used: loading it failed" in reason


def test_the_key_is_made_once_by_many_at_once_and_is_ours_to_read_alone(settings: Settings) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: artefacts._key(settings), range(64)))
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert stat.S_IMODE((settings.home / KEY).stat().st_mode) == 0o600
    assert [path.name for path in settings.home.iterdir()] == [KEY]


def test_of_processes_that_all_find_no_key_the_first_to_make_one_wins(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert len({artefacts._key(settings) for _ in range(3)}) == 1


def test_a_mount_without_links_gets_one_key_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: artefacts._key(settings), range(32)))
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert stat.S_IMODE((settings.home / KEY).stat().st_mode) == 0o600
    assert [path.name for path in settings.home.iterdir()] == [KEY]


@pytest.mark.parametrize("harm", ["empty", "short", "folder"])
def test_a_damaged_key_is_refused_with_the_remedy_and_signs_nothing(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr("dealwatch.keys.time.sleep", lambda _: None)
    promoted(engine, settings, good(), JANUARY)
    path = settings.home / KEY
    path.unlink()
    path.mkdir() if harm == "folder" else path.write_bytes(b"" if harm == "empty" else b"k" * 31)
    model, reason = champion(engine, settings, JANUARY)
    assert (
        model is None
        and f"is not used: the key that signs models and links, {path}," in reason
        and "put it back from a backup" in reason
    )
    with pytest.raises(ModelUnusable, match="put it back from a backup"):
        stored(engine, settings, other(), FEBRUARY)


def test_a_training_killed_before_its_row_leaves_no_trace_and_the_next_completes_it(
    engine: Engine, settings: Settings
) -> None:
    with pytest.raises(KeyboardInterrupt), writing(engine, alone="models") as connection:
        from dealwatch.scoring.registry import store

        store(connection, settings, good(), JANUARY)
        raise KeyboardInterrupt
    assert versions(engine).is_empty()
    assert champion(engine, settings, JANUARY) == (None, "no model was trained by then; run train.")
    (settings.home / "models" / "x").mkdir()
    version = promoted(engine, settings, good(), JANUARY)
    assert serving(engine, settings, JANUARY) == version


def test_lost_files_come_back_when_the_same_training_is_repeated(engine: Engine, settings: Settings) -> None:
    version = promoted(engine, settings, good(), JANUARY)
    remove_file(settings.home / "models" / version, settings.home)
    assert serving(engine, settings, JANUARY) is None
    assert stored(engine, settings, good(), JANUARY) == version
    assert serving(engine, settings, JANUARY) == version


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_storing_leaves_what_the_next_one_completes(
    settings: Settings,
) -> None:
    code = (
        "import os, signal, pathlib\n"
        "from datetime import UTC, datetime\n"
        "from dealwatch.scoring import artefacts\n"
        "from dealwatch.settings import Settings\n"
        "replace = os.replace\n"
        "def once(*names):\n"
        "    replace(*names)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.replace = once\n"
        f"settings = Settings(home=pathlib.Path({str(settings.home)!r}))\n"
        "artefacts.keep(settings, 'v', b'half', trained_as_of=datetime(2026, 1, 1, tzinfo=UTC), metrics={})\n"
    )
    run = subprocess.run([sys.executable, "-c", code], env=OURS)
    assert run.returncode == -signal.SIGKILL
    folder = settings.home / "models" / "v"
    assert (folder / ARTEFACT).read_bytes() == b"half"
    assert not (folder / MANIFEST).exists()
    artefacts.keep(settings, "v", b"whole", trained_as_of=JANUARY, metrics={})
    assert (folder / ARTEFACT).read_bytes() == b"whole" and (folder / MANIFEST).exists()


def shared(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"signing_key": SecretStr("ours"), "scoring": Scoring(model_store=url)})


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_workers_share_models_through_any_store(
    engine: Engine, settings: Settings, tmp_path: Path, kind: str
) -> None:
    url = "memory://bucket/models" if kind == "memory" else f"file://{tmp_path}/store"
    one, two = (shared(settings.model_copy(update={"home": tmp_path / name}), url) for name in ("one", "two"))
    version = promoted(engine, one, good(), JANUARY)
    assert serving(engine, two, JANUARY) == version
    assert not (tmp_path / "one").exists() and not (tmp_path / "two").exists()
    assert sorted(path.name for path in (UPath(url) / version).iterdir()) == [MANIFEST, ARTEFACT]
    (UPath(url) / version / MANIFEST).unlink()
    assert "cannot be read" in champion(engine, two, JANUARY)[1]


def test_a_store_that_cannot_be_reached_leaves_rules_alone(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = shared(settings, "memory://unreachable/models")
    promoted(engine, there, good(), JANUARY)

    class Unreachable(Exception):
        """What a client of an object store might raise."""

    def fail(*_: Any, **__: Any) -> Any:
        raise Unreachable("no route to host")

    pauses: list[float] = []
    monkeypatch.setattr("dealwatch.scoring.artefacts.time.sleep", pauses.append)
    opens = MemoryFileSystem._open
    monkeypatch.setattr(MemoryFileSystem, "_open", fail)
    model, reason = champion(engine, there, JANUARY)
    assert model is None and "Unreachable: no route to host" in reason and len(pauses) == 3

    def mend(_: float) -> None:
        monkeypatch.setattr(MemoryFileSystem, "_open", opens)

    monkeypatch.setattr("dealwatch.scoring.artefacts.time.sleep", mend)
    assert champion(engine, there, JANUARY)[0] is not None, "one lost packet swapped the model"


def test_a_store_without_its_driver_says_what_to_install(engine: Engine, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="nothing://.*driver"):
        stored(engine, shared(settings, "nothing://bucket"), good(), JANUARY)
    with pytest.raises(ValidationError, match="holds credentials") as refusal:
        shared(settings, "s3://key:canary@bucket")
    assert "canary" not in str(refusal.value)
    with pytest.raises(ValidationError, match="DEALWATCH_SIGNING_KEY"):
        Settings(scoring={"model_store": "memory://bucket"})


def test_the_stored_bytes_are_those_that_joblib_reads(engine: Engine, settings: Settings) -> None:
    version = stored(engine, settings, good(), JANUARY)
    with (settings.home / "models" / version / ARTEFACT).open("rb") as file:
        assert joblib.load(file).calibrator.method == good().bundle.calibrator.method  # type: ignore[union-attr]
