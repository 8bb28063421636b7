"""A message as Slack shows it: Block Kit within Slack's limits, every outside text escaped.

Text from the CRM stands in `plain_text` objects, where nothing is a mention, a link or an emoji. A deal's
formatted lines are escaped and `verbatim`, so names become no links. The level is a colour and a word.
"""

from typing import Any

from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from dealwatch.delivery.messages import Message
from dealwatch.delivery.wording import TITLE_LENGTH, CardLines, cards_of, clean, more_of, title_of

SECTION_LENGTH = 3000
MOST_BLOCKS = 50
# Slack answers msg_blocks_too_long at about 13,200 characters over all blocks, which no page of theirs says.
MOST_CHARACTERS = 12_000
COLOURS = {"Critical": "#b42318", "High": "#b54708", "Medium": "#7a5c00", "Low": "#667085"}


def slack_payload(message: Message, delivery_id: str = "") -> dict[str, Any]:
    """`text`, `blocks` and `attachments` of chat.postMessage; deals that do not fit are counted instead."""
    cards = cards_of(message)
    for shown in range(len(cards), -1, -1):
        payload = _payload(message, cards[:shown], dropped=len(cards) - shown)
        if _blocks(payload) <= MOST_BLOCKS and _characters(payload) <= MOST_CHARACTERS:
            return payload
    raise ValueError("a message without deals does not fit into Slack's limits")  # its texts are bounded


def escape(text: str) -> str:
    """Slack's three control characters, in the order that does not escape twice."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fit(text: str, limit: int) -> str:
    """Escaped text of at most `limit` characters, cut before escaping so that no entity is broken."""
    room = limit
    while len(escaped := escape(clean(text, room))) > limit:
        room -= max(1, (len(escaped) - limit) // 5)
    return escaped


def _payload(message: Message, cards: list[CardLines], *, dropped: int) -> dict[str, Any]:
    blocks: list[Block] = [HeaderBlock(text=_plain(fit(title_of(message), TITLE_LENGTH)))]
    if message.intro.strip():
        blocks.append(SectionBlock(text=_plain(fit(message.intro, SECTION_LENGTH))))
    attachments = [
        BlockAttachment(
            blocks=_card(card),
            color=COLOURS.get(card.band, COLOURS["Low"]),
            fallback=fit(f"{card.band} {card.score} · {card.name}", SECTION_LENGTH),
        )
        for card in cards
    ]
    last: list[Block] = []
    if more := more_of(message, dropped=dropped):
        last.append(SectionBlock(text=_plain(more)))
    if message.footer.strip():
        last.append(ContextBlock(elements=[_plain(fit(message.footer, SECTION_LENGTH))]))
    if attachments and last:
        attachments.append(BlockAttachment(blocks=last, fallback=more or escape(clean(message.footer, 200))))
    else:
        blocks.extend(last)
    told = [title_of(message), *(f"{card.name}: {card.headline}" for card in cards[:1])]
    return {
        "text": fit(" · ".join(told), SECTION_LENGTH),
        "blocks": [block.to_dict() for block in blocks],
        "attachments": [attachment.to_dict() for attachment in attachments],
    }


def _card(card: CardLines) -> list[Block]:
    first = f"*{escape(card.band)} {card.score} · {_unformatted(card.name)}*"
    second = " · ".join(_unformatted(part) for part in card.about)
    said = [
        card.headline,
        f"Why: {card.why}" if card.why else "",
        f"Track record: {card.record}" if card.record else "",
        f"Do next: {card.action}" if card.action else "",
    ]
    blocks: list[Block] = [SectionBlock(text=MarkdownTextObject(text=f"{first}\n{second}", verbatim=True))]
    share = SECTION_LENGTH // len(said) - 1  # escaping can make a line five times as long
    if body := "\n".join(fit(line, share) for line in said if line):
        blocks.append(SectionBlock(text=_plain(body)))
    link = f"<{escape(card.url)}|Open in CRM>"
    if card.url and len(link) <= SECTION_LENGTH:  # a link that is cut leads nowhere
        blocks.append(SectionBlock(text=MarkdownTextObject(text=link, verbatim=True)))
    return blocks


def _unformatted(text: str) -> str:
    """Escaped, and with a zero-width space before each mark that would make the rest bold, struck or code."""
    escaped = escape(text)
    for mark in "*_~`":
        escaped = escaped.replace(mark, f"\u200b{mark}\u200b")
    return escaped


def _plain(text: str) -> PlainTextObject:
    return PlainTextObject(text=text, emoji=False)


def _blocks(payload: dict[str, Any]) -> int:
    return len(payload["blocks"]) + sum(len(part["blocks"]) for part in payload["attachments"])


def _characters(value: Any) -> int:
    """All text a payload shows, as Slack's own limit counts it."""
    if isinstance(value, dict):
        return sum(
            len(part) if name == "text" and isinstance(part, str) else _characters(part)
            for name, part in value.items()
        )
    return sum(_characters(part) for part in value) if isinstance(value, list) else 0
