"""A real Airflow reads three CRMs, some of it in vain; nothing it writes holds a secret or a customer's row.

Everything below the home is searched, byte by byte: logs, Airflow's database with XCom and rendered
templates, settings, models, messages. Customers' data may be in the warehouse and in messages; secrets may
be nowhere.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from airflow_support import PATIENCE, tables_of
from conftest import new_database
from dealwatch import jobs
from dealwatch.errors import NotReady
from dealwatch.launch.airflow_api import AirflowApi
from dealwatch.launch.airflow_home import READ_SELDOM, LocalAirflow, free_port
from dealwatch.launch.places import Places
from dealwatch.moments import morning_of
from dealwatch.settings import load
from demo_crm import to_hubspot, to_salesforce
from hubspot_samples import NIGHT, deal, small_portal
from standins.hubspot import TOKEN, HubSpot, hubspot_server
from standins.salesforce import CLIENT_SECRET, Salesforce, salesforce_server
from standins.salesforce_drop import org_of_drop

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(3 * PATIENCE)]

MORNING = date(2026, 11, 20)
CANARY = "canary"
BODY = "canary-body for canary@example.com"
PASSWORD = "canary-hunter2"
SECRETS = (CLIENT_SECRET, TOKEN, PASSWORD, "canary-token", "sid=canary")
# The warehouse, and what people are meant to read.
OF_CUSTOMERS = ("dealwatch.db", "outbox/", "company/")  # and what stands beside the database
SETTINGS = """
[sources.hub]
kind = "hubspot"
[sources.hub.deals.values.stage]
appointmentscheduled = "Qualification"
qualifiedtobuy = "Discovery"
closedwon = "Closed Won"
closedlost = "Closed Lost"

[sources.dwh]
kind = "sql"
[sources.dwh.deals]
table = "opps"
key = ["id"]
columns = { deal_id = "id", stage = "stage_name", created_at = "created" }

[sources.gone]
kind = "sql"
[sources.gone.deals]
table = "nothing"
key = ["id"]
"""


@dataclass(frozen=True)
class House:
    """An Airflow that was told of three CRMs, and what they are."""

    home: Path
    settings: Any
    api: AirflowApi
    salesforce: Salesforce
    hubspot: HubSpot
    at: datetime

    def run(self, dag_id: str, run_id: str, **conf: Any) -> bool:
        """Whether a run went well."""
        try:
            self.api.run(dag_id, run_id, conf, seconds=PATIENCE)
        except NotReady:
            return False
        return True

    def extract(self, source: str, run_id: str, at: datetime | None = None) -> bool:
        return self.run("extract_crm", run_id, source=source, at=(at or self.at).isoformat())


def warehouse_of(server: str) -> str:
    """A PostgreSQL with a deal in it, by a URL with a password, which it does not ask for."""
    url = new_database(server, "leaks")
    engine = create_engine(url)
    with engine.begin() as connection:
        columns = ("id text PRIMARY KEY", "name text", "stage_name text", "created text")
        connection.execute(text(f"CREATE TABLE opps ({', '.join(columns)})"))
        for id_, stage in (("w1", "canary-stage"), ("w2", "Demo")):
            told = {"id": id_, "name": "canary-warehouse", "stage": stage, "created": "2026-01-01"}
            connection.execute(text("INSERT INTO opps VALUES (:id, :name, :stage, :created)"), told)
    engine.dispose()
    return url.replace("dealwatch@", f"dealwatch:{PASSWORD}@")


def with_canaries(server: Salesforce) -> None:
    """On deals that will be told about, their accounts and owners; and a person who cannot be used."""
    org = server.org
    opened = org.rows("Opportunity").filter(~pl.col("IsClosed"))
    for row in opened.head(40).to_dicts():
        org.drift("Opportunity", row["Id"], Name=f"canary-deal {row['Name']}")
        org.drift("Account", row["AccountId"], Name="canary-account")
        org.drift("User", row["OwnerId"], Email="canary@example.com")
    org.insert("User", Name="canary-two", Email="canary is no address", IsActive=True)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[House]:
    home = tmp_path_factory.mktemp("leaks")
    company, places = home / "company", Places(home)
    jobs.simulate("planted", company, deals=500, days=365, seed=1, until=MORNING)
    example = Path(__file__).parents[1] / "include" / "examples" / "demo-salesforce.toml"
    told = example.read_text().replace("[scoring]", "[scoring]\ntrees = 20\nalert_minimum = 40")
    places.settings_file.write_text(told + SETTINGS)
    settings = load(places.settings_file).model_copy(update={"home": home})
    at = morning_of(MORNING, settings) - timedelta(hours=1)
    portal = small_portal()
    for number in range(30):
        named = {"dealname": "canary-hubspot", "amount": "canary-amount"}
        deal(portal, str(5000 + number), "2026-02-01T00:00:00", **named)
    portal.now = NIGHT
    dwh = warehouse_of(postgres_server)
    with salesforce_server(org_of_drop(company, now=at)) as salesforce, hubspot_server(portal) as hubspot:
        with_canaries(salesforce)
        (of_salesforce,) = to_salesforce(urlsplit(salesforce.url).port or 0).values()
        (of_hubspot,) = to_hubspot(urlsplit(hubspot.url).port or 0).values()
        changes = {
            **READ_SELDOM,
            "AIRFLOW_CONN_DEMO": of_salesforce,
            "AIRFLOW_CONN_HUB": of_hubspot,
            "AIRFLOW_CONN_DWH": json.dumps({"conn_type": "postgres", "extra": {"url": dwh}}),
            "AIRFLOW_CONN_GONE": json.dumps({"conn_type": "postgres", "extra": {"url": dwh}}),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        }
        with LocalAirflow(places, port=free_port(), changes=changes) as airflow:
            airflow.begin_database()
            jobs.upgrade(settings)
            yield House(home, settings, airflow.start(), salesforce, hubspot, at)


def files_with(home: Path, word: str) -> list[str]:
    """The files below the home that hold the word, but for those that may."""
    found = []
    for path in sorted(home.rglob("*")):
        if path.is_file() and word.encode() in path.read_bytes():
            found.append(str(path.relative_to(home)))
    return found


def test_nothing_that_a_real_airflow_writes_holds_a_secret_or_a_customer_s_row(house: House) -> None:
    faults: list[tuple[str, Any]] = [
        ("token", ("words", 400, "invalid_grant", BODY)),
        ("describe", ("words", 403, "INSUFFICIENT_ACCESS", BODY)),
        ("create", ("words", 401, "INVALID_SESSION_ID", BODY)),
        ("create", ("words", 400, "MALFORMED_QUERY", BODY)),
    ]
    for number, (call, fault) in enumerate(faults):
        house.salesforce.order(call, *[fault] * 20)
        assert not house.extract("demo", f"refused_{number}")
        house.salesforce.faults.clear()
    house.salesforce.order("results", ("page", BODY), ("csv", f'"{BODY}\n'), ("csv", BODY))
    house.salesforce.order("token", None, ("page", BODY))
    house.salesforce.chance, house.salesforce.rate = Random(2), 0.05
    assert house.extract("demo", "through_faults")
    house.hubspot.faults.extend([("error", 403, BODY)])
    assert not house.extract("hub", "hub_refused")
    house.hubspot.break_by_chance(0.2, 1)
    assert house.extract("hub", "hub_through_faults")
    now = datetime.now(UTC)  # by a real database's own clock
    assert house.extract("dwh", "dwh", at=now)
    assert not house.extract("gone", "dwh_refused", at=now)
    as_of = MORNING.replace(day=1).isoformat()
    assert house.run("retrain_model", "train", as_of=as_of)
    assert house.run("score_deals", "morning", as_of=MORNING.isoformat(), notify="force")
    assert house.run("deliver_alerts", "deliver")

    tables = tables_of(house.settings, only=("deals", "quarantine", "deliveries"))
    assert tables["deals"].filter(pl.col("name").str.contains(CANARY)).height >= 40
    assert tables["quarantine"].filter(pl.col("reason").str.contains(CANARY)).height >= 30
    assert (house.home / "outbox" / "index.html").exists(), "no message was written"
    assert house.salesforce.tokens and house.hubspot.given
    assert "airflow/airflow.db" in str(files_with(house.home, "through_faults")), "found nothing to check"
    assert "airflow/logs/" in str(files_with(house.home, "rows of Opportunity")), "found nothing to check"
    leaks = {secret: files_with(house.home, secret) for secret in SECRETS}
    assert {secret: files for secret, files in leaks.items() if files} == {}
    with_rows = [name for name in files_with(house.home, CANARY) if not name.startswith(OF_CUSTOMERS)]
    assert with_rows == []
