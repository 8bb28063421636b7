"""The rules' records as a table for a terminal: what each found, against what, how sure, at what price."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_HEADS = ("rule", "level", "deals", "lost", "similar", "lift", "found in time", "ahead", "a week", "back", "")
_LEGEND = """\
deals: flagged, beside comparable deals, and ended since. similar: share lost of the comparable deals.
found in time: of the lost deals that were open on a morning, those flagged seven days before or earlier.
ahead: median days from flag to loss. a week: alerts opened per owner.
back: alerts that came back after they had cleared."""


def record_table(rows: Iterable[Row]) -> str:
    """A line per rule and level; the segments of each, where there are some, are indented below it."""
    ordered = sorted(rows, key=lambda row: (row["rule"], row["level"], row["segment"]))
    if not ordered:
        return "No record for this moment.\n"
    lines = [_HEADS, *(_cells(row) for row in ordered)]
    months = ordered[0]["months"]
    told = f"The last {months} months, every morning, as of {ordered[0]['measured_as_of']:%Y-%m-%d}.\n"
    return f"{told}\n{_aligned(lines)}\n{_LEGEND}\n"


def _cells(row: Row) -> tuple[str, ...]:
    alerted = row["alerted"]
    verdict = "proven" if row["proven"] else "unproven"
    return (
        f"  {row['segment']}" if row["segment"] else row["rule"],
        f"{row['level']}",
        f"{alerted:,}",
        _share(row["lost"] / alerted if alerted else None),
        _share(row["base_rate"]),
        _interval(row["lift"], row["lift_low"], row["lift_high"], ".2f"),
        _interval(row["recall"], row["recall_low"], row["recall_high"], ".0%"),
        _number(row["lead_days"], ".0f"),
        _number(row["alerts_per_owner_week"], ".2f"),
        _share(row["reopened_share"]),
        "" if row["segment"] else verdict,
    )


def _interval(value: float | None, low: float | None, high: float | None, form: str) -> str:
    if value is None:
        return "-"
    return (
        f"{value:{form}}"
        if low is None or high is None
        else f"{value:{form}} ({low:{form}} to {high:{form}})"
    )


def _share(value: float | None) -> str:
    return _number(value, ".0%")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; words to the left, numbers to the right."""
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    last = len(widths) - 1
    return "".join(
        "  ".join(
            cell.ljust(width) if n in (0, last) else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )
