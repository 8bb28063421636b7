"""A past morning's facts stay what they were: later data and other moments alter no byte of them."""

import gzip
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dealwatch import migrations
from dealwatch.company.world import simulate
from dealwatch.history.extract import extract
from dealwatch.history.ledger import CHANGE_ORDER, TOUCH_ORDER, Ledger, read_ledger
from dealwatch.knobs import Pipeline, Source
from dealwatch.moments import morning_of, mornings
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.spells import in_slices
from dealwatch.settings import Settings
from dealwatch.settings import load as load_settings
from dealwatch.warehouse import connect, reading
from ledger_rows import at, deal, ledger

EXAMPLES = Path(__file__).resolve().parents[1] / "include" / "examples"
UNTIL = date(2026, 3, 2)


def landed(home: Path, drops: Path, settings: Settings, now: datetime) -> Ledger:
    """The ledger after all drops of a folder known by `now` went through landing and remembering."""
    ours = settings.model_copy(update={"home": home, "sources": {"drops": Source(path=drops)}})
    engine = connect(ours)
    migrations.upgrade(engine)
    extract(engine, "drops", settings=ours, now=now)
    with reading(engine) as connection:
        ledger = read_ledger(connection)
    engine.dispose()
    return ledger


def assert_same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """Equal to the byte, column by column: repr tells apart any two floats, and 0.0 from -0.0."""
    assert one.columns == other.columns and one.height == other.height
    different = [name for name in one.columns if repr(one[name].to_list()) != repr(other[name].to_list())]
    assert different == []


def assert_no_look_ahead(whole: Ledger, moments: list[datetime], settings: Settings) -> pl.DataFrame:
    together = facts_at(whole, moments, settings=settings)
    for moment in moments:
        alone = facts_at(whole.known_at(moment), [moment], settings=settings)
        assert_same(together.filter(as_of=moment), alone)
    return together


def as_exported_on(moment: datetime, source: Path, target: Path) -> None:
    """The four files as the CRM would have exported them at an earlier moment."""
    target.mkdir(parents=True)

    def read(name: str) -> pl.DataFrame:
        return pl.read_csv(source / name, infer_schema=False)

    def instant(column: str) -> pl.Expr:
        return pl.col(column).str.to_datetime("%+", time_unit="us", time_zone="UTC")

    by_then = instant("at") <= moment
    history = read("deal_history.csv").rename({"changed_at": "at"}).with_row_index("row")
    deals = read("deals.csv").filter(instant("created_at") <= moment)
    columns = deals.columns
    is_open = (instant("closed_at") > moment).fill_null(True)
    deals = deals.with_columns(pl.when(~is_open).then(name).alias(name) for name in ("closed_at", "outcome"))
    for field in history["field"].unique():
        rows = history.filter(field=field).sort(instant("at"), "row")
        before = rows.filter(by_then).group_by("deal_id").agg(pl.col("new_value").last().alias("last"))
        after = rows.filter(~by_then).group_by("deal_id").agg(pl.col("old_value").first().alias("next"))
        deals = (
            deals.join(before, on="deal_id", how="left")
            .join(after, on="deal_id", how="left")
            .with_columns(
                pl.when(pl.col("deal_id").is_in(before["deal_id"].implode()))
                .then("last")
                .when(pl.col("deal_id").is_in(after["deal_id"].implode()))
                .then("next")
                .otherwise(field)
                .alias(field)
            )
            .drop("last", "next")
        )
    deals.select(columns).write_csv(target / "deals.csv")
    history.filter(by_then).drop("row").rename({"at": "changed_at"}).write_csv(target / "deal_history.csv")
    activities = read("activities.csv")
    activities.filter(instant("happened_at") <= moment).write_csv(target / "activities.csv")
    (target / "owners.csv").write_bytes((source / "owners.csv").read_bytes())


def two_drops(source: Path, folder: Path, first: date, last: date, settings: Settings) -> None:
    """The files as of the first day, and as they are on the last."""
    as_exported_on(drop_moment(first, settings), source, folder / first.isoformat())
    second = folder / last.isoformat()
    second.mkdir()
    for file in source.glob("*.csv"):
        with gzip.open(second / f"{file.name}.gz", "wb", compresslevel=1) as copy:
            copy.write(file.read_bytes())


def drop_moment(day: date, settings: Settings) -> datetime:
    from dealwatch.crm.drops import DAILY_AT

    return datetime.combine(day, DAILY_AT, tzinfo=settings.zone).astimezone(UTC)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Ledger]]:
    """A small planted company: its files, and the ledger after landing them."""
    folder = tmp_path_factory.mktemp("planted")
    simulate("planted", deals=500, days=300, seed=11, until=UNTIL, out=folder / "files")
    yield folder / "files", landed(folder, folder / "files", Settings(), morning_of(UNTIL, Settings()))


SETTINGS = Settings(pipeline=Pipeline(norm_minimum=5))


def test_later_data_and_other_moments_change_no_fact_of_the_planted_world(
    planted: tuple[Path, Ledger],
) -> None:
    moments = mornings(date(2025, 6, 2), UNTIL, SETTINGS)[::21]
    named = pl.when(pl.int_range(pl.len()) % 5 > 0).then("by")  # in this world all touches name somebody
    world = replace(planted[1], activities=planted[1].activities.with_columns(by=named))
    facts = assert_no_look_ahead(world, moments, SETTINGS)
    constant = {name for name in facts.columns if facts[name].drop_nulls().n_unique() < 2}
    assert facts.height > 500 and constant == {"currency"}  # every fact was put to the test


def test_an_earlier_export_and_a_later_one_give_the_facts_of_the_later_one_alone(
    planted: tuple[Path, Ledger], tmp_path: Path
) -> None:
    files, whole = planted
    first = date(2025, 11, 17)
    two_drops(files, tmp_path / "drops", first, UNTIL, SETTINGS)
    now = morning_of(UNTIL, SETTINGS)
    early = landed(tmp_path / "early", tmp_path / "drops", SETTINGS, now - timedelta(days=30))
    both = landed(tmp_path / "both", tmp_path / "drops", SETTINGS, now)
    assert early.changes.height < both.changes.height == whole.changes.height
    then = mornings(date(2025, 6, 2), first - timedelta(days=1), SETTINGS)[::21]
    later = mornings(first, UNTIL, SETTINGS)[::21]
    assert_same(facts_at(early, then, settings=SETTINGS), facts_at(whole, then, settings=SETTINGS))
    assert_same(
        facts_at(both, [*then, *later], settings=SETTINGS),
        facts_at(whole, [*then, *later], settings=SETTINGS),
    )


def plain(begin: datetime, hours: int) -> str:
    return str((begin + timedelta(hours=hours)).replace(tzinfo=None))


def made_up(seed: int) -> Ledger:
    """Deals that wander, are reopened, deleted and restored; much of it is known late or in one instant."""
    random = np.random.default_rng(seed)
    start = at("2026-01-01")
    words: dict[str, list[str | None]] = {
        "stage": ["A", "B", "C", "D", None],
        "outcome": ["won", "lost", None, None],
        "deleted": ["true", "false", "false"],
        "owner_id": ["ann", "bob", None],
        "amount": ["10", "20.5", "1e3", None],
        "close_date": ["2026-02-01", "2026-03-01", "2026-04-01", None],
        "next_step_on": ["2026-02-10", "2026-03-10", None],
        "product_type": ["Core", "Edge", None],
        "region": ["North", "South"],
        "lead_source": ["Web", "Call"],
    }
    deals, touches = {}, {}
    for number in range(150):
        created = start + timedelta(hours=int(random.integers(0, 60 * 24)))
        steps: dict[str, list[tuple[str, str | None]]] = {}
        for field, values in words.items():
            times = sorted(int(h) for h in random.integers(0, 40 * 24, random.integers(0, 5)))
            steps[field] = [
                (
                    str((created + timedelta(hours=h)).replace(tzinfo=None)),
                    values[random.integers(len(values))],
                )
                for h in times
            ]
        name = f"d{number:02}"
        deals[name] = deal(plain(created, 0), **steps)
        touches[name] = [plain(created, int(h)) for h in random.integers(-48, 900, random.integers(0, 6))]
    told = ledger(deals, touches=touches)

    def late(rows: pl.DataFrame, order: list[str]) -> pl.DataFrame:
        hours = random.choice([0, 0, 0, 24, 24 * 9], rows.height)
        known = pl.col("happened_at") + pl.duration(hours=pl.Series(hours))
        # What a nightly extract finds out is known at one instant, in no particular order.
        return rows.with_columns(known_at=known.dt.truncate("1d") + pl.duration(days=1)).sort(order)

    return Ledger(changes=late(told.changes, CHANGE_ORDER), activities=late(told.activities, TOUCH_ORDER))


@pytest.mark.parametrize("stages", [(), ("A", "B", "C")])
@pytest.mark.parametrize("seed", range(4))
def test_later_data_changes_no_fact_however_untidy_the_ledger(seed: int, stages: tuple[str, ...]) -> None:
    pipeline = Pipeline(stages=stages, norm_minimum=5, segment_by=("product_type", "region"))
    settings = Settings(time_zone="America/New_York", pipeline=pipeline)
    moments = [at("2026-01-08") + timedelta(days=n, hours=5 * (n % 3)) for n in range(0, 90, 9)]
    facts = assert_no_look_ahead(made_up(seed), moments, settings)
    assert facts.height > 50 and facts["stage_p50_days"].drop_nulls().len() > 0


def test_moments_are_taken_in_slices_that_fit() -> None:
    timeline = pl.DataFrame(
        {
            "status": ["open", "open", "won", "open"],
            "known_from": [at("2026-01-01"), at("2026-01-02"), at("2026-01-01"), at("2026-01-03")],
            "known_to": [at("2026-01-04"), None, None, None],
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("known_from", "known_to")},
    )
    days = np.array([int(at(f"2026-01-0{n}").timestamp() * 1e6) for n in range(1, 6)])  # 1, 2, 3, 2, 2 open
    assert [len(part) for part in in_slices(timeline, days, rows=3)] == [2, 1, 1, 1]
    assert [len(part) for part in in_slices(timeline, days, rows=1)] == [1, 1, 1, 1, 1]
    assert [len(part) for part in in_slices(timeline, days, rows=99)] == [5]
    assert [len(part) for part in in_slices(timeline, days[:0], rows=99)] == [0]


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path, Ledger]:
    """The bank's loan applications, through landing and remembering."""
    from conftest import REAL_DATA

    if not REAL_DATA.is_dir():
        pytest.skip(f"real data is not at {REAL_DATA}; set DEALWATCH_REAL_DATA")
    settings = load_settings(EXAMPLES / "loans.toml")
    home = tmp_path_factory.mktemp("loans")
    now = morning_of(date(2012, 3, 20), settings)
    return settings, REAL_DATA / "loans", landed(home, REAL_DATA / "loans", settings, now)


@pytest.mark.real
@pytest.mark.slow
def test_later_data_and_other_moments_change_no_fact_of_the_loans(
    loans: tuple[Settings, Path, Ledger],
) -> None:
    settings, _, whole = loans
    moments = mornings(date(2011, 10, 8), date(2012, 3, 10), settings)[::22]
    assert assert_no_look_ahead(whole, moments, settings).height > 2_000


@pytest.mark.real
@pytest.mark.slow
def test_an_earlier_export_of_the_loans_gives_the_same_facts(
    loans: tuple[Settings, Path, Ledger], tmp_path: Path
) -> None:
    settings, files, whole = loans
    first, last = date(2011, 12, 10), date(2012, 3, 20)
    two_drops(files, tmp_path / "drops", first, last, settings)
    both = landed(tmp_path / "home", tmp_path / "drops", settings, morning_of(last, settings))
    moments = mornings(date(2011, 10, 8), date(2012, 3, 10), settings)[::22]
    assert_same(facts_at(both, moments, settings=settings), facts_at(whole, moments, settings=settings))


@pytest.mark.real
@pytest.mark.slow
def test_censoring_tells_the_loans_time_to_win_weeks_before_closed_wins_do(
    loans: tuple[Settings, Path, Ledger],
) -> None:
    """The table of docs/decisions/0010-norms.md."""
    settings, _, whole = loans
    days = [date(2011, 10, 15), date(2011, 10, 29), date(2011, 11, 12), date(2011, 12, 10)]
    moments = [morning_of(day, settings) for day in days]
    rows = facts_at(whole, moments, settings=settings)
    norms = rows.group_by("as_of").agg(pl.col("segment_win_p50_days").unique().implode()).sort("as_of")
    assert norms["segment_win_p50_days"].list.len().to_list() == [1] * 4
    censored = norms["segment_win_p50_days"].list.first().to_list()
    assert censored == pytest.approx([9.96, 14.65, 14.10, 14.58], abs=0.005)
    assert censored == pytest.approx([10.0, 14.6, 14.1, 14.5], abs=0.1)
    took = whole.changes.filter(field="outcome", new_value="won").join(
        whole.changes.filter(field="created_at").select("deal_id", begun="happened_at"), on="deal_id"
    )
    days_to_win = (pl.col("happened_at") - pl.col("begun")).dt.total_microseconds() / 86_400_000_000
    closed_wins = [
        took.filter(pl.col("known_at") <= m).select(days_to_win.median()).item()
        for m in [*moments, morning_of(date(2012, 3, 20), settings)]
    ]
    assert closed_wins == pytest.approx([8.2, 12.3, 12.8, 13.6, 14.4], abs=0.05)
