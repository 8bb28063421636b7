"""A column that only the end can explain is noticed; honest columns are left alone."""

import numpy as np
import polars as pl
import pytest

from dealwatch.history.ledger import Ledger
from dealwatch.scoring.leaks import give_aways
from ledger_rows import deal, ledger

N = 80


def closed_deals(values: dict[str, list[str | None]], *, closed: str = "2026-02-01") -> Ledger:
    """Deals that are lost and won by turns, with columns known from their first day."""
    deals = {}
    for n in range(N):
        fields = {name: column[n] for name, column in values.items() if column[n] is not None}
        outcome = [(closed, "lost" if n % 2 else "won")]
        deals[f"d{n:03}"] = deal("2026-01-01 09:00", outcome=outcome, **fields)  # type: ignore[arg-type]
    return ledger(deals)


def fields(found: list[tuple[str, str]]) -> list[str]:
    return [field for field, _ in found]


def test_an_amount_that_is_zero_for_every_loss_gives_the_outcome_away() -> None:
    found = give_aways(closed_deals({"close_value": ["0" if n % 2 else str(100 + n) for n in range(N)]}))
    assert fields(found) == ["close_value"]
    assert "100.0% of pairs (80 closed deals)" in found[0][1] and "known_only_at_close" in found[0][1]


def test_a_word_that_maps_to_the_outcome_gives_it_away() -> None:
    stage = [("Closed - no budget", "Closed - signed")[n % 2 == 0] for n in range(N)]
    assert fields(give_aways(closed_deals({"stage": stage}))) == ["stage"]


def test_a_column_filled_for_losses_only_gives_the_outcome_away() -> None:
    reason = ["price" if n % 2 and n > 8 else None for n in range(N)]
    found = give_aways(closed_deals({"loss_reason": reason}))
    assert fields(found) == ["loss_reason"] and "nearly all were lost" in found[0][1]


def test_chance_signal_and_names_of_their_own_are_left_alone() -> None:
    random = np.random.default_rng(1)
    honest = {
        "amount": [str(round(x)) for x in random.exponential(1000, N)],
        "region": list(random.choice(["North", "South"], N)),
        "lead_source": [
            ("Partner" if random.random() < 0.8 else "Web") if n % 2 else "Web" for n in range(N)
        ],
        "account": [f"Account {n}" for n in range(N)],
        "currency": ["EUR"] * N,
    }
    assert give_aways(closed_deals(honest)) == []  # type: ignore[arg-type]


def test_what_becomes_known_at_the_close_is_no_leak() -> None:
    known = closed_deals({})
    told = known.changes.filter(pl.col("field") == "outcome").with_columns(
        field=pl.lit("close_value"),
        new_value=pl.when(pl.col("new_value") == "won").then(pl.lit("900")).otherwise(pl.lit("0")),
    )
    both = Ledger(pl.concat([known.changes, told]).sort("deal_id", "field", "known_at"), known.activities)
    assert give_aways(both) == []


def test_deals_that_close_as_they_begin_say_nothing() -> None:
    at_once = closed_deals(
        {"stage": ["Lost" if n % 2 else "Won" for n in range(N)]}, closed="2026-01-01 09:00"
    )
    assert give_aways(at_once) == []


@pytest.mark.parametrize("outcomes", [0, 1])
def test_too_few_closed_deals_are_no_evidence_of_a_leak(outcomes: int) -> None:
    whole = closed_deals({"close_value": ["0" if n % 2 else "5" for n in range(N)]})
    few = whole.changes.filter(pl.col("deal_id") < ("d000", "d040")[outcomes])
    assert give_aways(Ledger(few, whole.activities)) == []
