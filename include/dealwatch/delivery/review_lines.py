"""The lines of a review in plain words and bounded length, before a channel gives them a shape."""

from dataclasses import dataclass

from dealwatch.delivery.messages import COMPOSED, Message, Picture
from dealwatch.delivery.wording import LINE_LENGTH, TITLE_LENGTH, clean

SENTENCE_LENGTH = 700  # the longest a review has written was 420
UNSAID_LENGTH = 600
WORDS_LENGTH = 900  # Slack takes 1,000 of a file and 2,000 of a block


@dataclass(frozen=True)
class ToldLines:
    """One sentence of a review; an empty string is a line left out. `picture` shows what it says."""

    number: int
    sentence: str
    action: str
    action_evidence: str
    picture: Picture | None = None

    @property
    def do_next(self) -> str:
        """`Call the buyer (effect not yet measured).`"""
        if not self.action or not self.action_evidence:
            return self.action
        return f"{self.action.rstrip('.')} ({self.action_evidence.rstrip('.')})."


def told_of(message: Message) -> list[ToldLines]:
    """The sentences of a review, in order; a picture that two name is shown with the first."""
    by_name = {one.name: one for one in message.pictures}
    return [
        ToldLines(
            number=number,
            sentence=clean(told.sentence, SENTENCE_LENGTH),
            action=clean(told.action, LINE_LENGTH),
            action_evidence=clean(told.action_evidence, LINE_LENGTH // 2),
            picture=by_name.pop(told.picture, None),
        )
        for number, told in enumerate(message.told, start=1)
    ]


def unsaid_of(message: Message) -> str:
    """How much the review says beside this, and what it refuses to say."""
    return clean(message.unsaid, UNSAID_LENGTH)


def composed_of(message: Message) -> Picture | None:
    """The picture that stands for all of them."""
    return next((one for one in message.pictures if one.name == COMPOSED), None)


def words_of(picture: Picture, limit: int = WORDS_LENGTH) -> str:
    """What a picture shows, for those who do not see it; never empty."""
    return clean(picture.words, limit) or title_of_picture(picture)


def title_of_picture(picture: Picture) -> str:
    """What a picture is about; never empty."""
    return clean(picture.title, TITLE_LENGTH) or clean(picture.name, TITLE_LENGTH) or "Chart"
