"""Reviews in the warehouse: written once however often, the same on both databases, and for any past week."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr
from sqlalchemy import Engine, delete, select, text

from conftest import ROOT, new_database
from dealwatch import jobs, migrations
from dealwatch.__main__ import main
from dealwatch.company.world import simulate
from dealwatch.errors import NotReady, SettingsError
from dealwatch.history.extract import extract
from dealwatch.insights.keeping import for_everyone, keep
from dealwatch.settings import Settings
from dealwatch.sources import Source
from dealwatch.tables import (
    deal_changes,
    deal_scores,
    deliveries,
    pipeline_metrics,
    rep_metrics,
    reviews,
    segment_metrics,
    trends,
)
from dealwatch.warehouse import connect, frame, reading, writing
from small_company import MORNING, SmallCompany

TABLES = (reviews, pipeline_metrics, segment_metrics, rep_metrics, trends)
QUERIES = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "review.md").read_text("utf-8"), re.S)
UNTIL = date(2026, 9, 1)
MONDAY = datetime(2026, 8, 31, 6, tzinfo=UTC)
EARLIER = MONDAY - timedelta(weeks=7)


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drop")
    simulate("planted", deals=700, days=365, seed=4, until=UNTIL, out=out)
    return out


def filled(settings: Settings, drop: Path, *, until: datetime = MONDAY) -> Engine:
    """A warehouse that has read the drop."""
    settings = settings.model_copy(update={"sources": {"crm": Source(kind="files", path=drop)}})
    engine = connect(settings)
    migrations.upgrade(engine)
    extract(engine, "crm", settings=settings, now=until)
    return engine


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), time_zone="UTC")


@pytest.fixture(scope="module")
def engine(settings: Settings, drop: Path) -> Any:
    made = filled(settings, drop)
    keep(made, MONDAY, "week", settings=settings)
    yield made
    made.dispose()


def told(engine: Engine) -> dict[str, pl.DataFrame]:
    with reading(engine) as connection:
        return {
            table.name: frame(connection, select(table)).sort(list(table.primary_key.columns.keys()))
            for table in TABLES
        }


def test_every_table_is_written_and_every_null_says_why(engine: Engine) -> None:
    kept = told(engine)
    assert all(rows.height for rows in kept.values())
    for name in ("pipeline_metrics", "segment_metrics", "rep_metrics"):
        rows = kept[name]
        nulls = rows.filter(pl.col("value").is_null() | pl.col("low").is_null())
        assert rows.filter(pl.col("low").is_not_null()).height > 0 < nulls.height
        assert nulls.filter(pl.col("why") == "").is_empty()
    assert set(kept["pipeline_metrics"]["name"]) >= {
        "win_rate",
        "win_rate_of_week",
        "rapv",
        "slip_rate",
        "sales_velocity",
    }
    rapv = kept["pipeline_metrics"].filter(name="rapv")
    published = rapv.filter(scope="now")["value"].item()
    assert published in rapv.filter(pl.col("scope") != "now")["value"].to_list() and rapv.height == 5
    assert not set(kept["segment_metrics"]["dimension"]) & {"owner_id"}
    row = kept["reviews"].row(0, named=True)
    assert (row["span"], row["first_on"], row["last_on"]) == (
        "2026-W35",
        date(2026, 8, 24),
        date(2026, 8, 30),
    )
    whole = json.loads(row["review"])
    assert len(whole["findings"]) == row["said"] and len(whole["refused"]) == row["refused"]


def test_what_is_for_everyone_names_no_rep(engine: Engine, settings: Settings) -> None:
    review = keep(engine, MONDAY, "week", settings=settings)
    shown = json.dumps(for_everyone(review))
    named = [owner for owner in told(engine)["rep_metrics"]["owner_id"].unique() if owner]
    assert len(named) > 1 and not [owner for owner in named if owner in shown]
    segments = told(engine)["segment_metrics"].drop("as_of").rows()
    assert not [owner for owner in named if owner in str(segments)]


def test_a_review_kept_again_changes_no_byte(engine: Engine, settings: Settings) -> None:
    before = told(engine)
    keep(engine, MONDAY, "week", settings=settings)
    for name, rows in told(engine).items():
        assert_frame_equal(rows, before[name])


def test_a_past_week_is_rebuilt_as_it_was_then(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    """As a warehouse would have it that never heard of what came later."""
    keep(engine, EARLIER, "week", settings=settings)
    assert told(engine)["reviews"].height == 2
    with engine.connect() as connection:  # a copy of the file alone would lack what is in the log beside it
        connection.exec_driver_sql(f"VACUUM INTO '{tmp_path / 'dealwatch.db'}'")
    own = settings.model_copy(update={"home": tmp_path})
    ignorant = connect(own)
    with writing(ignorant) as connection:
        for table in (*TABLES, deal_scores):
            connection.execute(delete(table))
        forgotten = connection.execute(delete(deal_changes).where(deal_changes.c.known_at > EARLIER)).rowcount
    keep(ignorant, EARLIER, "week", settings=own)
    then = {name: rows.filter(as_of=EARLIER) for name, rows in told(engine).items()}
    assert forgotten > 1_000
    for name, rows in told(ignorant).items():
        assert_frame_equal(rows, then[name])
    ignorant.dispose()


def answered(engine: Engine, query: str) -> Sequence[Any]:
    with reading(engine) as connection:
        return connection.execute(text(query)).all()


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_of_the_docs_finds_rows(engine: Engine, query: str) -> None:
    assert answered(engine, query)


def test_both_databases_keep_the_same_bytes(
    engine: Engine, settings: Settings, drop: Path, postgres_server: str
) -> None:
    url = new_database(postgres_server, "reviews")
    other = filled(settings.model_copy(update={"warehouse_url": SecretStr(url)}), drop)
    keep(other, MONDAY, "week", settings=settings)
    weekly = {name: rows.filter(as_of=MONDAY) for name, rows in told(engine).items()}
    mine = {n: rows.filter(period="week") if n != "trends" else rows for n, rows in weekly.items()}
    assert mine["trends"].height > 10
    theirs = told(other)
    found = [len(answered(other, query)) for query in QUERIES]
    other.dispose()
    assert all(found), "each finds rows there too; other tests' reviews are in the engine that they share"
    for name, rows in mine.items():
        assert_frame_equal(theirs[name], rows)
    assert theirs["reviews"]["review"][0] == mine["reviews"]["review"][0]


def test_the_shell_says_it_and_writes_it_where_it_is_told(
    engine: Engine, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dealwatch.toml"
    file.write_text(f'home = "{settings.home}"\ntime_zone = "UTC"\n')
    asked = ["review", "--as-of", "2026-08-31", "--settings", str(file), "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert said.startswith("Review of the week 2026-W35\n") and "Not said, and why:" in said
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    stem = "review-week-2026-W35"
    assert files == [f"{stem}.{end}" for end in ("html", "json", "metrics.csv", "segments.csv", "txt")]
    told_, where = said.rstrip("\n").rsplit("\n\n", 1)
    assert (tmp_path / "out" / f"{stem}.txt").read_text("utf-8") == told_ + "\n"
    assert where.startswith(f"The page with pictures: {settings.home / 'reviews' / '2026-W35.html'}")
    assert "reps" not in json.loads((tmp_path / "out" / f"{stem}.json").read_text("utf-8"))["figures"]


def test_the_reviews_that_are_due_are_made_and_no_others(settings: Settings, engine: Engine) -> None:
    later = MONDAY + timedelta(weeks=5)
    told = jobs.reviews_due(settings, as_of=MONDAY, now=later)
    assert list(told) == ["week"] and told["week"]["queued"] == 0
    with reading(engine) as connection:
        (row,) = connection.execute(select(deliveries).where(deliveries.c.kind == "review"))
    assert (row.as_of, row.state, row.reason) == (MONDAY, "not_sent", "past_day")
    assert jobs.reviews_due(settings, as_of=MONDAY + timedelta(days=2), now=later) == {}
    with pytest.raises(SettingsError, match="quarter"):
        jobs.reviews_due(settings, as_of=MONDAY, now=later, period="quarter")


def test_a_review_that_is_held_with_nobody_to_hear_of_it_fails_its_run(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    """What went wrong is seen in Airflow at least, once all is written."""
    told = {"sources": {"crm": Source(kind="files", path=tmp_path)}, "slack_token": SecretStr("xoxb-1")}
    deaf = settings.model_copy(update=told)
    sunday = MONDAY + timedelta(days=6)
    with pytest.raises(NotReady, match="review is held.*delivery.operations_slack.*older than 20 hours"):
        jobs.reviews_due(deaf, as_of=sunday, now=sunday, period="week")
    with reading(engine) as connection:
        kinds = connection.execute(
            select(deliveries.c.kind, deliveries.c.reason).where(deliveries.c.as_of == sunday)
        ).all()
    assert sorted(kinds) == [("operations", ""), ("review", "stale_extract")]
    heard = deaf.delivery.model_copy(update={"operations_slack": "C0OPS"})
    told_to = deaf.model_copy(update={"delivery": heard})
    assert jobs.reviews_due(told_to, as_of=sunday, now=sunday, period="week")["week"]["queued"] == 0


def test_the_scores_of_the_morning_and_of_earlier_months_are_in_it(
    small_company: SmallCompany, tmp_path: Path
) -> None:
    """The model's chances of open deals, and what the forest's points are made of."""
    copied = small_company.copied(tmp_path)
    jobs.score(copied, as_of=MORNING)
    made = connect(copied)
    review = keep(made, MORNING, "week", settings=copied)
    made.dispose()
    assert review.figures["forest"]["share"].sum() == pytest.approx(1.0)
    told = review.figures["forecast"].filter(of="model", name="rapv").row(0, named=True)
    assert told["value"] > 0 and "scored" not in " ".join(review.caveats)
