"""A row that cannot be used is set aside with its field, a reason and a remedy; the others land."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealwatch.history.quarantine import quarantined
from dealwatch.knobs import Pipeline
from dealwatch.settings import Settings
from dealwatch.warehouse import reading
from drop_files import ACTIVITIES, DEALS, HISTORY, changes, current, extracted, set_aside, with_source

GOOD = "ok,Fine,5,Demo,o1,2026-01-05,2026-06-30,,\n"
PROCESS = Pipeline(stages=("Demo", "Legal"), won_stages=("Won",), lost_stages=("Lost",))

FAULTS = [
    (",Nameless,5,Demo,o1,2026-01-05,,,", "deal_id", "deal_id is empty"),
    ("x,No date,5,Demo,o1,,,,", "created_at", "created_at is empty"),
    ("x,Bad date,5,Demo,o1,05.01.2026,,,", "created_at", "05.01.2026 is no date or instant"),
    ("x,Tomorrow,5,Demo,o1,2026-03-03,,,", "created_at", "is after the extract's own moment"),
    ("x,No stage,5,,o1,2026-01-05,,,", "stage", "stage is empty"),
    ("x,Odd stage,5,Dmeo,o1,2026-01-05,,,", "stage", "Dmeo is no stage of the sales process"),
    ('x,Comma,"1,234.5",Demo,o1,2026-01-05,,,', "amount", "1,234.5 is no number"),
    ("x,NaN,NaN,Demo,o1,2026-01-05,,,", "amount", "NaN is no number"),
    ("x,Endless,inf,Demo,o1,2026-01-05,,,", "amount", "inf is no number"),
    ("x,Soon,5,Demo,o1,2026-01-05,soon,,", "close_date", "soon is no date"),
    ("x,Maybe,5,Demo,o1,2026-01-05,,2026-02-01,perhaps", "outcome", "perhaps is no outcome"),
    ("x,Both,5,Won,o1,2026-01-05,,2026-02-01,lost", "outcome", "outcome lost contradicts the stage Won"),
    ("x,When,5,Demo,o1,2026-01-05,,,won", "closed_at", "the deal is won but closed_at is empty"),
    ("x,When,5,Lost,o1,2026-01-05,,,", "closed_at", "the deal is lost but closed_at is empty"),
    (
        "x,How,5,Demo,o1,2026-01-05,,2026-02-01,",
        "outcome",
        "closed_at is 2026-02-01 but the outcome is empty",
    ),
    ("x,Early,5,Won,o1,2026-01-05,,2026-01-04,", "closed_at", "closed_at 2026-01-04 is before created_at"),
    ("x,Future,5,Won,o1,2026-01-05,,2026-03-09,", "closed_at", "is after the extract's own moment"),
    ("x,Year one,5,Demo,o1,0001-01-01,,,", "created_at", "0001-01-01 is not between 1900-01-01 and 2200"),
    ("x,Nil,5,Demo,o1,0000-01-01T00:00:00Z,,,", "created_at", "is not between 1900-01-01 and 2200-12-31"),
    ("x,No day,5,Demo,o1,2026-01-05,0000-01-01,,", "close_date", "0000-01-01 is not between"),
    ("x,Never,5,Demo,o1,2026-01-05,9999-12-31,,", "close_date", "9999-12-31 is not between"),
    ("x,Ended,5,Won,o1,2026-01-05,,1899-12-31,", "closed_at", "1899-12-31 is not between"),
    ("x,N\x00ul,5,Demo,o1,2026-01-05,,,", "name", "the value holds a NUL byte"),
    ("x,Short,5", "", "3 fields where the header names 9"),
    ('x,"Stray"quote,5,Demo,o1,2026-01-05,,,', "", "a quote in the middle of a field"),
    ("ok,Again,5,Demo,o1,2026-01-05,,,", "deal_id", "deal_id ok on line 3 is already on line 2"),
]


@pytest.mark.parametrize(("row", "field", "reason"), FAULTS)
def test_a_faulty_deal_is_set_aside_and_the_rest_lands(
    engine: Engine, settings: Settings, tmp_path: Path, row: str, field: str, reason: str
) -> None:
    settings = with_source(settings, tmp_path / "drop", pipeline=PROCESS)
    counts = extracted(
        engine, settings, tmp_path / "drop", deals=f"{DEALS}{GOOD}{row}\nz,Last,,Legal,,2026-01-06,,,\n"
    )
    assert counts["quarantined"] == 1
    assert current(engine, "deal_id") == [("ok",), ("z",)]
    ((object_, line, named, why),) = set_aside(engine)
    assert (object_, line, named) == ("deals", 3, field)
    assert reason in why
    with reading(engine) as connection:
        (told,) = quarantined(connection)
    assert told["file"] == "deals.csv"
    assert len(told["remedy"]) > 10
    kept = told["record"].get("name") or told["record"]["text"]
    assert row.split(",")[1].strip('"')[:5] in kept


def test_all_faults_together_are_set_aside_on_either_dialect(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(either_settings, tmp_path / "drop", pipeline=PROCESS)
    rows = "\n".join(row for row, _, _ in FAULTS)
    extracted(either_engine, settings, tmp_path / "drop", deals=f"{DEALS}{GOOD}{rows}\n")
    assert [row for _, row, _, _ in set_aside(either_engine)] == list(range(3, 3 + len(FAULTS)))
    assert current(either_engine, "deal_id") == [("ok",)]


HOSTILE = '<!channel> "q" & <b> =cmd() {x} é 漢 \\N \\' + "x" * 300


def test_hostile_text_lands_as_it_is(
    either_engine: Engine, either_settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(either_settings, tmp_path / "drop")
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    rows = f'{DEALS}d1,{quoted},-12.50,"St,\nage",o1,2026-01-05,,,\n'
    extracted(either_engine, settings, tmp_path / "drop", deals=rows)
    assert current(either_engine, "name", "stage", "amount") == [(HOSTILE, "St,\nage", -12.5)]


def test_faulty_history_and_touches_are_set_aside(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    settings = with_source(settings, tmp_path / "drop", pipeline=PROCESS)
    history = (
        "ok,2026-01-06,stage,Demo,Legal\n"
        ",2026-01-06,stage,Demo,Legal\n"
        "ok,,stage,Demo,Legal\n"
        "ok,then,stage,Demo,Legal\n"
        "ok,2026-03-05,stage,Demo,Legal\n"
        "ok,2026-01-07,,Demo,Legal\n"
        "ok,2026-01-07,closed_at,,2026-01-07\n"
        "ok,2026-01-07,amount,5,lots\n"
        "ok,2026-01-07,stage,Legal,Lgeal\n"
        "nobody,2026-01-07,stage,Demo,Legal\n"
    )
    touches = "ok,2026-01-08,call,out,o1\nok,later,call,out,o1\nnobody,2026-01-08,call,out,o1\n"
    counts = extracted(
        engine,
        settings,
        tmp_path / "drop",
        deals=DEALS + GOOD.replace("Demo", "Legal"),
        deal_history=HISTORY + history,
        activities=ACTIVITIES + touches,
    )
    assert counts["activities"] == 1
    assert [(row, field) for object_, row, field, _ in set_aside(engine) if object_ == "deal_history"] == [
        (3, "deal_id"),
        (4, "changed_at"),
        (5, "changed_at"),
        (6, "changed_at"),
        (7, "field"),
        (8, "field"),
        (9, "new_value"),
        (10, "new_value"),
        (11, "deal_id"),
    ]
    assert [row for object_, row, *_ in set_aside(engine) if object_ == "activities"] == [3, 4]


def test_history_speaks_the_words_of_the_deals_file(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    words = {"deals": {"file": "deals.csv", "values": {"outcome": {"Gewonnen": "won", "Offen": "open"}}}}
    settings = with_source(settings, tmp_path / "drop", source=words)
    history = (
        "ok,2026-01-10T10:00:00Z,outcome,Open,Gewonnen\n"
        "ok,2026-01-11T10:00:00Z,outcome,won,Offen\n"
        "ok,2026-01-12T10:00:00Z,amount,abc,5\n"
        "ok,2026-01-12T10:00:00Z,close_date,0001-01-01,2026-06-30\n"
    )
    extracted(engine, settings, tmp_path / "drop", deals=DEALS + GOOD, deal_history=HISTORY + history)
    assert set_aside(engine) == []
    assert [change[2:4] for change in changes(engine, "outcome", "amount", "close_date")] == [
        (None, "5"),
        (None, "2026-06-30"),
        (None, "won"),
        ("won", None),
    ]
    assert current(engine, "outcome", "closed_at") == [(None, None)]


def test_the_remedy_of_a_history_row_fits_its_field(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path / "drop")
    history = (
        "ok,2026-01-12,amount,5,lots\nok,2026-01-12,close_date,,soon\nok,2026-01-12,outcome,,perhaps\n"
        "ok,2026-01-12,close_date,,9999-12-31\nok,0001-01-01,amount,4,5\n"
    )
    touches = "ok,0001-01-01,call,,\n"
    extracted(
        engine,
        settings,
        tmp_path / "drop",
        deals=DEALS + GOOD,
        deal_history=HISTORY + history,
        activities=ACTIVITIES + touches,
    )
    with reading(engine) as connection:
        told = [(row["field"], row["reason"], row["remedy"].split()[1]) for row in quarantined(connection)]
    assert told == [
        ("happened_at", "0001-01-01 is not between 1900-01-01 and 2200-12-31", "the"),
        ("new_value", "lots is no number", "amounts"),
        ("new_value", "soon is no date", "dates"),
        ("new_value", "perhaps is no outcome", "won,"),
        ("new_value", "9999-12-31 is not between 1900-01-01 and 2200-12-31", "the"),
        ("changed_at", "0001-01-01 is not between 1900-01-01 and 2200-12-31", "the"),
    ]


def test_owners_are_checked_for_what_would_break_a_message(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path / "drop")
    owners = (
        "owner_id,name,email,time_zone,active\no1,Ann,ann@example.com,Europe/Berlin,true\no2,Bo,bo,,\n"
        "o3,Cy,,Mars/Base,\no4,Di,,,perhaps\no1,Ann again,,,\n,Nobody,,,\n"
    )
    extracted(engine, settings, tmp_path / "drop", deals=DEALS + GOOD, owners=owners)
    assert [(row, field) for _, row, field, _ in set_aside(engine)] == [
        (3, "email"),
        (4, "time_zone"),
        (5, "active"),
        (6, "owner_id"),
        (7, "owner_id"),
    ]


def test_an_empty_list_of_stages_accepts_any(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    settings = with_source(settings, tmp_path / "drop")
    extracted(engine, settings, tmp_path / "drop", deals=f"{DEALS}d1,,,Whatever,,2026-01-05,,,\n")
    assert current(engine, "stage", "outcome") == [("Whatever", None)]


def test_the_stage_tells_the_outcome_where_none_is_told(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings = with_source(settings, tmp_path / "drop", pipeline=PROCESS)
    rows = "a,,,Won,,2026-01-05,,2026-02-01,\nb,,,Lost,,2026-01-05,,2026-02-01,Lost\n"
    rows += "c,,,Demo,,2026-01-05,,,open\n"
    extracted(engine, settings, tmp_path / "drop", deals=DEALS + rows)
    assert current(engine, "outcome") == [("won",), ("lost",), (None,)]
