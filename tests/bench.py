"""What the work costs and how it grows, beside a plain baseline in the same run: `make bench DEALS="10000"`.

Seconds are CPU (user and system) and depend on the machine; ratios and growth are what to compare. Each side
of each step is a process of its own, so memory is its own peak, Python and its libraries included. A growth
of 1.0 means ten times the deals cost ten times the seconds.
"""

import argparse
import json
import math
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import bench_company

OUT = Path(__file__).resolve().parents[1] / "build" / "bench"
TREES = 10  # both sides of training grow so few; seconds go with their number
MORNINGS = 4  # of the panel's 27 the baseline works out so many; its seconds are scaled up
EXPLAINED = 50  # rows that the baseline explains; both sides are told per 1,000 rows

Work = Callable[[], object]
Side = Callable[[Path], tuple[Work, float]]  # prepares; what to measure, and what to multiply its seconds by


def _ledger(folder: Path):  # noqa: ANN202
    from dealwatch.history.ledger import read_ledger
    from dealwatch.warehouse import connect, reading

    with reading(connect(bench_company.settings_of(folder))) as connection:
        return read_ledger(connection)


def facts(folder: Path) -> tuple[Work, float]:
    from dealwatch.history.stored import StoredLedger
    from dealwatch.scoring.facts import facts_of
    from dealwatch.scoring.known import history_of, microseconds_of
    from dealwatch.warehouse import connect, reading

    settings, moments = bench_company.settings_of(folder), [bench_company.MORNING]

    def work() -> object:
        with reading(connect(settings)) as connection:
            ledger = StoredLedger(connection, moments[0])
            history = history_of(ledger, microseconds_of(moments), pipeline=settings.pipeline)
        return facts_of(history, moments, settings=settings)

    return work, 1


def facts_in_pandas(folder: Path) -> tuple[Work, float]:
    """Ten of the facts (no norms, no win rates) by group-bys over a ledger read by pandas."""
    from bench_pandas import some_facts

    return lambda: some_facts(_path(folder), [bench_company.MORNING]), 1


def panel(folder: Path) -> tuple[Work, float]:
    from dealwatch.scoring.panel import training_panel

    settings = bench_company.settings_of(folder)
    return lambda: training_panel(_ledger(folder), bench_company.MORNING, settings=settings), 1


def panel_in_pandas(folder: Path) -> tuple[Work, float]:
    from datetime import timedelta

    from bench_pandas import some_facts

    moments = [bench_company.MORNING - timedelta(days=1 + 7 * n) for n in range(27)]
    return lambda: some_facts(_path(folder), moments[::7]), len(moments) / len(moments[::7])


def _path(folder: Path) -> Path:
    return folder / "dealwatch.db"


def _panel(folder: Path):  # noqa: ANN202
    work, _ = panel(folder)
    rows = work()
    scoring = bench_company.settings_of(folder).scoring.model_copy(update={"trees": TREES})
    return rows, bench_company.settings_of(folder).model_copy(update={"scoring": scoring})


def training(folder: Path) -> tuple[Work, float]:
    from dealwatch.scoring.forest import fit

    rows, settings = _panel(folder)
    return lambda: fit(rows, settings=settings), 1


def full_training(folder: Path) -> tuple[Work, float]:
    """A forest as it comes: every tree draws as many snapshots as there are and grows as deep as it can."""
    from sklearn.base import clone

    from dealwatch.scoring.forest import fit, table

    rows, settings = _panel(folder)
    few = fit(rows.sample(2_000, seed=1), settings=settings)
    plain = clone(few).set_params(
        forest__max_samples=None, forest__max_depth=None, forest__min_weight_fraction_leaf=0.0
    )
    plain.set_params(forest__n_jobs=2)
    return lambda: plain.fit(table(rows), rows["lost"].to_numpy()), 1


def _model(folder: Path):  # noqa: ANN202
    from dealwatch.scoring.registry import champion_at
    from dealwatch.warehouse import connect, reading

    settings = bench_company.settings_of(folder)
    with reading(connect(settings)) as connection:
        model, reason = champion_at(connection, settings, bench_company.MORNING)
    if model is None:
        raise SystemExit(f"no model to measure: {reason}")
    work, _ = facts(folder)
    return model.bundle, work()


def predicting(folder: Path) -> tuple[Work, float]:
    bundle, rows = _model(folder)
    return lambda: bundle.raw(rows), 1000 / rows.height


def predicting_one_by_one(folder: Path) -> tuple[Work, float]:
    """The same forest asked for one deal at a time."""
    bundle, rows = _model(folder)
    return lambda: [bundle.raw(rows[n]) for n in range(EXPLAINED)], 1000 / EXPLAINED


def explaining(folder: Path) -> tuple[Work, float]:
    import dealwatch.scoring.coalitions  # noqa: F401  (compiles; once in a process, so no part of the work)
    from dealwatch.scoring.explain import explain

    bundle, rows = _model(folder)
    return lambda: explain(bundle, rows), 1000 / rows.height


def explaining_with_shap(folder: Path) -> tuple[Work, float]:
    import shap

    from dealwatch.scoring.forest import table

    bundle, rows = _model(folder)
    few = bundle.pipeline["columns"].transform(table(rows[:EXPLAINED]))
    return lambda: shap.TreeExplainer(bundle.forest).shap_values(few), 1000 / len(few)


def morning(folder: Path) -> tuple[Work, float]:
    from dealwatch import jobs

    return lambda: jobs.score(bench_company.settings_of(folder), as_of=bench_company.MORNING), 1


@dataclass(frozen=True)
class Step:
    """One thing to measure: ours, the baseline, and the largest company at which that makes sense."""

    name: str
    ours: Side
    baseline: Side
    beside: str
    up_to: int = 10_000_000


STEPS = (
    Step("facts of a morning", facts, facts_in_pandas, "pandas, 10 facts", 100_000),
    Step("panel of half a year", panel, panel_in_pandas, "pandas, 10 facts a morning", 100_000),
    Step(f"training, {TREES} trees", training, full_training, "full bootstrap, any depth", 100_000),
    Step("predicting 1,000 deals", predicting, predicting_one_by_one, "one deal at a time", 100_000),
    Step("explaining 1,000 deals", explaining, explaining_with_shap, "shap.TreeExplainer", 100_000),
    Step("a whole morning", morning, facts_in_pandas, "pandas, 10 facts"),
)


@dataclass(frozen=True)
class Cost:
    """One step at one size: CPU seconds and peak megabytes of both sides, and our growth since the last."""

    step: str
    deals: int
    seconds: float
    megabytes: float
    baseline: str
    baseline_seconds: float | None
    baseline_megabytes: float | None
    growth: float | None


def measured(step: Step, side: str, folder: Path) -> tuple[float, float]:
    """CPU seconds and peak megabytes of one side of a step, in a process of its own."""
    command = [sys.executable, __file__, "--step", step.name, "--side", side, "--folder", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{step.name}, {side}:\n{run.stderr}")
    answer = json.loads(run.stdout.splitlines()[-1])
    return answer["cpu"], answer["megabytes"]


def run_side(name: str, side: str, folder: Path) -> None:
    """Run one side and print what it cost; what it prepares costs memory but no seconds."""
    step = next(one for one in STEPS if one.name == name)
    work, times = (step.ours if side == "ours" else step.baseline)(folder)
    before = _cpu()
    work()
    cost = {"cpu": times * (_cpu() - before)}
    print(json.dumps(cost | {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def _cpu() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def costs(sizes: list[int], wanted: str, console: Console) -> list[Cost]:
    """Every step at every size; companies are made in a temporary folder, one at a time."""
    told: list[Cost] = []
    with tempfile.TemporaryDirectory() as name:
        first = Path(name) / "first"
        _made(["--found", str(first)], console, bench_company.FIRST)
        for deals in sorted(sizes):
            folder = Path(name) / "company"
            _made(["--multiply", str(first), "--folder", str(folder)], console, deals)
            for step in STEPS:
                if wanted not in step.name:
                    continue
                console.print(f"  {step.name}")
                ours = measured(step, "ours", folder)
                is_compared = deals <= step.up_to and deals <= 100_000
                theirs = measured(step, "baseline", folder) if is_compared else (None, None)
                before = next((c for c in reversed(told) if c.step == step.name), None)
                growth = before and math.log(ours[0] / before.seconds) / math.log(deals / before.deals)
                told.append(Cost(step.name, deals, *ours, step.beside, *theirs, growth))
            subprocess.run(["rm", "-rf", str(folder)], check=True)
    return told


def _made(arguments: list[str], console: Console, deals: int) -> None:
    """In a process of its own: the peak memory of a child begins with its parent's, so we stay small."""
    console.print(f"making a company of {deals:,} deals ...")
    subprocess.run([sys.executable, __file__, str(deals), *arguments], check=True, capture_output=True)


HEADS = ("step", "deals", "CPU s", "peak MB", "growth", "baseline", "CPU s", "peak MB", "ratio")


def cells(cost: Cost) -> list[str]:
    """A cost as the table shows it."""
    ratio = cost.baseline_seconds and cost.baseline_seconds / cost.seconds
    numbers = (cost.growth, cost.baseline_seconds, cost.baseline_megabytes, ratio)
    growth, seconds, megabytes, times = (
        "" if n is None else f"{n:,.{d}f}" for n, d in zip(numbers, (2, 2, 0, 1), strict=True)
    )
    own = [cost.step, f"{cost.deals:,}", f"{cost.seconds:,.2f}", f"{cost.megabytes:,.0f}", growth]
    return [*own, cost.baseline, seconds, megabytes, times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deals", type=int, nargs="*", default=[10_000, 100_000], help="sizes to measure")
    parser.add_argument("--only", default="", help="only steps whose name contains this")
    for option in ("--step", "--side", "--folder", "--found", "--multiply"):
        parser.add_argument(option, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        return run_side(options.step, options.side, Path(options.folder))
    if options.found:
        return bench_company.found(Path(options.found))
    if options.multiply:
        return bench_company.multiply(Path(options.multiply), Path(options.folder), options.deals[0])
    console = Console(width=130)
    told = costs(options.deals, options.only, console)
    table = Table(*HEADS)
    for cost in told:
        table.add_row(*cells(cost))
    console.print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    (OUT / "bench.json").write_text(
        json.dumps({"machine": machine, "costs": [asdict(c) for c in told]}, indent=2)
    )
    lines = [HEADS, ["---"] * len(HEADS), *(cells(cost) for cost in told)]
    (OUT / "bench.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
    console.print(f"written to {OUT}")


if __name__ == "__main__":
    main()
