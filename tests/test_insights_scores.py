"""What stored scores add to the review: the model as a variant with a record, and the forest's shares."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Connection, Engine, insert

from dealwatch.insights.forecast import forecast
from dealwatch.insights.forest_shares import forest_points
from dealwatch.insights.known import Known, known_of, scores_by
from dealwatch.insights.replay import past_origins, replayed
from dealwatch.tables import deal_scores
from dealwatch.warehouse import reading, writing
from ledger_rows import at, ledger
from review_rows import UTC_SETTINGS, ended

MOMENT = at("2026-01-10 06:00")
MONTHS = [at(f"2025-{month:02}-01 06:00") for month in range(3, 13)]


Row = dict[str, object]


def day(text: str, plus: float) -> str:
    return f"{at(text) + timedelta(days=plus):%Y-%m-%d %H:%M}"


LIVES = {
    f"d{n:05}": ended(day("2024-10-01", n / 6), day("2024-10-01", n / 6 + 20), won=n % 3 == 0, amount="100")
    for n in range(6 * 460)
}


def score(deal_id: str, as_of: datetime, p_loss: float | None, points: list[Row]) -> Row:
    method = "rules" if p_loss is None else "hybrid"
    told = {"as_of": as_of, "deal_id": deal_id, "score": 1, "band": "Low", "p_loss": p_loss, "method": method}
    return {**told, "points": points, "reasons": []}


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """Every month's open deals scored: 0.1 of a loss for those that are won, 0.9 for the others."""
    rows = []
    for month in MONTHS:
        for n, deal_id in enumerate(LIVES):
            begun = at("2024-10-01") + timedelta(days=n / 6)
            if begun <= month < begun + timedelta(days=20):
                rows.append(score(deal_id, month, 0.1 if n % 3 == 0 else 0.9, []))
    with writing(engine) as writer:
        writer.execute(insert(deal_scores), rows)
    with reading(engine) as reader:
        yield reader


def known_then(connection: Connection) -> Known:
    return known_of(ledger(LIVES), MOMENT, UTC_SETTINGS, scores=scores_by(connection, MOMENT))


def test_a_model_is_judged_by_the_months_that_it_scored(connection: Connection) -> None:
    known = known_then(connection)
    origins = past_origins(known, scores=lambda moment: scores_by(connection, moment))
    record = replayed(known, origins)["model"]
    # 0.9 of the third that is won and 0.1 of the rest, where the third came: 1.1 times as much.
    assert record.moments == 10 and record.bias.value == pytest.approx(0.1, abs=0.02)
    without = replayed(known, past_origins(known))["model"]
    assert without.bias.why == "it can be judged by 0 earlier months; it takes 3."


def test_scores_of_a_moment_are_of_the_newest_morning_by_then(connection: Connection) -> None:
    told = scores_by(connection, MONTHS[2] + timedelta(days=3))
    assert told["scored_at"].unique().to_list() == [MONTHS[2]]
    assert scores_by(connection, MONTHS[0] - timedelta(days=1)).is_empty()


def test_the_forests_points_are_means_of_sizes_over_the_deals_it_scored(engine: Engine) -> None:
    def parts(stage: int, owner: int) -> list[Row]:
        of = {
            "stage": ("group", stage),
            "owner": ("group", owner),
            "base": ("base", 30),
            "stall": ("rule", 9),
        }
        return [{"name": name, "kind": kind, "points": points} for name, (kind, points) in of.items()]

    rows = [
        score("d00001", MONTHS[0], 0.5, parts(100, 100)),  # an older morning
        score("d00001", MONTHS[1], 0.5, parts(4, 0)),
        score("d00002", MONTHS[1], 0.5, parts(-2, 1)),
        score("d00003", MONTHS[1], None, parts(50, 50)),  # by rules alone
        score("d00001", MOMENT + timedelta(days=1), 0.5, parts(100, 100)),  # later
    ]
    known = known_of(ledger(LIVES), MOMENT, UTC_SETTINGS)
    with reading(engine) as reader:
        assert forest_points(reader, known) == {}
    with writing(engine) as writer:
        writer.execute(insert(deal_scores), rows)
    with reading(engine) as reader:
        assert forest_points(reader, known) == {"owner": 0.5, "stage": 3.0}


def test_a_forecast_by_the_model_uses_its_chances(connection: Connection) -> None:
    known = known_then(connection)
    scored = known.open.with_columns(p_loss=pl.lit(0.25))
    told = forecast(known, []).variants["model"].value
    assert (
        told.n > 0 and told.value is None
    )  # the newest scores are six weeks old, and most open deals have begun since
    again = forecast(Known(**{**vars(known), "open": scored}), [])
    assert again.variants["model"].value.value == pytest.approx(0.75 * 100 * known.open.height)
