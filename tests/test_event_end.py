"""A CRM's word is kept once, if it is the CRM's; anybody else is let in nowhere and told nothing."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select

from dealwatch.board.answers_app import answers_app
from dealwatch.crm.hubspot.webhooks import is_signed
from dealwatch.crm.salesforce.outbound import is_id
from dealwatch.delivery.links import event_address
from dealwatch.errors import SettingsError
from dealwatch.settings import Settings
from dealwatch.tables import crm_events
from dealwatch.warehouse import reading, writing
from standins.hubspot_webhooks import event, signed
from standins.salesforce_outbound import ORG, message

HOST = "https://crm.example.com"
SECRET = "5ecr3t-of-the-app"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
STAMP = 1_772_442_000_000
HUB = f"{HOST}/dealwatch/events/hubspot/hub"
# Signed by `openssl dgst -sha256 -hmac`, over the text that HubSpot's documentation puts together.
BODY = (
    b'[{"eventId":7,"subscriptionId":11,"portalId":62515,"appId":54321,"occurredAt":1772441999000,'
    b'"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":101,"propertyName":"dealstage",'
    b'"propertyValue":"contractsent","changeSource":"CRM_UI"}]'
)
SIGNATURE = "+10hbV0P5rbAASsXTxhc8X5Rp+rD21vVlhfB5PVVA60="
ESCAPED = "to=a%2Fb%40c%2Cd%20e&x=%281%29"
SIGNATURE_ESCAPED = "paIhipJc3KqI/LN9PsKyZmwIxnpU7xufFwEluVU9qVk="
DEAL = "006000000000001AAA"
TRUE = "<Ack>true</Ack>"
FALSE = "<Ack>false</Ack>"


class End:
    """The app, asked as from behind a proxy that calls it by another name."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings, self.now = engine, settings, NOW
        self.app = answers_app(settings, now=lambda: self.now)

    def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.7:8080") as client:
                return await client.post(path.replace("/dealwatch/", "/"), content=body, headers=headers)

        return asyncio.run(asked())

    def hubspot(
        self, body: bytes, signature: str, stamp: str = str(STAMP), at: str = "/events/hubspot/hub"
    ) -> int:
        told = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": stamp}
        return self.post(at, body, **told).status_code

    def tell(self, *events: dict[str, Any]) -> int:
        body, headers = signed(list(events), HUB, at=STAMP, secret=SECRET)
        return self.post("/events/hubspot/hub", body, **headers).status_code

    def salesforce(self, body: bytes) -> httpx.Response:
        return self.post(event_address(self.settings, "crm").removeprefix(HOST), body)

    def kept(self) -> list[Any]:
        with reading(self.engine) as connection:
            return list(connection.execute(select(crm_events).order_by(crm_events.c.deal_id)))


def settings_of(home: Path, **hub: Any) -> Settings:
    return Settings(
        home=home,
        signing_key=SecretStr("k" * 32),
        delivery={"public_url": HOST},
        sources={
            "hub": {"kind": "hubspot", "events": {"client_secret": SECRET}, **hub},
            "crm": {"kind": "salesforce", "events": {"organisation": ORG}},
            "quiet": {"kind": "hubspot"},
        },
    )


@pytest.fixture
def end(engine: Engine, settings: Settings) -> Iterator[End]:
    made = End(engine, settings_of(settings.home))
    yield made
    if made.app.state.desk.cache_info().currsize:
        made.app.state.desk().engine.dispose()


def test_what_hubspot_signed_is_kept_and_a_second_telling_is_the_same_row(end: End) -> None:
    assert end.hubspot(BODY, SIGNATURE) == 200
    (row,) = end.kept()
    assert (row.source, row.deal_id, row.what, row.state) == ("hub", "101", "stage", "waiting")
    assert row.happened_at == datetime(2026, 3, 2, 8, 59, 59, tzinfo=UTC) and row.received_at == NOW
    again = BODY.replace(b'"attemptNumber":0', b'"attemptNumber":3')
    text = b"POST" + HUB.encode() + again + str(STAMP).encode()
    told = base64.b64encode(hmac.digest(SECRET.encode(), text, hashlib.sha256)).decode()
    assert end.hubspot(again, told) == 200 and end.kept() == [row]


def test_the_escapes_that_hubspot_undoes_before_it_signs_are_undone(end: End) -> None:
    assert end.hubspot(BODY, SIGNATURE_ESCAPED, at=f"/events/hubspot/hub?{ESCAPED}") == 200
    assert end.hubspot(BODY, SIGNATURE_ESCAPED, at=f"/events/hubspot/hub?{ESCAPED}&y=1") == 401
    assert len(end.kept()) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"body": BODY.replace(b"101", b"102")},
        {"body": BODY + b" "},
        {"signature": SIGNATURE.replace("h", "H")},
        {"signature": ""},
        {"stamp": str(STAMP + 1)},
        {"stamp": ""},
        {"stamp": "-1"},
        {"stamp": "9" * 15},
        {"at": "/events/hubspot/hub?x=1"},
    ],
)
def test_what_was_changed_on_the_way_is_refused(end: End, changed: dict[str, Any]) -> None:
    assert end.hubspot(**({"body": BODY, "signature": SIGNATURE} | changed)) == 401
    assert end.kept() == []


def test_a_request_is_good_for_five_minutes(end: End) -> None:
    for late, status in ((300, 200), (301, 401), (-301, 401)):
        end.now = NOW + timedelta(seconds=late)
        assert end.hubspot(BODY, SIGNATURE) == status, late


def test_what_is_no_text_of_a_header_is_no_signature() -> None:
    asked = {"stamp": str(STAMP), "signature": "é" * 44, "now": NOW}
    assert not is_signed(SECRET, HUB, BODY, **asked)
    assert not is_signed(
        SECRET, HUB, BODY, **asked | {"stamp": "１７７２４４２００００００", "signature": SIGNATURE}
    )
    assert is_signed(SECRET, HUB, BODY, **asked | {"signature": SIGNATURE})


def test_another_apps_secret_or_an_older_signature_lets_nobody_in(end: End) -> None:
    body, headers = signed([event("101", "deal.creation", at=STAMP)], HUB, at=STAMP, secret="another")
    assert end.post("/events/hubspot/hub", body, **headers).status_code == 401
    second = hashlib.sha256(SECRET.encode() + b"POST" + HUB.encode() + BODY).hexdigest()
    old = {"X-HubSpot-Signature": second, "X-HubSpot-Signature-Version": "v2"}
    assert end.post("/events/hubspot/hub", BODY, **old).status_code == 401
    assert end.kept() == []


def test_without_a_secret_nothing_is_taken(engine: Engine, settings: Settings) -> None:
    end = End(engine, settings_of(settings.home, events={}))
    assert end.hubspot(BODY, SIGNATURE) == 401
    empty = base64.b64encode(hmac.digest(b"", b"POST" + HUB.encode() + BODY + str(STAMP).encode(), "sha256"))
    assert end.hubspot(BODY, empty.decode()) == 401


def test_the_secret_may_stand_in_the_connection(engine: Engine, settings: Settings) -> None:
    access = {"extra": {"client_secret": SECRET}}
    end = End(engine, settings_of(settings.home, events={}, access=access))
    assert end.hubspot(BODY, SIGNATURE) == 200
    end.app.state.desk().engine.dispose()


def test_every_change_of_a_deal_is_understood_and_other_objects_are_passed_over(end: End) -> None:
    told = [
        event("1", "deal.creation", at=STAMP),
        event("2", "deal.propertyChange", at=STAMP, propertyName="amount", propertyValue="7"),
        event("3", "deal.propertyChange", at=STAMP, propertyName="closedate", propertyValue=""),
        event("4", "object.propertyChange", at=STAMP, objectTypeId="0-3", propertyName="hubspot_owner_id"),
        event("5", "deal.deletion", at=STAMP),
        event("6", "deal.restore", at=STAMP),
        event("7", "deal.merge", at=STAMP, mergedObjectIds=[71, 72], newObjectId=73),
        event("8", "deal.propertyChange", at=STAMP, propertyName="description", propertyValue="secret words"),
        event("9", "contact.creation", at=STAMP),
        event("9", "object.creation", at=STAMP, objectTypeId="0-1"),
        {"subscriptionType": "deal.associationChange", "fromObjectId": 9, "occurredAt": STAMP},
        event("-9", "deal.creation", at=STAMP),
        event("99999999999999999999999", "deal.creation", at=STAMP),
        event("9", "deal.creation", at=10**17),
        "words",
    ]
    assert end.tell(*told) == 200  # type: ignore[arg-type]
    assert {row.deal_id: row.what for row in end.kept()} == {
        "1": "created", "2": "amount", "3": "close_date", "4": "owner", "5": "deleted", "6": "restored",
        "7": "merged", "71": "merged", "72": "merged", "73": "merged", "8": "changed",
    }  # fmt: skip
    assert "secret words" not in str(end.kept())


def test_what_we_write_ourselves_is_no_news_to_us(engine: Engine, settings: Settings) -> None:
    end = End(engine, settings_of(settings.home, write_back={"score": "deal_risk", "band": "deal_band"}))
    told = ["deal_risk", "deal_band", "dealstage", "description"]
    changed = [
        event(str(n), "deal.propertyChange", at=STAMP, propertyName=name) for n, name in enumerate(told, 1)
    ]
    assert end.tell(*changed) == 200
    assert [row.deal_id for row in end.kept()] == ["3", "4"]
    end.app.state.desk().engine.dispose()


def test_one_event_id_may_be_of_several_events(end: End) -> None:
    same = {"at": STAMP, "number": 5, "propertyName": "amount"}
    assert (
        end.tell(event("1", "deal.propertyChange", **same), event("2", "deal.propertyChange", **same)) == 200
    )
    other = {**same, "propertyName": "dealstage"}
    assert end.tell(event("1", "deal.propertyChange", **other)) == 200
    assert len(end.kept()) == 3


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_a_signed_body_that_is_no_list_is_refused(end: End, body: bytes) -> None:
    text = b"POST" + HUB.encode() + body + str(STAMP).encode()
    told = base64.b64encode(hmac.digest(SECRET.encode(), text, hashlib.sha256)).decode()
    assert end.hubspot(body, told) == 400 and end.kept() == []


def test_salesforce_is_acknowledged_once_its_notifications_are_kept(end: End) -> None:
    deals = [f"006{n:012d}AAA" for n in range(100)]
    body = message(deals)
    answer = end.salesforce(body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert answer.content == (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
        b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack>'
        b"</notificationsResponse></soapenv:Body></soapenv:Envelope>"
    )
    kept = end.kept()
    assert [row.deal_id for row in kept] == deals
    assert {(row.source, row.what, row.happened_at) for row in kept} == {("crm", "changed", NOW)}
    assert TRUE in end.salesforce(body).text and end.kept() == kept, "told again, it is the same"


def test_what_else_a_message_holds_is_passed_over(end: End, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    more = f"<sf:Name>Canary &amp; Sons</sf:Name><sf:Description>{'canary ' * 9000}</sf:Description>"
    assert TRUE in end.salesforce(message([DEAL], more=more)).text
    assert "canary" not in (caplog.text + str(end.kept())).lower()


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
WRONG = {
    "another org": message([DEAL], org="00D000000000002EAA"),
    "no org": message([DEAL], org=""),
    "another object": message(["001000000000001AAA"], type_="Account"),
    "an id of another object": message(["001000000000001AAA"]),
    "an id whose end does not fit": message(["006000000000001AAB"]),
    "an id of fifteen": message([DEAL[:15]]),
    "words for an id": message(["006' OR Id != '"]),
    "no id of the notification": message([DEAL], ids=["x"]),
    "no notification": message([]),
    "too many": message([DEAL] * 101),
    "an entity bomb": message([DEAL], head=BOMB, more="<sf:Name>&c;</sf:Name>"),
    "an entity from outside": message([DEAL], head=OUTSIDE, more="<sf:Name>&a;</sf:Name>"),
    "an id without an end": message(["006" + "0" * 100_000]),
    "too deep": message([DEAL], more="<a>" * 10_000 + "</a>" * 10_000),
    "cut short": message([DEAL])[:-9],
    "no XML": b"hello",
    "nothing": b"",
    "an encoding nobody knows": message([DEAL]).replace(b"UTF-8", b"wide-one"),
    "another name space": message([DEAL]).replace(b"2005/09/outbound", b"2099/09/outbound"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_message_that_salesforce_would_not_send_is_not_acknowledged(end: End, name: str) -> None:
    answer = end.salesforce(WRONG[name])
    assert answer.status_code == 400 and FALSE in answer.text
    assert end.kept() == []


def test_an_id_of_eighteen_tells_the_case_of_its_letters() -> None:
    assert is_id("04l0800002nrC5BAAU")
    assert (
        not is_id("04l0800002nrc5BAAU") and not is_id("04l0800002nrC5B") and not is_id("04l0800002nrC5BAAé")
    )


def test_an_address_of_salesforce_opens_by_its_own_token_only(engine: Engine, settings: Settings) -> None:
    ours = settings_of(settings.home)
    end = End(engine, ours)
    address = event_address(ours, "crm")
    token = address.partition("?token=")[2]
    assert re.fullmatch(r"[\w.-]{40,}", token), "it fits into an address as it is"
    moved = ours.model_copy(
        update={"sources": ours.sources | {"crm": ours.sources["crm"].model_copy(update={
            "events": ours.sources["crm"].events.model_copy(update={"address": 2})})}}  # type: ignore[union-attr]
    )  # fmt: skip
    others = [
        event_address(moved, "crm").partition("?token=")[2],
        event_address(ours.model_copy(update={"signing_key": SecretStr("x" * 32)}), "crm").partition("=")[2],
        event_address(ours.model_copy(update={"tenant": "b"}), "crm").partition("=")[2],
        token[:-1],
        "é",
        "",
    ]
    for other in others:
        answer = end.post(f"/events/salesforce/crm?token={other}", message([DEAL]))
        assert (answer.status_code, answer.content) == (404, b"")
    assert end.kept() == []
    assert TRUE in end.salesforce(message([DEAL])).text
    end.app.state.desk().engine.dispose()


def test_nobody_learns_which_sources_there_are(end: End) -> None:
    told = {}
    for path in ("hubspot/hub", "hubspot/nobody", "hubspot/quiet", "hubspot/crm"):
        told[path] = end.post(f"/events/{path}?token=x", BODY)
    for path in ("salesforce/crm", "salesforce/hub", "salesforce/nobody"):
        told[path] = end.post(f"/events/{path}?token=x", BODY)
    for path, answer in told.items():
        assert (answer.status_code, answer.content) == (401 if "hubspot" in path else 404, b""), path
    assert not end.app.state.desk.cache_info().currsize, "no warehouse was opened for them"


def test_a_body_is_read_to_its_bound_only(end: End) -> None:
    large = b"x" * (512 * 1024 + 1)
    assert end.post("/events/hubspot/hub", large).status_code == 413
    assert end.salesforce(large).status_code == 413


def test_while_the_warehouse_is_busy_the_crm_is_asked_to_tell_it_again(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dealwatch.board.desk.PATIENCE_SECONDS", 0.1)
    end.app.state.desk()
    with writing(end.engine):
        assert FALSE in end.salesforce(message([DEAL])).text
        assert end.hubspot(BODY, SIGNATURE) == 503
    assert end.kept() == []
    assert TRUE in end.salesforce(message([DEAL])).text and end.hubspot(BODY, SIGNATURE) == 200


def test_no_secret_is_in_what_is_logged(end: End, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    end.hubspot(BODY, SIGNATURE)
    end.hubspot(BODY, SIGNATURE[::-1])
    end.salesforce(WRONG["another org"])
    own = [record.getMessage() for record in caplog.records if record.name.startswith("dealwatch")]
    token = event_address(end.settings, "crm").partition("?token=")[2]
    assert own and not any(secret in " ".join(own) for secret in (SECRET, SIGNATURE, token, "contractsent"))
    assert SECRET not in repr(end.settings) and SECRET not in str(end.settings.model_dump(mode="json"))


def test_events_need_an_address_and_a_source_that_tells_them(settings: Settings) -> None:
    with pytest.raises(ValueError, match="set delivery.public_url"):
        Settings(home=settings.home, sources={"hub": {"kind": "hubspot", "events": {}}})
    with pytest.raises(SettingsError, match="sources.quiet.events"):
        event_address(settings_of(settings.home), "quiet")
    assert event_address(settings_of(settings.home), "hub") == HUB


def test_the_body_of_the_vector_is_what_hubspot_posts() -> None:
    (one,) = json.loads(BODY)
    assert {*event("1", "deal.creation", at=1)} <= {*one}
