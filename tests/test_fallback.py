"""A model that fails gives way to the one before it, and that one to rules: scores are always made."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dealwatch import jobs
from dealwatch.scoring.artefacts import ARTEFACT, MANIFEST, _signature
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from small_company import MORNING, SmallCompany, grown, promoted_by_hand, rows

Harm = Callable[[Settings, Path], object]


def scored(settings: Settings) -> pl.DataFrame:
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
