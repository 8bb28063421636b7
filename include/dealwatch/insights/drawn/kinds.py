"""Pictures of kinds of deals and of people: cohorts, what goes with winning, months of the year, reps."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from dealwatch.insights.drawn.panel import (
    Look,
    Panel,
    Row,
    Shown,
    as_percent,
    deals,
    figure,
    in_words,
    mark,
    measures,
    name_of,
    plain,
    signed,
)
from dealwatch.insights.findings import WORDS
from dealwatch.insights.lint import FEWEST
from dealwatch.insights.measure import Measure
from dealwatch.insights.review import Review
from dealwatch.insights.wording import month_name, number

MOST_REPS = 12
_CHANCE: tuple[tuple[Look, str], ...] = (("now", "beyond chance"), ("plain", "chance explains it"))
_DRIVERS = (
    "Points of the win rate against the usual kind, all else alike, in the past year; 95% interval. It goes "
    "with winning; it need not cause it."
)


def cohorts(review: Review) -> list[Shown]:
    """By quarter of creation: how long deals take, and how many are won within the same time."""
    rows = review.figures["cohorts"].filter(pl.col("deals") > 0)
    days = _cohorts(rows.filter(pl.col("name") == "cycle_mean"), 1.0)
    rates = _cohorts(rows.filter(pl.col("name") == "cohort_win_rate"), 100.0)
    note = "By quarter of creation, with 95% interval."
    found: list[Shown] = []
    if any(row.marks for row in days):
        found.append(Panel("Mean days from creation to close", days, plain, note=note, least=14))
    if any(row.marks for row in rates):
        found.append(Panel("Won within the same time", rates, as_percent, note=note, least=10))
    return found


def _cohorts(rows: pl.DataFrame, by: float) -> tuple[Row, ...]:
    return tuple(
        Row(
            row["quarter"],
            deals(row["deals"]),
            told,
            mark(one, by=by) if told == figure(one) else (),
            in_words(one),
        )
        for row, one in measures(rows)
        for told in [_told(one)]
    )


def _told(one: Measure) -> str:
    if one.n < FEWEST:
        return "too few deals"
    return "too early to tell" if one.value is None else figure(one)


def drivers(review: Review) -> list[Shown]:
    """What goes with winning, each beside the usual of its column with all others held alike."""
    told = measures(review.figures["drivers"].filter(pl.col("name") == "win_points"))
    known = [(row, one) for row, one in told if one.value is not None]
    known.sort(key=lambda pair: (not pair[0]["is_found"], -abs(pair[1].value or 0.0), pair[0]["segment"]))
    lines = tuple(_driver(row, one) for row, one in known)
    if not lines:
        return []
    title = "What goes with winning"
    return [Panel(title, lines, signed, note=_DRIVERS, reference=0.0, legend=_CHANCE).cut(10)]


def _driver(row: Mapping[str, str], one: Measure) -> Row:
    # Sizes have no names of their own: `small` says nothing by itself.
    what = " deals" if row["feature"] == "amount_band" else ""
    name, usual = name_of(row["segment"]), name_of(row["reference"])
    words = f"by {WORDS.get(row['feature'], row['feature'])}, {in_words(one)}"
    return Row(
        f"{name}{what} vs {usual}",
        deals(one.n),
        figure(one).replace(" points", ""),
        mark(one, "now" if row["is_found"] else "plain"),
        words,
    )


def seasons(review: Review) -> list[Shown]:
    """Each month of the year against the other months of the same years."""
    told = measures(review.figures["seasons"].filter(pl.col("name") == "season_points"))
    lines = tuple(
        Row(
            month_name(row["month"]),
            deals(one.n),
            figure(one).replace(" points", ""),
            mark(one, "now" if row["is_found"] else "plain"),
            in_words(one),
        )
        for row, one in told
        if one.value is not None
    )
    note = "Points of the win rate against the whole of the same years, all years together; 95% interval."
    title = "Months of the year"
    return [Panel(title, lines, signed, note=note, reference=0.0, legend=_CHANCE, least=10)] if lines else []


def reps(review: Review) -> list[Shown]:
    """For managers: each rep against what anybody would have won of the same deals, drawn towards all."""
    rows = review.figures["reps"].filter(pl.col("owner_id") != "")
    index = _known(rows, "rei")
    told = index or _known(rows, "rep_win_rate")
    if not told:
        return []
    told.sort(key=lambda pair: (pair[1].value or 0.0, pair[0]["owner_id"]))
    lines = [_rep(row, one, by=1.0 if index else 100.0) for row, one in told]
    left, half = max(len(lines) - MOST_REPS, 0), MOST_REPS // 2
    kept = tuple([*lines[:half], *lines[-half:]] if left else lines)
    last = f"and {left:,} between the lowest {half} and the highest {half}" if left else ""
    if not index:
        title = "No evidence that reps differ"
        note = "Win rates of the past year, drawn together as far as chance explains them; 95% intervals."
        return [Panel(title, kept, as_percent, note=note, least=20, hidden=left, last=last)]
    title = "Wins for 100 expected of the same deals"
    note = "Over the past year; few deals draw a rep towards 100. 95% intervals."
    panel = Panel(title, kept, plain, note=note, least=40, hidden=left, last=last)
    return [replace(panel, reference=100, reference_words="what anybody would have won")]


def _known(rows: pl.DataFrame, name: str) -> list[tuple[Mapping[str, str], Measure]]:
    return [(row, one) for row, one in measures(rows.filter(pl.col("name") == name)) if one.is_known]


def _rep(row: Mapping[str, object], one: Measure, *, by: float) -> Row:
    won, closed, expected = row["won"], row["closed"], row["expected"]
    told = f"won {won} of {closed}" + (f", {expected:.0f} expected" if isinstance(expected, float) else "")
    assert one.value is not None
    value = number(one, one.value)
    return Row(name_of(str(row["owner_id"])), told, value, mark(one, by=by), f"{told}, {in_words(one)}")
