"""Rows that could not be used are taken up after a fix: once, as late news, and never over newer word."""

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from dealwatch.__main__ import main
from dealwatch.crm.pages import Table
from dealwatch.history.extract import extract
from dealwatch.history.freshness import newest_extracts
from dealwatch.history.quarantine import by_reason, quarantined
from dealwatch.history.replaying import replay
from dealwatch.history.resetting import read_again
from dealwatch.knobs import Pipeline
from dealwatch.settings import Settings
from dealwatch.tables import activities, deal_changes, extract_runs, quarantine, raw_records
from dealwatch.warehouse import reading, rows_of, writing
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
from live_tables import LOST, OPEN, Row, Tables, told, with_crm

OLD = Pipeline(stages=("New", "Demo"), won_stages=("Won",), lost_stages=("Lost",))
FIXED = Pipeline(stages=("New", "Demo", "Pilot"), won_stages=("Won",), lost_stages=("Lost",))
LATER = NOW + timedelta(hours=3)
KNOWN = "a,Alpha,100,{stage},o1,2026-01-05T09:00:00Z,2026-05-01,,\n"
NEWCOMER = "b,Beta,200,Pilot,o1,2026-02-20T09:00:00Z,2026-06-01,,\n"


def settled(engine: Engine) -> list[tuple[Any, ...]]:
    c = quarantine.c
    query = select(c.object, c.row, c.settled_as, c.settled_by).where(c.settled_by.is_not(None))
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query.order_by(c.extract_id, c.object, c.row))]


def with_pipeline(settings: Settings, pipeline: Pipeline) -> Settings:
    return settings.model_copy(update={"pipeline": pipeline})


def test_a_new_stage_waits_with_the_line_to_add_and_is_taken_up_after_it(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    engine, drop = either_engine, tmp_path / "drop"
    old = with_source(either_settings, drop, pipeline=OLD)
    moves = f"{HISTORY}a,2026-01-05T09:00:00Z,stage,,Demo\n"
    day = NOW - timedelta(days=1)
    extracted(engine, old, drop, day, deals=DEALS + KNOWN.format(stage="Demo"), deal_history=moves)
    moved = f"{moves}a,2026-03-01T21:00:00Z,stage,Demo,Pilot\nb,2026-02-20T09:00:00Z,stage,,Pilot\n"
    calls = f"{ACTIVITIES}b,2026-02-21T09:00:00Z,call,out,o1\n"
    both = DEALS + KNOWN.format(stage="Pilot") + "c,Gamma,300,Demo,o1,2026-02-01T09:00:00Z,,,\n" + NEWCOMER
    extracted(engine, old, drop, NOW, deals=both, deal_history=moved, activities=calls)
    # The deal stands as it was known, and is not gone.
    assert current(engine, "deal_id", "stage", "is_deleted")[0] == ("a", "Demo", False)
    with reading(engine) as connection:
        [first, *_] = [one for one in quarantined(connection) if one["file"] == "deals.csv"]
        before = newest_extracts(connection)
    assert 'stages = [..., "Pilot"]' in first["remedy"] and "[pipeline]" in first["remedy"]
    new = with_pipeline(old, FIXED)
    counts = replay(engine, "crm", settings=new, now=LATER)
    assert (counts["replayed"], counts["overtaken"], counts["still_waiting"]) == (5, 0, 0)
    assert set_aside(engine) == []
    assert current(engine, "deal_id", "stage") == [("a", "Pilot"), ("b", "Pilot"), ("c", "Demo")]
    # What is tracked has its own moment; that we know it is news of the replay.
    assert ("a", "stage", "Demo", "Pilot", at("2026-03-01 21:00"), LATER) in changes(engine, "stage")
    assert ("b", "stage", None, "Pilot", at("2026-02-20 09:00"), LATER) in changes(engine, "stage")
    assert {change[5] for change in changes(engine) if change[0] == "b"} == {LATER}
    with reading(engine) as connection:
        touches = rows_of(connection, select(activities.c.deal_id, activities.c.known_at))
        assert [tuple(row) for row in touches] == [("b", LATER)]
        assert newest_extracts(connection) == before, "a replay is no extract"
        [run] = rows_of(connection, select(extract_runs).where(extract_runs.c.state == "replayed"))
        assert (
            rows_of(connection, select(raw_records).where(raw_records.c.extract_id == run.extract_id)) == []
        )
    assert {row[2:] for row in settled(engine)} == {("replayed", run.extract_id)}
    was = contents(engine)
    assert replay(engine, "crm", settings=new, now=LATER + timedelta(hours=1))["replayed"] == 0
    assert contents(engine) == was
    # The next drop finds nothing new in it.
    tomorrow = NOW + timedelta(days=1)
    assert (
        extracted(engine, new, drop, tomorrow, deals=both, deal_history=moved, activities=calls)["changes"]
        == 0
    )
    assert set_aside(engine) == []


def test_what_still_fails_waits_on_with_its_new_reason(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    engine, drop = either_engine, tmp_path / "drop"
    settings = with_source(either_settings, drop, pipeline=OLD)
    wrong = DEALS + KNOWN.format(stage="Demo") + 'b,Beta,"1,5",Pilot,o1,2026-02-20T09:00:00Z,,,\n'
    extracted(engine, settings, drop, deals=wrong)
    [(_, _, field, _)] = set_aside(engine)
    assert field == "stage"
    counts = replay(engine, "crm", settings=with_pipeline(settings, FIXED), now=LATER)
    assert (counts["replayed"], counts["still_waiting"]) == (0, 1)
    assert set_aside(engine) == [("deals", 3, "amount", "1,5 is no number")]
    decimal = with_source(
        either_settings, drop, pipeline=FIXED, source={"deals": {"file": "deals.csv", "decimal": ","}}
    )
    assert replay(engine, "crm", settings=decimal, now=LATER)["replayed"] == 1
    assert ("b", 1.5) in current(engine, "deal_id", "amount")


def test_newer_word_of_a_deal_is_not_overwritten(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    engine, drop = either_engine, tmp_path / "drop"
    old = with_source(either_settings, drop, pipeline=OLD)
    extracted(engine, old, drop, NOW - timedelta(days=2), deals=DEALS + KNOWN.format(stage="Demo"))
    rest = "c,Gamma,300,Demo,o1,2026-02-01T09:00:00Z,,,\n"
    extracted(engine, old, drop, NOW - timedelta(days=1), deals=DEALS + KNOWN.format(stage="Pilot") + rest)
    # It came back to where the ledger has it, which changes nothing there.
    extracted(engine, old, drop, NOW, deals=DEALS + KNOWN.format(stage="Demo") + rest)
    assert set_aside(engine) == [] and [row[2] for row in settled(engine)] == ["overtaken"]
    replay(engine, "crm", settings=with_pipeline(old, FIXED), now=LATER)
    assert current(engine, "deal_id", "stage")[0] == ("a", "Demo")


def test_a_move_of_long_ago_is_not_put_over_the_later_ones_of_its_deal(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    """The stage that was unknown lies behind the deal; the move out of it was usable and stands."""
    engine, drop = either_engine, tmp_path / "drop"
    old = with_source(either_settings, drop, pipeline=OLD)
    day = NOW - timedelta(days=1)
    moves = (
        f"{HISTORY}a,2026-01-05T09:00:00Z,stage,,New\n"
        "a,2026-02-01T09:00:00Z,stage,New,Pilot\na,2026-02-10T09:00:00Z,stage,Pilot,Demo\n"
        "c,2026-02-01,stage,,Demo\nc,2026-02-03,stage,Demo,New\n"
    )
    known = DEALS + KNOWN.format(stage="Demo")
    rest = "c,Gamma,300,{stage},o1,2026-02-01T00:00:00Z,,,\n"
    extracted(engine, old, drop, day, deals=known + rest.format(stage="New"), deal_history=moves)
    assert [row[:2] for row in set_aside(engine)] == [("deal_history", 3)]
    # The second move of one day leads on from what is known, and is the newest word.
    moves += "c,2026-02-03,stage,New,Pilot\n"
    extracted(engine, old, drop, deals=known + rest.format(stage="Pilot"), deal_history=moves)
    counts = replay(engine, "crm", settings=with_pipeline(old, FIXED), now=LATER)
    assert (counts["replayed"], counts["overtaken"], counts["still_waiting"]) == (2, 1, 0)
    assert current(engine, "deal_id", "stage") == [("a", "Demo"), ("c", "Pilot")]
    assert set_aside(engine) == []


def test_no_morning_before_a_replay_knows_what_it_adds(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """Nor of the day of its drop, which was not over when the drop was made, and is when it is replayed."""
    drop = tmp_path / "drop"
    old = with_source(settings, drop, pipeline=OLD)
    extracted(engine, old, drop, NOW - timedelta(days=1), deals=DEALS + KNOWN.format(stage="Demo"))
    lost = f"a,Alpha,100,Dropped,o1,2026-01-05T09:00:00Z,2026-05-01,{NOW:%Y-%m-%d},lost\n"
    calls = f"{ACTIVITIES}b,{NOW:%Y-%m-%d},call,out,o1\n"
    moves = f"{HISTORY}b,{NOW:%Y-%m-%d},stage,Demo,Pilot\n"
    whole = DEALS + lost + NEWCOMER + "c,Gamma,300,Demo,o1,2026-02-01T09:00:00Z,,,\n"
    extracted(engine, old, drop, NOW, deals=whole, activities=calls, deal_history=moves)
    before = {row[:5] for row in changes(engine)}
    now = NOW + timedelta(days=1, hours=5)
    lost_too = Pipeline(stages=FIXED.stages, won_stages=("Won",), lost_stages=("Lost", "Dropped"))
    assert replay(engine, "crm", settings=with_pipeline(old, lost_too), now=now)["still_waiting"] == 0
    added = [row for row in changes(engine) if row[:5] not in before]
    assert {row[5] for row in added} == {now} and {row[0] for row in added} == {"a", "b"}
    with reading(engine) as connection:
        assert [row.known_at for row in rows_of(connection, select(activities.c.known_at))] == [now]


def test_what_an_earlier_release_left_waiting_is_overtaken_all_the_same(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    old = with_source(settings, drop, pipeline=OLD)
    rest = "c,Gamma,300,Demo,o1,2026-02-01T09:00:00Z,,,\n"
    lost = "a,Alpha,100,{stage},o1,2026-01-05T09:00:00Z,,2026-02-01T10:00:00Z,lost\n"
    extracted(engine, old, drop, NOW - timedelta(days=1), deals=DEALS + lost.format(stage="Pilot") + rest)
    extracted(engine, old, drop, NOW, deals=DEALS + lost.format(stage="Lost") + rest)
    with writing(engine) as connection:
        connection.execute(update(quarantine).values(settled_by=None, settled_at=None, settled_as=None))
    counts = replay(engine, "crm", settings=with_pipeline(old, FIXED), now=LATER)
    assert (counts["replayed"], counts["overtaken"]) == (0, 1)
    assert current(engine, "deal_id", "stage")[0] == ("a", "Lost")


def test_what_an_event_told_between_two_drops_is_newer_word(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    old = with_source(settings, drop, pipeline=OLD)
    extracted(engine, old, drop, NOW - timedelta(days=1), deals=DEALS + KNOWN.format(stage="Demo"))
    rest = "c,Gamma,300,Demo,o1,2026-02-01T09:00:00Z,,,\n"
    extracted(engine, old, drop, NOW, deals=DEALS + KNOWN.format(stage="Pilot") + rest)
    event = {
        "change_id": "of an event", "deal_id": "a", "source": "crm", "field": "stage", "old_value": "Demo",
        "new_value": "New", "happened_at": LATER, "known_at": LATER, "seq": 0, "recorded_at": LATER,
    }  # fmt: skip
    with writing(engine) as connection:
        connection.execute(insert(deal_changes).values(**event))
    counts = replay(engine, "crm", settings=with_pipeline(old, FIXED), now=LATER + timedelta(hours=1))
    assert (counts["replayed"], counts["overtaken"]) == (0, 1)


def test_the_second_row_of_a_deal_is_never_replayed(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    engine, drop = either_engine, tmp_path / "drop"
    settings = with_source(either_settings, drop, pipeline=OLD)
    twice = KNOWN.format(stage="Pilot") + KNOWN.format(stage="Demo") + KNOWN.format(stage="New")
    both_wrong = NEWCOMER + NEWCOMER.replace("200", "300")
    extracted(engine, settings, drop, deals=DEALS + twice + both_wrong)
    counts = replay(engine, "crm", settings=with_pipeline(settings, FIXED), now=LATER)
    assert (counts["replayed"], counts["still_waiting"]) == (1, 3)
    assert current(engine, "deal_id", "stage", "amount") == [("a", "Demo", 100.0), ("b", "Pilot", 200.0)]


def closed(deal_id: str, stage: str) -> Row:
    return (deal_id, stage, *LOST[1:])


def test_a_live_source_replays_by_its_last_plan_and_the_settings_of_today(
    either_engine: Engine, either_settings: Settings
) -> None:
    engine = either_engine
    old = with_crm(either_settings, pipeline=OLD)
    first = Tables(
        deals=[
            ("d1", *OPEN),
            closed("d2", "Abandoned"),
            closed("d3", "Abandoned"),
            ("d4", "Pilot", *OPEN[1:]),
        ]
    )
    told(engine, old, first)
    assert len(set_aside(engine)) == 3
    # d2 is told again, as it should be; of d3, which is closed, nothing; d4 was open, and is gone.
    told(engine, old, Tables("2026-03-03 04:00", deals=[("d1", *OPEN), closed("d2", "Lost")]))
    words = {"deals": {"values": {"stage": {"Abandoned": "Lost"}}}}
    new = with_crm(either_settings, pipeline=OLD, source=words)
    counts = replay(engine, "crm", settings=new, now=at("2026-03-03 09:00"))
    assert (counts["replayed"], counts["still_waiting"]) == (1, 1)
    assert (
        replay(engine, "crm", settings=with_pipeline(new, FIXED), now=at("2026-03-03 09:30"))["overtaken"]
        == 1
    )
    assert set_aside(engine) == []
    assert current(engine, "deal_id", "stage", "outcome", "is_deleted") == [
        ("d1", "Demo", None, False), ("d2", "Lost", "lost", False), ("d3", "Lost", "lost", False),
    ]  # fmt: skip
    assert sorted(row[2] for row in settled(engine)) == ["overtaken", "overtaken", "replayed"]
    # The next night speaks for a later moment, and knows the deal.
    told(engine, new, Tables("2026-03-04 04:00", deals=[("d1", *OPEN)]))
    assert current(engine, "deal_id", "is_deleted") == [("d1", False), ("d2", False), ("d3", False)]


def test_a_read_for_events_makes_no_row_of_the_newest_night_old(engine: Engine, settings: Settings) -> None:
    old = with_crm(settings, pipeline=OLD)
    night = Tables(deals=[("d1", *OPEN), ("d4", "Pilot", *OPEN[1:])])
    told(engine, old, night)
    # As a read for an event of other deals leaves it, whose only row was faulty: its own row is news, too.
    event = Tables("2026-03-02 05:00", covers="some", deals=[("d1", *OPEN), ("d5", "Pilot", *OPEN[1:])])
    told(engine, old, event)
    counts = replay(engine, "crm", settings=with_pipeline(old, FIXED), now=LATER)
    assert (counts["replayed"], counts["overtaken"], counts["still_waiting"]) == (2, 0, 0)
    assert current(engine, "deal_id", "stage") == [("d1", "Demo"), ("d4", "Pilot"), ("d5", "Pilot")]


def test_rows_are_read_again_by_the_plan_of_a_night_not_of_a_read_for_events(
    engine: Engine, settings: Settings
) -> None:
    old = with_crm(settings, pipeline=OLD)
    told(engine, old, Tables(deals=[("d1", *OPEN)], deal_history=[]))
    # It has no owners and not every table; its plan is kept, as one of its rows was faulty.
    told(engine, old, Tables("2026-03-02 05:00", covers="some", deals=[("d5", "Pilot", *OPEN[1:])]))
    with reading(engine) as connection:
        sheets, _ = read_again(connection, "crm", old.sources["crm"], settings=old)
    assert [sheet.object for sheet in sheets] == ["deals", "deal_history"]


def test_a_deal_that_is_told_as_deleted_is_not_brought_back(engine: Engine, settings: Settings) -> None:
    old = with_crm(settings, pipeline=OLD)
    told(engine, old, Tables(deals=[("d1", *OPEN), closed("d2", "Abandoned"), closed("d3", "Lost")]))
    night = Tables("2026-03-03 04:00", deals=[("d1", *OPEN)], deletions=[("d2", "true")])
    told(engine, old, night)
    words = {"deals": {"values": {"stage": {"Abandoned": "Lost"}}}}
    new = with_crm(settings, pipeline=OLD, source=words)
    assert replay(engine, "crm", settings=new, now=at("2026-03-03 09:00"))["replayed"] == 0
    assert current(engine, "deal_id") == [("d1",), ("d3",)]


def test_rows_of_different_columns_say_nothing_of_what_they_lack(
    either_engine: Engine, either_settings: Settings
) -> None:
    engine = either_engine
    old = with_crm(either_settings, pipeline=OLD)
    known = [("d1", *OPEN), closed("d2", "Lost"), closed("d3", "Lost")]
    told(engine, old, Tables(deals=known))
    moved = [("d2", "2026-03-02T09:00:00Z", "stage", "Lost", "Abandoned")]
    wide = Tables("2026-03-03 04:00", deals=[("d1", *OPEN), closed("d2", "Abandoned")], deal_history=moved)
    told(engine, old, wide)
    narrow = Tables("2026-03-04 04:00", deals=[], deal_history=[])
    narrow.tables[0] = Table("deals", ("deal_id", "stage", "created_at", "closed_at", "outcome"), "deals")
    narrow.rows["deals"] = [("d1", "Demo", OPEN[2], None, None), ("d3", "Abandoned", *LOST[2:])]
    told(engine, old, narrow)
    lost = Pipeline(stages=OLD.stages, lost_stages=("Lost", "Abandoned"))
    counts = replay(engine, "crm", settings=with_pipeline(old, lost), now=at("2026-03-04 09:00"))
    assert (counts["replayed"], counts["still_waiting"]) == (3, 0)
    # A column that is not told says nothing of an amount.
    assert current(engine, "deal_id", "stage", "amount") == [
        ("d1", "Demo", 100.0), ("d2", "Abandoned", 100.0), ("d3", "Abandoned", 100.0),
    ]  # fmt: skip
    assert ("d2", "stage", "Lost", "Abandoned", at("2026-03-02 09:00")) in [
        row[:5] for row in changes(engine)
    ]


def test_a_drop_of_a_day_that_comes_after_a_replay_is_read_and_its_word_stands(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    old = with_source(settings, tmp_path, pipeline=OLD)
    write_drop(
        tmp_path / "2026-03-01", deals=DEALS + KNOWN.format(stage="Pilot") + NEWCOMER.replace("Pilot", "Demo")
    )
    extract(engine, "crm", settings=old, now=NOW)
    new = with_pipeline(old, FIXED)
    assert replay(engine, "crm", settings=new, now=LATER)["replayed"] == 1
    write_drop(
        tmp_path / "2026-03-02", deals=DEALS + KNOWN.format(stage="New") + NEWCOMER.replace("Pilot", "Demo")
    )
    assert extract(engine, "crm", settings=new, now=LATER + timedelta(hours=1))["drops"] >= 1
    assert current(engine, "deal_id", "stage")[0] == ("a", "New")


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from dealwatch.history import replaying
from dealwatch.settings import load
from dealwatch.warehouse import connect
settings = load(Path(sys.argv[1]))
name = sys.argv[2]
whole = getattr(replaying, name)
def dies(*told, **named):
    whole(*told, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(replaying, name, dies)
replaying.replay(connect(settings), "crm", settings=settings, now=datetime.fromisoformat(sys.argv[3]))
"""


def test_a_replay_that_is_killed_leaves_everything_as_it_was(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    old = with_source(settings, drop, pipeline=OLD)
    extracted(engine, old, drop, deals=DEALS + KNOWN.format(stage="Demo") + NEWCOMER)
    path = tmp_path / "dealwatch.toml"
    path.write_text(
        f'home = "{settings.home}"\ntime_zone = "UTC"\n[sources.crm]\npath = "drop"\n'
        '[pipeline]\nstages = ["New", "Demo", "Pilot"]\nwon_stages = ["Won"]\nlost_stages = ["Lost"]\n'
    )
    was = contents(engine)
    for place in ("taken_over", "_tell_anew"):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), place, LATER.isoformat()], env=os.environ
        )
        assert done.returncode == -signal.SIGKILL
        assert contents(engine) == was
    assert replay(engine, "crm", settings=with_pipeline(old, FIXED), now=LATER)["replayed"] == 1


def test_the_same_faulty_row_told_every_night_is_listed_once(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    old = with_source(settings, tmp_path, pipeline=OLD)
    for day in range(4):
        told_once = f"x{day},X,1,Demo,o1,2026-01-05,,,\n"
        write_drop(tmp_path, owners=f"owner_id,email\no1,nobody{day}\n")
        write_drop(tmp_path, deal_history=f"{HISTORY}a,2026-01-05,stage,,Elsewhere\n")
        rows = KNOWN.format(stage="Demo") + NEWCOMER + told_once
        extracted(engine, old, tmp_path, NOW + timedelta(days=day), deals=DEALS + rows)
    assert [row[0] for row in set_aside(engine)] == ["deal_history", "deals", "owners"]


def test_the_verb_lists_by_reason_filters_and_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "dealwatch.toml"
    head = f'home = "{tmp_path}/home"\n[sources.crm]\npath = "drop"\n[pipeline]\nlost_stages = ["Lost"]\n'
    path.write_text(f'{head}stages = ["Demo"]\n')
    rows = "".join(f"n{n},N,1,Pilot,o1,2026-01-05,,,\n" for n in range(25))
    write_drop(
        tmp_path / "drop", deals=DEALS + KNOWN.format(stage="Demo") + "z,Z,x,Demo,o1,2026-01-05,,,\n" + rows
    )

    def shell(*words: str) -> str:
        assert main([*words, "--settings", str(path)]) == 0
        return capsys.readouterr().out

    shell("db", "upgrade")
    assert main(["extract", "--settings", str(path)]) == 0
    assert "26 rows wait in quarantine: `python -m dealwatch quarantine`" in caplog.text
    capsys.readouterr()
    text = shell("quarantine")
    assert "26 rows" in text and "25  crm deals.csv, stage: such as: Pilot is no stage" in text
    assert len(json.loads(shell("quarantine", "--json"))) == 26
    [one] = json.loads(shell("quarantine", "--json", "--reason", "no number", "--file", "deals.csv"))
    assert one["record"]["deal_id"] == "z"
    assert shell("quarantine", "--source", "other").strip() == "[]"
    path.write_text(f'{head}stages = ["Demo", "Pilot"]\n')
    assert json.loads(shell("quarantine", "--replay", "--source", "crm"))["replayed"] == 25
    assert shell("quarantine").startswith("1 row\n")
    assert len(json.loads(shell("quarantine", "--settled", "--json"))) == 26
    assert main(["quarantine", "--replay", "--file", "deals.csv", "--settings", str(path)]) == 2
    assert main(["quarantine", "--replay", "--source", "none", "--settings", str(path)]) == 2


def test_reasons_are_counted_the_most_first() -> None:
    rows = [
        {"source": "crm", "file": "deals.csv", "field": field, "reason": f"{n} is wrong", "remedy": field}
        for n, field in enumerate(["amount", "stage", "stage"])
    ]
    assert [(one["rows"], one["field"], one["such_as"]) for one in by_reason(rows)] == [
        (2, "stage", "1 is wrong"),
        (1, "amount", "0 is wrong"),
    ]
