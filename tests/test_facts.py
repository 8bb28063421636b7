"""Every fact, counted by hand on a few deals; unknown is null, never zero."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from dealwatch.history.ledger import CHANGE_ORDER, Ledger
from dealwatch.knobs import Pipeline
from dealwatch.moments import morning_of
from dealwatch.scoring.facts import FACTS, GROUPS, IDENTITY, facts_at
from dealwatch.scoring.known import quarter_end
from dealwatch.scoring.reference import facts_page
from dealwatch.settings import Settings
from ledger_rows import at, deal, ledger

STAGES = ("Qualify", "Propose", "Negotiate")
UTC_DAYS = Settings(time_zone="UTC", pipeline=Pipeline(stages=STAGES))
MONDAY = at("2026-03-02 06:00")


def facts_of(
    deals: dict[str, Any],
    moment: datetime = MONDAY,
    *,
    settings: Settings = UTC_DAYS,
    touches: dict[str, list[str]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The facts of one moment by deal."""
    rows = facts_at(ledger(deals, touches=touches), [moment], settings=settings)
    return {row["deal_id"]: row for row in rows.iter_rows(named=True)}


def test_facts_have_distinct_names_known_groups_and_sentences() -> None:
    assert len({fact.name for fact in FACTS}) == len(FACTS) == 67
    assert {fact.group for fact in FACTS} == set(GROUPS)
    assert all(fact.sentence.endswith(".") and "|" not in fact.sentence for fact in FACTS)


def test_the_page_of_facts_is_made_from_them() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "facts.md").read_text(encoding="utf-8")
    assert page == facts_page()


def test_an_empty_ledger_has_no_rows_but_all_columns() -> None:
    rows = facts_at(ledger({}), [MONDAY], settings=UTC_DAYS)
    assert rows.columns == ["as_of", "deal_id", *IDENTITY, *(fact.name for fact in FACTS)]
    assert rows.is_empty() and facts_at(ledger({}), [], settings=UTC_DAYS).schema == rows.schema


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        facts_at(ledger({}), [datetime(2026, 3, 2, 6)], settings=UTC_DAYS)  # noqa: DTZ001


def test_only_deals_known_and_open_by_then_have_rows() -> None:
    deals = {
        "created later": deal("2026-03-02 06:01", stage="Qualify"),
        "created that instant": deal("2026-03-02 06:00", stage="Qualify"),
        "lost that instant": deal("2026-02-01", outcome=[("2026-03-02 06:00", "lost")]),
        "won later": deal("2026-02-01", outcome=[("2026-03-02 06:01", "won")]),
        "deleted": deal("2026-02-01", deleted=[("2026-02-09", "true")]),
        "restored": deal("2026-02-01", deleted=[("2026-02-09", "true"), ("2026-02-20", "false")]),
        "reopened": deal("2026-02-01", outcome=[("2026-02-09", "lost"), ("2026-02-20", None)]),
        "in a won stage": deal("2026-02-01", stage=[("2026-02-01", "Qualify"), ("2026-02-03", "Signed")]),
    }
    settings = Settings(time_zone="UTC", pipeline=Pipeline(stages=STAGES, won_stages=("Signed",)))
    assert list(facts_of(deals, settings=settings)) == [
        "created that instant",
        "reopened",
        "restored",
        "won later",
    ]


def test_rows_come_by_moment_and_deal_and_each_moment_once() -> None:
    deals = {"b": deal("2026-02-01"), "a": deal("2026-02-01")}
    rows = facts_at(ledger(deals), [MONDAY, at("2026-02-23"), MONDAY], settings=UTC_DAYS)
    assert rows.select("as_of", "deal_id").rows() == [
        (at("2026-02-23"), "a"),
        (at("2026-02-23"), "b"),
        (MONDAY, "a"),
        (MONDAY, "b"),
    ]


def test_a_bare_deal_knows_its_age_and_little_else() -> None:
    row = facts_of({"d": deal("2026-03-01 18:00")})["d"]
    known = {fact.name for fact in FACTS if row[fact.name] is not None}
    assert known == {"age_days", "days_since_news", "days_to_quarter_end", "is_quarter_end"}
    assert row["age_days"] == 0.5 and row["stage_entered_at"] == at("2026-03-01 18:00")


def test_identity_is_as_known_by_then() -> None:
    row = facts_of(
        {
            "d": deal(
                "2026-02-01",
                name=[("2026-02-01", "Old"), ("2026-02-02", "Acme"), ("2026-03-05", "Later")],
                account="Acme Corp",
                currency="EUR",
                owner_id="o1",
                stage="Qualify",
                close_date="2026-03-31",
                next_step_on="2026-03-03",
                industry="SaaS",
                region="North",
                product_type="Core",
                lead_source="Referral",
            )
        }
    )["d"]
    assert [row[name] for name in IDENTITY] == [
        "Acme",
        "Acme Corp",
        "EUR",
        "o1",
        date(2026, 3, 31),
        date(2026, 3, 3),
        at("2026-02-01"),
        at("2026-02-01"),
        "SaaS",
        "North",
        "Core",
        "Referral",
    ]


def test_stage_facts_follow_the_spells() -> None:
    path = [
        ("2026-02-01 06:00", "Qualify"),
        ("2026-02-05 06:00", "Propose"),
        ("2026-02-06 06:00", "Propose"),  # said again: the same spell
        ("2026-02-10 06:00", "Negotiate"),
        ("2026-02-20 06:00", "Propose"),
        ("2026-03-04 06:00", "Qualify"),  # not known yet
    ]
    row = facts_of({"d": deal("2026-02-01 06:00", stage=path)})["d"]
    assert row["stage"] == "Propose" and row["stage_entered_at"] == at("2026-02-20 06:00")
    assert row["days_in_stage"] == 10.0
    assert row["cumulative_days_in_stage"] == 15.0
    assert (row["stage_moves"], row["moves_back"], row["stage_reached"]) == (3.0, 1.0, 1.0)


def test_a_reopened_deal_starts_its_stage_anew_and_keeps_the_days_before() -> None:
    d = deal(
        "2026-02-01 06:00",
        stage="Propose",
        outcome=[("2026-02-11 06:00", "lost"), ("2026-02-26 06:00", None)],
    )
    row = facts_of({"d": d})["d"]
    assert (row["days_in_stage"], row["cumulative_days_in_stage"]) == (4.0, 14.0)
    assert (row["stage_moves"], row["stage_reached"]) == (0.0, 0.5)


def test_a_stage_outside_the_given_ones_has_no_place_in_their_order() -> None:
    path = [("2026-02-01", "Qualify"), ("2026-02-05", "Limbo"), ("2026-02-10", "Qualify")]
    row = facts_of({"d": deal("2026-02-01", stage=path)})["d"]
    assert (row["stage_moves"], row["moves_back"], row["stage_reached"]) == (2.0, 0.0, 0.0)
    lost_in_limbo = facts_of({"d": deal("2026-02-01", stage="Limbo")})["d"]
    assert lost_in_limbo["stage"] == "Limbo" and lost_in_limbo["stage_reached"] is None


def test_late_news_begins_no_earlier_than_what_it_follows() -> None:
    told = ledger({"d": deal("2026-02-01", stage=[("2026-02-01", "Qualify"), ("2026-02-20", "Propose")])})
    late = told.changes.filter(new_value="Qualify").with_columns(
        new_value=pl.lit("Negotiate"), happened_at=at("2026-02-10"), known_at=at("2026-02-25")
    )
    changes = pl.concat([told.changes, late.cast(dict(told.changes.schema))]).sort(CHANGE_ORDER)
    row = facts_at(Ledger(changes, told.activities), [MONDAY], settings=UTC_DAYS).row(0, named=True)
    assert (row["stage"], row["stage_entered_at"]) == ("Negotiate", at("2026-02-20"))
    assert (row["days_in_stage"], row["stage_moves"]) == (10.25, 2.0)


def test_without_given_stages_their_order_is_learned_from_the_paths_known_by_then() -> None:
    path = [("2026-02-01", "Talk"), ("2026-02-02", "Offer"), ("2026-02-03", "Sign")]
    deals = {
        "a": deal("2026-02-01", stage=path),
        "b": deal("2026-02-01", stage=[*path[:1], path[2]]),  # skips the offer
        "c": deal("2026-02-01", stage=[*path[:2], ("2026-02-04", "Talk")]),
        "d": deal("2026-02-01", stage=[("2026-02-01", "Talk"), ("2026-03-09", "Bid")]),
    }
    learned = Settings(time_zone="UTC")
    rows = facts_of(deals, settings=learned)
    assert {name: row["stage_reached"] for name, row in rows.items()} == {"a": 1, "b": 1, "c": 0.5, "d": 0}
    assert {name: row["moves_back"] for name, row in rows.items()} == {"a": 0, "b": 0, "c": 1, "d": 0}
    early = facts_of(deals, at("2026-02-02"), settings=learned)
    assert early["a"]["stage_reached"] == 1 and early["b"]["stage_reached"] == 0  # two stages known by then


def test_amounts_change_from_the_first_one_known() -> None:
    deals = {
        "cut": deal(
            "2026-02-01", amount=[("2026-02-01", "200"), ("2026-02-09", "250"), ("2026-03-01", "150")]
        ),
        "late": deal("2026-02-01", amount=[("2026-02-09", "80.5")]),
        "nothing": deal("2026-02-01", amount="0"),
        "cleared": deal("2026-02-01", amount=[("2026-02-01", "70"), ("2026-02-09", None)]),
    }
    rows = facts_of(deals)
    assert [rows[d]["amount"] for d in deals] == [150.0, 80.5, 0.0, None]
    assert [rows[d]["amount_change_pct"] for d in deals] == [-25.0, 0.0, None, None]


def test_large_is_above_the_quantile_of_all_amounts_known_by_then() -> None:
    deals = {f"d{n:02}": deal("2026-02-01", amount=str(n)) for n in range(1, 11)}
    deals["d10"]["outcome"] = [("2026-02-09", "won")]  # still counts among the amounts
    deals["d11"] = deal("2026-03-05", amount="1000000")  # not known yet
    rows = facts_of(deals)  # the 90th percentile of 1..10 is 9.1
    assert [d for d, row in rows.items() if row["is_large"]] == []
    deals["d10"]["outcome"] = []
    assert [d for d, row in facts_of(deals).items() if row["is_large"]] == ["d10"]


def test_close_dates_are_counted_in_local_days_and_pushes_add_up() -> None:
    deals = {
        "pushed": deal(
            "2026-01-01",
            close_date=[
                ("2026-01-01", "2026-01-31"),
                ("2026-01-10", "2026-02-28"),  # 28 days later
                ("2026-01-20", "2026-02-20"),  # pulled in
                ("2026-01-25", None),
                ("2026-02-01", "2026-02-27"),  # 7 days later than the last one known
                ("2026-03-05", "2026-06-30"),  # not known yet
            ],
        ),
        "future": deal("2026-01-01", close_date="2026-03-31"),
        "cleared": deal("2026-01-01", close_date=[("2026-01-01", "2026-01-31"), ("2026-01-10", None)]),
        "none": deal("2026-01-01"),
    }
    rows = facts_of(deals)
    told = {d: [rows[d][f] for f in ("days_to_close", "times_pushed", "days_pushed")] for d in deals}
    assert told == {
        "pushed": [-3.0, 2.0, 35.0],
        "future": [29.0, 0.0, 0.0],
        "cleared": [None, 0.0, 0.0],
        "none": [None, None, None],
    }


def test_touches_count_back_from_the_moment() -> None:
    deals = {"d": deal("2026-01-01 06:00"), "quiet": deal("2026-02-20 06:00")}
    touches = {
        "d": [
            "2026-01-05 10:00",
            "2026-01-31 06:00",  # exactly 30 days ago: no longer within 30 days
            "2026-01-31 06:01",
            "2026-02-16 06:01",
            "2026-03-01 18:00",
            "2026-03-02 06:30",  # not yet
        ],
        "unheard of": ["2026-02-01"],
    }
    rows = facts_of(deals, touches=touches)
    assert rows["d"]["days_since_touch"] == 0.5
    assert [rows["d"][f"touches_{w}"] for w in ("14d", "30d", "all")] == [2.0, 3.0, 5.0]
    assert rows["quiet"]["days_since_touch"] == rows["quiet"]["age_days"] == 10.0
    assert [rows["quiet"][f"touches_{w}"] for w in ("14d", "30d", "all")] == [0.0, 0.0, 0.0]


def test_without_any_activity_data_touches_are_unknown_rather_than_none() -> None:
    deals = {"d": deal("2026-01-01")}
    names = ("days_since_touch", "touches_14d", "touches_30d", "touches_all")
    assert [facts_of(deals)["d"][name] for name in names] == [None] * 4
    later = {"d": ["2026-03-02 06:01"]}
    assert [facts_of(deals, touches=later)["d"][name] for name in names] == [None] * 4


def test_a_touch_known_late_counts_from_when_it_was_known() -> None:
    rows = ledger(
        {"d": deal("2026-01-01")}, touches={"d": ["2026-02-10", "2026-03-01"]}, known_later=timedelta(3)
    )
    told = facts_at(rows, [at("2026-02-12"), at("2026-02-13"), at("2026-03-03")], settings=UTC_DAYS)
    assert told["touches_all"].to_list() == [None, 1.0, 1.0]
    assert told["touches_14d"].to_list() == [None, 1.0, 0.0]
    assert told["days_since_touch"].to_list() == [None, 3.0, 21.0]


def test_a_touch_known_after_its_window_never_counts_within_it() -> None:
    deals = {"d": deal("2026-01-01"), "other": deal("2026-01-01")}
    rows = ledger(deals, touches={"d": ["2026-02-01"], "other": ["2026-01-02"]}, known_later=timedelta(20))
    told = facts_at(rows, [at("2026-02-20"), at("2026-02-21")], settings=UTC_DAYS).filter(deal_id="d")
    assert told.select("touches_14d", "touches_30d", "touches_all").rows() == [(0.0,) * 3, (0.0, 1.0, 1.0)]


def test_a_meeting_in_the_calendar_is_no_touch_yet() -> None:
    rows = ledger(
        {"d": deal("2026-02-01", name="Acme")},
        touches={"d": ["2026-02-10", "2026-03-05"]},
        known_later=timedelta(-20),
    )
    told = facts_at(rows, [MONDAY], settings=UTC_DAYS)
    assert told.select("touches_all", "days_since_touch").rows() == [(1.0, 20.25)]


def test_earlier_touches_their_days_and_who_made_them() -> None:
    times = ["2026-02-10 22:30", "2026-02-10 23:30", "2026-02-27 06:00", "2026-03-01 09:15", "2026-03-05"]
    rows = ledger({"d": deal("2026-02-10 06:00"), "quiet": deal("2026-02-20 06:00")}, touches={"d": times})
    named = replace(rows, activities=rows.activities.with_columns(by=pl.Series(["a", "b", None, "a", None])))
    told = facts_at(named, [MONDAY], settings=UTC_DAYS)
    names = [f"days_since_touch{n}" for n in ("", "_2", "_3", "_5")]
    assert told.filter(deal_id="d").select(names).row(0) == (
        pytest.approx(0.864583),
        3.0,
        pytest.approx(19.270833),
        20.0,
    )
    assert told.filter(deal_id="quiet").select(names).row(0) == (10.0,) * 4
    names = ["touch_days", "touch_day_share", "last_touch_hour", "touches_unnamed"]
    assert told.filter(deal_id="d").select(names).row(0) == (3.0, 3 / 21, 9.25, 1.0)
    assert told.filter(deal_id="quiet").select(names).row(0) == (0.0, 0.0, None, 0.0)
    names = ["last_touch_is_unnamed", "days_since_named", "days_since_unnamed"]
    assert told.filter(deal_id="d").select(names).row(0) == (False, pytest.approx(0.864583), 3.0)
    nobody = facts_at(rows, [MONDAY], settings=UTC_DAYS).filter(deal_id="d")
    assert nobody.select("touches_unnamed", *names).row(0) == (None,) * 4
    berlin = facts_at(named, [MONDAY], settings=UTC_DAYS.model_copy(update={"time_zone": "Europe/Berlin"}))
    assert berlin.filter(deal_id="d").select("touch_days", "last_touch_hour").row(0) == (4.0, 10.25)


def test_a_next_step_counts_from_today_on() -> None:
    deals = {
        "today": deal("2026-01-01", next_step_on="2026-03-02"),
        "passed": deal("2026-01-01", next_step_on="2026-02-28"),
        "cleared": deal("2026-01-01", next_step_on=[("2026-01-01", "2026-03-09"), ("2026-01-05", None)]),
        "none": deal("2026-01-01"),
    }
    rows = facts_of(deals)
    assert {d: (rows[d]["has_next_step"], rows[d]["days_to_next_step"]) for d in deals} == {
        "today": (True, 0.0),
        "passed": (False, -2.0),
        "cleared": (False, None),
        "none": (False, None),
    }
    assert facts_of({"d": deal("2026-01-01")})["d"]["has_next_step"] is None  # nobody keeps next steps


def test_owners_are_counted_as_they_stood() -> None:
    handed = [("2026-02-05", "ann"), ("2026-02-09", "bob"), ("2026-02-10", "bob"), ("2026-02-20", "ann")]
    deals = {
        "a": deal("2026-02-01", owner_id=handed),
        "b": deal("2026-02-01", owner_id="ann"),
        "c": deal(
            "2026-02-01", owner_id=[("2026-02-01", "ann"), ("2026-02-03", None), ("2026-02-05", "bob")]
        ),
        "d": deal("2026-02-01"),
    }
    rows = facts_of(deals)
    assert {
        d: (rows[d]["owner_id"], rows[d]["owner_open_deals"], rows[d]["owner_changes"]) for d in deals
    } == {
        "a": ("ann", 2.0, 2.0),
        "b": ("ann", 2.0, 0.0),
        "c": ("bob", 1.0, 1.0),  # through nobody's hands
        "d": (None, None, None),
    }


def test_win_rates_are_drawn_to_everyones_and_count_what_was_known_by_then() -> None:
    closed = {
        f"{outcome}{n}": deal("2026-01-01", owner_id=owner, region=region, outcome=[(when, outcome)])
        for n, (outcome, owner, region, when) in enumerate(
            [
                ("won", "ann", "North", "2026-02-01"),
                ("won", "ann", "North", "2026-02-02"),
                ("lost", "ann", "North", "2026-02-03"),
                ("lost", "bob", "North", "2026-02-04"),
                ("lost", "bob", "South", "2026-03-03"),  # not known yet
            ]
        )
    }
    closed["won0"]["owner_id"].append(("2026-02-10", "bob"))  # handed over after it was won: stays Ann's win
    asking = {
        "ann": deal("2026-02-01", owner_id="ann", region="North"),
        "bob": deal("2026-02-01", owner_id="bob", region="South"),
        "new": deal("2026-02-01", owner_id="new"),
    }
    rows = facts_of({**closed, **asking})
    assert [rows[d]["owner_win_rate"] for d in asking] == [
        pytest.approx((2 + 20 * 0.5) / (3 + 20)),
        pytest.approx((0 + 20 * 0.5) / (1 + 20)),
        0.5,
    ]
    assert [rows[d]["region_win_rate"] for d in asking] == [0.5, 0.5, None]
    assert [rows[d]["industry_win_rate"] for d in asking] == [None] * 3
    assert facts_of(asking)["ann"]["owner_win_rate"] is None  # nothing has closed


def test_a_deal_leaves_the_win_rates_a_year_after_it_closed() -> None:
    closing = {"won": "2025-03-02 06:00", "lost": "2025-03-02 06:01", "told late": "2025-01-01"}
    deals = {
        name: deal("2025-01-01", owner_id="ann", outcome=[(when, "won" if name == "won" else "lost")])
        for name, when in closing.items()
    }
    deals["open"] = deal("2025-01-01", owner_id="ann")
    known = ledger(deals)
    late = (
        pl.col("new_value").is_not_null()
        & (pl.col("deal_id") == "told late")
        & (pl.col("field") == "outcome")
    )
    changes = known.changes.with_columns(known_at=pl.when(late).then(at("2026-03-01")).otherwise("known_at"))
    moments = [MONDAY - timedelta(minutes=1), MONDAY, MONDAY + timedelta(minutes=1)]
    rows = facts_at(Ledger(changes, known.activities), moments, settings=UTC_DAYS)
    rows = rows.filter(pl.col("deal_id") == "open")
    assert rows["owner_closed_deals"].to_list() == [2.0, 1.0, 0.0]
    assert rows["win_rate"].to_list() == [0.5, 0.0, None] and rows["owner_win_rate"].to_list() == [
        0.5,
        0.0,
        None,
    ]


def test_a_reopened_deal_leaves_the_win_rates() -> None:
    deals = {
        "won": deal("2026-01-01", owner_id="ann", outcome=[("2026-02-01", "won")]),
        "lost": deal("2026-01-01", owner_id="ann", outcome=[("2026-02-01", "lost"), ("2026-03-01", None)]),
    }
    assert facts_of(deals)["lost"]["owner_win_rate"] == 1.0


@pytest.mark.parametrize("column", ["industry", "region", "product_type", "lead_source"])
def test_each_segment_column_has_its_own_win_rate(column: str) -> None:
    deals = {
        "won": deal("2026-01-01", **{column: "x"}, outcome=[("2026-02-01", "won")]),
        "lost": deal("2026-01-01", **{column: "y"}, outcome=[("2026-02-01", "lost")]),
        "d": deal("2026-01-01", **{column: "x"}),
    }
    row = facts_of(deals)["d"]
    rates = [name for name in row if name.endswith("_win_rate") and row[name] is not None]
    assert rates == [f"{column}_win_rate"] and row[rates[0]] == pytest.approx(11 / 21)


def test_the_age_percentile_compares_within_the_segment_that_morning() -> None:
    deals = {
        f"d{n}": deal(f"2026-02-{day:02}", product_type=kind)
        for n, (day, kind) in enumerate([(1, "A"), (11, "A"), (11, "A"), (21, "A"), (1, "B"), (21, None)])
        if kind
    } | {"d5": deal("2026-02-21")}
    rows = facts_of(deals)
    assert [rows[f"d{n}"]["age_percentile"] for n in range(6)] == [1.0, 0.5, 0.5, 0.0, None, None]


@pytest.mark.parametrize(
    ("zone", "moment", "days"),
    [
        # 2026-03-02 is a Monday; local days decide, not UTC's.
        ("UTC", "2026-03-02 23:30", 8),
        ("Europe/Berlin", "2026-03-02 23:30", 7),
        ("America/New_York", "2026-03-02 04:30", 9),
        ("Asia/Kolkata", "2026-03-02 18:30", 7),
        ("Asia/Kolkata", "2026-03-02 18:29", 8),
    ],
)
def test_days_to_dates_are_local(zone: str, moment: str, days: int) -> None:
    d = {"d": deal("2026-01-01", close_date="2026-03-10", next_step_on="2026-03-10")}
    row = facts_of(d, at(moment), settings=Settings(time_zone=zone))["d"]
    assert (row["days_to_close"], row["days_to_next_step"], row["days_to_quarter_end"]) == (
        days,
        days,
        days + 21,
    )


@pytest.mark.parametrize(
    ("zone", "before", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 28), 23),
        ("Europe/Berlin", date(2026, 10, 24), 25),
        ("America/New_York", date(2026, 3, 7), 23),
        ("America/New_York", date(2026, 10, 31), 25),
        ("Asia/Kolkata", date(2026, 3, 28), 24),
    ],
)
def test_a_daylight_saving_day_moves_dates_by_one_and_ages_by_its_hours(
    zone: str, before: date, hours: int
) -> None:
    settings = Settings(time_zone=zone)
    d = ledger({"d": deal("2026-01-01", close_date="2026-12-31", stage="Qualify")})
    mornings = [morning_of(before + timedelta(n), settings) for n in range(2)]
    assert {m.astimezone(ZoneInfo(zone)).hour for m in mornings} == {6}
    rows = facts_at(d, mornings, settings=settings)
    assert rows["days_to_close"].diff()[1] == -1.0
    assert rows["age_days"].diff()[1] == pytest.approx(hours / 24)
    assert rows["days_in_stage"].diff()[1] == pytest.approx(hours / 24)


@pytest.mark.parametrize(
    ("day", "starts", "end"),
    [
        ("2026-01-01", 1, "2026-03-31"),
        ("2026-03-31", 1, "2026-03-31"),
        ("2026-04-01", 1, "2026-06-30"),
        ("2026-12-31", 1, "2026-12-31"),
        ("2026-11-01", 1, "2026-12-31"),
        ("2026-01-31", 2, "2026-01-31"),
        ("2026-02-01", 2, "2026-04-30"),
        ("2026-12-15", 2, "2027-01-31"),
        ("2024-02-29", 12, "2024-02-29"),
        ("2025-12-01", 12, "2026-02-28"),
        ("2026-05-05", 4, "2026-06-30"),
        ("2026-05-05", 7, "2026-06-30"),
        ("2026-05-05", 3, "2026-05-31"),
    ],
)
def test_quarters_end_by_the_fiscal_year(day: str, starts: int, end: str) -> None:
    assert quarter_end(date.fromisoformat(day), starts) == date.fromisoformat(end)


def test_the_last_fourteen_days_are_the_quarters_end() -> None:
    mornings = [at("2026-03-17"), at("2026-03-18"), at("2026-03-31"), at("2026-04-01")]
    rows = facts_at(ledger({"d": deal("2026-01-01")}), mornings, settings=UTC_DAYS)
    assert rows["days_to_quarter_end"].to_list() == [14.0, 13.0, 0.0, 90.0]
    assert rows["is_quarter_end"].to_list() == [False, True, True, False]


def test_facts_have_the_types_they_say() -> None:
    rows = facts_at(ledger({"d": deal("2026-01-01")}), [MONDAY], settings=UTC_DAYS)
    wanted = {"number": pl.Float64(), "flag": pl.Boolean(), "category": pl.String()}
    assert {f.name: rows.schema[f.name] for f in FACTS} == {f.name: wanted[f.kind] for f in FACTS}
