"""What the morning costs, as ratios against a plain baseline in the same run: `make bench DEALS=6000`.

Seconds are CPU (user and system, children included) and depend on the machine; the ratios and the growth from
one size to the next are what to compare. Each measurement is a process of its own, so memory is its own peak.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

UNTIL = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 5, tzinfo=UTC)


def prepare(folder: Path, deals: int) -> None:
    """A planted company in `folder`, landed in a SQLite ledger and with a model trained three weeks ago."""
    from dealwatch import jobs
    from dealwatch.settings import Settings, Source

    jobs.simulate("planted", folder / "drop", deals=deals, days=548, seed=1, until=UNTIL)
    settings = Settings(
        home=folder, sources={"crm": Source(path=folder / "drop")}, scoring={"auto_approve": True}
    )
    jobs.upgrade(settings)
    jobs.extract(settings, now=MORNING)
    jobs.train(settings, as_of=MORNING - timedelta(days=21))


def _settings(folder: Path):  # noqa: ANN202
    from dealwatch.settings import Settings, Source

    return Settings(
        home=folder, sources={"crm": Source(path=folder / "drop")}, scoring={"auto_approve": True}
    )


def _ledger(folder: Path):  # noqa: ANN202
    from dealwatch.history.ledger import read_ledger
    from dealwatch.warehouse import connect, reading

    with reading(connect(_settings(folder))) as connection:
        return read_ledger(connection)


def landing(folder: Path) -> None:
    from dealwatch import jobs

    with tempfile.TemporaryDirectory() as home:
        settings = _settings(folder).model_copy(update={"home": Path(home)})
        jobs.upgrade(settings)
        jobs.extract(settings, now=MORNING)


def landing_baseline(folder: Path) -> None:
    """pandas reads the same files and writes them to SQLite as they are: no ledger, no checks."""
    import sqlite3

    import pandas as pd

    with tempfile.TemporaryDirectory() as home, sqlite3.connect(Path(home) / "plain.db") as connection:
        for name in ("deals", "deal_history", "activities", "owners"):
            pd.read_csv(folder / "drop" / f"{name}.csv", dtype=str).to_sql(name, connection)


def facts(folder: Path) -> None:
    from dealwatch.scoring.facts import facts_at

    facts_at(_ledger(folder), [MORNING], settings=_settings(folder))


def facts_baseline(folder: Path) -> None:
    """Ten of the facts (no norms, no win rates) by pandas group-bys."""
    import pandas as pd

    ledger = _ledger(folder)
    changes, touches = ledger.changes.to_pandas(), ledger.activities.to_pandas()
    now = pd.Timestamp(MORNING)
    changes = changes[changes["known_at"] <= now]
    last = changes.groupby(["deal_id", "field"])[["new_value", "happened_at"]].last().unstack()
    values, since = last["new_value"], last["happened_at"]
    still_open = values[values["outcome"].isna()]
    touches = touches[touches["known_at"] <= now]
    grouped = touches.groupby("deal_id")["happened_at"]
    stages = changes[changes["field"] == "stage"].groupby("deal_id").size()
    pushes = changes[changes["field"] == "close_date"].copy()
    pushes["later"] = pushes["new_value"] > pushes["old_value"].fillna("9")
    pd.DataFrame(
        {
            "age": (now - pd.to_datetime(still_open["created_at"], format="ISO8601")).dt.days,
            "days_in_stage": (now - since["stage"]).dt.days,
            "amount": pd.to_numeric(still_open["amount"]),
            "days_to_close": (pd.to_datetime(still_open["close_date"]) - now.tz_localize(None)).dt.days,
            "pushed": pushes.groupby("deal_id")["later"].sum(),
            "silence": (now - grouped.max()).dt.days,
            "touches": grouped.size(),
            "touches_14d": touches[touches["happened_at"] > now - pd.Timedelta(days=14)]
            .groupby("deal_id")
            .size(),
            "stage_moves": stages,
            "next_step": still_open["next_step_on"].notna(),
        }
    ).reindex(still_open.index)


def panel(folder: Path) -> None:
    from dealwatch.scoring.panel import training_panel

    training_panel(_ledger(folder), MORNING, settings=_settings(folder))


def panel_baseline(folder: Path) -> None:
    """The pandas facts of one morning, for each of 26 of the panel's weeks."""
    for _ in range(26):
        facts_baseline(folder)


def _scored(folder: Path):  # noqa: ANN202
    from dealwatch.scoring.facts import facts_at
    from dealwatch.scoring.registry import champion_at
    from dealwatch.warehouse import connect, reading

    settings = _settings(folder)
    with reading(connect(settings)) as connection:
        model, _ = champion_at(connection, settings, MORNING)
    assert model is not None
    return model, facts_at(_ledger(folder), [MORNING], settings=settings)


def explaining(folder: Path) -> None:
    from dealwatch.scoring.explain import explain

    model, rows = _scored(folder)
    for _ in range(20):
        explain(model.bundle, rows)


def explaining_baseline(folder: Path) -> None:
    """The same forest predicting the same rows, unexplained."""
    from dealwatch.scoring.forest import table

    model, rows = _scored(folder)
    for _ in range(20):
        model.bundle.pipeline.predict_proba(table(rows))


def morning(folder: Path) -> None:
    from dealwatch import jobs

    jobs.score(_settings(folder), as_of=MORNING)
    jobs.alert(_settings(folder), as_of=MORNING, now=MORNING)


PAIRS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], str]] = {
    "land a drop": (landing, landing_baseline, "pandas to_sql, unchecked"),
    "facts of a morning": (facts, facts_baseline, "pandas, 10 facts"),
    "training panel": (panel, panel_baseline, "pandas, 10 facts x 26 weeks"),
    "explain, 20 times": (explaining, explaining_baseline, "predict, unexplained"),
    "the whole morning": (morning, facts_baseline, "pandas, 10 facts"),
}


def measured(step: str, side: int, folder: Path) -> tuple[float, float]:
    """CPU seconds and peak megabytes of one side of a pair, in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--side", str(side), "--folder", str(folder)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer["cpu"], answer["megabytes"]


def run_step(step: str, side: int, folder: Path) -> None:
    """Run one side and print what it cost, the imports of its libraries left out."""
    import pandas  # noqa: F401
    import polars  # noqa: F401
    import sklearn.ensemble  # noqa: F401

    before = _cpu()
    PAIRS[step][side](folder)
    print(
        json.dumps(
            {"cpu": _cpu() - before, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        )
    )


def _cpu() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deals", type=int, nargs="*", default=[6_000, 60_000])
    for option in ("--step", "--side", "--folder"):
        parser.add_argument(option, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        return run_step(options.step, int(options.side), Path(options.folder))
    if options.folder:
        return prepare(Path(options.folder), options.deals[0])
    console = Console(width=120)
    table = Table("step", "deals", "CPU s", "baseline s", "ratio", "peak MB", "baseline MB", "baseline")
    for deals in options.deals:
        with tempfile.TemporaryDirectory() as name:
            console.print(f"making a company of {deals:,} deals ...")
            # A child's peak memory starts at its parent's, so the parent stays small.
            subprocess.run([sys.executable, __file__, str(deals), "--folder", name], check=True)
            for step, (_, _, baseline) in PAIRS.items():
                console.print(f"  {step}")
                ours, our_memory = measured(step, 0, Path(name))
                theirs, their_memory = measured(step, 1, Path(name))
                table.add_row(
                    step,
                    f"{deals:,}",
                    f"{ours:.2f}",
                    f"{theirs:.2f}",
                    f"{ours / theirs:.2f}",
                    f"{our_memory:.0f}",
                    f"{their_memory:.0f}",
                    baseline,
                )
    console.print(table)


if __name__ == "__main__":
    main()
