"""Which alerts another model would bring and take away on the next morning, all else equal."""

from collections.abc import Sequence

import polars as pl

from dealwatch.alerts.rules import STAYS_OPEN, Rule
from dealwatch.alerts.signals import signals
from dealwatch.scoring.card_morning import APPEARS, VANISHES

_SAID = ("score", "band", "p_loss")


def alert_changes(rules: Sequence[Rule], facts: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """deal_id, title (of the rule) and change (appears, vanishes), sorted.

    facts: of the deals open on one morning. changes: their score, band and p_loss under both models, with
    `_before` and `_after`. An alert that its rule would merely keep open neither appears nor vanishes.
    """
    before, after = (_held(rules, facts, changes, suffix) for suffix in ("_before", "_after"))
    keys = ["rule", "deal_id"]
    opens = pl.col("level") > STAYS_OPEN
    appears = after.filter(opens).join(before.filter(opens), on=keys, how="anti")
    vanishes = before.filter(opens).join(after, on=keys, how="anti")
    titles = {rule.name: rule.title for rule in rules}
    found = pl.concat(
        [appears.with_columns(change=pl.lit(APPEARS)), vanishes.with_columns(change=pl.lit(VANISHES))]
    )
    return found.select(
        "deal_id", pl.col("rule").replace_strict(titles, return_dtype=pl.String).alias("title"), "change"
    ).sort("deal_id", "title")


def _held(rules: Sequence[Rule], facts: pl.DataFrame, changes: pl.DataFrame, suffix: str) -> pl.DataFrame:
    scores = facts.select("as_of", "deal_id").join(
        changes.select("deal_id", *(pl.col(f"{name}{suffix}").alias(name) for name in _SAID)), on="deal_id"
    )
    return signals(rules, facts, scores).select("rule", "deal_id", "level")
