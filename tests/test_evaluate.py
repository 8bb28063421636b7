"""Past scores are judged on outcomes that came later, and on nothing else."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine

from dealwatch.moments import morning_of
from dealwatch.scoring.evaluate import Report, evaluate
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deal_snapshots, deals
from dealwatch.warehouse import add_missing, reading, writing

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 9)
INSTANT = pl.Datetime("us", "UTC")


def put_scores(
    engine: Engine,
    settings: Settings,
    outcomes: dict[str, tuple[str | None, datetime | None]],
    scores: dict[str, tuple[int, float | None]],
    *,
    deleted: tuple[str, ...] = (),
) -> None:
    """The same scores on every morning of the range, for deals with these outcomes."""
    day = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    rows = [(morning_of(d, settings), deal, score, p) for d in day for deal, (score, p) in scores.items()]
    made = pl.DataFrame(
        rows,
        schema={"as_of": INSTANT, "deal_id": pl.String, "score": pl.Int64, "p_loss": pl.Float64},
        orient="row",
    )
    created = datetime(2025, 12, 1, tzinfo=UTC)
    with writing(engine) as connection:
        add_missing(
            connection,
            deals,
            pl.DataFrame(
                {
                    "deal_id": list(outcomes),
                    "source": ["crm"] * len(outcomes),
                    "created_at": [created] * len(outcomes),
                    "outcome": [outcome for outcome, _ in outcomes.values()],
                    "closed_at": [closed for _, closed in outcomes.values()],
                    "is_deleted": [deal in deleted for deal in outcomes],
                },
                schema_overrides={"closed_at": INSTANT, "created_at": INSTANT, "outcome": pl.String},
            ),
        )
        method = pl.when(pl.col("p_loss").is_null()).then(pl.lit("rules")).otherwise(pl.lit("hybrid"))
        add_missing(
            connection,
            deal_scores,
            made.with_columns(band=pl.lit("Low"), method=method, points=pl.lit("[]"), reasons=pl.lit("[]")),
        )
        add_missing(
            connection,
            deal_snapshots,
            made.select(
                "as_of",
                "deal_id",
                stage=pl.lit("Demo"),
                created_at=pl.lit(created).cast(INSTANT),
                stage_entered_at=pl.lit(created).cast(INSTANT),
            ),
        )


def report(engine: Engine, settings: Settings) -> Report:
    with reading(engine) as connection:
        return evaluate(connection, FIRST, LAST, settings)


CLOSED = datetime(2026, 2, 1, tzinfo=UTC)


def test_a_perfect_ranking_scores_one_on_both_dialects(
    either_engine: Engine, either_settings: Settings
) -> None:
    put_scores(
        either_engine,
        either_settings,
        {"a": ("lost", CLOSED), "b": ("won", CLOSED), "c": (None, None)},
        {"a": (60, 0.8), "b": (20, 0.2), "c": (30, 0.5)},
    )
    found = report(either_engine, either_settings)
    (part,) = found.pooled
    assert part.method == "hybrid" and part.p_loss is not None
    assert (part.score.rows, part.score.deals, part.score.auc) == (10, 2, 1.0)
    assert part.p_loss.brier == pytest.approx(0.04)
    assert part.p_loss.brier_skill == pytest.approx(1 - 0.04 / 0.25)
    assert found.unresolved == 5


def test_an_outcome_that_was_there_already_is_no_later_outcome(engine: Engine, settings: Settings) -> None:
    midweek = morning_of(date(2026, 1, 7), settings)
    put_scores(
        engine,
        settings,
        {"a": ("lost", midweek), "b": ("won", CLOSED)},
        {"a": (60, 0.8), "b": (20, 0.2)},
    )
    (part,) = report(engine, settings).pooled
    assert part.score.rows == 2 + 5


def test_deleted_deals_are_not_judged(engine: Engine, settings: Settings) -> None:
    outcomes = {"a": ("lost", CLOSED), "b": ("won", CLOSED), "x": ("lost", CLOSED)}
    put_scores(engine, settings, outcomes, dict.fromkeys(outcomes, (20, 0.2)), deleted=("x",))
    (part,) = report(engine, settings).pooled
    assert part.score.deals == 2


def test_rules_alone_have_a_ranking_but_no_brier_score(engine: Engine, settings: Settings) -> None:
    put_scores(
        engine, settings, {"a": ("lost", CLOSED), "b": ("won", CLOSED)}, {"a": (60, None), "b": (20, None)}
    )
    found = report(engine, settings)
    (part,) = found.pooled
    assert part.method == "rules" and part.p_loss is None and part.score.auc == 1.0
    assert "rules alone: no probability" in found.text()


def test_methods_are_told_apart(engine: Engine, settings: Settings) -> None:
    put_scores(
        engine, settings, {"a": ("lost", CLOSED), "b": ("won", CLOSED)}, {"a": (60, 0.9), "b": (20, None)}
    )
    assert [part.method for part in report(engine, settings).pooled] == ["hybrid", "rules"]


def test_a_stage_with_enough_deals_has_a_line_of_its_own(engine: Engine, settings: Settings) -> None:
    names = [f"d{n:02}" for n in range(60)]
    outcomes = {name: ("lost" if n % 2 else "won", CLOSED) for n, name in enumerate(names)}
    put_scores(engine, settings, outcomes, {name: (n, n / 100) for n, name in enumerate(names)})
    found = report(engine, settings)
    assert [part.stage for part in found.stages] == ["Demo"]
    text = found.text()
    assert "300 deal-mornings of 60 deals, 30 won and 30 lost" in text
    assert "Demo" in text and "Brier skill" in text and "None" not in text


def test_nothing_to_judge_is_said_plainly(engine: Engine, settings: Settings) -> None:
    assert "nothing to judge" in report(engine, settings).text()
