"""Nights between which an org renames a stage, corrects a rate, or changes a deal's currency."""

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from dealwatch.errors import SourceDown
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.tables import deal_changes, extract_gates, quarantine
from dealwatch.warehouse import reading, rows_of
from salesforce_company import org_of
from standins.salesforce import Salesforce, salesforce_server
from standins.salesforce_org import Org
from test_salesforce_nights import OWN, moves_made, moves_told, of_crm, reader_of, standing, truth
from test_salesforce_nights import night as read

DAY = timedelta(days=1)
STAGES = {"stages": ("Qualify", "Propose"), "won_stages": ("Closed Won",), "lost_stages": ("Closed Lost",)}
OUTCOME = 8  # its place in a row of `standing`


def night(engine: Engine, settings: Settings, server: Salesforce) -> dict[str, int]:
    """A night in few pages."""
    own = settings.sources["crm"].deals
    return read(engine, settings, server, reader_of(server, own=own, page_rows=1000))


def in_pipeline(settings: Settings, *, own: RecordMapping = OWN) -> Settings:
    """Settings that know the org's four stages, and no other."""
    settings = of_crm(settings, own=own)
    return settings.model_copy(update={"pipeline": settings.pipeline.model_copy(update=STAGES)})


def rename(org: Org, old: str, new: str, *, moves_rows: bool) -> None:
    """Another API name for a stage: deals follow, or keep the old text; histories always keep it."""
    (id_,) = org.rows("OpportunityStage").filter(pl.col("ApiName") == old)["Id"]
    org.drift("OpportunityStage", id_, ApiName=new, MasterLabel=f"{new} (label)")
    if moves_rows:  # without a stamp: nobody edited them
        moved = pl.col("StageName").replace(old, new)
        org.tables["Opportunity"] = org.rows("Opportunity").with_columns(moved)


def warned(engine: Engine) -> list[str]:
    """What the gates said of the newest drop."""
    c = extract_gates.c
    with reading(engine) as connection:
        rows = rows_of(connection, select(c.extracted_at, c.verdict, c.sentence))
    last = max(row.extracted_at for row in rows)
    return [row.sentence for row in rows if row.extracted_at == last and row.verdict != "pass"]


def translated(rows: list[tuple[Any, ...]], words: dict[str, str]) -> list[tuple[Any, ...]]:
    return [
        tuple(words.get(value, value) if isinstance(value, str) else value for value in row) for row in rows
    ]


def stage_rows(engine: Engine) -> set[tuple[Any, ...]]:
    c = deal_changes.c
    query = select(c.change_id, c.deal_id, c.old_value, c.new_value).where(c.field == "stage")
    with reading(engine) as connection:
        return {tuple(row) for row in rows_of(connection, query)}


def test_a_stage_renamed_for_people_only_is_no_news(engine: Engine, settings: Settings) -> None:
    org, settings = org_of(), in_pipeline(settings)
    with salesforce_server(org) as server:
        night(engine, settings, server)
        org.pass_to(org.now + DAY)
        (id_,) = org.rows("OpportunityStage").filter(pl.col("ApiName") == "Propose")["Id"]
        org.drift("OpportunityStage", id_, MasterLabel="Offer", IsActive=False)
        told = night(engine, settings, server)
    assert (told["changes"], told["quarantined"], warned(engine)) == (0, 0, [])
    assert standing(engine) == truth(org)


def test_a_renamed_stage_keeps_its_deals_as_they_were_until_it_is_translated(
    either_engine: Engine, either_settings: Settings
) -> None:
    org, settings, engine = org_of(), in_pipeline(either_settings), either_engine
    with salesforce_server(org) as server:
        night(engine, settings, server)
        before, moves = standing(engine), stage_rows(engine)
        org.pass_to(org.now + DAY)
        rename(org, "Propose", "Offer", moves_rows=True)
        rename(org, "Closed Won", "Sold", moves_rows=True)
        there = org.rows("Opportunity").filter(pl.col("StageName") == "Qualify")["Id"][0]
        org.update("Opportunity", there, Amount=77.0)

        told = night(engine, settings, server)
        moved = {
            row["Id"] for row in org.rows("Opportunity").to_dicts() if row["StageName"] in ("Offer", "Sold")
        }
        assert len(moved) == 6 and told["quarantined"] == 6
        kept = {row[0]: row for row in standing(engine)}
        assert all(kept[row[0]] == row for row in before if row[0] in moved), "a renamed deal moved"
        assert [row for row in truth(org) if row[0] not in moved] == [
            row for id_, row in kept.items() if id_ not in moved
        ]
        (sentence,) = warned(engine)
        assert (
            "Offer, which was called Propose" in sentence and "Sold, which was called Closed Won" in sentence
        )

        org.pass_to(org.now + DAY)  # nobody did anything yet: the hint stays
        night(engine, settings, server)
        assert "Offer, which was called Propose" in warned(engine)[0]

        org.pass_to(org.now + DAY)
        words = {"Offer": "Propose", "Sold": "Closed Won"}
        own = OWN.model_copy(update={"values": {"stage": words}})
        told = night(engine, in_pipeline(either_settings, own=own), server)
    assert (told["quarantined"], warned(engine)) == (0, [])
    assert standing(engine) == translated(truth(org), words)
    assert stage_rows(engine) == moves, "a new name was taken for a move"
    assert moves_told(engine, "stage") == moves_made(org)


def test_a_renamed_stage_reaches_closed_deals_that_carry_no_new_stamp(
    engine: Engine, settings: Settings
) -> None:
    """Who takes the new name into the pipeline beside the old one gets it for every deal."""
    org, settings = org_of(), of_crm(settings)  # no stage is configured, so any is known
    with salesforce_server(org) as server:
        night(engine, settings, server)
        org.pass_to(org.now + 3 * DAY)
        rename(org, "Closed Lost", "Gone", moves_rows=True)
        night(engine, settings, server)
        assert [row[4] for row in standing(engine)].count("Gone") == 3
        assert standing(engine) == truth(org)
        org.pass_to(org.now + DAY)
        asked = len(server.asked)
        told = night(engine, settings, server)
    assert told["changes"] == 0
    assert any("SystemModstamp >=" in soql for soql in server.asked[asked:]), "it was all read anew again"


def test_a_renamed_stage_whose_deals_keep_the_old_name_changes_nothing(
    engine: Engine, settings: Settings
) -> None:
    org, settings = org_of(), in_pipeline(settings)
    with salesforce_server(org) as server:
        night(engine, settings, server)
        org.pass_to(org.now + DAY)
        rename(org, "Propose", "Offer", moves_rows=False)
        told = night(engine, settings, server)
    assert (told["changes"], told["quarantined"], warned(engine)) == (0, 0, [])
    assert standing(engine) == truth(org)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"IsActive": True, "IsClosed": False}, "Sign, open, after Propose"),
        ({"IsActive": False, "IsClosed": False}, "Sign, open, after Propose, not in use any more"),
        ({"IsActive": True, "IsClosed": True, "IsWon": True}, "Sign, won, after Propose"),
    ],
)
def test_a_stage_that_is_not_configured_is_described(
    values: dict[str, Any], words: str, engine: Engine, settings: Settings
) -> None:
    org, settings = org_of(), in_pipeline(settings)
    with salesforce_server(org) as server:
        night(engine, settings, server)
        org.pass_to(org.now + DAY)
        org.insert("OpportunityStage", MasterLabel="Sign", ApiName="Sign", SortOrder=1, **values)
        deal = org.rows("Opportunity").filter(pl.col("StageName") == "Qualify")["Id"][0]
        org.update("Opportunity", deal, StageName="Sign")
        night(engine, settings, server)
    (sentence,) = warned(engine)
    assert f"({words})" in sentence
    with reading(engine) as connection:
        reasons = {row.reason for row in rows_of(connection, select(quarantine))}
    assert reasons == {"Sign is no stage of the sales process"}


def test_an_org_that_hides_its_stages_is_read_all_the_same(engine: Engine, settings: Settings) -> None:
    org, settings = org_of(), in_pipeline(settings)
    org.hidden |= {("OpportunityStage", name) for name in org.all_fields("OpportunityStage")}
    with salesforce_server(org) as server:
        night(engine, settings, server)
    assert standing(engine) == truth(org)


# ---------------------------------------------------------------------------- currencies


RATES = ((date(2025, 10, 1), 0.9), (date(2025, 12, 20), 0.8))


def several() -> Org:
    """An org of dollars, its own, and euros."""
    org = org_of(8, multi_currency=True)
    org.insert("CurrencyType", IsoCode="USD", ConversionRate=1.0, IsCorporate=True, IsActive=True)
    org.insert("CurrencyType", IsoCode="EUR", ConversionRate=0.9, IsCorporate=False, IsActive=True)
    for start, rate in RATES:
        org.insert("DatedConversionRate", IsoCode="EUR", StartDate=start, ConversionRate=rate)
    return org


def in_dollars(org: Org) -> list[tuple[Any, ...]]:
    """The truth with every amount in dollars, by the rate of the day on which the deal was created."""
    dated = org.rows("DatedConversionRate").sort("StartDate").select("StartDate", "ConversionRate").rows()
    codes = dict(org.rows("Opportunity").select("Id", "CurrencyIsoCode").iter_rows())

    def rate(deal: str, created: datetime) -> float:
        fitting = [told for start, told in dated if start <= created.date()]
        return fitting[-1] if codes[deal] == "EUR" else 1.0

    return [(*row[:3], round(row[3] / rate(row[0], row[6]), 2), *row[4:]) for row in truth(org)]


def euros(org: Org, *, is_closed: bool) -> list[str]:
    is_it = (pl.col("CurrencyIsoCode") == "EUR") & (pl.col("IsClosed") == is_closed)
    return org.rows("Opportunity").filter(is_it)["Id"].to_list()


@pytest.fixture
def server() -> Any:
    with salesforce_server(several()) as server:
        yield server


def test_a_new_rate_moves_no_deal_that_is_there(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    org, settings = server.org, of_crm(settings)
    night(engine, settings, server)
    assert standing(engine) == in_dollars(org)
    org.insert("DatedConversionRate", IsoCode="EUR", StartDate=org.now.date() + DAY, ConversionRate=0.5)
    org.pass_to(org.now + DAY + timedelta(hours=1))
    asked = len(server.asked)
    assert night(engine, settings, server)["changes"] == 0
    assert any("SystemModstamp >=" in soql for soql in server.asked[asked:]), "all was read anew"
    org.insert(
        "Opportunity", Name="New", StageName="Qualify", Amount=10.0, CurrencyIsoCode="EUR",
        CloseDate=date(2026, 8, 1),
    )  # fmt: skip
    org.pass_to(org.now + DAY)
    night(engine, settings, server)
    assert standing(engine)[-1][3] == 20.0
    assert standing(engine) == in_dollars(org)


def test_a_rate_that_changes_while_a_night_is_broken_off_is_for_the_next_one(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    """Half of the deals by one rate and half by another would be the truth of no night."""
    org, settings = server.org, of_crm(settings)
    before = in_dollars(org)
    server.order("results", None, "limit")
    with pytest.raises(SourceDown):
        night(engine, settings, server)
    server.faults.clear()
    for id_ in org.rows("DatedConversionRate")["Id"]:
        org.drift("DatedConversionRate", id_, ConversionRate=0.5)
    night(engine, settings, server)
    assert standing(engine) == before
    org.pass_to(org.now + DAY)
    night(engine, settings, server)
    assert standing(engine) == before != in_dollars(org), "a corrected rate moved deals that were there"


def test_a_deal_that_changes_its_currency_is_worth_something_else_from_then_on(
    either_engine: Engine, either_settings: Settings, server: Salesforce
) -> None:
    """Its number stays, and no history tells of it."""
    org, settings, engine = server.org, of_crm(either_settings), either_engine
    night(engine, settings, server)
    first = moves_told(engine, "amount")
    (deal, *_), closed = euros(org, is_closed=False), euros(org, is_closed=True)[0]
    org.pass_to(org.now + timedelta(hours=5))
    for changed in (deal, closed):
        org.update("Opportunity", changed, CurrencyIsoCode="USD")
    org.pass_to(org.now + timedelta(hours=19))
    night(engine, settings, server)
    assert standing(engine) == in_dollars(org)
    found = moves_told(engine, "amount") - first
    assert {row[0] for row in found} == {deal, closed} and len(found) == 2
    org.pass_to(org.now + DAY)
    assert night(engine, settings, server)["changes"] == 0
    org.update("Opportunity", deal, Amount=5.0)
    org.pass_to(org.now + DAY)
    night(engine, settings, server)
    assert standing(engine) == in_dollars(org)
