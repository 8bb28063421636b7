"""A fact group in words: the sentence with the numbers that matter, and the one action it suggests.

One table, `GROUP_WORDS`: a group's name, the function that says it about a deal, and what to do about it. A
sentence stands beside points that raise the risk. It says nothing that its facts do not say, leaves out what
is unknown, and compares only where the comparison is against the deal. It speaks of the deal, never of how
good a person is: an owner's win rate is a fact, but no sentence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dealwatch.scoring.win_rates import share_won

Row = Mapping[str, Any]
SPEAKS_FROM = 10  # closed deals; the win rate of fewer is everyone's for the greater part
_SEGMENTS = {
    "industry": "industry",
    "region": "region",
    "product_type": "product",
    "lead_source": "lead source",
}
_WINDOW_DAYS = 30
_QUIET_DAYS = 7  # a silence shorter than that is told by counting touches


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


def _compared(age: float, norm: float | None, words: str) -> str:
    """What half of the others took, rounded as rules' sentences are; nothing unless the deal is beyond."""
    if norm is None or (most := max(1, round(norm))) >= round(age):
        return ""
    return f"; half of {words} {_days(most)} or less"


def _times(value: float) -> str:
    whole = round(value)
    return {1: "once", 2: "twice"}.get(whole, f"{whole:,} times")


def _share(value: float) -> str:
    return f"{value:.0%}"


def _age(row: Row) -> str:
    age = row.get("age_days")
    if age is None:
        return "age unknown"
    usual = _compared(age, row.get("segment_win_p50_days"), "the wins among deals like this took")
    return f"created {_days(age)} ago{usual}"


def _stage(row: Row) -> str:
    if not row.get("stage"):
        return "no stage known"
    stage, days, back = f"in {row['stage']}", row.get("days_in_stage"), row.get("moves_back") or 0
    if days is None:
        return stage
    if back:
        return f"moved back {_times(back)} so far, {_days(days)} {stage}"
    usual = _compared(days, row.get("stage_p50_days"), "the deals that move on from there took")
    return f"{_days(days)} {stage}{usual}"


def _amount(row: Row) -> str:
    amount, change = row.get("amount"), row.get("amount_change_pct")
    if amount is None:
        return "no amount known"
    sum_ = " ".join(filter(None, [_money(amount), row.get("currency")]))
    if change is not None and abs(change) >= 1:
        return f"amount {sum_}, {'up' if change > 0 else 'down'} {abs(change):,.0f}% since it was first known"
    return f"amount {sum_}, a large deal" if row.get("is_large") else f"amount {sum_}"


def _money(amount: float) -> str:
    return f"{amount:z,.0f}" if amount == round(amount) or abs(amount) >= 10 else f"{amount:z,.2f}"


def _close_date(row: Row) -> str:
    days, pushed = row.get("days_to_close"), row.get("times_pushed") or 0
    later = f"moved later {_times(pushed)}" if pushed else ""
    if days is None:
        return f"no close date known, after it was {later}" if pushed else "no close date known"
    if days < 0:
        return ", ".join(filter(None, [f"close date passed {_days(-days)} ago", later and f"{later} before"]))
    if pushed:
        by = row.get("days_pushed") or 0
        return f"close date {later}" + (f", {_days(by)} in all" if by >= 1 else "")
    return "close date is today" if days < 1 else f"close date in {_days(days)}"


def _activity(row: Row) -> str:
    touched = _touched(row)
    planned = _planned(row)
    if touched and planned:
        return f"{touched}, {planned}"
    return touched or planned or "touches unknown"


def _touched(row: Row) -> str:
    """How long the silence is, or how many touches there were: of a young deal in all, not in 30 days."""
    silent, recent, age = row.get("days_since_touch"), row.get("touches_30d"), row.get("age_days")
    if row.get("touches_all") == 0 and age is not None:
        return f"no touch so far, created {_days(age)} ago"
    if silent is not None and silent >= _QUIET_DAYS:
        return f"no touch for {_days(silent)}"
    if recent is None:
        return ""
    count = {0: "no touch", 1: "1 touch"}.get(round(recent), f"{recent:,.0f} touches")
    if age is not None and age < _WINDOW_DAYS and recent == row.get("touches_all"):
        return f"{count} so far, created {_days(age)} ago"
    return f"{count} in the last {_WINDOW_DAYS} days"


def _planned(row: Row) -> str:
    """What is wrong with the next step; nothing when one is planned, or nobody keeps them."""
    if row.get("has_next_step") is not False:
        return ""
    days = row.get("days_to_next_step")
    if days is None or days >= 0:
        return "no next step planned"
    return f"its next step passed {_days(-days)} ago"


def _owner(row: Row) -> str:
    """Hands and load: what else the forest holds for the owner is about a person."""
    handed, load = row.get("owner_changes") or 0, row.get("owner_open_deals")
    if handed:
        return f"handed to another owner {_times(handed)}"
    if row.get("owner_id") is None:
        return "no owner known"
    if load is None:
        return "its owner's load is unknown"
    return "the only open deal of its owner" if load <= 1 else f"one of {load:,.0f} open deals of its owner"


def _segment(row: Row) -> str:
    """The segment whose win rate lies furthest below everyone's, if enough deals closed there to say so."""
    overall, below = row.get("win_rate"), []
    for column, words in _SEGMENTS.items():
        rate, closed = row.get(f"{column}_win_rate"), row.get(f"{column}_closed_deals") or 0
        if rate is None or overall is None or not row.get(column) or closed < SPEAKS_FROM:
            continue
        won = _share(share_won(rate, closed, overall))
        if rate < overall and won != _share(overall):
            told = f"{won} of {closed:,.0f} closed in a year were won, {_share(overall)} of all"
            below.append((rate - overall, f"{words} {row[column]}: {told}"))
    if below:
        return min(below)[1]
    named = [f"{words} {row[column]}" for column, words in _SEGMENTS.items() if row.get(column)]
    return ", ".join(named) if named else "its segment is unknown"


def _calendar(row: Row) -> str:
    days = row.get("days_to_quarter_end")
    if days is None:
        return "time of the quarter unknown"
    return "the last day of the quarter" if days < 1 else f"{_days(days)} to the end of the quarter"


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


def sentence(group: str, row: Row) -> str:
    """What the group has to say about a deal whose facts, names and ids `row` holds."""
    return GROUP_WORDS[group].say(row)
