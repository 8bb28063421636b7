"""Sources that share ids, have another name than before, or are of another kind by now."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealwatch.crm.pages import Past, Plan, Table
from dealwatch.crm.sql.queries import refuse_vanished
from dealwatch.errors import ExtractRefused
from dealwatch.history.extract import extract
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.tables import owners, quarantine
from drop_files import DEALS, NOW, write_drop
from hubspot_samples import a_night
from test_hubspot_ledger import all_of

DEAL = DEALS + "{0}1,One,5,New,o1,2026-01-01,,,\n"
OWNERS = "owner_id,name,email\n"


def two_of(settings: Settings, folder: Path, **of_owners: str) -> Settings:
    """Sources a and b, with their owners."""
    sources = {}
    for name, told in of_owners.items():
        write_drop(folder / name, deals=DEAL.format(name), owners=OWNERS + told)
        sources[name] = Source(path=folder / name)
    return settings.model_copy(update={"sources": sources, "time_zone": "UTC"})


def extracted(engine: Engine, settings: Settings) -> None:
    for name in settings.sources:
        extract(engine, name, settings=settings, now=NOW)


def test_another_persons_mail_does_not_go_to_whom_another_source_means(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    settings = two_of(
        either_settings,
        tmp_path,
        a="o1,Ann,ann@acme.example\no2,Bo,\no3,Cy,cy@acme.example\no4,Di,di@acme.example\n",
        b="o1,Zoe,zoe@acme.example\no2,Bo,bo@acme.example\no3,Cy,\no4,Di,DI@acme.example\n",
    )
    extracted(either_engine, settings)
    c = owners.c
    assert all_of(either_engine, c.owner_id, c.source, c.name, c.email) == [
        ("o1", "a", "Ann", "ann@acme.example"),
        ("o2", "b", "Bo", "bo@acme.example"),
        ("o3", "a", "Cy", "cy@acme.example"),
        ("o4", "a", "Di", "di@acme.example"),
    ]
    set_aside = all_of(either_engine, quarantine.c.source, quarantine.c.field, quarantine.c.reason)
    assert set_aside == [("b", "owner_id", "owner o1 is somebody else in another source")]


def test_owners_of_a_source_that_is_gone_are_anybodys(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    extracted(engine, two_of(settings, tmp_path, a="o1,Ann,ann@acme.example\n"))
    extracted(engine, two_of(settings, tmp_path, b="o1,Zoe,zoe@acme.example\n"))
    assert all_of(engine, owners.c.source, owners.c.name) == [("b", "Zoe")]


def test_a_source_with_a_new_name_is_told_what_to_do(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    source = Source(path=write_drop(tmp_path, deals=DEAL.format("a")))
    for name in ("before", "after"):
        named = settings.model_copy(update={"sources": {name: source}, "time_zone": "UTC"})
        if name == "before":
            extracted(engine, named)
    with pytest.raises(ExtractRefused, match="give the source the name that it had, before"):
        extracted(engine, named)


def test_a_warehouse_in_place_of_another_kind_has_lost_nothing() -> None:
    with a_night() as night:
        last = night.plan(Past())
    refuse_vanished((), last.tables, without=(), asked=())
    own = Plan((Table("deals", ("id",), "deals", request="company deal"),), last.begun_at)
    with pytest.raises(ExtractRefused, match="company, deal was read last time and is gone"):
        refuse_vanished((), own.tables, without=(), asked=())
