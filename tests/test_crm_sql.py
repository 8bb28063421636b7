"""A warehouse is read whole and once: by key, through kills, ties and rows that come meanwhile."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from conftest import new_database
from dealwatch.crm.pages import Past
from dealwatch.crm.readers import READERS
from dealwatch.crm.sql.reader import open_sql
from dealwatch.crm.sql.text import place_of, read_place, text_of
from dealwatch.errors import ExtractRefused, SettingsError, SourceDown
from dealwatch.settings import Settings, load
from dealwatch.sources import Sql
from drop_files import contents, current
from test_history_killed import plain_json
from warehouse_tables import Filled, at, read_now, told_rows, with_sql

DEALS = "id name stage_name amount owner created closed won lost is_gone"
MAPPED: dict[str, Any] = {
    "table": "opps",
    "key": ["id"],
    "deleted": "is_gone",
    "columns": {"deal_id": "id", "stage": "stage_name", "owner_id": "owner", "created_at": "created"},
    "ignore": ["name"],
}
CANARY = "hunter2-canary"


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """An empty warehouse of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/source.db"
    else:
        server = request.getfixturevalue("postgres_server")
        url = new_database(server, f"src{abs(hash((request.node.nodeid, os.getpid()))):x}")
    made = Filled(url)
    yield made
    made.engine.dispose()


def opp(n: int, stage: str = "Demo", *, is_gone: bool = False) -> tuple[Any, ...]:
    return (f"d{n:04}", f"Deal {n}", stage, 100.5, "o1", at("2026-01-05 09:00"), None, False, False, is_gone)


def test_a_table_is_read_page_by_page_and_what_is_deleted_is_gone(
    filled: Filled, engine: Engine, settings: Settings
) -> None:
    filled.fill("opps", DEALS, *(opp(n, is_gone=n == 3) for n in range(25)))
    settings = with_sql(settings, filled.url, deals=MAPPED, page_rows=10)
    told = read_now(engine, settings)
    assert told.sizes == {"deals": [10, 10, 4]}
    assert current(engine, "deal_id", "stage", "amount", "name")[2:4] == [
        ("d0002", "Demo", 100.5, None),
        ("d0004", "Demo", 100.5, None),
    ]
    filled.run("UPDATE opps SET is_gone = (id = 'd0004')")
    read_now(engine, settings)
    gone = dict(current(engine, "deal_id", "is_deleted"))
    assert gone["d0004"] and not gone["d0003"] and sum(gone.values()) == 1


def test_rows_of_one_key_are_never_parted(filled: Filled, settings: Settings) -> None:
    """A place after half of them would lose the others, whichever page they end up on."""
    moves = [
        (f"d{n:04}", "stage", f"from {n}", f"to {n}", at(f"2026-01-{1 + n // 9:02} 09:00")) for n in range(50)
    ]
    filled.fill("opps", DEALS, opp(1))
    filled.fill("moves", "deal_id field old_value new_value changed_at", *moves)
    history = {"table": "moves", "key": ["changed_at"]}
    settings = with_sql(settings, filled.url, deals=MAPPED, deal_history=history, page_rows=5)
    reader = open_sql("crm", settings)
    table = {one.name: one for one in reader.plan(Past()).tables}["deal_history"]
    places: list[str | None] = [None]
    whole: list[tuple[Any, ...]] = []
    for page in reader.pages(table, None):
        whole += page.rows.rows()
        places.append(page.place)
    assert len(whole) == len({*whole}) == 50 and len(places) > 4
    for number, place in enumerate(places[:-1]):
        rest = [row for page in reader.pages(table, place) for row in page.rows.rows()]
        before = 0 if place is None else read_place(place)[1]
        assert whole[before:] == rest, number


def test_a_key_that_tells_nothing_apart_is_refused(
    filled: Filled, engine: Engine, settings: Settings
) -> None:
    filled.fill("opps", DEALS, *(opp(n) for n in range(50)))
    key = {**MAPPED, "key": ["owner"]}
    with pytest.raises(ExtractRefused, match="more than 40 rows have the same owner; add columns to the key"):
        read_now(engine, with_sql(settings, filled.url, deals=key, page_rows=2))
    filled.run("UPDATE opps SET owner = NULL WHERE id = 'd0007'")
    with pytest.raises(ExtractRefused, match="owner is empty in 1 rows; name as key columns"):
        read_now(engine, with_sql(settings, filled.url, deals=key))


def test_a_table_that_grows_while_it_is_read_is_told_as_it_was(
    filled: Filled, engine: Engine, settings: Settings
) -> None:
    """SQLite needs a write-ahead log for that; without it the writer waits."""
    if filled.url.startswith("sqlite"):
        filled.run("PRAGMA journal_mode = WAL")
    filled.fill("opps", DEALS, *(opp(n) for n in range(10, 40)))

    def grow(number: int, page: Any) -> None:
        if number == 2:
            filled.add("opps", DEALS, opp(1), opp(90))

    settings = with_sql(settings, filled.url, deals=MAPPED, page_rows=10)
    read_now(engine, settings, grow)
    assert {deal for (deal,) in current(engine, "deal_id")} == {f"d{n:04}" for n in range(10, 40)}
    read_now(engine, settings)
    assert len(current(engine, "deal_id")) == 32


class Crash(Exception):
    """What no code expects."""


def test_rows_that_come_between_a_crash_and_its_retry_cost_nothing(
    filled: Filled, engine: Engine, settings: Settings
) -> None:
    filled.fill("opps", DEALS, *(opp(n) for n in range(10, 40)))
    settings = with_sql(settings, filled.url, deals=MAPPED, page_rows=10)

    def crash(number: int, page: Any) -> None:
        if number == 2:
            raise Crash

    with pytest.raises(Crash):
        read_now(engine, settings, crash)
    filled.add("opps", DEALS, opp(1), opp(90))
    filled.run("DELETE FROM opps WHERE id IN ('d0012', 'd0033')")
    told = read_now(engine, settings)
    assert told.sizes == {"deals": [10, 10]}, "the first page was read again"
    deals = {deal for (deal,) in current(engine, "deal_id")}
    assert deals == {f"d{n:04}" for n in (*range(10, 33), *range(34, 40), 90)}
    read_now(engine, settings)
    assert dict(current(engine, "deal_id", "is_deleted"))["d0012"]


RUN = """
import json, os, signal, sys
from dealwatch.settings import Settings
from dealwatch.warehouse import connect
from warehouse_tables import read_now, with_sql

pages, url, source = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
settings = with_sql(Settings.model_validate_json(sys.stdin.read()), url, **source)
def die(number, page):
    if number > pages:
        os.kill(os.getpid(), signal.SIGKILL)
read_now(connect(settings), settings, die)
print("done", flush=True)
"""


def test_kills_between_pages_lose_and_double_nothing(
    filled: Filled, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    filled.fill("opps", DEALS, *(opp(n) for n in range(45)))
    moves = [
        (f"d{n % 45:04}", "stage", "New", "Demo", at(f"2026-02-{1 + n // 9:02} 09:00")) for n in range(90)
    ]
    filled.fill("moves", "deal_id field old_value new_value changed_at", *moves)
    history = {"table": "moves", "key": ["changed_at", "deal_id"]}
    source = {"deals": MAPPED, "deal_history": history, "page_rows": 10}
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent / "include"), str(here)])
    kills = 0
    while True:
        done = subprocess.run(
            [sys.executable, "-c", RUN, "5", filled.url, json.dumps(source)],
            input=plain_json(settings),
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        if done.stdout == "done\n":
            break
        kills += 1
        assert kills < 9
    assert kills >= 2
    assert len(current(engine, "deal_id")) == 45
    kept = contents(engine)
    assert kept["extract_tables"] == kept["extract_pages"] == kept["quarantine"] == []
    assert len(kept["raw_records"]) == 45 + 90


def test_joins_fetch_columns_of_another_table(filled: Filled, engine: Engine, settings: Settings) -> None:
    filled.fill("opps", DEALS + " account", (*opp(1), "a1"), (*opp(2), "a9"))
    filled.fill("accounts", "account_id sector", ("a1", "Steel"), (None, "Nobody"))
    joins = [{"file": "accounts", "on": {"account": "account_id"}, "take": {"industry": "sector"}}]
    read_now(engine, with_sql(settings, filled.url, deals={**MAPPED, "joins": joins}))
    assert current(engine, "deal_id", "account", "industry") == [
        ("d0001", "a1", "Steel"),
        ("d0002", "a9", None),
    ]


def test_a_place_reads_back_as_the_key_it_was(filled: Filled, settings: Settings) -> None:
    filled.fill("opps", DEALS, *(opp(n) for n in range(30)))
    filled.fill(
        "ticks", "n deal_id happened_at", *((n, "d0001", at(f"2026-01-{1 + n:02} 09:00")) for n in range(20))
    )
    for key in (["n"], ["happened_at"], ["deal_id", "n"]):
        touches = {"table": "ticks", "key": key}
        told = told_rows(
            with_sql(settings, filled.url, deals=MAPPED, activities=touches, page_rows=3), "activities"
        )
        assert len(told) == 20 and told[0]["happened_at"].startswith("2026-01-01")
    key = (datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), Decimal("1.50"), UUID(int=7), "x", 5)
    assert read_place(place_of(key, 9)) == (key, 9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"table": "opportunities"}, "opportunities: no such table in the connection's schema"),
        ({"columns": {**MAPPED["columns"], "amount": "worth"}}, "opps: there is no column 'worth'"),
        ({"key": ["nr"]}, "opps: there is no column 'nr'"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    filled: Filled, engine: Engine, settings: Settings, change: dict[str, Any], words: str
) -> None:
    filled.fill("opps", DEALS, opp(1))
    with pytest.raises(ExtractRefused, match=words):
        read_now(engine, with_sql(settings, filled.url, deals={**MAPPED, **change}))


@pytest.mark.parametrize("name", ["opps; DROP TABLE opps", 'o"pps', "o.pps", "öpps", ""])
def test_only_plain_names_are_written_into_sql(name: str) -> None:
    for change in ({"table": name}, {"key": [name]}, {"deleted": name}, {"columns": {"name": name + '"'}}):
        with pytest.raises(ValueError, match="is no name of letters, digits and _"):
            Sql.model_validate({"kind": "sql", "deals": {**MAPPED, **change}})
    with pytest.raises(ValueError, match="is no name of letters"):
        Sql.model_validate({"kind": "sql", "in_schema": name, "deals": MAPPED})


def test_names_that_sql_keeps_for_itself_are_quoted(
    filled: Filled, engine: Engine, settings: Settings
) -> None:
    filled.fill("user", "id Select", ("o1", "Ann"))
    filled.fill("opps", DEALS, opp(1))
    owners = {"table": "user", "key": ["id"], "columns": {"owner_id": "id", "name": "Select"}}
    settings = with_sql(settings, filled.url, deals=MAPPED, owners=owners)
    assert told_rows(settings, "owners") == [{"id": "o1", "Select": "Ann"}]


def test_nothing_can_be_written(filled: Filled, settings: Settings) -> None:
    filled.fill("opps", DEALS, opp(1))
    urls = [filled.url]
    if filled.url.startswith("sqlite"):  # a URL that asks for the right to write
        urls.append(filled.url.replace("sqlite:///", "sqlite:///file:") + "?mode=rw&uri=true")
    for url in urls:
        reader = open_sql("crm", with_sql(settings, url, deals=MAPPED))
        with reader.connected() as connection, pytest.raises(Exception, match="(?i)read.?only"):
            connection.exec_driver_sql("DELETE FROM opps")


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, settings: Settings, engine: Engine) -> None:
    with pytest.raises(ExtractRefused, match="a table, a column or the database is not there"):
        read_now(engine, with_sql(settings, f"sqlite:///{tmp_path}/none.db", deals=MAPPED))
    assert not (tmp_path / "none.db").exists()


def test_the_kind_is_read_and_its_url_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[sources.crm]\nkind = "sql"\npreset = "fivetran_salesforce"\n', encoding="utf-8")
    monkeypatch.setenv("DEALWATCH_SOURCES__CRM__URL", f"postgresql+psycopg://me:{CANARY}@h/d")
    settings = load(path)
    source = settings.sources["crm"]
    assert isinstance(source, Sql) and source.url is not None and CANARY in source.url.get_secret_value()
    assert CANARY not in repr(settings) and "sql" in READERS


def test_no_error_holds_a_password_a_statement_or_a_row(
    postgres_server: str, engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing right, a slow query, a wrong host, a wrong password, a URL that is none."""
    caplog.set_level("DEBUG")
    url = new_database(postgres_server, "canaries")
    filled = Filled(url)
    filled.fill("opps", DEALS, opp(1, stage=CANARY))
    filled.run(f"DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD '{CANARY}'")
    own = url.replace("dealwatch@", f"reader:{CANARY}@")
    closed = own.replace(own.rpartition(":")[2], "1/canaries")
    said: list[str] = []

    def refused(url: str, kind: type[Exception], words: str, **more: Any) -> None:
        with pytest.raises(kind, match=words) as caught:
            read_now(engine, with_sql(settings, url, deals=MAPPED, **more))
        error: BaseException | None = caught.value
        while error is not None:
            said.append(f"{type(error)} {error!r} {error}")
            error = error.__cause__ or error.__context__

    refused(own, ExtractRefused, "the role may not read a table .*42501.*; grant it SELECT")
    refused(closed, SourceDown, "the warehouse does not answer")
    refused(own.replace("canaries", "nowhere"), ExtractRefused, "refuses the login|is not there")
    refused(f"postgresql+psycopg://a:{CANARY}@h:port/d", SettingsError, "url is no SQLAlchemy URL")
    refused(f"nobase://a:{CANARY}@h/d", SettingsError, "driver is not installed")
    filled.run("CREATE VIEW odd AS SELECT opps.*, CAST(stage_name AS INTEGER) AS amount_text FROM opps")
    odd = {**MAPPED, "table": "odd", "columns": {**MAPPED["columns"], "amount": "amount_text"}}
    with pytest.raises(ExtractRefused, match="does not take our query .*22P02") as caught:
        read_now(engine, with_sql(settings, url, deals=odd))
    said.append(repr(caught.value))
    caplog.set_level("DEBUG", logger="sqlalchemy.engine")
    assert told_rows(with_sql(settings, url, deals=MAPPED), "deals")[0]["stage_name"] == CANARY
    filled.run("CREATE VIEW slow AS SELECT * FROM opps WHERE pg_sleep(3) IS NOT NULL")
    slow = {**MAPPED, "table": "slow"}
    with pytest.raises(ExtractRefused, match="took longer than 1 seconds .*57014") as caught:
        read_now(engine, with_sql(settings, url, deals=slow, statement_timeout_seconds=1))
    said.append(repr(caught.value))
    assert CANARY not in "\n".join([*said, caplog.text]) and "SELECT" not in "".join(said).replace(
        "grant it SELECT", ""
    )


def airflow_connection(**fields: Any) -> SimpleNamespace:
    blank = {"conn_type": "postgres", "host": "", "port": None, "login": "", "password": "", "schema": ""}
    return SimpleNamespace(**{**blank, "extra_dejson": {}, **fields})


def test_an_airflow_connection_says_where_the_warehouse_is(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[sources.crm]\nkind = "sql"\npreset = "fivetran_hubspot"\n', encoding="utf-8")
    asked: list[str] = []

    def url_of(**fields: Any) -> str:
        def connection(name: str) -> Any:
            asked.append(name)
            return airflow_connection(**fields) if name == "crm" else None

        source = load(path, connection=connection).sources["crm"]
        assert isinstance(source, Sql) and source.url is not None and CANARY not in repr(source)
        return source.url.get_secret_value()

    told = {"host": "h", "port": 5433, "login": "me", "password": f"{CANARY}/@:", "schema": "dw"}
    extra = {"extra_dejson": {"sslmode": "verify-full", "cursor": "dictcursor"}}
    quoted = f"{CANARY}%2F%40%3A"
    assert url_of(**told, **extra) == f"postgresql+psycopg://me:{quoted}@h:5433/dw?sslmode=verify-full"
    assert url_of(extra_dejson={"url": "sqlite:///x.db"}) == "sqlite:///x.db"
    assert "crm" in asked


def test_a_source_without_a_url_says_what_to_make(engine: Engine, settings: Settings) -> None:
    source = Sql.model_validate({"kind": "sql", "deals": MAPPED, "connection": "dw"})
    with pytest.raises(
        SettingsError,
        match="make the Airflow connection 'dw', or set AIRFLOW_CONN_DW or DEALWATCH_SOURCES__CRM",
    ):
        open_sql("crm", settings.model_copy(update={"sources": {"crm": source}}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 7, 1, 10), "2026-07-01T08:00:00Z"),
        (datetime(2026, 7, 1, 10, tzinfo=UTC), "2026-07-01T10:00:00Z"),
        (date(2026, 7, 1), "2026-07-01"),
        (Decimal("1000000.50"), "1000000.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), None),
        (True, "true"),
        (7, "7"),
        ({"b": 1}, '{"b": 1}'),
        (None, None),
    ],
)
def test_a_value_has_one_text(value: Any, text: str | None) -> None:
    assert text_of(value, ZoneInfo("Europe/Berlin")) == text


def test_what_is_no_text_is_refused_by_its_column(filled: Filled, engine: Engine, settings: Settings) -> None:
    filled.fill("opps", DEALS, opp(1))
    kind = "BYTEA" if filled.url.startswith("postgresql") else "BLOB"
    filled.run(f"ALTER TABLE opps ADD COLUMN picture {kind}")
    literal = "'\\x00'" if kind == "BYTEA" else "x'00'"
    filled.run(f"UPDATE opps SET picture = {literal}")
    deals = {**MAPPED, "columns": {**MAPPED["columns"], "region": "picture"}}
    with pytest.raises(ExtractRefused, match="deals holds a value of type bytes, which is no text; leave it"):
        read_now(engine, with_sql(settings, filled.url, deals=deals))
