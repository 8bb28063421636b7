"""Fivetran's schemas are read as they stand: stages' meaning from their table, versions, deleted rows."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from conftest import new_database
from dealwatch.errors import ExtractRefused
from dealwatch.settings import Settings
from drop_files import changes, contents, current
from test_crm_sql import Crash
from warehouse_tables import Filled, at, read_now, with_sql

SALESFORCE, HUBSPOT = {"preset": "fivetran_salesforce"}, {"preset": "fivetran_hubspot"}
STAGE = "id api_name master_label is_active is_closed is_won sort_order _fivetran_deleted"
STAGES = [
    ("s1", "Demo", "Demo", True, False, False, 1, False),
    ("s2", "Legal", "Legal", True, False, False, 2, False),
    # Names that say the opposite of what they mean, and one that was retired with another meaning.
    ("s3", "Lost to us", "Lost to us", True, True, True, 3, False),
    ("s4", "Won by others", "Won by others", True, True, False, 4, False),
    ("s5", "Legal", "Legal (old)", False, True, True, 9, False),
]
OPPORTUNITY = (
    "id account_id amount close_date created_date is_closed is_deleted is_won name owner_id stage_name "
    "lead_source currency_iso_code _fivetran_synced"
)
HISTORY = "id opportunity_id created_date stage_name amount close_date is_deleted"
NEW, END = at("2026-01-05 09:00"), at("9999-12-31 23:59")


def opportunity(
    n: int, stage: str, *more: Any, closes: str = "2026-06-30", gone: bool = False
) -> tuple[Any, ...]:
    own = (f"006{n}", "001A", 100.0 + n, at(f"{closes} 00:00"), NEW, False, gone, False, f"Deal {n}")
    return (*own, "005A", stage, "Web", "EUR", at("2026-02-01 04:00"), *more)


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/fivetran.db"
    else:
        server = request.getfixturevalue("postgres_server")
        url = new_database(server, f"five{abs(hash((request.node.nodeid, os.getpid()))):x}")
    made = Filled(url)
    yield made
    made.engine.dispose()


def salesforce(filled: Filled) -> None:
    filled.fill("opportunity_stage", STAGE, *STAGES)
    filled.fill(
        "opportunity",
        OPPORTUNITY,
        opportunity(1, "Legal"),
        opportunity(2, "Lost to us", closes="2026-01-20"),
        opportunity(3, "Won by others", closes="2026-01-21"),
        opportunity(4, "Demo", gone=True),
    )
    filled.fill(
        "opportunity_history",
        HISTORY,
        ("h1", "0061", NEW, "Demo", 90.0, at("2026-05-31 00:00"), False),
        ("h2", "0061", at("2026-01-09 10:00"), "Legal", 101.0, at("2026-06-30 00:00"), False),
        ("h3", "0062", NEW, "Demo", 102.0, at("2026-01-20 00:00"), False),
        ("h4", "0062", at("2026-01-19 15:30"), "Lost to us", 102.0, at("2026-01-20 00:00"), False),
        ("h5", "0064", NEW, "Demo", 104.0, at("2026-06-30 00:00"), False),
    )
    filled.fill(
        "user", "id name email is_active _fivetran_deleted", ("005A", "Ann", "ann@x.example", True, False)
    )
    filled.fill("account", "id name industry is_deleted", ("001A", "Acme", "Steel", False))
    filled.fill(
        "task",
        "id what_id owner_id task_subtype is_closed is_deleted completed_date_time activity_date subject",
        ("t1", "0061", "005A", "Call", True, False, at("2026-01-10 08:00"), None, "secret"),
        ("t2", "0061", "005A", "Email", True, False, None, at("2026-01-11 00:00"), "secret"),
        ("t3", "0061", "005A", "Call", False, False, None, at("2026-03-11 00:00"), "secret"),
        ("t4", "0064", "005A", "Call", True, False, at("2026-01-10 08:00"), None, "secret"),
    )


def test_salesforce_as_fivetran_keeps_it(filled: Filled, engine: Engine, settings: Settings) -> None:
    salesforce(filled)
    read_now(engine, with_sql(settings, filled.url, **SALESFORCE))
    columns = ("deal_id", "stage", "amount", "outcome", "account", "industry", "owner_id", "currency")
    own = ("Acme", "Steel", "005A", "EUR")
    assert current(engine, *columns) == [
        ("0061", "Legal", 101.0, None, *own),
        ("0062", "Lost to us", 102.0, "won", *own),
        ("0063", "Won by others", 103.0, "lost", *own),
    ]
    closed = [str(one[0])[:16] for one in current(engine, "closed_at")]
    assert closed == ["None", "2026-01-19 15:30", "2026-01-21 23:59"], "by its history; without one, that day"
    moved = [(deal, old, new, str(when)[:16]) for deal, _, old, new, when, _ in changes(engine, "stage")]
    assert ("0061", "Demo", "Legal", "2026-01-09 10:00") in moved
    assert ("0061", None, "Demo", "2026-01-05 09:00") in moved
    dates = [(old, new) for deal, _, old, new, _, _ in changes(engine, "close_date") if deal == "0061"]
    assert dates == [(None, "2026-05-31"), ("2026-05-31", "2026-06-30")]
    kept = contents(engine)
    assert [one[1:3] for one in kept["owners"]] != [] and kept["quarantine"] == []
    assert len(kept["activities"]) == 2 and "secret" not in str(kept)


def test_names_may_be_salesforces_own(filled: Filled, engine: Engine, settings: Settings) -> None:
    filled.fill("OpportunityStage", "Id ApiName IsActive IsClosed IsWon", ("s", "Shut", True, True, False))
    filled.fill(
        "Opportunity",
        "Id StageName CreatedDate CloseDate Amount IsDeleted LastStageChangeDate",
        ("0061", "Shut", NEW, "2026-02-02", 5.0, False, at("2026-02-01 12:00")),
    )
    read_now(engine, with_sql(settings, filled.url, **SALESFORCE))
    ((deal, outcome, closed),) = current(engine, "deal_id", "outcome", "closed_at")
    assert (deal, outcome, str(closed)[:16]) == ("0061", "lost", "2026-02-01 12:00")


def versioned(filled: Filled) -> None:
    """Deal 1 was there when history mode began, and moved twice since; deal 2 was closed by then."""
    filled.fill("opportunity_stage", STAGE, *STAGES)
    columns = OPPORTUNITY + " _fivetran_start _fivetran_end _fivetran_active"
    on, moved, again = at("2026-01-15 00:00"), at("2026-01-20 10:00"), at("2026-01-25 10:00")
    owned = list(opportunity(1, "Legal", moved, again, False))
    owned[OPPORTUNITY.split().index("owner_id")] = "005B"
    filled.fill(
        "opportunity",
        columns,
        opportunity(1, "Demo", on, moved, False),
        owned,
        opportunity(1, "Won by others", again, END, True, closes="2026-01-25"),
        opportunity(2, "Lost to us", on, END, True, closes="2026-01-10"),
        opportunity(3, "Demo", on, moved, False),
    )


def test_versions_of_history_mode_are_a_history(filled: Filled, engine: Engine, settings: Settings) -> None:
    versioned(filled)
    read_now(engine, with_sql(settings, filled.url, **SALESFORCE))
    standing = [
        (d, s, o, str(c)[:10]) for d, s, o, c in current(engine, "deal_id", "stage", "outcome", "closed_at")
    ]
    assert standing == [
        ("0061", "Won by others", "lost", "2026-01-25"),
        ("0062", "Lost to us", "won", "2026-01-10"),
    ], "deal 3 has no version that stands"
    told = [(d, f, o, n, str(w)[:10]) for d, f, o, n, w, _ in changes(engine, "stage", "owner_id")]
    assert told == [
        ("0061", "owner_id", None, "005A", "2026-01-15"),
        ("0061", "owner_id", "005A", "005B", "2026-01-20"),
        ("0061", "owner_id", "005B", "005A", "2026-01-25"),
        ("0061", "stage", None, "Demo", "2026-01-15"),
        ("0061", "stage", "Demo", "Legal", "2026-01-20"),
        ("0061", "stage", "Legal", "Won by others", "2026-01-25"),
        ("0062", "owner_id", None, "005A", "2026-01-15"),
        ("0062", "stage", None, "Lost to us", "2026-01-10"),
    ]


def test_owners_histories_are_told_by_id(filled: Filled, engine: Engine, settings: Settings) -> None:
    salesforce(filled)
    when = at("2026-01-12 09:00")
    filled.fill(
        "opportunity_field_history",
        "id opportunity_id created_date field old_value new_value is_deleted",
        ("f1", "0061", when, "Owner", "Bea", "Ann", False),
        ("f2", "0061", when, "Owner", "005B", "005A", False),
        ("f3", "0061", when, "NextStep", "call", "005 calls", False),
    )
    read_now(engine, with_sql(settings, filled.url, **SALESFORCE))
    told = [(old, new) for deal, _, old, new, _, _ in changes(engine, "owner_id") if deal == "0061"]
    assert told == [(None, "005B"), ("005B", "005A")]


DEAL = (
    "deal_id is_deleted deal_pipeline_id deal_pipeline_stage_id owner_id property_dealname property_amount "
    "property_closedate property_createdate _fivetran_deleted"
)


def hubspot(filled: Filled) -> None:
    filled.fill(
        "deal_pipeline_stage",
        "stage_id pipeline_id label active closed_won probability _fivetran_deleted",
        ("11", "p", "Closed lost", True, False, 0.2, False),
        ("12", "p", "Talk", True, True, 1.0, False),
        ("13", "p", "Closed won", True, False, 0.0, False),
    )
    end = at("2026-06-30 22:00")
    filled.fill(
        "deal",
        DEAL,
        (901, False, "p", "11", 7, "Open", 10, end, NEW, False),
        (902, False, "p", "12", 7, "Won", 20, at("2026-01-22 08:00"), NEW, False),
        (903, False, "p", "13", None, "Lost", 30, at("2026-01-23 08:00"), NEW, False),
        (904, True, "p", "11", 7, "Gone", 40, end, NEW, False),
    )
    old = at("2026-01-07 09:00")
    filled.fill(
        "deal_property_history",
        "deal_id name value timestamp source source_id _fivetran_synced",
        (901, "dealstage", "11", NEW, "CRM", "u", NEW),
        (901, "closedate", "1782856800000", NEW, "CRM", "u", NEW),
        (901, "amount", "5", NEW, "CRM", "u", NEW),
        (901, "amount", "10", old, "CRM", "u", NEW),
        (902, "dealstage", "11", NEW, "CRM", "u", NEW),
        (902, "dealstage", "12", at("2026-01-21 08:00"), "CRM", "u", NEW),
        (902, "hubspot_owner_id", "7", NEW, "CRM", "u", NEW),
        (904, "dealstage", "11", NEW, "CRM", "u", NEW),
        (901, "hs_secret", "never", NEW, "CRM", "u", NEW),
    )
    filled.fill("owner", "owner_id email first_name last_name", (7, "ann@x.example", "Ann", None))
    filled.fill("company", "id property_name property_industry property_country", (5, "Acme", "STEEL", "DE"))
    filled.fill("deal_company", "deal_id company_id", (901, 5), (901, 6))
    filled.fill("engagement_deal", "deal_id engagement_id", (901, 71), (904, 71))
    filled.fill(
        "engagement_call", "engagement_id property_hs_timestamp property_hubspot_owner_id", (71, old, 7)
    )


def test_hubspot_as_fivetran_keeps_it(filled: Filled, engine: Engine, settings: Settings) -> None:
    hubspot(filled)
    read_now(engine, with_sql(settings, filled.url, **HUBSPOT))
    told = current(engine, "deal_id", "stage", "outcome", "amount", "owner_id", "industry", "region")
    assert told == [
        ("901", "11", None, 10.0, "7", "STEEL", "DE"),
        ("902", "12", "won", 20.0, "7", None, None),
        ("903", "13", "lost", 30.0, None, None, None),
    ]
    closed = [str(one)[:16] for (one,) in current(engine, "closed_at")]
    assert closed == ["None", "2026-01-21 08:00", "2026-01-23 08:00"]
    amounts = [(old, new) for deal, _, old, new, _, _ in changes(engine, "amount") if deal == "901"]
    assert amounts == [(None, "5"), ("5", "10")]
    dates = [(old, new) for deal, _, old, new, _, _ in changes(engine, "close_date") if deal == "901"]
    assert dates == [(None, "2026-06-30")]
    kept = contents(engine)
    assert len(kept["activities"]) == 1 and len(kept["owners"]) == 1 and kept["quarantine"] == []
    assert "never" not in str(kept)


def test_stages_alone_are_a_history_too(filled: Filled, engine: Engine, settings: Settings) -> None:
    hubspot(filled)
    columns = "deal_id value date_entered _fivetran_start _fivetran_end _fivetran_active"
    entered = at("2026-01-20 08:00")
    filled.fill(
        "deal_stage", columns, (902, "11", NEW, NEW, entered, False), (902, "12", entered, entered, END, True)
    )
    read_now(engine, with_sql(settings, filled.url, **HUBSPOT, without=["deal_property_history"]))
    assert str(current(engine, "deal_id", "closed_at")[1][1])[:16] == "2026-01-20 08:00"


def test_custom_columns_are_mapped_and_usual_ones_left_out(
    filled: Filled, engine: Engine, settings: Settings
) -> None:
    salesforce(filled)
    filled.run("ALTER TABLE opportunity ADD COLUMN region_c TEXT")
    filled.run("UPDATE opportunity SET region_c = 'North'")
    filled.run("ALTER TABLE account ADD COLUMN tier_c TEXT DEFAULT 'gold'")
    columns = {"region": "region_c", "product_type": "account.tier_c"}
    deals = {"columns": columns, "ignore": ["lead_source"], "known_only_at_close": ["product_type"]}
    read_now(engine, with_sql(settings, filled.url, **SALESFORCE, deals=deals))
    told = current(engine, "region", "product_type", "lead_source")
    assert told == [("North", None, None), ("North", "gold", None), ("North", "gold", None)]
    wrong = with_sql(settings, filled.url, **SALESFORCE, deals={"columns": {"region": "area_c"}})
    with pytest.raises(ExtractRefused, match="opportunity: there is no column 'area_c'"):
        read_now(engine, wrong)
    with pytest.raises(ExtractRefused, match="the preset tells stage itself"):
        read_now(engine, with_sql(settings, filled.url, **SALESFORCE, deals={"columns": {"stage": "name"}}))


def test_what_was_read_last_time_may_not_vanish(filled: Filled, engine: Engine, settings: Settings) -> None:
    """Else its values would go away in silence, or a history would end."""
    salesforce(filled)
    own = with_sql(settings, filled.url, **SALESFORCE)
    read_now(engine, own)
    before = contents(engine)["deal_changes"]
    filled.run("ALTER TABLE opportunity RENAME COLUMN lead_source TO lead_origin")
    with pytest.raises(ExtractRefused, match="^deals' lead_source was read last time and is gone"):
        read_now(engine, own)
    filled.run("ALTER TABLE opportunity RENAME COLUMN lead_origin TO lead_source")
    filled.run("DROP TABLE opportunity_history")
    with pytest.raises(ExtractRefused, match="^opportunity_history was read last time and is gone"):
        read_now(engine, own)
    assert contents(engine)["deal_changes"] == before
    told = read_now(engine, with_sql(settings, filled.url, **SALESFORCE, without=["opportunity_history"]))
    assert "history" not in told.sizes


def test_a_crash_between_any_two_pages_ends_alike(
    filled: Filled, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    from dealwatch import migrations
    from dealwatch.warehouse import connect

    salesforce(filled)
    settings = with_sql(settings, filled.url, **SALESFORCE, page_rows=1)
    crashes = 0

    def crash(number: int, page: Any) -> None:
        if number == 3:
            raise Crash

    while True:
        try:
            read_now(engine, settings, crash)
            break
        except Crash:
            crashes += 1
    assert crashes > 5
    calm = connect(Settings(home=tmp_path / "calm"))
    migrations.upgrade(calm)
    read_now(calm, settings)
    told, calmly = (
        [row[:5] for row in changes(one, "stage", "amount", "close_date")] for one in (engine, calm)
    )
    assert told == calmly and current(engine, "deal_id", "stage") == current(calm, "deal_id", "stage")
    calm.dispose()
