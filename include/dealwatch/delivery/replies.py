"""What a recipient can answer to a message: the buttons' words, and in an e-mail the links behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Links:
    """Where the buttons of one copy of a message lead. Without links a page shows no such button."""

    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # fingerprint -> kind -> link
    settings: str = ""  # the recipient's own page: how they want to be told


NO_LINKS = Links()
