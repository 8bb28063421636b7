"""A message as Slack shows it: Block Kit within Slack's limits, every outside text escaped.

Text from the CRM stands in `plain_text` objects, where nothing is a mention, a link or an emoji. A deal's
formatted lines are escaped and `verbatim`, so names become no links. The level is a colour and a word.
"""

from typing import Any

from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ContextBlock,
    HeaderBlock,
    ImageBlock,
    InteractiveElement,
    MarkdownTextObject,
    Option,
    PlainTextObject,
    SectionBlock,
    StaticSelectElement,
)
from slack_sdk.models.blocks.basic_components import SlackFile

from dealwatch.delivery.messages import ABOUT_ONE, Message
from dealwatch.delivery.replies import BUTTONS, snoozes_of
from dealwatch.delivery.review_lines import (
    ToldLines,
    composed_of,
    title_of_picture,
    told_of,
    unsaid_of,
    words_of,
)
from dealwatch.delivery.wording import (
    COLOURS,
    TITLE_LENGTH,
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

SECTION_LENGTH = 3000
MOST_BLOCKS = 50
_LONGEST_ENTRY = 240
_LONGEST_SENTENCE = 900  # of a review, escaped; five of them with their actions fit
# Slack answers msg_blocks_too_long at about 13,200 characters over all blocks, which no page of theirs says.
MOST_CHARACTERS = 12_000


def slack_payload(message: Message, delivery_id: str = "", *, picture_ref: str = "") -> dict[str, Any]:
    """`text`, `blocks` and `attachments` of chat.postMessage; deals that do not fit are counted instead.

    Buttons carry the delivery's id; without one there are none. picture_ref: the id of an uploaded file.
    """
    if message.kind == "review":
        return _review(message, picture_ref)
    cards = cards_of(message)
    lists = sections_of(message)
    smaller = [(shown, len(lists)) for shown in range(len(cards), -1, -1)]
    for shown, listed in [*smaller, *((0, listed) for listed in range(len(lists) - 1, -1, -1))]:
        payload = _payload(
            message, cards[:shown], lists[:listed], delivery_id=delivery_id, dropped=len(cards) - shown
        )
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


def _payload(
    message: Message, cards: list[CardLines], lists: list[SectionLines], *, delivery_id: str, dropped: int
) -> dict[str, Any]:
    state = state_of(message)
    blocks: list[Block] = [SectionBlock(text=_plain(fit(state, SECTION_LENGTH)))] if state else []
    blocks.append(HeaderBlock(text=_plain(fit(title_of(message), TITLE_LENGTH))))
    if message.intro.strip():
        blocks.append(SectionBlock(text=_plain(fit(message.intro, SECTION_LENGTH))))
    blocks.extend(_section(section) for section in lists if not section.is_after)
    if message.cards_title and cards:
        blocks.append(SectionBlock(text=_bold(message.cards_title)))
    attachments = [
        BlockAttachment(
            blocks=_card(card, delivery_id if message.kind in ABOUT_ONE else ""),
            color=COLOURS["Low"] if state else COLOURS.get(card.band, COLOURS["Low"]),
            fallback=fit(f"{card.band} · {card.name} · {card.risk or card.headline}", SECTION_LENGTH),
        )
        for card in cards
    ]
    last = _last(message, [section for section in lists if section.is_after], dropped)
    if attachments and last:
        fallback = more_of(message, dropped=dropped) or escape(clean(message.footer, 200)) or "dealwatch"
        attachments.append(BlockAttachment(blocks=last, fallback=fallback))
    else:
        blocks.extend(last)
    told = [state, title_of(message), *(f"{card.name}: {card.headline}" for card in cards[:1])]
    return {
        "text": fit(" · ".join(part for part in told if part), SECTION_LENGTH),
        "blocks": [block.to_dict() for block in blocks],
        "attachments": [attachment.to_dict() for attachment in attachments],
    }


def _review(message: Message, picture_ref: str) -> dict[str, Any]:
    """One image for the whole review, then its sentences; all texts are bounded, so it always fits."""
    told, unsaid, picture = told_of(message), unsaid_of(message), composed_of(message)
    blocks: list[Block] = [HeaderBlock(text=_plain(fit(title_of(message), TITLE_LENGTH)))]
    if message.intro.strip():
        blocks.append(SectionBlock(text=_plain(fit(message.intro, SECTION_LENGTH // 2))))
    if picture is not None and picture_ref:
        title = _plain(fit(title_of_picture(picture), TITLE_LENGTH))
        blocks.append(
            ImageBlock(alt_text=words_of(picture), slack_file=SlackFile(id=picture_ref), title=title)
        )
    blocks.extend(_told(one) for one in told)
    if link := _link(safe_url(message.more_url), more_of(message)):
        blocks.append(SectionBlock(text=MarkdownTextObject(text=link, verbatim=True)))
    small = [_plain(fit(text, SECTION_LENGTH // 3)) for text in (unsaid, message.footer) if text.strip()]
    blocks.extend(ContextBlock(elements=[text]) for text in small)
    first = " · ".join([title_of(message), *(one.sentence for one in told[:1])])
    return {
        "text": fit(first, SECTION_LENGTH),
        "blocks": [block.to_dict() for block in blocks],
        "attachments": [],
    }


def _told(told: ToldLines) -> SectionBlock:
    lines = [fit(f"{told.number}. {told.sentence}", _LONGEST_SENTENCE)]
    if told.do_next:
        lines.append(fit(f"Do next: {told.do_next}", _LONGEST_SENTENCE // 2))
    return SectionBlock(text=_plain("\n".join(lines)))


def _last(message: Message, sections: list[SectionLines], dropped: int) -> list[Block]:
    """What stands below the deals: how many are not shown, what is due today, and the footer."""
    last: list[Block] = []
    if more := more_of(message, dropped=dropped):
        link = _link(safe_url(message.more_url), "All of them")
        text = f"{more} · {link}" if link else more
        last.append(SectionBlock(text=MarkdownTextObject(text=text, verbatim=True)))
    last.extend(_section(section) for section in sections)
    if message.footer.strip():
        last.append(ContextBlock(elements=[_plain(fit(message.footer, SECTION_LENGTH))]))
    return last


def _card(card: CardLines, delivery_id: str) -> list[Block]:
    first = f"*{escape(card.band)} · {_unformatted(card.name)}*"
    lead = " · ".join([first, *(_unformatted(part) for part in card.about)])
    blocks: list[Block] = [SectionBlock(text=MarkdownTextObject(text=lead, verbatim=True))]
    share = SECTION_LENGTH // 5 - 1  # escaping can make a line five times as long
    if body := "\n".join(fit(line, share) for line in card.told):
        blocks.append(SectionBlock(text=_plain(body)))
    if delivery_id and card.fingerprint:
        blocks.append(_buttons(card, delivery_id))
    elif link := _link(card.url, "Open in CRM"):
        blocks.append(SectionBlock(text=MarkdownTextObject(text=link, verbatim=True)))
    return blocks


def _buttons(card: CardLines, delivery_id: str) -> ActionsBlock:
    """All that says which alert is answered stands in the block's id; a click carries nothing else."""
    elements: list[InteractiveElement] = []
    if card.url and len(card.url) <= SECTION_LENGTH:
        elements.append(ButtonElement(text=_plain("Open in CRM"), action_id="open_in_crm", url=card.url))
    for kind, words in BUTTONS.items():
        if kind == "snoozed":
            options = [Option(value=choice, text=_plain(told)) for choice, told in snoozes_of(card).items()]
            elements.append(StaticSelectElement(placeholder=_plain(words), action_id=kind, options=options))
        else:
            elements.append(ButtonElement(text=_plain(words), action_id=kind))
    return ActionsBlock(block_id=f"dealwatch:{card.fingerprint}:{delivery_id}", elements=elements)


def _section(section: SectionLines) -> SectionBlock:
    lines = [_bold(section.title).text or ""]
    share = min((SECTION_LENGTH - 400) // max(len(section.entries), 1), _LONGEST_ENTRY)
    for entry in section.entries:
        link = _link(entry.url, "Open")
        room = share - len(link) - 4
        line = _unformatted_fit(entry.told, room if room > share // 2 else share)
        lines.append(f"• {line} · {link}" if link and room > share // 2 else f"• {line}")
    if section.more:
        lines.append(section.more)
    return SectionBlock(text=MarkdownTextObject(text="\n".join(lines), verbatim=True))


def _bold(text: str) -> MarkdownTextObject:
    return MarkdownTextObject(text=f"*{_unformatted_fit(text, 300)}*", verbatim=True)


def _link(url: str, words: str) -> str:
    """A link, or nothing: one that is cut leads nowhere."""
    link = f"<{escape(url)}|{words}>"
    return link if url and len(link) <= SECTION_LENGTH else ""


def _unformatted_fit(text: str, limit: int) -> str:
    """Unformatted text of at most `limit` characters."""
    room = limit
    while len(told := _unformatted(clean(text, room))) > limit:
        room -= max(1, (len(told) - limit) // 5)
    return told


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
