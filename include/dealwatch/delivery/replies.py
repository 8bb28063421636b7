"""What a recipient can answer to a message: the buttons' words, and in an e-mail the links behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dealwatch.delivery.links import ANSWER_LIFE, SETTINGS_LIFE, link, settings_link
from dealwatch.delivery.messages import Message
from dealwatch.delivery.wording import CardLines
from dealwatch.settings import Settings

# Kind of the answer = the button's words. The words say what follows, never how to feel about it.
BUTTONS = {
    "acknowledged": "Got it",
    "snoozed": "Snooze",
    "already_knew": "Already knew",
    "false_alarm": "False alarm",
}
SNOOZES = {
    "1": "1 day",
    "3": "3 days",
    "7": "7 days",
    "next_step": "Until the next step",
    "close_date": "Until the close date moves",
}
OF_A_DEAL = ("next_step", "close_date")  # a stage has neither


def snoozes_of(card: CardLines) -> dict[str, str]:
    """The ways to put off what a card is about: choice = words."""
    return {choice: words for choice, words in SNOOZES.items() if card.is_deal or choice not in OF_A_DEAL}


@dataclass(frozen=True)
class Links:
    """Where the buttons of one copy of a message lead. Without links a page shows no such button."""

    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # fingerprint -> kind -> link
    settings: str = ""  # the recipient's own page: how they want to be told


NO_LINKS = Links()


def links_of(
    message: Message, delivery_id: str, recipient: str, at: datetime, *, settings: Settings
) -> Links:
    """The links of one copy of a message, the same on every try; none without delivery.public_url.

    `at` is when the copy was first claimed: the links end some days after. Operations notices have none:
    nobody may turn those off by a slip of the finger. Nor have reviews, which no person's settings stop.
    """
    if message.kind in ("operations", "review") or not recipient or settings.delivery.public_url is None:
        return NO_LINKS
    answers = {
        card.fingerprint: {
            kind: link(settings, delivery_id, card.fingerprint, kind, by=recipient, expires=at + ANSWER_LIFE)
            for kind in BUTTONS
        }
        for card in message.cards
        if card.fingerprint
    }
    return Links(answers, settings_link(settings, recipient, expires=at + SETTINGS_LIFE))
