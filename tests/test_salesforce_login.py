"""The two ways into a Salesforce org, and everything that is no way in."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from dealwatch.crm.salesforce.login import Login, Session, login_of
from dealwatch.errors import ExtractRefused
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
BY_SECRET = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET}
BY_KEY = {"consumer_key": CLIENT_ID, "private_key": PEM, "login": "integration@example.com"}


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server() as server:
        server.public_key = PUBLIC.decode()
        yield server


def session_of(server: Salesforce, told: dict[str, str]) -> Session:
    return Session(login_of({**told, "host": server.url}, "crm"), sleep=lambda _: None)


@pytest.mark.parametrize(
    "told",
    [
        BY_SECRET,
        BY_KEY,
        BY_KEY | {"private_key": PEM.replace("\n", "\\n")},
        BY_KEY | {"consumer_secret": "not asked for", "password": ""},
        BY_SECRET | {"login": "", "password": "", "private_key": "", "domain": ""},
    ],
    ids=["secret", "key", "key on one line", "key before secret", "blanks are absent"],
)
def test_we_are_let_in(told: dict[str, str], server: Salesforce) -> None:
    with session_of(server, told) as session:
        assert session.get(session.path("limits")).status == 200


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (BY_SECRET | {"consumer_secret": "canary-wrong"}, "invalid_client"),
        (BY_SECRET | {"consumer_key": "canary-unknown"}, "invalid_client_id"),
        (BY_KEY | {"login": "canary-other"}, "invalid_grant"),
    ],
)
def test_we_are_told_why_we_are_not_let_in(told: dict[str, str], code: str, server: Salesforce) -> None:
    with (
        session_of(server, told) as session,
        pytest.raises(ExtractRefused, match=rf"does not let us in \(400 {code}\); mend the conn") as raised,
    ):
        session.get(session.path("limits"))
    assert "canary" not in str(raised.value)
    assert server.calls.count("token") == 1


def test_a_key_that_is_none_is_said_without_it(server: Salesforce) -> None:
    with (
        session_of(server, BY_KEY | {"private_key": "canary-no-key"}) as session,
        pytest.raises(ExtractRefused, match="is no RSA key in PEM") as raised,
    ):
        session.get(session.path("limits"))
    assert "canary" not in repr(raised.value) and raised.value.__context__ is None


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({}, "no consumer_key"),
        ({"consumer_key": " ", "consumer_secret": "x"}, "no consumer_key"),
        ({"consumer_key": "k"}, "neither consumer_secret nor private_key; give"),
        ({"consumer_key": "k", "login": "u", "password": "canary"}, "a password is not enough"),
        ({"consumer_key": "k", "private_key": "canary"}, "private_key but no login"),
        (BY_SECRET, "names no org"),
    ],
)
def test_what_a_connection_lacks_is_named(told: dict[str, str], missing: str) -> None:
    with pytest.raises(ExtractRefused, match=missing) as raised:
        login_of(told, "crm")
    assert "the connection crm" in str(raised.value) and "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("told", "origin"),
    [
        ({"domain": "acme.my"}, "https://acme.my.salesforce.com"),
        ({"domain": "Acme--Test.sandbox.my"}, "https://acme--test.sandbox.my.salesforce.com"),
        ({"domain": "acme-dev-ed.develop.my"}, "https://acme-dev-ed.develop.my.salesforce.com"),
        ({"instance_url": "https://acme.my.salesforce.com/"}, "https://acme.my.salesforce.com"),
        ({"host": "acme.my.salesforce.com"}, "https://acme.my.salesforce.com"),
        ({"host": SecretStr("http://localhost:8123")}, "http://localhost:8123"),
    ],
)
def test_an_org_is_named_in_a_few_ways(told: dict[str, str], origin: str) -> None:
    assert login_of(BY_SECRET | told, "crm").origin == origin


@pytest.mark.parametrize(
    "told",
    [
        {"domain": "login"},
        {"domain": "test"},
        {"domain": "evil.test/x?y="},
        {"domain": "acme.my.salesforce.com"},
        {"domain": "acme.my\nx"},
        {"domain": "-acme.my"},
        {"domain": "127.0.0.1"},
        {"instance_url": "https://acme.my.salesforce.com.evil.test"},
        {"instance_url": "https://evil.test/acme.my.salesforce.com"},
        {"instance_url": "http://acme.my.salesforce.com"},
        {"host": "login.salesforce.com"},
        {"host": "na1.salesforce.com"},
        {"host": "evil.test"},
    ],
)
def test_no_secret_goes_to_another_address(told: dict[str, str]) -> None:
    words = "is no My Domain; write it as acme.my" if "domain" in told else "none of its own over https"
    with pytest.raises(ExtractRefused, match=words):
        login_of(BY_SECRET | told, "crm")


@pytest.mark.parametrize(
    "address", ["https://evil.test", "http://169.254.169.254", "https://a.my.salesforce.com.evil.test"]
)
def test_an_answer_cannot_send_us_elsewhere(address: str, server: Salesforce) -> None:
    login = login_of(BY_SECRET | {"host": server.url}, "crm")
    server.url = address
    with (
        Session(login, sleep=lambda _: None) as session,
        pytest.raises(ExtractRefused, match="none of its own"),
    ):
        session.get(session.path("limits"))


def test_a_real_org_cannot_send_us_to_this_machine(
    server: Salesforce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance_url on loopback is for stand-ins, which are on loopback themselves."""
    login = login_of(BY_SECRET | {"host": server.url}, "crm")
    far = Login("https://acme.my.salesforce.com", "crm", CLIENT_ID, login.secret)
    with Session(login, sleep=lambda _: None) as session:
        session.login = far
        with pytest.raises(ExtractRefused, match="none of its own"):
            session.get(session.path("limits"))


def test_the_address_that_an_org_names_is_asked_from_then_on(server: Salesforce) -> None:
    with salesforce_server() as other:
        other.tokens = server.tokens
        login = login_of(BY_SECRET | {"host": server.url}, "crm")
        server.url = other.url
        with Session(login, sleep=lambda _: None) as session:
            assert session.get(session.path("limits")).status == 200
        assert (server.calls, other.calls) == (["token"], ["limits"])
