"""A message as an Adaptive Card, within what a Teams webhook takes.

Text of the CRM stands in `TextRun`s, which know no markdown: nothing in it is a link, a mention or bold. The
one thing a renderer reads in any text, a date function in double braces, is taken apart.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from dealwatch.delivery.messages import Message
from dealwatch.delivery.review_lines import ToldLines, told_of, unsaid_of
from dealwatch.delivery.wording import (
    CardLines,
    SectionLines,
    cards_of,
    clean,
    more_of,
    safe_url,
    sections_of,
    state_of,
    title_of,
)

MOST_BYTES = 27_000  # Teams takes 28 KB, its own envelope included
_VERSION = "1.4"
_FUNCTION = re.compile(r"(?<=[{$])(?=\{)")
_LINE = 720  # characters; a card is read on a phone
_STYLES = {"Critical": "attention", "High": "warning", "Medium": "accent", "Low": "default"}


def teams_body(message: Message) -> bytes:
    """What is posted to the webhook; deals and lists that do not fit are left out, and deals are counted."""
    cards, lists = cards_of(message), sections_of(message)
    smaller = [(shown, len(lists)) for shown in range(len(cards), -1, -1)]
    for shown, listed in [*smaller, *((0, listed) for listed in range(len(lists) - 1, -1, -1))]:
        body = _posted(teams_card(message, cards[:shown], lists[:listed], dropped=len(cards) - shown))
        if len(body) <= MOST_BYTES:
            return body
    raise ValueError("a message without deals does not fit into a Teams card")  # its texts are bounded


def teams_card(
    message: Message, cards: Sequence[CardLines], lists: Sequence[SectionLines], *, dropped: int = 0
) -> dict[str, Any]:
    """The card itself: what became of the message first, then what to do, then the deals."""
    body: list[dict[str, Any]] = []
    if state := state_of(message):
        body.append(_text(state, weight="Bolder"))
    body.append(_text(title_of(message), weight="Bolder", size="Medium"))
    if message.intro.strip():
        body.append(_text(message.intro))
    body.extend(_list(section) for section in lists if not section.is_after)
    if message.cards_title.strip() and cards:
        body.append(_text(message.cards_title, weight="Bolder"))
    body.extend(_deal(card) for card in cards)
    body.extend(_sentence(told) for told in told_of(message))
    if unsaid := unsaid_of(message):
        body.append(_text(unsaid, isSubtle=True))
    if more := more_of(message, dropped=dropped):
        url = safe_url(message.more_url)
        body.append(_link(more, url) if url else _text(more))
    body.extend(_list(section) for section in lists if section.is_after)
    if message.footer.strip():
        body.append(_text(message.footer, isSubtle=True, size="Small"))
    return {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": _VERSION,
        "fallbackText": _harmless(title_of(message)),
        "msteams": {"width": "Full"},
        "body": body,
    }


def _deal(card: CardLines) -> dict[str, Any]:
    items = [_text(card.lead, weight="Bolder"), *(_text(line) for line in card.told)]
    if card.url:
        items.append(_link("Open in CRM", card.url))
    style = _STYLES.get(card.band, "default")
    return {"type": "Container", "style": style, "separator": True, "items": items}


def _sentence(told: ToldLines) -> dict[str, Any]:
    """A sentence of a review, without its picture: a webhook takes no file, and 28 KB hold no chart."""
    items = [_text(f"{told.number}. {told.sentence}")]
    if told.do_next:
        items.append(_text(f"Do next: {told.do_next}", isSubtle=True))
    return {"type": "Container", "separator": True, "items": items}


def _list(section: SectionLines) -> dict[str, Any]:
    items = [_text(section.title, weight="Bolder"), *(_text(f"• {entry.told}") for entry in section.entries)]
    if section.more:
        items.append(_text(section.more))
    return {"type": "Container", "separator": True, "items": items}


def _link(title: str, url: str) -> dict[str, Any]:
    return {"type": "ActionSet", "actions": [{"type": "Action.OpenUrl", "title": title, "url": url}]}


def _text(text: str, **looks: Any) -> dict[str, Any]:
    run = {"type": "TextRun", "text": _harmless(clean(text, _LINE)), **looks}
    return {"type": "RichTextBlock", "inlines": [run]}


def _harmless(text: str) -> str:
    """With nothing that begins a function, such as {{DATE(...)}} or ${...}: no brace follows a brace or $."""
    return _FUNCTION.sub("\u200b", text)


def _posted(card: dict[str, Any]) -> bytes:
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    body = {"type": "message", "attachments": [attachment]}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
