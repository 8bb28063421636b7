"""The model card: its verdict first, nothing guessed, and no outside word that does anything."""

import re
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from markdown_it import MarkdownIt

from dealwatch.alerts.renewal.model_card import alert_changes
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.scoring.bands import band, recut
from dealwatch.scoring.card import Dossier, card
from dealwatch.scoring.card_picture import picture
from dealwatch.scoring.markdown import LONGEST, escaped
from dealwatch.settings import Settings
from test_signals import facts

SETTINGS = Settings()
MORNING = datetime(2026, 3, 2, 5, tzinfo=UTC)
HOSTILE = (
    "<img src=x onerror=alert(1)> | [click](https://evil.example) `x` **b** www.evil.example a@b.example"
    " \n# head\u202e"
)


def measures(**more: Any) -> dict[str, Any]:
    return {
        **{"rows": 900, "deals": 300, "won": 160, "lost": 140, "n_won": 400, "n_lost": 380, "n_deals": 780},
        **{
            "auc": 0.71,
            "auc_low": 0.66,
            "auc_high": 0.76,
            "slope": 0.98,
            "slope_low": 0.8,
            "slope_high": 1.2,
        },
        "reliability": [bin_of(0.2, 0.25), bin_of(0.6, 0.55)],
        **more,
    }


def bin_of(p: float, rate: float) -> dict[str, Any]:
    return {
        "low": p,
        "high": p,
        "n": 450,
        "p": p,
        "rate": rate,
        "rate_low": rate - 0.05,
        "rate_high": rate + 0.05,
    }


def deals(*rows: tuple[str, str, float | None, int, int]) -> pl.DataFrame:
    """Name, currency, amount and the two scores; bands as the settings cut them."""
    names = ["name", "currency", "amount", "score_before", "score_after"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        deal_id=pl.Series([str(n) for n in range(len(rows))]),
        band_before=pl.Series([band(row[3], SETTINGS.scoring.bands) for row in rows]),
        band_after=pl.Series([band(row[4], SETTINGS.scoring.bands) for row in rows]),
    )


NO_ALERTS = pl.DataFrame(schema={"deal_id": pl.String, "title": pl.String, "change": pl.String})


def test_the_verdict_comes_first_and_sections_follow_in_order() -> None:
    dossier = Dossier(
        "v2",
        MORNING,
        "It may serve: it is better.",
        measures(),
        champion="v1",
        ours=measures(auc=0.72),
        theirs=measures(auc=0.70),
        difference={"auc": 0.02, "auc_low": 0.01, "auc_high": 0.03},
        since=datetime(2026, 1, 1, 5, tzinfo=UTC),
        deals=deals(("Acme", "EUR", 100.0, 20, 80)),
        alerts=NO_ALERTS,
    )
    text = card(dossier, settings=SETTINGS)
    assert text.startswith("# Model v2\n\n**It may serve: it is better.**\n\n## Data")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "Data",
        "Quality",
        "Beside the champion v1",
        "Do the probabilities mean what they say?",
        "Bands tomorrow",
        "Alerts tomorrow",
        "Where to cut the bands",
    ]
    assert "| AUC | 0.720 (0.660 to 0.760) | 0.700 (0.660 to 0.760) | +0.020 (+0.010 to +0.030) |" in text
    assert "| 1 | 20% | 25% (20% to 30%) | 450 | 20% | 25% (20% to 30%) | 450 |" in text
    assert "| Acme | EUR 100 | Low → Critical | 20 → 80 |" in text


@pytest.mark.parametrize("metrics", [{}, {"n_deals": 3, "n_won": 1, "n_lost": 2, "n_rows": 9}, {"auc": None}])
def test_what_was_not_measured_is_left_out(metrics: dict[str, Any]) -> None:
    text = card(Dossier("v1", MORNING, "Refused by the gate: too little.", metrics), settings=SETTINGS)
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Data"]
    assert "None" not in text and "nan" not in text


def test_every_other_measure_has_its_place() -> None:
    found = measures(
        by_stage=[{"name": "Proposal", "n": 90, "deals": 30, "auc": 0.7, "brier_skill": 0.1}],
        by_amount=[{"name": "to 10,000", "n": 90, "deals": 30, "auc": 0.6, "brier_skill": 0.05, "slope": 1}],
        horizons=[{"days": 30, "n": 500, "auc": 0.75}],
        rivals=[
            {
                "name": "logistic regression",
                "auc": 0.69,
                "auc_difference": 0.02,
                "auc_difference_low": 0.0,
                "auc_difference_high": 0.04,
            }
        ],
    )
    ahead = {"deals": 90, "auc": -0.02, "auc_low": -0.03, "auc_high": -0.01, "better": "p_loss"}
    unclear = {"name": "Proposal", "deals": 50, "auc": 0.01, "better": "no difference"}
    dossier = Dossier("v1", MORNING, "It may serve.", found, ranks_better=[{"name": "", **ahead}, unclear])
    text = card(dossier, settings=SETTINGS)
    for line in (
        "| Proposal | 30 | 0.70 | 0.10 | – |",
        "| to 10,000 | 30 | 0.60 | 0.05 | 1.00 |",
        "| 30 days | 500 | 0.75 | – | – |",
        "| logistic regression | 0.690 | – | +0.020 (+0.000 to +0.040) | – |",
        "| all | 90 | -0.020 (-0.030 to -0.010) | `p_loss` alone |",
        "| Proposal | 50 | +0.010 | neither, beyond doubt |",
    ):
        assert line in text, line


@pytest.mark.parametrize(
    "name", [HOSTILE, "", "x" * 300, "{{ 7 * 7 }}", "~~a~~ _b_ 1. c", "&lt;b&gt;", "\\`x\\`"]
)
def test_a_name_from_the_crm_is_shown_and_does_nothing(name: str) -> None:
    shown = deals((name, "EUR", 100.0, 20, 80), ("Acme", name, None, 30, 60))
    alerts = pl.DataFrame({"deal_id": ["0"], "title": ["Critical risk"], "change": ["appears"]})
    text = card(Dossier("v1", MORNING, "It may serve.", {}, deals=shown, alerts=alerts), settings=SETTINGS)
    harmless = card(
        Dossier(
            "v1",
            MORNING,
            "It may serve.",
            {},
            deals=deals(("A", "EUR", 100.0, 20, 80), ("B", "EUR", None, 30, 60)),
            alerts=alerts,
        ),
        settings=SETTINGS,
    )
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    assert kinds(reader, text) == kinds(reader, harmless)
    read = "".join(child.content for token in reader.parse(text) for child in token.children or ())
    assert not re.search(r"https?:|www\.|@\w|\u202e", read), "readers make links of bare addresses"


def kinds(reader: MarkdownIt, text: str) -> list[str]:
    """Every piece of the page, but for its words."""
    return [
        kind
        for token in reader.parse(text)
        for kind in [token.type, *[child.type for child in token.children or () if child.type != "text"]]
    ]


def test_a_long_name_is_cut_with_a_mark() -> None:
    assert escaped("x" * 300) == "x" * (LONGEST - 1) + "…"


def test_the_largest_deals_that_change_band_are_named_and_all_are_counted() -> None:
    many = deals(
        *[(f"deal {n}", "EUR", float(n), 20, 30) for n in range(1, 13)], ("same", "EUR", 99.0, 20, 21)
    )
    text = card(Dossier("v1", MORNING, "It may serve.", {}, deals=many, alerts=NO_ALERTS), settings=SETTINGS)
    assert "12 of 13 deals open on 2026-03-02 would change band, compared with rules alone." in text
    assert "| deal 12 | EUR 12 | Low → Medium | 20 → 30 |" in text
    assert "deal 2 |" not in text and "same" not in text
    assert "and 2 more." in text
    assert "| Low | 1 | 12 | 0 | 0 |" in text
    assert "No alert would appear or vanish." in text


def test_bands_are_cut_anew_when_one_holds_most_deals() -> None:
    crowded = deals(*[(f"d{n}", "EUR", 1.0, 10, n // 5) for n in range(100)])
    text = card(
        Dossier("v1", MORNING, "It may serve.", {}, deals=crowded, alerts=NO_ALERTS), settings=SETTINGS
    )
    assert "Low holds most of them and tells little. `scoring.bands = [7, 13, 17]` would give" in text
    assert "Low 40%, Medium 30%, High 20%, Critical 10%." in text


def test_bands_without_a_critical_deal_are_cut_anew() -> None:
    spread = deals(*[(f"d{n}", "EUR", 1.0, 10, 10 + n // 2) for n in range(100)])
    text = card(
        Dossier("v1", MORNING, "It may serve.", {}, deals=spread, alerts=NO_ALERTS), settings=SETTINGS
    )
    assert "Critical stays empty. `scoring.bands = " in text


def test_scores_too_much_alike_are_not_cut() -> None:
    assert recut([20] * 50) is None
    assert recut([10, 30, 50, 70, 90] * 20) is not None


def test_alerts_that_another_model_brings_and_takes_away() -> None:
    rules = load_rules(SETTINGS.alerts.rules)
    changes = pl.DataFrame(
        {
            "deal_id": ["a", "b", "c", "d"],
            "score_before": [50, 80, 80, 80],
            "score_after": [90, 70, 40, 90],  # b falls into the margin that keeps an alert open
            "p_loss_before": [None] * 4,
            "p_loss_after": [0.9, 0.7, 0.4, 0.9],
        },
        schema_overrides={"p_loss_before": pl.Float64},
    ).with_columns(
        *(
            pl.when(pl.col(f"score_{w}") > 75)
            .then(pl.lit("Critical"))
            .otherwise(pl.lit("High"))
            .alias(f"band_{w}")
            for w in ("before", "after")
        )
    )
    assert alert_changes(rules, facts(), changes).rows() == [
        ("a", "Critical risk", "appears"),
        ("c", "Critical risk", "vanishes"),
    ]


def test_the_picture_is_the_same_to_the_byte() -> None:
    bins = [bin_of(0.2, 0.25), bin_of(0.6, 0.55)]
    first = picture("v2", bins, bins, champion="v1")
    assert first.startswith(b"\x89PNG")
    assert picture("v2", bins, bins, champion="v1") == first
