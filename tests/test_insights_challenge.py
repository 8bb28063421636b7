"""On the challenge's data, which carry no signal: what is said, what is refused, and why each headline is."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conftest import REAL_DATA
from dealwatch import migrations
from dealwatch.history.extract import extract
from dealwatch.insights.composing import compose
from dealwatch.insights.known import Known, read
from dealwatch.insights.review import Finding, Review
from dealwatch.settings import load
from dealwatch.warehouse import connect, reading

GOLDEN = Path(__file__).parent / "goldens" / "review.challenge.txt"
EXAMPLES = Path(__file__).resolve().parents[1] / "include" / "examples"
MOMENT = datetime(2024, 8, 1, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[datetime], Known]]:
    """What was known of the challenge's deals at a moment."""
    data = REAL_DATA / "challenge"
    if not data.is_dir():
        pytest.skip(f"real data is not at {data}; set DEALWATCH_REAL_DATA")
    told = load(EXAMPLES / "challenge.toml")
    source = told.sources["challenge"].model_copy(update={"path": data})
    changes = {"home": tmp_path_factory.mktemp("challenge"), "time_zone": "UTC"}
    settings = told.model_copy(update={**changes, "sources": {"challenge": source}})
    engine = connect(settings)
    migrations.upgrade(engine)
    extract(engine, "challenge", settings=settings, now=MOMENT)
    with reading(engine) as connection:
        yield lambda moment: read(connection, moment, settings)
    engine.dispose()


@pytest.fixture(scope="module")
def review(known: Callable[[datetime], Known]) -> Review:
    return compose(known(MOMENT), "week")


def summary(review: Review) -> str:
    """What is said and which usual headlines are refused, in full; others are counted by reason."""
    counts = Counter((one.kind, sort(one)) for one in review.refused if not is_usual(one))
    lines = ["SAID", *(f"{one.kind}: {one.sentence}" for one in review.findings)]
    lines += ["", "NOTES", *review.caveats]
    for one in filter(is_usual, review.refused):
        lines += ["", f"REFUSED {one.kind}: {one.sentence}", f"  because {one.refusal}"]
    lines += ["", "REFUSED BESIDES"]
    lines += [f"{count:3} {kind}: {why}" for (kind, why), count in sorted(counts.items())]
    return "\n".join([*lines, "", review.footer, ""])


def is_usual(one: Finding) -> bool:
    return one.kind.startswith("published_")


def sort(one: Finding) -> str:
    """The reason without its figures."""
    for known in ("chance explains it", "such deals were created"):
        if known in one.refusal:
            return known
    return one.refusal


def test_the_summary_is_as_agreed(review: Review) -> None:
    told = summary(review)
    assert told == GOLDEN.read_text("utf-8"), f"read what changed; if it is right, write it to {GOLDEN}"


def test_nothing_is_said_to_have_moved_or_to_differ(review: Review) -> None:
    assert [one.kind for one in review.findings] == ["win_rate"]
    (calm,) = (one for one in review.refused if one.kind == "nothing_moved")
    assert "0 deals began in 13 weeks to 2024-W30" in calm.refusal, "for want of new deals nobody can tell"
    assert not [one for one in review.findings if one.q is not None]


def test_while_deals_came_in_it_says_that_nothing_moved(known: Callable[[datetime], Known]) -> None:
    then = compose(known(datetime(2024, 4, 1, 6, tzinfo=UTC)), "month")
    assert "nothing_moved" in [one.kind for one in then.findings[:2]]
    assert not [one for one in then.findings if one.q is not None]


@pytest.mark.parametrize(
    ("kind", "figure", "why"),
    [
        # Published as +214%, of 35.8 and 112.4 days: a day of closing counts to its end here, a day more.
        ("published_cycle", "+208% by close date (36.8 to 113.4 days)", "By creation, cohorts take 6"),
        ("published_rep_gap", "chance alone sets them", "as large in"),
        ("published_leakage", "chi-square", "the source tells the stage only when a deal has closed"),
        ("published_slow_deals", "flags half of all deals (49", "known only when a deal has closed"),
        ("published_concentration", "2,370 equal ones", "no risk"),
        ("published_gap", "off by −", "without the aging by"),
        ("published_savings", "never measured", "assumed"),
        ("published_low_chance", "no open deal has a chance", "passed its gate"),
    ],
)
def test_no_usual_headline_is_repeated_and_each_refusal_has_its_figures(
    review: Review, kind: str, figure: str, why: str
) -> None:
    (told,) = (one for one in review.refused if one.kind == kind)
    assert figure in told.refusal and why in told.refusal


def test_reps_industries_and_sources_are_told_apart_by_nothing(review: Review) -> None:
    by_chance = {one.subject for one in review.refused if "chance explains it" in one.refusal}
    assert {"industry", "region", "product_type", "lead_source"} <= by_chance
    (rep,) = (one for one in review.refused if one.kind == "weak_rep")
    assert rep.refusal.startswith("no evidence of differences between reps")
    assert not re.search(r"owner|rep_", " ".join(one.sentence for one in review.said_to("everyone")))
