"""What a live source tells of deals that are gone or back, and what its silence about a deal means."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealwatch.crm.pages import PlaceLost, Plan, Table
from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.settings import Settings
from drop_files import at, changes, contents, current, set_aside
from live_tables import DEAL, LOST, OPEN, Row, Tables, mapped, told, with_crm

FIRST: list[Row] = [("a", *OPEN), ("b", *OPEN), ("c", *LOST), ("d", *LOST)]
NEXT, THIRD = "2026-03-03 04:00", "2026-03-04 04:00"


def gone(engine: Engine) -> list[str]:
    return [deal for deal, is_deleted in current(engine, "deal_id", "is_deleted") if is_deleted]


@pytest.mark.parametrize(
    ("night", "missing"),
    [
        (Tables(NEXT, covers="all", deals=[("a", *OPEN)]), ["b", "c", "d"]),
        (Tables(NEXT, covers="open", deals=[("a", *OPEN)]), ["b"]),
        (Tables(NEXT, covers="ids", deals=[("a", *OPEN)], ids=["a", "b", "c"]), ["d"]),
        (Tables(NEXT, deals=FIRST, deletions=[("a", "true"), ("c", None), ("z", "true")]), ["a", "c"]),
        (Tables(NEXT, deals=[("a", *OPEN)], deletions=[("b", "false")]), []),
        (Tables(NEXT, covers="ids", deals=[("a", *OPEN)], ids=["", "a"]), []),  # whose id is the blank one?
    ],
)
@pytest.mark.slow
def test_absence_means_what_the_drop_covers(
    either_engine: Engine, either_settings: Settings, night: Tables, missing: list[str]
) -> None:
    settings = with_crm(either_settings)
    told(either_engine, settings, Tables(deals=FIRST))
    told(either_engine, settings, night)
    assert gone(either_engine) == missing


@pytest.mark.parametrize(
    "night",
    [
        Tables(THIRD, deals=[("a", *OPEN), ("c", *LOST)]),
        Tables(THIRD, deals=[("a", *OPEN)], deletions=[("c", "false")]),
        Tables(THIRD, covers="ids", deals=[("a", *OPEN)], ids=["a", "b", "c", "d"]),
    ],
)
def test_a_deal_that_was_deleted_is_back_when_it_is_told_in_any_way(
    engine: Engine, settings: Settings, night: Tables
) -> None:
    settings = with_crm(settings)
    told(engine, settings, Tables(deals=FIRST))
    told(engine, settings, Tables(NEXT, deals=[("a", *OPEN), ("b", *OPEN)], deletions=[("c", "true")]))
    assert gone(engine) == ["c"]
    told(engine, settings, night)
    assert "c" not in gone(engine)
    of_c = [change for change in changes(engine, "deleted") if change[0] == "c"]
    assert of_c[-1][:4] == ("c", "deleted", "true", "false")


def test_a_deal_told_as_deleted_leaves_the_drop(engine: Engine, settings: Settings) -> None:
    """It was deleted between two questions: its row is of before, and a new one was never known."""
    settings = with_crm(settings)
    told(engine, settings, Tables(deals=FIRST))
    rows: list[Row] = [("a", "Legal", *OPEN[1:]), ("b", *OPEN), ("new", *OPEN)]
    moves: list[Row] = [("new", "2026-03-02T09:00:00Z", "stage", None, "Demo")]
    gone_ones: list[Row] = [("a", "true"), ("new", "true")]
    told(engine, settings, Tables(NEXT, deals=rows, deal_history=moves, deletions=gone_ones))
    assert current(engine, "deal_id", "stage", "is_deleted")[0] == ("a", "Demo", True)
    assert "new" not in str(contents(engine)["deal_changes"]) and set_aside(engine) == []


def test_open_deals_missing_without_a_word_refuse_the_drop_and_told_deletions_do_not(
    engine: Engine, settings: Settings
) -> None:
    settings = with_crm(settings)
    many: list[Row] = [(f"d{n:02}", *OPEN) for n in range(20)]
    told(engine, settings, Tables(deals=many))
    before = contents(engine)
    with pytest.raises(ExtractRefused, match=r"crm: deals: 11 of 20 open deals are not in it any more"):
        told(engine, settings, Tables(NEXT, deals=many[:9]))
    after = contents(engine)
    assert {name for name in after if after[name] != before[name]} == {"extract_runs"}
    told(engine, settings, Tables(NEXT, deals=many[:9], deletions=[(row[0], "true") for row in many[9:]]))
    assert len(gone(engine)) == 11


def test_a_night_without_a_deal_is_refused_while_some_are_open(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    with pytest.raises(ExtractRefused, match="no deal in it can be used"):
        told(engine, settings, Tables(covers="all", deals=[]))
    told(engine, settings, Tables(deals=FIRST[2:]))
    assert told(engine, settings, Tables(NEXT, deals=[]))["drops"] == 1  # nothing is open, nothing closed
    told(engine, settings, Tables("2026-03-03 05:00", deals=FIRST[:1]))
    with pytest.raises(ExtractRefused, match="no deal in it can be used"):
        told(engine, settings, Tables(THIRD, deals=[]))


def test_of_an_id_told_twice_the_last_row_stands(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    was, became = ("a", *OPEN), ("a", *LOST)
    told(engine, settings, Tables(open_ones=[was, ("b", *OPEN), was], closed=[became]))
    assert current(engine, "deal_id", "stage") == [("a", "Lost"), ("b", "Demo")]
    assert set_aside(engine) == []


def test_tables_of_deals_have_the_same_columns(engine: Engine, settings: Settings) -> None:
    reader = Tables(open_ones=[("a", *OPEN)], closed=[("c", *LOST)])
    reader.tables[1] = mapped(reader.tables[1], budget="amount")
    with pytest.raises(ExtractRefused, match="its tables of deals differ in amount, budget"):
        told(engine, with_crm(settings), reader)
    assert contents(engine)["raw_records"] == contents(engine)["extract_pages"] == []


@pytest.mark.parametrize(("tracked", "known"), [(("stage",), "2026-01-05 09:00"), ((), "2026-03-02 04:00")])
def test_the_source_says_which_fields_have_a_history(
    engine: Engine, settings: Settings, tracked: tuple[str, ...], known: str
) -> None:
    """A deal without one change of stage had this one from the start, if changes would have been told."""
    told(engine, with_crm(settings), Tables(tracked=tracked, deals=FIRST[:1], deal_history=[]))
    assert changes(engine, "stage")[0][-1] == at(known)


def test_a_place_that_is_lost_begins_its_table_anew_once(engine: Engine, settings: Settings) -> None:
    class Forgets(Tables):
        lost = 1

        def pages(self, table, place):  # type: ignore[no-untyped-def]
            (page,) = super().pages(table, place)
            yield page.__class__(table.name, page.rows, "a job", page.total)
            if self.lost:
                self.lost -= 1
                raise PlaceLost("the job has expired")
            yield page.__class__(table.name, page.rows.clear(), None)

    settings = with_crm(settings)
    told(engine, settings, Forgets(deals=FIRST))
    assert len(current(engine, "deal_id")) == 4
    always = Forgets(NEXT, deals=FIRST)
    always.lost = 9
    with pytest.raises(SourceDown, match="crm: deals cannot be read in one go: the job has expired"):
        told(engine, settings, always)


def test_a_clock_that_goes_back_is_refused(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    told(engine, settings, Tables(NEXT, deals=FIRST))
    with pytest.raises(ExtractRefused, match="which is before the last extract began"):
        told(engine, settings, Tables("2026-03-02 04:00", deals=FIRST))


def test_a_reader_that_breaks_its_word_is_a_bug(engine: Engine, settings: Settings) -> None:
    reader = Tables(deals=FIRST)
    reader.tables[0] = Table("deals", DEAL, "deals")
    reader.rows["deals"] = []
    wrong = Tables(deals=FIRST)
    wrong.tables[0] = Table("deals", (*DEAL, "name"), "deals")
    wrong.pages = lambda table, place: reader.pages(reader.tables[0], place)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="is none of deals"):
        told(engine, with_crm(settings), wrong)
    deals = Table("deals", DEAL, "deals")
    for tables, covers in (((deals, deals), "all"), ((Table("x", DEAL),), "all"), ((deals,), "ids")):
        with pytest.raises(ValueError, match="a plan"):
            Plan(tables, at(NEXT), covers)  # type: ignore[arg-type]


def test_nights_of_open_deals_are_compared_with_their_like(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """The first night tells every closed deal there ever was; the next one's few are no fall."""
    from dealwatch.history.freshness import incident
    from dealwatch.warehouse import reading

    settings = with_crm(settings)
    many: list[Row] = [(f"d{n:03}", *(OPEN if n < 60 else LOST)) for n in range(300)]
    told(engine, settings, Tables(covers="all", deals=many))
    told(engine, settings, Tables(NEXT, deals=many[:60]))
    told(engine, settings, Tables(THIRD, deals=many[:62]))
    with reading(engine) as connection:
        assert incident(connection, at("2026-03-04 06:00"), settings=settings) is None
    told(engine, settings, Tables("2026-03-05 04:00", deals=many[:40] + many[60:100]))
    with reading(engine) as connection:
        found = incident(connection, at("2026-03-05 06:00"), settings=settings)
    assert found is not None and "crm has 40 deals where 60 are usual" in found.sentence


def test_extracts_of_one_second_follow_each_other_or_say_so(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    first, second, third = (Tables(deals=[(name, *OPEN)]) for name in ("a", "b", "c"))
    told(engine, settings, first)
    told(engine, settings, second)
    with pytest.raises(SourceDown, match="in the same second has landed; extract again") as refused:
        told(engine, settings, third)
    assert refused.value.after == timedelta(seconds=1)
    assert current(engine, "deal_id") == [("a",), ("b",)]
    assert first.is_closed and third.is_closed, "a reader that failed is closed too"


def test_what_cannot_be_used_of_a_live_table_is_told_by_table_id_and_field(
    engine: Engine, settings: Settings
) -> None:
    wrong = [("a1", "Demo", "x", *OPEN[2:])]
    with pytest.raises(
        ExtractRefused, match=r"; deals, row 1 \(a1\), amount: cannot be used\. Write amounts"
    ):
        told(engine, with_crm(settings), Tables(deals=wrong))  # type: ignore[arg-type]
