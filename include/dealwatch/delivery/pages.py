"""A message as plain text and as an HTML page that mail programs and browsers show alike."""

import textwrap

from jinja2 import Environment, PackageLoader, StrictUndefined

from dealwatch.delivery.messages import Message
from dealwatch.delivery.replies import NO_LINKS, Links
from dealwatch.delivery.slack_blocks import COLOURS
from dealwatch.delivery.wording import CardLines, cards_of, clean, more_of, title_of

_WIDTH = 76
_TEXT_LENGTH = 2000

_templates = Environment(
    loader=PackageLoader("dealwatch.delivery", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_KIND = {
    "alert": "Alert",
    "digest": "Morning digest",
    "manager_digest": "Team digest",
    "channel_digest": "Channel digest",
    "operations": "Operations notice",
}


def text_page(message: Message, links: Links = NO_LINKS) -> str:
    """The message for a terminal or a mail program that shows no HTML."""
    parts = [title_of(message)]
    if message.intro.strip():
        parts.append(_wrapped(clean(message.intro, _TEXT_LENGTH)))
    parts.extend(_text_card(card) for card in cards_of(message))
    if more := more_of(message):
        parts.append(more)
    if message.footer.strip():
        parts.append("-- \n" + _wrapped(clean(message.footer, _TEXT_LENGTH)))
    return "\n\n".join(parts) + "\n"


def html_page(message: Message, links: Links = NO_LINKS, *, chart_cid: str = "") -> str:
    """The message as one self-contained page: tables and inline styles, nothing loaded from elsewhere."""
    cards = cards_of(message)
    return page(
        "message.html.j2",
        title=title_of(message),
        kind=_KIND[message.kind],
        intro=clean(message.intro, _TEXT_LENGTH),
        preview=" · ".join(part for part in (cards[0].name, cards[0].headline) if part) if cards else "",
        cards=cards,
        colours=COLOURS,
        more=more_of(message),
        footer=clean(message.footer, _TEXT_LENGTH),
    )


def page(template: str, **values: object) -> str:
    """A template of this room, filled; every value is escaped."""
    return _templates.get_template(template).render(**values)


def _text_card(card: CardLines) -> str:
    said = [
        f"{card.band} {card.score} · {card.name}",
        " · ".join(card.about),
        card.headline,
        f"Why: {card.why}" if card.why else "",
        f"Track record: {card.record}" if card.record else "",
        f"Do next: {card.action}" if card.action else "",
    ]
    lines = [_wrapped(line, indent="  " if n else "") for n, line in enumerate(said) if line]
    return "\n".join([*lines, *([f"  {card.url}"] if card.url else [])])


def _wrapped(line: str, *, indent: str = "") -> str:
    return textwrap.fill(
        line,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + ("  " if indent else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )
