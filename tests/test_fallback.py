"""A model that fails gives way to the one before it, and that one to rules: scores are always made."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import delete

from dealwatch import jobs
from dealwatch.errors import ModelUnusable
from dealwatch.scoring.artefacts import ARTEFACT, MANIFEST, _signature
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, model_health
from dealwatch.warehouse import connect, writing
from small_company import MORNING, SmallCompany, grown, promoted_by_hand, rows

DAY = timedelta(days=1)
Harm = Callable[[Settings, Path], object]


def scored(settings: Settings) -> pl.DataFrame:
    """The morning, scored as for the first time."""
    engine = connect(settings)
    with writing(engine) as connection:
        connection.execute(delete(deal_scores))
    engine.dispose()
    jobs.score(settings, as_of=MORNING)
    return rows(settings, deal_scores)


def signed_anew(settings: Settings, folder: Path, **changes: object) -> None:
    """A manifest that is ours, and tells of another world."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    del manifest["signature"]
    (folder / MANIFEST).write_text(json.dumps(manifest | {"signature": _signature(settings, manifest)}))


def the_file(_: Settings, folder: Path) -> None:
    (folder / ARTEFACT).write_bytes((folder / ARTEFACT).read_bytes()[:1000])


def the_manifest(_: Settings, folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"metrics": {"auc": 0.99}}))


def the_version(settings: Settings, folder: Path) -> None:
    signed_anew(settings, folder, **{"scikit-learn": "0.1"})


def the_fact_list(settings: Settings, folder: Path) -> None:
    facts = json.loads((folder / MANIFEST).read_text())["facts"]
    signed_anew(settings, folder, facts=facts[1:])


@pytest.mark.parametrize("harm", [the_file, the_manifest, the_version, the_fact_list])
def test_scores_are_made_by_the_model_before_and_then_by_rules(
    small_company: SmallCompany, tmp_path: Path, harm: Harm
) -> None:
    settings = small_company.copied(tmp_path)
    first, second = small_company.versions
    whole = scored(settings)
    assert whole["model_version"].unique().to_list() == [second] and whole.height > 20
    harm(settings, settings.home / "models" / second)
    by_the_first = scored(settings)
    assert by_the_first["model_version"].unique().to_list() == [first]
    assert by_the_first["method"].unique().to_list() == ["hybrid"]
    harm(settings, settings.home / "models" / first)
    by_rules = scored(settings)
    assert by_rules["method"].unique().to_list() == ["rules"]
    for made in (by_the_first, by_rules):
        assert made["deal_id"].equals(whole["deal_id"]) and made["score"].null_count() == 0
        points = [sum(part["points"] for part in json.loads(text)) for text in made["points"]]
        assert points == made["score"].to_list()


def test_a_morning_scored_by_a_model_that_cannot_be_loaded_now_is_kept(
    small_company: SmallCompany, tmp_path: Path
) -> None:
    settings = small_company.copied(tmp_path)
    whole = scored(settings)
    the_version(settings, settings.home / "models" / small_company.versions[1])  # as after an upgrade
    told = jobs.score(settings, as_of=MORNING - DAY, until=MORNING)
    assert (told["kept"], told["mornings"]) == (1, 1)
    found = rows(settings, deal_scores, None)
    assert found.filter(pl.col("as_of") == MORNING).equals(whole.sort("deal_id"))
    earlier = found.filter(pl.col("as_of") < MORNING)
    assert earlier["model_version"].unique().to_list() == [small_company.versions[0]]
    assert jobs.score(settings, as_of=MORNING)["kept"] == 1


def test_a_week_measured_of_a_model_that_cannot_be_loaded_now_is_kept(
    small_company: SmallCompany, tmp_path: Path
) -> None:
    settings = small_company.copied(tmp_path)
    assert jobs.drift(settings, as_of=MORNING)["measured"] > 0
    measured = rows(settings, model_health, None)
    for version in small_company.versions[::-1]:
        the_version(settings, settings.home / "models" / version)
        with pytest.raises(ModelUnusable, match="stays as it is: model .* is not used"):
            jobs.drift(settings, as_of=MORNING)
    assert rows(settings, model_health, None).equals(measured)
    with pytest.raises(ModelUnusable, match="Rules alone"):
        jobs.drift(settings, as_of=MORNING + 7 * DAY)


CHILD = """
import pathlib, resource
from dealwatch import jobs
from small_company import BEFORE, MORNING, settled
settings = settled(pathlib.Path({folder!r}))
jobs.score(settings, as_of=BEFORE)  # by the model before: what a morning needs is loaded and compiled
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
jobs.score(settings, as_of=MORNING)
"""


@pytest.mark.slow
def test_a_model_too_large_for_the_memory_gives_way_to_the_one_before(
    small_company: SmallCompany, tmp_path: Path
) -> None:
    settings = small_company.copied(tmp_path)
    bundle = grown(settings, MORNING)
    zeros = np.zeros(10_000_000)  # 160 MB in two places
    curve = replace(bundle.calibrator, knots=zeros, values=zeros.copy())
    large = promoted_by_hand(settings, replace(bundle, calibrator=curve), MORNING)
    run = subprocess.run(
        [sys.executable, "-c", CHILD.format(folder=str(tmp_path))],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert f"model {large} is not used: loading it failed (MemoryError" in run.stderr
    made = rows(settings, deal_scores)
    assert made["model_version"].unique().to_list() == [small_company.versions[1]] and made.height > 20
