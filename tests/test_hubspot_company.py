"""A simulated company as a HubSpot account and as files: two ways to one ledger."""

from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from dealwatch import migrations
from dealwatch.company.world import simulate
from dealwatch.history.extract import extract
from dealwatch.knobs import RecordMapping
from dealwatch.knobs import Source as FileSource
from dealwatch.settings import Settings
from dealwatch.tables import activities, deal_changes
from dealwatch.warehouse import connect, reading
from hubspot_samples import NIGHT
from standins.hubspot_company import account_of, deal_id_of, person_of, stage_ids
from standins.hubspot_portal import Portal
from test_hubspot_ledger import all_of, moment, night, source


def test_a_company_comes_to_the_same_ledger_by_hubspot_as_by_files(
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
    extract(other, "crm", settings=by_files, now=moment(NIGHT))
    with source(account_of(drop, now=NIGHT), settings) as (_, own):
        words = {id_: name for name, id_ in stage_ids().items()}
        told = own.sources["crm"].model_copy(update={"deals": RecordMapping(values={"stage": words})})
        counts = night(engine, own.model_copy(update={"sources": {"crm": told}}), Portal(), NIGHT)
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
    touches = [activities.c.deal_id, activities.c.happened_at, activities.c.kind, activities.c.direction]
    assert len(all_of(engine, *touches)) == len(all_of(other, *touches)) > 500
    other.dispose()


def tracked(engine: Engine) -> list[tuple[Any, ...]]:
    c = deal_changes.c
    columns = (c.deal_id, c.field, c.old_value, c.new_value, c.happened_at, c.known_at)
    fields = {"stage", "amount", "close_date", "owner_id", "outcome"}
    with reading(engine) as connection:
        rows = [tuple(row) for row in connection.execute(select(*columns))]
    return sorted((row for row in rows if row[1] in fields), key=str)
