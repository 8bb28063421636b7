"""What wants to be said of how things stand: the win rate, who differs, what is at risk, what will come.

Levels are told of the past year. Whether segments or reps differ is a comparison like any other and has its
p; what is counted of the open deals claims nothing and has none.
"""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from dealwatch.insights.actions import NO_SELLER
from dealwatch.insights.findings import WORDS, claim, said
from dealwatch.insights.forecast import Quarter
from dealwatch.insights.health import STEP_WITHIN_DAYS, foreign, target_of
from dealwatch.insights.lint import Claim
from dealwatch.insights.looked import Looked
from dealwatch.insights.measure import Measure, measures_of
from dealwatch.insights.rates import WIN_RATE
from dealwatch.insights.segments import AMOUNT_BAND, UNKNOWN
from dealwatch.insights.wording import called, counted, listed, money, month_name

_RISKS = (
    ("no_next_step", "no_next_step", "have no next step from today on"),
    ("stalled", "stalled", "stay in their stage for longer than 80% of those that moved on did"),
    ("overdue", "overdue", "have a close date that has passed"),
)
LEAST_RISK = 0.05  # of the open money, before it is worth a sentence


def standing(looked: Looked) -> list[Claim]:
    """Every claim about levels, risks and what will come."""
    levels = [_win_rate(looked), *_differing(looked), _weak_rep(looked), _seasons(looked)]
    return [*levels, *_at_risk(looked), *_to_come(looked)]


def _win_rate(looked: Looked) -> Claim:
    now, before = looked.rates["window"], looked.rates["before"]
    sentence = f"In the {looked.times.window.name}, {said(now)} of the deals that closed were won"
    measures: tuple[Measure, ...] = (now,)
    if before.is_known and not looked.bent["before"]:  # side by side they would be compared
        sentence += f"; in as many before, {said(before)}"
        measures = (now, before)
    return claim("win_rate", "", f"{sentence}.", measures, "win_rate")


def nothing_moved(looked: Looked, compared: int) -> Claim:
    """That no claim of a change was left, and of how many; itself a claim that needs its interval."""
    change = looked.by_count[0].change
    sentence = (
        f"Nothing moved more than chance explains: of {compared} comparisons none stands out, and the "
        f"win rate's change is {said(change)}."
    )
    return claim("nothing_moved", "", sentence, (change,), "win_rate", against=looked.bent["before"])


def _differing(looked: Looked) -> Iterator[Claim]:
    """For each dimension, that its segments' win rates differ over the year."""
    for by, test in looked.differ.items():
        rows = looked.segments.filter(
            pl.col("by") == by, pl.col("name") == WIN_RATE, pl.col("segment") != UNKNOWN
        )
        told = sorted(
            zip(rows["segment"].to_list(), measures_of(rows), strict=True), key=lambda one: one[1].value or 0
        )
        told = [one for one in told if one[1].n >= 30]
        if test is None or len(told) < 2:
            continue
        (low, weakest), (high, strongest) = told[0], told[-1]
        rate = looked.rates["year"].value or 0.0
        # What the weakest costs the whole, had it been as good as everyone.
        cost = 100 * (rate - (weakest.value or 0.0)) * weakest.n / max(looked.rates["year"].n, 1)
        kind = " deals" if by == AMOUNT_BAND else ""  # which have no names of their own
        sentence = (
            f"Win rates differ by {WORDS[by]}: over the past year {called(low)}{kind} won {said(weakest)}, "
            f"{called(high)}{kind} {said(strongest)}."
        )
        measures = (weakest, strongest)
        yield claim(
            "segments_differ", by, sentence, measures, "drivers", importance=cost, p=test.p, explains=(by,)
        )


def _weak_rep(looked: Looked) -> Claim:
    """That one rep wins less than the deals given would have anybody win; for managers."""
    reps = looked.reps
    known = [one for one in reps.reps if one.index.is_known]
    if not known:
        why = reps.reps[0].index.why if reps.reps else reps.variance.why
        none = Measure.null("rei", why, n=reps.variance.n, kind="index")
        sentence = "Some reps win less than others of the same deals."
        return claim("weak_rep", "", sentence, (none,), "reps", p=reps.p, audience="managers")
    weakest = min(known, key=lambda one: one.index.value or 0.0)
    expected = weakest.expected or 0.0
    sentence = (
        f"{weakest.owner_id} won {weakest.won} deal{'' if weakest.won == 1 else 's'} where {expected:.0f} "
        f"were to be expected of the deals given: {said(weakest.index)}, drawn towards the 100 that anybody "
        "wins."
    )
    if not weakest.won:
        sentence += " Who wins none of so many may be a queue or a step of the process, and no seller."
    cost = 100 * (expected - weakest.won) / max(looked.rates["year"].n, 1)
    is_below = weakest.index.high is not None and weakest.index.high < 100
    told = claim(
        "weak_rep",
        weakest.owner_id,
        sentence,
        (weakest.index,),
        "reps",
        importance=cost,
        p=reps.p,
        audience="managers",
        against="" if is_below else "no single rep's interval lies below what was to be expected",
    )
    return told if weakest.won else replace(told, finding=replace(told.finding, action=NO_SELLER))


def _seasons(looked: Looked) -> Claim:
    """That some months of the year win more than others; it takes two whole years."""
    told = looked.seasons
    if not told.months:
        none = Measure.null("season_points", told.why, kind="points")
        return claim("seasons", "", "Some months of the year win more than others.", (none,), "seasons")
    ranked = sorted(told.months, key=lambda one: (one.points.value or 0.0, one.month))
    low, high = ranked[0], ranked[-1]
    sentence = (
        f"Months of the same year differ: over {told.years} years {month_name(high.month)} won "
        f"{said(high.points)} against its year, {month_name(low.month)} {said(low.points)}."
    )
    size = max(abs(one.points.value or 0.0) for one in (low, high))
    measures = (high.points, low.points)
    return claim("seasons", "", sentence, measures, "seasons", importance=size, p=told.p)


def _at_risk(looked: Looked) -> Iterator[Claim]:
    """What is counted of close dates and of the open deals."""
    currency = looked.currency
    slips = looked.slips
    sentence = (
        f"{said(slips.slipped_money, currency)} slipped in the {looked.times.window.name}: "
        f"{said(slips.slip_rate)} of the deals that were due."
    )
    yield claim("slipped", "", sentence, (slips.slipped_money, slips.slip_rate), "slips")
    for kind, name, words in _RISKS:
        share: Measure = getattr(looked.health, name)
        if kind == "stalled" and looked.health.no_next_step.is_known:  # else the source tells none
            words += f", with no next step within {STEP_WITHIN_DAYS} days"
        sentence = f"Of the money in {counted(share, 'open deals')}, {_part(share)} is in deals that {words}."
        small = share.value is not None and share.value < LEAST_RISK
        against = f"less than {LEAST_RISK:.0%} of the open money" if small else ""
        size = share.value or 0.0
        yield claim(kind, "", sentence, (share,), "pipeline", importance=size, against=against)
    spread = looked.concentration
    few, one = spread.effective_deals, spread.expected_top_1
    sentence = (
        f"Few deals decide the forecast: the largest carries {said(one)} of the expected money, and all "
    )
    sentence += f"open deals weigh as much as {said(few)} equal ones."
    against = "" if spread.is_risky or not few.is_known else _no_concentration(few)
    yield claim("concentration", "", sentence, (one, few), "concentration", importance=0.5, against=against)


def _part(share: Measure) -> str:
    """A share that is counted of deals that the sentence has named."""
    return said(share).replace(f" ({counted(share)})", "")


def _no_concentration(few: Measure) -> str:
    return f"{few.n:,} deals weigh as much as {few.value:,.0f} equal ones: no few decide"


def _to_come(looked: Looked) -> Iterator[Claim]:
    currency, told = looked.currency, looked.forecast
    value, bias = told.rapv.value, told.records[told.published].bias
    sentence = f"What is open is worth {said(value, currency)} by its chances"
    measures: tuple[Measure, ...] = (value,)
    if bias.is_known:
        sentence += f"; over past months this way of telling was off by {said(bias)}"
        measures = (value, bias)
    yield claim("forecast", told.published, f"{sentence}.", measures, "forecast")
    for quarter in (told.this_quarter, told.next_quarter):
        parts = [
            ("won so far", quarter.won),
            ("from open deals", quarter.of_open),
            ("from deals yet to begin", quarter.of_new),
        ]
        known = [f"{said(one, currency)} {words}" for words, one in parts if one.is_known and one.n]
        sentence = f"{quarter.window.name} is expected to bring {said(quarter.total, currency)}"
        sentence += f", {listed(known)}" if known else ""
        shown = [one for _, one in parts if one.is_known and one.n]
        total = quarter.total
        empty = "no deal is open, and none began in the past 90 days" if total.low == total.high else ""
        name = quarter.window.name
        towards, covers = _towards(quarter, looked)
        measures = (total, *shown, *covers)
        sentence += f"{towards}."
        yield claim("quarter", name, sentence, measures, "forecast", against=total.why or empty)


def _towards(quarter: Quarter, looked: Looked) -> tuple[str, tuple[Measure, ...]]:
    """How far it is to the quarter's target, and how often the open deals of this one would make that up."""
    target, won = target_of(quarter, looked.known), quarter.won.value
    if target is None or won is None or foreign(looked.known):
        return "", ()
    aim = f"; the target is {money(target, looked.currency)}"
    coverage = looked.health.coverage
    if won >= target:
        return f"{aim}, which is reached", ()
    if quarter is not looked.forecast.this_quarter or not coverage.is_known or coverage.low == coverage.high:
        return aim, ()
    missing = money(target - won, looked.currency)
    return (
        f"{aim}: {missing} are missing, and open deals are expected to bring {said(coverage)} times that",
        (coverage,),
    )
