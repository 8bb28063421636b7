"""No sentence says of a deal what its facts contradict, and none argues against its points."""

import random
import re
from typing import Any

import pytest

from dealwatch.scoring.facts import GROUPS, facts_at
from dealwatch.scoring.reasons import GROUP_WORDS, SPEAKS_FROM, sentence
from dealwatch.scoring.win_rates import PRIOR_DEALS, share_won
from dealwatch.settings import Settings
from ledger_rows import at, deal, ledger

MONDAY = at("2026-03-02 06:00")
SEGMENTS = {
    "industry": "industry",
    "region": "region",
    "product_type": "product",
    "lead_source": "lead source",
}

MEANT = {
    "half of",
    "so far",
    "in the last 30 days",
    "no touch for",
    "step passed",
    "no next step",
    "closed in a year",
}
BROKEN = re.compile(r"None|nan|-0(?!\.[1-9])|\b0 (days|times)|(?<![\d,.])1 (days|times|touches|open deals)")


def segment(column: str, name: str, won: int, closed: int, overall: float) -> dict[str, object]:
    """What a deal knows of one of its segments."""
    rate = (won + PRIOR_DEALS * overall) / (closed + PRIOR_DEALS)
    return {column: name, f"{column}_win_rate": rate, f"{column}_closed_deals": float(closed)}


@pytest.mark.parametrize(
    ("group", "facts", "said"),
    [
        (
            "stage",
            {"stage": "Proposal", "days_in_stage": 21.2, "stage_p50_days": 8.6},
            "21 days in Proposal; half of the deals that move on from there took 9 days or less",
        ),
        (
            "stage",
            {"stage": "Proposal", "days_in_stage": 21.2, "stage_p50_days": 9.4},  # a rule's sentence says 9
            "21 days in Proposal; half of the deals that move on from there took 9 days or less",
        ),
        ("stage", {"stage": "Proposal", "days_in_stage": 2.0, "stage_p50_days": 9.0}, "2 days in Proposal"),
        ("stage", {"stage": "Proposal", "days_in_stage": 9.4, "stage_p50_days": 9.2}, "9 days in Proposal"),
        (
            "stage",
            {"stage": "Demo", "days_in_stage": 4.0, "moves_back": 2.0},
            "moved back twice so far, 4 days in Demo",
        ),
        ("stage", {"stage": None, "moves_back": 0.0}, "no stage known"),
        (
            "close_date",
            {"days_to_close": 9.0, "times_pushed": 3.0, "days_pushed": 45.0},
            "close date moved later 3 times, 45 days in all",
        ),
        ("close_date", {"days_to_close": -12.0}, "close date passed 12 days ago"),
        (
            "close_date",
            {"days_to_close": -1.0, "times_pushed": 1.0, "days_pushed": 4.0},
            "close date passed 1 day ago, moved later once before",
        ),
        ("close_date", {"times_pushed": 1.0}, "no close date known, after it was moved later once"),
        ("close_date", {}, "no close date known"),
        ("activity", {"days_since_touch": 23.4}, "no touch for 23 days"),
        (
            "activity",
            {"days_since_touch": 23.4, "has_next_step": False},
            "no touch for 23 days, no next step planned",
        ),
        (
            "activity",
            {"days_since_touch": 23.4, "has_next_step": False, "days_to_next_step": -1.0},
            "no touch for 23 days, its next step passed 1 day ago",
        ),
        ("activity", {"days_since_touch": 1.0, "touches_30d": 1.0}, "1 touch in the last 30 days"),
        ("activity", {"has_next_step": True, "days_to_next_step": 3.0}, "touches unknown"),
        (
            "activity",
            {"age_days": 2.1, "days_since_touch": 2.1, "touches_30d": 0.0, "touches_all": 0.0},
            "no touch so far, created 2 days ago",
        ),
        (
            "activity",
            {"age_days": 12.0, "days_since_touch": 1.0, "touches_30d": 2.0, "touches_all": 2.0},
            "2 touches so far, created 12 days ago",
        ),
        ("owner", {"owner_id": "u", "owner_win_rate": 0.1, "win_rate": 0.5}, "its owner's load is unknown"),
        ("owner", {"owner_id": "u", "owner_open_deals": 1.0}, "the only open deal of its owner"),
        ("owner", {"owner_id": "u", "owner_open_deals": 7.0}, "one of 7 open deals of its owner"),
        ("owner", {"owner_id": "u", "owner_changes": 2.0}, "handed to another owner twice"),
        (
            "segment",
            {
                "win_rate": 0.35,
                **segment("lead_source", "Partner", 10, 45, 0.35),
                **segment("region", "North", 34, 100, 0.35),
            },
            "lead source Partner: 22% of 45 closed in a year were won, 35% of all",
        ),
        (
            "segment",  # nothing to say of a handful, nor of what speaks for the deal
            {
                "win_rate": 0.5,
                **segment("lead_source", "Partner", 0, 9, 0.5),
                **segment("region", "North", 60, 100, 0.5),
            },
            "region North, lead source Partner",
        ),
        ("segment", {"win_rate": 0.5, **segment("region", "Brazil", 0, 0, 0.5)}, "region Brazil"),
        ("segment", {"win_rate": 0.5, **segment("region", "US", 499, 1000, 0.5)}, "region US"),
        (
            "amount",
            {"amount": 45000.0, "currency": "EUR", "is_large": True},
            "amount 45,000 EUR, a large deal",
        ),
        (
            "amount",
            {"amount": 80.0, "amount_change_pct": -20.0},
            "amount 80, down 20% since it was first known",
        ),
        ("amount", {"amount": 0.4}, "amount 0.40"),
        (
            "age",
            {"age_days": 92.0, "segment_win_p50_days": 41.0},
            "created 92 days ago; half of the wins among deals like this took 41 days or less",
        ),
        ("age", {"age_days": 5.0, "segment_win_p50_days": 41.0}, "created 5 days ago"),
        ("calendar", {"days_to_quarter_end": 9.0}, "9 days to the end of the quarter"),
        ("calendar", {"days_to_quarter_end": 0.0}, "the last day of the quarter"),
    ],
)
def test_a_group_says_it_with_the_numbers_that_matter(
    group: str, facts: dict[str, object], said: str
) -> None:
    assert sentence(group, facts) == said


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_has_words_even_when_nothing_is_known(group: str) -> None:
    assert sentence(group, {}) and "None" not in sentence(group, {})
    assert GROUP_WORDS[group].action.endswith(".")


def made_up(seed: int) -> dict[str, Any]:
    """A deal's facts as they can stand together; any of them may be unknown."""
    draw = random.Random(seed)

    def days() -> float:
        return draw.choice([0.0, 0.4, 1.0, 1.4, 30.0, draw.uniform(0, 60), draw.uniform(0, 400)])

    age = days()
    touched = sorted(draw.uniform(0, 60) for _ in range(draw.randint(0, 4)))  # days ago; some before the deal
    step, pushed, overall = draw.choice([None, draw.randint(-40, 40)]), draw.randint(0, 4), draw.random()
    row: dict[str, Any] = {
        "age_days": age,
        "segment_win_p50_days": days(),
        "stage": "Demo",
        "days_in_stage": min(age, days()),
        "stage_p50_days": days(),
        "moves_back": float(draw.randint(0, 3)),
        "amount": draw.choice([-0.0, 0.4, -0.5, 9.996, draw.uniform(-10, 1e7)]),
        "amount_change_pct": draw.choice([0.0, 0.9, draw.uniform(-100, 900)]),
        "is_large": draw.random() < 0.5,
        "days_to_close": float(draw.randint(-5, 5)),
        "times_pushed": float(pushed),
        "days_pushed": float(pushed * draw.randint(1, 30)),
        "days_since_touch": touched[0] if touched else age,
        "touches_30d": float(sum(ago <= 30 for ago in touched)),
        "touches_all": float(len(touched)),
        "has_next_step": step is not None and step >= 0,
        "days_to_next_step": None if step is None else float(step),
        "owner_id": "ann",
        "owner_open_deals": float(draw.randint(1, 4)),
        "owner_changes": float(draw.choice([0, 0, 1, 3])),
        "owner_win_rate": draw.random(),
        "win_rate": overall,
        "days_to_quarter_end": float(draw.randint(0, 3)),
    }
    for column in SEGMENTS:
        closed = draw.randint(0, 60)
        row |= segment(column, f"the {column}", draw.randint(0, closed), closed, overall)
    return {name: None if draw.random() < 0.1 else value for name, value in row.items()}


@pytest.mark.parametrize("seed", range(4))
def test_no_sentence_contradicts_the_facts_of_its_deal(seed: int) -> None:
    said = set()
    for number in range(1_500):
        row = made_up(seed * 10_000 + number)
        _is_true(row)
        said |= {word for group in GROUPS for word in MEANT if word in sentence(group, row)}
    assert said == MEANT, "a claim that was never made was never checked"


def _is_true(row: dict[str, Any]) -> None:
    for group in GROUPS:
        assert not BROKEN.search(sentence(group, row)), sentence(group, row)
    _comparison_is_true(sentence("age", row), row["age_days"], row["segment_win_p50_days"])
    _comparison_is_true(sentence("stage", row), row["days_in_stage"], row["stage_p50_days"])
    _activity_is_true(sentence("activity", row), row)
    _segment_is_true(sentence("segment", row), row)
    assert not re.search(r"%|won|lost|rate", sentence("owner", row))  # the deal, not the person
    if row["stage"] is None:
        assert sentence("stage", row) == "no stage known"
    if " ago" in sentence("close_date", row):
        assert row["days_to_close"] < 0


def _comparison_is_true(said: str, days: float | None, norm: float | None) -> None:
    found = re.search(r"([\d,]+) days.*; half of .* took ([\d,]+) days? or less$", said)
    assert bool(found) == ("half of" in said)
    if found:
        shown = [int(number) for number in found.groups()]
        assert shown == [round(days), max(1, round(norm))] and shown[0] > shown[1]


def _activity_is_true(said: str, row: dict[str, Any]) -> None:
    if "next step passed" in said:
        assert f"passed {round(-row['days_to_next_step'])} day" in said and row["has_next_step"] is False
    if "no next step" in said:
        assert row["has_next_step"] is False and row["days_to_next_step"] is None
    if "in the last 30 days" in said:  # a deal that is younger has been there for all of them only if touched
        assert row["age_days"] is None or row["age_days"] >= 30 or row["touches_30d"] != row["touches_all"]
        assert said.startswith("no touch" if row["touches_30d"] == 0 else f"{row['touches_30d']:.0f} touch")
    if "so far" in said:
        assert said.startswith("no touch" if row["touches_all"] == 0 else f"{row['touches_all']:.0f} touch")
        assert row["age_days"] is not None
    if said.startswith("no touch for"):
        assert row["days_since_touch"] >= 7 and row["touches_all"] != 0 or row["age_days"] is None


def _segment_is_true(said: str, row: dict[str, Any]) -> None:
    found = re.fullmatch(r"(.+) the (\w+): (\d+)% of (\d+) closed in a year were won, (\d+)% of all", said)
    if found is None:
        assert "%" not in said and "won" not in said
        return
    words, column, share, closed, overall = found.groups()
    assert words == SEGMENTS[column] and row[column] is not None
    assert int(closed) == row[f"{column}_closed_deals"] >= SPEAKS_FROM
    won = (int(closed) + PRIOR_DEALS) * row[f"{column}_win_rate"] - PRIOR_DEALS * row["win_rate"]
    assert abs(won / int(closed) - int(share) / 100) < 0.00501
    assert int(share) < int(overall) and f"{row['win_rate']:.0%}" == f"{overall}%"


def test_what_a_young_deal_in_a_region_without_closed_deals_is_told() -> None:
    deals = {
        f"{outcome}{n}": deal("2026-01-01", region="US", owner_id="ann", outcome=[("2026-02-01", outcome)])
        for outcome, times in (("won", 12), ("lost", 18))
        for n in range(times)
    }
    deals["lost0"]["region"] = deals["lost1"]["region"] = [("2026-01-01", "Brazil")]
    deals["young"] = deal("2026-02-28 06:00", region="Chile", owner_id="bob", next_step_on="2026-03-01")
    deals["known"] = deal("2026-02-01", region="US", owner_id="ann")
    deals["few"] = deal("2026-02-01", region="Brazil", owner_id="ann")
    known = ledger(deals, touches={"known": ["2026-03-01"]})
    found = {
        row["deal_id"]: row for row in facts_at(known, [MONDAY], settings=Settings()).iter_rows(named=True)
    }
    young = found["young"]
    assert (
        sentence("activity", young) == "no touch so far, created 2 days ago, its next step passed 1 day ago"
    )
    assert (
        sentence("segment", young) == "region Chile" and sentence("segment", found["few"]) == "region Brazil"
    )
    assert sentence("owner", young) == "the only open deal of its owner"
    assert sentence("segment", found["known"]) == "region US"  # 12 of 28, above 12 of 30
    assert (young["win_rate"], young["region_closed_deals"], found["few"]["region_closed_deals"]) == (
        0.4,
        0.0,
        2.0,
    )
    assert share_won(found["known"]["region_win_rate"], 28, 0.4) == 12 / 28
