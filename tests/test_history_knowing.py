"""What a past morning knew stays what it was, whatever a later drop tells and in whatever order."""

from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from sqlalchemy import Engine

from dealwatch import migrations
from dealwatch.history.extract import extract
from dealwatch.history.knowing import Moments
from dealwatch.history.ledger import read_ledger, values_as_of
from dealwatch.scoring.leaks import give_aways
from dealwatch.settings import Settings
from dealwatch.warehouse import connect, reading
from drop_files import ACTIVITIES, DEALS, HISTORY, NOW, at, changes, current, extracted, with_source

NEXT = at("2026-03-03 05:00")
TICK = timedelta(microseconds=1)
OPEN = "a,Alpha,100,Demo,o1,2026-01-05T09:00:00Z,2026-05-01,,\n"


def known_at(happened: str, *, zone: str = "Europe/Berlin", morning: time = time(6)) -> datetime:
    moments = Moments(at("2026-12-31 05:00"), None, ZoneInfo(zone), morning)
    told = pl.DataFrame({"h": [at(happened)]}).select(
        moments.known(pl.col("h").cast(pl.Datetime("us", "UTC")))
    )
    moment: datetime = told.item()
    return moment


@pytest.mark.parametrize(
    ("happened", "known"),
    [
        ("2026-03-10 04:00", at("2026-03-10 04:00")),  # the extract runs at this instant
        ("2026-03-10 04:00:00.000001", at("2026-03-10 05:00") + TICK),
        ("2026-03-10 05:00", at("2026-03-10 05:00") + TICK),
        ("2026-03-10 05:00:00.000001", at("2026-03-10 05:00") + TICK),
        ("2026-03-10 05:00:01", at("2026-03-10 05:00:01")),
        ("2026-03-29 03:30", at("2026-03-29 04:00") + TICK),  # the clocks went forward in the night
        ("2026-03-29 04:30", at("2026-03-29 04:30")),
        ("2026-10-25 04:30", at("2026-10-25 05:00") + TICK),  # and back
        ("2026-10-25 03:30", at("2026-10-25 03:30")),
    ],
)
def test_what_happens_between_extract_and_morning_is_known_after_the_morning(
    happened: str, known: datetime
) -> None:
    assert known_at(happened) == known


def test_the_hour_before_a_morning_may_begin_the_day_before_or_be_skipped() -> None:
    assert known_at("2026-03-09 23:45", zone="UTC", morning=time(0, 30)) == at("2026-03-10 00:30") + TICK
    assert known_at("2026-03-29 00:45", morning=time(2, 30)) == at("2026-03-29 01:30") + TICK


def test_a_later_drop_changes_nothing_of_a_morning_that_was_scored(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    early = "a,2026-01-20T09:00:00Z,stage,New,Demo\n"
    other = OPEN.replace("a,", "b,", 1)
    extracted(engine, settings, tmp_path, deals=DEALS + OPEN + other, deal_history=HISTORY + early)
    morning = at("2026-03-02 06:00")
    with reading(engine) as connection:
        before = read_ledger(connection, until=morning)
    between = "2026-03-02T05:30:00Z"
    extracted(
        engine,
        settings,
        tmp_path,
        NEXT,
        deals=DEALS
        + OPEN.replace("Demo", "Legal")
        + other.replace(",,\n", f",{between},won\n")
        + f"c,Gamma,1,Demo,,{between},,,\n",
        deal_history=f"{HISTORY}{early}a,{between},stage,Demo,Legal\n",
        activities=f"{ACTIVITIES}a,{between},call,out,o1\n",
    )
    with reading(engine) as connection:
        after, whole = read_ledger(connection, until=morning), read_ledger(connection)
    assert after.changes.equals(before.changes) and after.activities.is_empty()
    found = [
        whole.activities,
        whole.changes.filter((pl.col("known_at") > morning) & (pl.col("known_at") < NEXT)),
    ]
    for rows in found:
        assert set(rows["known_at"]) == {morning + TICK}
        assert set(rows["happened_at"]) == {at("2026-03-02 05:30")}
    assert set(found[1]["field"]) >= {"stage", "outcome", "created_at"}


def test_late_news_never_follows_a_younger_change_of_the_same_drop(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    extracted(engine, settings, tmp_path, deals=DEALS + OPEN, deal_history=HISTORY)
    news = (
        "a,2026-03-02T04:55:00Z,stage,Demo,Legal\na,2026-03-02T10:00:00Z,stage,Legal,Offer\n"
        "a,2026-03-02T04:55:00Z,amount,100,200\na,2026-03-02T10:00:00Z,amount,200,300\n"
        "a,2026-03-02T10:00:00Z,owner_id,o1,o2\n"
        # Created before the extract that should have told it, changed after.
        "n,2026-03-02T11:00:00Z,stage,New,Demo\n"
    )
    late = "n,Newt,1,Demo,o1,2026-02-20T09:00:00Z,,,\n"
    told = OPEN.replace("100,Demo,o1", "300,Offer,o2")
    extracted(engine, settings, tmp_path, NEXT, deals=DEALS + told + late, deal_history=HISTORY + news)
    assert current(engine, "stage", "amount", "owner_id") == [("Offer", 300.0, "o2"), ("Demo", 1.0, "o1")]
    assert [(c[0], c[3], c[5]) for c in changes(engine, "stage")] == [
        ("a", "Demo", NOW),
        ("a", "Legal", NEXT),
        ("a", "Offer", NEXT),
        ("n", "New", NEXT),
        ("n", "Demo", NEXT),
    ]
    assert changes(engine, "owner_id")[1][-1] == at("2026-03-02 10:00")  # nothing late: known in its time
    with reading(engine) as connection:
        values = values_as_of(read_ledger(connection), NEXT).filter(pl.col("field") == "stage")
    assert values["new_value"].to_list() == ["Offer", "Demo"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "history",
    [
        "a,2026-03-03,stage,Demo,Legal\n",  # the day that the extract cuts at its own moment
        "a,2026-03-02T05:30:00Z,stage,Demo,Legal\n",
        "a,2026-02-01T10:00:00Z,stage,Demo,Legal\na,2026-03-02T10:00:00Z,stage,Legal,Offer\n",
        "a,2026-03-02T10:00:00Z,outcome,,lost\na,2026-03-02T11:00:00Z,outcome,lost,\n",
        "a,2026-02-01T10:00:00Z,outcome,,lost\na,2026-03-03T04:00:00Z,outcome,lost,\n",
    ],
)
@pytest.mark.parametrize("second", ["2026-03-02 05:20", "2026-03-03 05:00", "2026-03-03 05:40"])
def test_after_any_drop_a_deal_is_what_the_file_says(
    engine: Engine, settings: Settings, tmp_path: Path, history: str, second: str
) -> None:
    settings = with_source(settings, tmp_path)
    extracted(engine, settings, tmp_path, deals=DEALS + OPEN, deal_history=HISTORY)
    last = at(second)
    rows = "".join(
        row for row in history.splitlines(keepends=True) if row.split(",")[1] <= f"{last:%Y-%m-%dT%H:%M:%SZ}"
    )
    for moment, stage, close in (
        (last, "Won", "2026-03-01T10:00:00Z,won"),
        (last + timedelta(minutes=15), "Demo", ","),
        (last + timedelta(minutes=15), "Demo", "2026-02-01T10:00:00Z,lost"),
        (last + timedelta(days=1), "Legal", "2026-03-02T04:00:00Z,won"),
    ):
        told = OPEN.replace("Demo", stage).replace(",,\n", f",{close}\n")
        extracted(engine, settings, tmp_path, moment, deals=DEALS + told, deal_history=HISTORY + rows)
        outcome, closed = close.split(",")[1] or None, close.split(",")[0]
        closed_at = datetime.fromisoformat(closed) if closed else None
        assert current(engine, "stage", "outcome", "closed_at") == [(stage, outcome, closed_at)]


def test_a_day_is_stored_once_however_often_it_is_read(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    evening, next_evening = at("2026-03-10 16:00"), at("2026-03-11 16:00")
    days = ("2026-03-01", "2026-04-01", "2026-05-01")
    pushes = HISTORY + "".join(
        f"a,2026-03-10,close_date,{old},{new}\n" for old, new in zip(days, days[1:], strict=False)
    )
    call = "a,2026-03-10,call,out,o1\n"
    files = {"deals": DEALS + OPEN, "deal_history": pushes}
    extracted(engine, settings, tmp_path, evening, **files, activities=ACTIVITIES + call)
    before = changes(engine)
    other = "a,2026-03-08,mail,out,o1\n"
    counts = extracted(
        engine, settings, tmp_path, next_evening, **files, activities=ACTIVITIES + call + other
    )
    assert (counts["drops"], counts["changes"], counts["activities"]) == (1, 0, 1)
    assert changes(engine) == before
    with reading(engine) as connection:
        touches = read_ledger(connection).activities
    # First told before the day was over: neither ever lies after a moment at which it is known.
    assert touches.select("happened_at", "known_at").rows() == [
        (evening, evening),
        (at("2026-03-08 23:59:59"), next_evening),
    ]


def test_whether_a_date_is_known_does_not_tell_who_survives(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    header = DEALS.replace("close_date", "close_date,next_step_on")
    first = "a,Alpha,1,Demo,o1,2026-01-05T09:00:00Z,2026-05-01,2026-04-01,,\n"
    first += "b,Beta,1,Demo,o1,2026-01-05T09:00:00Z,2026-05-01,2026-04-01,2026-02-01T10:00:00Z,lost\n"
    extracted(engine, settings, tmp_path, deals=header + first)
    since = first + "c,New,1,Demo,o1,2026-03-02T09:00:00Z,2026-05-01,2026-04-01,,\n"
    since += "d,Done,1,Demo,o1,2026-03-02T09:00:00Z,2026-05-01,2026-04-01,2026-03-02T19:00:00Z,won\n"
    extracted(engine, settings, tmp_path, NEXT, deals=header + since)
    for field in ("close_date", "next_step_on", "stage"):
        assert [(c[0], c[5]) for c in changes(engine, field)] == [
            ("a", NOW),
            ("b", at("2026-02-01 10:00")),
            ("c", NEXT),
            ("d", at("2026-03-02 19:00")),
        ]


def test_marking_a_leak_helps_only_in_a_fresh_warehouse(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    rows = "".join(
        f"{n:03},x,{n if n % 2 else 0},Demo,,2026-01-{1 + n % 20:02},,2026-02-{1 + n % 25:02},"
        f"{'won' if n % 2 else 'lost'}\n"
        for n in range(100)
    )
    marked = {"deals": {"file": "deals.csv", "known_only_at_close": ["amount"]}}
    fresh = Settings(home=tmp_path / "fresh")
    other = connect(fresh)
    migrations.upgrade(other)
    extracted(engine, with_source(settings, tmp_path / "drop"), tmp_path / "drop", deals=DEALS + rows)
    told = []
    for warehouse, read_by in ((engine, settings), (other, fresh)):
        corrected = with_source(read_by, tmp_path / "drop", source=marked)
        assert extract(warehouse, "crm", settings=corrected, now=NEXT)["drops"] == 1
        with reading(warehouse) as connection:
            told.append(give_aways(read_ledger(connection)))
    other.dispose()
    ((field, sentence),) = told[0]
    assert field == "amount" and "read the data into a fresh warehouse" in sentence
    assert told[1] == []
