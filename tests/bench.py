"""What the work costs and how it grows, beside a plain baseline in the same run: `make bench DEALS="10000"`.

Seconds are CPU (user and system) and depend on the machine; ratios and growth are what to compare. Each side
of each step is a process of its own, so memory is its own peak, Python and its libraries included. A growth
of 1.0 means ten times the deals cost ten times the seconds. Training also tells its AUC on mornings
later than those it learned from.
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
from typing import Any

from rich.console import Console
from rich.table import Table

import bench_company

OUT = Path(__file__).resolve().parents[1] / "build" / "bench"
TREES = 100  # both sides of training grow so many; seconds go with their number
CAP = 100_000  # deals; pandas takes 2 GB of memory there and grows with the ledger
MORNINGS = 4  # of the panel's 27 the baseline works out so many; its seconds are scaled up
EXPLAINED = 50  # rows that the baseline explains; both sides are told per 1,000 rows


@dataclass(frozen=True)
class Side:
    """What to measure, what to multiply its seconds by, and how good its result is."""

    work: Callable[[], Any]
    times: float = 1
    judge: Callable[[Any], float] | None = None


Prepare = Callable[[Path], Side]


def facts(folder: Path) -> Side:
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

    return Side(work)


def facts_in_pandas(folder: Path) -> Side:
    """Ten of the facts (no norms, no win rates) by group-bys over a ledger read by pandas."""
    from bench_pandas import some_facts

    return Side(lambda: some_facts(_path(folder), [bench_company.MORNING]))


def panel(folder: Path) -> Side:
    from dealwatch.history.stored import StoredLedger
    from dealwatch.scoring.panel import training_panel
    from dealwatch.warehouse import connect, reading

    settings, as_of = bench_company.settings_of(folder), bench_company.MORNING

    def work() -> object:
        with reading(connect(settings)) as connection:
            return training_panel(StoredLedger(connection, as_of), as_of, settings=settings)

    return Side(work)


def panel_in_pandas(folder: Path) -> Side:
    from datetime import timedelta

    from bench_pandas import some_facts

    moments = [bench_company.MORNING - timedelta(days=1 + 7 * n) for n in range(27)]
    return Side(lambda: some_facts(_path(folder), moments[::7]), times=len(moments) / len(moments[::7]))


def _path(folder: Path) -> Path:
    return folder / "dealwatch.db"


def _panel(folder: Path):  # noqa: ANN202
    """What was known of the panel six weeks before its end, the mornings since then, and the settings."""
    from datetime import timedelta

    import polars as pl

    from dealwatch.scoring.panel import known_by

    rows = pl.read_parquet(_kept(folder, "panel of half a year"))
    until = bench_company.MORNING - timedelta(days=42)
    scoring = bench_company.settings_of(folder).scoring.model_copy(update={"trees": TREES})
    settings = bench_company.settings_of(folder).model_copy(update={"scoring": scoring})
    return known_by(rows, until), rows.filter(pl.col("as_of") >= until), settings


def _told_by(fitted: Any, later: Any) -> float:
    """The AUC of the forest on later mornings."""
    from sklearn.metrics import roc_auc_score

    from dealwatch.scoring.forest import table

    return float(roc_auc_score(later["lost"].to_numpy(), fitted.predict_proba(table(later))[:, 1]))


def _kept(folder: Path, step: str) -> Path:
    """Where the rows that a step made are kept for those that need them; outside of their memory."""
    return folder / f"{step}.parquet"


def training(folder: Path) -> Side:
    from dealwatch.scoring.forest import fit

    rows, later, settings = _panel(folder)
    return Side(lambda: fit(rows, settings=settings), judge=lambda fitted: _told_by(fitted, later))


def full_training(folder: Path) -> Side:
    """Our forest but for one thing: every tree draws as many snapshots as there are."""
    from sklearn.base import clone

    from dealwatch.scoring.forest import fit, table

    rows, later, settings = _panel(folder)
    full = clone(fit(rows.sample(2_000, seed=1), settings=settings)).set_params(forest__max_samples=None)
    full.set_params(forest__n_jobs=settings.scoring.threads)
    weight = rows["weight"].to_numpy()
    return Side(
        lambda: full.fit(table(rows), rows["lost"].to_numpy(), forest__sample_weight=weight),
        judge=lambda fitted: _told_by(fitted, later),
    )


def _model(folder: Path):  # noqa: ANN202
    import polars as pl

    from dealwatch.scoring.registry import champion_at
    from dealwatch.warehouse import connect, reading

    settings = bench_company.settings_of(folder)
    with reading(connect(settings)) as connection:
        model, reason = champion_at(connection, settings, bench_company.MORNING)
    if model is None:
        raise SystemExit(f"no model to measure: {reason}")
    return model.bundle, pl.read_parquet(_kept(folder, "facts of a morning"))


def predicting(folder: Path) -> Side:
    bundle, rows = _model(folder)
    return Side(lambda: bundle.raw(rows), times=1000 / rows.height)


def predicting_one_by_one(folder: Path) -> Side:
    """The same forest asked for one deal at a time."""
    bundle, rows = _model(folder)
    return Side(lambda: [bundle.raw(rows[n]) for n in range(EXPLAINED)], times=1000 / EXPLAINED)


def explaining(folder: Path) -> Side:
    import dealwatch.scoring.coalitions  # noqa: F401  (compiles; once in a process, so no part of the work)
    from dealwatch.scoring.explain import explain

    bundle, rows = _model(folder)
    return Side(lambda: explain(bundle, rows), times=1000 / rows.height)


def explaining_with_shap(folder: Path) -> Side:
    import shap

    from dealwatch.scoring.forest import table

    bundle, rows = _model(folder)
    few = bundle.pipeline["columns"].transform(table(rows[:EXPLAINED]))
    return Side(lambda: shap.TreeExplainer(bundle.forest).shap_values(few), times=1000 / len(few))


def measuring(folder: Path) -> Side:
    """Every rule, level and segment over 365 mornings: facts, signals, episodes, lifts and intervals."""
    from dealwatch.alerts.evidence.measure import measured
    from dealwatch.alerts.rules.rule import load_rules
    from dealwatch.warehouse import connect

    settings = bench_company.settings_of(folder)
    rules, engine = load_rules(settings.alerts.rules), connect(settings)
    return Side(lambda: measured(engine, rules, bench_company.MORNING, settings=settings))


def measuring_in_pandas(folder: Path) -> Side:
    """Ten facts a morning by group-bys, over a ledger that was read before; nothing is judged by them."""
    from datetime import timedelta

    from bench_pandas import facts_of_morning, ledger

    changes, touches = ledger(_path(folder))
    some = [bench_company.MORNING - timedelta(days=1 + 73 * n) for n in range(5)]
    return Side(lambda: [facts_of_morning(changes, touches, one) for one in some], times=365 / len(some))


def morning(folder: Path) -> Side:
    from dealwatch import jobs

    return Side(lambda: jobs.score(bench_company.settings_of(folder), as_of=bench_company.MORNING))


def review(folder: Path) -> Side:
    """The week's review, composed, and its four tables written."""
    from dealwatch import jobs

    return Side(lambda: jobs.review(bench_company.settings_of(folder), as_of=bench_company.MORNING))


def headlines_in_pandas(folder: Path) -> Side:
    """Ten headline figures without intervals, comparisons by segment or a past to judge them by."""
    from bench_pandas import headlines

    return Side(lambda: headlines(_path(folder), bench_company.MORNING))


def whole_training(folder: Path) -> Side:
    """Panel, forest, gate, rivals, card and the comparison with the champion, whose twin has a panel too."""
    from dealwatch import jobs

    return Side(lambda: jobs.train(bench_company.settings_of(folder), as_of=bench_company.MORNING))


@dataclass(frozen=True)
class Step:
    """One thing to measure: ours and the baseline."""

    name: str
    ours: Prepare
    baseline: Prepare
    beside: str
    needs: str = ""  # the step whose rows it works on


_FACTS, _PANEL = "facts of a morning", "panel of half a year"
STEPS = (
    Step("facts of a morning", facts, facts_in_pandas, "pandas, 10 facts"),
    Step("panel of half a year", panel, panel_in_pandas, "pandas, 10 facts a morning"),
    Step(f"training, {TREES} trees", training, full_training, "full bootstrap", _PANEL),
    Step("predicting 1,000 deals", predicting, predicting_one_by_one, "one deal at a time", _FACTS),
    Step("explaining 1,000 deals", explaining, explaining_with_shap, "shap.TreeExplainer", _FACTS),
    Step("measuring the rules", measuring, measuring_in_pandas, "pandas, 10 facts a morning"),
    Step("a whole morning", morning, facts_in_pandas, "pandas, 10 facts"),
    Step("a whole review", review, headlines_in_pandas, "pandas, 10 headline figures"),
    # The last one: it may bring another champion.
    Step("a whole training", whole_training, panel_in_pandas, "pandas, 10 facts a morning"),
)


@dataclass(frozen=True)
class Cost:
    """One step at one size: CPU seconds, peak megabytes and AUC of both sides; our growth since the last."""

    step: str
    deals: int
    baseline: str
    seconds: float
    megabytes: float
    auc: float | None
    baseline_seconds: float | None
    baseline_megabytes: float | None
    baseline_auc: float | None
    growth: float | None


def measured(step: Step, side: str, folder: Path) -> tuple[float, float, float | None]:
    """CPU seconds, peak megabytes and AUC of one side of a step, in a process of its own."""
    if step.needs and not _kept(folder, step.needs).exists():
        measured(next(one for one in STEPS if one.name == step.needs), "ours", folder)
    command = [sys.executable, __file__, "--step", step.name, "--side", side, "--folder", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{step.name}, {side}:\n{run.stderr}")
    answer = json.loads(run.stdout.splitlines()[-1])
    return answer["cpu"], answer["megabytes"], answer["auc"]


def run_side(name: str, side: str, folder: Path) -> None:
    """Run one side and print what it cost; what it prepares costs memory but no seconds."""
    step = next(one for one in STEPS if one.name == name)
    prepared = (step.ours if side == "ours" else step.baseline)(folder)
    before = _cpu()
    made = prepared.work()
    cpu = prepared.times * (_cpu() - before)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if side == "ours" and step.name in (_FACTS, _PANEL):
        made.write_parquet(_kept(folder, step.name))
    auc = prepared.judge(made) if prepared.judge else None
    print(json.dumps({"cpu": cpu, "megabytes": megabytes, "auc": auc}))


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
                theirs = measured(step, "baseline", folder) if deals <= CAP else (None, None, None)
                before = next((c for c in reversed(told) if c.step == step.name), None)
                growth = before and math.log(ours[0] / before.seconds) / math.log(deals / before.deals)
                told.append(Cost(step.name, deals, step.beside, *ours, *theirs, growth))
            subprocess.run(["rm", "-rf", str(folder)], check=True)
    return told


def _made(arguments: list[str], console: Console, deals: int) -> None:
    """In a process of its own: the peak memory of a child begins with its parent's, so we stay small."""
    console.print(f"making a company of {deals:,} deals ...")
    subprocess.run([sys.executable, __file__, str(deals), *arguments], check=True, capture_output=True)


_COSTS = ("CPU s", "peak MB", "AUC")
HEADS = ("step", "deals", *_COSTS, "growth", "baseline", *_COSTS, "ratio")
NOTE = f"Above {CAP:,} deals no baseline runs: pandas takes 2 GB at that size and grows with the ledger."


def cells(cost: Cost) -> list[str]:
    """A cost as the table shows it."""
    ratio = cost.baseline_seconds and cost.baseline_seconds / cost.seconds
    numbers: tuple[tuple[float | None, int], ...] = (
        *((cost.seconds, 2), (cost.megabytes, 0), (cost.auc, 4), (cost.growth, 2)),
        *((cost.baseline_seconds, 2), (cost.baseline_megabytes, 0), (cost.baseline_auc, 4), (ratio, 1)),
    )
    told = ["" if number is None else f"{number:,.{digits}f}" for number, digits in numbers]
    return [cost.step, f"{cost.deals:,}", *told[:4], cost.baseline, *told[4:]]


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
    console = Console(width=150)
    told = costs(options.deals, options.only, console)
    table = Table(*HEADS)
    for cost in told:
        table.add_row(*cells(cost))
    console.print(table)
    if max(options.deals) > CAP:
        console.print(NOTE)
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
