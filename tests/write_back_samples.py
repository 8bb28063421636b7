"""A scored morning in the warehouse, and a Salesforce and a HubSpot with fields of ours that wait for it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, select

from alert_samples import rows_frame
from dealwatch.alerts.write_back.carrying import write_back
from dealwatch.crm.http import Policy
from dealwatch.crm.hubspot import api as hubspot_api
from dealwatch.crm.hubspot.writer import HubSpotWriter
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.crm.salesforce.writer import SalesforceWriter
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deals, extract_runs, scored_mornings, written_back
from dealwatch.warehouse import as_json, put, reading, replace, writing
from hubspot_samples import small_portal
from salesforce_company import org_of
from standins.hubspot import TOKEN, HubSpot, hubspot_server
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server
from standins.salesforce_org import Field, Org

MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
BANDS = ("low", "medium", "high", "critical")
FIELDS = {"score": "Risk__c", "band": "Band__c", "reason": "Why__c", "as_of": "Risk_On__c"}
PROPERTIES = {"score": "deal_risk", "band": "deal_band", "reason": "deal_why", "as_of": "deal_risk_on"}
OURS = (
    Field("Risk__c", "double", precision=3),
    Field("Band__c", "picklist", values=BANDS),
    Field("Why__c", "string", length=60),
    Field("Risk_On__c", "date"),
)
QUICK = Policy(connect_seconds=2, read_seconds=2, whole_seconds=5)


@dataclass(frozen=True)
class Scored:
    """A deal with its score and the reasons for it, each a subject and a sentence."""

    deal_id: str
    score: int = 60
    reasons: tuple[tuple[str, str], ...] = (("stage", "40 days in its stage"),)
    outcome: str | None = None
    source: str = "crm"
    is_deleted: bool = False
    rules: tuple[str, ...] = ()


def band(score: int) -> str:
    return ("Low", "Medium", "High", "Critical")[sum(score > top for top in (25, 50, 75))]


def judge(engine: Engine, scored: Sequence[Scored], *, morning: datetime = MONDAY) -> None:
    """What an extract and a scoring leave behind for a morning."""
    known, scores = [], []
    for one in scored:
        known.append(
            {
                "deal_id": one.deal_id, "source": one.source, "created_at": morning - 90 * DAY,
                "outcome": one.outcome, "is_deleted": one.is_deleted,
            }
        )  # fmt: skip
        scores.append(
            {
                "as_of": morning, "deal_id": one.deal_id, "score": one.score, "band": band(one.score),
                "method": "rules",
                "points": as_json([{"name": name, "kind": "rule", "points": 5} for name in one.rules]),
                "reasons": as_json([{"group": g, "sentence": s, "points": 5} for g, s in one.reasons]),
            }
        )  # fmt: skip
    run = {
        "extract_id": f"crm {morning}", "source": "crm", "drop_name": "x", "extracted_at": morning,
        "state": "remembered", "records": 1, "quarantined": 0, "changes": 0, "recorded_at": morning,
    }  # fmt: skip
    done = {"as_of": morning, "deals": len(scores), "is_folded": False}
    with writing(engine) as connection:
        put(connection, deals, rows_frame(known))
        put(connection, extract_runs, rows_frame([run]))
        replace(connection, deal_scores, deal_scores.c.as_of == morning, rows_frame(scores))
        replace(connection, scored_mornings, scored_mornings.c.as_of == morning, rows_frame([done]))


@dataclass
class Desk:
    """A source and the server behind it; `slept` are waits that were not waited."""

    engine: Engine
    settings: Settings
    server: Any
    slept: list[float] = field(default_factory=list)
    most: int | None = None
    opened: int = 0

    def run(
        self, *, as_of: datetime = MONDAY, now: datetime | None = None, dry: bool = False
    ) -> dict[str, int]:
        """One run, half an hour after the morning unless told; only the counts that are not 0."""
        opening = {"salesforce": self._open, "hubspot": self._open}
        told = {"as_of": as_of, "now": now or as_of + timedelta(minutes=30), "dry": dry}
        counts = write_back(self.engine, "crm", settings=self.settings, writers=opening, **told)
        return {name: count for name, count in counts.items() if count}

    def but(self, **changes: Any) -> "Desk":
        """The same desk under other words in [sources.crm.write_back]."""
        source = self.settings.sources["crm"]
        told = source.model_copy(update={"write_back": source.write_back.model_copy(update=changes)})
        self.settings = self.settings.model_copy(update={"sources": {"crm": told}})
        return self

    def _open(self, name: str, settings: Settings) -> Any:
        self.opened += 1
        share = settings.sources[name].max_quota_share
        policy = Policy(connect_seconds=2, read_seconds=2, whole_seconds=5, most_quota_share=share)
        if isinstance(self.server, Salesforce):
            told = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET, "host": self.server.url}
            session = Session(login_of(told, "crm"), policy=policy, sleep=self.slept.append)
            writer: Any = SalesforceWriter(session, where="sources.crm.write_back")
        else:
            client = hubspot_api.connect(
                SecretStr(TOKEN), origin=self.server.url, policy=policy, sleep=self.slept.append
            )
            writer = HubSpotWriter(hubspot_api.HubSpot(client), client, where="sources.crm.write_back")
        writer.most = self.most or writer.most
        return writer

    def remembered(self) -> dict[str, tuple[str, str]]:
        """State and code by deal."""
        c = written_back.c
        with reading(self.engine) as connection:
            rows = connection.execute(select(c.deal_id, c.state, c.code)).all()
        return {row.deal_id: (row.state, row.code) for row in rows}


def source_of(kind: str, fields: Mapping[str, str], *, dry: bool = False, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "write_back": {**fields, "dry": dry}, **more}


def with_source(settings: Settings, source: dict[str, Any]) -> Settings:
    told = {"home": settings.home, "warehouse_url": settings.warehouse_url, "time_zone": "UTC"}
    return Settings(**told, sources={"crm": source})


@contextmanager
def salesforce_desk(engine: Engine, settings: Settings, *, deals: int = 12) -> Iterator[Desk]:
    """An org with our four fields; half of its opportunities are open."""
    org = org_of(deals)
    org.extra["Opportunity"] = list(OURS)
    with salesforce_server(org) as server:
        yield Desk(engine, with_source(settings, source_of("salesforce", FIELDS)), server)


@contextmanager
def hubspot_desk(engine: Engine, settings: Settings) -> Iterator[Desk]:
    """An account with our four properties, and a key that may write."""
    portal = small_portal()
    portal.define("deal_risk", "number")
    portal.define("deal_band", "enumeration", fieldType="select", options=BANDS)
    portal.define("deal_why", "string", fieldType="textarea")
    portal.define("deal_risk_on", "date", fieldType="date")
    with hubspot_server(portal) as server:
        server.desk.scopes.add("crm.objects.deals.write")
        yield Desk(engine, with_source(settings, source_of("hubspot", PROPERTIES)), server)


def open_ids(org: Org) -> list[str]:
    rows = org.rows("Opportunity")
    return sorted(rows.filter(~rows["IsClosed"] & ~rows["IsDeleted"])["Id"].to_list())


def in_fields(server: Salesforce | HubSpot, deal_id: str) -> tuple[Any, ...]:
    """What our four fields of a deal hold: score, band, reason, date."""
    if isinstance(server, Salesforce):
        row = server.org.get("Opportunity", deal_id)
        return tuple(row[name] for name in FIELDS.values())
    record = server.portal.records["deals"][deal_id]
    return tuple(record.value(name) for name in PROPERTIES.values())


def judge_all(desk: Desk, *, score: int = 60, **more: Any) -> list[str]:
    """Score every open opportunity: the first `score`, each next one less."""
    ids = open_ids(desk.server.org)
    judge(desk.engine, [Scored(id_, score - n) for n, id_ in enumerate(ids)], **more)
    return ids
