"""A click in Slack is one answer, if it truly comes from Slack, and the message shows it."""

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, update

from alert_samples import hire
from answers_desk import HOOK, NOON, Asked, form, tell_ann, told_settings
from dealwatch.board.clicks import click_of
from dealwatch.delivery.slack_replies import post_reply
from dealwatch.settings import Settings
from dealwatch.tables import alert_actions, alerts, deliveries
from dealwatch.warehouse import writing
from standins.slack import interaction

GOT_IT = {"action_id": "acknowledged"}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return told_settings(tmp_path / "home")


@pytest.fixture
def slack(engine: Engine, settings: Settings) -> Iterator[Asked]:
    tell_ann(engine, settings)
    asked = Asked(engine, settings)
    yield asked
    asked.close()


def test_got_it_is_kept_and_the_message_shows_it(slack: Asked) -> None:
    assert slack.click(GOT_IT).status_code == 200
    (kept,) = slack.rows(alert_actions)
    assert (kept.kind, kept.by, kept.via, kept.at) == ("acknowledged", "ann", "slack", NOON)
    assert kept.delivery_id == slack.delivery.delivery_id
    ((url, payload),) = slack.posted
    assert url == HOOK and payload["replace_original"] is True
    assert "Ann: Got it. Quiet until 9 Mar 2026 unless it gets worse." in str(payload)


def test_a_snooze_is_kept_with_its_choice_and_its_words_as_the_reason(slack: Asked) -> None:
    choices = ("1", "3", "7", "next_step", "close_date")
    for choice in choices:
        action = {"type": "static_select", "action_id": "snoozed", "selected_option": {"value": choice}}
        assert slack.click(action).status_code == 200
        slack.now += MINUTE
    kept = sorted(slack.rows(alert_actions), key=lambda row: row.at)
    assert tuple(row.choice for row in kept) == choices
    assert all(row.kind == "snoozed" and row.reason and row.until > slack.now for row in kept)
    assert slack.rows(alerts)[0].state == "snoozed"


def test_a_double_click_is_one_answer(slack: Asked) -> None:
    assert [slack.click(GOT_IT, at=NOON + n * MINUTE).status_code for n in (0, 1)] == [200, 200]
    assert len(slack.rows(alert_actions)) == 1


def test_what_slack_did_not_sign_just_now_is_refused(slack: Asked) -> None:
    for signing, refusal in (
        ({"secret": "another"}, "not signed by Slack"),
        ({"at": NOON - 6 * MINUTE}, "within the last five minutes"),
        ({"at": NOON + 6 * MINUTE}, "within the last five minutes"),
    ):
        answered = slack.click(GOT_IT, **signing)
        assert answered.status_code == 401 and refusal in answered.json()["detail"]
    assert slack.rows(alert_actions) == [] and slack.posted == []


def test_a_changed_byte_is_refused(slack: Asked) -> None:
    body = form(slack.payload(GOT_IT))
    good = slack.signed(body)
    headers = {
        name: good.request.headers[name] for name in ("x-slack-request-timestamp", "x-slack-signature")
    }
    changed = body.replace(b"acknowledged", b"false_alarms")
    assert len(changed) == len(body)
    answered = slack.ask("POST", "/dealwatch/slack/actions", content=changed, headers=headers)
    assert answered.status_code == 401
    assert [row.kind for row in slack.rows(alert_actions)] == ["acknowledged"]


def test_the_same_request_again_is_refused_and_a_later_one_is_not(slack: Asked) -> None:
    body = form(slack.payload(GOT_IT))
    assert slack.signed(body).status_code == 200
    slack.now += 4 * MINUTE
    replayed = slack.signed(body, at=NOON)
    assert replayed.status_code == 401 and "seen before" in replayed.json()["detail"]
    assert slack.signed(body).status_code == 200
    assert len(slack.rows(alert_actions)) == 1


def test_a_stranger_gets_no_further(slack: Asked) -> None:
    now = str(int(NOON.timestamp()))
    proofs: list[dict] = [
        {},
        {"X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": "now", "X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": "9" * 400, "X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": b"v0=\xe4"},
    ]
    for headers in proofs:
        for body in (b"", b"payload=%7B%7D", b"\xff\xfe"):
            answered = slack.ask("POST", "/dealwatch/slack/actions", content=body, headers=headers)
            assert answered.status_code == 401, (headers, body)


def test_without_a_secret_no_click_is_taken(engine: Engine, settings: Settings) -> None:
    tell_ann(engine, settings)
    closed = Asked(engine, settings.model_copy(update={"slack_signing_secret": None}))
    answered = closed.click(GOT_IT)
    assert answered.status_code == 503 and "signing secret" in answered.json()["detail"]
    assert closed.rows(alert_actions) == []


def test_a_body_beyond_the_bound_is_not_read_to_its_end(slack: Asked) -> None:
    assert slack.signed(b"x" * (256 * 1024 + 1)).status_code == 413


def test_open_in_crm_and_what_is_no_button_of_ours_leave_nothing_to_do(slack: Asked) -> None:
    assert slack.click({"action_id": "open_in_crm"}).status_code == 200
    assert slack.signed(form({**slack.payload(GOT_IT), "type": "view_submission"})).status_code == 200
    assert slack.rows(alert_actions) == [] and slack.posted == []


def test_a_signed_body_that_is_no_click_is_told_so(slack: Asked) -> None:
    stranger = form({"type": "block_actions", "user": {"id": "<x>"}})
    for body in (b"", b"payload=nonsense", b"payload=%5B%5D", b"&" * 100, stranger):
        assert slack.signed(body).status_code == 400, body


def test_an_alert_that_nobody_knows_is_told_to_the_one_who_clicked_alone(slack: Asked) -> None:
    delivery = slack.delivery.delivery_id
    assert slack.click({**GOT_IT, "block_id": f"dealwatch:unknown:{delivery}"}).status_code == 200
    ((_, payload),) = slack.posted
    assert payload["response_type"] == "ephemeral" and payload["replace_original"] is False
    assert "there is no such alert" in payload["text"]


def test_an_alert_that_is_over_cannot_be_snoozed_and_can_still_be_called_false(slack: Asked) -> None:
    over = {"state": "resolved", "resolved_at": NOON - MINUTE, "resolution": "won"}
    with writing(slack.engine) as connection:
        connection.execute(update(alerts).values(**over))
    slack.click({"action_id": "snoozed", "selected_option": {"value": "3"}})
    assert "over since 2 Mar 2026 (won)" in slack.posted[0][1]["text"]
    slack.click({"action_id": "false_alarm"})
    assert [row.kind for row in slack.rows(alert_actions)] == ["false_alarm"]


def test_by_is_the_owner_whose_slack_user_it_is_else_the_one_written_to_else_the_user(slack: Asked) -> None:
    hire(slack.engine, "bob", slack_user_id="U0BOB")
    for kind, user, channel in (
        ("already_knew", "U0BOB", "C0TEAM"),
        ("false_alarm", "U0NEW", "D01"),
        ("useful", "U0NEW", "C0TEAM"),
    ):
        assert slack.signed(form(slack.payload({"action_id": kind}, user=user, channel=channel))).is_success
    by = {row.kind: row.by for row in slack.rows(alert_actions)}
    assert by == {"already_knew": "bob", "false_alarm": "ann", "useful": "U0NEW"}
    assert "ada.l: " in str(slack.posted[-1][1])


def test_a_message_whose_row_is_gone_can_still_be_answered(slack: Asked) -> None:
    body = form(slack.payload(GOT_IT))
    with writing(slack.engine) as connection:
        connection.execute(deliveries.delete())
    assert slack.signed(body).status_code == 200
    assert len(slack.rows(alert_actions)) == 1
    assert slack.posted[0][1]["response_type"] == "ephemeral"


def test_while_the_morning_is_folded_a_click_gives_up_in_time_and_says_so(
    either_engine: Engine, either_settings: Settings, settings: Settings
) -> None:
    either = either_settings.model_dump(include={"home", "warehouse_url"})
    slack = Asked(either_engine, settings.model_copy(update=either))
    tell_ann(either_engine, slack.settings)
    assert slack.click(GOT_IT).is_success  # opens the warehouse
    with writing(either_engine, alone="fold"):
        began = time.monotonic()
        answered = slack.click({"action_id": "false_alarm"})
        took = time.monotonic() - began
    assert answered.status_code == 503 and 1.5 < took < 3
    assert "try again in a minute" in slack.posted[-1][1]["text"]
    assert [row.kind for row in slack.rows(alert_actions)] == ["acknowledged"]
    assert slack.click({"action_id": "false_alarm"}, at=NOON + MINUTE).is_success
    slack.close()


def test_somebody_of_whom_only_the_user_name_is_told_is_called_by_it(slack: Asked) -> None:
    place = {**slack.place, "channel": {"id": "C0TEAM", "name": "team"}}
    body, _ = interaction(GOT_IT, **place, user="U0NEW", at=0)
    assert slack.signed(body).is_success
    assert "ann: Got it" in str(slack.posted[-1][1])


@pytest.mark.parametrize(
    ("posts", "word"),
    [("slack_replies", "hooks.slack.com/actions/T0/1/secret"), ("teams", "example.com/run?sig=secret")],
)
def test_the_log_of_the_client_keeps_no_address_that_is_a_permission(
    posts: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever posts there hides them: loading it is enough."""
    import_module(f"dealwatch.delivery.{posts}")
    caplog.set_level(logging.INFO, "httpx")
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.post(f"https://{word}")
        client.post("https://example.com/open")
    assert "secret" not in caplog.text and "/open" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/actions/1",
        "https://hooks.slack.com.evil.test/1",
        "https://hooks.slack.com@evil.test/1",
        "https://evil.test/https://hooks.slack.com/",
        "file:///etc/passwd",
        "",
    ],
)
def test_nothing_is_posted_to_another_host(url: str, caplog: pytest.LogCaptureFixture) -> None:
    post_reply(url, {"text": "x"})
    assert "nothing was posted" in caplog.text
    assert url == "" or url not in caplog.text


def test_the_block_id_is_taken_apart_and_nothing_else_passes() -> None:
    payload = {
        "type": "block_actions",
        "user": {"id": "U1"},
        "actions": [{**GOT_IT, "block_id": "dealwatch:f:d"}],
    }
    click = click_of(form(payload))
    assert click is not None and (click.fingerprint, click.delivery_id) == ("f", "d")
    for block_id in ("", "dealwatch:f", "dealwatch:f:d:e", "other:f:d", f"dealwatch:{'f' * 300}:d"):
        payload["actions"] = [{**GOT_IT, "block_id": block_id}]
        with pytest.raises(ValueError, match="no click of ours"):
            click_of(form(payload))
