"""Loans, every morning from 15 January 2012 on: ours and its rivals on identical deal-mornings.

    python tests/loans_rivals.py FOLDER     (FOLDER holds `loans`; it takes a few minutes)

The model is trained as the monthly run would: on 15 January, the first time, then on the 1st of each month.
Each serves the mornings up to the next. A deal-morning counts when the deal's outcome came later.
"""

import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestClassifier

from dealwatch import migrations
from dealwatch.history.extract import extract
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.moments import morning_of, mornings
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.forest import teaching_weights
from dealwatch.scoring.panel import followed_panel, known_by, outcomes_at
from dealwatch.scoring.quality import quality
from dealwatch.scoring.rivals import compared, predictions
from dealwatch.scoring.trial import train
from dealwatch.settings import Settings
from dealwatch.settings import load as load_settings
from dealwatch.warehouse import connect, reading

EXAMPLES = Path(__file__).resolve().parents[1] / "include" / "examples"
TRAININGS = (date(2012, 1, 15), date(2012, 2, 1), date(2012, 3, 1))
LAST = date(2012, 3, 14)
PREFIX = "forest on prefix counts"


def landed(folder: Path, home: Path) -> tuple[Settings, Ledger]:
    """The loans through the front door: extract, landing, ledger."""
    settings = load_settings(EXAMPLES / "loans.toml")
    source = settings.sources["loans"].model_copy(update={"path": folder})
    settings = settings.model_copy(update={"home": home, "sources": {"loans": source}})
    engine = connect(settings)
    migrations.upgrade(engine)
    extract(engine, "loans", settings=settings, now=datetime(2012, 3, 20, tzinfo=UTC))
    with reading(engine) as connection:
        ledger = read_ledger(connection)
    engine.dispose()
    return settings, ledger


def prefixes(ledger: Ledger, rows: pl.DataFrame) -> pl.DataFrame:
    """The usual encoding of an event log's prefix: how often each event came, the last one, elapsed times."""
    stages = ledger.changes.filter(pl.col("field") == "stage").select(
        "deal_id", "known_at", event=pl.lit("stage ") + pl.col("new_value")
    )
    events = pl.concat([stages, ledger.activities.select("deal_id", "known_at", event="kind")])
    events = events.sort("deal_id", "known_at", "event")
    names = events["event"].unique().sort().to_list()
    at = pl.col("deal_id")
    counted = events.with_columns(
        *((pl.col("event") == name).cast(pl.Int64).cum_sum().over(at).alias(f"n {name}") for name in names),
        events_all=pl.int_range(1, pl.len() + 1).over(at),
        last_at="known_at",
    ).sort("known_at")
    asked = rows.select("as_of", "deal_id", "created_at", "amount").with_row_index("row").sort("as_of")
    found = asked.join_asof(
        counted, left_on="as_of", right_on="known_at", by="deal_id", check_sortedness=False
    ).sort("row")
    hours = [(pl.col("as_of") - pl.col(name)).dt.total_minutes() / 60 for name in ("created_at", "last_at")]
    return found.select(
        "amount",
        "events_all",
        *(f"n {name}" for name in names),
        *((pl.col("event") == name).cast(pl.Int8).alias(f"last {name}") for name in names),
        hours[0].alias("hours since created"),
        hours[1].alias("hours since last"),
    ).cast(pl.Float64)


def prefix_forest(
    ledger: Ledger, learned: pl.DataFrame, later: pl.DataFrame, settings: Settings
) -> np.ndarray:
    forest = RandomForestClassifier(
        n_estimators=settings.scoring.trees, max_depth=settings.scoring.max_depth, random_state=1
    )
    forest.fit(prefixes(ledger, learned), learned["lost"], sample_weight=teaching_weights(learned))
    return np.asarray(forest.predict_proba(prefixes(ledger, later))[:, 1])


def judged(ledger: Ledger, settings: Settings) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """Every deal-morning with its outcome and our raw and calibrated say, and what each rival said."""
    outcomes = outcomes_at(ledger, datetime(2012, 4, 1, tzinfo=UTC))
    ours, theirs = [], []
    for number, first in enumerate(TRAININGS):
        until = TRAININGS[number + 1] if number + 1 < len(TRAININGS) else LAST
        days = mornings(first, until, settings)
        days = days if until == LAST else days[:-1]
        later = facts_at(ledger, days, settings=settings).join(outcomes, on="deal_id", maintain_order="left")
        later = later.filter(pl.col("closed_at") > pl.col("as_of"))
        as_of = morning_of(first, settings)
        panel = followed_panel(ledger, as_of, settings=settings)
        trained = train(panel, as_of, settings=settings)
        assert trained.bundle is not None, trained.reason
        raw = trained.bundle.raw(later)
        told = {"raw": raw, "p_loss": trained.bundle.p_loss(later)}
        ours.append(later.with_columns(**{name: pl.Series(value) for name, value in told.items()}))
        learned = known_by(panel, as_of)
        said = predictions(learned, later, settings=settings)
        theirs.append(said | {PREFIX: prefix_forest(ledger, learned, later, settings)})
        nodes = sum(tree.tree_.node_count for tree in trained.bundle.forest.estimators_)
        print(f"trained {first}: {trained.reason} {nodes:,} nodes; passed: {trained.may_alert}")
    return pl.concat(ours), {name: np.concatenate([one[name] for one in theirs]) for name in theirs[0]}


def table(rows: pl.DataFrame, said: dict[str, np.ndarray], settings: Settings) -> list[str]:
    """The report, a line a model, then a line a stage."""
    names, days = rows["deal_id"].to_numpy(), rows["as_of"].to_numpy()
    lost = rows["lost"].to_numpy()
    models = {"forest": (rows["raw"].to_numpy(), rows["p_loss"].to_numpy())}
    models |= {name: (p, p) for name, p in said.items()}
    ahead = {row["name"]: row for row in compared(rows, said, settings=settings)}
    lines = [f"{rows.height:,} deal-mornings of {rows['deal_id'].n_unique():,} deals, {lost.mean():.3f} lost"]
    for name, (ranking, p) in models.items():
        found = quality(lost, names, ranking, p=p, seed=1, mornings=days)
        line = (
            f"{name:24} AUC {found.auc:.4f}, within mornings {found.morning_auc:.4f}, Brier {found.brier:.4f}"
        )
        if name != "forest":
            row = ahead[name]
            line += f"; ours {row['auc_difference']:+.4f} ({row['auc_difference_low']:+.4f} to"
            line += f" {row['auc_difference_high']:+.4f}), Brier {row['brier_difference']:+.4f}"
            line += f" ({row['brier_difference_low']:+.4f} to {row['brier_difference_high']:+.4f})"
        lines.append(line)
    for (stage,), part in rows.group_by("stage", maintain_order=True):
        y, p = part["lost"].to_numpy(), part["p_loss"].to_numpy()
        found = quality(y, part["deal_id"].to_numpy(), part["raw"].to_numpy(), p=p, seed=1)
        lines.append(
            f"in {stage}: {part.height:,} of {found.deals:,} deals, AUC {found.auc:.3f}, p {p.mean():.3f},"
            f" lost {y.mean():.3f}, skill {found.brier_skill:.3f}"
            f" ({found.brier_skill_low:.3f} to {found.brier_skill_high:.3f})"
        )
    return lines


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        settings, ledger = landed(Path(sys.argv[1]) / "loans", Path(home))
        rows, said = judged(ledger, settings)
        print("\n".join(table(rows, said, settings)))


if __name__ == "__main__":
    main()
