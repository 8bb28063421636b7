"""The real HTTP client against a Teams webhook on loopback, and the card that it is given."""

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dealwatch.delivery import teams as channel
from dealwatch.delivery.parcel import Parcel, Refused, TryLater, Uncertain
from dealwatch.delivery.teams_card import MOST_BYTES, teams_body
from dealwatch.knobs import Delivery
from dealwatch.launch.airflow_home import free_port
from dealwatch.settings import Settings
from delivery_samples import ALERT, DIGEST, HOSTILE_NAMES, SAMPLES, card
from standins.teams import Webhook, is_card

NOW = datetime(2026, 3, 2, 7, tzinfo=UTC)
GOLDENS = Path(__file__).parent / "goldens"


def settings_of(url: str, **knobs: object) -> Settings:
    told = {"teams_hosts": ["127.0.0.1"], "timeout_seconds": 5, **knobs}
    return Settings(teams={"sales": SecretStr(url)}, delivery=Delivery.model_validate(told))


def parcel() -> Parcel:
    return Parcel("t1", NOW, "sales", ALERT, first_claimed_at=NOW)


def caught_by(fault: Any, webhook: Webhook) -> Exception:
    webhook.faults.append(fault)
    with pytest.raises((TryLater, Refused, Uncertain)) as caught:
        channel.send(parcel(), "sales", settings=settings_of(webhook.url))
    assert "s3cret" not in str(caught.value) and webhook.url not in str(caught.value)
    return caught.value


def test_a_card_is_posted_once_and_its_run_is_the_receipt(webhook: Webhook) -> None:
    settings = settings_of(webhook.url)
    receipt = channel.send(parcel(), channel.destination("sales", settings=settings), settings=settings)
    assert receipt.ref == "sales:08584run" and webhook.posts == 1
    (posted,) = webhook.cards
    assert posted["version"] == "1.4" and posted["fallbackText"] == ALERT.title
    assert channel.find(parcel(), "sales", settings=settings) is None


def test_the_url_is_in_no_log(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    channel.send(parcel(), "sales", settings=settings_of(webhook.url))
    caught_by(500, webhook)
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(settings_of(webhook.url))


@pytest.mark.parametrize("fault", ["drop", "refuse", 500, 502, 504])
def test_no_answer_is_doubt_and_is_not_posted_again(webhook: Webhook, fault: Any) -> None:
    assert isinstance(caught_by(fault, webhook), Uncertain)
    assert webhook.posts == 1 and len(webhook.cards) == (1 if fault == "drop" else 0)


def test_an_answer_that_comes_too_late_is_doubt(webhook: Webhook) -> None:
    webhook.faults.append(("slow", 1.5))
    with pytest.raises(Uncertain):
        channel.send(parcel(), "sales", settings=settings_of(webhook.url, timeout_seconds=1))


def test_a_rate_limit_is_kept_for_this_webhook_and_unavailable_is_tried_later(webhook: Webhook) -> None:
    limited = caught_by(("limit", 40), webhook)
    assert isinstance(limited, TryLater) and limited.wait == timedelta(seconds=40)
    assert limited.stops_place and not limited.stops_channel and not limited.remedy
    away = caught_by(503, webhook)
    assert isinstance(away, TryLater) and not away.stops_place and not away.remedy


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_card_that_is_refused_is_refused_for_good(webhook: Webhook, status: int) -> None:
    assert isinstance(caught_by(status, webhook), Refused)


@pytest.mark.parametrize("fault", [401, 403, 404, 410, ("redirect", "https://evil.test/")])
def test_a_webhook_that_is_gone_or_leads_elsewhere_is_for_a_person_to_mend(
    webhook: Webhook, fault: Any
) -> None:
    gone = caught_by(fault, webhook)
    assert isinstance(gone, TryLater) and gone.stops_place and "teams.sales" in gone.remedy
    assert webhook.posts == 1, "a redirect is not followed"


def test_what_cannot_be_reached_was_certainly_not_told(webhook: Webhook) -> None:
    url = f"http://127.0.0.1:{free_port()}/workflows/1?sig=s3cret"
    with pytest.raises(TryLater) as caught:
        channel.send(parcel(), "sales", settings=settings_of(url))
    assert caught.value.stops_channel and not caught.value.remedy and "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://prod-1.westeurope.logic.azure.com/workflows/1?sig=s3cret",
        "https://prod-1.westeurope.logic.azure.com:8443/workflows/1?sig=s3cret",
        "https://logic.azure.com.evil.test/?sig=s3cret",
        "https://evillogic.azure.com/?sig=s3cret",
        "https://logic.azure.com@evil.test/?sig=s3cret",
        "https://user@prod-1.logic.azure.com/?sig=s3cret",
        "https://169.254.169.254/?sig=s3cret",
        "https://prod-1.logic.azure.com:99999/?sig=s3cret",
        "ftp://prod-1.logic.azure.com/?sig=s3cret",
        "//prod-1.logic.azure.com/?sig=s3cret",
        "s3cret",
        "",
    ],
)
def test_a_url_that_leads_anywhere_else_is_not_called(url: str) -> None:
    settings = Settings(teams={"sales": SecretStr(url)})
    for call in (
        lambda: channel.destination("sales", settings=settings),
        lambda: channel.send(parcel(), "sales", settings=settings),
    ):
        with pytest.raises(TryLater) as caught:
            call()
        assert caught.value.remedy and caught.value.stops_place and "s3cret" not in str(caught.value)
    with pytest.raises(TryLater, match="has no URL"):
        channel.destination("finance", settings=settings)


@pytest.mark.parametrize(
    "url",
    [
        "https://prod-1.westeurope.logic.azure.com/workflows/1/triggers/manual/paths/invoke?sig=x",
        "https://prod-1.westeurope.logic.azure.com:443/workflows/1?sig=x",
        "https://default1.2.environment.api.powerplatform.com:443/powerautomate/automations?sig=x",
    ],
)
def test_the_urls_of_workflows_are_taken(url: str) -> None:
    settings = Settings(teams={"sales": SecretStr(url)})
    assert channel.destination("sales", settings=settings) == "sales"


# --- the card -----------------------------------------------------------------------------------------------


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name in {"text", "fallbackText"}:
                yield part
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_kind_of_message_is_a_card_that_a_workflow_takes(name: str) -> None:
    """When a change is meant, run with UPDATE_GOLDENS=1 and read the diff."""
    body = json.loads(teams_body(SAMPLES[name]))
    assert is_card(body)
    assert any(SAMPLES[name].title in text for text in texts(body))
    golden = GOLDENS / f"{name}.teams.json"
    rendered = json.dumps(body["attachments"][0]["content"], ensure_ascii=False, indent=1) + "\n"
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "hostile", [*HOSTILE_NAMES, "{{DATE(2026-01-01T00:00:00Z, SHORT)}} ${name}", "{{{DATE}}} $${x}", "[a](b)"]
)
def test_hostile_names_are_text_and_nothing_else(hostile: str) -> None:
    message = ALERT.model_copy(
        update={"title": hostile, "state": hostile, "cards": (card(hostile, headline=hostile),)}
    )
    body = json.loads(teams_body(message))
    content = body["attachments"][0]["content"]
    assert is_card(body)
    assert '"TextBlock"' not in json.dumps(content), "markdown is read in TextBlocks only"
    assert not any("{{" in text or "${" in text for text in texts(content))
    urls = [item["url"] for item in json_objects(content) if "url" in item]
    assert set(urls) == {"https://crm.example.com/deal/D-1007"}


def json_objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from json_objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from json_objects(part)


def test_a_card_that_would_be_too_big_counts_the_deals_that_did_not_fit() -> None:
    cards = tuple(card("ä" * 300, deal_id=f"D-{n}", headline="é" * 300) for n in range(40))
    message = DIGEST.model_copy(update={"kind": "operations", "cards": cards, "sections": (), "more": 2})
    body = teams_body(message)
    assert len(body) <= MOST_BYTES
    shown = sum(item.get("type") == "Container" for item in json_objects(json.loads(body)))
    assert 5 < shown < 40 and f"and {42 - shown} more deals" in body.decode()
