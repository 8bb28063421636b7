"""The open pipeline: its health card, what it hangs on, and what became of its close dates."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealwatch.insights.composing import compose
from dealwatch.insights.concentration import concentration, of_open
from dealwatch.insights.forecast import forecast
from dealwatch.insights.health import Health, health
from dealwatch.insights.known import Known
from dealwatch.insights.slips import Slips, slips
from dealwatch.insights.windows import quarter_of
from dealwatch.insights.wording import shown
from dealwatch.knobs import Review as ReviewKnobs
from dealwatch.settings import Settings
from ledger_rows import Steps, at
from review_rows import UTC_SETTINGS, Life, begun, ended, known_at

NONE = float("nan")


def test_shares_of_few_deals_are_worked_out_by_hand() -> None:
    found = concentration(np.array([50.0, 30, 10, 5, 5]), np.array([0.5, 0.1, 1.0, 0.5, NONE]))
    assert found.top_fifth.value == 0.5
    assert found.hhi.value == pytest.approx(0.25 + 0.09 + 0.01 + 2 * 0.0025)
    assert found.effective_deals.value == pytest.approx(1 / 0.355)
    assert [one.value for one in found.largest] == pytest.approx([0.5, 0.9, 1.0])
    assert found.expected_top_1.value == pytest.approx(25 / (25 + 3 + 10 + 2.5))
    assert found.variance_top_5.value == 1.0 and found.variance_top_5.n == 4
    assert found.is_risky and found.hhi.low == found.hhi.high == found.hhi.value


def test_many_equal_deals_are_no_risk() -> None:
    found = concentration(np.full(100, 7.0), np.full(100, 0.3))
    assert found.effective_deals.value == pytest.approx(100) and not found.is_risky
    assert found.top_fifth.value == pytest.approx(0.2)


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=40), st.floats(0.001, 1000))
def test_shares_keep_their_bounds_and_do_not_scale(amounts: list[float], scale: float) -> None:
    a, p = np.array(amounts), np.full(len(amounts), 0.5)
    found, larger = concentration(a, p), concentration(a * scale, p)
    assert 1 / len(a) - 1e-9 <= (found.hhi.value or 0) <= 1 + 1e-9
    assert (
        (found.largest[0].value or 0)
        <= (found.largest[1].value or 0)
        <= (found.largest[2].value or 0)
        <= 1 + 1e-9
    )
    assert larger.hhi.value == pytest.approx(found.hhi.value)


def test_nothing_open_is_no_concentration() -> None:
    none = np.array([])
    assert concentration(none, none).hhi.value is None
    assert concentration(np.array([NONE]), np.array([0.5])).top_fifth.why
    assert concentration(np.array([0.0]), np.array([0.5])).hhi.value is None
    certain = concentration(np.array([5.0]), np.array([1.0]))
    assert certain.variance_top_5.why == "the deals sum to nothing." and certain.expected_top_1.value == 1


def day(text: str, plus: float) -> str:
    return f"{at(text) + timedelta(days=plus):%Y-%m-%d %H:%M}"


def through_a(days: int, closed_after: int, *, won: bool) -> Life:
    """A deal that left stage A for B after so many days."""
    stages: Steps = [("2025-01-01", "A"), (day("2025-01-01", days), "B")]
    return ended("2025-01-01", day("2025-01-01", closed_after), won=won, stage=stages, amount="1")


# Stays in A that moved on took 1 to 30 days (80%: 24), wins 31 to 60 (80%: 54).
RECORD = [through_a(n, 30 + n, won=True) for n in range(1, 31) for _ in range(20)]
MOMENT = "2026-01-01 06:00"


def card(*lives: Life, target: float | None = None) -> Health:
    targets = {} if target is None else {"2026Q1": target}
    known = known_at(MOMENT, [*RECORD, *lives], settings=with_targets(targets))
    return health(known, forecast(known))


def with_targets(targets: dict[str, float]) -> Settings:
    return UTC_SETTINGS.model_copy(update={"review": ReviewKnobs(targets=targets)})


def test_a_deal_is_stalled_beyond_what_moving_on_takes_unless_a_step_is_near() -> None:
    found = card(
        begun(day(MOMENT, -27), amount="100"),
        begun(day(MOMENT, -27), amount="200", next_step_on="2026-01-15"),
        begun(day(MOMENT, -27), amount="400", next_step_on="2026-01-16"),
        begun(day(MOMENT, -23), amount="300"),
    )
    assert found.stalled.value == pytest.approx(500 / 1000)
    assert found.no_next_step.value == pytest.approx(400 / 1000)
    assert found.stalled.n == 4 and found.stalled.low == found.stalled.value == found.stalled.high


def test_a_deal_is_breached_when_older_than_most_wins() -> None:
    lives = [begun(day(MOMENT, -age), amount="100", stage="C") for age in (20, 53, 57, 300)]
    assert card(*lives).breached.value == pytest.approx(2 / 4)


def test_passed_close_dates_and_what_is_not_told() -> None:
    found = card(
        begun("2025-12-01", amount="100", close_date="2025-12-31"),
        begun("2025-12-01", amount="300", close_date="2026-01-01"),
    )
    assert found.overdue.value == pytest.approx(0.25)
    assert found.no_next_step.why == "no next step is told of any open deal."
    assert card(begun("2025-12-01", amount="1")).overdue.why == "no close date is told of any open deal."
    young = known_at(MOMENT, [begun("2025-12-01", amount="1")])
    assert health(young, forecast(young)).breached.why == "it takes 30 won deals to tell what is old."


def test_the_ratio_is_the_money_weighted_mean_chance() -> None:
    known = known_at(MOMENT, [*RECORD, begun("2025-12-01", amount="100"), begun("2025-12-31", amount="900")])
    told = forecast(known)
    found = health(known, told)
    assert found.ratio.value == pytest.approx((100 * told.chances[0] + 900 * told.chances[1]) / 1000)
    assert found.ratio.low is not None and 0 <= found.ratio.low <= (found.ratio.value or 0)


def test_coverage_needs_a_target_that_is_not_reached() -> None:
    lives = [begun("2025-12-31", amount="100") for _ in range(10)]
    assert card(*lives).coverage.why == "no target is set for 2026Q1 in review.targets."
    covered = card(*lives, target=500.0).coverage
    assert covered.value == pytest.approx(
        (forecast(known_at(MOMENT, [*RECORD, *lives])).this_quarter.of_open.value or 0) / 500
    )
    won = ended("2026-01-01", "2026-01-01 03:00", won=True, amount="600")
    assert card(*lives, won, target=500.0).coverage.why == "the target of 2026Q1 is reached."


def test_a_target_in_our_currency_covers_no_money_in_another() -> None:
    lives = [{**one, "currency": [("2025-01-01", "GBP")]} for one in RECORD]
    known = known_at(
        MOMENT,
        [*lives, begun("2025-12-31", amount="100", currency="GBP")],
        settings=with_targets({"2026Q1": 500.0}),
    )
    assert health(known, forecast(known)).coverage.why == "the target is in EUR, and deals are in GBP."


def test_the_quarters_sentence_says_how_far_it_is_to_the_target() -> None:
    lives = [begun("2025-12-31", amount="100") for _ in range(10)]
    settings = with_targets({"2026Q1": 500.0, "2026Q2": 2_000_000.0})
    known = known_at(MOMENT, [*RECORD, *lives], settings=settings)
    said, refused = quarter_sentences(known)
    covered = health(known, forecast(known)).coverage
    missing = "the target is EUR 500: EUR 500 are missing, and open deals are expected to bring"
    assert said[0].endswith(f"; {missing} {shown(covered)} times that.")
    assert said[1].endswith("; the target is EUR 2.0m.") and not refused
    reached = with_targets({"2026Q1": 1.0})
    won = ended("2026-01-01", "2026-01-01 03:00", won=True, amount="600")
    said, _ = quarter_sentences(known_at(MOMENT, [*RECORD, won, *lives], settings=reached))
    assert said[0].endswith("; the target is EUR 1, which is reached.")
    said, _ = quarter_sentences(known_at(MOMENT, [*RECORD, *lives]))
    assert "target" not in "".join(said)


def quarter_sentences(known: Known) -> tuple[list[str], list[str]]:
    """What is said of two quarters, and what of them is refused."""
    told = compose(known, "week")
    return tuple(
        [one.sentence for one in sorted(rows, key=lambda one: one.subject) if one.kind == "quarter"]
        for rows in (told.findings, told.refused)
    )  # type: ignore[return-value]


def test_currencies_are_not_mixed_into_shares() -> None:
    found = card(begun("2025-12-01", amount="1"), begun("2025-12-01", amount="1", currency="GBP"))
    assert "GBP" in found.breached.why and "GBP" in found.ratio.why
    pounds = known_at(
        MOMENT, [begun("2025-12-01", amount="1"), begun("2025-12-01", amount="1", currency="GBP")]
    )
    assert "GBP" in of_open(pounds, np.full(2, 0.5)).hhi.why


Q1 = quarter_of(at("2026-01-05").date(), UTC_SETTINGS)


def dated(*steps: tuple[str, str], closed: str | None = None, amount: str = "100") -> Life:
    """A deal begun in November with these close dates, each told on a day."""
    dates: Steps = list(steps)
    if closed:
        return ended("2025-11-01", closed, won=True, amount=amount, close_date=dates)
    return begun("2025-11-01", amount=amount, close_date=dates)


DATED = [
    dated(("2025-11-01", "2026-02-01"), closed="2026-02-03"),  # due, and it came
    dated(("2025-11-01", "2026-02-01"), ("2026-01-20", "2026-04-15"), amount="300"),  # pushed out: slipped
    dated(("2025-11-01", "2026-03-01"), ("2026-01-20", "2026-03-11"), closed="2026-03-12"),  # pushed inside
    dated(("2025-11-01", "2026-03-31"), amount="600"),  # never moved, still open
    dated(("2025-11-01", "2026-05-01"), ("2026-02-10", "2026-03-01"), closed="2026-03-02"),  # pulled in
    dated(("2025-11-01", "2026-06-01"), ("2026-01-10", "2026-07-01")),  # pushed, never due
    dated(("2025-11-01", "2025-12-01"), closed="2025-12-02"),  # before the period
    begun("2026-02-01", amount="100", close_date="2026-03-15"),  # due since it began
]


def told(moment: str) -> Slips:
    return slips(known_at(moment, DATED), Q1)


def test_a_quarter_that_is_over_tells_what_slipped() -> None:
    found = told("2026-06-01")
    assert (found.due.value, found.slipped.value) == (5, 3)
    assert found.slip_rate.value == pytest.approx(3 / 5)
    assert found.slip_rate_money.value == pytest.approx(1000 / 1200)
    assert found.due_money.value == 1200 and found.slipped_money.value == 1000
    assert (found.pushed.value, found.pushes.value, found.days_pushed.value) == (3, 3, 73 + 10 + 30)
    assert (found.pulled_in.value, found.pulled_in_money.value) == (1, 100)


def test_a_running_quarter_counts_what_has_slipped_so_far() -> None:
    found = told("2026-02-02 06:00")
    assert found.due.value == 5
    assert found.slipped.value == 2  # pushed beyond the end; and the first one's date passed yesterday
    assert found.pulled_in.value == 0


def test_moves_after_a_quarter_leave_it_as_it_was() -> None:
    later = [
        *DATED[:-1],
        begun(
            "2026-02-01",
            amount="100",
            close_date=[("2026-02-01", "2026-03-15"), ("2026-05-01", "2026-09-01")],
        ),
    ]
    assert slips(known_at("2026-06-01", later), Q1) == told("2026-06-01")


def test_without_close_dates_there_is_nothing_to_slip() -> None:
    known: Known = known_at("2026-06-01", [begun("2026-01-01", amount="1")])
    assert {one.why for one in slips(known, Q1).measures()} == {"no close date is known of any deal."}


def test_a_move_on_the_night_of_the_quarters_end_counts_by_the_organisations_day() -> None:
    berlin = UTC_SETTINGS.model_copy(update={"time_zone": "Europe/Berlin"})
    # In Berlin it is half past midnight on the first of January.
    lives = [dated(("2025-11-01", "2026-02-01"), ("2025-12-31 23:30", "2026-06-01"))]
    period = quarter_of(at("2026-01-05").date(), berlin)
    assert (
        slips(known_at("2026-06-10", lives, settings=berlin), period).pushed.value == 1
    )  # 00:30 on 1 January
    assert slips(known_at("2026-06-10", lives), Q1).pushed.value == 0


def test_amounts_of_nothing_and_less_count_nowhere_in_money() -> None:
    known = known_at(MOMENT, [*RECORD, begun("2025-12-01", amount="100")])
    worthless = [begun("2025-12-01", amount=amount) for amount in ("0", "-50")]
    more = known_at(MOMENT, [*RECORD, begun("2025-12-01", amount="100"), *worthless])
    told, again = forecast(known), forecast(more)
    assert again.rapv.value.n == told.rapv.value.n == 1
    assert health(more, again).breached == health(known, told).breached
    assert concentration(np.array([5.0, 0.0, -5.0]), np.full(3, 0.5)).top_fifth.n == 1
