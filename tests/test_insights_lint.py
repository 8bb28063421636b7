"""What a review refuses to say: each check of the lint on a claim that is fine but for one thing."""

from dataclasses import replace

import pytest

from dealwatch.insights.lint import Claim, judged
from dealwatch.insights.measure import Measure
from dealwatch.insights.review import Finding
from dealwatch.insights.wording import interval, listed, shown

RATE = Measure("win_rate", 0.543, 1640, low=0.519, high=0.567)
FINE = Finding(
    "mix_shift", "region", f"The mix moved it: {shown(RATE)}.", (RATE,), "bridge", "", "", 1.0, p=0.001
)


def reasons(*claims: Claim) -> list[str]:
    return [one.refusal for one in judged(claims)[1]]


def test_a_claim_with_n_and_interval_that_chance_does_not_make_is_said() -> None:
    said, refused = judged([Claim(FINE)])
    assert [one.q for one in said] == [0.001] and refused == []
    assert FINE.sentence == "The mix moved it: 54.3% (51.9% to 56.7%, 1,640 deals)."


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("It is 54.3% of 1,640.", "'51.9% to 56.7%' of win_rate"),
        ("It is 54.3% (51.9% to 56.7%).", "'1,640' of win_rate"),
        ("It is 54.3% (51.9% to 56.7%) of 11,640 or 1,640.5.", "'1,640' of win_rate"),
        ("It moved.", "'51.9% to 56.7%' of win_rate"),
    ],
)
def test_no_sentence_without_n_and_interval(sentence: str, missing: str) -> None:
    assert reasons(Claim(replace(FINE, sentence=sentence))) == [f"the sentence does not say {missing}"]


def test_a_figure_without_an_interval_is_refused_with_its_own_reason() -> None:
    unknown = Measure.null("cycle", "its deals were followed for 40 days so far.")
    mixed = Measure.null("rapv", "amounts are in several currencies (EUR, USD), which cannot be added up")
    bare = Measure("rep", 0.4, 9, why="too few deals for an interval")
    claims = [Claim(replace(FINE, measures=(RATE, one))) for one in (unknown, mixed, bare)]
    assert reasons(*claims) == [
        "its deals were followed for 40 days so far",
        "amounts are in several currencies (EUR, USD), which cannot be added up",
        "too few deals for an interval",
    ]
    assert reasons(Claim(replace(FINE, measures=()))) == ["it has no figure"]


@pytest.mark.parametrize("column", ["last_stage", "cycle_days", "closed_at"])
def test_what_is_known_only_at_the_close_explains_nothing(column: str) -> None:
    (reason,) = reasons(Claim(FINE, explains=("region", column)))
    assert reason.startswith(f"{column} is known only when a deal has closed")
    assert judged([Claim(FINE, explains=("region",))])[1] == []


def test_a_share_of_few_deals_is_an_anecdote_but_a_count_is_not() -> None:
    few = replace(RATE, n=29)
    claim = replace(FINE, measures=(few,), sentence=shown(few))
    assert reasons(Claim(claim)) == ["it rests on 29 deals; below 30 a share is an anecdote"]
    assert reasons(Claim(replace(claim, p=None))) == []


def test_what_is_known_to_be_wrong_with_a_claim_goes_first() -> None:
    assert reasons(Claim(FINE, against="true, and no risk.")) == ["true, and no risk"]


def test_one_p_value_is_judged_among_all_that_were_looked_at() -> None:
    """p = 0.04 alone would pass; among twenty comparisons chance makes one such."""
    alone = Claim(replace(FINE, p=0.04))
    assert reasons(alone) == []
    others = [Claim(replace(FINE, p=0.3 + n / 30)) for n in range(19)]
    said, refused = judged([alone, *others])
    assert said == [] and len(refused) == 20
    assert "one of 20 comparisons (q = 0.80" in refused[0].refusal
    assert refused[0].p == 0.04


def test_a_claim_refused_for_another_reason_is_no_comparison() -> None:
    """Or a page of nonsense would hide what is real."""
    bad = [Claim(replace(FINE, p=0.9), against="bent") for _ in range(30)]
    said, _ = judged([Claim(replace(FINE, p=0.09)), *bad])
    assert [one.q for one in said] == [0.09]


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure("x", -3.14, 9, low=-4.0, high=0.04, kind="points"), "−3.1 points (−4.0 to 0.0, 9 deals)"),
        (
            Measure("x", 1_234_567, 1, low=9_999, high=999_700, kind="money"),
            "EUR 1.2m (9,999 to 1.0m, 1 deal)",
        ),
        (Measure("x", 5.0, 2, low=5.0, high=5.0, kind="count"), "5 (2 deals)"),
        (Measure("forecast_bias", -0.02, 7, low=-0.1, high=0.06, kind="ratio"), "−2% (−10% to +6%, 7 deals)"),
        (Measure("x", 62.04, 7, low=58.2, high=120.4, kind="days"), "62.0 days (58.2 to 120, 7 deals)"),
    ],
)
def test_figures_are_written_as_a_person_writes_them(measure: Measure, text: str) -> None:
    low, high = sorted((measure.low or 0.0, measure.high or 0.0))
    assert shown(replace(measure, low=low, high=high), "EUR") == text
    assert interval(measure) in text


def test_words_are_listed() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
