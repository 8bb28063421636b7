"""A plan in words, for a terminal and for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dealwatch.alerts.hindsight.plan import EXAMPLES, Example, Plan, Share, Side
from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.warehouse import as_json


def text(plan: Plan) -> str:
    """What changes, how often people would be told, and whether the budget holds."""
    lines = [_head(plan), ""]
    lines += [*_changes(plan), "", *_table(plan), ""]
    if plan.before is not None:
        lines += _examples(f"Alerts added: {plan.added}", plan.added, plan.added_examples)
        lines += _examples(f"Alerts removed: {plan.removed}", plan.removed, plan.removed_examples)
    lines += [f"{name} becomes {standing}" for name, standing in plan.proven.items() if plan.before]
    if plan.unscored:
        lines.append(
            f"{plan.unscored} of these mornings were never scored: their facts are worked out now, and they"
            " are scored by rules alone. `python -m dealwatch score --as-of FIRST --until LAST --notify dry`"
            " scores them with the model of their day."
        )
    return "\n".join([*lines, _budget(plan)]) + "\n"


def machine(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    told = asdict(plan) | {"is_over_budget": plan.is_over_budget}
    for name, side in (("before", plan.before), ("after", plan.after)):
        if side is not None:
            share = {"value": side.precision.value, "interval": side.precision.interval}
            told[name]["precision"] |= share
    return told


def _head(plan: Plan) -> str:
    against = "no live morning has kept its rules yet, so there is nothing to compare with"
    if plan.in_force_from is not None:
        against = f"against those in force since {plan.in_force_from:%Y-%m-%d}"
    return (
        f"The rules and settings of this tree, {against};\n"
        f"replayed over {plan.days} days, {plan.first} to {plan.last}. Nothing is stored and nobody is told."
    )


def _changes(plan: Plan) -> list[str]:
    if plan.before is None:
        return ["Rules and settings: as they are in the tree"]
    lines = [f"  rule {name}: {difference}" for name, difference in plan.rules.items()]
    lines += [
        f"  {name}: {as_json(old)} becomes {as_json(new)}" for name, (old, new) in plan.settings.items()
    ]
    return ["Changed:", *lines] if lines else ["No change: rules and settings are those in force."]


def _table(plan: Plan) -> list[str]:
    sides = [side for side in (plan.before, plan.after) if side is not None]
    rows = [("", *(("in force", "this tree") if plan.before else ("this tree",)))]
    rows += [
        ("alerts that stood", *(f"{side.alerts:,}" for side in sides)),
        ("single messages per owner and week", *(f"{side.load.singles:.2f}" for side in sides)),
        ("digests per owner and week", *(f"{side.load.digests:.2f}" for side in sides)),
        ("busiest: single messages a week", *(_busiest(side) for side in sides)),
        ("alerts that came back (flapping)", *(_flapping(side) for side in sides)),
        ("of alerted deals that ended, lost", *(share(side.precision) for side in sides)),
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        f"{row[0]:<{widths[0]}}",
        *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)),
    ]


def _busiest(side: Side) -> str:
    return f"{side.load.busiest} {side.load.busiest_singles:.1f}" if side.load.busiest else "nobody"


def _flapping(side: Side) -> str:
    return f"{side.reopened:,} ({side.reopened / side.alerts:.0%})" if side.alerts else "0"


def share(found: Share) -> str:
    """62% (55% to 69%) of 190; or that nothing ended."""
    value, interval = found.value, found.interval
    if value is None or interval is None:
        return "none ended"
    return f"{value:.0%} ({interval[0]:.0%} to {interval[1]:.0%}) of {found.of:,}"


def _examples(head: str, count: int, examples: Sequence[Example]) -> list[str]:
    if not count:
        return []
    lines = [f"  {one.day}  {one.rule}  {deal_words(one.name, one.deal_id)}" for one in examples]
    more = [f"  and {count - EXAMPLES:,} more"] if count > EXAMPLES else []
    return [head, *lines, *more, ""]


def deal_words(name: str, deal_id: str) -> str:
    """A deal's name and id, safe on one line."""
    return f"{clean(name, NAME_LENGTH) or deal_id} ({clean(deal_id, NAME_LENGTH)})"


def _budget(plan: Plan) -> str:
    has = f"{plan.after.load.singles:.2f} single messages per owner and week"
    bound = f"alerts.plan_max_alerts_per_owner_week = {plan.budget:g}"
    return f"Over budget: {has}; {bound}." if plan.is_over_budget else f"Within budget: {has}; {bound}."
