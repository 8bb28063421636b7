"""A review as text to read in a shell: five sentences, what else is said, and what is refused and why."""

import textwrap
from collections.abc import Iterator

from dealwatch.insights.review import Audience, Finding, Review

_WIDTH = 100


def text(review: Review, audience: Audience = "everyone") -> str:
    """The review for an audience; refusals of what only managers may read are left out for everyone."""
    return "\n".join(_lines(review, audience)) + "\n"


def _lines(review: Review, audience: Audience) -> Iterator[str]:
    top, said = review.top(audience), review.said_to(audience)
    yield f"Review of the {review.period} {review.span.name}"
    yield from (line for one in review.caveats for line in _wrapped(f"Note: {one}"))
    yield ""
    if not top:
        yield "Nothing can be said yet."
    for number, one in enumerate(top, start=1):
        yield from _told(f"{number}. ", one)
    if said[len(top) :]:
        yield "\nAlso:"
        for one in said[len(top) :]:
            yield from _told("- ", one)
    refused = [one for one in review.refused if audience == "managers" or one.audience == audience]
    if refused:
        yield "\nNot said, and why:"
        for one in refused:
            yield from _wrapped(f"- {one.sentence} Refused: {one.refusal}.")
    yield ""
    yield from _wrapped(review.footer)


def _told(mark: str, one: Finding) -> Iterator[str]:
    yield from _wrapped(mark + one.sentence)
    yield from _wrapped(f"   Do: {one.action} ({one.action_evidence})")


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, _WIDTH, subsequent_indent="   ")
