"""Values that no table is glad of: each lands, or is set aside with its reason, and the rest lands."""

import random
import string
from pathlib import Path

from sqlalchemy import Engine

from dealwatch.settings import Settings
from dealwatch.tables import deals, owners, quarantine
from drop_files import ACTIVITIES, DEALS, HISTORY, extracted, with_source
from hubspot_samples import NIGHT, deal, small_portal
from test_hubspot_ledger import all_of, night, source

# Nothing in it repeats, or PostgreSQL would press it into an index after all.
LONG = "".join(random.Random(1).choices(string.ascii_letters, k=9000))


def test_half_a_character_and_nul_bytes_of_a_crm(either_engine: Engine, either_settings: Settings) -> None:
    """What cuts a name to a length may cut an emoji in two, and JSON can hold the half."""
    portal = small_portal()
    deal(portal, "201", "2026-02-01T00:00:00", dealname="Half \ud83d")
    deal(portal, "202", "2026-02-01T00:00:00", dealname="N\x00L")
    deal(portal, "203", "2026-02-01T00:00:00", dealname=LONG * 20)
    portal.owners[0].first_name = "\udc00nn"
    with source(portal, either_settings) as (_, own):
        night(either_engine, own, portal, NIGHT)
    names = dict(all_of(either_engine, deals.c.deal_id, deals.c.name))
    assert (names["201"], names["203"]) == ("Half �", LONG * 20)
    assert "202" not in names
    assert ("�nn Archer",) in all_of(either_engine, owners.c.name)
    reasons = [reason for _, reason in all_of(either_engine, quarantine.c.object, quarantine.c.reason)]
    assert "the value holds a NUL byte" in reasons


def test_ids_too_long_for_an_index(either_engine: Engine, either_settings: Settings, tmp_path: Path) -> None:
    extracted(
        either_engine,
        with_source(either_settings, tmp_path),
        tmp_path,
        deals=DEALS + f"d1,One,5,New,o1,2026-01-01,,,\n{LONG},Two,5,New,o1,2026-01-01,,,\n"
        f"d3,Three,5,New,{LONG},2026-01-01,,,\n",
        deal_history=HISTORY + f"d1,2026-02-01,{LONG},a,b\n",
        activities=ACTIVITIES + f"{LONG},2026-02-01,call,,\n",
        owners=f"owner_id,name\no1,Ann\n{LONG},Bo\n",
    )
    assert all_of(either_engine, deals.c.deal_id) == [("d1",), ("d3",)]
    set_aside = all_of(either_engine, quarantine.c.object, quarantine.c.field, quarantine.c.reason)
    assert [(object_, field) for object_, field, _ in set_aside] == [
        ("activities", "deal_id"), ("deal_history", "field"), ("deals", "deal_id"), ("owners", "owner_id")
    ]  # fmt: skip
    assert {reason for *_, reason in set_aside} == {f"{LONG[:80]} is longer than 200 characters"}


def test_ids_that_differ_in_case_only_are_two_deals(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    extracted(
        either_engine,
        with_source(either_settings, tmp_path),
        tmp_path,
        deals=DEALS + "006Aa,One,5,New,o1,2026-01-01,,,\n006aA,Two,5,Old,o1,2026-01-01,,,\n",
        deal_history=HISTORY + "006aA,2026-02-01,stage,New,Old\n",
    )
    assert all_of(either_engine, deals.c.deal_id, deals.c.name, deals.c.stage) == [
        ("006Aa", "One", "New"),
        ("006aA", "Two", "Old"),
    ]
