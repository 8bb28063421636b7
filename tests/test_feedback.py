"""What people said of a rule's alerts stands beside its record, and changes nothing of it."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from alert_samples import LONG_AGO, MONDAY, at
from answers_desk import NOON, Asked, tell_ann, told_settings
from dealwatch import jobs
from dealwatch.alerts.episodes.feedback import with_feedback
from dealwatch.alerts.evidence.record_table import record_table
from dealwatch.settings import Settings
from dealwatch.tables import deliveries, rule_evidence
from dealwatch.warehouse import reading, rows_of, writing

NOTHING = {"told": 0, "acknowledged": 0, "snoozed": 0, "already_knew": 0, "false_alarm": 0, "useful": 0}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return told_settings(tmp_path / "home")


def test_feedback_is_counted_by_rule_and_level_of_what_was_told(engine: Engine, settings: Settings) -> None:
    tell_ann(engine, settings)
    with writing(engine) as connection:
        connection.execute(update(deliveries).values(state="sent", provider_ref="D01:1.0"))
    house = Asked(engine, settings)
    for kind in ("acknowledged", "false_alarm", "false_alarm"):
        house.submit(house.link(kind))
    house.close()
    before = house.rows(rule_evidence)
    later, much_later = at("2026-03-09"), at("2027-06-07")
    records = [
        {"rule": "stage_stall", "level": 1, "segment": ""},
        {"rule": "stage_stall", "level": 1, "segment": "product=A"},
        {"rule": "stage_stall", "level": 2, "segment": ""},
        {"rule": "lifecycle", "level": 1, "segment": ""},
    ]
    with reading(engine) as connection:
        found = with_feedback(connection, records, later, settings=settings)
        early = with_feedback(connection, records, NOON - timedelta(hours=1), settings=settings)
        late = with_feedback(connection, records, much_later, settings=settings)
    assert found[0]["feedback"] == {**NOTHING, "told": 1, "acknowledged": 1, "false_alarm": 1}
    assert "feedback" not in found[1]
    assert [row["feedback"] for row in found[2:]] == [NOTHING, NOTHING]
    assert early[0]["feedback"] == {**NOTHING, "told": 1}
    assert late[0]["feedback"] == NOTHING
    assert house.rows(rule_evidence) == before


def test_what_never_went_out_was_not_told(engine: Engine, settings: Settings) -> None:
    tell_ann(engine, settings)
    with reading(engine) as connection:
        assert [row.state for row in rows_of(connection, select(deliveries))] == ["queued"]
        records = [{"rule": "stage_stall", "level": 1, "segment": ""}]
        (found,) = with_feedback(connection, records, at("2026-03-09"), settings=settings)
    assert found["feedback"] == NOTHING


def test_the_printed_records_hold_the_feedback(engine: Engine, settings: Settings) -> None:
    tell_ann(engine, settings)
    rows = jobs.track_records(settings, as_of=LONG_AGO)
    assert rows and all(row["feedback"]["told"] == 0 for row in rows)


def test_an_answer_given_on_the_day_of_the_record_is_beside_it(engine: Engine, settings: Settings) -> None:
    tell_ann(engine, settings)
    with writing(engine) as connection:
        connection.execute(update(deliveries).values(state="sent", provider_ref="D01:1.0"))
        connection.execute(update(rule_evidence).values(measured_as_of=at(MONDAY), months=12))
    house = Asked(engine, settings)
    house.submit(house.link("false_alarm"))
    house.close()
    rows = jobs.track_records(settings, as_of=at(MONDAY))
    (row,) = [row for row in rows if row["level"] == 1]
    assert row["feedback"] == {**NOTHING, "told": 1, "false_alarm": 1}
    assert "1 told: 1 false_alarm\n" in record_table(rows)
