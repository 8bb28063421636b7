"""Figures in words: every one with its interval and the number of deals it rests on."""

from collections.abc import Iterable

from dealwatch.insights.measure import Kind, Measure

_MINUS = "\u2212"
THOUSAND, MILLION = 1_000, 1_000_000


def shown(measure: Measure, currency: str = "", *, of: str = "deals") -> str:
    """`54.3% (51.9% to 56.7%, 1,640 deals)`; of what is counted and has no spread, without an interval.

    Raises ValueError for a figure without a value or an interval: such a one is not for a sentence.
    """
    if measure.value is None or measure.low is None or measure.high is None:
        raise ValueError(f"{measure.name} cannot be said: {measure.why}")
    value = number(measure.value, measure.kind, currency)
    return f"{value} ({interval(measure, currency)}{counted(measure, of)})"


def interval(measure: Measure, currency: str = "") -> str:
    """`51.9% to 56.7%, `; empty for what is counted, whose interval is a point."""
    if measure.low is None or measure.high is None or measure.low == measure.high:
        return ""
    ends = (number(one, measure.kind, currency) for one in (measure.low, measure.high))
    return " to ".join(ends) + ", "


def counted(measure: Measure, of: str = "deals") -> str:
    """`1,640 deals`."""
    return f"{measure.n:,} {of[:-1] if measure.n == 1 and of.endswith('s') else of}"


def number(value: float, kind: Kind, currency: str = "") -> str:
    """A value as a person writes it: 54.3%, \u22123.2 points, EUR 1.2m, 62 days."""
    if kind == "share":
        return f"{100 * value:.1f}%"
    if kind in ("money", "money_a_day"):
        return _money(value, currency) + (" a day" if kind == "money_a_day" else "")
    if kind == "points":
        return f"{_signed(value)} points"
    if kind == "ratio":
        return f"{value:.2f}"
    return _plain(value, kind)


def _plain(value: float, kind: Kind) -> str:
    if kind == "days":
        return f"{value:,.0f} days" if abs(value) >= 100 else f"{value:.1f} days"
    return f"{value:,.0f}"


def _signed(value: float) -> str:
    text = f"{abs(value):.1f}"
    return text if text == "0.0" else f"{_MINUS if value < 0 else '+'}{text}"


def _money(value: float, currency: str) -> str:
    sign, size = (_MINUS if value < 0 else ""), abs(value)
    unit = ""
    # What rounds up to a thousand thousands is a million.
    if size >= MILLION - 500:
        size, unit = size / MILLION, "m"
    elif size >= 10 * THOUSAND:
        size, unit = size / THOUSAND, "k"
    digits = 1 if unit and size < 100 else 0
    return f"{currency} {sign}{size:,.{digits}f}{unit}".strip()


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    found = list(words)
    return found[0] if len(found) == 1 else " and ".join([", ".join(found[:-1]), found[-1]]) if found else ""
