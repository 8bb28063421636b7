"""A review as a message: five sentences with what to do, their pictures, and what is not said."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from dealwatch.delivery.messages import COMPOSED, Message, Picture, Told
from dealwatch.delivery.wording import day
from dealwatch.insights.lint import FALSE_SHARE
from dealwatch.insights.review import Audience, Finding, Review
from dealwatch.insights.wording import month_name
from dealwatch.moments import local_day, spelled
from dealwatch.settings import Settings

log = logging.getLogger(__name__)

_CAVEATS = 3


@dataclass(frozen=True)
class Shown:
    """A picture as a message names it, and its bytes."""

    picture: Picture
    png: bytes


def drawn(review: Review, audience: Audience) -> tuple[Shown, ...]:
    """The pictures that a message to the audience shows: those of its sentences, and one of them all.

    What cannot be drawn is logged, and the message goes without pictures: the words say the same.
    """
    try:
        from dealwatch.insights import charts  # the plotting library is loaded for it alone

        pngs = charts.pictures(review, audience)
        named = [name for name in dict.fromkeys(one.picture for one in review.top(audience)) if name in pngs]
        if not named:
            return ()
        words = [charts.words_of(review, name) for name in named]
        all_of_it = _shown(COMPOSED, charts.composed(review, audience), " ".join(words))
        return (*(_shown(name, pngs[name], said) for name, said in zip(named, words, strict=True)), all_of_it)
    except Exception:
        log.exception("the review of %s goes without pictures", review.span.name)
        return ()


def _shown(name: str, png: bytes, words: str) -> Shown:
    title = "The review in one picture" if name == COMPOSED else name.replace("_", " ").capitalize()
    sha256 = hashlib.sha256(png).hexdigest()
    return Shown(Picture(name=name, sha256=sha256, title=title, words=words), png)


def letter(
    review: Review, audience: Audience, shown: Sequence[Shown], *, note: str = "", settings: Settings
) -> Message:
    """The message to an audience. note: what is to be known of the data's age."""
    top = review.top(audience)
    for_whom = "This version names reps: it is for managers only." if audience == "managers" else ""
    notes = [for_whom, note, *review.caveats[:_CAVEATS]]
    return Message(
        kind="review",
        title=title(review, settings),
        intro=" ".join(text for text in (*notes, "" if top else "Nothing can be said yet.") if text),
        told=tuple(Told(**_told(one)) for one in top),
        pictures=tuple(one.picture for one in shown),
        unsaid=unsaid(review, audience),
        more_url=_address(review, settings),
        is_private=audience == "managers",
        footer=f"{review.footer} Who gets this is set in [review] of the settings.",
    )


def _address(review: Review, settings: Settings) -> str | None:
    """The review's page behind Airflow's login; none where nobody said by which address people reach that."""
    host = settings.review.board_url
    return f"{host}/dealwatch-board/review/{review.period}/{spelled(review.as_of)}" if host else None


def title(review: Review, settings: Settings) -> str:
    """`Pipeline review of the week to 22 Nov 2026`, `Pipeline review of October 2026`."""
    last = local_day(review.span.until, settings)
    of = f"the week to {day(last)}" if review.period == "week" else f"{month_name(last.month)} {last.year}"
    return f"Pipeline review of {of}"


def unsaid(review: Review, audience: Audience) -> str:
    """How much more is said, and how much is refused, in a line on why."""
    refused = [one for one in review.refused if audience == "managers" or one.audience == audience]
    more = len(review.said_to(audience)) - len(review.top(audience))
    lines = [f"{_counted(more, 'more finding')} in the whole review."] if more else []
    if refused:
        by_chance = sum(one.q is not None and one.q >= FALSE_SHARE for one in refused)
        rest = len(refused) - by_chance
        why = [f"chance explains {by_chance}"] * bool(by_chance)
        why += [f"{rest} {'rests' if rest == 1 else 'rest'} on too little or would mislead"] * bool(rest)
        lines.append(f"{_counted(len(refused), 'claim')} looked at and not said: {'; '.join(why)}.")
    return " ".join(lines)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _told(found: Finding) -> dict[str, str]:
    return {name: getattr(found, name) for name in ("sentence", "action", "action_evidence", "picture")}
