"""The lines of a message, in plain words and bounded length, before a channel gives them a shape.

Texts come from a CRM: whatever they hold (control characters, line breaks, text turned right to left on
purpose, three hundred characters) leaves here as one short line. Escaping is the channel's part: it differs.
"""

import math
import unicodedata
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import quote, urlsplit

from dealwatch.delivery.messages import DealCard, Message

NAME_LENGTH = 80
LINE_LENGTH = 240
TITLE_LENGTH = 150
EXPANDED_CARDS = 3  # a digest explains its first deals and lists the others

# Characters that reorder or hide the text around them; nothing a salesperson writes needs them.
_DIRECTION_CONTROLS = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
_JOINS_PREVIOUS = frozenset("\u200d\ufe0e\ufe0f")


@dataclass(frozen=True)
class CardLines:
    """One deal, at most six lines; an empty string is a line left out."""

    band: str
    score: str
    name: str
    about: tuple[str, ...]  # account, amount, stage, close date
    headline: str
    why: str = ""
    record: str = ""
    action: str = ""
    url: str = ""


def card_lines(card: DealCard, *, is_expanded: bool = True) -> CardLines:
    """What a message says of a deal; a deal that is only listed keeps its first three lines."""
    name = clean(card.name, NAME_LENGTH) or clean(card.account or "", NAME_LENGTH) or "Deal without a name"
    lines = CardLines(
        band=clean(card.band, 12).capitalize(),
        score=str(card.score),
        name=name,
        about=_about(card, name),
        headline=clean(card.headline, LINE_LENGTH),
    )
    if not is_expanded:
        return lines
    return replace(
        lines,
        why="; ".join(clean(reason, LINE_LENGTH // 2) for reason in card.reasons[:3] if reason.strip()),
        record=clean(card.record, LINE_LENGTH),
        action=clean(card.action, LINE_LENGTH),
        url=safe_url(card.url),
    )


def cards_of(message: Message) -> list[CardLines]:
    """All deals of a message; of a long digest only the first are told in full."""
    listed_from = EXPANDED_CARDS if message.kind == "digest" else len(message.cards)
    return [card_lines(card, is_expanded=n < listed_from) for n, card in enumerate(message.cards)]


def title_of(message: Message) -> str:
    """The first line: what to do."""
    return clean(message.title, TITLE_LENGTH) or "dealwatch"


def more_of(message: Message, *, dropped: int = 0) -> str:
    """How many deals the message does not list."""
    count = message.more + dropped
    return f"and {count} more {'deal' if count == 1 else 'deals'}" if count else ""


def clean(text: str, limit: int) -> str:
    """One line without control characters, cut to `limit` with an ellipsis, never inside a letter."""
    spaced = "".join(
        " " if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} else c
        for c in text
        if c not in _DIRECTION_CONTROLS
    )
    line = " ".join(spaced.split())
    if len(line) <= limit:
        return line
    end = limit - 1
    while end > 0 and _continues(line, end):
        end -= 1
    space = line.rfind(" ", max(0, end - 20), end + 1)
    return line[: space if space > 0 else end].rstrip() + "…"


def _continues(line: str, at: int) -> bool:
    """Whether the character at a cut belongs to the one before it."""
    return unicodedata.combining(line[at]) > 0 or line[at] in _JOINS_PREVIOUS or line[at - 1] == "\u200d"


def money(amount: float | None, currency: str) -> str:
    """`EUR 45k`, `USD 1.25M`; three significant digits, because a message is not a ledger."""
    if amount is None or not math.isfinite(amount):
        return "no amount"
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(amount) >= size * 0.9995:
            return f"{clean(currency, 6)} {float(f'{amount / size:.3g}'):g}{letter}"
    return f"{clean(currency, 6)} {amount:.0f}"


def day(on: date) -> str:
    """`12 Mar 2026`, the same on every machine whatever its locale."""
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    return f"{on.day} {months[on.month - 1]} {on.year}"


def safe_url(url: str | None) -> str:
    """The link if it leads to a web page, with all that could end it early percent-encoded; else nothing."""
    try:
        is_web = urlsplit(url or "").scheme in {"https", "http"}
    except ValueError:  # such as an unclosed bracket around the host
        is_web = False
    if not url or not is_web:
        return ""
    return quote(url, safe="%/:=&?~#+!$,;@()*[]-._")


def _about(card: DealCard, name: str) -> tuple[str, ...]:
    account = clean(card.account or "", NAME_LENGTH)
    parts = [
        account if account != name else "",
        money(card.amount, card.currency),
        clean(card.stage, NAME_LENGTH // 2),
        f"closes {day(card.close_date)}" if card.close_date else "no close date",
        clean(card.owner or "", NAME_LENGTH // 2),
    ]
    return tuple(part for part in parts if part)
