"""The champion is watched: quiet while the company stays itself, and heard two weeks after it changes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
import pytest
from sqlalchemy import Engine, select

from dealwatch import jobs
from dealwatch.alerts.morning import score_mornings
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.knobs import Scoring, Source
from dealwatch.moments import morning_of
from dealwatch.scoring.drift import Health, health, keep, recent_morning, reference_mornings, watch
from dealwatch.scoring.registry import Model, champion_at
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deal_snapshots, model_health
from dealwatch.warehouse import connect, frame, instant, reading
from ledger_rows import deal, ledger

UNTIL = date(2026, 11, 1)
TRAINED_ON = date(2025, 12, 1)
SCORED_WEEKS = 24
CHANGED_AT = datetime(2026, 1, 5, tzinfo=UTC)
AS_OF = datetime(2026, 5, 3, 6, tzinfo=UTC)


@dataclass(frozen=True)
class Company:
    settings: Settings
    ledger: Ledger
    model: Model
    scored: pl.DataFrame

    def week(self, number: int, ledger: Ledger | None = None) -> list[Health]:
        """What is measured so many weeks after the training."""
        as_of = morning_of(TRAINED_ON + timedelta(weeks=number), self.settings)
        return health(ledger or self.ledger, self.model, self.scored, as_of, settings=self.settings)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    """A company of 700 days whose model was trained once and scored a morning a week from then on."""
    home = tmp_path_factory.mktemp("company")
    knobs = Scoring(trees=30, train_minimum=20, alert_minimum=50, auto_approve=True)
    settings = Settings(home=home, sources={"crm": Source(path=home / "drop")}, scoring=knobs)
    jobs.simulate("planted", home / "drop", deals=2400, days=700, seed=3, until=UNTIL)
    jobs.upgrade(settings)
    jobs.extract(settings, now=datetime(2026, 11, 1, 5, tzinfo=UTC))
    jobs.train(settings, as_of=morning_of(TRAINED_ON, settings))
    first = TRAINED_ON + timedelta(days=6)
    moments = [morning_of(first + timedelta(weeks=n), settings) for n in range(SCORED_WEEKS)]
    engine = connect(settings)
    score_mornings(engine, moments, rules=load_rules(settings.alerts.rules), settings=settings)
    scores, snapshots = deal_scores.c, deal_snapshots.c
    with reading(engine) as connection:
        ledger = read_ledger(connection)
        model, why = champion_at(connection, settings, moments[0])
        given = frame(
            connection,
            select(scores.as_of, scores.deal_id, scores.score, scores.p_loss, scores.model_version),
        )
        stages = frame(connection, select(snapshots.as_of, snapshots.deal_id, snapshots.stage))
    engine.dispose()
    assert model is not None, why
    return Company(settings, ledger, model, given.join(stages, on=["as_of", "deal_id"]))


def changed(ledger: Ledger, field: str, to: str, *, one_in: int) -> Ledger:
    """The ledger with another value of a field, from CHANGED_AT on, for all but one in so many deals."""
    meant = pl.col("deal_id").str.extract(r"(\d+)").cast(pl.Int64) % one_in > 0
    later = (pl.col("field") == field) & (pl.col("happened_at") >= instant(CHANGED_AT))
    hit = later & meant & pl.col("new_value").is_not_null()
    return Ledger(
        ledger.changes.with_columns(new_value=pl.when(hit).then(pl.lit(to)).otherwise("new_value")),
        ledger.activities,
    )


def one(rows: list[Health], kind: str, subject: str) -> Health:
    (found,) = [row for row in rows if (row.kind, row.subject) == (kind, subject) and row.model_version]
    return found


def first_two(rows: Callable[[int], Health]) -> tuple[int, int]:
    """The first week that is beyond chance, and the first that is a finding."""
    weeks = range(2, SCORED_WEEKS)
    beyond = next(n for n in weeks if (rows(n).q or 1.0) <= 0.01)
    return beyond, next(n for n in weeks if rows(n).is_finding)


@pytest.mark.slow
def test_a_company_that_stays_itself_is_left_in_peace(company: Company) -> None:
    for number in range(2, SCORED_WEEKS, 3):
        last = company.week(number)[-1]
        assert (last.kind, last.is_finding) == ("proposal", False), last.sentence
        assert last.n > 30, "nothing was judged"
    judged = [row for row in company.week(SCORED_WEEKS) if row.kind == "auc" and row.q is not None]
    assert judged, "no outcome was judged"


@pytest.mark.slow
def test_another_mix_of_lead_sources_is_found_in_the_second_week_not_the_first(company: Company) -> None:
    shifted = changed(company.ledger, "lead_source", "Partner", one_in=4)
    week = cache(lambda n: company.week(n, shifted))
    beyond, found = first_two(lambda n: one(week(n), "fact", "lead_source"))
    assert found == beyond + 1
    assert "not yet two in a row" in one(week(beyond), "fact", "lead_source").sentence
    assert "has moved, two weeks in a row" in one(week(found), "fact", "lead_source").sentence
    assert "lead_source" in week(found)[-1].sentence
    assert one(company.week(found), "fact", "lead_source").q > 0.01  # the company itself did not move


@pytest.mark.slow
def test_deals_that_end_otherwise_than_promised_propose_a_retrain(company: Company) -> None:
    losing = changed(company.ledger, "outcome", "lost", one_in=4)
    rows = company.week(SCORED_WEEKS, losing)
    found = [row for row in rows if row.is_finding and row.kind in ("bias", "brier_skill", "auc", "slope")]
    assert found and found[0].expected is not None
    assert "worse than chance explains, two weeks in a row" in found[0].sentence
    assert rows[-1].is_finding
    assert rows[-1].sentence.startswith(f"Retrain: {found[0].sentence}")
    assert one(rows, "bias", "overall").value > 0.2


@pytest.mark.slow
def test_what_is_known_later_changes_no_earlier_week(company: Company) -> None:
    as_of = morning_of(TRAINED_ON + timedelta(weeks=18), company.settings)
    by_then = company.ledger.known_at(as_of), company.scored.filter(pl.col("as_of") <= instant(as_of))
    cut = health(by_then[0], company.model, by_then[1], as_of, settings=company.settings)
    assert len([row for row in cut if row.kind == "auc"]) >= 2, "nothing came true yet"
    assert company.week(18) == cut


@pytest.mark.slow
def test_a_week_is_measured_from_the_warehouse_and_measured_again_alike(company: Company) -> None:
    engine = connect(company.settings)
    as_of = morning_of(TRAINED_ON + timedelta(weeks=18), company.settings)
    rows = watch(engine, as_of, settings=company.settings)
    with reading(engine) as connection:
        before = frame(connection, select(model_health))
    assert watch(engine, as_of, settings=company.settings) == rows
    with reading(engine) as connection:
        assert frame(connection, select(model_health)).equals(before)
    assert before.height == len(rows) > 40
    told = jobs.drift(company.settings, as_of=as_of)
    assert (told["measured"], told["proposal"]) == (len(rows), rows[-1].sentence)
    engine.dispose()


@pytest.mark.slow
def test_a_model_of_this_week_has_nothing_to_be_judged_by(company: Company) -> None:
    (last,) = [row for row in company.week(0) if row.model_version]
    assert (last.kind, last.n, last.is_finding) == ("proposal", 0, False)


def test_without_a_champion_there_is_nothing_to_watch(settings: Settings, engine: Engine) -> None:
    told = jobs.drift(settings, as_of=AS_OF)
    assert (told["measured"], told["findings"]) == (0, 0)
    assert "no champion" in told["proposal"]


def test_the_week_s_rows_are_written_anew_on_either_dialect(either_engine: Engine) -> None:
    row = Health("v", "auc", "overall", 0.7, 0.6, 0.8, 90, 0.75, 0.65, 0.2, False, "AUC came out at 0.700.")
    gone = replace(row, subject="Propose")
    keep(either_engine, AS_OF, [row, gone])
    keep(either_engine, AS_OF + timedelta(days=7), [row])
    keep(either_engine, AS_OF, [replace(row, low=None, is_finding=True)])
    with reading(either_engine) as connection:
        found = frame(connection, select(model_health)).sort("measured_as_of")
    assert found["subject"].to_list() == ["overall", "overall"]
    assert found["low"].to_list() == [None, 0.6]
    assert found["is_finding"].to_list() == [True, False]


@pytest.mark.parametrize(("history", "mornings"), [(0, 0), (60, 3), (120, 5), (300, 11), (700, 13)])
@pytest.mark.parametrize("panel", [{}, {"panel_every_days": 5}, {"panel_months": 2}])
def test_the_reference_is_four_weeks_apart_on_one_weekday_however_the_panel_was_sampled(
    history: int, mornings: int, panel: dict[str, int]
) -> None:
    settings = Settings(time_zone="Europe/Berlin", scoring=Scoring(**panel))
    trained = morning_of(date(2026, 4, 10), settings)  # across a change of clocks
    began = trained - timedelta(days=history)
    model = Model("v", trained, None, {})  # type: ignore[arg-type]
    found = reference_mornings(
        ledger({"d": deal(f"{began:%Y-%m-%d %H:%M}")} if history else {}), model, settings=settings
    )
    days = [date(2026, 4, 9) - n * timedelta(days=28) for n in reversed(range(mornings))]
    assert found == [morning_of(day, settings) for day in days]


def test_the_same_weekday_is_compared_across_a_change_of_clocks() -> None:
    settings = Settings(time_zone="Europe/Berlin")
    reference = [morning_of(date(2026, 3, 8), settings)]
    for day, expected in (
        (date(2026, 3, 28), date(2026, 3, 22)),
        (date(2026, 3, 29), date(2026, 3, 29)),
        (date(2026, 4, 4), date(2026, 3, 29)),
    ):
        assert recent_morning(reference, morning_of(day, settings), settings=settings) == morning_of(
            expected, settings
        )
    a_minute_early = morning_of(date(2026, 3, 29), settings) - timedelta(minutes=1)
    assert recent_morning(reference, a_minute_early, settings=settings) == morning_of(
        date(2026, 3, 22), settings
    )
    assert recent_morning(reference, reference[0], settings=settings) is None
