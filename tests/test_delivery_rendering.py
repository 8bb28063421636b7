"""Every channel shows the same few lines, whatever the CRM put into them, within its limits."""

import json
import os
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from dealwatch.delivery.messages import Message
from dealwatch.delivery.pages import html_page, text_page
from dealwatch.delivery.slack_blocks import fit, slack_payload
from dealwatch.delivery.wording import clean, money, safe_url
from delivery_samples import ALERT, DIGEST, HOSTILE_NAMES, SAMPLES, card
from standins.slack import broken_limit

GOLDENS = Path(__file__).parent / "goldens"


class Page(HTMLParser):
    """The tags, links and visible text of a page, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def texts_of(payload: dict[str, Any], kind: str) -> list[str]:
    """All texts of one kind (plain_text, mrkdwn) in a Slack payload."""
    found: list[str] = []
    stack: list[Any] = [payload]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if value.get("type") == kind:
                found.append(value["text"])
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return found


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("ending", ["slack.json", "txt", "html"])
def test_a_message_looks_as_it_was_approved(name: str, ending: str) -> None:
    rendered = {
        "slack.json": lambda m: json.dumps(slack_payload(m), indent=1, ensure_ascii=False) + "\n",
        "txt": text_page,
        "html": html_page,
    }[ending](SAMPLES[name])
    golden = GOLDENS / f"{name}.{ending}"
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_only_a_name_in_slack(name: str) -> None:
    message = Message(
        kind="alert",
        title=name,
        intro=name,
        footer=name,
        cards=(
            card(name, account=name, stage=name, owner=name, headline=name, record=name, action=name,
                 currency=name, reasons=(name,) * 9, band=name),
        ),
    )  # fmt: skip
    payload = slack_payload(message)
    assert payload["attachments"][0]["fallback"].endswith(fit(clean(name, 80) or "Deal without a name", 3000))
    everything = [*texts_of(payload, "plain_text"), *texts_of(payload, "mrkdwn"), payload["text"]]
    everything += [part["fallback"] for part in payload["attachments"]]
    links = "<https://crm.example.com/deal/D-1007|Open in CRM>"
    for text in everything:
        bare = text.replace(links, "")
        assert "<" not in bare and ">" not in bare and "\r" not in bare
        assert all(part.startswith(("amp;", "lt;", "gt;")) for part in bare.split("&")[1:])
    assert all("*bold*" not in text and "`code`" not in text for text in texts_of(payload, "mrkdwn"))
    assert broken_limit(payload) is None
    for block in [*payload["blocks"], *(b for part in payload["attachments"] for b in part["blocks"])]:
        Block.parse(block).validate_json()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_only_a_name_in_html(name: str) -> None:
    plain, hostile = Page(html_page(ALERT)), None
    changed = card(name, account=name, headline=name, reasons=(name,), record=name, action=name, stage=name)
    hostile = Page(html_page(ALERT.model_copy(update={"title": name, "cards": (changed,)})))
    assert hostile.tags == plain.tags and hostile.attributes == plain.attributes
    assert hostile.links == plain.links == ["https://crm.example.com/deal/D-1007"]
    assert clean(name, 80) in hostile.text


def test_nothing_in_a_page_is_loaded_from_elsewhere() -> None:
    page = Page(html_page(DIGEST))
    assert not page.tags & {"img", "script", "link", "iframe", "object", "form"}
    assert set(page.links) == {"https://crm.example.com/deal/D-1007"}


def test_no_deal_takes_more_than_six_lines() -> None:
    (told,) = text_page(ALERT.model_copy(update={"footer": "", "cards": (card(url=None),)})).split("\n\n")[1:]
    unwrapped = told.replace("\n    ", " ").splitlines()
    assert len(unwrapped) == 6
    assert unwrapped[0] == "Critical 82 · Warehouse rollout"


def test_a_digest_explains_three_deals_and_lists_the_rest() -> None:
    assert text_page(DIGEST).count("Do next:") == 3
    assert "and 7 more deals" in text_page(DIGEST)


def test_deals_beyond_slacks_limits_are_counted_not_cut() -> None:
    many = Message(kind="alert", title="Many", cards=tuple(card("&" * 80) for _ in range(40)), more=2)
    payload = slack_payload(many)
    assert broken_limit(payload) is None
    shown = sum("Open in CRM" in text for text in texts_of(payload, "mrkdwn"))
    assert 0 < shown < 40
    assert f"and {40 - shown + 2} more deals" in texts_of(payload, "plain_text")


def test_the_level_is_told_in_words_as_well_as_in_colour() -> None:
    payload = slack_payload(ALERT)
    assert payload["attachments"][0]["color"] == "#b42318"
    assert texts_of(payload, "mrkdwn")[-1].startswith("*Critical 82 ")


def test_a_text_is_cut_between_words_and_never_inside_a_letter() -> None:
    assert clean("Renewal of the frame contract", 20) == "Renewal of the…"
    assert clean("a" * 30, 10) == "a" * 9 + "…"
    accented = "e\u0301" * 10
    assert clean(accented, 10) == "e\u0301" * 4 + "…"
    family = "👩\u200d👩\u200d👧" * 3
    assert clean(family, 9).rstrip("…") in {"", "👩\u200d👩\u200d👧"}


def test_a_line_stays_one_line_that_reads_left_to_right() -> None:
    assert clean("a\r\nBcc: b\x00\u2028c\u202ed\ud800", 80) == "a Bcc: b cd"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (45_000.0, "EUR 45k"),
        (1_249_000.0, "EUR 1.25M"),
        (999_950.0, "EUR 1M"),
        (950.4, "EUR 950"),
        (0.0, "EUR 0"),
        (-12_345.0, "EUR -12.3k"),
        (None, "no amount"),
        (float("nan"), "no amount"),
    ],
)
def test_amounts_are_short(amount: float | None, shown: str) -> None:
    assert money(amount, "EUR") == shown


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil", "", None, "http://[", "data:text/html,x"])
def test_only_web_links_are_links(url: str | None) -> None:
    assert safe_url(url) == ""
    assert "Open in CRM" not in html_page(ALERT.model_copy(update={"cards": (card(url=url),)}))


def test_a_text_fits_after_escaping_and_no_entity_is_cut() -> None:
    for text in ("&" * 300, "<&>" * 100, 'a&"' * 100):
        for limit in range(60, 90):
            told = fit(text, limit)
            assert limit - 15 <= len(told) <= limit
            assert all(part.startswith(("amp;", "lt;", "gt;")) for part in told.split("&")[1:])


def test_a_link_too_long_for_slack_is_left_out_there() -> None:
    payload = slack_payload(
        ALERT.model_copy(update={"cards": (card(url="https://crm.example.com/?" + "&" * 900),)})
    )
    assert broken_limit(payload) is None and len(payload["attachments"]) == 2
    assert not any("Open in CRM" in text for text in texts_of(payload, "mrkdwn"))


def test_a_link_cannot_end_early() -> None:
    url = 'https://crm.example.com/deal/D>|"<x> y'
    assert safe_url(url) == "https://crm.example.com/deal/D%3E%7C%22%3Cx%3E%20y"


def test_a_deal_that_is_all_blanks_still_has_a_card() -> None:
    blank = card("", account=None, amount=None, close_date=None, headline="", reasons=(), record="",
                 action="", url=None, stage="", band="")  # fmt: skip
    message = Message(kind="digest", title="", cards=(blank,))
    assert "Deal without a name" in text_page(message)
    assert broken_limit(slack_payload(message)) is None
    assert Page(html_page(message)).text


def test_dates_read_the_same_everywhere() -> None:
    told = text_page(ALERT.model_copy(update={"cards": (card(close_date=date(2026, 3, 1)),)}))
    assert "closes 1 Mar 2026" in told
