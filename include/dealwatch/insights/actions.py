"""What to do about each kind of finding: one suggestion, and what is known of its effect.

Nobody has measured yet what any of these does to the win rate, so each says that: an action without evidence
is a suggestion for somebody to judge, and money saved by it is not ours to promise.
"""

from collections.abc import Mapping

NOT_MEASURED = "suggested; its effect has not been measured"
NOTHING_TO_DO = "Change nothing on account of the number."
NO_SELLER = "Find out first whether this owner is a person who sells."

ACTIONS: Mapping[str, str] = {
    "win_rate": "Read the findings below before acting on the number.",
    "win_rate_moved": "Look at the parts below first: they say where the change comes from.",
    "win_rate_moved_by_money": "Compare the largest deals lost in the two times, one by one.",
    "win_rate_moved_in_a_year": "Set targets by the latest year, not by the one before.",
    "nothing_moved": NOTHING_TO_DO,
    "mix_shift": "Ask who decided on the new mix, and set the forecast by it.",
    "mix_of_created": "Set the forecast of the coming quarters by the mix that comes in now.",
    "segment_moved": "Read ten lost deals of this segment and look for one reason they share.",
    "stage_leak": "Read the deals lost from this stage in the period, and check what it takes to enter it.",
    "stage_tightened": "Find out what changed at this stage, and keep it.",
    "segments_differ": "Qualify deals of the weakest segment before time goes into them.",
    "cycle_moved": "Find out why deals take longer: other deals, or one stage in which they stay.",
    "slips_moved": "Review close dates with their owners before the period ends.",
    "seasons": "Compare a month with the same month of other years before it is called good or bad.",
    "slipped": "Go through the largest slipped deals and set new dates or close them.",
    "no_next_step": "Ask owners for a next step on each open deal without one, the largest first.",
    "stalled": "Go through stalled deals by amount: a next step, or an honest close.",
    "overdue": "Correct close dates that have passed; the forecast reads them.",
    "concentration": "Give the largest deals a sponsor each and tell the forecast without them.",
    "forecast": "Plan with the interval, not with the sum of open amounts.",
    "quarter": "Compare the interval with your plan while there is time to act.",
    "weak_rep": "Talk with the rep's manager about deals, not about the number.",
}
# Of what may move both ways, when it moved to the better.
BETTER: Mapping[str, str] = {
    "win_rate_moved_by_money": "Compare the largest deals won in the two times, one by one.",
    "segment_moved": "Find out what changed in this segment, and keep it.",
    "cycle_moved": "Find out why deals close sooner: other deals, or the same ones handled otherwise.",
    "slips_moved": "Find out what makes close dates hold, and keep it.",
}
_ASSOCIATION = "what goes with losing need not cause it; its effect has not been measured"
EVIDENCE: Mapping[str, str] = {
    "nothing_moved": "acting on chance moves nothing",
    "win_rate": "a figure, no cause",
    "segments_differ": _ASSOCIATION,
    "seasons": "a figure, no cause",
    "weak_rep": _ASSOCIATION,
}


def action_of(kind: str, *, is_better: bool = False) -> tuple[str, str]:
    """The suggestion for a kind of finding, by the way it moved, and its evidence state."""
    action = BETTER.get(kind, "") if is_better else ""
    return action or ACTIONS.get(kind, ""), EVIDENCE.get(kind, NOT_MEASURED)
