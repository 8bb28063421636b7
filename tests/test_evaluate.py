"""Past scores are judged on outcomes that came later, and on nothing else."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine, insert

from dealwatch.moments import morning_of
from dealwatch.scoring.evaluate import Report, evaluate
from dealwatch.scoring.evaluation_page import write
from dealwatch.scoring.evaluation_text import counts_of, measure_rows
from dealwatch.scoring.evaluation_verdict import band_advice, verdict
from dealwatch.scoring.judgement import ranks_better
from dealwatch.scoring.plots import gain_curve
from dealwatch.scoring.quality import Quality
from dealwatch.settings import Settings
from dealwatch.tables import deal_changes, deal_scores, deal_snapshots, deals, extract_runs, model_versions
from dealwatch.warehouse import add_missing, reading, writing

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 9)
INSTANT = pl.Datetime("us", "UTC")
KNOWN = datetime(2026, 4, 15, tzinfo=UTC)  # what the extract speaks for: long after the range
BAND_OF_SCORE = pl.when(pl.col("score") > 25).then(pl.lit("Medium")).otherwise(pl.lit("Low"))


def put_scores(
    engine: Engine,
    settings: Settings,
    outcomes: dict[str, tuple[str | None, datetime | None]],
    scores: dict[str, tuple[int, float | None]],
    *,
    deleted: tuple[str, ...] = (),
    stage: str = "Demo",
    known: datetime | None = KNOWN,
    later: tuple[date, ...] = (),
) -> None:
    """The same scores on every morning of the range and `later`, for deals with these outcomes."""
    day = [*(FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)), *later]
    rows = [(morning_of(d, settings), deal, score, p) for d in day for deal, (score, p) in scores.items()]
    made = pl.DataFrame(
        rows,
        schema={"as_of": INSTANT, "deal_id": pl.String, "score": pl.Int64, "p_loss": pl.Float64},
        orient="row",
    )
    created = datetime(2025, 12, 1, tzinfo=UTC)
    put_ledger(engine, outcomes, created)
    if known is not None:
        put_extract(engine, known)
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
            made.with_columns(
                band=BAND_OF_SCORE,
                p_loss_30=pl.col("p_loss") / 2,
                method=method,
                points=pl.lit("[]"),
                reasons=pl.lit("[]"),
            ),
        )
        add_missing(
            connection,
            deal_snapshots,
            made.select(
                "as_of",
                "deal_id",
                stage=pl.lit(stage),
                created_at=pl.lit(created).cast(INSTANT),
                stage_entered_at=pl.lit(created).cast(INSTANT),
            ),
        )


def put_ledger(
    engine: Engine, outcomes: dict[str, tuple[str | None, datetime | None]], created: datetime
) -> None:
    """When each deal came to be known and how it ended."""
    told = [(deal, "created_at", created.isoformat(), created) for deal in outcomes]
    told += [
        (d, "outcome", outcome, closed) for d, (outcome, closed) in outcomes.items() if outcome and closed
    ]
    made = pl.DataFrame(
        told,
        schema={"deal_id": pl.String, "field": pl.String, "new_value": pl.String, "happened_at": INSTANT},
        orient="row",
    )
    with writing(engine) as connection:
        add_missing(
            connection,
            deal_changes,
            made.with_columns(
                change_id=pl.col("deal_id") + pl.col("field"),
                known_at="happened_at",
                recorded_at="happened_at",
                seq=pl.lit(0, dtype=pl.Int64),
                source=pl.lit("crm"),
            ),
        )


def put_extract(engine: Engine, at: datetime) -> None:
    run = {
        "extract_id": [at.isoformat()],
        "source": ["crm"],
        "drop_name": ["drop"],
        "extracted_at": [at],
        "recorded_at": [at],
        "state": ["remembered"],
        **{name: [0] for name in ("records", "quarantined", "changes")},
    }
    with writing(engine) as connection:
        add_missing(
            connection,
            extract_runs,
            pl.DataFrame(run, schema_overrides={"extracted_at": INSTANT, "recorded_at": INSTANT}),
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
    assert (found.followed.unresolved, found.followed.rows, found.followed.recent_mornings) == (5, 15, 0)


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


def put_company(engine: Engine, settings: Settings, *, stage: str = "Demo") -> None:
    """Sixty deals, half of them lost; p_loss ranks them well, the score does so with a few mistakes."""
    names = [f"d{n:02}" for n in range(60)]
    outcomes = {name: ("lost" if n >= 30 else "won", CLOSED) for n, name in enumerate(names)}
    p = {name: 0.15 + (n + 12 * (n % 3 == 0)) / 100 for n, name in enumerate(names)}
    scores = {name: (round(30 * p[name] + (n * 37 % 40)), p[name]) for n, name in enumerate(names)}
    put_scores(engine, settings, outcomes, scores, stage=stage)


def test_bands_tell_their_loss_rate_and_whether_to_cut_them_anew(engine: Engine, settings: Settings) -> None:
    put_company(engine, settings)
    found = report(engine, settings)
    by_name = {band.name: band for band in found.bands}
    assert by_name["Low"].found is not None and by_name["Medium"].found is not None
    assert by_name["Low"].found.n + by_name["Medium"].found.n == 300
    assert by_name["Low"].found.rate < by_name["Medium"].found.rate
    assert by_name["Critical"].found is None and by_name["Critical"].share == 0
    assert found.cuts is not None and found.cuts.fault and found.cuts.fault in " ".join(band_advice(found))


def test_the_better_ranking_is_told_overall_and_by_stage(engine: Engine, settings: Settings) -> None:
    put_company(engine, settings)
    found = report(engine, settings)
    assert "p_loss alone ranks better: AUC -" in found.text()
    told = ranks_better(found.judged, settings=settings)
    assert [(row["name"], row["better"]) for row in told] == [("", "p_loss"), ("Demo", "p_loss")]
    assert all(row["auc_low"] < row["auc"] < row["auc_high"] < 0 for row in told)
    few = found.judged.filter(pl.col("deal_id").is_in(found.judged["deal_id"].unique().sort().head(9)))
    assert ranks_better(few, settings=settings) == []


def test_a_horizon_is_judged_on_mornings_watched_for_as_long_open_deals_included(
    engine: Engine, settings: Settings
) -> None:
    put_scores(
        engine,
        settings,
        {"a": ("lost", CLOSED), "b": (None, None), "c": ("lost", datetime(2026, 2, 20, tzinfo=UTC))},
        {"a": (60, 0.8), "b": (20, 0.2), "c": (30, 0.4)},
        known=None,
    )
    assert report(engine, settings).horizons == ()
    put_extract(engine, morning_of(FIRST + timedelta(days=31), settings))
    ((days, found),) = report(engine, settings).horizons
    assert (days, found.rows, found.lost, found.auc) == (30, 2 * 3, 1, 1.0)


def test_nothing_stored_says_what_to_run_and_nothing_resolved_says_so(
    engine: Engine, settings: Settings
) -> None:
    told = report(engine, settings).text()
    assert "python -m dealwatch score --as-of 2026-01-05 --until 2026-01-09 --notify dry" in told
    put_scores(engine, settings, {"a": (None, None), "b": ("won", CLOSED)}, {"a": (60, 0.8)})
    assert "none of those deals has an outcome yet" in report(engine, settings).text()


def test_the_report_is_one_page_with_its_plots_inside_and_the_same_each_time(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    put_company(engine, settings)
    found = report(engine, settings)
    first, again = (
        write(found, tmp_path / "a", settings=settings),
        write(found, tmp_path / "b", settings=settings),
    )
    names = sorted(path.name for path in first.parent.iterdir())
    assert names == ["gains.png", "index.html", "numbers.json", "reliability.png", "scores.png"]
    for name in names:
        assert (first.parent / name).read_bytes() == (again.parent / name).read_bytes()
    page = first.read_text()
    assert page.count("data:image/png;base64,") == 3 and "http" not in page and "None" not in page
    numbers = json.loads((first.parent / "numbers.json").read_text())
    assert numbers["slices"][0]["p_loss"]["slope"] is not None


def test_what_the_crm_wrote_is_escaped_in_the_report(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    put_company(engine, settings, stage="<script>alert('x')</script> & {{ 1 }}")
    page = write(report(engine, settings), tmp_path, settings=settings).read_text()
    assert "<script>" not in page and "&lt;script&gt;alert(&#39;x&#39;)" in page and "{{ 1 }}" in page


def test_an_empty_report_is_a_page_too_and_clears_older_plots(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "gains.png").write_bytes(b"old")
    page = write(report(engine, settings), tmp_path, settings=settings).read_text()
    assert "Nothing to judge" in page and not (tmp_path / "gains.png").exists()


def put_easy_and_hard(engine: Engine, settings: Settings, *, known: datetime, never: int = 0) -> None:
    """Easy deals end in January as foretold, hard ones in February as a coin falls; some never end."""
    ends = {"easy": datetime(2026, 1, 12, tzinfo=UTC), "hard": datetime(2026, 2, 20, tzinfo=UTC)}
    outcomes: dict[str, tuple[str | None, datetime | None]] = {}
    scores: dict[str, tuple[int, float | None]] = {}
    for n in range(120):
        for name, closed in ends.items():
            is_risky = n % 2 == 0
            is_lost = is_risky if name == "easy" else n % 4 < 2
            deal = f"{name}{n}"
            outcomes[deal] = ("lost" if is_lost else "won", closed) if closed <= known else (None, None)
            scores[deal] = (60, 0.7) if is_risky else (20, 0.3)
    for n in range(never):
        outcomes[f"never{n}"], scores[f"never{n}"] = (None, None), (40, 0.5)
    put_scores(engine, settings, outcomes, scores, known=known, later=(date(2026, 1, 11),))


def test_mornings_too_recent_to_be_judged_are_left_out_for_only_the_easy_deals_have_ended(
    engine: Engine, settings: Settings
) -> None:
    put_easy_and_hard(engine, settings, known=datetime(2026, 1, 20, tzinfo=UTC))
    found = report(engine, settings)
    assert (found.scored, found.pooled, found.judged.height) == (1200, (), 0), "an AUC of 1 would be a lie"
    assert "1,200 deal-mornings were scored, all of them too recent" in found.text()
    assert "Outcomes are known until 2026-01-20" in found.text()


def test_what_was_judged_and_what_was_left_out_is_said(engine: Engine, settings: Settings) -> None:
    put_easy_and_hard(engine, settings, known=KNOWN, never=10)
    with reading(engine) as connection:
        whole = evaluate(connection, FIRST, date(2026, 1, 11), settings)
    (part,) = whole.pooled
    assert part.p_loss is not None and part.p_loss.auc == 0.75
    assert "6 mornings with 1,500 deal-mornings; 60 of these (4.0%) are left out" in whole.text()
    assert "too recent" not in whole.text() and "waits for a yes" not in whole.text()


def test_the_latest_mornings_of_a_range_are_left_out_of_every_number(
    engine: Engine, settings: Settings
) -> None:
    known = datetime(2026, 2, 9, 12, tzinfo=UTC)
    put_easy_and_hard(engine, settings, known=known)
    with reading(engine) as connection:
        found = evaluate(connection, FIRST, date(2026, 1, 11), settings)
    assert (found.followed.known_until, found.followed.until) == (known.date(), date(2026, 1, 6))
    assert (found.followed.mornings, found.followed.recent_mornings) == (2, 4)
    assert found.judged["as_of"].max() == morning_of(date(2026, 1, 6), settings)
    assert "Left out as too recent: 4 mornings after 2026-01-06, with 960 deal-mornings." in found.text()


def test_there_is_no_verdict_while_too_many_deals_are_open_or_too_few_have_ended(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    put_easy_and_hard(engine, settings, known=KNOWN, never=120)
    found = report(engine, settings)
    (sentence,) = verdict(found)
    assert sentence.startswith("No verdict: 33% of the deal-mornings have no outcome yet")
    page = write(found, tmp_path, settings=settings).read_text()
    assert sentence in page and "(33.3%) are left out" in page
    few = replace(found, pooled=(replace(found.pooled[0], score=Quality(50, 24, 5, 19)),))
    assert verdict(few) == ["No verdict: 5 won deals and 19 lost deals, and it takes 20 of each."]


def put_challenger(engine: Engine, trained: datetime, status: str = "challenger") -> None:
    with writing(engine) as connection:
        connection.execute(
            insert(model_versions).values(
                version="20260104-abc",
                trained_as_of=trained,
                status=status,
                metrics={},
                sha256="",
                reason="AUC 0.80",
                decision="",
                recorded_at=trained,
            )
        )


@pytest.mark.parametrize(
    ("status", "hour", "told"),
    [
        ("challenger", 5, "promote 20260104-abc --as-of 2026-01-04"),
        ("challenger", 12, "promote 20260104-abc --as-of 2026-01-05"),
        ("refused", 5, None),
        ("champion", 5, None),
    ],
)
def test_a_model_that_waits_for_a_yes_is_named_with_the_command(
    engine: Engine, settings: Settings, tmp_path: Path, status: str, hour: int, told: str | None
) -> None:
    put_challenger(engine, datetime(2026, 1, 4, hour, tzinfo=UTC), status)
    put_scores(
        engine, settings, {"a": ("lost", CLOSED), "b": ("won", CLOSED)}, {"a": (60, None), "b": (20, None)}
    )
    found = report(engine, settings)
    page = write(found, tmp_path, settings=settings).read_text()
    for text in (found.text(), page):
        assert ("waits for a yes" in text) is (told is not None)
        assert told is None or f"python -m dealwatch {told}" in text
        assert told is None or "score --as-of 2026-01-05 --until 2026-01-09 --notify dry" in text


def put_chances(
    engine: Engine, settings: Settings, *, deals: int, shift: float = 0.0, by: float = 1.0
) -> None:
    """Deals lost by their chance; what is said of them has its log-odds stretched and shifted."""
    random = np.random.default_rng(5)
    odds = random.normal(0, 1.5, deals)
    lost = random.random(deals) < 1 / (1 + np.exp(-odds))
    p = 1 / (1 + np.exp(-(by * odds + shift)))
    outcomes = {f"d{n}": ("lost" if lost[n] else "won", CLOSED) for n in range(deals)}
    put_scores(engine, settings, outcomes, {f"d{n}": (round(100 * p[n]), float(p[n])) for n in range(deals)})


@pytest.mark.parametrize(
    ("deals", "shift", "by", "said"),
    [
        (600, 0.0, 1.0, "They mean what they say: slope"),
        (600, -1.5, 1.0, "They are too low: slope"),
        (600, 1.5, 1.0, "They are too high: slope"),
        (600, 0.0, 2.5, "They are too sure of themselves: slope"),
        (600, -1.5, 2.5, "They are too sure of themselves and too low: slope"),
        (70, 0.0, 1.0, "Too few deals to say whether they mean what they say: slope"),
    ],
)
def test_probabilities_mean_what_they_say_when_slope_and_bias_both_say_so(
    engine: Engine, settings: Settings, deals: int, shift: float, by: float, said: str
) -> None:
    put_chances(engine, settings, deals=deals, shift=shift, by=by)
    (found,) = [sentence for sentence in verdict(report(engine, settings)) if "slope" in sentence]
    assert found.startswith(said)
    assert re.search(
        r"on average [0-9.]+% was said and [0-9.]+% came true \([+-][0-9.]+ points, .+ to .+\)", found
    )


def test_every_number_of_a_judgement_comes_with_its_interval_or_what_chance_makes(
    engine: Engine, settings: Settings
) -> None:
    put_chances(engine, settings, deals=200)
    (part,) = report(engine, settings).pooled
    for name, value in measure_rows(part):
        assert re.search(r"\(.+ to .+\)|chance up to", value), f"{name}: {value}"
    assert re.search(r"[0-9.]+ \([0-9.]+ to [0-9.]+\) of the deal-mornings ended lost", counts_of(part))


def test_a_gain_curve_takes_equal_ranks_together() -> None:
    rows, caught = gain_curve(np.array([1.0, 0, 1, 0]), np.array([9.0, 5, 5, 1]))
    assert rows.tolist() == [0, 0.25, 0.75, 1] and caught.tolist() == [0, 0.5, 1, 1]
