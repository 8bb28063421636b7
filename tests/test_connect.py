"""What a newcomer runs first: whether a source can be read, why not, and a mapping that can be pasted."""

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dealwatch import jobs
from dealwatch.__main__ import main
from dealwatch.crm.connecting import Field, Visit
from dealwatch.crm.drafting import draft
from dealwatch.crm.guessing import LIKELY, guesses, tells_the_end
from dealwatch.crm.readers import visitor_of
from dealwatch.environment import connection_of
from dealwatch.knobs import RecordMapping
from dealwatch.knobs import Source as FileSource
from dealwatch.settings import Settings, load
from dealwatch.sources import Salesforce as SalesforceSource
from dealwatch.tables import deals
from dealwatch.warehouse import connect, reading, rows_of
from hubspot_samples import CANARY, small_portal
from salesforce_company import org_of
from standins.hubspot import TOKEN, HubSpot, hubspot_server
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server
from standins.salesforce_org import Field as SalesforceField
from warehouse_tables import Filled, at

NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.fixture
def org() -> Iterator[Salesforce]:
    with salesforce_server(org_of()) as server:
        server.org.extra["Opportunity"] = [SalesforceField("Loss_Reason__c", "picklist")]
        yield server


@pytest.fixture
def portal() -> Iterator[HubSpot]:
    with hubspot_server(small_portal()) as server:
        yield server


def to_salesforce(monkeypatch: pytest.MonkeyPatch, url: str, **extra: str) -> None:
    """The connection as a shell without Airflow has it."""
    host, _, port = url.removeprefix("http://").partition(":")
    told = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET, **extra}
    connection = {"conn_type": "salesforce", "host": host, "port": int(port), "extra": told}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))


def to_hubspot(monkeypatch: pytest.MonkeyPatch, url: str, token: str = TOKEN) -> None:
    host, _, port = url.rpartition(":")
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"host": host, "port": int(port), "password": token}))


def written(folder: Path, text: str) -> Path:
    path = folder / "dealwatch.toml"
    path.write_text(f'home = "home"\ntime_zone = "UTC"\n{text}', encoding="utf-8")
    return path


def visited(path: Path, now: datetime = NOW) -> tuple[str, dict[str, Any], bool]:
    return jobs.visit(load(path), source="crm", now=now)


def extracted(path: Path, text: str, drafted: str, now: datetime) -> list[tuple[Any, ...]]:
    """The deals after the draft was pasted below what stood there, and read by an extract."""
    path.write_text(f'home = "home"\ntime_zone = "UTC"\n{text}\n{drafted}', encoding="utf-8")
    settings = load(path)
    jobs.upgrade(settings)
    jobs.extract(settings, source="crm", now=now)
    engine = connect(settings)
    with reading(engine) as connection:
        c = deals.c
        rows = rows_of(
            connection, select(c.deal_id, c.stage, c.outcome, c.amount, c.region).order_by(c.deal_id)
        )
        found = [tuple(row) for row in rows]
    engine.dispose()
    return found


def told(found: dict[str, Any], verdict: str) -> list[str]:
    return [
        f"{one['check']}: {one['says']} {one['remedy']}"
        for one in found["findings"]
        if one["verdict"] == verdict
    ]


SALESFORCE = '[sources.crm]\nkind = "salesforce"\n'
HUBSPOT = '[sources.crm]\nkind = "hubspot"\n'


def test_an_org_is_looked_at_with_few_requests_and_its_draft_can_be_pasted(
    org: Salesforce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_salesforce(monkeypatch, org.url)
    path = written(tmp_path, SALESFORCE)
    text, found, works = visited(path)
    assert works and told(found, "missing") == []
    assert found["requests"] == len(org.calls) <= 16 and "create" not in org.calls
    assert "4 by IsClosed and IsWon, in order: Qualify (open), Propose (open), Closed Won (won)" in squeezed(
        text
    )
    assert "12 that we see, 6 of them open" in text
    assert any("no history of owner_id" in one for one in told(found, "warn"))
    assert not (tmp_path / "home").exists()
    drafted = tomllib.loads(found["draft"])
    mapping = drafted["sources"]["crm"]["deals"]
    assert mapping["known_only_at_close"] == ["loss_reason"]
    assert mapping["columns"] == {
        "next_step_on": "Next_Step_On__c",
        "region": "Region__c",
        "product_type": "Product__c",
        "loss_reason": "Loss_Reason__c",
    }
    assert drafted["pipeline"] == {
        "stages": ["Qualify", "Propose"],
        "won_stages": ["Closed Won"],
        "lost_stages": ["Closed Lost"],
    }
    rows = extracted(path, SALESFORCE, text[text.index("# A draft") :], NOW + timedelta(minutes=1))
    assert (
        len(rows) == 12
        and {row[2] for row in rows} == {None, "won", "lost"}
        and {row[4] for row in rows} > {"North"}
    )


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"consumer_secret": "canary-secret"},
            "login: the org does not let us in (invalid_client) Correct consumer_s",
        ),
        ({"consumer_key": "canary-key"}, "(invalid_client_id) Correct consumer_key"),
        (
            {"consumer_secret": ""},
            "connection: the connection crm has neither consumer_secret nor private_key",
        ),
        ({"domain": "evil.test/x?canary="}, "connection: the domain of the connection crm is no My Domain"),
        ({"domain": "nobody-has-this.my"}, "address: "),
    ],
)
def test_a_wrong_login_is_said_with_what_to_mend(
    org: Salesforce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], words: str
) -> None:
    if "nobody" in wrong.get("domain", ""):
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # so that no name is looked up
    to_salesforce(monkeypatch, org.url, **wrong)
    text, found, works = visited(written(tmp_path, SALESFORCE))
    assert not works and found["draft"] == ""
    [lacking] = told(found, "missing")
    assert words in lacking
    assert "canary" not in text + json.dumps(found)


def test_without_a_connection_the_newcomer_is_told_where_one_is_made(tmp_path: Path) -> None:
    for text in (SALESFORCE, HUBSPOT, '[sources.crm]\nkind = "sql"\n'):
        _, found, works = visited(written(tmp_path, text))
        assert not works and "AIRFLOW_CONN_CRM" in " ".join(told(found, "missing"))


def test_what_the_org_hides_is_named_and_what_was_meant_is_suggested(
    org: Salesforce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_salesforce(monkeypatch, org.url)
    org.org.hidden |= {("Opportunity", "Amount"), ("OpportunityHistory", "StageName"), ("Task", "WhatId")}
    path = written(
        tmp_path, SALESFORCE + '[sources.crm.deals.columns]\nregion = "Regoin__c"\nteam = "Score__c"\n'
    )
    _, found, works = visited(path, NOW + timedelta(minutes=9))
    assert not works
    [lacking] = told(found, "missing")
    assert "Regoin__c is not there" in lacking and "Did you mean Region__c?" in lacking
    warned = " ".join(told(found, "warn"))
    assert "9 minutes behind ours" in warned and "hidden from us, and left out: Amount" in warned
    assert "OpportunityHistory.StageName is hidden" in warned and "Task.WhatId" in warned
    drafted = tomllib.loads(found["draft"])["sources"]["crm"]["deals"]["columns"]
    assert (drafted["team"], drafted["region"]) == ("Score__c", "Region__c")
    org.org.hidden.add(("Opportunity", "StageName"))
    assert "StageName" in " ".join(told(visited(written(tmp_path, SALESFORCE))[1], "missing"))


def test_quota_sandbox_currencies_and_new_stages_are_told(
    org: Salesforce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_salesforce(monkeypatch, org.url)
    org.used = 90_000
    org.org.multi_currency = True
    for code, rate in (("EUR", 1.0), ("USD", None)):
        org.org.insert("CurrencyType", IsoCode=code, ConversionRate=rate, IsCorporate=code == "EUR")
    path = written(tmp_path, SALESFORCE + '[pipeline]\nstages = ["Qualify"]\nlost_stages = ["Closed Lost"]\n')
    text, found, works = visited(path)
    assert not works and "above 80% an extract waits" in " ".join(told(found, "missing"))
    assert "does not name Propose, Closed Won" in " ".join(told(found, "warn"))
    assert "no rate for USD" in " ".join(told(found, "warn"))
    assert "amounts are brought to EUR by fixed rates only" in text
    assert '# stages = ["Qualify", "Propose"]' in text and "pipeline" not in tomllib.loads(found["draft"])


def test_an_org_that_has_no_currency_with_a_rate_stops_before_the_first_night(
    org: Salesforce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_salesforce(monkeypatch, org.url)
    org.org.multi_currency = True
    assert "currency: " in " ".join(told(visited(written(tmp_path, SALESFORCE))[1], "missing"))


def test_an_account_is_looked_at_and_its_draft_can_be_pasted(
    portal: HubSpot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_hubspot(monkeypatch, portal.url)
    path = written(tmp_path, HUBSPOT)
    defined = portal.portal.defined
    late = {"closed_lost_reason": ("string", "Closed Lost Reason")}
    portal.portal.defined = {**defined, "deals": {**defined["deals"], **late}}
    text, found, works = visited(path, moment(portal))
    assert works and found["requests"] <= 14
    assert "3 that the key sees, 1 of them open" in text
    assert CANARY not in text and TOKEN not in text + json.dumps(found)
    mapping = tomllib.loads(found["draft"])["sources"]["crm"]["deals"]
    assert mapping["columns"] == {"closed_lost_reason": "closed_lost_reason"}
    assert mapping["values"]["stage"]["closedwon"] == "Closed Won"
    rows = extracted(path, HUBSPOT, text[text.index("# A draft") :], moment(portal) + timedelta(minutes=1))
    assert [row[1:3] for row in rows] == [
        ("Qualified To Buy", None), ("Closed Won", "won"), ("Closed Lost", "lost"),
    ]  # fmt: skip


def moment(portal: HubSpot) -> datetime:
    return datetime.fromtimestamp(portal.portal.now / 1000, UTC)


def test_a_key_that_lacks_a_scope_is_told_which(
    portal: HubSpot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_hubspot(monkeypatch, portal.url)
    portal.desk.scopes -= {"sales-email-read", "crm.objects.owners.read"}
    path = written(tmp_path, HUBSPOT + '[sources.crm.deals.columns]\nregion = "companny.state"\n')
    _, found, works = visited(path, moment(portal))
    lacking = told(found, "missing")
    assert not works and [one.partition(": ")[0] for one in lacking] == ["scopes", "scopes", "mapping"]
    assert "tick the scope crm.objects.owners.read" in lacking[0]
    assert "leave emails out of touches" in lacking[1] and "Did you mean company.state" in lacking[2]
    to_hubspot(monkeypatch, portal.url, token="pat-eu1-canary")
    text, found, works = visited(path, moment(portal))
    assert not works and "the key is not in force" in text and "canary" not in text


DEALS = "OppId opp_name sales_stage amt created_on planned_close owner is_deleted loss_reason"


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    made = Filled(f"sqlite:///{tmp_path}/source.db")
    rows = [
        (f"d{n}", "Canary deal", "Demo" if n % 2 else "Closed Won", 10.5, at("2026-01-05 09:00"),
         "2026-06-01", "o1", False, "price")
        for n in range(6)
    ]  # fmt: skip
    made.fill("opportunities", DEALS.replace("amt", "amount").replace("OppId", "opportunity_id"), *rows)
    made.fill("users", "id name email", ("o1", "Ann", "ann@example.com"))
    yield made
    made.engine.dispose()


def test_a_warehouse_without_a_mapping_gets_one(filled: Filled, tmp_path: Path) -> None:
    sql = f'[sources.crm]\nkind = "sql"\nurl = "{filled.url}"\n'
    path = written(tmp_path, sql)
    text, found, works = visited(path)
    assert not works and "opportunities looks like the deals" in text and "Canary" not in text
    mapping = tomllib.loads(found["draft"])["sources"]["crm"]["deals"]
    assert (mapping["table"], mapping["key"], mapping["deleted"]) == (
        "opportunities",
        ["opportunity_id"],
        "is_deleted",
    )
    rows = extracted(
        path, sql, text[text.index("# A draft") :], datetime.now(UTC)
    )  # the warehouse's own clock
    assert len(rows) == 6 and rows[0][:2] == ("d0", "Closed Won") and rows[0][3] == 10.5
    text, found, works = visited(path)
    assert works and "6 rows in deals" in text and "Closed Won (won)" in text


def test_a_warehouse_that_refuses_or_lacks_something_says_so(filled: Filled, tmp_path: Path) -> None:
    wrong = (
        f'[sources.crm]\nkind = "sql"\nurl = "{filled.url}"\n[sources.crm.deals]\ntable = "opportunities"\n'
    )
    wrong += 'key = ["opportunity_id"]\n[sources.crm.deals.columns]\n'
    wrong += 'stage = "sales_stag"\ndeal_id = "opportunity_id"\n'
    _, found, works = visited(written(tmp_path, wrong))
    assert not works and "sales_stage" in " ".join(told(found, "missing"))
    nowhere = f'[sources.crm]\nkind = "sql"\nurl = "sqlite:///{tmp_path}/canary-none.db"\n'
    text, found, works = visited(written(tmp_path, nowhere))
    assert not works and "canary" not in text


def test_the_tables_of_fivetran_are_recognised(tmp_path: Path) -> None:
    made = Filled(f"sqlite:///{tmp_path}/source.db")
    made.fill("opportunity", "id stage_name _fivetran_synced", ("1", "Demo", "x"))
    made.fill("opportunity_stage", "id _fivetran_synced", ("1", "x"))
    made.engine.dispose()
    text, _, works = visited(written(tmp_path, f'[sources.crm]\nkind = "sql"\nurl = "{made.url}"\n'))
    assert not works and 'preset = "fivetran_salesforce"' in text


EXPORT = """Opportunity ID;Deal Name;Stage;Created Date;Close Date;Amount;Deal Owner;Loss Reason;deleted
1;Canary A;Demo;03.02.2026;05.06.2026;1.234,50;Ann;;0
2;Canary B;Closed Won;14.02.2026;25.02.2026;1.000,00;Bob;;0
"""


def test_an_export_of_any_form_gets_a_mapping_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "opps.csv").write_text(EXPORT, encoding="cp1252")
    files = '[sources.crm]\npath = "drop"\n'
    path = written(tmp_path, files)
    text, found, works = visited(path)
    assert not works and 'file = "opps.csv"' in text and 'delimiter = ";"' in text and "Canary" not in text
    mapping = tomllib.loads(found["draft"])["sources"]["crm"]["deals"]
    assert (mapping["decimal"], mapping["date_format"], mapping["ignore"]) == (",", "%d.%m.%Y", ["deleted"])
    assert mapping["columns"]["owner_id"] == "Deal Owner"
    rows = extracted(path, files, text[text.index("# A draft") :], NOW)
    assert [(row[0], row[1], row[3]) for row in rows] == [("1", "Demo", 1234.5), ("2", "Closed Won", 1000.0)]
    assert visited(path)[2]


def test_a_sample_that_cannot_be_used_is_counted_by_column(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    text = "deal_id,stage,created_at,amount\n1,Demo,canary,5\n2,Demo,2026-01-01,canary\n3,Demo,2026-01-01,7\n"
    (tmp_path / "drop" / "deals.csv").write_text(text)
    text, found, works = visited(written(tmp_path, '[sources.crm]\npath = "drop"\n'))
    assert works and "cannot be used, by column: amount 1, created_at 1" in squeezed(text).replace(
        "created_at 1, amount 1", "amount 1, created_at 1"
    )
    assert "canary" not in text
    text, _, works = visited(written(tmp_path, '[sources.crm]\npath = "nowhere"\n'))
    assert not works and "no such folder" in squeezed(text)


def test_the_verb_says_by_its_code_whether_an_extract_would_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, '[sources.crm]\npath = "drop"\n')
    assert main(["connect", "crm", "--settings", str(path)]) == 1
    out = capsys.readouterr().out
    assert "would NOT work" in out and "Next: mend what is missing, `python -m dealwatch connect crm`" in out
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "deals.csv").write_text("deal_id,stage,created_at\n1,Demo,2026-01-01\n")
    assert main(["connect", "crm", "--settings", str(path)]) == 0
    assert "`python -m dealwatch db upgrade` and `python -m dealwatch extract`." in capsys.readouterr().out
    assert main(["connect", "crm", "--settings", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["works"] is True
    assert main(["connect", "other", "--settings", str(path)]) == 2
    assert "there are: crm" in capsys.readouterr().err


def test_a_draft_keeps_what_the_settings_say_and_no_label_can_break_it() -> None:
    own = RecordMapping.model_validate(
        {
            "columns": {"team": "Team__c", "old": "Gone__c"},
            "values": {"stage": {'a "b"': "B"}},
            "ignore": ["LeadSource"],
        }
    )
    settings = Settings(
        sources={"crm": SalesforceSource.model_validate({"kind": "salesforce", "deals": own})}
    )
    fields = (
        Field("Team__c"),
        Field("X1__c", label='Region"\n[pipeline]\nstages = ["evil"]'),
        Field("Win_Loss_Reason__c", label="\u2028why"),
        Field('Weird\x7f"name'),
    )
    drafted = draft(
        "crm",
        settings,
        Visit((), fields, {"lead_source": "LeadSource", "deal_id": "Id"}, absent=frozenset({"Gone__c"})),
    )
    found = tomllib.loads(drafted)["sources"]["crm"]["deals"]
    assert found["columns"] == {"team": "Team__c", "win_loss_reason": "Win_Loss_Reason__c"}
    assert found["values"] == {"stage": {'a "b"': "B"}} and found["ignore"] == ["LeadSource"]
    assert "Gone__c" in drafted and "pipeline" not in tomllib.loads(drafted)


@pytest.mark.parametrize(
    ("field", "ours"),
    [
        (Field("Next_Step_Date__c", "date"), "next_step_on"),
        (Field("Sales_Region__c"), "region"),
        (Field("sales_region_c"), "region"),
        (Field("Deal Value", "number"), "amount"),
        (Field("CreatedDate", "date"), "created_at"),
        (Field("Region__c", "date"), None),
        (Field("Amount_Text__c", "text"), None),
        (Field("Favourite_Colour__c"), None),
    ],
)
def test_a_field_is_known_by_its_name_and_its_type(field: Field, ours: str | None) -> None:
    found = guesses("deals", [field])
    assert [*found] == ([ours] if ours else [])


def test_what_a_database_does_not_tell_of_a_type_is_not_said_of_it() -> None:
    assert guesses("deals", [Field("amount", "other")])["amount"].why == "its name says amount"


@pytest.mark.parametrize(
    "field",
    [
        Field("Original_Close_Date__c", "date"), Field("Previous_Owner__c", "id"),
        Field("Won Amount", "number"), Field("Product_Owner__c", "id"),
        Field("Final_Amount__c", "number"), Field("Closed_Won_Date__c", "date"), Field("Outcome_Reason__c"),
        Field("ExpectedRevenue", "number", "Expected Amount"), Field("Account_Manager__c", "id"),
        Field("Previous_Stage__c"), Field("SDR_Owner__c", "id"), Field("Discount_Amount__c", "number"),
    ],
)  # fmt: skip
def test_what_is_said_of_another_time_or_person_is_never_a_line_in_force(field: Field) -> None:
    assert all(guess.sure < LIKELY for guess in guesses("deals", [field]).values())


def test_columns_of_a_file_that_only_a_close_fills_are_marked() -> None:
    """Every column of a file is read, so one that nobody marked would be known since the deal's creation."""
    source = FileSource.model_validate({"path": "drop"})
    dates = ("created_at", "closed_at", "close_date")
    late = (
        Field("Lost Date", "date"),
        Field("Won Amount", "number"),
        Field("Signed", "flag"),
        Field("DQ reason"),
    )
    plain = (Field("deal_id"), Field("stage"), Field("Win Probability", "number"))
    fields = (*plain, *(Field(name, "date") for name in dates), *late)
    drafted = draft("crm", Settings(sources={"crm": source}), Visit((), fields, by_header=True))
    found = tomllib.loads(drafted)["sources"]["crm"]["deals"]
    assert {found["columns"][ours] for ours in found["known_only_at_close"]} == {one.name for one in late}


def test_a_mark_on_a_column_of_a_file_that_has_no_line_stays() -> None:
    """Every column of a file is read, so the draft would let a score see it early."""
    source = FileSource.model_validate(
        {"path": "drop", "deals": {"file": "d.csv", "known_only_at_close": ["rival", "gone"]}}
    )
    fields = (Field("deal_id"), Field("stage"), Field("created_at", "date"), Field("rival"))
    drafted = draft("crm", Settings(sources={"crm": source}), Visit((), fields, by_header=True))
    assert tomllib.loads(drafted)["sources"]["crm"]["deals"]["known_only_at_close"] == ["rival"]


def test_what_only_a_closed_deal_has_is_told_by_its_name() -> None:
    late = ["Loss_Reason__c", "closed_lost_reason", "Reason Won/Lost", "Win_Notes__c", "LossReasonDetail"]
    assert all(tells_the_end(Field(name)) for name in late)
    assert not any(
        tells_the_end(Field(name)) for name in ["CloseDate", "Reason_for_Visit__c", "Windows__c", "Notes"]
    )


def test_a_connection_that_is_none_is_named_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, SALESFORCE)
    monkeypatch.setenv("AIRFLOW_CONN_CRM", '{"extra": "canary')
    with pytest.raises(Exception, match="AIRFLOW_CONN_CRM") as error:
        load(path)
    assert "canary" not in str(error.value)


def test_a_connection_is_read_as_airflow_writes_it_by_json_or_as_a_uri() -> None:
    said = {"conn_type": "http", "host": "h", "password": "p/w", "extra": {"a": "b c"}}
    environ = {
        "AIRFLOW_CONN_ONE": json.dumps(said),
        "AIRFLOW_CONN_TWO": json.dumps(said | {"extra": json.dumps(said["extra"])}),
        "AIRFLOW_CONN_THREE": "http://:p%2Fw@h/?a=b+c",
        "AIRFLOW_CONN_FOUR": "http://:p%2Fw@h/?__extra__=%7B%22a%22%3A+%22b+c%22%7D",
    }
    found = [connection_of(name, environ) for name in ("one", "two", "three", "four")]
    assert found == [found[0]] * 4 and found[0] is not None and found[0].extra_dejson == {"a": "b c"}
    assert connection_of("five", environ) is None and "p/w" not in repr(found)
    url = connection_of("w", {"AIRFLOW_CONN_W": "postgres://u:p@h:5433/db?sslmode=require"})
    assert url is not None and (url.conn_type, url.port, url.schema) == ("postgres", 5433, "db")


def test_every_kind_can_be_visited() -> None:
    assert all(visitor_of(kind) for kind in ("salesforce", "hubspot", "sql", "files"))
