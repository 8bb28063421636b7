"""Who we are to a Salesforce org, and a session of it that logs in again when it is over.

Two ways in, and no others: client credentials, and a JWT signed with our key. My Domain names the org.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
from pydantic import SecretStr

from dealwatch.crm.api import Again, Api, Declined, Later, Quota, is_near, origin_of
from dealwatch.crm.bodies import JSON, Broken
from dealwatch.crm.http import Answer, Client, Policy, Reads, read_json_of
from dealwatch.errors import ExtractRefused, SourceDown

VERSION = "64.0"
OLDEST_VERSION = 50.0  # from here on a CSV's columns come in the order asked for

_KIND = r"(?:\.(?:sandbox|develop|scratch|trailblaze|demo|patch|free))?"
_MY_DOMAIN = re.compile(rf"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?{_KIND}\.my", re.IGNORECASE)
_HOSTS = re.compile(_MY_DOMAIN.pattern + r"\.salesforce\.com", re.IGNORECASE)
_USAGE = re.compile(r"api-usage=(\d+)/(\d+)")
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LOGINS = 3  # in one request; a fresh session that is over at once is no accident the third time


class NotLetIn(ExtractRefused):
    """The org does not take our login; `code` is its own word for the reason."""

    def __init__(self, words: str, *, code: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Login:
    """`origin` is the org's address. By `secret` it is client credentials, by `key` a JWT for `username`."""

    origin: str
    connection: str
    client_id: str
    secret: SecretStr | None = None
    key: SecretStr | None = None
    username: str = ""


def salesforce(connection: str) -> Api:
    """Salesforce's own: hosts, error codes and quota; `connection` is what a person mends."""
    return Api(
        name="Salesforce",
        hosts=_HOSTS,
        remedy=f"mend the connection {connection}",
        code_of=lambda body: body[0]["errorCode"] if isinstance(body, list) else body["error"],
        meanings={
            (403, "REQUEST_LIMIT_EXCEEDED"): Later(timedelta(hours=1)),
            (400, "EXCEEDED_QUOTA"): Later(timedelta(hours=1)),
            (400, "QUERY_TIMEOUT"): Later(timedelta(minutes=10)),
            # The edge in front of Salesforce answers so for moments at a time.
            (406, ""): Again(),
            (420, ""): Again(),
        },
        quota_of=_quota_of,
    )


def _quota_of(headers: Mapping[str, str]) -> Quota | None:
    found = _USAGE.search(headers.get("sforce-limit-info", ""))
    return Quota(int(found[1]), int(found[2])) if found else None


def login_of(told: Mapping[str, SecretStr | str | None], connection: str) -> Login:
    """Who we are, by the fields of an Airflow connection; what is blank is absent.

    told: consumer_key, consumer_secret, private_key, login (the user's name), and one of domain ("acme.my"),
    instance_url or host. Raises ExtractRefused, naming what is missing.
    """
    said = {name: _plain(value) for name, value in told.items()}
    where = f"the connection {connection}"
    if not said.get("consumer_key"):
        raise ExtractRefused(f"{where} has no consumer_key; give that of the external client app")
    if said.get("private_key") and not said.get("login"):
        raise ExtractRefused(f"{where} has a private_key but no login; name the user it signs for")
    if not said.get("private_key") and not said.get("consumer_secret"):
        old = "; a password is not enough, that way in is going away" if said.get("password") else ""
        raise ExtractRefused(f"{where} has neither consumer_secret nor private_key{old}; give one of them")
    is_signed = bool(said.get("private_key"))
    return Login(
        origin=_address(said, connection),
        connection=connection,
        client_id=said["consumer_key"],
        secret=None if is_signed else SecretStr(said["consumer_secret"]),
        key=SecretStr(said["private_key"]) if is_signed else None,
        username=said.get("login", ""),
    )


def _plain(value: SecretStr | str | None) -> str:
    return (value.get_secret_value() if isinstance(value, SecretStr) else value or "").strip()


def _address(said: Mapping[str, str], connection: str) -> str:
    domain, address = said.get("domain", ""), said.get("instance_url", "") or said.get("host", "")
    if domain:
        if not _MY_DOMAIN.fullmatch(domain):
            raise ExtractRefused(
                f"the domain of the connection {connection} is no My Domain; write it as acme.my, or as "
                "acme--test.sandbox.my for a sandbox"
            )
        address = f"https://{domain}.salesforce.com"
    elif not address:
        raise ExtractRefused(f"the connection {connection} names no org; write domain as acme.my")
    elif "://" not in address:
        address = f"https://{address}"
    return origin_of(salesforce(connection), address, near=True)


class Session:
    """Questions to one org in one API version; logs in when needed. Use it in `with`, as often as you like.

    `policy` and `sleep` are the client's.
    """

    def __init__(
        self,
        login: Login,
        *,
        version: str = VERSION,
        policy: Policy | None = None,
        sleep: Callable[[float], None],
    ) -> None:
        if not re.fullmatch(r"\d{2,3}\.0", version) or float(version) < OLDEST_VERSION:
            raise ExtractRefused(f"api_version {version[:20]!r} is none; write one such as {VERSION}")
        self.login, self.version, self.sleep = login, version, sleep
        self._policy, self._asked_before = policy, 0
        self._client = Client(salesforce(login.connection), login.origin, policy=policy, sleep=sleep)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go; the next question opens new ones."""
        self._client.close()

    @property
    def quota(self) -> Quota | None:
        return self._client.quota

    @property
    def asked(self) -> int:
        """How often anything was asked."""
        return self._asked_before + self._client.asked

    def path(self, rest: str, *, version: str | None = None) -> str:
        """The path of something in our API version, or in another."""
        return f"/services/data/v{version or self.version}/{rest}"

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        return self.send("GET", path, query=query)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        expects: str = JSON,
        reads: Reads = read_json_of,
    ) -> Answer:
        """As `Client.send`, in a session; one that is over is begun anew and the same is asked again."""
        over: Declined | None = None
        for _ in range(_LOGINS):
            if self._client.token is None:
                self._log_in()
            try:
                return self._client.send(method, path, query=query, json=json, expects=expects, reads=reads)
            except Declined as error:
                if error.status != 401:
                    raise
                over = error
            self._client.token = None
        raise over or AssertionError("at least one login")

    def server_time(self) -> datetime:
        """The org's own clock; raises ExtractRefused when it does not offer our API version."""
        answer = self._client.send("GET", "/services/data", reads=_read_versions)
        if self.version not in answer.data:
            newest = max(answer.data, key=float)
            raise ExtractRefused(f"Salesforce does not offer API version {self.version}; newest is {newest}")
        if answer.at is None:
            raise SourceDown("Salesforce GET /services/data: does not tell the time")
        return answer.at

    def _log_in(self) -> None:
        login, refused = self.login, None
        form = self._signed() if login.key else self._credentials()
        try:
            answer = self._client.send("POST", "/services/oauth2/token", form=form, reads=_read_token)
        except Declined as error:
            refused = error
        if refused is not None:
            raise NotLetIn(
                f"Salesforce does not let us in ({refused.status} {refused.code}); mend the connection "
                f"{login.connection}, and what the external client app and its user may do",
                code=refused.code,
            )
        token, address = answer.data
        api = self._client.api
        origin = origin_of(api, address, near=is_near(login.origin))
        if origin != self._client.origin:
            self._client.close()
            self._asked_before += self._client.asked
            self._client = Client(api, origin, policy=self._policy, sleep=self.sleep)
        self._client.token = token

    def _credentials(self) -> dict[str, str]:
        secret = self.login.secret.get_secret_value() if self.login.secret else ""
        return {
            "grant_type": "client_credentials",
            "client_id": self.login.client_id,
            "client_secret": secret,
        }

    def _signed(self) -> dict[str, str]:
        host = urlsplit(self.login.origin).hostname or ""
        place = "test" if ".sandbox." in host else "login"
        claims = {
            "iss": self.login.client_id,
            "sub": self.login.username,
            "aud": f"https://{place}.salesforce.com",
            "exp": int((self.server_time() + timedelta(minutes=2)).timestamp()),
        }
        key = self.login.key.get_secret_value() if self.login.key else ""
        try:
            assertion = jwt.encode(claims, key.replace("\\n", "\n"), algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):
            assertion = ""
        if not assertion:
            raise ExtractRefused(
                f"the private_key of the connection {self.login.connection} is no RSA key in PEM"
            )
        return {"grant_type": _JWT_BEARER, "assertion": assertion}


def _read_token(body: bytes, headers: Mapping[str, str]) -> tuple[SecretStr, str]:
    told = read_json_of(body, headers)
    try:
        token, address = told["access_token"], told["instance_url"]
    except (KeyError, TypeError):
        token = address = None
    if not isinstance(token, str) or not isinstance(address, str):
        raise Broken("a token that is none")
    return SecretStr(token), address


def _read_versions(body: bytes, headers: Mapping[str, str]) -> list[str]:
    told = read_json_of(body, headers)
    try:
        return [str(one["version"]) for one in told if re.fullmatch(r"\d+\.\d", str(one["version"]))]
    except (KeyError, TypeError):
        pass
    raise Broken("a list of versions that is none")
