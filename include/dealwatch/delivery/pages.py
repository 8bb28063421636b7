"""A message as plain text and as an HTML page that mail programs and browsers show alike."""

import base64
import textwrap
from collections.abc import Mapping

from dealwatch.delivery.chart import CHART_WIDTH, chart_png, chart_words
from dealwatch.delivery.messages import Message
from dealwatch.delivery.replies import BUTTONS, NO_LINKS, Links
from dealwatch.delivery.review_lines import ToldLines, told_of, unsaid_of, words_of
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
from dealwatch.templating import environment

_WIDTH = 76
_TEXT_LENGTH = 2000
_PREVIEW_LENGTH = 140

_templates = environment("delivery")
_KIND = {
    "alert": "Alert",
    "digest": "Morning digest",
    "manager_digest": "Team digest",
    "channel_digest": "Channel digest",
    "trend": "Stage or segment",
    "review": "Review",
    "operations": "Operations notice",
}


def text_page(message: Message, links: Links = NO_LINKS) -> str:
    """The message for a terminal or a mail program that shows no HTML."""
    sections = sections_of(message)
    parts = [part for part in (state_of(message), title_of(message)) if part]
    if message.intro.strip():
        parts.append(_wrapped(clean(message.intro, _TEXT_LENGTH)))
    parts.extend(_text_section(section) for section in sections if not section.is_after)
    if message.cards_title and message.cards:
        parts.append(clean(message.cards_title, TITLE_LENGTH) + ":")
    parts.extend(_text_card(card, links) for card in cards_of(message))
    parts.extend(_text_told(told) for told in told_of(message))
    if more := more_of(message):
        url = safe_url(message.more_url)
        parts.append(f"{more}: {url}" if url else more)
    parts.extend(_text_section(section) for section in sections if section.is_after)
    if unsaid := unsaid_of(message):
        parts.append(_wrapped(unsaid))
    last = [_wrapped(clean(message.footer, _TEXT_LENGTH))] if message.footer.strip() else []
    if links.settings:
        last.append(f"Choose how you are told: {links.settings}")
    if last:
        parts.append("-- \n" + "\n".join(last))
    return "\n\n".join(parts) + "\n"


def html_page(
    message: Message,
    links: Links = NO_LINKS,
    *,
    chart_cid: str = "",
    is_alone: bool = False,
    pictures: Mapping[str, str] | None = None,
) -> str:
    """The message as one page: tables and inline styles, nothing loaded from elsewhere.

    The picture of `chart_png` is the part of the mail named by `chart_cid`; a page that stands alone holds it
    itself. Without either there is none. pictures: where those of a review are, by name; others are left out.
    """
    shown = pictures or {}
    cards = cards_of(message)
    sections = sections_of(message)
    return page(
        "message.html.j2",
        title=title_of(message),
        kind=_KIND[message.kind],
        is_operations=message.kind == "operations",
        state=state_of(message),
        intro=clean(message.intro, _TEXT_LENGTH),
        preview=_preview(cards, message),
        above=[section for section in sections if not section.is_after],
        below=[section for section in sections if section.is_after],
        cards=cards,
        cards_title=clean(message.cards_title, TITLE_LENGTH) if cards else "",
        colours=COLOURS,
        buttons=BUTTONS,
        links=links,
        chart_src=_picture_of(message) if is_alone else f"cid:{chart_cid}" if chart_cid else "",
        chart_alt=chart_words(message),
        chart_width=CHART_WIDTH,
        told=[(one, *_shown(one, shown)) for one in told_of(message)],
        unsaid=unsaid_of(message),
        more=more_of(message),
        more_url=safe_url(message.more_url),
        footer=clean(message.footer, _TEXT_LENGTH),
    )


def page(template: str, **values: object) -> str:
    """A template of this room, filled; every value is escaped."""
    return _templates.get_template(template).render(**values)


def data_url(png: bytes) -> str:
    """A picture within the page itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _shown(told: ToldLines, pictures: Mapping[str, str]) -> tuple[str, str]:
    """Where a sentence's picture is, and what it shows; both empty where there is none."""
    src = pictures.get(told.picture.name, "") if told.picture else ""
    return (src, words_of(told.picture)) if told.picture and src else ("", "")


def _picture_of(message: Message) -> str:
    picture = chart_png(message)
    return data_url(picture) if picture else ""


def _preview(cards: list[CardLines], message: Message) -> str:
    """What a mailbox shows beside the subject."""
    if message.told:
        return clean(message.told[0].sentence, _PREVIEW_LENGTH)
    return " · ".join(part for part in (cards[0].name, cards[0].headline) if part) if cards else ""


def _text_card(card: CardLines, links: Links) -> str:
    said = [card.lead, *card.told]
    lines = [_wrapped(line, indent="  " if n else "") for n, line in enumerate(said)]
    answers = links.answers.get(card.fingerprint, {})
    leads = [("Open in CRM", card.url), *((words, answers.get(kind, "")) for kind, words in BUTTONS.items())]
    return "\n".join([*lines, *(f"  {words}: {url}" for words, url in leads if url)])


def _text_told(told: ToldLines) -> str:
    lines = textwrap.fill(f"{told.number}. {told.sentence}", _WIDTH, subsequent_indent="   ")
    return "\n".join([lines, *([_wrapped(f"Do next: {told.do_next}", indent="   ")] if told.do_next else [])])


def _text_section(section: SectionLines) -> str:
    lines = [_wrapped(f"- {entry.told}", indent="  ") for entry in section.entries]
    title = section.title if ":" in section.title else f"{section.title}:"
    return "\n".join([title, *lines, *([f"  {section.more}"] if section.more else [])])


def _wrapped(line: str, *, indent: str = "") -> str:
    return textwrap.fill(
        line,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + ("  " if indent else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )
