"""Episodes are runs of signals; any order of work on the mornings ends in the same ones."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
import pytest

from alert_samples import at
from dealwatch.alerts.episodes.fold import Background, Episodes, fold
from dealwatch.alerts.fingerprints import digest
from dealwatch.settings import Settings
from dealwatch.warehouse import INSTANT

MORNINGS = [f"2026-03-{day:02d}" for day in range(1, 32)]
Signal = tuple[str, int]  # day, level


def episodes(
    held: Sequence[Signal],
    mornings: Sequence[str] = MORNINGS,
    *,
    endings: Sequence[tuple[str, str]] = (),
    amounts: dict[str, float] | None = None,
    retired: dict[str, datetime] | None = None,
    scopes: dict[str, str] | None = None,
) -> Episodes:
    """The fold of one rule's signals for one deal."""
    signals = pl.DataFrame(
        [
            {
                "as_of": at(day),
                "rule": "stall",
                "deal_id": "d",
                "level": level,
                "scope": (scopes or {}).get(day, ""),
                "owner_id": "ann",
                "amount": (amounts or {}).get(day, 100.0),
                "score": 60,
            }
            for day, level in held
        ],
        infer_schema_length=None,
    )
    ends = pl.DataFrame(
        [{"deal_id": "d", "known_at": at(day), "ending": ending} for day, ending in endings],
        schema={"deal_id": pl.String, "known_at": INSTANT, "ending": pl.String},
    )
    known = Background(endings=ends, retired=retired or {})
    return fold(signals, [at(day) for day in mornings], known, settings=Settings())


def events(made: Episodes) -> list[tuple[str, str, str]]:
    rows = made.events.sort("at", "kind")
    return [
        (f"{at_:%m-%d}", kind, reason) for at_, kind, reason in rows.select("at", "kind", "reason").rows()
    ]


def test_a_run_of_mornings_is_one_episode_until_the_first_without_it() -> None:
    made = episodes([("2026-03-02", 1), ("2026-03-03", 1), ("2026-03-04", 1)])
    (alert,) = made.alerts.to_dicts()
    assert (alert["opened_at"], alert["last_seen_at"]) == (at("2026-03-02"), at("2026-03-04"))
    assert (alert["state"], alert["resolved_at"], alert["resolution"]) == (
        "resolved",
        at("2026-03-05"),
        "cleared",
    )
    assert events(made) == [("03-02", "opened", "level 1"), ("03-05", "resolved", "cleared")]


def test_a_morning_that_was_not_scored_says_nothing() -> None:
    scored = ["2026-03-02", "2026-03-05", "2026-03-06"]
    made = episodes([("2026-03-02", 1), ("2026-03-05", 1), ("2026-03-06", 1)], scored)
    assert made.alerts["state"].to_list() == ["open"]
    assert events(made) == [("03-02", "opened", "level 1")]


def test_an_episode_that_returns_within_two_weeks_is_the_same_one() -> None:
    made = episodes([("2026-03-02", 1), ("2026-03-17", 2)])
    assert made.alerts.select("opened_at", "level").rows() == [(at("2026-03-02"), 2)]
    assert events(made) == [
        ("03-02", "opened", "level 1"),
        ("03-03", "resolved", "cleared"),
        ("03-17", "escalated", "level 2"),
        ("03-17", "reopened", "level 2"),
        ("03-18", "resolved", "cleared"),
    ]


def test_an_episode_that_returns_later_is_another_one() -> None:
    made = episodes([("2026-03-02", 1), ("2026-03-18", 1)])
    assert sorted(made.alerts["opened_at"]) == [at("2026-03-02"), at("2026-03-18")]
    assert made.alerts["fingerprint"].n_unique() == 1


def test_two_weeks_are_counted_in_days_across_the_change_of_clocks() -> None:
    mornings = [f"2026-03-{d:02d}" for d in range(20, 32)] + [f"2026-04-{d:02d}" for d in range(1, 10)]
    made = episodes([("2026-03-20", 1), ("2026-04-04", 1)], mornings)
    assert made.alerts.height == 1


def test_another_stage_spell_is_another_alert() -> None:
    spells = {"2026-03-02": "Proposal@1", "2026-03-03": "Legal@2"}
    made = episodes([("2026-03-02", 1), ("2026-03-03", 1)], scopes=spells)
    assert made.alerts["fingerprint"].n_unique() == 2


def test_worse_is_an_escalation_once() -> None:
    days = [("2026-03-02", 1), ("2026-03-03", 2), ("2026-03-04", 1), ("2026-03-05", 2), ("2026-03-06", 3)]
    assert [e for e in events(episodes(days)) if e[1] == "escalated"] == [
        ("03-03", "escalated", "level 2"),
        ("03-06", "escalated", "level 3"),
    ]


def test_an_amount_grown_by_a_quarter_is_an_escalation_once() -> None:
    days = [("2026-03-02", 1), ("2026-03-03", 1), ("2026-03-04", 2), ("2026-03-05", 2)]
    amounts = {"2026-03-03": 124.0, "2026-03-04": 125.0, "2026-03-05": 500.0}
    assert [e for e in events(episodes(days, amounts=amounts)) if e[1] == "escalated"] == [
        ("03-04", "escalated", "level 2, amount")
    ]


def test_a_weak_signal_keeps_an_episode_open_but_opens_none() -> None:
    made = episodes([("2026-03-01", 0), ("2026-03-02", 2), ("2026-03-03", 0), ("2026-03-04", 0)])
    (alert,) = made.alerts.to_dicts()
    assert (alert["opened_at"], alert["resolved_at"], alert["level"]) == (
        at("2026-03-02"),
        at("2026-03-05"),
        2,
    )
    assert made.standing["as_of"].to_list() == [at("2026-03-02")]


@pytest.mark.parametrize(
    ("endings", "cause"),
    [
        ([("2026-03-03", "won")], "won"),
        ([("2026-03-03", "lost")], "lost"),
        ([("2026-03-03", "won"), ("2026-03-03", "deleted")], "deleted"),
        ([("2026-03-01", "lost"), ("2026-03-02", "open")], "cleared"),
        ([("2026-03-04", "won")], "cleared"),
        ([], "cleared"),
    ],
)
def test_a_resolution_names_what_was_known_that_morning(endings: list[tuple[str, str]], cause: str) -> None:
    assert episodes([("2026-03-02", 1)], endings=endings).alerts["resolution"].to_list() == [cause]


def test_a_rule_that_is_gone_resolves_what_it_left_open() -> None:
    gone = {"stall": at("2026-03-03")}
    assert episodes([("2026-03-03", 1)], retired=gone).alerts["resolution"].to_list() == ["rule_retired"]
    assert episodes([("2026-03-02", 1)], retired=gone).alerts["resolution"].to_list() == ["cleared"]


def test_rows_in_any_order_are_the_same_episodes() -> None:
    days = [("2026-03-02", 1), ("2026-03-03", 2), ("2026-03-09", 1)]
    one, other = episodes(days), episodes(days[::-1], [*MORNINGS[::-1], *MORNINGS])
    assert one.alerts.equals(other.alerts)
    assert one.events.equals(other.events)
    assert one.standing.equals(other.standing)


def test_names_do_not_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest("a")


def test_nothing_held_is_nothing_to_tell() -> None:
    made = episodes([("2026-03-02", 0)])
    assert made.alerts.is_empty() and made.events.is_empty() and made.standing.is_empty()
