"""A fact group in words: the sentence with the numbers that matter, and the one action it suggests.

One table, `GROUP_WORDS`: a group's name, the function that says it about a deal, and what to do about it. A
sentence leaves out what is unknown. It speaks of the deal, never of how good a person is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
_SEGMENTS = {
    "industry": "industry",
    "region": "region",
    "product_type": "product",
    "lead_source": "lead source",
}


@dataclass(frozen=True)
class Words:
    """How a group speaks, and what it asks for."""

    say: Callable[[Row], str]
    action: str


def _days(value: float) -> str:
    whole = round(value)
    if whole < 1:
        return "less than a day"
    return "1 day" if whole == 1 else f"{whole:,} days"


def _in_days(norm: float) -> str:
    return f"{round(norm):,}" if norm >= 1.5 else _days(norm)


def _times(value: float) -> str:
    whole = round(value)
    return {1: "once", 2: "twice"}.get(whole, f"{whole:,} times")


def _share(value: float) -> str:
    return f"{value:.0%}"


def _age(row: Row) -> str:
    age, norm = row.get("age_days"), row.get("segment_win_p50_days")
    if age is None:
        return "age unknown"
    usual = "" if norm is None or norm > age else f"; deals like this that are won take {_days(norm)}"
    return f"open for {_days(age)}{usual}"


def _stage(row: Row) -> str:
    stage = f"in {row['stage']}" if row.get("stage") else "in its stage"
    days, norm, back = row.get("days_in_stage"), row.get("stage_p50_days"), row.get("moves_back") or 0
    if days is None:
        return stage
    if back:
        return f"moved back {_times(back)}, {_days(days)} {stage}"
    usual = "" if norm is None or norm > days else f"; deals like this move on in {_in_days(norm)}"
    return f"{_days(days)} {stage}{usual}"


def _amount(row: Row) -> str:
    amount, change = row.get("amount"), row.get("amount_change_pct")
    if amount is None:
        return "no amount known"
    sum_ = " ".join(filter(None, [f"{amount:,.0f}", row.get("currency")]))
    if change and abs(change) >= 1:
        return f"amount {sum_}, {'up' if change > 0 else 'down'} {abs(change):.0f}% since it was first known"
    return f"amount {sum_}, more than most deals" if row.get("is_large") else f"amount {sum_}"


def _close_date(row: Row) -> str:
    days, pushed = row.get("days_to_close"), row.get("times_pushed") or 0
    moved = (
        f"close date moved {_times(pushed)}, {_days(row.get('days_pushed') or 0)} in all" if pushed else ""
    )
    if days is None:
        return moved or "no close date set"
    if days < 0:
        passed = f"close date passed {_days(-days)} ago"
        return f"{passed}, moved {_times(pushed)} before" if pushed else passed
    return moved or ("close date is today" if days < 1 else f"close date in {_days(days)}")


def _activity(row: Row) -> str:
    silent, recent = row.get("days_since_touch"), row.get("touches_30d")
    plan = ", no next step planned" if row.get("has_next_step") is False else ""
    if silent is not None and silent >= 7:
        return f"no touch for {_days(silent)}{plan}"
    if recent is not None:
        count = {0: "no touch", 1: "1 touch"}.get(round(recent), f"{recent:.0f} touches")
        return f"{count} in the last 30 days{plan}"
    return "no next step planned" if plan else "activity unknown"


def _owner(row: Row) -> str:
    rate, usual = row.get("owner_win_rate"), row.get("usual_owner_win_rate")
    handed, load = row.get("owner_changes") or 0, row.get("owner_open_deals")
    if handed:
        return f"handed to another owner {_times(handed)}"
    if rate is None:
        return "no owner" if row.get("owner_id") is None else "the owner has no closed deals yet"
    if usual is not None and rate >= usual and load is not None:
        return f"the owner holds {load:.0f} open {'deal' if load == 1 else 'deals'}"
    compared = "" if usual is None else f"; over all open deals that figure is {_share(usual)}"
    return f"the owner's deals are won {_share(rate)} of the time by now{compared}"


def _segment(row: Row) -> str:
    """The segment whose win rate lies furthest below that morning's usual one."""
    gaps = []
    for column, words in _SEGMENTS.items():
        rate, usual = row.get(f"{column}_win_rate"), row.get(f"usual_{column}_win_rate")
        if rate is not None and usual is not None and row.get(column):
            gaps.append(
                (rate - usual, f"{words} {row[column]}: {_share(rate)} won by now, usually {_share(usual)}")
            )
    return min(gaps)[1] if gaps else "its segment has little history"


def _calendar(row: Row) -> str:
    days = row.get("days_to_quarter_end")
    return "time of the quarter" if days is None else f"{_days(days)} to the end of the quarter"


GROUP_WORDS: dict[str, Words] = {
    "age": Words(_age, "Agree a decision date with the buyer, or close the deal as lost."),
    "stage": Words(_stage, "Settle with the buyer what the next stage needs, and by when."),
    "amount": Words(_amount, "Confirm with the buyer who signs for this amount."),
    "close_date": Words(_close_date, "Confirm the close date with the buyer."),
    "activity": Words(_activity, "Call the buyer and agree a next step."),
    "owner": Words(_owner, "Plan the next call together with a colleague who knows such deals."),
    "segment": Words(_segment, "Check need, budget and decision maker again before more work goes in."),
    "calendar": Words(_calendar, "Agree what has to be signed before the quarter ends."),
}
USUAL = ("owner_win_rate", *(f"{column}_win_rate" for column in _SEGMENTS))


def sentence(group: str, row: Row) -> str:
    """What the group has to say about a deal; `row` holds its facts and `usual_...` means of its morning."""
    return GROUP_WORDS[group].say(row)
