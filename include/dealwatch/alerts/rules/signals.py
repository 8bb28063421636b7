"""Signals: which rule held for which deal on which morning. Pure: facts and scores in, rows out."""

from collections.abc import Sequence

import polars as pl

from dealwatch.alerts.rules.rule import Rule, levels_held
from dealwatch.tables import alert_signals
from dealwatch.warehouse import schema_of

_KEYS = ["as_of", "deal_id"]
_SCHEMA = schema_of(alert_signals)


def signals(rules: Sequence[Rule], facts: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The rows of `alert_signals` for the deals of `facts`, which are scored in `scores`; sorted by key.

    A level of 0 keeps an open alert open but opens none: the score of a critical deal has to fall well below
    the bound it rose above before its alert is over.
    """
    judged = facts.join(
        scores.select(*_KEYS, pl.col("score").cast(pl.Float64), "band", "p_loss"), on=_KEYS, how="inner"
    )
    held = levels_held(rules, judged)
    if held.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    spells = [rule.name for rule in rules if rule.scope == "stage_spell"]
    entered = pl.col("stage_entered_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ").fill_null("")
    spell = pl.concat_str(pl.col("stage").fill_null(""), entered, separator="@")
    identity = judged.select(
        *_KEYS,
        "owner_id",
        pl.col("amount").fill_nan(None),
        pl.col("score").cast(pl.Int64),
        spell=spell,
    )
    return (
        held.join(identity, on=_KEYS, how="left")
        .with_columns(
            scope=pl.when(pl.col("rule").is_in(spells)).then(pl.col("spell")).otherwise(pl.lit("")),
            owner_id=pl.col("owner_id").fill_null(""),
            amount=pl.col("amount").fill_null(0.0),
        )
        .select(pl.col(name).cast(type_) for name, type_ in _SCHEMA.items())
        .sort("as_of", "rule", "deal_id")
    )
