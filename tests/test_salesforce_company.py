"""A simulated company as a Salesforce org and as files: two ways to one ledger."""

from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import Engine, select

from dealwatch import migrations
from dealwatch.company.world import simulate
from dealwatch.history.extract import extract
from dealwatch.knobs import RecordMapping
from dealwatch.knobs import Source as FileSource
from dealwatch.settings import Settings
from dealwatch.tables import activities
from dealwatch.warehouse import connect, reading
from standins.salesforce import salesforce_server
from standins.salesforce_drop import deal_id_of, org_of_drop, person_of
from test_hubspot_company import tracked
from test_salesforce_nights import night, of_crm, reader_of

NIGHT = datetime(2026, 3, 2, 4, tzinfo=UTC)
OWN = RecordMapping(columns={"next_step_on": "Next_Step_On__c"})


def test_a_company_comes_to_the_same_ledger_by_salesforce_as_by_files(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """What is tracked and what is known when, deal by deal; other fields are told another way."""
    drop = tmp_path / "drop"
    simulate("planted", deals=150, days=240, seed=3, until=date(2026, 3, 2), out=drop)
    by_files = settings.model_copy(
        update={"sources": {"crm": FileSource(path=drop)}, "time_zone": "UTC", "home": tmp_path / "files"}
    )
    other = connect(by_files)
    migrations.upgrade(other)
    extract(other, "crm", settings=by_files, now=NIGHT)
    with salesforce_server(org_of_drop(drop, now=NIGHT)) as server:
        counts = night(engine, of_crm(settings, own=OWN), server, reader_of(server, own=OWN, page_rows=5000))
    assert counts["quarantined"] == 0
    expected = [
        (
            deal_id_of(row[0]),
            row[1],
            *(person_of(v) if row[1] == "owner_id" else v for v in row[2:4]),
            *row[4:],
        )
        for row in tracked(other)
    ]
    assert tracked(engine) == sorted(expected, key=str)
    with reading(engine) as ours, reading(other) as theirs:
        touches = [len(one.execute(select(activities.c.activity_id)).all()) for one in (ours, theirs)]
    assert touches[0] == touches[1] > 500
    other.dispose()
