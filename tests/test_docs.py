"""The docs cannot lie: generated pages equal the code; each command, target and link they name exists."""

import argparse
import re
from pathlib import Path

import pytest

from dealwatch.__main__ import _parser
from dealwatch.reference import pages

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def verbs() -> dict[str, argparse.ArgumentParser]:
    (found,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found.choices)


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_the_code_it_describes(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages()[name], (
        "run `python -m dealwatch reference --out docs`"
    )


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS)
    named = set(re.findall(r"python -m dealwatch ([a-z]+(?:-[a-z]+)*)", text))
    assert named == set(verbs())


def test_every_option_in_the_docs_exists() -> None:
    for path in DOCS:
        text = path.read_text(encoding="utf-8")
        for verb, rest in re.findall(r"python -m dealwatch ([a-z]+(?:-[a-z]+)*)([^`\n|]*)", text):
            known = {option for action in verbs()[verb]._actions for option in action.option_strings}
            assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"{path.name}: {verb}{rest}"


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {t for path in DOCS for t in re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8"))}
    assert named and named <= targets


def test_the_map_calls_no_folder_empty_that_is_not() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^(\w+)/ {2,}(.+)$", readme, re.MULTILINE))
    assert {"dags", "plugins", "tests", "docs"} <= set(told)
    assert [
        name for name, words in told.items() if "nothing" in words and list((ROOT / name).glob("*.py"))
    ] == []


def test_every_link_in_the_docs_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in DOCS
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in link and not (path.parent / link).exists()
    ]
    assert len(DOCS) > 5 and broken == []
