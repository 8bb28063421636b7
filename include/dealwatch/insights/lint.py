"""What may be said: a claim passes every check here, or is refused with a reason that the review shows.

All claims that something moved or differs are one family of comparisons: whoever looks at forty figures finds
two that chance made. They are said together or refused together, by Benjamini and Hochberg, so that a company
in which nothing happens reads of something in one review of ten at most.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dealwatch.insights.review import Finding
from dealwatch.insights.segments import POST_HOC
from dealwatch.insights.statistics import adjusted
from dealwatch.insights.wording import counted, interval

FALSE_SHARE = 0.10  # of what is said to have moved or to differ, that may be chance
FEWEST = 30  # deals below which a share is an anecdote
CHANCE = "chance explains it"  # how such a refusal begins
# Columns that only a closed deal has, as it ended: they describe outcomes and cannot explain them.
KNOWN_AT_CLOSE = (*POST_HOC, "cycle_days", "closed_at")


@dataclass(frozen=True)
class Claim:
    """A finding that wants to be said, and what the checks have to know about it.

    explains: the columns by which outcomes are explained. against: what is known to be wrong with it, said
        where the figure is made; empty when nothing is.
    """

    finding: Finding
    explains: tuple[str, ...] = ()
    against: str = ""


def judged(claims: Sequence[Claim]) -> tuple[list[Finding], list[Finding]]:
    """What may be said and what may not, each in the order given; q filled in for all that have a p."""
    before = [_before_comparing(claim) for claim in claims]
    p = [
        float("nan") if reason or claim.finding.p is None else claim.finding.p
        for claim, reason in zip(claims, before, strict=True)
    ]
    family = sum(one == one for one in p)
    said, refused = [], []
    for claim, reason, q in zip(claims, before, adjusted(p), strict=True):
        found = replace(claim.finding, q=float(q)) if q == q else claim.finding
        reason = reason or _by_chance(found, family)
        if reason:
            refused.append(replace(found, state="refused", refusal=reason))
        else:
            said.append(found)
    return said, refused


def _before_comparing(claim: Claim) -> str:
    """Why a claim is no claim, whatever chance says; empty when it is one."""
    found = claim.finding
    post_hoc = [name for name in claim.explains if name in KNOWN_AT_CLOSE]
    checks = (
        claim.against,
        f"{post_hoc[0]} is known only when a deal has closed: it tells how, not why" if post_hoc else "",
        "" if found.measures else "it has no figure",
        next((one.why for one in found.measures if not one.is_known), ""),
        _too_few(found),
        _unproven(found),
    )
    return next((reason for reason in checks if reason), "").rstrip(".")


def _too_few(found: Finding) -> str:
    """Only of claims: what is counted may be one deal."""
    if found.p is None:
        return ""
    least = min((one.n for one in found.measures), default=0)
    return f"it rests on {least} deals; below {FEWEST} a share is an anecdote" if least < FEWEST else ""


def _unproven(found: Finding) -> str:
    """Why a sentence is not one: a figure of it lacks its interval or its number of deals."""
    for one in found.measures:
        for part in (interval(one), counted(one, "")):
            if not _stands_in(part.strip(), found.sentence):
                return f"the sentence does not say {part.strip()!r} of {one.name}"
    return ""


def _stands_in(figure: str, sentence: str) -> bool:
    """Whether a figure is said, and not as a part of another: 30 is not said in 1,300 or 30.5."""
    return re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d|[.,]\d)", sentence) is not None


def _by_chance(found: Finding, family: int) -> str:
    if found.q is None or found.q < FALSE_SHARE:
        return ""
    assert found.p is not None
    return (
        f"{CHANCE}: alone, a difference as large comes {_often(found.p)}, and this is one of "
        f"{family} comparisons (q = {found.q:.2f}; said below {FALSE_SHARE:.2f})"
    )


def _often(p: float) -> str:
    return f"in {100 * p:.0f} of 100 samples" if p >= 0.01 else "in fewer than 1 of 100 samples"
