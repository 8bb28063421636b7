"""A message is data until a channel renders it: what to say, never how it looks."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MessageKind = Literal["alert", "digest", "manager_digest", "channel_digest", "trend", "review", "operations"]
COMPOSED = "composed"  # the picture that stands for all of a message's, where one can be shown
MOST_TOLD = 5  # sentences; more do not fit into three minutes, nor into Slack's limits
ABOUT_ONE = ("alert", "trend")  # about one alert: it can be answered, changed where it stands, and followed
DIGESTS = ("digest", "manager_digest", "channel_digest")


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PathPoint(_Value):
    """A deal's score on an earlier day."""

    on: date
    score: int


class DealCard(_Value):
    """One deal in a message; every text in it may come from the CRM and is hostile until escaped."""

    deal_id: str
    fingerprint: str = ""  # of the alert that leads; without one the card has no buttons
    name: str
    account: str | None = None
    amount: float | None = None
    currency: str = "EUR"
    stage: str
    close_date: date | None = None
    owner: str | None = None
    score: int
    was_score: int | None = None  # at the last message about the deal, else a week ago
    was_on: date | None = None
    is_new_model: bool = False  # another model judged then
    band: str
    news: str = ""  # why it is said again: what got worse, which reminder, whose it was
    headline: str  # what happened, as the rule says it
    changes: tuple[str, ...] = ()  # what moved the score since `was_on`, each with its points; they sum
    reasons: tuple[str, ...] = ()  # at most three, each with its points
    record: str = ""  # the rule's track record, or that it has none
    is_unproven: bool = False  # the rule may not interrupt: it has no such record
    action: str = ""  # one suggestion
    action_evidence: str = ""  # what is known of the suggestion's effect
    path: tuple[PathPoint, ...] = ()  # the score over the past weeks, for a picture
    url: str | None = None


class TrendCard(_Value):
    """A stage or segment that got worse; its name comes from the CRM and is hostile until escaped."""

    subject: str  # `stage: Proposal`
    fingerprint: str = ""
    name: str
    news: str = ""  # which reminder it is
    headline: str  # what changed, with its interval and number of deals
    record: str = ""  # how often such an alert was followed by what it says
    action: str = ""
    action_evidence: str = ""


class Entry(_Value):
    """One deal on one line of a section."""

    word: str = ""  # what about it: New, Resolved
    name: str
    about: str = ""
    url: str | None = None


class Section(_Value):
    """A titled list of a digest."""

    title: str
    entries: tuple[Entry, ...] = ()
    more: int = 0  # entries that did not fit
    is_after: bool = False  # stands below the cards


class Told(_Value):
    """One sentence of a review, and what to do about it; segments and stages in it are words of the CRM."""

    sentence: str
    action: str = ""
    action_evidence: str = ""  # what is known of the action's effect
    picture: str = ""  # the name of one of the message's pictures


class Picture(_Value):
    """A picture of a message. Its bytes are in the warehouse, by their digest."""

    name: str
    sha256: str
    title: str = ""
    words: str = ""  # what it shows, for those who do not see it


class Message(_Value):
    """What one recipient is told at once."""

    kind: MessageKind
    title: str  # the first line: what to do
    state: str = ""  # what has become of it since it was sent, told above all else
    intro: str = ""
    cards: tuple[DealCard | TrendCard, ...] = ()
    cards_title: str = ""  # of a digest: how its deals were chosen
    more: int = 0  # deals that did not fit
    more_url: str | None = None  # where all of them are listed; of a review, where the whole of it is
    sections: tuple[Section, ...] = ()
    told: tuple[Told, ...] = Field(default=(), max_length=MOST_TOLD)  # of a review
    pictures: tuple[Picture, ...] = ()  # those that sentences name, and COMPOSED
    unsaid: str = ""  # of a review: how much it says beside this, and what it refuses to say
    is_private: bool = False  # it names people: for a mailbox or direct messages, never for a channel
    bands: tuple[int, int, int] = (25, 50, 75)  # top of Low, Medium and High
    footer: str = ""  # data as of, model and rules that spoke


def told_again(message: Message, state: str, *, is_over: bool) -> Message:
    """The message as it reads after something became of its alert; once that is over, nothing is asked."""
    told = {"state": state}
    if not is_over:
        return message.model_copy(update=told)
    cards = tuple(card.model_copy(update={"fingerprint": "", "action": ""}) for card in message.cards)
    title = cards[0].name if len(cards) == 1 else ""
    return message.model_copy(update={**told, "cards": cards, "title": title or message.title})
