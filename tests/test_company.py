"""The demo company keeps the file contract, tells one story in all its files, and is as true as it says."""

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from dealwatch.company.calendar import day_number, full_quarters, month_end, next_working_day, utc_offsets
from dealwatch.company.files import write_frames
from dealwatch.company.odds import Sight, advance_ratio, loss_ratio
from dealwatch.company.process import DRIVERS, STAGE_NAMES, STAGES
from dealwatch.company.world import simulate
from dealwatch.errors import SettingsError

UNTIL, DAYS = date(2026, 9, 1), 548
FILES = ("deals.csv", "deal_history.csv", "activities.csv", "owners.csv", "truth.json")
TRACKED = ("stage", "amount", "close_date", "owner_id", "next_step_on")
INSTANTS = {"created_at", "closed_at", "changed_at", "happened_at"}
COLUMNS = {
    "deals.csv": "deal_id,name,account,amount,currency,stage,owner_id,created_at,close_date,next_step_on,"
    "closed_at,outcome,industry,region,product_type,lead_source",
    "deal_history.csv": "deal_id,changed_at,field,old_value,new_value",
    "activities.csv": "deal_id,happened_at,kind,direction,by",
    "owners.csv": "owner_id,name,email,manager_id,time_zone,slack_user_id,active",
}


class Drop(NamedTuple):
    """A simulated drop as a stranger reads it: text, with instants parsed and empty cells as nulls."""

    deals: pl.DataFrame
    history: pl.DataFrame
    activities: pl.DataFrame
    owners: pl.DataFrame
    truth: dict[str, Any]
    counts: dict[str, Any]


def read(path: Path) -> pl.DataFrame:
    table = pl.read_csv(path, infer_schema=False)
    instants = [name for name in table.columns if name in INSTANTS]
    return table.with_columns(pl.col(instants).str.to_datetime("%Y-%m-%dT%H:%M:%S%:z", time_zone="UTC"))


@pytest.fixture(scope="module")
def drops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drop]:
    made = {}
    for world in ("planted", "null"):
        out = tmp_path_factory.mktemp(world)
        counts = simulate(world, deals=6000, days=DAYS, seed=11, until=UNTIL, out=out)
        deals, history, activities, owners = (read(out / name) for name in FILES[:4])
        truth = json.loads((out / "truth.json").read_text("utf-8"))
        made[world] = Drop(deals, history, activities, owners, truth, counts)
    return made


@pytest.fixture(scope="module", params=["planted", "null"])
def drop(request: pytest.FixtureRequest, drops: dict[str, Drop]) -> Drop:
    return drops[request.param]


def small(out: Path, *, seed: int = 3, world: Any = "planted") -> dict[str, bytes]:
    simulate(world, deals=300, days=120, seed=seed, until=UNTIL, out=out)
    return {name: (out / name).read_bytes() for name in FILES}


# The same question gets the same answer.


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (small(tmp_path / name, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert first == again
    assert all(first[name] != other[name] for name in FILES if name != "owners.csv")


def test_the_worlds_of_a_seed_differ_in_nothing_but_outcomes(drops: dict[str, Drop]) -> None:
    planted, null = drops["planted"], drops["null"]
    assert planted.deals.drop("stage", "outcome").equals(null.deals.drop("stage", "outcome"))
    assert planted.activities.equals(null.activities)
    is_closing = pl.col("new_value").str.starts_with("Closed").fill_null(False)
    assert planted.history.filter(~is_closing).equals(null.history.filter(~is_closing))
    assert not planted.deals["outcome"].equals(null.deals["outcome"])


def test_the_leaking_world_is_the_planted_one_until_a_stage_leaks(tmp_path: Path) -> None:
    made = {}
    for world in ("planted", "leaking"):
        simulate(world, deals=900, days=300, seed=3, until=UNTIL, out=tmp_path / world)
        made[world] = read(tmp_path / world / "deal_history.csv")
    leak = json.loads((tmp_path / "leaking" / "truth.json").read_text("utf-8"))["stage_leak"]
    first = datetime.fromisoformat(leak["first_day"]).replace(tzinfo=UTC)
    before, since = (
        {world: rows.filter((pl.col("changed_at") < first) == is_before) for world, rows in made.items()}
        for is_before in (True, False)
    )
    assert before["planted"].equals(before["leaking"]) and before["planted"].height > 1_000
    lost = (pl.col("old_value") == leak["stage"]) & (pl.col("new_value") == "Closed Lost")
    assert since["leaking"].filter(lost).height > 2 * since["planted"].filter(lost).height
    assert "stage_leak" not in json.loads((tmp_path / "planted" / "truth.json").read_text("utf-8"))


@pytest.mark.parametrize("wrong", [{"world": "mirror"}, {"deals": 0}, {"days": 3}, {"seed": -1}])
def test_what_cannot_be_simulated_is_refused_by_name(tmp_path: Path, wrong: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"world": "planted", "deals": 10, "days": 30, "seed": 1, **wrong}
    with pytest.raises(SettingsError, match=f"--{next(iter(wrong))}"):
        simulate(asked.pop("world"), **asked, until=UNTIL, out=tmp_path)


@pytest.mark.parametrize(("deals", "days"), [(1, 7), (40, 20), (200, 30)])
def test_a_tiny_company_can_be_made(tmp_path: Path, deals: int, days: int) -> None:
    told: list[str] = []
    counts = simulate("null", deals=deals, days=days, seed=1, until=UNTIL, out=tmp_path, progress=told.append)
    assert counts["deals"] == counts["won"] + counts["lost"] + counts["open"] == deals
    assert any("deal_history.csv" in line for line in told)
    assert json.loads((tmp_path / "truth.json").read_text("utf-8"))["mix_shift"] is None


# The files keep the contract.


def test_files_have_the_columns_of_the_contract(tmp_path: Path) -> None:
    written = small(tmp_path)
    for name, columns in COLUMNS.items():
        assert written[name].decode("utf-8").splitlines()[0] == columns


def test_a_file_written_in_pieces_has_one_header(tmp_path: Path) -> None:
    pieces = iter([pl.DataFrame({"deal_id": ["D-1"]}), pl.DataFrame({"deal_id": ["D-2"]})])
    assert write_frames(pieces, tmp_path / "deals.csv", lambda _: None) == 2
    assert (tmp_path / "deals.csv").read_text("utf-8") == "deal_id\nD-1\nD-2\n"


def test_instants_carry_their_offset_and_dates_are_dates(tmp_path: Path) -> None:
    small(tmp_path)
    with (tmp_path / "deals.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    for row in rows:
        assert datetime.fromisoformat(row["created_at"]).tzinfo is not None
        assert date.fromisoformat(row["close_date"]).isoformat() == row["close_date"]
        assert (row["closed_at"] == "") == (row["outcome"] == "") == (not row["stage"].startswith("Closed"))
        assert int(row["amount"]) > 0


def test_ids_are_unique_and_everything_points_at_something(drop: Drop) -> None:
    deals, owners = set(drop.deals["deal_id"]), set(drop.owners["owner_id"])
    assert len(deals) == len(drop.deals) == 6000 and len(owners) == len(drop.owners) == 30
    assert deals == set(drop.history["deal_id"]) == set(drop.activities["deal_id"])
    named = drop.history.filter(pl.col("field") == "owner_id")["new_value"]
    assert set(drop.deals["owner_id"]) | set(drop.activities["by"]) | set(named) <= owners
    assert set(drop.owners["manager_id"].drop_nulls()) <= owners
    assert drop.owners["manager_id"].null_count() == 1


def test_people_have_addresses_zones_and_no_slack_id(drop: Drop) -> None:
    assert drop.owners["email"].str.contains(r"^[a-z.\-]+@example\.com$").all()
    assert drop.owners["email"].is_unique().all()
    zones = {"Europe/Berlin", "America/New_York", "Asia/Kolkata"}
    assert set(drop.owners["time_zone"]) == zones
    assert drop.owners["slack_user_id"].null_count() == 30


def test_awkward_names_survive(drop: Drop) -> None:
    accounts = drop.deals["account"]
    assert accounts.str.contains("&", literal=True).any() and accounts.str.contains("'", literal=True).any()
    assert (drop.deals["name"].str.contains(" – ")).all()
    assert drop.owners["name"].str.contains("ü").any()


# All files tell one story.


def test_the_history_ends_where_the_deals_are(drop: Drop) -> None:
    for tracked in TRACKED:
        last = drop.history.filter(pl.col("field") == tracked).group_by("deal_id", maintain_order=True).last()
        both = drop.deals.select("deal_id", now=tracked).join(last, on="deal_id")
        assert len(both) == 6000
        assert both["now"].eq_missing(both["new_value"]).all(), tracked


def test_each_old_value_is_the_new_value_before_it(drop: Drop) -> None:
    before = pl.col("new_value").shift(1).over("deal_id", "field")
    rows = drop.history.with_columns(before=before, place=pl.int_range(pl.len()).over("deal_id", "field"))
    assert rows["old_value"].eq_missing(rows["before"]).all()
    assert (rows["old_value"].ne_missing(rows["new_value"])).all()
    assert len(rows.filter(pl.col("place") == 0)) == 6000 * len(TRACKED)


def test_every_field_is_told_when_a_deal_is_created(drop: Drop) -> None:
    first = drop.history.group_by("deal_id", "field").agg(pl.col("changed_at").min())
    both = first.join(drop.deals.select("deal_id", "created_at"), on="deal_id")
    assert len(both) == 6000 * len(TRACKED)
    assert (both["changed_at"] == both["created_at"]).all()


def test_changes_of_one_field_never_share_a_moment(drop: Drop) -> None:
    assert not drop.history.select("deal_id", "field", "changed_at").is_duplicated().any()


def test_a_deal_closes_once_and_nothing_happens_after(drop: Drop) -> None:
    closed = drop.deals.filter(pl.col("outcome").is_not_null()).select("deal_id", "closed_at", "outcome")
    rows = drop.history.filter(
        (pl.col("field") == "stage") & pl.col("new_value").is_in(["Closed Won", "Closed Lost"])
    ).join(closed, on="deal_id")
    assert len(rows) == len(closed) > 4000
    assert (rows["changed_at"] == rows["closed_at"]).all()
    words = {"Closed Won": "won", "Closed Lost": "lost"}
    assert (rows["new_value"].replace_strict(words) == rows["outcome"]).all()
    late = drop.history.join(closed, on="deal_id").filter(pl.col("changed_at") > pl.col("closed_at"))
    assert late.is_empty()
    touched = drop.activities.join(closed, on="deal_id").filter(pl.col("happened_at") > pl.col("closed_at"))
    assert touched.is_empty()


def test_nothing_happens_outside_the_days_asked_for(drop: Drop) -> None:
    ends = datetime(2026, 9, 1, 5, tzinfo=UTC)
    begins = datetime(2025, 3, 2, tzinfo=UTC)
    for moments in (drop.history["changed_at"], drop.activities["happened_at"], drop.deals["created_at"]):
        lowest, highest = moments.min(), moments.max()
        assert isinstance(lowest, datetime) and isinstance(highest, datetime)
        assert begins <= lowest and highest < ends
        assert (highest.date(), lowest.date()) >= (date(2026, 8, 30), date(2025, 3, 2))


def test_closing_comes_after_creation_and_stages_are_known(drop: Drop) -> None:
    closed = drop.deals.filter(pl.col("closed_at").is_not_null())
    assert (closed["closed_at"] > closed["created_at"]).all()
    assert set(drop.deals["stage"]) == set(STAGE_NAMES)


def test_people_work_by_day_in_their_own_zone_whatever_the_clock_does(drop: Drop) -> None:
    zones = dict(drop.owners.select("owner_id", "time_zone").iter_rows())
    for zone in sorted(set(zones.values())):
        mine = [owner for owner, where in zones.items() if where == zone]
        moments = drop.activities.filter(pl.col("by").is_in(mine))["happened_at"]
        assert len(moments) > 5000
        hours = moments.dt.convert_time_zone(zone).dt.hour()
        assert hours.min() == 8 and hours.max() == 18, zone
    for moment in ("2025-10-26", "2025-03-30", "2026-03-08"):  # days on which clocks change
        zone = "America/New_York" if moment == "2026-03-08" else "Europe/Berlin"
        day = date.fromisoformat(moment)
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))
        offset = utc_offsets(np.array([day_number(day)]))[0][0 if zone == "Europe/Berlin" else 1]
        assert offset == noon.utcoffset().total_seconds()  # type: ignore[union-attr]


def test_the_one_who_left_keeps_no_open_deal(drop: Drop) -> None:
    gone = drop.owners.filter(pl.col("active") == "false")["owner_id"].to_list()
    assert gone == [drop.truth["leaver"]["owner_id"]]
    held = drop.deals.filter(pl.col("owner_id") == gone[0])
    assert len(held) > 20 and held["outcome"].null_count() == 0
    left_on = date.fromisoformat(drop.truth["leaver"]["left_on"])
    given = drop.history.filter((pl.col("field") == "owner_id") & (pl.col("old_value") == gone[0]))
    assert given.filter(pl.col("changed_at").dt.date() == left_on).height >= 10
    later = drop.history.filter(pl.col("changed_at").dt.date() >= left_on)
    assert gone[0] not in later.filter(pl.col("field") == "owner_id")["new_value"]
    assert gone[0] not in drop.activities.filter(pl.col("happened_at").dt.date() > left_on)["by"]


# The company is believable, and the null world has the same margins.


def test_the_company_is_of_a_believable_size_and_speed(drop: Drop) -> None:
    assert 600 <= drop.counts["open"] <= 900
    assert 0.38 <= drop.counts["win_rate"] <= 0.46
    assert drop.counts["changes"] == len(drop.history)
    assert drop.counts["activities"] == len(drop.activities)
    pushed = moved_later(drop.history)
    assert 0.25 < pushed["deal_id"].n_unique() / 6000 < 0.6


def test_winners_take_longer_in_enterprise_than_in_starter(drops: dict[str, Drop]) -> None:
    days = drops["planted"].truth["measured"]["won_cycle_days_median_by_product_type"]
    assert 35 < days["Starter"] < days["Core"] < days["Analytics"] < days["Enterprise"] < 110
    assert 45 < drops["planted"].truth["measured"]["won_cycle_days_median"] < 75


def test_the_null_world_wins_as_often_as_the_planted_one(drops: dict[str, Drop]) -> None:
    rates = [drops[world].counts["win_rate"] for world in ("planted", "null")]
    assert abs(rates[0] - rates[1]) < 0.03
    assert drops["planted"].counts["open"] == drops["null"].counts["open"]


def test_deals_are_lost_early_and_late(drops: dict[str, Drop]) -> None:
    lost = drops["planted"].history.filter(pl.col("new_value") == "Closed Lost")
    shares = dict(lost.group_by("old_value").len().with_columns(pl.col("len") / len(lost)).iter_rows())
    assert set(shares) == {stage.name for stage in STAGES}
    assert all(share > 0.03 for share in shares.values())


# What is said to be planted is there; in the null world it is not.


def moved_later(history: pl.DataFrame) -> pl.DataFrame:
    return history.filter((pl.col("field") == "close_date") & (pl.col("new_value") > pl.col("old_value")))


def open_deals(drop: Drop, moment: datetime) -> pl.DataFrame:
    """What one morning shows of each deal open then, with the outcome that came later."""
    known = drop.history.filter(pl.col("changed_at") <= moment)
    since = known.filter(pl.col("field") == "stage").group_by("deal_id").agg(pl.col("changed_at").max())
    step = known.filter(pl.col("field") == "next_step_on").group_by("deal_id", maintain_order=True).last()
    touch = (
        drop.activities.filter(pl.col("happened_at") <= moment)
        .group_by("deal_id")
        .agg(pl.col("happened_at").max())
    )
    pushes = moved_later(known).group_by("deal_id").agg(pushes=pl.len())
    is_open = pl.col("closed_at").is_null() | (pl.col("closed_at") > moment)
    return (
        drop.deals.filter(is_open & (pl.col("created_at") <= moment) & pl.col("outcome").is_not_null())
        .join(since, on="deal_id")
        .join(touch, on="deal_id")
        .join(pushes, on="deal_id", how="left")
        .join(step.select("deal_id", step="new_value"), on="deal_id")
        .select(
            "industry",
            "region",
            "lead_source",
            "product_type",
            lost=(pl.col("outcome") == "lost").cast(pl.Float64),
            stalled=(pl.lit(moment) - pl.col("changed_at")).dt.total_days() >= 21,
            silent=(pl.lit(moment) - pl.col("happened_at")).dt.total_days() >= 14,
            pushed=pl.col("pushes").fill_null(0) >= 1,
            planned=(pl.col("step") >= moment.date().isoformat()).fill_null(False),
            aged=(pl.lit(moment) - pl.col("created_at")).dt.total_days() >= 45,
        )
    )


def mornings(drop: Drop) -> pl.DataFrame:
    """Mornings so far apart that few deals appear in two of them."""
    days = [datetime(2025, 7, 1), datetime(2025, 11, 3), datetime(2026, 3, 2)]
    return pl.concat(open_deals(drop, day.replace(hour=4, tzinfo=UTC)) for day in days)


def closed_deals(drop: Drop) -> pl.DataFrame:
    """Every closed deal with its outcome and the stage it closed from."""
    closing = drop.history.filter(pl.col("new_value").str.starts_with("Closed").fill_null(False))
    return (
        closing.select("deal_id", closed_from="old_value")
        .join(drop.deals, on="deal_id")
        .with_columns(
            lost=(pl.col("outcome") == "lost").cast(pl.Float64),
            slow=(pl.col("closed_at") - pl.col("created_at")).dt.total_days() > 50,
        )
    )


def gap(table: pl.DataFrame, yes: pl.Expr) -> tuple[float, float]:
    """How much likelier the deals of `yes` are to be lost than the rest, and the standard error of that."""
    with_it, without = table.filter(yes)["lost"], table.filter(~yes)["lost"]
    assert len(with_it) > 80 and len(without) > 80
    means = [float(part.mean() or 0.0) for part in (with_it, without)]  # type: ignore[arg-type]
    spread = sum(mean * (1 - mean) / len(part) for mean, part in zip(means, (with_it, without), strict=True))
    return means[0] - means[1], spread**0.5


FACTS: dict[str, pl.Expr] = {
    "stalled": pl.col("stalled"),
    "silent": pl.col("silent"),
    "pushed": pl.col("pushed"),
    "planned": pl.col("planned"),
    "aged": pl.col("aged"),
    "outbound": pl.col("lead_source") == "Outbound",
    "starter": pl.col("product_type") == "Starter",
    "retail": pl.col("industry") == "Retail",
    "apac": pl.col("region") == "APAC",
}


@pytest.mark.parametrize(
    ("fact", "least"),
    [("stalled", 0.10), ("silent", 0.30), ("planned", -0.10)],
)
def test_a_planted_driver_shows_on_a_morning(drops: dict[str, Drop], fact: str, least: float) -> None:
    found, _ = gap(mornings(drops["planted"]), FACTS[fact])
    assert found * np.sign(least) >= abs(least)


@pytest.mark.parametrize("fact", ["retail", "apac"])
def test_an_innocent_fact_shows_nothing(drops: dict[str, Drop], fact: str) -> None:
    found, error = gap(mornings(drops["planted"]), FACTS[fact])
    assert abs(found) < 3.5 * error


@pytest.mark.parametrize("fact", FACTS)
def test_in_the_null_world_nothing_a_morning_shows_foretells_the_outcome(
    drops: dict[str, Drop], fact: str
) -> None:
    found, error = gap(mornings(drops["null"]), FACTS[fact])
    assert abs(found) < 3.5 * error


def test_in_the_null_world_neither_stage_path_nor_owner_nor_speed_tells_the_outcome(
    drops: dict[str, Drop],
) -> None:
    closed = closed_deals(drops["null"])
    weak_rep = drops["planted"].truth["weak_rep"]
    parts = [pl.col("slow"), pl.col("owner_id") == weak_rep]
    for part in [*parts, *(pl.col("closed_from") == stage.name for stage in STAGES)]:
        found, error = gap(closed, part)
        assert abs(found) < 3.5 * error


def test_the_weak_rep_wins_far_less_and_only_in_the_planted_world(drops: dict[str, Drop]) -> None:
    planted, null = (drops[world].truth["measured"] for world in ("planted", "null"))
    assert planted["win_rate_of_weak_rep"] < planted["win_rate_of_other_reps"] - 0.10
    assert abs(null["win_rate_of_weak_rep"] - null["win_rate_of_other_reps"]) < 0.10


def test_the_weak_source_and_the_weak_product_win_less_and_only_in_the_planted_world(
    drops: dict[str, Drop],
) -> None:
    for column, weak in (("lead_source", "Outbound"), ("product_type", "Starter")):
        planted, null = (
            gap(closed_deals(drops[world]), pl.col(column) == weak) for world in ("planted", "null")
        )
        assert planted[0] > 0.06, column
        assert abs(null[0]) < 3.5 * null[1], column


def test_one_quarter_brings_more_of_the_weak_product(drops: dict[str, Drop]) -> None:
    for drop in drops.values():
        shift = drop.truth["mix_shift"]
        assert (shift["quarter"], shift["segment"]) == ("2026-Q1", "Starter")
        created = (
            pl.col("created_at")
            .dt.date()
            .is_between(date.fromisoformat(shift["first_day"]), date.fromisoformat(shift["last_day"]))
        )
        is_weak = (drop.deals["product_type"] == shift["segment"]).cast(pl.Float64)
        inside = drop.deals.select(created).to_series()
        assert abs(float(is_weak.filter(inside).mean() or 0) - shift["share_in_quarter"]) < 0.05
        assert abs(float(is_weak.filter(~inside).mean() or 0) - shift["share_usually"]) < 0.03


def test_the_answer_sheet_is_complete(drops: dict[str, Drop]) -> None:
    planted, null = drops["planted"].truth, drops["null"].truth
    strengths = [driver["strength"] for driver in planted["drivers"]]
    assert strengths == sorted(strengths, reverse=True)
    assert [driver["name"] for driver in planted["drivers"]] == [
        "stall",
        "silence",
        "push",
        "weak_rep",
        "weak_product_type",
        "weak_lead_source",
        "planned_step",
    ]
    assert {"industry", "region", "amount", "quarter_end"} <= set(planted["innocent"])
    assert null["drivers"] == [] and null["weak_rep"] is None and null["foretelling"] == {}
    assert {"stall", "silence", "industry"} <= set(null["innocent"])
    assert planted["asked"] == {"deals": 6000, "days": DAYS, "seed": 11, "until": "2026-09-01"}
    outcomes = drops["planted"].deals["outcome"]
    assert planted["measured"]["won"] == (outcomes == "won").sum()
    assert planted["measured"]["open"] == outcomes.null_count()


# The arithmetic of odds and days.


def sight(**changed: Any) -> Sight:
    neutral: dict[str, Any] = dict(stall=0.0, silent_days=0.0, pushes=0.0)
    neutral |= dict.fromkeys(("has_planned_step", "is_weak_rep", "is_weak_source", "is_weak_product"), False)
    return Sight(**{name: np.array([value]) for name, value in (neutral | changed).items()})


def test_each_driver_multiplies_the_odds_by_what_the_answer_sheet_says() -> None:
    assert loss_ratio(sight(), DRIVERS)[0] == 1.0
    assert loss_ratio(sight(stall=2.0), DRIVERS)[0] == pytest.approx(DRIVERS.stall.ratio)
    assert loss_ratio(sight(stall=99.0), DRIVERS)[0] == pytest.approx(DRIVERS.stall.ratio**3)
    assert loss_ratio(sight(silent_days=17.0), DRIVERS)[0] == pytest.approx(DRIVERS.silence.ratio)
    assert loss_ratio(sight(pushes=2.0), DRIVERS)[0] == pytest.approx(DRIVERS.push.ratio**2)
    both = loss_ratio(sight(is_weak_rep=True, has_planned_step=True), DRIVERS)[0]
    assert both == pytest.approx(DRIVERS.weak_rep * DRIVERS.planned_step)
    assert advance_ratio(sight(stall=3.0), DRIVERS)[0] < advance_ratio(sight(stall=1.0), DRIVERS)[0]


def test_quarters_months_and_weekends_are_those_of_the_calendar() -> None:
    names = [part.name for part in full_quarters(day_number(date(2025, 3, 2)), day_number(UNTIL))]
    assert names == ["2025-Q2", "2025-Q3", "2025-Q4", "2026-Q1", "2026-Q2"]
    days = np.array([day_number(date(2024, 2, 3)), day_number(date(2025, 12, 31))])
    assert month_end(days).tolist() == [day_number(date(2024, 2, 29)), day_number(date(2025, 12, 31))]
    assert next_working_day(days).tolist() == [day_number(date(2024, 2, 5)), day_number(date(2025, 12, 31))]
