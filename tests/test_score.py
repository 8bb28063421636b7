"""Every point of a score is accounted for, always."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dealwatch.knobs import Scoring
from dealwatch.scoring.bands import band
from dealwatch.scoring.facts import GROUPS
from dealwatch.scoring.registry import Model
from dealwatch.scoring.score import score, whole_points
from dealwatch.settings import Settings
from made_up_facts import START, made_up_facts, small_training

SETTINGS = Settings()
NO_RULES = pl.DataFrame(
    schema={
        "as_of": pl.Datetime("us", "UTC"),
        "deal_id": pl.String,
        "rule": pl.String,
        "about": pl.String,
        "points": pl.Int64,
        "sentence": pl.String,
        "action": pl.String,
    }
)


def held(*rules: tuple[str, str, int], about: str | None = None) -> pl.DataFrame:
    """Rules that hold: deal, rule, points; each about a matter of its own, or all about one."""
    rows = [
        (START, deal, rule, about or rule, points, f"{rule} holds", f"mend {rule}")
        for deal, rule, points in rules
    ]
    return pl.DataFrame(rows, schema=NO_RULES.schema, orient="row")


@pytest.fixture(scope="module")
def model() -> Model:
    bundle = small_training().bundle
    assert bundle is not None
    return Model("v1", START, bundle, {})


@given(st.lists(st.floats(-60, 60, allow_nan=False), max_size=14))
def test_whole_points_sum_to_the_rounded_sum_and_stay_close(sizes: list[float]) -> None:
    points = whole_points(sizes)
    assert abs(sum(points) - sum(sizes)) <= 0.5 + 1e-9
    assert all(abs(whole - size) <= 1 for whole, size in zip(points, sizes, strict=True))


@given(points=st.lists(st.integers(0, 60), max_size=5), seed=st.integers(0, 10_000))
@hypothesis_settings(max_examples=40, deadline=None)
def test_points_always_sum_to_a_score_between_0_and_100(model: Model, points: list[int], seed: int) -> None:
    facts = made_up_facts(4, seed=seed)
    rules = held(*(("d00001", f"rule{n}", value) for n, value in enumerate(points)))
    for chosen in (model, None):
        for row in score(facts, chosen, rules, settings=SETTINGS).iter_rows(named=True):
            parts = json.loads(row["points"])
            assert sum(part["points"] for part in parts) == row["score"]
            assert 0 <= row["score"] <= 100
            capped = min(40, sum(points)) if row["deal_id"] == "d00001" else 0
            exact = capped + 60 * row["p_loss"] if chosen else capped * 2.5
            assert abs(row["score"] - exact) <= 0.5 + 1e-9
            assert sum(part["points"] for part in parts if part["kind"] == "rule") <= (42 if chosen else 100)


def test_deals_put_in_words_few_at_a_time_get_the_same_scores(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = made_up_facts(7)
    rules = held(*((f"d0000{n}", "stage_stall", 10 + n) for n in range(7)))
    whole = score(facts, model, rules, settings=SETTINGS)
    monkeypatch.setattr("dealwatch.scoring.score._AT_ONCE", 2)
    assert score(facts, model, rules, settings=SETTINGS).equals(whole)
    assert whole.filter(pl.col("points").str.contains("stage_stall")).height == 7


def test_a_score_names_its_base_every_group_and_each_rule_that_holds(model: Model) -> None:
    scored = score(made_up_facts(3), model, held(("d00001", "stage_stall", 15)), settings=SETTINGS)
    parts = json.loads(scored["points"][1])
    assert [part["name"] for part in parts] == ["base", *GROUPS, "stage_stall"]
    assert [part["kind"] for part in parts] == ["base", *["group"] * 8, "rule"]
    assert scored["method"].unique().to_list() == ["hybrid"]
    assert scored["model_version"].unique().to_list() == ["v1"]


def test_rule_points_beyond_forty_shrink_alike() -> None:
    scored = score(made_up_facts(1), None, held(("d00000", "a", 30), ("d00000", "b", 90)), settings=SETTINGS)
    assert json.loads(scored["points"][0]) == [
        {"name": "a", "kind": "rule", "points": 25},
        {"name": "b", "kind": "rule", "points": 75},
    ]
    assert scored["score"].to_list() == [100]


def test_without_a_model_rules_alone_fill_the_scale_and_the_row_says_so() -> None:
    scored = score(made_up_facts(2), None, held(("d00000", "a", 10)), settings=SETTINGS)
    assert scored["score"].to_list() == [25, 0]
    assert scored["method"].to_list() == ["rules", "rules"]
    assert scored["p_loss"].to_list() == [None, None] and scored["model_version"].to_list() == [None, None]
    assert scored["band"].to_list() == ["Low", "Low"]


def test_the_three_largest_parts_are_the_reasons_and_the_first_gives_the_action(model: Model) -> None:
    rules = held(("d00000", "a", 20), ("d00000", "b", 19), ("d00000", "c", 1))
    row = score(made_up_facts(1), model, rules, settings=SETTINGS).row(0, named=True)
    reasons = json.loads(row["reasons"])
    assert [reason["group"] for reason in reasons][:2] == ["a", "b"]
    assert reasons[0] == {"action": "mend a", "group": "a", "points": 20, "sentence": "a holds"}
    assert row["action"] == "mend a"
    assert len(reasons) <= 3 and all(reason["points"] > 0 for reason in reasons)


def test_what_model_and_rules_say_about_one_thing_is_one_reason_with_the_points_of_both(model: Model) -> None:
    facts = made_up_facts(1)
    row = score(facts, model, held(("d00000", "stall", 20), about="stage"), settings=SETTINGS).row(
        0, named=True
    )
    points = {part["name"]: part["points"] for part in json.loads(row["points"])}
    (reason,) = [reason for reason in json.loads(row["reasons"]) if reason["group"] == "stage"]
    assert reason["points"] == points["stage"] + points["stall"]
    in_the_models_words = points["stage"] > 0
    assert (reason["sentence"] != "stall holds") == in_the_models_words


def test_what_lowers_the_risk_or_rounds_to_nothing_is_no_reason(model: Model) -> None:
    scored = score(made_up_facts(60), model, NO_RULES, settings=SETTINGS)
    reasons = [json.loads(text) for text in scored["reasons"]]
    assert {len(found) for found in reasons} > {3}
    assert all(reason["points"] > 0 for found in reasons for reason in found)


def test_a_deal_with_nothing_against_it_has_no_reason_and_no_action() -> None:
    row = score(made_up_facts(1), None, NO_RULES, settings=SETTINGS).row(0, named=True)
    assert (row["score"], row["reasons"], row["action"]) == (0, "[]", None)


@pytest.mark.parametrize(
    ("points", "name"),
    [(0, "Low"), (25, "Low"), (26, "Medium"), (50, "Medium"), (75, "High"), (76, "Critical")],
)
def test_a_band_holds_its_top(points: int, name: str) -> None:
    assert band(points, (25, 50, 75)) == name


def test_bands_are_settings(model: Model) -> None:
    narrow = Settings(scoring=Scoring(bands=(1, 2, 3)))
    assert score(made_up_facts(5), model, NO_RULES, settings=narrow)["band"].unique().to_list() == [
        "Critical"
    ]


def test_rows_come_sorted_whatever_order_the_facts_and_rules_came_in(model: Model) -> None:
    facts, rules = made_up_facts(20), held(("d00003", "b", 5), ("d00003", "a", 5), ("d00001", "a", 5))
    mixed = score(facts.reverse(), model, rules.reverse(), settings=SETTINGS)
    assert mixed.equals(score(facts, model, rules, settings=SETTINGS))
    assert mixed["deal_id"].is_sorted()
