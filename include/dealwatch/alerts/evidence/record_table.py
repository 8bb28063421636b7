"""The rules' records as a table for a terminal: what each found, against what, how sure, at what price.

At the end of a line stands what people said of the rule's alerts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_HEADS = (
    *("rule", "level", "deals", "lost", "similar", "lift", "found in time", "ahead", "a week", "back"),
    *("", "what people said"),
)
_WORDS = 2  # columns of words at the end, after those of numbers
_NONE_YET = "unproven, none to compare"
_LEGEND = """\
deals: flagged, beside comparable deals, and ended since; only mornings of which most deals have ended count.
similar: share lost of the comparable deals.
found in time: of the lost deals that were open on a morning, however recent, those flagged seven days
before or earlier. ahead: median days from flag to loss. a week: alerts opened per owner.
back: alerts that came back after they had cleared."""
_LEGEND_NONE_YET = f"""\
{_NONE_YET}: it flagged deals, but on mornings of which too few deals have ended, or with none
beside them. Their losses count in "found in time" and "ahead", and not in "deals" and "lost"."""
_LEGEND_SAID = """\
what people said: of the alerts told at that level in these months, up to the end of the day, how many were
acknowledged, snoozed, already_knew, false_alarm or useful. It changes nothing of the record."""


def record_table(rows: Iterable[Row]) -> str:
    """A line per rule and level; the segments of each, where there are some, are indented below it."""
    ordered = sorted(rows, key=lambda row: (row["rule"], row["level"], row["segment"]))
    if not ordered:
        return "No record for this moment.\n"
    lines = [_HEADS, *(_cells(row) for row in ordered)]
    months = ordered[0]["months"]
    told = f"The last {months} months, every morning, as of {ordered[0]['measured_as_of']:%Y-%m-%d}.\n"
    legend = [_LEGEND]
    legend += [_LEGEND_NONE_YET] if any(_has_none_yet(row) for row in ordered) else []
    legend += [_LEGEND_SAID] if any("feedback" in row for row in ordered) else []
    return f"{told}\n{_aligned(lines)}\n" + "\n".join(legend) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    alerted = row["alerted"]
    verdict = "proven" if row["proven"] else _NONE_YET if _has_none_yet(row) else "unproven"
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
        _said(row.get("feedback")),
    )


def _has_none_yet(row: Row) -> bool:
    """Whether a rule flagged deals of which none is compared: all too recent, or none beside them."""
    has_flagged = row["lead_days"] is not None or bool(row["alerts_per_owner_week"])
    return not row["segment"] and not row["alerted"] and has_flagged


def _said(feedback: Mapping[str, int] | None) -> str:
    if feedback is None:
        return ""
    answers = ", ".join(f"{count:,} {kind}" for kind, count in feedback.items() if count and kind != "told")
    return f"{feedback['told']:,} told" + (f": {answers}" if answers else "")


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
    words = (0, *range(len(widths) - _WORDS, len(widths)))
    return "".join(
        "  ".join(
            cell.ljust(width) if n in words else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )
