"""When the data is not fit to alert on, what is wrong with it, and how long that holds."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from dealwatch.errors import ExtractRefused
from dealwatch.history.extract import extract
from dealwatch.history.freshness import Incident, age_of_data, incident
from dealwatch.settings import Settings
from dealwatch.tables import extract_runs
from dealwatch.warehouse import reading, writing
from drop_files import DEALS, NOW, at, extracted, with_source, write_drop

TWO = (
    f"{DEALS}a,Alpha,100,Demo,o1,2026-01-05T09:00:00Z,2026-05-01,,\n"
    "b,Beta,200,Won,o2,2026-01-06T09:00:00Z,,2026-02-01T10:00:00Z,won\n"
)


def fault_of(engine: Engine) -> str | None:
    """What is told of the drop after the newest one that could be used."""
    query = select(extract_runs.c.fault).order_by(extract_runs.c.extracted_at.desc()).limit(1)
    with reading(engine) as connection:
        fault: str | None = connection.execute(query).scalar_one()
        return fault


def incident_at(engine: Engine, settings: Settings, moment: str) -> Incident | None:
    with reading(engine) as connection:
        return incident(connection, at(moment), settings=settings)


def test_a_refused_drop_is_an_incident_until_one_can_be_used(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    settings = with_source(either_settings, drop)
    extracted(either_engine, settings, drop, deals=TWO)
    assert incident_at(either_engine, settings, "2026-03-02 06:00") is None
    write_drop(drop, deals="deal_id,phase\na,Demo\n")
    for _ in range(2):
        with pytest.raises(ExtractRefused):
            extract(either_engine, "crm", settings=settings, now=at("2026-03-02 05:30"))
    found = incident_at(either_engine, settings, "2026-03-02 06:00")
    assert found is not None and (found.kind, found.reason) == ("schema", "incident")
    assert found.sentence.startswith(
        "The newest drop could not be used, and scores are of the one before. crm: "
    )
    assert "deals.csv" in found.sentence and "`python -m dealwatch extract`" in found.remedy
    write_drop(drop, deals=TWO.replace("100", "150"))
    extract(either_engine, "crm", settings=settings, now=at("2026-03-02 05:45"))
    assert incident_at(either_engine, settings, "2026-03-02 06:00") is None


def test_a_first_drop_that_is_refused_is_simply_missing(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path / "drop")
    write_drop(tmp_path / "drop", deals="deal_id,phase\na,Demo\n")
    with pytest.raises(ExtractRefused):
        extract(engine, "crm", settings=settings, now=NOW)
    found = incident_at(engine, settings, "2026-03-02 06:00")
    assert found is not None and found.reason == "stale_extract"


def test_an_earlier_moment_asked_again_is_no_fault(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    settings = with_source(settings, drop)
    extracted(engine, settings, drop, deals=TWO)
    write_drop(drop, deals=TWO.replace("100", "150"))
    with pytest.raises(ExtractRefused, match="extract with a later moment"):
        extract(engine, "crm", settings=settings, now=at("2026-02-01 05:00"))
    assert fault_of(engine) is None


def ran(engine: Engine, *deals: int | None) -> None:
    """One remembered run a day, the last one on 2 March."""
    with writing(engine) as connection:
        connection.execute(delete(extract_runs))
        for age, number in enumerate(reversed(deals)):
            day = at("2026-03-02 05:00") - timedelta(days=age)
            row = {
                "extract_id": f"{age}",
                "source": "crm",
                "drop_name": f"{age}",
                "extracted_at": day,
                "state": "remembered",
                "records": 1,
                "quarantined": 0,
                "changes": 1,
                "deals": number,
                "recorded_at": day,
            }
            connection.execute(insert(extract_runs).values(**row))


@pytest.mark.parametrize(
    ("deals", "is_fallen"),
    [
        ((100, 100, 100, 80), True),
        ((100, 100, 100, 81), False),
        ((100, 100, 100, 200), False),
        ((60, 60, 60, 60, 100, 100, 100, 100, 100, 100, 100, 80), True),  # seven runs back, no more
        ((100, 100, 100, 60, 60, 60, 60, 60), False),  # the usual number has followed
        ((100, 10, 100, 100), False),
        ((49, 49, 10), False),  # a small source may fall as it likes
        ((100,), False),
        ((None, None, 10), False),
    ],
)
def test_far_fewer_deals_than_usual_are_an_incident(
    engine: Engine, settings: Settings, tmp_path: Path, deals: tuple[int | None, ...], is_fallen: bool
) -> None:
    settings = with_source(settings, tmp_path)
    ran(engine, *deals)
    found = incident_at(engine, settings, "2026-03-02 06:00")
    assert (found is not None) == is_fallen
    if found is not None:
        assert found.sentence == "The newest extract is incomplete: crm has 80 deals where 100 are usual."


def test_how_far_they_may_fall_is_a_setting(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    for changes, is_fallen in (
        ({"volume_fall_pct": 30}, False),
        ({"volume_minimum": 101}, False),
        ({}, True),
    ):
        alerts = settings.alerts.model_copy(update=changes)
        ran(engine, 100, 100, 75)
        found = incident_at(engine, with_source(settings, tmp_path, alerts=alerts), "2026-03-02 06:00")
        assert (found is not None) == is_fallen


def test_all_that_is_wrong_is_told_at_once(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    settings = with_source(settings, tmp_path)
    ran(engine, 100, 100, 50)
    with writing(engine) as connection:
        connection.execute(update(extract_runs).where(extract_runs.c.deals == 50).values(fault="f.csv: cut"))
    found = incident_at(engine, settings, "2026-03-04 06:00")
    assert found is not None and found.kind == "schema"
    assert [word in found.sentence for word in ("f.csv: cut", "older than 20 hours", "50 deals")] == [
        True
    ] * 3


def test_a_drop_counts_its_usable_deals(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    bad = f"{TWO}c,Gamma,,Demo,,nonsense,,,\n"
    extracted(engine, with_source(settings, tmp_path), tmp_path, deals=bad)
    with reading(engine) as connection:
        assert connection.execute(select(extract_runs.c.deals)).scalars().all() == [2]


@pytest.mark.parametrize(
    ("moment", "line"),
    [
        ("2026-03-02 06:00", ""),
        ("2026-03-03 06:00", "Scores from yesterday's data"),
        ("2026-03-05 06:00", "Scores from data of 3 days ago"),
    ],
)
def test_data_of_an_earlier_day_is_told_in_one_line(
    engine: Engine, settings: Settings, tmp_path: Path, moment: str, line: str
) -> None:
    settings = with_source(settings, tmp_path)
    ran(engine, 2)
    with reading(engine) as connection:
        assert age_of_data(connection, at(moment), settings=settings) == line
