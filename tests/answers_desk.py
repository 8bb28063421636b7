"""The app that takes answers over a warehouse with one told alert, asked as a browser or Slack would."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr
from slack_sdk.signature import SignatureVerifier
from sqlalchemy import Engine, select, update

from alert_samples import MONDAY, Deal, at, extract, hire, prove, score_morning
from dealwatch.alerts.speaking.queue import speak
from dealwatch.board.answers_app import answers_app
from dealwatch.delivery.links import link, settings_link
from dealwatch.delivery.messages import Message
from dealwatch.knobs import Delivery
from dealwatch.settings import Settings
from dealwatch.tables import alerts, deal_snapshots, deliveries
from dealwatch.warehouse import reading, rows_of, writing
from standins.slack import interaction

SECRET = "shh-this-is-slacks"
HOOK = "https://hooks.slack.com/actions/T1/2/3"
NOON = at(MONDAY) + timedelta(hours=6)
HOST = "https://airflow.example.com"


def told_settings(home: Path) -> Settings:
    return Settings(
        home=home,
        sources={"crm": {"path": home}},
        slack_token=SecretStr("xoxb-1"),
        slack_signing_secret=SecretStr(SECRET),
        signing_key=SecretStr("k" * 32),
        delivery=Delivery(public_url=HOST),
    )


def tell_ann(engine: Engine, settings: Settings, *, name: str = "Warehouse rollout") -> None:
    """Ann is told of a stall on Monday; the deal closes on 20 May, its next step is on 6 March."""
    hire(engine, "ann", slack_user_id="U0ANN")
    hire(engine, "bob")
    prove(engine, "stage_stall")
    extract(engine, "2026-03-31")
    deal = Deal("1", {"stage_stall": 1}, name=name, close_date=date(2026, 5, 20))
    score_morning(engine, MONDAY, [deal])
    with writing(engine) as connection:
        connection.execute(update(deal_snapshots).values(next_step_on=date(2026, 3, 6)))
    speak(engine, settings=settings, as_of=at(MONDAY), now=at(MONDAY))


@dataclass
class Asked:
    """The app, its clock, and what it posted to Slack."""

    engine: Engine
    settings: Settings
    now: datetime = NOON
    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = answers_app(
            self.settings, now=lambda: self.now, post=lambda url, payload: self.posted.append((url, payload))
        )

    def close(self) -> None:
        """Leave no connection open behind a test."""
        if self.app.state.desk.cache_info().currsize:
            self.app.state.desk().engine.dispose()

    def ask(self, method: str, url: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
                return await client.request(method, url.replace("/dealwatch/", "/"), **more)

        return asyncio.run(asked())

    def get(self, url: str) -> httpx.Response:
        return self.ask("GET", url)

    def submit(self, page: str, **fields: str) -> httpx.Response:
        """Press the button of a page that a link leads to, with the fields a person filled in."""
        address, _, token = page.partition("?token=")
        return self.ask("POST", address, data={"token": token, **fields})

    def click(self, action: dict[str, Any], **signing: Any) -> httpx.Response:
        body = interaction(action, **self.place, at=0)[0]
        return self.signed(body, **signing)

    def signed(self, body: bytes, *, at: datetime | None = None, secret: str = SECRET) -> httpx.Response:
        stamp = str(int((at or self.now).timestamp()))
        proof = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body) or ""
        headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": proof}
        return self.ask("POST", "/dealwatch/slack/actions", content=body, headers=headers)

    def payload(self, action: dict[str, Any], *, user: str = "U0ANN", channel: str = "D01") -> dict[str, Any]:
        block = {"block_id": self.place["block_id"]}
        return {
            "type": "block_actions",
            "user": {"id": user, "username": "x", "name": "ada.l", "team_id": "T1"},
            "channel": {"id": channel, "name": "directmessage"},
            "response_url": HOOK,
            "actions": [{"type": "button", "value": "", **block, **action}],
        }

    def link(self, kind: str, choice: str = "") -> str:
        parts = (self.delivery.delivery_id, self.fingerprint, kind, choice)
        return link(self.settings, *parts, by="ann", expires=NOON + timedelta(days=14))

    def page(self, recipient: str = "ann") -> str:
        return settings_link(self.settings, recipient, expires=NOON + timedelta(days=60))

    def rows(self, table: Any) -> list[Any]:
        with reading(self.engine) as connection:
            return list(rows_of(connection, select(table)))

    @property
    def place(self) -> dict[str, Any]:
        """Where a click of Ann's happens."""
        block_id = f"dealwatch:{self.fingerprint}:{self.delivery.delivery_id}"
        return {"block_id": block_id, "channel": {"id": "D01", "name": "directmessage"}, "response_url": HOOK}

    @property
    def fingerprint(self) -> str:
        (row,) = self.rows(alerts)
        return str(row.fingerprint)

    @property
    def delivery(self) -> Any:
        (row,) = [row for row in self.rows(deliveries) if row.kind == "alert"]
        return row

    @property
    def message(self) -> Message:
        return Message.model_validate(self.delivery.message)


def form(payload: dict[str, Any]) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()
