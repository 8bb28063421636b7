"""Every channel shows the same few lines, whatever the CRM put into them, within its limits."""

import json
import os
import unicodedata
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from slack_sdk.models.blocks import Block

from dealwatch.delivery.chart import chart_png, chart_words
from dealwatch.delivery.links import offered
from dealwatch.delivery.messages import Entry, Message, PathPoint, Section, told_again
from dealwatch.delivery.pages import html_page, text_page
from dealwatch.delivery.replies import BUTTONS, NO_LINKS, links_of
from dealwatch.delivery.slack_blocks import fit, slack_payload
from dealwatch.delivery.wording import clean, money, safe_url
from dealwatch.settings import Settings
from delivery_samples import ALERT, DELIVERY, DIGEST, FINGERPRINT, HOSTILE_NAMES, LINKS, PATH, SAMPLES, card
from standins.slack import broken_limit

URL = "https://crm.example.com/deal/D-1007"
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
    links = NO_LINKS if name in ("operations", "review") else LINKS
    rendered = {
        "slack.json": lambda m: json.dumps(slack_payload(m, DELIVERY), indent=1, ensure_ascii=False) + "\n",
        "txt": lambda m: text_page(m, links),
        "html": lambda m: html_page(m, links, chart_cid="chart" if chart_png(m) else ""),
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
                 currency=name, reasons=(name,) * 9, changes=(name,) * 4, band=name, news=name,
                 action_evidence=name),
            card(name, account=name, fingerprint=""),
        ),
        state=name,
        cards_title=name,
        more=3,
        more_url="https://dealwatch.example.com",
    )  # fmt: skip
    check_slack(message, name)
    sections = tuple(
        Section(title=name, entries=(Entry(word=name, name=name, about=name, url=URL),) * 10, is_after=after)
        for after in (False, True)
    )
    digest = message.model_copy(update={"kind": "digest", "sections": sections})
    check_slack(digest.model_copy(update={"intro": "", "footer": ""}), name)


def check_slack(message: Message, name: str) -> None:
    payload = slack_payload(message, DELIVERY)
    first = fit(clean(name, 80) or "Deal without a name", 3000)
    # Of a digest whose lists are all entities no deal may be left; it is counted then.
    assert first in payload["attachments"][0]["fallback"] if payload["attachments"] else message.sections
    everything = [*texts_of(payload, "plain_text"), *texts_of(payload, "mrkdwn"), payload["text"]]
    everything += [part["fallback"] for part in payload["attachments"]]
    links = (f"<{URL}|Open in CRM>", f"<{URL}|Open>", "<https://dealwatch.example.com|All of them>")
    for text in everything:
        bare = text
        for link in links:
            bare = bare.replace(link, "")
        assert "<" not in bare and ">" not in bare and "\r" not in bare
        assert all(part.startswith(("amp;", "lt;", "gt;")) for part in bare.split("&")[1:])
    assert all("<!" not in text and "<@" not in text for text in everything)
    assert all("*bold*" not in text and "`code`" not in text for text in texts_of(payload, "mrkdwn"))
    assert broken_limit(payload) is None
    for block in [*payload["blocks"], *(b for part in payload["attachments"] for b in part["blocks"])]:
        Block.parse(block).validate_json()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_only_a_name_in_html(name: str) -> None:
    plain = Page(html_page(ALERT, LINKS))
    changed = card(name, account=name, headline=name, changes=(name,), record=name, action=name, stage=name)
    hostile = Page(html_page(ALERT.model_copy(update={"title": name, "cards": (changed,)}), LINKS))
    assert hostile.tags == plain.tags and hostile.attributes == plain.attributes
    assert hostile.links == plain.links == [URL, *LINKS.answers[FINGERPRINT].values(), LINKS.settings]
    assert clean(name, 80) in hostile.text


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_in_a_digest_is_only_a_name(name: str) -> None:
    def digest_about(name: str) -> Message:
        entry = Entry(word=name, name=name, about=name, url=URL)
        sections = (
            Section(title=name, entries=(entry,)),
            Section(title=name, entries=(entry,), is_after=True),
        )
        return DIGEST.model_copy(update={"intro": name, "sections": sections, "cards_title": name})

    plain, hostile = Page(html_page(digest_about("Plain"))), Page(html_page(digest_about(name)))
    assert (hostile.tags, hostile.links) == (plain.tags, plain.links)
    told = text_page(digest_about(name))
    assert not [c for c in told if unicodedata.category(c) == "Cc" and c != "\n"] and "\u202e" not in told


def test_nothing_in_a_page_is_loaded_from_elsewhere() -> None:
    page = Page(html_page(DIGEST, LINKS))
    assert not page.tags & {"img", "script", "link", "iframe", "object", "form"}
    assert {urlsplit(link).netloc for link in page.links} == {"crm.example.com", "dealwatch.example.com"}
    with_picture = Page(html_page(ALERT, LINKS, chart_cid="chart"))
    assert [link for link in with_picture.links if not link.startswith("https:")] == ["cid:chart"]


def test_no_deal_takes_more_than_six_lines() -> None:
    (told,) = text_page(ALERT.model_copy(update={"footer": "", "cards": (card(url=None),)})).split("\n\n")[1:]
    unwrapped = told.replace("\n    ", " ").replace("\nMar", " Mar").splitlines()
    assert len(unwrapped) == 5  # the buttons are the sixth
    assert (
        unwrapped[0] == "Critical · Warehouse rollout · Acme Corp · EUR 45k · Proposal · closes 12 Mar 2026"
    )
    payload = slack_payload(ALERT, DELIVERY)
    lead, body, buttons = payload["attachments"][0]["blocks"]
    assert len(lead["text"]["text"].splitlines()) + len(body["text"]["text"].splitlines()) == 5
    assert buttons["type"] == "actions"


def test_a_digest_explains_three_deals_and_lists_the_rest() -> None:
    assert text_page(DIGEST).count("Do next:") == 3
    assert "and 7 more deals" in text_page(DIGEST)


def test_deals_beyond_slacks_limits_are_counted_not_cut() -> None:
    many = Message(kind="alert", title="Many", cards=tuple(card("&" * 80) for _ in range(40)), more=2)
    payload = slack_payload(many)
    assert broken_limit(payload) is None
    shown = sum("Open in CRM" in text for text in texts_of(payload, "mrkdwn"))
    assert 0 < shown < 40
    assert f"and {40 - shown + 2} more deals" in texts_of(payload, "mrkdwn")


def test_the_level_is_told_in_words_as_well_as_in_colour() -> None:
    payload = slack_payload(ALERT)
    assert payload["attachments"][0]["color"] == "#b42318"
    assert texts_of(payload, "mrkdwn")[-1].startswith("*Critical · ")


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
    assert "closes 1 Mar 2026" in " ".join(told.split())


def test_the_buttons_say_which_alert_of_which_message_is_answered() -> None:
    (actions,) = [block for block in slack_payload(ALERT, DELIVERY)["attachments"][0]["blocks"]][2:]
    assert actions["block_id"] == f"dealwatch:{FINGERPRINT}:{DELIVERY}"
    told = [(element["action_id"], element["type"]) for element in actions["elements"]]
    assert told == [
        ("open_in_crm", "button"),
        ("acknowledged", "button"),
        ("snoozed", "static_select"),
        ("already_knew", "button"),
        ("false_alarm", "button"),
    ]
    choices = [option["value"] for option in actions["elements"][2]["options"]]
    assert choices == ["1", "3", "7", "next_step", "close_date"]
    assert not any(element.get("value") for element in actions["elements"])


@pytest.mark.parametrize("kind", ["digest", "manager_digest", "channel_digest"])
def test_a_digest_has_no_buttons_but_the_links_to_the_crm(kind: str) -> None:
    cards = tuple(one.model_copy(update={"fingerprint": FINGERPRINT}) for one in SAMPLES[kind].cards)
    payload = slack_payload(SAMPLES[kind].model_copy(update={"cards": cards}), DELIVERY)
    blocks = [*payload["blocks"], *(b for part in payload["attachments"] for b in part["blocks"])]
    assert {block["type"] for block in blocks} <= {"header", "section", "context"}


def test_once_its_alert_is_over_a_message_asks_for_nothing() -> None:
    over = told_again(ALERT, "Resolved 24 Mar 2026: won", is_over=True)
    payload = slack_payload(over, DELIVERY)
    assert payload["blocks"][0]["text"]["text"] == "Resolved 24 Mar 2026: won"
    assert payload["text"].startswith("Resolved 24 Mar 2026: won · ")
    assert payload["attachments"][0]["color"] == "#667085"
    for told in (text_page(over, LINKS), html_page(over, LINKS), json.dumps(payload)):
        assert "Got it" not in told and "Do next" not in told
    quiet = told_again(ALERT, "Acknowledged by Ada, quiet until 1 Dec", is_over=False)
    assert "Got it" in text_page(quiet, LINKS)


def test_a_message_stored_before_is_read_as_it_was() -> None:
    stored = {
        "kind": "alert",
        "title": "Call",
        "intro": "",
        "cards": [{"deal_id": "1", "name": "A", "account": None, "amount": None, "currency": "EUR",
                   "stage": "Proposal", "close_date": None, "owner": None, "score": 60, "band": "High",
                   "headline": "Old.", "reasons": [], "record": "", "action": "", "url": None}],
        "more": 0,
        "footer": "",
    }  # fmt: skip
    message = Message.model_validate(stored)
    assert "Risk 60 · Old." in text_page(message)
    assert chart_png(message) is None and chart_words(message) == ""


def test_the_picture_is_small_and_always_the_same() -> None:
    first = chart_png(ALERT)
    assert first is not None and first == chart_png(ALERT)
    assert first.startswith(b"\x89PNG") and len(first) < 30_000
    assert chart_words(ALERT) == "Risk since Mon 5 Jan: from 54 to 82 now, lowest 54, highest 82."
    assert f'alt="{chart_words(ALERT)}"' in html_page(ALERT, chart_cid="chart")
    assert "<img" not in html_page(ALERT) and "<img" not in html_page(DIGEST, chart_cid="chart")


def test_the_picture_is_drawn_for_any_scores() -> None:
    for scores in ((0, 100), (100, 100), (50, 0)):
        path = tuple(PathPoint(on=PATH[n].on, score=score) for n, score in enumerate(scores))
        assert chart_png(ALERT.model_copy(update={"cards": (card(path=path, band="?"),)}))
    assert chart_png(ALERT.model_copy(update={"cards": (card(path=PATH[:1]),)})) is None


def test_another_model_between_two_scores_is_told() -> None:
    told = text_page(ALERT.model_copy(update={"cards": (card(is_new_model=True),)}))
    assert "Risk 82 (was 68 on Mon 23 Feb, by an earlier model)" in " ".join(told.split())


def test_an_e_mails_buttons_lead_to_this_copys_own_links(tmp_path: Path) -> None:
    at = datetime(2026, 3, 2, 7, tzinfo=UTC)
    away = Settings(home=tmp_path)
    here = Settings(home=tmp_path, delivery={"public_url": "https://dealwatch.example.com"})
    assert links_of(ALERT, DELIVERY, "ann", at, settings=away) == NO_LINKS
    assert links_of(SAMPLES["operations"], DELIVERY, "operations", at, settings=here) == NO_LINKS
    links = links_of(ALERT, DELIVERY, "ann", at, settings=here)
    assert links == links_of(ALERT, DELIVERY, "ann", at, settings=here)
    assert list(links.answers[FINGERPRINT]) == list(BUTTONS)
    offer = offered(here, links.answers[FINGERPRINT]["snoozed"].rpartition("token=")[2], now=at)
    assert (offer.delivery_id, offer.fingerprint, offer.kind, offer.by) == (
        DELIVERY,
        FINGERPRINT,
        "snoozed",
        "ann",
    )
    assert links_of(DIGEST, DELIVERY, "ann", at, settings=here).answers == {}
