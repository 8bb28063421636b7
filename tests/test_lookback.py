"""Deals of which only the end is known are no history, and whoever reads numbers about them is told."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealwatch import jobs
from dealwatch.history.lookback import nothing_to_look_back_on
from dealwatch.settings import Settings
from dealwatch.warehouse import reading

DEALS = 30


def put_drop(folder: Path, *, has_history: bool) -> None:
    """Closed deals that all went from Qualify by Demo to their end; with or without the file that says so."""
    folder.mkdir()
    with (folder / "deals.csv").open("w", newline="") as file:
        rows = [(f"d{n}", "Closed", "2026-01-05", "2026-03-05", ("won", "lost")[n % 2]) for n in range(DEALS)]
        csv.writer(file).writerows([("deal_id", "stage", "created_at", "closed_at", "outcome"), *rows])
    if not has_history:
        return
    with (folder / "deal_history.csv").open("w", newline="") as file:
        steps = [("2026-02-01", "Qualify", "Demo"), ("2026-03-05", "Demo", "Closed")]
        moves = [(f"d{n}", when, "stage", old, new) for n in range(DEALS) for when, old, new in steps]
        csv.writer(file).writerows([("deal_id", "changed_at", "field", "old_value", "new_value"), *moves])


@pytest.fixture(params=[False, True], ids=["deals alone", "with history"])
def has_history(request: pytest.FixtureRequest, settings: Settings, engine: Engine, tmp_path: Path) -> bool:
    put_drop(tmp_path / "drop", has_history=request.param)
    ours = Settings(home=settings.home, sources={"crm": {"path": tmp_path / "drop"}})
    jobs.extract(ours, now=datetime(2026, 4, 1, 5, tzinfo=UTC))
    return bool(request.param)


def test_deals_without_a_history_are_told_as_such_beside_the_numbers(
    settings: Settings, engine: Engine, has_history: bool
) -> None:
    with reading(engine) as connection:
        early = nothing_to_look_back_on(connection, datetime(2026, 2, 15, tzinfo=UTC))
        told = nothing_to_look_back_on(connection, datetime(2026, 4, 2, tzinfo=UTC))
    assert early == ""  # nothing has closed, so nothing is judged
    assert (told == "") == has_history
    trained = jobs.train(settings, as_of=datetime(2026, 4, 2, 4, tzinfo=UTC))
    assert trained.get("history", "") == told
    if not has_history:
        assert told.startswith(
            "There was no history to look at: of 30 deals closed by 2026-04-02, 0 are known"
        )
        assert "Add deal_history.csv" in told


def test_past_scores_of_deals_without_a_history_are_judged_under_that_reservation(
    settings: Settings, has_history: bool
) -> None:
    jobs.score(settings, as_of=datetime(2026, 2, 10, 5, tzinfo=UTC))
    judged = jobs.evaluate(settings, first=date(2026, 2, 10), until=date(2026, 3, 10)).splitlines()
    assert ("  There was no history to look at: of 30 deals" in judged[3]) != has_history, judged
    assert "judged on outcomes" in judged[0] and "all of those deals have ended" in judged[1]
