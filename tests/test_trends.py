"""A stage or segment is worse where more is lost than chance and the intake explain, and only there."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.trends.record import TrendRecord, record_of
from dealwatch.alerts.trends.rule import SEGMENT, STAGE, name_of
from dealwatch.delivery.messages import TrendCard
from dealwatch.delivery.wording import card_lines
from dealwatch.insights.keeping import trend_rows
from dealwatch.insights.looked import compare
from dealwatch.insights.periods import periods
from dealwatch.insights.trends import ALARM, is_worse, trends
from dealwatch.settings import Settings
from insight_samples import SETTINGS, closed_deal, known
from ledger_rows import at
from trend_alarms import Watched, lines, rate, watched

T = at("2026-07-06 06:00")  # a Monday
TIMES = periods(T, "week", SETTINGS)
WEEKS = {"window": "2026-05-20", "before": "2026-02-20", "long": "2025-11-20"}


def closed(won: int, lost: int, when: str, **told: Any) -> list[dict[str, Any]]:
    """So many deals that closed about then, created as many days before."""
    moment = at(WEEKS[when])
    return [
        closed_deal(n < won, moment + timedelta(hours=n), created_at=moment - timedelta(days=20), **told)
        for n in range(won + lost)
    ]


def table(*rows: dict[str, Any], spells: list[tuple[Any, ...]] | None = None) -> pl.DataFrame:
    told = replace(known(*rows, spells=spells or []), as_of=T)
    return trends(compare(told, TIMES))


def region(rows: pl.DataFrame, name: str) -> dict[str, Any]:
    return rows.filter(subject=f"region: {name}").row(0, named=True)


# A history long enough that what closed is no choice of quick deals.
OLD = closed_deal(True, at("2025-03-01"), created_at=at("2024-09-01"), region="US")
STEADY = [OLD, *closed(120, 180, "before", region="US"), *closed(120, 180, "window", region="US")]


def test_a_segment_that_wins_less_while_the_others_do_not_opens() -> None:
    rows = table(
        *STEADY, *closed(150, 150, "before", region="EMEA"), *closed(75, 225, "window", region="EMEA")
    )
    found = region(rows, "EMEA")
    assert found["level"] == 1 and found["q"] < ALARM and found["value"] == pytest.approx(-25.0)
    assert found["low"] < -25 < found["high"] < 0 and found["n"] == 600
    assert found["sentence"].startswith(
        "EMEA (region) wins less: from 50.0% of 300 to 25.0% of 300, a change of"
    )
    assert region(rows, "US")["level"] is None


@pytest.mark.parametrize("name", ["R" * 700, "R\n\u202eR " * 99, "\u202e"])
def test_a_name_of_any_length_leaves_the_figures_in_the_message(name: str) -> None:
    """Whatever the CRM calls it, the sentence is one line that a message need not cut."""
    rows = table(*STEADY, *closed(150, 150, "before", region=name), *closed(75, 225, "window", region=name))
    sentence = region(rows, name)["sentence"]
    told = card_lines(TrendCard(subject="region: R", name=name, headline=sentence)).headline
    assert told == sentence and "a change of \u221225.0 points" in told and told.endswith("600 deals).")


def test_where_everybody_wins_less_no_segment_is_blamed() -> None:
    rows = table(
        OLD,
        *closed(150, 150, "before", region="US"),
        *closed(75, 225, "window", region="US"),
        *closed(150, 150, "before", region="EMEA"),
        *closed(75, 225, "window", region="EMEA"),
    )
    assert (
        set(rows.filter(pl.col("subject").str.starts_with("region"))["level"]) == {0}
        or not (rows["level"] == 1).any()
    )


def test_a_segment_that_wins_more_opens_nothing() -> None:
    rows = table(
        *STEADY, *closed(75, 225, "before", region="EMEA"), *closed(150, 150, "window", region="EMEA")
    )
    assert region(rows, "EMEA")["level"] is None and region(rows, "EMEA")["q"] < ALARM


def test_an_intake_that_jumped_stands_against_it_and_is_told() -> None:
    many = closed(75, 525, "window", region="EMEA")
    rows = table(*STEADY, *closed(150, 150, "before", region="EMEA"), *many)
    assert region(rows, "EMEA")["level"] != 1
    assert "such deals were created" in region(rows, "EMEA")["refusal"]


def test_few_deals_are_an_anecdote() -> None:
    rows = table(*STEADY, *closed(25, 4, "before", region="EMEA"), *closed(2, 27, "window", region="EMEA"))
    assert region(rows, "EMEA")["level"] is None and "anecdote" in region(rows, "EMEA")["refusal"]


def test_it_stays_open_while_it_is_worse_than_the_year_before_the_window() -> None:
    before = closed(150, 150, "long", region="EMEA")
    worse = [*closed(75, 225, "before", region="EMEA"), *closed(75, 225, "window", region="EMEA")]
    us = [*closed(120, 180, "long", region="US"), *STEADY]
    found = region(table(*us, *before, *worse), "EMEA")
    assert found["level"] == 0 and found["has_lasted"] is True
    better = [*closed(75, 225, "before", region="EMEA"), *closed(140, 160, "window", region="EMEA")]
    found = region(table(*us, *before, *better), "EMEA")
    assert found["level"] is None and found["has_lasted"] is False


def through(
    when: str, lost: int, passed: int, first: int
) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    """Deals that entered A, of which so many are lost from it and the others go on to be won."""
    moment = at(WEEKS[when])
    rows, spells = [], []
    for n in range(lost + passed):
        begun, over = moment - timedelta(days=10), moment + timedelta(hours=n)
        rows.append(
            closed_deal(n >= lost, over, created_at=begun, last_stage="A" if n < lost else "B", days=10)
        )
        name = f"{first + n:06}"
        spells.append((name, "A", begun, moment, "lost" if n < lost else "forward", 1))
        if n >= lost:
            spells.append((name, "B", moment, over, "won", 1))
    return rows, spells


def test_a_stage_that_loses_more_of_its_entries_opens() -> None:
    first, then = through("before", 60, 240, 0), through("window", 150, 150, 300)
    rows = table(*first[0], *then[0], OLD, spells=[*first[1], *then[1]])
    found = rows.filter(rule=STAGE, subject="stage: A").row(0, named=True)
    assert found["level"] == 1 and found["value"] == pytest.approx(30.0)
    assert found["sentence"].startswith(
        "More deals are lost from A: from 20.0 to 50.0 of 100 deals that entered"
    )
    alike = through("before", 60, 240, 0), through("window", 60, 240, 300)
    rows = table(*alike[0][0], *alike[1][0], OLD, spells=[*alike[0][1], *alike[1][1]])
    assert rows.filter(rule=STAGE)["level"].null_count() == rows.filter(rule=STAGE).height == 2


@given(bad=st.integers(0, 300), whole=st.integers(30, 300), more=st.integers(0, 300))
def test_the_same_share_is_never_worse_and_more_losses_never_less(bad: int, whole: int, more: int) -> None:
    bad = min(bad, whole)
    assert not is_worse((bad, whole), (bad, whole), 0.1)
    after = min(bad + more, whole)
    if is_worse((bad, whole), (after, whole), 0.05):
        assert is_worse((bad, whole), (whole, whole), 0.05) and is_worse((bad, whole), (after, whole), 0.1)


def test_a_stage_that_lost_more_than_entered_it_is_not_certain_of_anything() -> None:
    assert not is_worse((38, 40), (60, 40), 0.05)
    assert is_worse((20, 40), (60, 40), 0.05)


def test_rows_carry_the_fingerprint_of_the_alert_that_they_would_be() -> None:
    rows = trend_rows(table(*STEADY, *closed(9, 9, "window", region="EMEA")), T, SETTINGS)
    row = rows.filter(subject="region: EMEA").row(0, named=True)
    assert row["fingerprint"] == digest(SETTINGS.tenant, SEGMENT, "", "region: EMEA") and row["as_of"] == T
    assert name_of("lead_source: Out: bound") == "Out: bound (lead source)"


def opened(week: int, subject: str = "stage: A") -> tuple[str, str, datetime]:
    return STAGE, subject, T + timedelta(weeks=week)


def test_the_record_counts_alerts_that_are_13_weeks_old_and_could_be_judged() -> None:
    def day(week: int) -> date:
        return (T + timedelta(weeks=week)).date()

    openings = [opened(0), opened(1), opened(2), opened(3, "stage: B"), (SEGMENT, "stage: A", T), opened(20)]
    lasted = {(STAGE, "stage: A", day(13)): True, (STAGE, "stage: A", day(14)): False}
    lasted |= {(STAGE, "stage: A", day(15)): True, (STAGE, "stage: B", day(16)): None}  # type: ignore[dict-item]
    settings = Settings(time_zone="UTC")
    told = record_of(STAGE, openings, lasted, T + timedelta(weeks=30), settings)
    assert told == TrendRecord(3, 2)
    assert told.line.startswith(
        "2 of 3 such alerts still held 13 weeks later, by deals that ended since (21%"
    )
    assert record_of(STAGE, openings, lasted, T + timedelta(weeks=14), settings) == TrendRecord(2, 1)
    assert record_of(STAGE, openings, lasted, T, settings).line.startswith("not measured yet")


def test_alarms_a_year_have_poissons_interval() -> None:
    assert rate(0, 10) == (0.0, 0.0, pytest.approx(0.369, abs=1e-3))
    assert rate(2, 10) == (0.2, pytest.approx(0.024, abs=1e-3), pytest.approx(0.722, abs=1e-3))


def test_the_planted_leak_is_found_and_nothing_else() -> None:
    found = watched("leaking", deals=8_000, weeks=2, seed=3, last=date(2026, 9, 14))
    assert [subject for subject, _ in found.opened] == [f"stage: {found.truth['stage_leak']['stage']}"]


@pytest.mark.slow
def test_in_companies_where_nothing_happens_there_is_hardly_an_alert() -> None:
    """The whole measurement (docs/review.md) takes half an hour: tests/trend_alarms.py."""
    found = [watched("null", deals=4_000, weeks=13, seed=seed) for seed in (1, 2, 3)]
    assert sum(len(one.opened) for one in found) <= 1


def test_the_measurement_prints_the_interval_that_the_page_tells() -> None:
    (*each, told) = lines("null", [Watched((("stage: A", T),), 26, {}), *[Watched((), 26, {})] * 19])
    assert each[:2] == ["company 1: stage: A 2026-07-06", "company 2: no alert"]
    assert told == "0.10 false alarms a company and year (0.003 to 0.56), over 10.0 years"
