"""The training panel knows what a past morning knew, labelled with what the training moment knows."""

from datetime import timedelta

import polars as pl
from pytest import MonkeyPatch

from dealwatch.history.ledger import Ledger
from dealwatch.knobs import Scoring
from dealwatch.scoring.panel import known_by, outcomes_at, panel_moments, training_panel
from dealwatch.settings import Settings
from ledger_rows import at, deal, ledger

UTC_SETTINGS = Settings(time_zone="UTC")
AS_OF = at("2026-03-02 03:00")


def three_deals() -> Ledger:
    return ledger(
        {
            "gone": deal(
                "2026-01-01 09:00",
                stage="A",
                outcome=[("2026-01-20", "lost")],
                deleted=[("2026-01-25", "true")],
            ),
            "lost": deal("2026-01-01 09:00", stage="A", outcome=[("2026-01-20", "lost")]),
            "open": deal("2026-01-01 09:00", stage="A"),
            "won": deal("2026-01-10 09:00", stage="A", outcome=[("2026-02-10", "won")]),
        }
    )


def test_only_closed_deals_that_still_exist_are_in_the_panel() -> None:
    panel = training_panel(three_deals(), AS_OF, settings=UTC_SETTINGS)
    assert set(panel["deal_id"]) == {"lost", "won"}
    assert panel.filter(pl.col("deal_id") == "lost")["lost"].unique().to_list() == [1]
    assert panel.filter(pl.col("deal_id") == "won")["lost"].unique().to_list() == [0]


def test_every_deal_weighs_one_however_many_mornings_saw_it() -> None:
    panel = training_panel(three_deals(), AS_OF, settings=UTC_SETTINGS)
    sums = panel.group_by("deal_id").agg(pl.col("weight").sum().round(12), pl.len()).sort("deal_id")
    assert sums["weight"].to_list() == [1.0, 1.0]
    assert sums["len"].to_list() == [18, 30]


def test_the_mornings_are_a_week_apart_and_before_the_training_moment(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("dealwatch.scoring.panel.PANEL_MORNINGS", 8)
    moments = panel_moments(three_deals(), AS_OF, settings=UTC_SETTINGS)
    assert moments[-1] == at("2026-03-01 06:00")
    assert {later - earlier for earlier, later in zip(moments, moments[1:], strict=False)} == {
        timedelta(days=7)
    }
    assert moments[0] >= at("2026-01-01 09:00")


def test_the_panel_reaches_back_as_far_as_the_setting_says() -> None:
    settings = Settings(time_zone="UTC", scoring=Scoring(panel_months=1))
    assert panel_moments(three_deals(), AS_OF, settings=settings)[0] == at("2026-01-31 06:00")


def test_a_short_history_is_looked_at_more_often() -> None:
    moments = panel_moments(three_deals(), AS_OF, settings=UTC_SETTINGS)
    assert len(moments) == 59 and moments[1] - moments[0] == timedelta(days=1)


def test_an_empty_ledger_gives_an_empty_panel() -> None:
    empty = three_deals().known_at(at("2020-01-01"))
    assert training_panel(empty, AS_OF, settings=UTC_SETTINGS).is_empty()


def test_a_later_outcome_is_not_known_yet() -> None:
    panel = training_panel(three_deals(), at("2026-02-01"), settings=UTC_SETTINGS)
    assert panel["deal_id"].unique().to_list() == ["lost"]


def test_a_panel_rebuilt_after_later_data_came_is_the_same() -> None:
    whole = three_deals()
    then = training_panel(whole.known_at(at("2026-02-01")), at("2026-02-01"), settings=UTC_SETTINGS)
    assert training_panel(whole, at("2026-02-01"), settings=UTC_SETTINGS).equals(then)


def test_a_deal_that_had_closed_unnoticed_is_no_example_of_an_open_one() -> None:
    closed = [("2026-01-20", "lost")]
    found_late = ledger({"d": deal("2026-01-01", outcome=closed)}, known_later=timedelta(days=20))
    mornings = training_panel(found_late, AS_OF, settings=UTC_SETTINGS)["as_of"]
    assert mornings.is_empty() or mornings.max() < at("2026-01-20")
    noticed = training_panel(found_late, at("2026-02-10 03:00"), settings=UTC_SETTINGS)
    assert noticed.is_empty()


def test_the_latest_outcome_counts_when_a_deal_was_opened_again() -> None:
    again = ledger(
        {
            "d": deal(
                "2026-01-01", outcome=[("2026-01-10", "lost"), ("2026-01-12", None), ("2026-02-01", "won")]
            )
        }
    )
    assert outcomes_at(again, AS_OF)["lost"].to_list() == [0]
    assert outcomes_at(again, at("2026-01-15")).is_empty()


def rows(*spans: tuple[str, int, int]) -> pl.DataFrame:
    """Panel rows by deal, morning and day of closing, as days of January 2026."""
    day = {name: at("2026-01-01") + timedelta(days=name - 1) for name in range(1, 60)}
    return pl.DataFrame(
        {
            "deal_id": [name for name, _, _ in spans],
            "as_of": [day[morning] for _, morning, _ in spans],
            "closed_at": [day[closed] for _, _, closed in spans],
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("as_of", "closed_at")},
    ).with_columns(outcome_known_at=pl.col("closed_at"), weight=0.5)


def test_training_at_a_moment_knows_no_outcome_of_later() -> None:
    panel = rows(("early", 1, 3), ("late", 1, 20), ("early", 2, 3))
    known = known_by(panel, at("2026-01-10"))
    assert known["deal_id"].to_list() == ["early", "early"]
    assert known["weight"].to_list() == [0.5, 0.5]


def test_mornings_too_recent_for_most_outcomes_to_have_come_are_left_out() -> None:
    slow = [(f"slow{n}", n, n + 10) for n in range(1, 9)]
    panel = rows(*slow, ("quick", 18, 19))
    known = known_by(panel, at("2026-01-20"))
    assert "quick" not in known["deal_id"].to_list()
    assert known.height == 8


def test_nothing_known_leaves_nothing() -> None:
    assert known_by(rows(("d", 5, 9)), at("2026-01-02")).is_empty()
