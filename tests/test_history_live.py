"""A live source comes to one ledger however often its reading is cut off; a short one changes nothing."""

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from conftest import new_database
from dealwatch import migrations
from dealwatch.crm.readers import Opener
from dealwatch.crm.sheets import Covers
from dealwatch.errors import ExtractRefused, SettingsError, SourceDown
from dealwatch.history.extract import extract
from dealwatch.history.gather import gather
from dealwatch.history.landing import land_pages
from dealwatch.history.remember import remember
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce
from dealwatch.tables import deal_changes, deals, extract_pages, extract_runs, extract_tables
from dealwatch.warehouse import connect, reading
from drop_files import contents
from small_crm import STAGES, Crash, Crm, CrmReader
from test_history_killed import plain_json

NIGHTS = ("open", "open", "open", "ids")


def of_crm(settings: Settings) -> Settings:
    sources = {"crm": Salesforce(kind="salesforce")}
    return settings.model_copy(update={"sources": sources, "time_zone": "UTC"})


def opening(reader: CrmReader) -> dict[str, Opener]:
    return {"salesforce": lambda _name, _settings: reader}


def night(engine: Engine, settings: Settings, reader: CrmReader) -> dict[str, int]:
    now = reader.crm.now + timedelta(minutes=1)
    return extract(engine, "crm", settings=settings, now=now, readers=opening(reader))


def lived(seed: int, nights: int) -> Crm:
    crm = Crm(seed)
    for _ in range(nights):
        crm.live()
    return crm


def standing(engine: Engine) -> list[tuple[Any, ...]]:
    c = deals.c
    columns = (c.deal_id, c.stage, c.amount, c.owner_id, c.outcome, c.closed_at, c.industry, c.is_deleted)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(c.deal_id))]


def moves(engine: Engine) -> set[tuple[Any, ...]]:
    c = deal_changes.c
    query = select(c.deal_id, c.new_value, c.happened_at).where(c.field == "stage")
    with reading(engine) as connection:
        return {tuple(row) for row in connection.execute(query)}


def test_nights_of_changes_end_at_the_truth(either_engine: Engine, either_settings: Settings) -> None:
    settings = of_crm(either_settings)
    crm = Crm(7)
    for covers in NIGHTS:
        night(either_engine, settings, CrmReader(crm, covers=covers))
        there = {d.id for d in crm.deals.values() if not d.is_deleted}
        told = {move for move in crm.told_moves() if move[0] in there}
        assert {move for move in moves(either_engine) if move[0] in there} == told
        if covers == "ids":
            break
        crm.live()
    assert standing(either_engine) == crm.standing()
    deleted = [row for row in crm.standing() if row[-1]]
    assert deleted and any(d.is_shredded and d.closed for d in crm.deals.values()), "nothing was put to test"
    kept = contents(either_engine)
    assert kept["extract_tables"] == kept["extract_pages"] == kept["quarantine"] == []
    assert len(kept["extract_runs"]) == len(NIGHTS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_crashes_after_any_page_change_nothing(
    either_engine: Engine, either_settings: Settings, tmp_path: Path, seed: int
) -> None:
    settings = of_crm(either_settings)
    calm = Settings(home=tmp_path / "calm")
    undisturbed = connect(calm)
    migrations.upgrade(undisturbed)
    chance, crashes = random.Random(seed), 0
    crm = Crm(seed)
    for covers in NIGHTS:
        night(undisturbed, of_crm(calm), CrmReader(crm, covers=covers))
        while True:
            reader = CrmReader(crm, covers=covers, seed=chance.randrange(99), dies_after=chance.randrange(30))
            try:
                night(either_engine, settings, reader)
                break
            except Crash:
                crashes += 1
        assert contents(either_engine) == contents(undisturbed)
        crm.live()
    assert crashes >= len(NIGHTS)
    undisturbed.dispose()


RUN = """
import os
import signal
import sys
import threading
from datetime import timedelta
from dealwatch.history.extract import extract
from dealwatch.settings import Settings
from dealwatch.warehouse import connect
from small_crm import CrmReader
from test_history_live import lived

settings = Settings.model_validate_json(sys.stdin.read())
seed, nights, covers, pages, reader_seed, seconds = sys.argv[1:]
if float(seconds):
    timer = threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
reader = CrmReader(lived(int(seed), int(nights)), covers=covers, seed=int(reader_seed),
                   dies_after=int(pages), really=True)
extract(connect(settings), "crm", settings=settings, now=reader.crm.now + timedelta(minutes=1),
        readers={"salesforce": lambda name, settings: reader})
print("done", flush=True)
"""


def run_until_killed(settings: Settings, *arguments: object) -> bool:
    """One run in a process of its own that kills itself after some pages; whether it finished."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent / "include"), str(here)])
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        input=plain_json(settings),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout == "done\n"


@pytest.mark.slow
@pytest.mark.parametrize("covers", ["all", "ids"])
def test_a_drop_remembered_in_parts_is_the_same_drop(
    either_engine: Engine, either_settings: Settings, tmp_path: Path, covers: Covers
) -> None:
    """Also of files, whose history alone tells which fields it tracks."""
    whole = connect(Settings(home=tmp_path / "whole"))
    migrations.upgrade(whole)
    crm = Crm(2)
    for _ in range(3):
        for engine, at_once in ((whole, 10_000), (either_engine, 9)):
            settings, reader = of_crm(either_settings), CrmReader(crm, covers=covers)
            source, now = settings.sources["crm"], crm.now + timedelta(hours=1)
            assert isinstance(source, Salesforce)
            if covers == "all":
                reader.tracked = None
            held = gather(engine, "crm", reader, source, settings=settings, now=now)
            landed = land_pages(engine, held, source, settings=settings, now=now)
            remember(engine, landed.extract_id, "crm", source, settings=settings, now=now, at_once=at_once)
        assert contents(either_engine) == contents(whole)
        crm.live()
    whole.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_runs_killed_in_the_middle_of_a_page_end_at_the_truth(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("postgres_server") if dialect == "postgresql" else None
    url = new_database(server, "live_killed") if server else f"sqlite:///{tmp_path}/live.db"
    settings = of_crm(Settings(home=tmp_path, warehouse_url=url))  # type: ignore[arg-type]
    engine = connect(settings)
    migrations.upgrade(engine)
    chance, kills = random.Random(20120116), 0
    for nights, covers in enumerate(NIGHTS):
        pages, seconds = 4, 0.0
        while not run_until_killed(settings, 5, nights, covers, pages, chance.randrange(99), seconds):
            kills += 1  # first between two pages, then wherever it is, landing and remembering included
            pages, seconds = (chance.randrange(15, 60), 0.0) if kills % 2 else (999, chance.random() * 2)
    assert kills >= len(NIGHTS)
    crm = lived(5, len(NIGHTS) - 1)
    assert standing(engine) == crm.standing()
    undisturbed = connect(Settings(home=tmp_path / "calm"))
    migrations.upgrade(undisturbed)
    for nights, covers in enumerate(NIGHTS):
        night(undisturbed, of_crm(Settings()), CrmReader(lived(5, nights), covers=covers))
    # A run that was killed when all had landed is made whole, and the source is read once more.
    ours, theirs = contents(engine), contents(undisturbed)
    for table in ("deal_changes", "deals", "activities", "owners", "quarantine", "extract_pages"):
        assert ours[table] == theirs[table], table
    engine.dispose()
    undisturbed.dispose()


def test_a_retry_asks_only_for_what_is_missing(engine: Engine, settings: Settings) -> None:
    settings = of_crm(settings)
    first = CrmReader(Crm(1), dies_after=9)
    with pytest.raises(Crash):
        night(engine, settings, first)
    second = CrmReader(Crm(1))
    night(engine, settings, second)
    assert first.asked[:2] == [("Account", None), ("Gone", None)]
    again, done = second.asked[0], {name for name, _ in first.asked[:-1]}
    assert again[0] == first.asked[-1][0] and again[1] is not None
    assert done.isdisjoint(name for name, _ in second.asked) and second.pasts == []


@pytest.mark.parametrize(("table", "by"), [("Open", 1), ("History", 3), ("Account", -1)])
def test_a_table_that_is_not_as_long_as_the_source_says_leaves_yesterday_as_it_was(
    either_engine: Engine, either_settings: Settings, table: str, by: int
) -> None:
    settings = of_crm(either_settings)
    crm = Crm(3)
    night(either_engine, settings, CrmReader(crm))
    before = contents(either_engine)
    crm.live()
    with pytest.raises(ExtractRefused, match=f"crm: {table} came with .* rows where the source counts"):
        night(either_engine, settings, CrmReader(crm, lies={table: by}))
    after = contents(either_engine)
    (run,) = after.pop("extract_runs")
    assert before.pop("extract_runs") != [run] and "where the source counts" in run
    assert after == before
    night(either_engine, settings, CrmReader(crm))
    with reading(either_engine) as connection:
        assert set(connection.execute(select(extract_runs.c.fault)).scalars()) == {None}


def test_a_table_that_ends_without_its_last_page_is_gone_on_with(engine: Engine, settings: Settings) -> None:
    class Breaks(CrmReader):
        def pages(self, table, place):  # type: ignore[no-untyped-def]
            for page in super().pages(table, place):
                if page.place is None and table.name == "History":
                    return
                yield page

    settings = of_crm(settings)
    with pytest.raises(SourceDown, match="crm: History stopped after .* without its last page"):
        night(engine, settings, Breaks(Crm(1)))
    assert contents(engine)["extract_pages"] and not contents(engine)["deals"]
    night(engine, settings, CrmReader(Crm(1)))
    assert standing(engine) == Crm(1).standing()


def test_what_was_read_a_day_ago_or_by_other_settings_is_let_go(engine: Engine, settings: Settings) -> None:
    settings = of_crm(settings)
    stages = settings.pipeline.model_copy(update={"stages": STAGES, "won_stages": ("Won",)})
    stages = stages.model_copy(update={"lost_stages": ("Lost",)})
    crm = Crm(1)
    for change in ("day", "settings"):
        with pytest.raises(Crash):
            night(engine, settings, CrmReader(crm, dies_after=12))
        if change == "day":
            crm.live()
        else:
            settings = settings.model_copy(update={"pipeline": stages})
        reader = CrmReader(crm)
        night(engine, settings, reader)
        assert reader.asked[0] == ("Account", None) and len(reader.pasts) == 1
        # What was set aside or understood otherwise has to be told again, however long ago it changed.
        assert (reader.pasts[0].cursor is None) == (reader.pasts[0].last is None or change == "settings")
        crm.live()
    assert contents(engine)["extract_pages"] == []


def test_the_cursor_is_the_sources_own_clock_when_the_last_extract_began(
    engine: Engine, settings: Settings
) -> None:
    settings = of_crm(settings)
    crm = Crm(1)
    begun = crm.now
    night(engine, settings, CrmReader(crm, covers="all"))
    crm.live()
    reader = CrmReader(crm)
    night(engine, settings, reader)
    (past,) = reader.pasts
    assert past.last is not None and past.last.begun_at == begun == past.cursor == past.whole_at
    with reading(engine) as connection:
        runs = connection.execute(select(extract_runs.c.extracted_at, extract_runs.c.cursor)).all()
    assert sorted(runs)[0] == (begun + timedelta(minutes=20, seconds=1), begun)


def test_what_was_left_unfinished_last_night_is_not_told_as_of_tonight(
    engine: Engine, settings: Settings
) -> None:
    """A run that begins a few seconds early, by the clock of its worker, is a night later all the same."""
    settings, crm = of_crm(settings), Crm(1)
    with pytest.raises(Crash):
        night(engine, settings, CrmReader(crm, dies_after=12))
    crm.live()
    reader = CrmReader(crm)
    now = crm.now + timedelta(minutes=1) - timedelta(seconds=20)
    extract(engine, "crm", settings=settings, now=now, readers=opening(reader))
    assert reader.asked[0] == ("Account", None)


def test_a_source_whose_clock_is_ahead_is_refused(engine: Engine, settings: Settings) -> None:
    """What it tells would be known only after the morning that it was read for, and nobody would see it."""
    settings, crm = of_crm(settings), Crm(1)
    now = crm.now - timedelta(hours=2)
    with pytest.raises(ExtractRefused, match="which is 2:00:00 ahead of ours"):
        extract(engine, "crm", settings=settings, now=now, readers=opening(CrmReader(crm)))
    assert contents(engine)["extract_runs"] == []


def test_a_moment_of_the_past_is_refused_and_no_fault(engine: Engine, settings: Settings) -> None:
    settings, crm = of_crm(settings), Crm(1)
    night(engine, settings, CrmReader(crm))
    crm.live()
    past = crm.now - timedelta(days=2)
    with pytest.raises(ExtractRefused, match="read as of now"):
        extract(engine, "crm", settings=settings, now=past, readers=opening(CrmReader(crm)))
    with reading(engine) as connection:
        assert connection.execute(select(extract_runs.c.fault)).scalars().all() == [None]


@pytest.mark.parametrize("dies_after", [None, 2])
def test_two_runs_at_once_double_no_page(
    either_engine: Engine, either_settings: Settings, dies_after: int | None
) -> None:
    """The second one takes over in the middle of a table; the first one finds out with its next page."""
    settings = of_crm(either_settings)

    class Overtaken(CrmReader):
        def pages(self, table, place):  # type: ignore[no-untyped-def]
            for n, page in enumerate(super().pages(table, place)):
                if table.name == "History" and n == 2:
                    with contextlib.suppress(Crash):
                        night(either_engine, settings, CrmReader(Crm(1), dies_after=dies_after))
                yield page

    with pytest.raises(SourceDown, match="another run"):
        night(either_engine, settings, Overtaken(Crm(1)))
    if dies_after is not None:
        night(either_engine, settings, CrmReader(Crm(1)))
    assert standing(either_engine) == Crm(1).standing()
    again = CrmReader(lived(1, 1))
    night(either_engine, settings, again)
    with reading(either_engine) as connection:
        assert not connection.execute(select(extract_tables.c.name)).all()
        assert not connection.execute(select(extract_pages.c.name)).all()


def test_progress_is_told_in_rows(
    engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    night(engine, of_crm(settings), CrmReader(Crm(1)))
    assert "crm: Open: 43 of 43 rows" in caplog.messages


def test_a_kind_that_nothing_reads_is_said_so(engine: Engine, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="kind = 'salesforce' cannot be read"):
        extract(engine, "crm", settings=of_crm(settings), now=Crm(1).now, readers={})
