"""Columns that give the outcome away: values a deal seems to have from its first day, yet only its end can
explain.

An export without history shows a deal's final values. A column such as `close_value`, zero for every loss,
then looks as if it had been known all along, and a model would learn it. Such a column belongs under
`known_only_at_close` in the mapping; those, and what history says came later, are never seen here.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.history.ledger import CHANGE_ORDER, Ledger
from dealwatch.history.stored import StoredLedger
from dealwatch.scoring.lots import drawn
from dealwatch.settings import Settings

GIVEN_AWAY = 0.98  # AUC of one column alone beyond which it cannot be honest
_LEAST = 30  # won and lost deals that have to agree
_NOT_ASKED = ("outcome", "deleted", "name", "created_at")
_SHARE_FILLED = 0.995


def some_known(ledger: StoredLedger, deal_ids: pl.Series, *, settings: Settings) -> Ledger:
    """What is known of the deals, without touches, to look for leaks in: no more deals than a panel has.

    Of more deals some are drawn by lot.
    """
    knobs = settings.scoring
    asked = deal_ids.filter(pl.Series(drawn(deal_ids, knobs.panel_deals, seed=knobs.seed)))
    changes = pl.concat(ledger.changes_of(asked)).sort(CHANGE_ORDER)
    return Ledger(changes, changes.clear())


def give_aways(ledger: Ledger) -> list[tuple[str, str]]:
    """Fields whose first known value tells won from lost, each with a sentence; sorted by field."""
    outcomes = _outcomes(ledger)
    lost = outcomes["lost"].to_numpy()
    if min(lost.sum(), len(lost) - lost.sum()) < _LEAST:
        return []
    found = []
    first = _first_values(ledger, outcomes)
    for field in first["field"].unique().sort():
        values = outcomes.join(first.filter(pl.col("field") == field), on="deal_id", how="left").sort(
            "deal_id"
        )
        if sentence := _give_away(field, values["new_value"], values["lost"].to_numpy()):
            found.append((field, sentence))
    return found


def _outcomes(ledger: Ledger) -> pl.DataFrame:
    """Closed deals that lived at all: when a deal closes at once, all its values are the end's."""
    began = ledger.changes.group_by("deal_id").agg(began_at=pl.col("known_at").min())
    return (
        ledger.changes.filter(pl.col("field") == "outcome")
        .group_by("deal_id", maintain_order=True)
        .agg(pl.col("new_value", "known_at").last())
        .join(began, on="deal_id")
        .filter(pl.col("new_value").is_in(["won", "lost"]) & (pl.col("known_at") > pl.col("began_at")))
        .select("deal_id", "began_at", lost=(pl.col("new_value") == "lost").cast(pl.Float64))
        .sort("deal_id")
    )


def _first_values(ledger: Ledger, outcomes: pl.DataFrame) -> pl.DataFrame:
    """What each deal showed in the moment it was first known."""
    return (
        ledger.changes.filter(~pl.col("field").is_in(_NOT_ASKED))
        .join(outcomes, on="deal_id")
        .filter(pl.col("known_at") == pl.col("began_at"))
        .group_by("deal_id", "field", maintain_order=True)
        .agg(pl.col("new_value").last())
    )


def _give_away(field: str, values: pl.Series, lost: NDArray[np.float64]) -> str:
    # The ledger is append-only: values that landed as known from the first day stay known from then.
    remedy = (
        "list it under known_only_at_close in the mapping, or ignore it, and read the data into a fresh "
        "warehouse, because what has landed keeps the moment at which it counted as known"
    )
    filled = values.is_not_null().to_numpy()
    for word, outcome in (("lost", lost), ("won", 1 - lost)):
        others = 1 - outcome
        if _tells(filled, outcome, others):
            n = int(filled.sum())
            told = f"{n:,} closed deals have it, and nearly all were {word}"
            return f"{field} gives the outcome away: {told}; {remedy}."
    auc = max(_auc_of_number(values, lost), _auc_of_words(values, lost))
    if auc < GIVEN_AWAY:
        return ""
    return (
        f"{field} gives the outcome away: known from a deal's first day, it alone tells won from lost in "
        f"{auc:.1%} of pairs ({len(lost):,} closed deals); {remedy}."
    )


def _tells(filled: NDArray[np.bool_], outcome: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Filled for one outcome alone, where chance would have mixed them."""
    n, usual = filled.sum(), outcome.mean()
    if n < _LEAST or filled.all() or others[filled].mean() > 1 - _SHARE_FILLED:
        return False
    return bool(n * np.log(usual) < np.log(1e-6))


def _auc_of_number(values: pl.Series, lost: NDArray[np.float64]) -> float:
    """How well the value as a number ranks, in whichever direction; unknown counts as the lowest."""
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() > values.null_count():
        return 0.0
    auc = _auc(numbers.fill_null(float("-inf")).to_numpy(), lost)
    return max(auc, 1 - auc)


def _auc_of_words(values: pl.Series, lost: NDArray[np.float64]) -> float:
    """How well the value as a word ranks: each half of the deals by its loss rate in the other half."""
    words = values.fill_null("").to_numpy()
    half = np.random.default_rng(len(lost)).permutation(len(lost)) % 2
    expected = np.full(len(lost), lost.mean())
    for side in (0, 1):
        seen = pl.DataFrame({"word": words[half != side], "lost": lost[half != side]})
        rates = seen.group_by("word").agg(pl.col("lost").mean())
        asked = pl.DataFrame({"word": words[half == side]}).join(
            rates, on="word", how="left", maintain_order="left"
        )
        expected[half == side] = asked["lost"].fill_null(float(lost[half != side].mean())).to_numpy()
    return _auc(expected, lost)


def _auc(ranking: NDArray[np.float64], lost: NDArray[np.float64]) -> float:
    ranks = pl.Series(ranking).rank("average").to_numpy()
    n_lost = float(lost.sum())
    return float(((ranks * lost).sum() - n_lost * (n_lost + 1) / 2) / (n_lost * (len(lost) - n_lost)))
