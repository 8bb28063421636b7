"""Curves come from deals that the forest speaking of them did not see, for p_loss and for the horizons."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from dealwatch.knobs import Scoring
from dealwatch.scoring import folds, horizons
from dealwatch.scoring.folds import FOLDS, Folds, grow_folds
from dealwatch.scoring.forest import fit, inputs, leaves, table
from dealwatch.scoring.horizons import Leaves, learn_horizons
from dealwatch.settings import Settings
from made_up_facts import PANEL_UNTIL, made_up_facts, made_up_panel

SETTINGS = Settings(scoring=Scoring(trees=10, train_minimum=20))


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> tuple[pl.DataFrame, Folds]:
    """A panel and its folds; each "forest" is the set of deals that it was grown on."""
    monkeypatch.setattr(folds, "fit", lambda learned, *, settings: set(learned["deal_id"]))
    panel = made_up_panel(90, signal=1.0)
    return panel, grow_folds(panel, panel.filter(pl.col("deal_id") > "d00029"), settings=SETTINGS)


def test_each_row_is_spoken_of_once_and_by_a_forest_that_did_not_see_its_deal(
    grown: tuple[pl.DataFrame, Folds],
) -> None:
    panel, parted = grown
    spoken = np.zeros(panel.height)
    for seen, unseen in parted.parts(panel):
        assert len(seen) > 20 and seen.isdisjoint(panel.filter(unseen)["deal_id"])
        spoken += unseen
    assert (spoken == 1).all()


def test_all_rows_of_a_deal_are_in_one_part_and_parts_are_alike_in_size(
    grown: tuple[pl.DataFrame, Folds],
) -> None:
    panel, parted = grown
    deals = [panel.filter(unseen)["deal_id"].n_unique() for _, unseen in parted.parts(panel)]
    assert deals == [90 // FOLDS] * FOLDS


def test_a_leafs_chance_within_a_horizon_comes_from_other_deals_than_those_it_is_asked_about(
    grown: tuple[pl.DataFrame, Folds], monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, parted = grown
    taught: list[set[str]] = []
    asked: list[set[str]] = []

    def rates(forest: Any, facts: np.ndarray, by_days: list[pl.DataFrame]) -> Leaves:
        assert facts[:, 0].tolist() == by_days[0]["deal_id"].to_list()
        taught.append({deal for rows in by_days for deal in rows["deal_id"]})
        return Leaves(np.array([0]), np.zeros((3, 1)))

    def reached(forest: Any, facts: np.ndarray) -> np.ndarray:
        asked.append(set(facts[:, 0]))
        return np.zeros((len(facts), 1), dtype=np.int64)

    monkeypatch.setattr(horizons, "leaf_rates", rates)
    monkeypatch.setattr(horizons, "leaves", reached)
    monkeypatch.setattr(horizons, "inputs", lambda forest, facts: facts.select("deal_id").to_numpy())
    learn_horizons(panel, PANEL_UNTIL, set(), parted, settings=SETTINGS)  # type: ignore[arg-type]
    everyone = set(panel["deal_id"])
    assert [seen | unseen for seen, unseen in zip(taught, asked, strict=False)] == [everyone] * FOLDS
    assert all(seen.isdisjoint(unseen) for seen, unseen in zip(taught, asked, strict=False))
    assert taught[FOLDS:] == [everyone], "the leaves that are kept learn from all deals"


def test_leaves_are_those_of_the_forest_and_of_no_rows_there_are_none() -> None:
    pipeline, facts = fit(made_up_panel(90, signal=1.0), settings=SETTINGS), made_up_facts(20)
    columns = pipeline["columns"].transform(table(facts))
    assert leaves(pipeline, inputs(pipeline, facts)).tolist() == pipeline["forest"].apply(columns).tolist()
    assert leaves(pipeline, inputs(pipeline, facts.clear())).shape == (0, 10)
