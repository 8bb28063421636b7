"""Pictures of what is open, at risk and to come: what each shows, from the review's frames."""

import polars as pl

from dealwatch.insights.drawn.panel import (
    Look,
    Mark,
    Panel,
    Row,
    Shown,
    as_money,
    as_percent,
    deals,
    figure,
    in_words,
    mark,
    measures,
    name_of,
)
from dealwatch.insights.measure import Measure
from dealwatch.insights.review import Review
from dealwatch.insights.wording import number, percent

_HEALTH = {
    "pipeline_health_ratio": "Worth by its chances",
    "no_next_step_share": "Without a next step",
    "stalled_share": "Stalled in its stage",
    "breached_share": "Older than won deals get",
    "overdue_share": "Past its close date",
    "top_1_share": "In the largest deal",
    "top_5_share": "In the five largest deals",
}
_VARIANTS = {
    "survival": "By age",
    "model": "By the model",
    "weighted": "By segments",
    "seed": "By segments, aged",
}
_MONEY = {"revenue_won": "bar", "revenue_of_open": "hatched", "revenue_of_new": "pale"}
_SLIPPED = {"slip_rate": "By count", "slip_rate_money": "By money"}
_MOVED = {"slipped_money": "Slipped", "pushed_money": "Pushed later", "pulled_in_money": "Pulled in"}
_LOOKS: dict[str, Look] = {"before": "before", "now": "now"}
_QUARTER: tuple[tuple[Look, str], ...] = (
    ("bar", "won"),
    ("hatched", "open deals"),
    ("pale", "deals to begin"),
)


def pipeline(review: Review) -> list[Shown]:
    """What is open, as shares of its money."""
    rows = {one.name: one for _, one in measures(review.figures["pipeline"])}
    lines = []
    for name, words in _HEALTH.items():
        one = rows.get(name)
        if one is not None and one.value is not None:
            lines.append(Row(words, "", figure(one), _bar(one, 100.0), in_words(one)))
    if not lines:
        return []
    n = max(rows[name].n for name in _HEALTH if name in rows)
    coverage = rows.get("coverage")
    last = ""
    if coverage is not None and coverage.value is not None:
        last = (
            "What open deals are expected to bring in the quarter, over what is missing to the target: "
            f"{figure(coverage)}"
        )
    title = f"Of the money in {n:,} open deals"
    return [Panel(title, tuple(lines), as_percent, from_zero=True, last=last)]


def _bar(one: Measure, by: float = 1.0, look: Look = "bar") -> tuple[Mark, ...]:
    return tuple(Mark(point.value, point.low, point.high, look, 0.0) for point in mark(one, by=by))


def forecast(review: Review) -> list[Shown]:
    """What is open is worth by each way of telling, and what two quarters will bring."""
    rows = review.figures["forecast"]
    return [*_variants(review, rows), *_quarters(review, rows)]


def _variants(review: Review, rows: pl.DataFrame) -> list[Shown]:
    bias = {row["of"]: one for row, one in measures(rows.filter(pl.col("name") == "forecast_bias"))}
    lines = []
    for row, one in measures(rows.filter(pl.col("name") == "rapv")):
        if one.value is None:
            continue
        off = bias.get(row["of"])
        about = "" if off is None or off.value is None else f"off by {number(off, off.value)}"
        words = in_words(one, review.currency) + (
            f"; in the past off by {in_words(off)}" if about and off else ""
        )
        look: Look = "published" if row["is_published"] else "plain"
        name = _VARIANTS.get(row["of"], row["of"])
        lines.append(Row(name, about, figure(one), mark(one, look), words))
    if not lines:
        return []
    note = f"{review.currency} by ways of telling chances, with 95% interval.".strip()
    looks: tuple[tuple[Look, str], ...] = (("published", "the one published"), ("plain", "others"))
    title = "What is open, worth by its chances"
    return [Panel(title, tuple(lines), as_money, note=note, legend=looks)]


def _quarters(review: Review, rows: pl.DataFrame) -> list[Shown]:
    """Money won, of open deals and of deals not begun, one behind the other; the interval is of all."""
    found: dict[str, dict[str, Measure]] = {}
    for row, one in measures(rows.filter(pl.col("name").str.starts_with("revenue_"))):
        found.setdefault(row["of"], {})[one.name] = one
    lines = []
    for quarter, parts in found.items():
        total = parts["revenue_expected"]
        if not total.value:
            continue
        marks, start = [], 0.0
        for name, look in _MONEY.items():
            value = parts[name].value or 0.0
            marks.append(Mark(start + value, look=look, start=start))  # type: ignore[arg-type]
            start += value
        last = marks[-1]
        marks[-1] = Mark(last.value, total.low, total.high, last.look, last.start)
        told = ", ".join(
            f"{words} {in_words(parts[name], review.currency)}"
            for name, words in zip(_MONEY, ("won", "from open deals", "from deals not begun"), strict=True)
        )
        words = f"{in_words(total, review.currency)}: {told}"
        lines.append(Row(quarter, "", figure(total, review.currency), tuple(marks), words))
    if not lines:
        return []
    title = "What two quarters will bring" if len(lines) > 1 else "What the quarter will bring"
    note = "The line is the 95% interval of the whole."
    return [Panel(title, tuple(lines), as_money, note=note, from_zero=True, legend=_QUARTER)]


def slips(review: Review) -> list[Shown]:
    """Of what was due how much slipped, and the money that was moved, before and now."""
    rates = [row for name, words in _SLIPPED.items() for row in _rates(words, _times(review, name))]
    money = [
        row for name, words in _MOVED.items() for row in _sums(words, _times(review, name), review.currency)
    ]
    found: list[Shown] = []
    if rates:
        title, note = "Slipped, of what was due", "With 95% interval."
        looks: tuple[tuple[Look, str], ...] = (("before", "before"), ("now", "now"))
        found.append(Panel(title, tuple(rates), as_percent, note=note, legend=looks, least=10))
    if money:
        title, note = "Money that was moved", f"In {review.currency}; counted, so without an interval."
        looks = (("before", "before"), ("bar", "now"))
        found.append(Panel(title, tuple(money), as_money, note=note, legend=looks, from_zero=True))
    return found


def _times(review: Review, name: str) -> list[tuple[str, Measure]]:
    """A figure before and now, where it is known."""
    told = {row["of"]: one for row, one in measures(review.figures["slips"].filter(name=name))}
    known = [(word, told[of]) for of, word in (("before", "before"), ("window", "now")) if of in told]
    return [(word, one) for word, one in known if one.value is not None]


def _rates(name: str, times: list[tuple[str, Measure]]) -> list[Row]:
    """Both times in one row."""
    marks = tuple(point for word, one in times for point in mark(one, _LOOKS[word], by=100.0))
    words = ", ".join(f"{word} {in_words(one)}" for word, one in times)
    shown = " \u2192 ".join(number(one, one.value or 0.0) for _, one in times)
    return [Row(name, "", shown, marks, words)] if times else []


def _sums(name: str, times: list[tuple[str, Measure]], currency: str) -> list[Row]:
    """A bar for each time."""
    return [
        Row(
            f"{name}, {word}",
            deals(one.n),
            figure(one),
            _bar(one, look="before" if word == "before" else "bar"),
            in_words(one, currency),
        )
        for word, one in times
    ]


def concentration(review: Review) -> list[Shown]:
    """The open deals that carry most of the expected money."""
    rows = review.figures["concentration"].drop_nulls("share")
    lines = []
    for row in rows.iter_rows(named=True):
        share = percent(row["share"])
        money = f"{review.currency} {as_money(row['amount'])}".strip()
        stage = f", {name_of(row['stage'])}" if row["stage"] else ""
        words = f"{share}, {money}, chance {percent(row['chance'])}"
        name = f"{name_of(row['deal_id'])}{stage}"
        lines.append(Row(name, money, share, (Mark(100 * row["share"], look="bar", start=0.0),), words))
    if not lines:
        return []
    note = "Amount times chance, as a share of that of all open deals."
    return [Panel("The deals that carry most", tuple(lines), as_percent, note=note, from_zero=True)]
