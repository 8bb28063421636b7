"""Figures in words: every one with its interval and the number of deals it rests on."""

from collections.abc import Iterable

from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.insights.measure import Measure

_MINUS = "\u2212"
_THOUSAND, _MILLION = 1_000, 1_000_000
# The calendar module's own would follow the machine's language.
_MONTHS = "January February March April May June July August September October November December".split()
# Ratios that say by how much one figure differs from another: 0.03 is 3% more.
CHANGES = ("cycle_change", "cycle_change_by_close_date", "forecast_bias")


def month_name(month: int) -> str:
    """`October` of 10."""
    return _MONTHS[month - 1]


def called(name: str) -> str:
    """A stage's or segment's name in a sentence: one line, and never so long that the figures are cut off."""
    return clean(name, NAME_LENGTH) or "(no name)"


def shown(measure: Measure, currency: str = "", *, of: str = "deals") -> str:
    """`54.3% (51.9% to 56.7%, 1,640 deals)`; of what is counted and has no spread, without an interval.

    Raises ValueError for a figure without a value or an interval: such a one is not for a sentence.
    """
    if measure.value is None or not measure.is_known:
        raise ValueError(f"{measure.name} cannot be said: {measure.why}")
    ends = interval(measure)
    return f"{number(measure, measure.value, currency)} ({ends + ', ' if ends else ''}{counted(measure, of)})"


def interval(measure: Measure) -> str:
    """`51.9% to 56.7%`; empty for what is counted, whose interval is a point."""
    if measure.low is None or measure.high is None or measure.low == measure.high:
        return ""
    return " to ".join(_bare(measure, one) for one in (measure.low, measure.high))


def counted(measure: Measure, of: str = "deals") -> str:
    """`1,640 deals`."""
    return f"{measure.n:,} {of[:-1] if measure.n == 1 and of.endswith('s') else of}"


def percent(share: float) -> str:
    """A share from 0 to 1, as `54.3%`."""
    return f"{100 * share:.1f}%"


def money(value: float, currency: str) -> str:
    """`EUR 1.2m`, of money that is set and not estimated."""
    return f"{currency} {_money(value)}".strip()


def number(measure: Measure, value: float, currency: str = "") -> str:
    """A value as a person writes it: 54.3%, \u22123.2 points, EUR 1.2m, 62 days."""
    text = _bare(measure, value)
    if measure.kind in ("money", "money_a_day"):
        text = f"{currency} {text}".strip()
    return text + {"points": " points", "days": " days", "money_a_day": " a day"}.get(measure.kind, "")


def _bare(measure: Measure, value: float) -> str:
    if measure.kind == "share":
        return percent(value)
    if measure.name in CHANGES:
        return f"{_signed(100 * value, 0)}%"
    if measure.kind in ("money", "money_a_day"):
        return _money(value)
    if measure.kind == "points":
        return _signed(value, 1)
    if measure.kind == "ratio":
        return f"{value:.2f}"
    return f"{value:,.1f}" if measure.kind == "days" and abs(value) < 100 else f"{value:,.0f}"


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):,.{digits}f}"
    return text if float(text.replace(",", "")) == 0 else f"{_MINUS if value < 0 else '+'}{text}"


def _money(value: float) -> str:
    sign, size = (_MINUS if value < 0 else ""), abs(value)
    unit = ""
    # What rounds up to a thousand thousands is a million.
    if size >= _MILLION - 500:
        size, unit = size / _MILLION, "m"
    elif size >= 10 * _THOUSAND:
        size, unit = size / _THOUSAND, "k"
    digits = 1 if unit and size < 100 else 0
    return f"{sign}{size:,.{digits}f}{unit}"


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    found = list(words)
    return found[0] if len(found) == 1 else " and ".join([", ".join(found[:-1]), found[-1]]) if found else ""
