"""A drop lands once and whole, whatever happens on the way, and a broken one leaves nothing."""

import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, select, update

from dealwatch import migrations
from dealwatch.errors import ExtractRefused, SettingsError
from dealwatch.history.extract import extract
from dealwatch.history.freshness import incident, newest_extracts
from dealwatch.history.landing import land, unread_drops
from dealwatch.history.ledger import read_ledger, values_as_of
from dealwatch.history.raw import raw_slices
from dealwatch.history.remember import remember
from dealwatch.knobs import Pipeline
from dealwatch.settings import Settings
from dealwatch.tables import extract_runs
from dealwatch.warehouse import connect, reading, writing
from drop_files import (
    ACTIVITIES,
    DEALS,
    HISTORY,
    NOW,
    at,
    changes,
    contents,
    current,
    extracted,
    set_aside,
    with_source,
    write_drop,
)

TWO = (
    f"{DEALS}a,Alpha,100,Demo,o1,2026-01-05T09:00:00Z,2026-05-01,,\n"
    "b,Beta,200,Won,o2,2026-01-06T09:00:00Z,,2026-02-01T10:00:00Z,won\n"
)
MOVES = (
    f"{HISTORY}a,2026-01-05T09:00:00Z,stage,,New\na,2026-01-20T09:00:00Z,stage,New,Demo\n"
    "b,2026-01-06T09:00:00Z,stage,,New\nb,2026-02-01T10:00:00Z,stage,New,Won\n"
)
CALLS = f"{ACTIVITIES}a,2026-01-21T09:00:00Z,call,out,o1\nb,2026-01-22T09:00:00Z,mail,in,o2\n"
OWNERS = "owner_id,name,email,active\no1,Ann,ann@example.com,\no2,Bo,,false\n"


def shuffled(text: str) -> str:
    header, *rows = text.splitlines(keepends=True)
    return header + "".join(sorted(rows, key=lambda row: row[::-1]))


def test_reading_the_same_drop_again_changes_nothing(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    settings = with_source(either_settings, drop)
    files = {"deals": TWO, "deal_history": MOVES, "activities": CALLS, "owners": OWNERS}
    first = extracted(either_engine, settings, drop, **files)
    assert (first["drops"], first["deals"], first["activities"]) == (1, 2, 2)
    before = contents(either_engine)
    assert before["deal_changes"] and before["owners"] and before["raw_records"]
    again = extract(either_engine, "crm", settings=settings, now=at("2026-03-03 05:00"))
    assert set(again.values()) == {0}
    assert contents(either_engine) == before


def test_files_sorted_anew_tell_nothing_new(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    settings = with_source(settings, drop)
    ties = f"{HISTORY}a,2026-01-20,stage,,New\na,2026-01-20,stage,New,Demo\na,2026-01-20,stage,Demo,New\n"
    ties += "a,2026-01-20,stage,New,Demo\nb,2026-02-01,stage,New,Won\n"
    extracted(engine, settings, drop, deals=TWO, deal_history=ties, activities=CALLS)
    before = contents(engine)
    counts = extracted(
        engine,
        settings,
        drop,
        at("2026-03-03 05:00"),
        deals=shuffled(TWO),
        deal_history=shuffled(ties),
        activities=shuffled(CALLS),
    )
    assert (counts["drops"], counts["changes"], counts["activities"]) == (1, 0, 0)
    after = contents(engine)
    for table in ("deal_changes", "deals", "activities", "quarantine"):
        assert after[table] == before[table]


def test_a_drop_that_landed_but_was_not_remembered_is_completed_by_the_next_run(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    settings = with_source(either_settings, drop)
    source = settings.sources["crm"]
    write_drop(drop, deals=TWO, deal_history=MOVES)
    (unread,) = unread_drops(either_engine, "crm", source, settings=settings, now=NOW)
    for records in (6, 0):  # a second landing finds the first
        assert land(either_engine, unread, source, settings=settings, now=NOW).records == records
    assert not contents(either_engine)["deal_changes"]
    counts = extract(either_engine, "crm", settings=settings, now=at("2026-03-03 05:00"))
    assert (counts["drops"], counts["deals"]) == (0, 2)
    assert current(either_engine, "deal_id", "outcome") == [("a", None), ("b", "won")]
    assert changes(either_engine, "owner_id")[0][-1] == at("2026-01-05 09:00")
    after = contents(either_engine)
    assert not any(
        remember(either_engine, unread.extract_id, "crm", source, settings=settings, now=NOW).values()
    )
    assert contents(either_engine) == after


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("deals.csv", b"deal_id,stage\na,Demo\n", "column 'created_at' is missing"),
        ("deals.csv", b"", "the file is empty"),
        ("deals.csv", DEALS.encode(), "no deal in it can be used"),
        (
            "deals.csv",
            (DEALS + "a,,,Demo,,nonsense,,,\n").encode(),
            "line 2: created_at cannot be used. ",
        ),
        ("deals.csv", (DEALS + "a,Caf\xe9,1,Demo,,2026-01-05,,,\n").encode("latin-1"), "is not utf-8 text"),
        ("deals.csv.gz", gzip.compress(TWO.encode(), mtime=0)[:60], "cut short or damaged"),
        ("deal_history.csv", b"deal_id,field\n", "column 'changed_at' is missing"),
        ("deal_history.csv", b"", "the file is empty"),
        ("activities.csv", MOVES.encode("utf-16"), "activities.csv"),
    ],
)
def test_a_file_that_cannot_be_used_refuses_the_whole_drop(
    engine: Engine, settings: Settings, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    drop = tmp_path / "drop"
    settings = with_source(settings, drop)
    extracted(engine, settings, drop, deals=TWO)
    before = contents(engine)
    write_drop(drop, deals=TWO.replace("100", "150"))
    if name.startswith("deals"):
        (drop / "deals.csv").unlink()
    (drop / name).write_bytes(content)
    with pytest.raises(ExtractRefused) as refused:
        extract(engine, "crm", settings=settings, now=at("2026-03-03 05:00"))
    assert says in str(refused.value) and name in str(refused.value)
    with writing(engine) as connection:
        assert connection.execute(select(extract_runs.c.fault)).scalars().all() == [str(refused.value)]
        connection.execute(update(extract_runs).values(fault=None))
    assert contents(engine) == before


def test_header_only_files_are_fine_where_nothing_is_required(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    counts = extracted(
        engine,
        settings,
        tmp_path,
        deals=TWO,
        deal_history=HISTORY,
        activities=ACTIVITIES,
        owners="owner_id\n",
    )
    assert (counts["deals"], counts["activities"]) == (2, 0)


def test_a_file_that_the_settings_name_must_be_there(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path, source={"deal_history": {"file": "moves.csv"}})
    with pytest.raises(ExtractRefused, match=r"moves\.csv: no such file"):
        extracted(engine, settings, tmp_path, deals=TWO)


def test_a_missing_folder_file_or_source_is_named(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ExtractRefused, match="no such folder"):
        extract(engine, "crm", settings=with_source(settings, tmp_path / "gone"), now=NOW)
    with pytest.raises(ExtractRefused, match=r"deals\.csv: no such file, nor a folder named YYYY-MM-DD"):
        extract(engine, "crm", settings=with_source(settings, tmp_path), now=NOW)
    with pytest.raises(SettingsError, match="no source 'erp' is configured; there are: crm"):
        extract(engine, "erp", settings=with_source(settings, tmp_path), now=NOW)


def test_one_folder_a_day_is_read_in_order_up_to_now(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    for day, amount in (("2026-03-02", "130"), ("2026-03-01", "120"), ("2026-03-04", "140")):
        write_drop(tmp_path / day, deals=TWO.replace("100", amount))
    assert extract(engine, "crm", settings=settings, now=at("2026-03-03 12:00"))["drops"] == 2
    assert current(engine, "amount")[0] == (130.0,)
    assert extract(engine, "crm", settings=settings, now=at("2026-03-04 04:59"))["drops"] == 0
    assert extract(engine, "crm", settings=settings, now=at("2026-03-04 05:00"))["drops"] == 1
    assert current(engine, "amount")[0] == (140.0,)
    # A day that turns up after a later one was read cannot change what is known.
    write_drop(tmp_path / "2026-03-03", deals=TWO.replace("100", "999"))
    assert extract(engine, "crm", settings=settings, now=at("2026-03-05 05:00"))["drops"] == 0


def test_a_refused_day_does_not_hold_up_the_next(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    settings = with_source(settings, tmp_path)
    write_drop(tmp_path / "2026-03-01", deals="")
    with pytest.raises(ExtractRefused, match="2026-03-01"):
        extract(engine, "crm", settings=settings, now=at("2026-03-01 12:00"))
    write_drop(tmp_path / "2026-03-02", deals=TWO)
    counts = extract(engine, "crm", settings=settings, now=at("2026-03-02 12:00"))
    assert (counts["refused"], counts["drops"]) == (1, 1)


def test_changed_files_cannot_speak_for_an_earlier_moment(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    extracted(engine, settings, tmp_path, deals=TWO)
    with pytest.raises(ExtractRefused, match="cannot speak for 2026-02-20"):
        extracted(engine, settings, tmp_path, at("2026-02-20 05:00"), deals=TWO.replace("100", "150"))


def test_corrected_settings_read_the_same_files_again(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    extracted(engine, with_source(settings, tmp_path), tmp_path, deals=TWO + "c,Gamma,,Demo,,31.01.2026,,,\n")
    assert len(set_aside(engine)) == 1
    corrected = with_source(
        settings, tmp_path, source={"deals": {"file": "deals.csv", "date_format": "%d.%m.%Y"}}
    )
    assert extract(engine, "crm", settings=corrected, now=NOW)["deals"] == 1
    assert current(engine, "deal_id") == [("a",), ("b",), ("c",)]


def test_an_extract_is_fresh_until_it_is_as_old_as_the_settings_allow(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    alerts = settings.alerts.model_copy(update={"stale_after_hours": 26})
    settings = with_source(settings, tmp_path, alerts=alerts)

    def stale(moment: str) -> str | None:
        with reading(engine) as connection:
            found = incident(connection, at(moment), settings=settings)
            return found.sentence if found else None

    assert stale("2026-03-02 06:00") == "Nothing was ever extracted from crm."
    extracted(engine, settings, tmp_path, deals=TWO)
    assert stale("2026-02-01 06:00") is None
    assert stale("2026-03-03 07:00") is None
    assert stale("2026-03-03 07:01") == "The last extract is older than 26 hours: crm (2026-03-02 05:00)."


def written(folder: Path, moment: str) -> None:
    for file in folder.iterdir():
        os.utime(file, (at(moment).timestamp(),) * 2)


def test_files_written_again_unchanged_speak_for_the_later_moment(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    settings = with_source(either_settings, drop)
    write_drop(drop, deals=TWO, deal_history=MOVES)
    written(drop, "2026-03-02 04:50")
    extract(either_engine, "crm", settings=settings, now=NOW)

    def newest() -> datetime:
        with reading(either_engine) as connection:
            return newest_extracts(connection)["crm"]

    before = contents(either_engine)
    friday, monday = NOW, at("2026-03-05 05:00")
    assert set(extract(either_engine, "crm", settings=settings, now=monday).values()) == {0}
    assert newest() == friday  # nobody wrote the files since: a dead exporter goes stale
    written(drop, "2026-03-05 04:50")
    assert set(extract(either_engine, "crm", settings=settings, now=at("2026-03-04 05:00")).values()) == {0}
    assert newest() == friday  # files written later cannot speak for an earlier moment
    assert set(extract(either_engine, "crm", settings=settings, now=monday).values()) == {0}
    assert newest() == monday
    after = contents(either_engine)
    assert {name for name in after if after[name] != before[name]} == {"extract_runs"}
    # What the files did not tell on Monday is late news on Tuesday.
    tuesday = at("2026-03-06 05:00")
    late = f"{MOVES}a,2026-03-04T12:00:00Z,stage,Demo,Legal\n"
    extracted(
        either_engine,
        settings,
        drop,
        tuesday,
        deals=TWO.replace("100,Demo", "100,Legal"),
        deal_history=late,
    )
    assert changes(either_engine, "stage")[2][3:] == ("Legal", at("2026-03-04 12:00"), tuesday)


def test_history_of_a_stage_not_configured_is_taken_up_once_it_is(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    history = "a,2026-01-20T09:00:00Z,stage,New,Talk\na,2026-02-10T09:00:00Z,stage,Talk,Demo\n"
    known = ("New", "Demo")
    files = {"deals": f"{DEALS}a,Alpha,100,Demo,o1,2026-01-05,,,\n", "deal_history": HISTORY + history}
    narrow = with_source(settings, tmp_path, pipeline=Pipeline(stages=known))
    extracted(engine, narrow, tmp_path, **files)
    assert [row[:3] for row in set_aside(engine)] == [("deal_history", 2, "new_value")]
    # The unknown word is no first value either, and its row is not lost.
    assert [c[2:4] for c in changes(engine, "stage")] == [(None, "Demo")]
    wide = with_source(settings, tmp_path, pipeline=Pipeline(stages=(*known, "Talk")))
    assert extract(engine, "crm", settings=wide, now=at("2026-03-03 05:00"))["drops"] == 1
    assert ("New", "Talk", at("2026-01-20 09:00"), at("2026-03-03 05:00")) in [
        c[2:] for c in changes(engine, "stage")
    ]
    assert sum(c[4] == at("2026-02-10 09:00") for c in changes(engine, "stage")) == 1  # stored once
    assert current(engine, "stage") == [("Demo",)]


def test_two_sources_cannot_own_one_deal(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    settings = with_source(settings, tmp_path)
    extracted(engine, settings, tmp_path, deals=TWO)
    both = settings.model_copy(update={"sources": {**settings.sources, "erp": settings.sources["crm"]}})
    write_drop(tmp_path, deals=TWO + "e,Else,,Demo,,2026-01-09,,,\n")
    extract(engine, "erp", settings=both, now=NOW)
    assert [row for row in set_aside(engine)] == [
        ("deals", 2, "deal_id", "deal a already belongs to another source"),
        ("deals", 3, "deal_id", "deal b already belongs to another source"),
    ]
    assert current(engine, "deal_id", "source") == [("a", "crm"), ("b", "crm"), ("e", "erp")]


def test_two_extracts_at_once_are_as_good_as_one(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(either_settings, tmp_path)
    write_drop(tmp_path, deals=TWO, deal_history=MOVES, activities=CALLS, owners=OWNERS)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(extract, either_engine, "crm", settings=settings, now=NOW) for _ in range(4)]
        counts = [run.result() for run in runs]
    assert sum(count["records"] for count in counts) == 10
    assert sum(count["changes"] for count in counts) == len(changes(either_engine)) > 10
    assert len(contents(either_engine)["extract_runs"]) == 1
    before = contents(either_engine)
    extract(either_engine, "crm", settings=settings, now=NOW)
    assert contents(either_engine) == before


def test_a_day_read_late_knows_of_the_past_what_reading_daily_knew(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """Tracked history read once at the end tells each morning what daily extracts told it then."""
    first = f"{DEALS}a,Alpha,100,New,o1,2026-02-25T09:00:00Z,2026-05-01,,\n"
    second = TWO.replace("2026-01-05", "2026-02-25").replace("2026-02-01", "2026-03-02")
    second = second.replace("2026-01-06", "2026-02-26")
    rows = (
        "a,2026-02-25T09:00:00Z,stage,,New\n",
        "a,2026-03-02T12:00:00Z,stage,New,Demo\nb,2026-02-26T09:00:00Z,stage,,New\n",
        "b,2026-03-02T10:00:00Z,stage,New,Won\n",
    )
    beta = "b,Beta,200,New,o2,2026-02-26T09:00:00Z,,,\n"
    daily = {
        "2026-03-02": (first + beta, HISTORY + rows[0] + rows[1].splitlines(keepends=True)[1]),
        "2026-03-03": (second, HISTORY + "".join(rows)),
    }
    for day, (deals_text, history_text) in daily.items():
        write_drop(tmp_path / "daily" / day, deals=deals_text, deal_history=history_text)
        write_drop(tmp_path / "once", deals=deals_text, deal_history=history_text)
    late = Settings(home=tmp_path / "late")
    other = connect(late)
    migrations.upgrade(other)
    extract(engine, "crm", settings=with_source(settings, tmp_path / "daily"), now=at("2026-03-03 05:00"))
    extract(other, "crm", settings=with_source(late, tmp_path / "once"), now=at("2026-03-03 05:00"))
    for morning in ("2026-02-26 06:00", "2026-03-02 06:00", "2026-03-03 06:00"):
        known = []
        for warehouse in (engine, other):
            with reading(warehouse) as connection:
                values = values_as_of(read_ledger(connection), at(morning)).sort("deal_id", "field")
                known.append(
                    values.filter(pl.col("field").is_in(["stage", "amount", "created_at", "outcome"]))
                )
        assert known[0].equals(known[1]) and not known[0].is_empty()
    other.dispose()


def test_raw_records_are_read_in_slices_without_a_gap(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    extracted(engine, with_source(settings, tmp_path), tmp_path, deals=TWO, deal_history=MOVES)
    with reading(engine) as connection:
        (extract_id,) = (row[0] for row in connection.execute(select(extract_runs.c.extract_id)))
        for rows, lengths in ((1, [1, 1, 1, 1, 0]), (3, [3, 1]), (9, [4])):
            slices = list(raw_slices(connection, extract_id, "deal_history", rows=rows))
            assert [part.height for part in slices] == lengths
            assert pl.concat(slices)["new_value"].to_list() == ["New", "Demo", "New", "Won"]
        (nothing,) = raw_slices(connection, extract_id, "owners")
    assert nothing.is_empty() and "owner_id" in nothing.columns
