"""Runs: scored mornings in a row on which a rule holds for a deal, and how each run ended. Pure.

A condition that is absent on a scored morning is over. A morning that was not scored says nothing.
"""

from collections.abc import Mapping

import polars as pl

from dealwatch.alerts.rules.rule import STAYS_OPEN
from dealwatch.settings import Settings
from dealwatch.warehouse import INSTANT

FINGERPRINT = ["rule", "deal_id", "scope"]


def in_runs(signals: pl.DataFrame, scored: pl.DataFrame, confirm: Mapping[str, int]) -> pl.DataFrame:
    """Signals that open a run or are part of one, numbered by run.

    `is_open`: the rule has held often enough in a row by then, or did before in the run. `is_held`: it holds
    that morning; a signal may only keep open what is open.
    """
    rows = signals.join(scored.with_columns(pl.col("n").cast(pl.Int64)), on="as_of").sort(*FINGERPRINT, "n")
    begins = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in FINGERPRINT) | (
        pl.col("n") - pl.col("n").shift(1) != 1
    )
    rows = rows.with_columns(run=begins.fill_null(True).cum_sum())
    # A signal that only keeps an alert open begins no run, and passes the level on that it found.
    level = pl.when(pl.col("level") > STAYS_OPEN).then(pl.col("level")).forward_fill().over("run")
    rows = rows.with_columns(level=level, is_held=pl.col("level") > STAYS_OPEN).drop_nulls("level")
    return _confirmed(rows, confirm)


def _confirmed(rows: pl.DataFrame, confirm: Mapping[str, int]) -> pl.DataFrame:
    """Marks what is open: on this morning or before it the rule held as many times in a row as it wants."""
    slow = {rule: mornings for rule, mornings in confirm.items() if mornings > 1}
    if not slow:
        return rows.with_columns(is_open=pl.lit(True))
    wanted = pl.col("rule").replace_strict(slow, default=1, return_dtype=pl.Int64)
    rows = rows.with_columns(gaps=(~pl.col("is_held")).cum_sum().over("run"))
    in_a_row = pl.col("is_held").cast(pl.Int64).cum_sum().over("run", "gaps")
    rows = rows.with_columns(is_open=(pl.col("is_held") & (in_a_row >= wanted)).cast(pl.Int8))
    return rows.with_columns(pl.col("is_open").cum_max().over("run").cast(pl.Boolean)).drop("gaps")


def runs_of(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a run, from the morning on which it opened."""
    return rows.group_by("run", maintain_order=True).agg(
        *[pl.col(name).first() for name in FINGERPRINT],
        began_at=pl.col("as_of").first(),
        first_level=pl.col("level").first(),
        first_amount=pl.col("amount").first(),
        last_n=pl.col("n").last(),
        last_seen_at=pl.col("as_of").last(),
        level=pl.col("level").last(),
        owner_id=pl.col("owner_id").last(),
    )


def resolved(
    runs: pl.DataFrame, scored: pl.DataFrame, endings: pl.DataFrame, retired: Mapping[str, object]
) -> pl.DataFrame:
    """Each run with the first scored morning without it, and why it was over by then."""
    next_morning = scored.select(last_n=pl.col("n").cast(pl.Int64) - 1, resolved_at="as_of")
    known = endings.select("deal_id", "ending", pl.col("known_at").cast(INSTANT)).sort(
        "known_at", maintain_order=True
    )
    over = runs.join(next_morning, on="last_n", how="left").sort("resolved_at", "run", nulls_last=True)
    over = over.join_asof(
        known,
        left_on="resolved_at",
        right_on="known_at",
        by="deal_id",
        strategy="backward",
        check_sortedness=False,
    )
    rules = pl.DataFrame(
        {"rule": list(retired), "rule_last_held_at": list(retired.values())},
        schema={"rule": pl.String, "rule_last_held_at": INSTANT},
    )
    over = over.join(rules, on="rule", how="left", maintain_order="left")
    is_retired = pl.col("last_seen_at") == pl.col("rule_last_held_at")
    cause = (
        pl.when(pl.col("resolved_at").is_null())
        .then(None)
        .when(pl.col("ending").is_in(["won", "lost", "deleted"]))
        .then(pl.col("ending"))
        .when(is_retired)
        .then(pl.lit("rule_retired"))
        .otherwise(pl.lit("cleared"))
    )
    return over.with_columns(resolution=cause).sort("run")


def in_episodes(runs: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Runs that follow each other within the reopening days are one episode."""
    day_ended = pl.col("resolved_at").dt.convert_time_zone(settings.time_zone).dt.date().shift(1)
    day_began = pl.col("began_at").dt.convert_time_zone(settings.time_zone).dt.date()
    begins = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in FINGERPRINT) | (
        (day_began - day_ended).dt.total_days() > settings.alerts.reopen_days
    )
    runs = runs.with_columns(episode=begins.fill_null(True).cum_sum())
    return runs.with_columns(
        opened_at=pl.col("began_at").first().over("episode"),
        opening_amount=pl.col("first_amount").first().over("episode"),
    )
