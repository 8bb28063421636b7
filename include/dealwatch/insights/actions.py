"""What to do about each kind of finding: one suggestion, and what is known of its effect.

Nobody has measured yet what any of these does to the win rate, so each says that: an action without evidence
is a suggestion for somebody to judge, and money saved by it is not ours to promise.
"""

from collections.abc import Mapping

NOT_MEASURED = "suggested; its effect has not been measured"
NOTHING_TO_DO = "Change nothing on account of this review."

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
    "cycle_moved": "Look at the stage in which deals stay longer, in the stages' picture.",
    "slips_moved": "Review close dates with their owners before the period ends.",
    "slipped": "Go through the largest slipped deals and set new dates or close them.",
    "no_next_step": "Ask owners for a next step on each open deal without one, the largest first.",
    "stalled": "Go through stalled deals by amount: a next step, or an honest close.",
    "overdue": "Correct close dates that have passed; the forecast reads them.",
    "concentration": "Give the largest deals a sponsor each and tell the forecast without them.",
    "forecast": "Plan with the interval, not with the sum of open amounts.",
    "quarter": "Compare the interval with the target while there is time to act.",
    "weak_rep": "Talk with the rep's manager about deals, not about the number.",
}
_ASSOCIATION = "what goes with losing need not cause it; its effect has not been measured"
EVIDENCE: Mapping[str, str] = {
    "nothing_moved": "acting on chance moves nothing",
    "win_rate": "a figure, no cause",
    "segments_differ": _ASSOCIATION,
    "weak_rep": _ASSOCIATION,
}


def action_of(kind: str) -> tuple[str, str]:
    """The suggestion for a kind of finding, and its evidence state."""
    return ACTIONS.get(kind, ""), EVIDENCE.get(kind, NOT_MEASURED)
