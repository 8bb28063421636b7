"""The pages behind links in e-mails: a visit changes nothing, a press of the button answers once."""

import html
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from answers_desk import HOST, NOON, Asked, tell_ann, told_settings
from dealwatch.alerts.speaking.choices import choice_of
from dealwatch.delivery.links import link
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alert_events, alerts, metadata, recipient_choices
from dealwatch.warehouse import reading, writing

HOSTILE = '</p><script>alert(1)</script> "Acme" & {{ 7*7 }} \u202egnp.exe'
ONE_CLICK = {
    "form": {"data": {"List-Unsubscribe": "One-Click"}},
    "multipart": {"files": {"List-Unsubscribe": (None, "One-Click")}},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return told_settings(tmp_path / "home")


@pytest.fixture
def house(engine: Engine, settings: Settings) -> Iterator[Asked]:
    tell_ann(engine, settings)
    asked = Asked(engine, settings)
    yield asked
    asked.close()


def text_of(page: str) -> str:
    """What a reader sees: without styles and tags."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def everything(house: Asked) -> dict[str, list]:
    return {table.name: house.rows(table) for table in metadata.sorted_tables}


def test_a_visit_changes_nothing(house: Asked) -> None:
    before = everything(house)
    for url in (house.link("acknowledged"), house.link("snoozed"), house.page()):
        assert [house.get(url).status_code for _ in range(2)] == [200, 200]
        assert house.ask("HEAD", url).status_code == 405
    assert everything(house) == before


def test_the_page_says_whose_deal_it_is_and_what_will_follow(house: Asked) -> None:
    told = text_of(house.get(house.link("acknowledged")).text)
    for words in (
        "Got it?",
        "Warehouse rollout",
        "stays quiet about this alert for 7 days",
        "You answer as Ann",
    ):
        assert words in told


def test_the_button_answers_and_the_second_press_says_so(house: Asked) -> None:
    first, second = (house.submit(house.link("false_alarm")) for _ in range(2))
    assert "Noted as a false alarm." in text_of(first.text) and "Noted already" in text_of(second.text)
    (kept,) = house.rows(alert_actions)
    assert (kept.kind, kept.by, kept.via) == ("false_alarm", "ann", "email")


def test_a_snooze_offers_its_choices_and_keeps_the_one_that_was_made(house: Asked) -> None:
    url = house.link("snoozed", "3")
    choices = re.findall(r'value="(\w+)"( checked)?><span>([^<]+)', house.get(url).text)
    assert [(value, bool(on)) for value, on, _ in choices] == [
        ("1", False),
        ("3", True),
        ("7", False),
        ("next_step", False),
        ("close_date", False),
    ]
    assert not any(words[0].islower() for *_, words in choices)
    told = text_of(house.submit(url, choice="next_step").text)
    assert "Quiet until 6 Mar 2026 unless it gets worse" in told
    (kept,) = house.rows(alert_actions)
    assert (kept.choice, kept.reason) == ("next_step", "until the next step")


def test_a_choice_that_cannot_be_kept_is_asked_again_with_the_reason(house: Asked) -> None:
    house.now += timedelta(days=5)  # the next step has passed
    refused = house.submit(house.link("snoozed"), choice="next_step")
    assert refused.status_code == 409
    assert "no next step to come" in text_of(refused.text) and "<form" in refused.text
    assert house.submit(house.link("snoozed"), choice="forever").status_code == 409
    assert house.rows(alert_actions) == []


def test_an_answer_cannot_be_made_another_by_its_form(house: Asked) -> None:
    house.submit(house.link("acknowledged"), choice="7", kind="snoozed", by="bob")
    (kept,) = house.rows(alert_actions)
    assert (kept.kind, kept.choice, kept.by) == ("acknowledged", "", "ann")


def test_an_alert_that_is_over_is_told_so_and_offers_no_button(house: Asked) -> None:
    url = house.link("snoozed")
    with writing(house.engine) as connection:
        over = {"state": "resolved", "resolved_at": NOON, "resolution": "won"}
        connection.execute(update(alerts).values(**over))
    page = house.get(url)
    assert "over since 2 Mar 2026: won" in text_of(page.text) and "<form" not in page.text
    assert house.submit(url, choice="3").status_code == 409
    assert "<form" in house.get(house.link("false_alarm")).text


def test_an_alert_that_nobody_knows_is_told_so(house: Asked) -> None:
    url = link(house.settings, "d", "f", "acknowledged", by="ann", expires=NOON + timedelta(days=1))
    page = house.get(url)
    assert page.status_code == 200 and "is no more" in text_of(page.text) and "<form" not in page.text
    assert house.submit(url).status_code == 409


def test_links_that_are_old_changed_or_of_another_kind_open_nothing(house: Asked) -> None:
    good, settings = house.link("acknowledged"), house.page()
    bad = [good[:-6], f"{HOST}/dealwatch/answer", settings.replace("/settings", "/answer")]
    house.now += timedelta(days=15)
    for url in (*bad, good):
        for answered in (house.get(url), house.submit(url)):
            assert answered.status_code == 401, url
            assert "This link cannot be used" in text_of(answered.text)
    assert "good until 16 Mar 2026" in text_of(house.get(good).text)
    assert house.get(good.replace("/answer", "/settings")).status_code == 401
    assert house.rows(alert_actions) == []


def test_pages_load_nothing_tell_nobody_and_stay_out_of_caches_and_frames(house: Asked) -> None:
    for url in (house.link("acknowledged"), house.page(), f"{HOST}/dealwatch/answer?token=x"):
        page = house.get(url)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "noindex" in page.headers["x-robots-tag"]
        assert not re.search(r"<script|<link|<img|src=|https?://", page.text)
        assert page.text.count("<h1>") == 1 and '<html lang="en">' in page.text


def test_the_style_is_the_one_that_the_policy_allows(house: Asked) -> None:
    import base64
    import hashlib

    page = house.get(house.page())
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, flags=re.DOTALL)
    proof = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{proof}'" in page.headers["content-security-policy"]
    assert "style=" not in page.text


def test_every_field_has_a_label(house: Asked) -> None:
    for url in (house.link("snoozed"), house.page()):
        page = house.get(url).text
        for field in re.findall(r"<input[^>]*>", page):
            name = re.search(r'id="(\w+)"', field)
            labelled = name and f'<label for="{name[1]}">' in page
            assert labelled or "hidden" in field or f'<label class="choice">{field}' in page, field


def test_hostile_names_are_text(engine: Engine, settings: Settings) -> None:
    tell_ann(engine, settings, name=HOSTILE)
    house = Asked(engine, settings)
    for page in (house.get(house.link("snoozed")), house.submit(house.link("acknowledged"))):
        assert "<script" not in page.text and "{{ 7*7 }}" in page.text and "\u202e" not in page.text
        assert "&lt;script&gt;" in page.text
    house.close()


def test_a_body_beyond_the_bound_is_refused(house: Asked) -> None:
    for url in ("/dealwatch/answer", "/dealwatch/settings"):
        assert house.ask("POST", url, content=b"x" * 17_000).status_code == 413
        assert house.ask("POST", url, content=b"&".join([b"a=b"] * 1000)).status_code == 400


def test_a_warehouse_that_is_not_ready_is_a_sentence_and_no_secret(house: Asked, tmp_path: Path) -> None:
    url = house.link("acknowledged")
    empty = Asked(house.engine, told_settings(tmp_path / "elsewhere"))
    answered = empty.get(url)
    assert answered.status_code == 503 and answered.headers["retry-after"] == "60"
    assert "cannot answer just now" in text_of(answered.text)
    assert str(tmp_path) not in answered.text


def test_a_person_chooses_how_to_be_told(house: Asked) -> None:
    assert "At the moment: single messages when" in text_of(house.get(house.page()).text)
    told = text_of(house.submit(house.page(), choice="digest_only").text)
    assert "Saved. One digest a morning at most" in told
    told = text_of(house.submit(house.page(), choice="nothing", until="2026-03-20").text)
    assert "Saved. Nothing about deals up to and including 20 Mar 2026." in told
    shown = house.get(house.page()).text
    assert 'value="nothing" checked' in shown and 'value="2026-03-20"' in shown
    kept = [(row.recipient, row.choice, row.until, row.by) for row in house.rows(recipient_choices)]
    assert sorted(kept) == [
        ("ann", "digest_only", None, "ann"),
        ("ann", "nothing", date(2026, 3, 20), "ann"),
    ]


def test_a_choice_that_means_nothing_changes_nothing(house: Asked) -> None:
    fields: tuple[dict[str, str], ...] = (
        {},
        {"choice": "never"},
        {"choice": "nothing"},
        {"choice": "nothing", "until": "2026-03-01"},
        {"choice": "nothing", "until": "2030-03-01"},
        {"choice": "nothing", "until": "soon"},
    )
    for filled in fields:
        refused = house.submit(house.page(), **filled)
        assert refused.status_code == 409 and "Nothing was changed." in text_of(refused.text)
    assert house.rows(recipient_choices) == []


@pytest.mark.parametrize("kind", sorted(ONE_CLICK))
def test_the_mail_programs_unsubscribe_means_digest_only(house: Asked, kind: str) -> None:
    answered = house.ask("POST", house.page(), **ONE_CLICK[kind])
    assert answered.status_code == 200 and "One digest a morning at most" in answered.text
    assert house.ask("POST", house.page(), **ONE_CLICK[kind]).status_code == 200
    (kept,) = house.rows(recipient_choices)
    assert (kept.recipient, kept.choice) == ("ann", "digest_only")


def test_unsubscribing_wakes_nobody_who_wants_nothing_and_holds_when_that_is_over(house: Asked) -> None:
    house.submit(house.page(), choice="nothing", until="2026-03-20")
    for _ in range(2):
        said = house.ask("POST", house.page(), **ONE_CLICK["form"]).text
        assert "20 Mar 2026" in said and "One digest a morning at most" in said
    assert [row.choice for row in house.rows(recipient_choices)] == ["nothing", "digest_only", "nothing"]
    with reading(house.engine) as connection:
        held = [
            choice_of(connection, "ann", datetime(2026, 3, day, 12, tzinfo=UTC), settings=house.settings)
            for day in (20, 21)
        ]
    assert [one.choice for one in held] == ["nothing", "digest_only"]


def test_an_unsubscribe_with_a_link_that_is_not_ours_is_refused(house: Asked) -> None:
    assert (
        house.ask(
            "POST", house.link("acknowledged").replace("answer", "settings"), **ONE_CLICK["form"]
        ).status_code
        == 401
    )
    assert house.rows(recipient_choices) == []


def test_every_route_is_one_that_asks_for_a_signature(house: Asked) -> None:
    routes = {(method, route.path) for route in house.app.routes for method in route.methods}
    assert routes == {
        ("POST", "/slack/actions"),
        ("GET", "/answer"),
        ("POST", "/answer"),
        ("GET", "/settings"),
        ("POST", "/settings"),
        ("POST", "/events/hubspot/{source}"),
        ("POST", "/events/salesforce/{source}"),
    }
    for method, path in routes:
        # Salesforce signs nothing: without the token in its address there is no such page.
        assert house.ask(method, path).status_code == (404 if "salesforce" in path else 401)
    assert {event.kind for event in house.rows(alert_events)} <= {"opened", "held"}
