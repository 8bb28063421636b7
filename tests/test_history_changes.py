"""What a drop adds to the ledger, and when each change was known."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from dealwatch.errors import ExtractRefused
from dealwatch.history.current import current_deals
from dealwatch.history.ledger import read_ledger, values_as_of
from dealwatch.settings import Settings
from dealwatch.tables import deals
from dealwatch.warehouse import frame, reading
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

OPEN = "a,Alpha,100,Demo,o1,2026-01-05T09:00:00Z,2026-05-01,,\n"
CREATED = at("2026-01-05 09:00")
NEXT = at("2026-03-03 05:00")
THIRD = at("2026-03-04 05:00")


def test_a_deal_seen_first_is_known_since_its_creation_but_what_moves_since_the_extract(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    extracted(engine, with_source(settings, tmp_path), tmp_path, deals=DEALS + OPEN)
    assert changes(engine) == [
        ("a", "amount", None, "100", CREATED, CREATED),
        ("a", "close_date", None, "2026-05-01", NOW, NOW),
        ("a", "created_at", None, "2026-01-05T09:00:00.000000Z", CREATED, CREATED),
        ("a", "name", None, "Alpha", CREATED, CREATED),
        ("a", "owner_id", None, "o1", CREATED, CREATED),
        ("a", "stage", None, "Demo", NOW, NOW),
    ]


def test_what_a_crm_writes_at_the_close_is_known_at_the_close(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    deals_file = {"file": "deals.csv", "known_only_at_close": ["paid"]}
    settings = with_source(settings, tmp_path, source={"deals": deals_file})
    header = DEALS.replace("\n", ",paid,kind\n")
    closed = "b,Beta,200,Won,o2,2026-01-06T09:00:00Z,2026-02-01,2026-02-01,won,180,new\n"
    extracted(engine, settings, tmp_path, deals=header + closed + OPEN.replace("\n", ",75,new\n"))
    end = at("2026-02-01 23:59:59")
    assert [(c[1], c[3], c[4], c[5]) for c in changes(engine) if c[0] == "b" and c[5] != c[4]] == []
    assert {c[1] for c in changes(engine) if c[0] == "b" and c[5] == end} == {
        "outcome",
        "stage",
        "close_date",
        "paid",
    }
    assert changes(engine, "paid") == [("b", "paid", None, "180", end, end)]  # not the open deal's
    assert current(engine, "deal_id", "attributes") == [
        ("a", {"kind": "new"}),
        ("b", {"kind": "new", "paid": "180"}),
    ]


def test_a_tracked_field_is_known_as_its_history_says(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    history = (
        "a,2026-01-20T09:00:00Z,stage,New,Demo\n"
        "a,2026-02-10T09:00:00Z,close_date,2026-04-01,2026-05-01\n"
        "b,2026-02-01T10:00:00Z,stage,New,Won\n"
    )
    rows = OPEN + "b,Beta,200,Won,o2,2026-01-06,2026-02-01,2026-02-01T10:00:00Z,won\n"
    rows += "c,Gamma,5,New,o2,2026-01-07,2026-06-01,,\n"
    extracted(
        engine, with_source(settings, tmp_path), tmp_path, deals=DEALS + rows, deal_history=HISTORY + history
    )
    moved, pushed, won = at("2026-01-20 09:00"), at("2026-02-10 09:00"), at("2026-02-01 10:00")
    assert changes(engine, "stage", "close_date") == [
        ("a", "close_date", None, "2026-04-01", CREATED, CREATED),
        ("a", "close_date", "2026-04-01", "2026-05-01", pushed, pushed),
        ("a", "stage", None, "New", CREATED, CREATED),
        ("a", "stage", "New", "Demo", moved, moved),
        # Tracked and never changed: what it is, it always was.
        ("b", "close_date", None, "2026-02-01", at("2026-01-06"), at("2026-01-06")),
        ("b", "stage", None, "New", at("2026-01-06"), at("2026-01-06")),
        ("b", "stage", "New", "Won", won, won),
        ("c", "close_date", None, "2026-06-01", at("2026-01-07"), at("2026-01-07")),
        ("c", "stage", None, "New", at("2026-01-07"), at("2026-01-07")),
    ]


def test_a_field_that_its_history_contradicts_changed_when_the_extract_told_it(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    history = "a,2026-01-20T09:00:00Z,owner_id,o9,o2\n"
    extracted(
        engine, with_source(settings, tmp_path), tmp_path, deals=DEALS + OPEN, deal_history=HISTORY + history
    )
    assert changes(engine, "owner_id")[-1] == ("a", "owner_id", "o2", "o1", NOW, NOW)
    assert current(engine, "owner_id") == [("o1",)]


def test_changes_at_one_instant_follow_from_value_to_value(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    links = [("Demo", "Legal"), ("Legal", "Demo"), ("New", "Demo"), ("", "New")]
    rows = "".join(f"a,2026-01-20,stage,{old},{new}\n" for old, new in links)
    extracted(
        engine, with_source(settings, tmp_path), tmp_path, deals=DEALS + OPEN, deal_history=HISTORY + rows
    )
    assert [(old, new) for _, _, old, new, *_ in changes(engine, "stage")] == [
        (None, "New"),
        ("New", "Demo"),
        ("Demo", "Legal"),
        ("Legal", "Demo"),
    ]


def test_the_next_drop_is_compared_with_what_is_known(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    header = DEALS.replace("\n", ",tier\n")
    extracted(engine, settings, tmp_path, deals=header + OPEN.replace("\n", ",gold\n"))
    before = changes(engine)
    changed = "a,Alpha,150.50,Legal,,2026-01-05T09:00:00Z,2026-05-01,,,silver\n"
    counts = extracted(engine, settings, tmp_path, NEXT, deals=header + changed)
    assert counts["changes"] == 4
    assert [c for c in changes(engine) if c not in before] == [
        ("a", "amount", "100", "150.5", NEXT, NEXT),
        ("a", "owner_id", "o1", None, NEXT, NEXT),
        ("a", "stage", "Demo", "Legal", NEXT, NEXT),
        ("a", "tier", "gold", "silver", NEXT, NEXT),
    ]
    assert current(engine, "amount", "owner_id", "stage", "attributes") == [
        (150.5, None, "Legal", {"tier": "silver"})
    ]


def test_a_second_drop_of_the_same_moment_has_the_last_word(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    for amount in ("100", "170", "150", "160"):
        extracted(engine, settings, tmp_path, NEXT, deals=DEALS + OPEN.replace("100", amount))
    assert [told[3] for told in changes(engine, "amount")] == ["100", "170", "150", "160"]
    with reading(engine) as connection:
        rows = read_ledger(connection).changes.filter(field="amount")
    assert rows["seq"].to_list() == [0, 0, 1, 2]
    assert current(engine, "amount") == [(160.0,)]


def test_a_column_that_is_gone_says_nothing_about_its_values(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    extracted(engine, settings, tmp_path, deals=DEALS + OPEN)
    counts = extracted(
        engine, settings, tmp_path, NEXT, deals="deal_id,stage,created_at\na,Demo,2026-01-05T09:00:00Z\n"
    )
    assert counts["changes"] == 0
    assert current(engine, "name", "amount") == [("Alpha", 100.0)]


def test_a_close_is_known_when_it_happened_unless_the_extract_before_should_have_told_it(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    rows = [OPEN, OPEN.replace("a,", "b,", 1), OPEN.replace("a,", "c,", 1)]
    extracted(engine, settings, tmp_path, deals=DEALS + "".join(rows))
    closes = ["2026-03-02T12:00:00Z,won", "2026-02-20T12:00:00Z,lost", "2026-03-03,won"]
    closed = [row.replace(",,\n", f",{close}\n") for row, close in zip(rows, closes, strict=True)]
    extracted(engine, settings, tmp_path, NEXT, deals=DEALS + "".join(closed))
    assert changes(engine, "outcome") == [
        ("a", "outcome", None, "won", at("2026-03-02 12:00"), at("2026-03-02 12:00")),
        ("b", "outcome", None, "lost", at("2026-02-20 12:00"), NEXT),
        ("c", "outcome", None, "won", NEXT, NEXT),  # a day that is not over yet
    ]
    # The same files a day later: the day of the close is over and still the same day.
    write_drop(tmp_path, owners="owner_id\no1\n")
    assert extracted(engine, settings, tmp_path, THIRD)["changes"] == 0
    assert current(engine, "closed_at")[1:] == [(at("2026-02-20 12:00"),), (NEXT,)]


def test_a_reopened_and_a_corrected_close_are_changes(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    closed = OPEN.replace(",,\n", ",2026-02-01T10:00:00Z,won\n")
    extracted(engine, settings, tmp_path, deals=DEALS + closed)
    extracted(engine, settings, tmp_path, NEXT, deals=DEALS + OPEN)
    assert current(engine, "outcome", "closed_at") == [(None, None)]
    extracted(engine, settings, tmp_path, THIRD, deals=DEALS + closed)
    assert current(engine, "outcome", "closed_at") == [("won", at("2026-02-01 10:00"))]
    later = at("2026-03-05 05:00")
    extracted(engine, settings, tmp_path, later, deals=DEALS + closed.replace("02-01T10", "02-01T11"))
    assert [
        (old, new, happened, known) for _, _, old, new, happened, known in changes(engine, "outcome")
    ] == [
        (None, "won", at("2026-02-01 10:00"), at("2026-02-01 10:00")),
        ("won", None, NEXT, NEXT),
        (None, "won", at("2026-02-01 10:00"), THIRD),
        ("won", "won", at("2026-02-01 11:00"), later),
    ]
    assert current(engine, "closed_at") == [(at("2026-02-01 11:00"),)]


def test_a_deal_that_is_gone_is_deleted_and_one_that_is_back_is_not(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    other = OPEN.replace("a,", "b,", 1)
    extracted(engine, settings, tmp_path, deals=DEALS + OPEN + other)
    extracted(engine, settings, tmp_path, NEXT, deals=DEALS + other)
    assert current(engine, "deal_id", "is_deleted") == [("a", True), ("b", False)]
    write_drop(tmp_path, owners="owner_id\no1\n")
    assert extracted(engine, settings, tmp_path, THIRD)["changes"] == 0  # still gone, nothing new
    back = at("2026-03-05 05:00")
    extracted(engine, settings, tmp_path, back, deals=DEALS + OPEN.replace("100", "120") + other)
    assert changes(engine, "deleted") == [
        ("a", "deleted", None, "true", NEXT, NEXT),
        ("a", "deleted", "true", "false", back, back),
    ]
    assert current(engine, "amount", "is_deleted")[0] == (120.0, False)


def test_a_deal_whose_row_is_in_quarantine_is_not_deleted(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    other = OPEN.replace("a,", "b,", 1)
    extracted(engine, settings, tmp_path, deals=DEALS + OPEN + other)
    extracted(engine, settings, tmp_path, NEXT, deals=DEALS + OPEN.replace("100", "lots") + other)
    extracted(engine, settings, tmp_path, THIRD, deals=DEALS + '"a"torn,\n' + other)
    assert current(engine, "deal_id", "amount", "is_deleted") == [("a", 100.0, False), ("b", 100.0, False)]


def test_a_drop_that_lacks_most_open_deals_is_refused(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    rows = [OPEN.replace("a,", f"d{n:02},", 1) for n in range(20)]
    extracted(engine, settings, tmp_path, deals=DEALS + "".join(rows))
    before = contents(engine)
    with pytest.raises(ExtractRefused, match="11 of 20 open deals are not in it any more") as refused:
        extracted(engine, settings, tmp_path, NEXT, deals=DEALS + "".join(rows[:9]))
    assert "max_vanished_share" in str(refused.value)
    after = contents(engine)
    (kept,) = after.pop("extract_runs")
    assert before.pop("extract_runs") != [kept] and "11 of 20 open deals" in kept, "what speaks tells of it"
    assert after == before
    allowed = with_source(settings, tmp_path, source={"max_vanished_share": 1.0})
    extracted(engine, allowed, tmp_path, NEXT)
    assert sum(is_deleted for (is_deleted,) in current(engine, "is_deleted")) == 11


def test_news_that_an_earlier_extract_should_have_told_is_known_from_this_one(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    early = "a,2026-01-20T09:00:00Z,stage,New,Demo\n"
    call = "a,2026-01-21T09:00:00Z,call,out,o1\n"
    files = {"deals": DEALS + OPEN, "deal_history": HISTORY + early, "activities": ACTIVITIES + call}
    extracted(engine, settings, tmp_path, **files)
    with reading(engine) as connection:
        then = read_ledger(connection, until=NOW)
    late = "a,2026-02-20T09:00:00Z,stage,Demo,Legal\na,2026-03-02T12:00:00Z,stage,Legal,Demo\n"
    calls = "a,2026-02-21T09:00:00Z,call,out,o1\na,2026-03-02T13:00:00Z,call,out,o1\n"
    newcomer = "z,Zeta,1,Demo,o1,2026-02-25T09:00:00Z,,,\n"
    extracted(
        engine,
        settings,
        tmp_path,
        NEXT,
        deals=DEALS + OPEN + newcomer,
        deal_history=HISTORY + late + early,
        activities=ACTIVITIES + calls + call,
    )
    with reading(engine) as connection:
        again = read_ledger(connection, until=NOW)
        touches = read_ledger(connection).activities
    assert again.changes.equals(then.changes) and again.activities.equals(then.activities)
    # The younger change too: in the ledger it must not come before the late news that it follows.
    assert [(new, known) for *_, new, _, known in changes(engine, "stage") if known > NOW] == [
        ("Legal", NEXT),
        ("Demo", NEXT),
        ("Demo", NEXT),
    ]
    assert current(engine, "deal_id", "stage") == [("a", "Demo"), ("z", "Demo")]
    assert touches["known_at"].to_list() == [at("2026-01-21 09:00"), at("2026-03-02 13:00"), NEXT]
    assert {known for deal, *_, known in changes(engine) if deal == "z"} == {NEXT}


def test_rows_of_an_unknown_deal_are_taken_up_once_it_is_known(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path)
    history, calls = "b,2026-01-20,stage,New,Demo\n", "b,2026-01-21,call,out,o1\n"
    extracted(
        engine,
        settings,
        tmp_path,
        deals=DEALS + OPEN,
        deal_history=HISTORY + history,
        activities=ACTIVITIES + calls,
    )
    assert [row[:3] for row in set_aside(engine)] == [
        ("activities", 2, "deal_id"),
        ("deal_history", 2, "deal_id"),
    ]
    rows = DEALS + OPEN + OPEN.replace("a,", "b,", 1)
    counts = extracted(
        engine, settings, tmp_path, NEXT, deals=rows, deal_history=HISTORY, activities=ACTIVITIES
    )
    assert counts["activities"] == 1
    assert [c[:4] for c in changes(engine, "stage")][1:] == [
        ("b", "stage", None, "New"),
        ("b", "stage", "New", "Demo"),
    ]
    assert set_aside(engine) == []


def test_owners_are_as_the_last_extract_told_them(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    settings = with_source(settings, tmp_path)
    owners = "owner_id,name,email,active\no1,Ann,ann@example.com,\no2,Bo,,no\n"
    extracted(engine, settings, tmp_path, deals=DEALS + OPEN, owners=owners)
    extracted(
        engine, settings, tmp_path, NEXT, owners="owner_id,name,email,active\no1,Ann,new@example.com,yes\n"
    )
    told = contents(engine)["owners"]
    assert "new@example.com" in told[0] and "True" in told[0]
    assert "'Bo'" in told[1] and "False" in told[1]


def test_deals_as_they_stand_are_the_ledgers_last_values(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(either_settings, tmp_path)
    header = DEALS.replace("\n", ',"a ""b""",z\n')
    rows = [OPEN.replace("\n", ',"q""\nx",\n'), OPEN.replace("a,", "b,", 1).replace("\n", ",,2\n")]
    extracted(either_engine, settings, tmp_path, deals=header + "".join(rows))
    extracted(either_engine, settings, tmp_path, NEXT, deals=header + rows[1].replace("100", "7"))
    with reading(either_engine) as connection:
        ledger = read_ledger(connection)
        stored = frame(connection, select(deals).order_by(deals.c.deal_id))
    derived = current_deals(ledger.changes)
    assert derived.select(stored.drop("source", "attributes").columns).equals(
        stored.drop("source", "attributes")
    )
    assert current(either_engine, "attributes") == [({'a "b"': 'q"\nx'},), ({"z": "2"},)]
    latest = values_as_of(ledger, THIRD)
    assert latest.filter(deal_id="b", field="amount")["new_value"].to_list() == ["7"]
