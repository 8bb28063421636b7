"""Pictures of the win rate, and of where its change comes from: what each shows, from the review's frames."""

from collections.abc import Iterator, Mapping

import polars as pl

from dealwatch.insights.drawn.panel import (
    Level,
    Look,
    Mark,
    Panel,
    Row,
    Series,
    Shown,
    as_percent,
    deals,
    doubt,
    figure,
    in_words,
    mark,
    measures,
    name_of,
    plain,
    signed,
)
from dealwatch.insights.findings import WORDS
from dealwatch.insights.measure import Measure
from dealwatch.insights.rates import WIN_RATE
from dealwatch.insights.review import Review
from dealwatch.insights.segments import UNKNOWN
from dealwatch.insights.stages import CONVERSION, HAZARD
from dealwatch.insights.wording import number, percent

_TIMES: tuple[tuple[str, Look], ...] = (("before", "before"), ("after", "now"))
_BEFORE_AND_NOW: tuple[tuple[Look, str], ...] = (("before", "before"), ("now", "now"))


def win_rate(review: Review) -> list[Shown]:
    """Week by week or month by month, with the rates of the two times that are compared."""
    told = measures(review.figures["win_rate_series"])
    if all(one.value is None for _, one in told):
        return []
    levels = _levels(review, len(told))
    note = f"Shaded: 95% interval of each {review.period}. Single {review.period}s jump by chance alone."
    why = doubt(review)
    if len(levels) == 2 and why.startswith("Not"):
        note += f" The two times: {why[:1].lower()}{why[1:]}"
    title = f"Win rate by {review.period}"
    return [Series(title, note, tuple(row["time"] for row, _ in told), tuple(one for _, one in told), levels)]


def _levels(review: Review, count: int) -> tuple[Level, ...]:
    """The rates of the window and of the one before, over the places of the series they span."""
    long = 13 if review.period == "week" else 3
    rows = review.figures["totals"].filter(pl.col("name") == WIN_RATE)
    found = []
    places: tuple[tuple[str, int, Look, str], ...] = (
        ("before", count - 2 * long, "before", "Dashed"),
        ("window", count - long, "now", "Solid"),
    )
    for of, first, look, words in places:
        for _, one in measures(rows.filter(pl.col("of") == of).drop("of")):
            if one.value is not None and first >= 0:
                window = review.before if of == "before" else review.window
                told = f"{words}: {figure(one)}, {window.name}"
                found.append(Level(first, first + long - 1, one.value, look, told))
    return tuple(found)


def bridge(review: Review) -> list[Shown]:
    """How the win rate came from one time to the other: by the mix, and by how the same kinds fared."""
    by = _told_by(review)
    cells = review.figures["bridge"].filter(
        pl.col("compared") == "before", pl.col("weight") == "count", pl.col("by") == by
    )
    if cells.is_empty() or not cells["n0"].sum() or not cells["n1"].sum():
        return []
    return [_steps(review, by, cells), *_parts(by, cells)]


def _told_by(review: Review) -> str:
    """The column whose bridge is told: that of the first finding about one, else that with most impact."""
    for one in review.findings:
        if one.picture == "bridge":
            return one.subject.split(":")[0]
    rows = review.figures["bridge"].filter(pl.col("compared") == "before", pl.col("weight") == "count")
    sizes = rows.group_by("by").agg(pl.len().alias("many"), size=pl.col("mix").abs().sum())
    sizes = sizes.filter(pl.col("many") > 1).sort("size", "by", descending=[True, False])
    return "" if sizes.is_empty() else str(sizes["by"][0])


def _steps(review: Review, by: str, cells: pl.DataFrame) -> Panel:
    before, after = (
        100 * float(cells.select((pl.col(f"w{at}") * pl.col(f"r{at}")).sum()).item()) for at in (0, 1)
    )
    mix, rate = float(cells["mix"].sum()), float(cells["rate"].sum())
    n0, n1 = int(cells["n0"].sum()), int(cells["n1"].sum())
    word = WORDS.get(by, by)
    known = _mix_of(review, by)
    mixed = known or Measure("mix_effect", mix, n0 + n1, why="not drawn", kind="points")
    low, high = (None if one is None else before + one for one in (mixed.low, mixed.high))
    own = number(mixed, rate)
    was, now = percent(before / 100), percent(after / 100)
    steps = (
        Mark(before + mix, low, high, "hatched", start=before),
        Mark(after, look="bar", start=before + mix),
    )
    rows = (
        Row("Before", deals(n0), was, (Mark(before, look="before"),), f"{was} of {n0:,} deals"),
        Row(f"Another mix by {word}", "", figure(mixed), (steps[0],), figure(mixed)),
        Row("Same kinds, won otherwise", "", own, (steps[1],), own),
        Row("Now", deals(n1), now, (Mark(after),), f"{now} of {n1:,} deals"),
    )
    note = f"The {review.before.name}, against the {review.window.name}. {doubt(review)}".strip()
    title = f"Win rate: {was} before, {now} now"
    return Panel(title, rows, as_percent, note=note, least=10)


def _mix_of(review: Review, by: str) -> Measure | None:
    """The mix's part with its interval, as a claim said or refused has it."""
    for one in (*review.findings, *review.refused):
        if one.kind == "mix_shift" and one.subject == by:
            return one.measures[0]
    return None


def _parts(by: str, cells: pl.DataFrame) -> Iterator[Panel]:
    """What each segment has of the change, the largest first."""
    ordered = cells.sort(pl.col("impact").abs(), "segment", descending=[True, False])
    rows = []
    for cell in ordered.iter_rows(named=True):
        why = "" if cell["impact_low"] is not None else "too few deals"
        n = cell["n0"] + cell["n1"]
        ends = cell["impact_low"], cell["impact_high"]
        one = Measure("segment_impact", cell["impact"], n, None, *ends, why=why, kind="points")
        name = name_of(cell["segment"]) if cell["segment"] != UNKNOWN else "not told"
        words = f"{in_words(one)}, {percent(cell['w0'])} then {percent(cell['w1'])} of closed deals"
        rows.append(Row(name, deals(n), figure(one).replace(" points", ""), mark(one), words))
    yield Panel(
        f"Of the change, by {WORDS.get(by, by)}",
        tuple(rows),
        signed,
        note="Points of the win rate, mix and own rate together, with 95% interval.",
        reference=0.0,
        least=4,
    ).cut(8)


_STAGES = (
    (HAZARD, "Lost, of 100 deals that entered the stage", "Losses in the time for entries in it."),
    (CONVERSION, "Gone on, of 100 exits from the stage", "To a later stage or won; exits in the time."),
)


def stages(review: Review) -> list[Shown]:
    """Each stage before and now: how many of 100 that enter are lost from it, and go on."""
    rows = review.figures["stages"]
    why = doubt(review)
    unlike = f" {why}" if why.startswith("Not") else ""
    found: list[Shown] = []
    for name, title, note in _STAGES:
        mine = _by_stage(rows.filter(pl.col("name") == name))
        lines = tuple(row for stage, pair in mine.items() if (row := _stage_row(stage, pair)).marks)
        if lines:
            told = f"{note} 95% intervals.{unlike}"
            found.append(Panel(title, lines, plain, note=told, legend=_BEFORE_AND_NOW, least=10).cut())
    return found


def _by_stage(rows: pl.DataFrame) -> Mapping[str, dict[str, Measure]]:
    """Both times of each stage, in the order of the stages."""
    found: dict[str, dict[str, Measure]] = {}
    for row, one in measures(rows.filter(pl.col("time").is_in(["before", "after"]))):
        found.setdefault(row["stage"], {})[row["time"]] = one
    return found


def _stage_row(stage: str, pair: Mapping[str, Measure]) -> Row:
    shown: list[str] = []
    marks: list[Mark] = []
    words: list[str] = []
    for time, look in _TIMES:
        one = pair.get(time)
        if one is None or one.value is None:
            shown.append("\u2026")
            continue
        shown.append(f"{100 * one.value:.1f}")
        marks += mark(one, look, by=100.0)
        ends = (
            f" ({100 * one.low:.1f} to {100 * one.high:.1f})"
            if one.low is not None and one.high is not None
            else ""
        )
        words.append(f"{look} {shown[-1]}{ends} of {one.n:,}")
    return Row(name_of(stage), "", " \u2192 ".join(shown), tuple(marks), ", ".join(words))
