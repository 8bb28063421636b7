"""The review's page and CSV files: safe whatever names there are, whole by themselves, and the same twice."""

import base64
import csv
import hashlib
import html as markup
import io
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dealwatch.insights import bi, page
from dealwatch.insights.composing import compose
from dealwatch.insights.review import Finding, Review
from dealwatch.settings import Settings
from test_insights_charts import company

EVIL = '<script>alert("x")</script> & {{ 7*7 }}'


@pytest.fixture(scope="module")
def review() -> Review:
    told = compose(company(), "week")
    rep = Finding("weak_rep", "Rep Smith", f"Rep Smith won 0 {EVIL}.", (), "reps", "Do.", "not", 1.0)
    named = (replace(rep, audience="managers"), *told.findings)
    refused = (replace(rep, audience="managers", state="refused", refusal="no proof"), *told.refused)
    return replace(told, findings=named, refused=refused, caveats=(EVIL,))


@pytest.fixture(scope="module")
def pages(review: Review) -> dict[str, str]:
    return {"everyone": page.html(review, "everyone"), "managers": page.html(review, "managers")}


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags_of(text_: str) -> list[tuple[str, dict[str, Any]]]:
    reader = Reader()
    reader.feed(text_)
    return reader.tags


def test_a_page_loads_nothing_runs_nothing_and_its_policy_allows_its_style(pages: dict[str, str]) -> None:
    for told in pages.values():
        tags = tags_of(told)
        assert not {"script", "link", "iframe", "form"} & {name for name, _ in tags}
        sources = [of["src"] for _, of in tags if "src" in of]
        assert sources and all(one.startswith("data:image/png;base64,") for one in sources)
        assert not [of for _, of in tags if "style" in of or any(key.startswith("on") for key in of)]
        (style,) = re.findall(r"<style>(.*?)</style>", told, re.S)
        made = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = next(of["content"] for _, of in tags if of.get("http-equiv") == "Content-Security-Policy")
        assert policy == page.POLICY and f"'sha256-{made}'" in policy


def test_names_are_text_and_never_markup(pages: dict[str, str]) -> None:
    assert "<script>" not in pages["managers"] and markup.escape(EVIL, quote=False)[:12] in pages["managers"]
    assert "{{ 7*7 }}" in pages["managers"]


def test_only_managers_read_of_reps(pages: dict[str, str]) -> None:
    assert "Rep Smith" in pages["managers"] and "Rep Smith" not in pages["everyone"]
    assert "For managers" not in pages["everyone"]


def test_all_that_is_said_or_refused_is_on_the_page(review: Review, pages: dict[str, str]) -> None:
    shown = " ".join(markup.unescape(pages["managers"]).split())
    for one in (*review.findings, *review.refused):
        assert " ".join(one.sentence.split()) in shown
    assert all(of["alt"] for name, of in tags_of(pages["managers"]) if name == "img")
    assert review.footer in shown


def test_the_archive_is_the_same_twice_and_reps_are_for_this_user_alone(
    review: Review, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, time_zone="UTC")
    paths = page.archive(review, settings)
    first = {path.name: path.read_bytes() for path in paths}
    assert {path.name: path.read_bytes() for path in page.archive(review, settings)} == first
    span = review.span.name
    ends = ("html", "managers.html", "metrics.csv", "segments.csv", "reps.csv")
    assert (
        set(first)
        == {f"{span}.{end}" for end in ends}
        == {one.name for one in (tmp_path / "reviews").iterdir()}
    )
    assert first[f"{span}.html"].decode() == page.html(review, "everyone")
    assert b"Rep Smith" not in first[f"{span}.html"] and b"Rep Smith" in first[f"{span}.managers.html"]
    private = {path.name for path in paths if stat.S_IMODE(path.stat().st_mode) == 0o600}
    assert private == {f"{span}.managers.html", f"{span}.reps.csv"}
    assert page.where(paths, "managers").count(".managers.html") == 1
    assert ".managers.html" not in page.where(paths, "everyone")


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "|calc", "\uff1d1", "\n=1", "\u00a0=1"]
)
def test_no_spreadsheet_runs_a_cell(cell: str) -> None:
    told = pl.DataFrame({"a": [cell]}).select(bi.harmless(pl.col("a")))["a"][0]
    assert told == f"'{cell}"


def test_csv_reads_back_to_the_rows_of_the_tables(review: Review) -> None:
    files = bi.csv_files(review, "managers")
    assert set(files) == {"metrics.csv", "segments.csv", "reps.csv"}
    assert set(bi.csv_files(review, "everyone")) == {"metrics.csv", "segments.csv"}
    rows = list(csv.DictReader(io.StringIO(files["metrics.csv"])))
    assert {row["span"] for row in rows} == {review.span.name}
    rate = next(row for row in rows if (row["name"], row["scope"]) == ("win_rate", "window"))
    assert float(rate["value"]) == pytest.approx(review.headline[0].value)
    segments = list(csv.DictReader(io.StringIO(files["segments.csv"])))
    assert "'<b>" not in {row["segment"][:4] for row in segments}
    assert {"<b>=cmd|' /C calc'!A0"} <= {row["segment"] for row in segments}
