"""A condition is told in the day's numbers: which clauses hold, and by how much one does not."""

from typing import Any

import pytest

from dealwatch.alerts.rules.clauses import clauses, shown
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.settings import Settings


@pytest.mark.parametrize(
    ("when", "facts", "lacks"),
    [
        ("days_in_stage > 9", {"days_in_stage": 4.0}, "needs days_in_stage > 9, has 4"),
        (
            "days_in_stage > stage_p80_days",
            {"days_in_stage": 4.25, "stage_p80_days": 9.0},
            "needs days_in_stage > stage_p80_days (9), has 4.25",
        ),
        (
            "age_days > 1.5 * segment_win_p50_days - 3",
            {"age_days": 30.0, "segment_win_p50_days": 40.0},
            "needs age_days > 1.5 * segment_win_p50_days - 3 (57), has 30",
        ),
        ("stage = 'Legal'", {"stage": "Demo"}, "needs stage = 'Legal', has 'Demo'"),
        ("owner_win_rate < 0.2", {"owner_win_rate": 0.412345}, "needs owner_win_rate < 0.2, has 0.412"),
        (
            "days_in_stage > stage_p80_days",
            {"days_in_stage": 4.0},
            "cannot be told: stage_p80_days is unknown",
        ),
        ("30 < days_in_stage", {"days_in_stage": 4.0}, "needs 30 < days_in_stage 4"),
        (
            "amount BETWEEN 1 AND 2",
            {"amount": 5.0},
            "needs amount BETWEEN 1 AND 2 (here amount is 5)",
        ),
        (
            "(is_large OR amount > 9)",
            {"is_large": False, "amount": 5.0},
            "needs (is_large OR amount > 9) (here is_large is no, amount is 5)",
        ),
    ],
)
def test_a_clause_that_does_not_hold_says_by_how_much(when: str, facts: dict[str, Any], lacks: str) -> None:
    (clause,) = clauses(when, facts)
    assert (clause.holds, clause.lacks) == (False, lacks)


def test_a_clause_that_holds_has_its_numbers_in_it() -> None:
    facts = {"days_in_stage": 21.0, "stage_p80_days": 9.0, "has_next_step": None}
    first, second, third = clauses(
        "days_in_stage > 1 AND days_in_stage > stage_p80_days"
        " AND (has_next_step IS NULL OR NOT has_next_step)",
        facts,
    )
    assert (first.told, second.told) == ("days_in_stage 21 > 1", "days_in_stage 21 > stage_p80_days 9")
    assert third.holds and third.told.endswith("(here has_next_step is unknown)")


def test_an_and_within_between_or_brackets_or_beside_an_or_parts_nothing() -> None:
    facts = {"amount": 5.0, "age_days": 1.0, "is_large": True}
    assert [
        len(clauses(when, facts))
        for when in (
            "amount BETWEEN 1 AND 9 AND age_days > 0",
            "(amount > 1 AND age_days > 0) AND is_large",
            "amount > 1 AND age_days > 0 OR is_large",
            "stage = 'this AND that' AND amount > 1",
        )
    ] == [2, 2, 1, 2]


def test_the_clauses_of_the_shipped_rules_can_all_be_told() -> None:
    conditions = [level.when for rule in load_rules(Settings().alerts.rules) for level in rule.levels]
    told = [clause for when in conditions for clause in clauses(when, {})]
    assert len(told) >= len(conditions) > 5
    assert not any(clause.holds for clause in told if "IS NULL" not in clause.told)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "unknown"), (float("nan"), "unknown"), (True, "yes"), (0.0, "0"), (12, "12"), ("a", "'a'")],
)
def test_values_are_written_as_people_do(value: object, words: str) -> None:
    assert shown(value) == words
