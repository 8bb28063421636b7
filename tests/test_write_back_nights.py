"""What we write into the CRM is no news to the next night: nothing in the ledger and no fact moves by it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, Table, select

from dealwatch import jobs, migrations
from dealwatch.crm.readers import Opener
from dealwatch.crm.salesforce.api import Salesforce as Wire
from dealwatch.crm.salesforce.fields import fields_of
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.crm.salesforce.reader import SalesforceReader, open_salesforce
from dealwatch.errors import ExtractRefused
from dealwatch.history.extract import extract
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.tables import activities, deal_changes, deal_features, deal_scores, deals
from dealwatch.warehouse import connect, frame, reading
from standins.hubspot import TOKEN, HubSpot
from standins.salesforce import CLIENT_ID, CLIENT_SECRET
from test_hubspot_ledger import at_once
from write_back_samples import DAY, MONDAY, Desk, hubspot_desk, in_fields, salesforce_desk

FOUR = MONDAY - timedelta(hours=2)  # when the nights begin


def reached(desk: Desk) -> Settings:
    """The desk's settings with a connection that reads, by which the source's own reader and writer go."""
    if isinstance(desk.server, HubSpot):
        host, _, port = desk.server.url.rpartition(":")
        told: dict[str, Any] = {"host": host, "port": int(port), "password": TOKEN}
    else:
        secrets = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET}
        told = {"host": desk.server.url, "extra": secrets}
    source = desk.settings.sources["crm"].model_dump(exclude={"write_back": {"access"}}) | {"access": told}
    return Settings(home=desk.settings.home, time_zone="UTC", sources={"crm": source})


def pass_to(desk: Desk, moment: datetime) -> None:
    if isinstance(desk.server, HubSpot):
        desk.server.portal.now = round(moment.timestamp() * 1000)
    else:
        desk.server.org.pass_to(moment)


def night(desk: Desk, settings: Settings, begin: datetime) -> dict[str, int]:
    pass_to(desk, begin)
    now = begin + timedelta(minutes=1)
    readers: dict[str, Opener] = {"hubspot": at_once, "salesforce": impatient}
    return extract(desk.engine, "crm", settings=settings, now=now, readers=readers)


def impatient(name: str, settings: Settings) -> SalesforceReader:
    """The source's reader, which waits for nothing."""
    reader = open_salesforce(name, settings)
    reader._wire.session.sleep = lambda seconds: None
    return reader


def rows(engine: Engine, table: Table, *keys: str) -> pl.DataFrame:
    plain = [column for column in table.columns if column.name not in {"recorded_at", "source"}]
    with reading(engine) as connection:
        return frame(connection, select(*plain)).sort(*keys)


def known(engine: Engine) -> dict[str, pl.DataFrame]:
    return {
        "changes": rows(engine, deal_changes, "change_id"),
        "deals": rows(engine, deals, "deal_id"),
        "activities": rows(engine, activities, "activity_id"),
    }


@pytest.mark.parametrize("kind", [salesforce_desk, hubspot_desk])
def test_the_night_after_a_write_knows_what_the_night_before_knew(
    engine: Engine, settings: Settings, kind: Any
) -> None:
    with kind(engine, settings) as desk:
        own = reached(desk)
        night(desk, own, FOUR)
        before = known(engine)
        jobs.score(own, as_of=MONDAY)
        written = MONDAY + timedelta(minutes=20)
        pass_to(desk, written)
        counts = jobs.write_back(own, as_of=MONDAY, now=written)
        assert counts["written"] == counts["deals"] > 0
        assert_stamped(desk, written)
        told = night(desk, own, FOUR + DAY)
        assert (told["changes"], told["activities"], told["quarantined"]) == (0, 0, 0)
        after = known(engine)
        assert all(after[name].equals(before[name]) for name in before)
        # Tuesday's facts and scores are those of a company into whose CRM nobody wrote.
        jobs.score(own, as_of=MONDAY + DAY)
        facts = tuesday(engine)
    with kind(*untouched(settings)) as desk:
        own = reached(desk)
        night(desk, own, FOUR)
        night(desk, own, FOUR + DAY)
        jobs.score(own, as_of=MONDAY + DAY)
        assert all(mine.equals(theirs) for mine, theirs in zip(facts, tuesday(desk.engine), strict=True))
        desk.engine.dispose()


def untouched(settings: Settings) -> tuple[Engine, Settings]:
    other = settings.model_copy(update={"home": settings.home / "other"})
    engine = connect(other)
    migrations.upgrade(engine)
    return engine, other


def tuesday(engine: Engine) -> list[pl.DataFrame]:
    found = [rows(engine, table, "as_of", "deal_id") for table in (deal_features, deal_scores)]
    return [one.filter(pl.col("as_of") == MONDAY + DAY) for one in found]


def assert_stamped(desk: Desk, moment: datetime) -> None:
    """Our write moved the CRM's own stamps, or the test proves nothing."""
    if isinstance(desk.server, HubSpot):
        updated = desk.server.portal.records["deals"]["101"].updated
        assert datetime.fromtimestamp(updated / 1000, UTC) == moment
        assert in_fields(desk.server, "101")[3] == "2026-03-02"
    else:
        stamps = desk.server.org.rows("Opportunity").filter(pl.col("Risk__c").is_not_null())
        assert set(stamps["SystemModstamp"]) == set(stamps["LastModifiedDate"]) == {moment}


def test_who_writes_needs_the_moment_of_the_last_change_of_stage(engine: Engine, settings: Settings) -> None:
    with salesforce_desk(engine, settings) as desk:
        desk.server.org.hidden.add(("Opportunity", "LastStageChangeDate"))
        with pytest.raises(ExtractRefused, match="shows us no LastStageChangeDate"):
            night(desk, reached(desk), FOUR)
        told = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET, "host": desk.server.url}
        with Session(login_of(told, "crm"), sleep=lambda _: None) as session:
            assert fields_of(RecordMapping(), Wire(session).describe, where="sources.crm.deals").asked


def test_switching_write_back_on_asks_for_nothing_anew(engine: Engine, settings: Settings) -> None:
    with hubspot_desk(engine, settings) as desk:
        own = reached(desk)
        crm = own.sources["crm"]
        off = own.model_copy(update={"sources": {"crm": crm.model_copy(update={"write_back": None})}})
        night(desk, off, FOUR)
        with reading(engine) as connection:
            from dealwatch.history.gather import asked_digest, past_of

            assert past_of(connection, "crm", asked_digest(crm, own)).cursor is not None
