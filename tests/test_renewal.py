"""A model comes to serve, is kept from it, or waits for a person; nothing of that changes the past."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from conftest import new_database
from dealwatch import jobs
from dealwatch.alerts.renewal.model_card import scored
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.history.ledger import read_ledger
from dealwatch.knobs import Scoring, Source
from dealwatch.moments import morning_of
from dealwatch.scoring.facts import facts_at
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, model_promotions, model_versions
from dealwatch.warehouse import frame
from model_samples import without_rivals
from small_company import opened

pytestmark = pytest.mark.slow

KEYS = ["as_of", "deal_id"]
UNTIL = date(2026, 3, 31)
NOW = datetime(2026, 3, 31, 20, tzinfo=UTC)
DECEMBER, FEBRUARY, MARCH = date(2025, 12, 1), date(2026, 2, 1), date(2026, 3, 1)
# A thousand deals in a year have too little behind them for calm probabilities.
QUICK = Scoring(
    trees=15,
    train_minimum=20,
    alert_minimum=100,
    compare_minimum=10,
    panel_every_days=14,
    gate_slope_off=1,
    auto_approve=True,
)


@pytest.fixture(scope="module", autouse=True)
def unrivalled() -> Iterator[None]:
    with without_rivals():
        yield


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("company") / "drop"
    jobs.simulate("planted", made, deals=1200, days=430, seed=3, until=UNTIL)
    return made


@pytest.fixture(scope="module")
def extracted(drop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose ledger holds the company, and whose December model serves."""
    home = tmp_path_factory.mktemp("extracted") / "home"
    settings = settled(home, drop)
    jobs.upgrade(settings)
    jobs.extract(settings, now=NOW)
    assert train(settings, DECEMBER)["decision"] == "promoted"
    return home


@pytest.fixture
def home(extracted: Path, drop: Path, tmp_path: Path) -> Iterator[Settings]:
    shutil.copytree(extracted, tmp_path / "home")
    yield settled(tmp_path / "home", drop)


def settled(home: Path, drop: Path, **knobs: object) -> Settings:
    scoring = QUICK.model_copy(update=knobs)
    return Settings(home=home, sources={"crm": Source(path=drop)}, scoring=scoring)


def having(settings: Settings, **knobs: object) -> Settings:
    return settings.model_copy(update={"scoring": settings.scoring.model_copy(update=knobs)})


def at(day: date, settings: Settings) -> datetime:
    return morning_of(day, settings)


def train(settings: Settings, day: date) -> dict[str, object]:
    return jobs.train(settings, as_of=at(day, settings))


def scores(settings: Settings, first: date, last: date | None = None) -> pl.DataFrame:
    """Score the mornings and read their rows."""
    until = at(last, settings) if last else None
    jobs.score(settings, as_of=at(first, settings), until=until)
    with opened(settings) as connection:
        rows = frame(connection, select(deal_scores)).sort("as_of", "deal_id")
    return rows.filter(pl.col("as_of").is_between(at(first, settings), until or at(first, settings)))


def log(settings: Settings) -> list[tuple[object, ...]]:
    with opened(settings) as connection:
        rows = frame(connection, select(model_promotions)).sort("promoted_as_of", "number")
    return rows.select("promoted_as_of", "version", "kind", "decided_by").rows()


def status(settings: Settings) -> dict[object, object]:
    with opened(settings) as connection:
        return dict(frame(connection, select(model_versions)).select("version", "status").iter_rows())


def test_the_same_training_again_changes_nothing(home: Settings) -> None:
    before, statuses = log(home), status(home)
    (again,) = [train(home, DECEMBER)]
    assert again["decision"] == "promoted" and again["gate"] == "passed"
    assert (log(home), status(home)) == (before, statuses)


def test_the_card_compares_p_loss_with_the_very_score_that_mornings_show(home: Settings) -> None:
    shown = scores(home, FEBRUARY).select("as_of", "deal_id", "p_loss", "score")
    with opened(home) as connection:
        ledger = read_ledger(connection, until=at(FEBRUARY, home))
    facts = facts_at(ledger, [at(FEBRUARY, home)], settings=home).join(shown.drop("score"), on=KEYS)
    told = scored(load_rules(home.alerts.rules), facts).select(*KEYS, pl.col("score").cast(pl.Int64))
    assert told.sort(KEYS).equals(shown.select(*KEYS, "score"))


def test_an_unchanged_recipe_is_its_champion_to_the_byte_and_the_card_says_so(home: Settings) -> None:
    told = jobs.card(home, version=str(train(home, MARCH)["version"]))
    assert "The recipe is unchanged, so its twin is the champion itself" in told
    changed = train(having(home, max_depth=3), MARCH)
    assert "The recipe is unchanged" not in jobs.card(home, version=str(changed["version"]))


def test_a_challenger_that_is_turned_down_leaves_the_waiting_one_to_its_person(home: Settings) -> None:
    asks = {"champion_days": 10, "auto_approve": False}
    waiting = str(train(having(home, **asks), FEBRUARY)["version"])
    assert train(having(home, champion_days=100), MARCH)["decision"] == "keep"
    assert status(home)[waiting] == "challenger"
    assert train(having(home, **asks, seed=5), MARCH)["decision"] == "ask"
    assert status(home)[waiting] == "retired"


def test_a_young_champion_stays_unless_the_challenger_is_better(home: Settings) -> None:
    (champion,) = status(home)
    kept = train(home, MARCH)
    assert kept["decision"] == "keep" and "90 days old" in str(kept["reason"])
    assert status(home) == {champion: "champion", kept["version"]: "rejected"}
    assert train(home, MARCH)["decision"] == "keep" and len(log(home)) == 1


def test_an_old_champion_gives_way_within_the_bounds_and_a_person_decides_beyond_them(home: Settings) -> None:
    (champion,) = status(home)
    bounded = having(home, champion_days=30, auto_approve_band_changes=0.0)
    asked = train(bounded, MARCH)
    assert asked["decision"] == "ask" and "of open deals would change band" in str(asked["reason"])
    assert status(home) == {champion: "champion", asked["version"]: "challenger"}
    assert str(asked["version"]) in jobs.card(home, version=str(asked["version"]))
    unattended = train(having(home, champion_days=30, auto_approve_band_changes=1.0), MARCH)
    assert (unattended["decision"], unattended["version"]) == ("promoted", asked["version"])
    assert log(home)[1] == (at(MARCH, home), asked["version"], "promoted", "auto")
    assert status(home) == {champion: "retired", asked["version"]: "champion"}


def test_without_auto_approval_a_person_is_asked_and_a_late_no_stands(home: Settings) -> None:
    manual = having(home, champion_days=30, auto_approve=False)
    asked = train(manual, MARCH)
    assert asked["decision"] == "ask"
    assert jobs.reject(home, version=str(asked["version"]), by="Ann")["changed"]
    assert train(manual, MARCH)["decision"] == "keep" and len(log(home)) == 1


def test_promoting_and_rolling_back_restore_the_scores_to_the_byte(home: Settings) -> None:
    before = scores(home, date(2026, 3, 2), date(2026, 3, 4))
    manual = having(home, champion_days=30, auto_approve=False)
    asked = train(manual, MARCH)
    version, moment = str(asked["version"]), at(MARCH, home)
    jobs.promote(home, version=version, as_of=moment, by="Ann")
    between = scores(home, date(2026, 3, 2), date(2026, 3, 4))
    assert between["model_version"].unique().to_list() == [version] and not between.equals(before)
    jobs.rollback(home, as_of=moment)
    after = scores(home, date(2026, 3, 2), date(2026, 3, 4))
    assert after.write_csv() == before.write_csv() and before.height > 100
    again = train(manual, MARCH)
    assert again["decision"] == "keep" and "rolled back since" in str(again["reason"])
    jobs.rollback(home, as_of=moment, to=version)
    assert scores(home, date(2026, 3, 2), date(2026, 3, 4)).equals(between)


def test_a_late_training_rewrites_no_morning_that_the_champion_judged(home: Settings) -> None:
    before = scores(home, date(2026, 2, 27), date(2026, 3, 4))
    late = train(having(home, champion_days=30, auto_approve_band_changes=1.0), MARCH)
    assert late["decision"] == "promoted"
    assert log(home)[1][0] == at(date(2026, 3, 4), home) + timedelta(microseconds=1)
    assert scores(home, date(2026, 2, 27), date(2026, 3, 4)).equals(before)
    assert scores(home, date(2026, 3, 5))["model_version"].unique().to_list() == [late["version"]]


def test_a_training_for_a_moment_that_a_later_model_already_followed_is_kept_out(home: Settings) -> None:
    scores(home, date(2026, 2, 27), date(2026, 3, 4))
    jobs.score(home, as_of=at(date(2026, 2, 1), home))
    eager = having(home, champion_days=10, auto_approve_band_changes=1.0)
    jobs.promote(home, version=str(next(iter(status(home)))), as_of=at(DECEMBER, home))  # no change
    march = train(eager, MARCH)
    scores(home, date(2026, 3, 5))
    february = train(eager, FEBRUARY)
    assert (march["decision"], february["decision"]) == ("promoted", "keep")
    assert "a later model serves already" in str(february["reason"])
    assert status(home)[march["version"]] == "champion"


def test_when_the_champion_cannot_be_loaded_the_gate_is_enough(home: Settings) -> None:
    (champion,) = status(home)
    before = scores(home, date(2026, 3, 2))
    (home.home / "models" / str(champion) / "model.joblib").unlink()
    assert scores(home, date(2026, 3, 2)).equals(before), "what it judged is kept"
    alone = scores(home, date(2026, 3, 3))
    assert alone["method"].unique().to_list() == ["rules"] and alone["model_version"].null_count() > 0
    mended = train(home, MARCH)
    assert mended["decision"] == "promoted" and mended["reason"] == "no model serves, and it passed the gate"
    assert scores(home, date(2026, 3, 3))["model_version"].unique().to_list() == [mended["version"]]
    assert train(home, DECEMBER)["version"] == champion, "training it again brings its files back"
    assert before["model_version"].unique().to_list() == [champion]
    assert scores(home, date(2026, 2, 27))["model_version"].unique().to_list() == [champion]


CHILD = """
import os, pathlib
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{threads}])
import polars
from model_samples import without_rivals
from test_renewal import outcome, settled
with without_rivals():
    made = outcome(settled(pathlib.Path({home!r}), pathlib.Path({drop!r}), threads={threads}))
print(polars.thread_pool_size(), made)
"""


def outcome(settings: Settings) -> str:
    """The names and hashes of the model files that a training makes, and the scores of the next morning."""
    train(settings, DECEMBER)
    rows = scores(settings, date(2026, 1, 2))
    with opened(settings) as connection:
        stored = frame(connection, select(model_versions.c.version, model_versions.c.sha256))
    assert rows["method"].unique().to_list() == ["hybrid"]
    files = [path.read_bytes() for path in (settings.home / "models").glob("*/model.joblib")]
    told = [stored.rows(), [hashlib.sha256(content).hexdigest() for content in files], rows.write_csv()]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def test_model_file_and_scores_are_the_same_on_either_warehouse_and_any_threads(
    extracted: Path, drop: Path, tmp_path: Path, postgres_server: str
) -> None:
    def untrained(name: str, **knobs: object) -> Settings:
        shutil.copytree(extracted, tmp_path / name)
        shutil.rmtree(tmp_path / name / "models")
        return settled(tmp_path / name, drop, **knobs)

    elsewhere = settled(tmp_path / "elsewhere", drop, threads=2).model_copy(
        update={"warehouse_url": SecretStr(new_database(postgres_server, "renewal"))}
    )
    jobs.upgrade(elsewhere)
    jobs.extract(elsewhere, now=NOW)
    told = {"PostgreSQL, two threads for the forest": outcome(elsewhere)}
    for threads in (1, 2):
        child = CHILD.format(home=str(untrained(f"on {threads}").home), drop=str(drop), threads=threads)
        knobs = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        path = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        run = subprocess.run(
            [sys.executable, "-c", child],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | knobs | path,
        )
        pool, told[f"{threads} cores"] = run.stdout.split()
        assert int(pool) == threads, "this test would not notice"
    assert len(set(told.values())) == 1 and all(told.values()), told
