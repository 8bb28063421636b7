"""The lines of a message, in plain words and bounded length, before a channel gives them a shape.

Texts come from a CRM: whatever they hold (control characters, line breaks, text turned right to left on
purpose, three hundred characters) leaves here as one short line. Escaping is the channel's part: it differs.
"""

import math
import unicodedata
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import quote, urlsplit

from dealwatch.delivery.messages import DIGESTS, DealCard, Message, TrendCard

NAME_LENGTH = 80
LINE_LENGTH = 240
TITLE_LENGTH = 150
COLOURS = {
    "Critical": "#b42318",
    "High": "#b54708",
    "Worse": "#b54708",
    "Medium": "#7a5c00",
    "Low": "#667085",
}
EXPANDED_CARDS = 3  # a digest explains its first deals and lists the others

# Characters that reorder or hide the text around them; nothing a salesperson writes needs them.
_DIRECTION_CONTROLS = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_WEEKDAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
_JOINS_PREVIOUS = frozenset("\u200d\ufe0e\ufe0f")


@dataclass(frozen=True)
class CardLines:
    """One deal, at most six lines with its buttons; an empty string is a line left out."""

    band: str
    name: str
    about: tuple[str, ...]  # account, amount, stage, close date
    risk: str  # the score, and what it was
    headline: str  # why it is said again, and what happened
    why: str = ""
    why_label: str = ""
    record: str = ""
    action: str = ""
    action_evidence: str = ""
    url: str = ""
    fingerprint: str = ""
    is_expanded: bool = True
    is_deal: bool = True

    @property
    def lead(self) -> str:
        """`High · Warehouse rollout · Acme Corp · EUR 45k · Proposal · closes 12 Mar 2026`."""
        return " · ".join((self.band, self.name, *self.about))

    @property
    def told(self) -> list[str]:
        """The lines below the lead, labelled."""
        lines = [
            " · ".join(part for part in (self.risk, self.headline) if part),
            f"{self.why_label}: {self.why}" if self.why else "",
            f"Track record: {self.record}" if self.record else "",
            f"Do next: {_with_note(self.action, self.action_evidence)}" if self.action else "",
        ]
        return [line for line in lines if line]


@dataclass(frozen=True)
class EntryLine:
    """One line of a digest's section."""

    word: str
    name: str
    about: str
    url: str

    @property
    def told(self) -> str:
        return " · ".join(part for part in (self.word, self.name, self.about) if part)


@dataclass(frozen=True)
class SectionLines:
    """A titled list of a digest."""

    title: str
    entries: tuple[EntryLine, ...]
    more: str
    is_after: bool


def card_lines(card: DealCard | TrendCard, *, is_expanded: bool = True) -> CardLines:
    """What a message says of a deal or trend; a deal that is only listed keeps its first two lines."""
    if isinstance(card, TrendCard):
        return _trend_lines(card)
    name = clean(card.name, NAME_LENGTH) or clean(card.account or "", NAME_LENGTH) or "Deal without a name"
    news = clean(card.news, LINE_LENGTH // 2)
    told = clean(card.headline, LINE_LENGTH)
    lines = CardLines(
        band=clean(card.band, 12).capitalize() or "Low",
        name=name,
        about=_about(card, name),
        risk=_risk(card),
        headline=" ".join(part for part in (_ended(news), told) if part),
        is_expanded=is_expanded,
    )
    if not is_expanded:
        mark = "unproven rule" if card.is_unproven else ""
        return replace(lines, headline=_with_note(lines.headline, mark))
    parts = card.changes or card.reasons[:3]
    return replace(
        lines,
        why="; ".join(clean(part, LINE_LENGTH // 2) for part in parts if part.strip()),
        why_label="Why now" if card.changes else "Why",
        record=clean(card.record, LINE_LENGTH),
        action=clean(card.action, LINE_LENGTH),
        action_evidence=clean(card.action_evidence, LINE_LENGTH // 2),
        url=safe_url(card.url),
        fingerprint=card.fingerprint,
    )


def _trend_lines(card: TrendCard) -> CardLines:
    """The sentence is told in full: an interval that is cut is none."""
    told = (_ended(clean(card.news, LINE_LENGTH // 2)), clean(card.headline, 2 * LINE_LENGTH))
    return CardLines(
        band="Worse",
        name=clean(card.name, NAME_LENGTH) or "Stage without a name",
        about=(),
        risk="",
        headline=" ".join(part for part in told if part),
        record=clean(card.record, LINE_LENGTH),
        action=clean(card.action, LINE_LENGTH),
        action_evidence=clean(card.action_evidence, LINE_LENGTH // 2),
        fingerprint=card.fingerprint,
        is_deal=False,
    )


def cards_of(message: Message) -> list[CardLines]:
    """All deals of a message; of a long digest only the first are told in full."""
    listed_from = EXPANDED_CARDS if message.kind in DIGESTS else len(message.cards)
    return [card_lines(card, is_expanded=n < listed_from) for n, card in enumerate(message.cards)]


def sections_of(message: Message) -> list[SectionLines]:
    """The lists of a digest, in order."""
    return [
        SectionLines(
            title=clean(section.title, TITLE_LENGTH),
            entries=tuple(
                EntryLine(
                    word=clean(entry.word, NAME_LENGTH // 2),
                    name=clean(entry.name, NAME_LENGTH) or "Deal without a name",
                    about=clean(entry.about, LINE_LENGTH),
                    url=safe_url(entry.url),
                )
                for entry in section.entries
            ),
            more=_more(section.more),
            is_after=section.is_after,
        )
        for section in message.sections
    ]


def state_of(message: Message) -> str:
    """What has become of the message since, or nothing."""
    return clean(message.state, TITLE_LENGTH)


def title_of(message: Message) -> str:
    """The first line: what to do."""
    return clean(message.title, TITLE_LENGTH) or "dealwatch"


def more_of(message: Message, *, dropped: int = 0) -> str:
    """How many deals the message does not list; of a review, the words that lead to the whole of it."""
    if message.kind == "review":
        return "The whole review" if safe_url(message.more_url) else ""
    return _more(message.more + dropped)


def _more(count: int) -> str:
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
    return f"{on.day} {_MONTHS[on.month - 1]} {on.year}"


def weekday(on: date) -> str:
    """`Mon 2 Mar`: a day of the past weeks, which needs no year."""
    return f"{_WEEKDAYS[on.weekday()]} {on.day} {_MONTHS[on.month - 1]}"


def safe_url(url: str | None) -> str:
    """The link if it leads to a web page, with all that could end it early percent-encoded; else nothing."""
    try:
        is_web = urlsplit(url or "").scheme in {"https", "http"}
    except ValueError:  # such as an unclosed bracket around the host
        is_web = False
    if not url or not is_web:
        return ""
    return quote(url, safe="%/:=&?~#+!$,;@()*[]-._")


def _risk(card: DealCard) -> str:
    """`Risk 82 (was 68 on Mon 2 Mar)`."""
    if card.was_score is None or card.was_on is None:
        return f"Risk {card.score}"
    model = ", by an earlier model" if card.is_new_model else ""
    return f"Risk {card.score} (was {card.was_score} on {weekday(card.was_on)}{model})"


def _with_note(sentence: str, note: str) -> str:
    """`Call the buyer (effect not yet measured).`"""
    return f"{sentence.rstrip('.')} ({note})." if note else sentence


def _ended(sentence: str) -> str:
    return sentence if not sentence or sentence[-1] in ".!?…" else f"{sentence}."


def _about(card: DealCard, name: str) -> tuple[str, ...]:
    account = clean(card.account or "", NAME_LENGTH)
    parts = [
        account if account.casefold() not in name.casefold() else "",
        money(card.amount, card.currency),
        clean(card.stage, NAME_LENGTH // 2),
        f"closes {day(card.close_date)}" if card.close_date else "no close date",
        clean(card.owner or "", NAME_LENGTH // 2),
    ]
    return tuple(part for part in parts if part)
