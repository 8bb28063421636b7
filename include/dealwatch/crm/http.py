"""How we speak to any CRM: time limits, bounded tries, whole answers, one host, and no secret in any word.

What is an API's own comes as an `Api` value; the rest is the same for all. What a person must mend is
`ExtractRefused` (`Declined` where the API itself says no); what may pass is `SourceDown`, once the tries are
used up. The words of both name method, path, status and the API's own code: never a query, a header, a body.
"""

import contextlib
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import SystemRandom
from typing import Any

import httpx
from pydantic import SecretStr

from dealwatch.crm.api import Again, Api, Declined, Later, Quota, is_near, origin_of
from dealwatch.crm.bodies import JSON, Broken, TooLarge, kind_of, read_json, whole
from dealwatch.errors import ExtractRefused, SourceDown

log = logging.getLogger(__name__)

_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,80}")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~%:@!$&'()*+,;=\-]+)+/?")
_CHANCE = SystemRandom()
_AT_WORK = threading.local()

Reads = Callable[[bytes, Mapping[str, str]], Any]


def read_json_of(body: bytes, _: Mapping[str, str]) -> Any:
    return read_json(body)


@dataclass(frozen=True)
class Policy:
    """The bounds that hold for every API."""

    connect_seconds: float = 10
    read_seconds: float = 130  # Salesforce answers a slow query after up to 120 s
    whole_seconds: float = 900  # one answer, from its first byte to its last
    tries: int = 6
    first_pause_seconds: float = 1
    longest_pause_seconds: float = 120  # what asks for a longer one is for another run
    most_bytes: int = 256 * 2**20
    most_quota_share: float = 0.8


@dataclass(frozen=True)
class Answer:
    """A whole answer of status 2xx; `data` is what was read from its body, its JSON unless told otherwise."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: Any = field(repr=False)

    @property
    def at(self) -> datetime | None:
        """The server's own clock when it answered, where it tells."""
        return _instant(self.headers.get("date", ""))


@dataclass(frozen=True)
class _Miss:
    """A try that came to nothing, and may do better again."""

    reason: str
    wait: timedelta | None = None


class Client:
    """Speaks to one host of one API over connections that are kept; use it in `with`, or close it.

    `token` is sent as a bearer token and may be replaced at any time. `quota` is what the last answer told,
    `asked` how often anything was asked. `sleep` passes so many seconds. Not for several threads at once.
    """

    def __init__(
        self,
        api: Api,
        origin: str,
        *,
        policy: Policy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api, self.policy = api, policy or Policy()
        self.origin = origin_of(api, origin, near=True)
        self.token: SecretStr | None = None
        self.quota: Quota | None = None
        self._sleep, self.asked = sleep, 0
        self._open: httpx.Client | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go; the token stays, and the next question opens new ones."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _http(self) -> httpx.Client:
        if self._open is None:
            limits = httpx.Timeout(self.policy.read_seconds, connect=self.policy.connect_seconds)
            # Proxies of the environment are for the world outside, not for loopback.
            trust = not is_near(self.origin)
            self._open = httpx.Client(timeout=limits, follow_redirects=False, trust_env=trust)
        return self._open

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Ask a path for JSON. Raises as `send` does."""
        return self.send("GET", path, query=query)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        expects: str = JSON,
        reads: Reads = read_json_of,
    ) -> Answer:
        """The whole answer of status 2xx. What is sent must be safe to send twice.

        `expects` is the media type asked for. `reads` makes `data` of body and headers; where they do not fit
        together it raises Broken, and they are asked for again. Raises Declined, or ExtractRefused for what
        else a person must mend; SourceDown when no try helped, or the API or the quota says to come back.
        """
        if not _PATH.fullmatch(path) or any(part in {".", ".."} for part in path.split("/")):
            raise ExtractRefused(f"{self.api.name}: a path that is none was to be asked for")
        self._spare_the_quota()
        what = f"{self.api.name} {method} {path}"
        headers = {"Accept": expects, "Accept-Encoding": "gzip", "User-Agent": "dealwatch"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        request = self._http.build_request(
            method, self.origin + path, params=query, json=json, data=form, headers=headers
        )
        for nth in range(1, self.policy.tries + 1):
            outcome = self._try(request, reads, what)
            if isinstance(outcome, Answer):
                return outcome
            # Raised outside of any `except`: the library's own errors hold addresses and headers.
            if not isinstance(outcome, _Miss):
                raise outcome
            if nth == self.policy.tries:
                raise SourceDown(f"{what}: {outcome.reason}, {nth} times in a row", after=outcome.wait)
            self._pause(nth, outcome, what)
        raise AssertionError("a policy has at least one try")

    def _spare_the_quota(self) -> None:
        quota, share = self.quota, self.policy.most_quota_share
        if quota is not None and quota.used > share * quota.allowed:
            raise SourceDown(
                f"{self.api.name}: {quota.used:,} of the day's {quota.allowed:,} requests are used; those "
                f"above {share:.0%} are left to others. The run goes on where it is when it is tried again",
                after=timedelta(hours=1),
            )

    def _try(
        self, request: httpx.Request, reads: Reads, what: str
    ) -> Answer | _Miss | ExtractRefused | SourceDown:
        self.asked += 1
        try:
            with _at_work(), contextlib.closing(self._http.send(request, stream=True)) as response:
                chunks = self._in_time(response.iter_raw())
                body = whole(chunks, response.headers, most_bytes=self.policy.most_bytes)
        except TooLarge:
            return ExtractRefused(f"{what}: the answer is larger than {self.policy.most_bytes:,} bytes")
        except Broken as error:
            return _Miss(str(error))
        except httpx.TransportError as error:
            return self._unreached(error, what)
        finally:
            self._http.cookies.clear()
        if self.api.quota_of is not None:
            self.quota = self.api.quota_of(response.headers) or self.quota
        if response.is_success:
            return _read(response, body, reads)
        return self._meaning(response, body, what)

    def _in_time(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks; raises Broken when an answer drips for longer than it may."""
        until = time.monotonic() + self.policy.whole_seconds
        for chunk in chunks:
            yield chunk
            if time.monotonic() > until:
                raise Broken(f"an answer that takes more than {self.policy.whole_seconds:.0f} s")

    def _unreached(self, error: httpx.TransportError, what: str) -> _Miss | ExtractRefused:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError | socket.gaierror):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            words = f"{what}: shows a certificate that is not valid ({cause.verify_message})"
            return ExtractRefused(f"{words}; mend the proxy or the trust store between us")
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            return ExtractRefused(f"{what}: could not be asked as it is; {self.api.remedy}")
        return _Miss(f"no answer ({type(cause or error).__name__})")

    def _meaning(
        self, response: httpx.Response, body: bytes, what: str
    ) -> _Miss | ExtractRefused | SourceDown:
        """What an answer that is no success means: another try, another run, or the end."""
        status, code = response.status_code, self._code_of(body)
        words = f"{what}: {status} {code}".rstrip()
        if response.is_redirect:
            return Declined(f"{words}, a redirect; {self.api.remedy}", status=status, code=code)
        wait = _retry_after(response.headers)
        match self.api.meaning(status, code):
            case Later(after):
                return SourceDown(f"{words}; to be tried again later", after=wait or after)
            case Again(seconds):
                wait = wait or (None if seconds is None else timedelta(seconds=seconds))
                if wait is not None and wait.total_seconds() > self.policy.longest_pause_seconds:
                    return SourceDown(f"{words}; asks to wait {wait}", after=wait)
                return _Miss(f"{status} {code}".rstrip(), wait)
        remedy = f"; {self.api.remedy}" if status in {401, 403, 407} else ""
        return Declined(f"{words}{remedy}", status=status, code=code)

    def _code_of(self, body: bytes) -> str:
        """The API's own code, if the body has one that is a code and no prose."""
        try:
            code = self.api.code_of(read_json(body))
        except (Broken, LookupError, TypeError, AttributeError, ValueError):
            return ""
        return code if isinstance(code, str) and _CODE.fullmatch(code) else ""

    def _pause(self, nth: int, miss: _Miss, what: str) -> None:
        policy = self.policy
        if miss.wait is not None:
            seconds = miss.wait.total_seconds() + _CHANCE.uniform(0, policy.first_pause_seconds)
        else:
            longest = min(policy.first_pause_seconds * 2 ** (nth - 1), policy.longest_pause_seconds)
            seconds = longest * _CHANCE.uniform(0.5, 1)
        log.info("%s: %s; try %d of %d follows in %.1f s", what, miss.reason, nth + 1, policy.tries, seconds)
        self._sleep(seconds)


def _read(response: httpx.Response, body: bytes, reads: Reads) -> Answer | _Miss:
    """The answer as expected; an error page that calls itself a success is none."""
    status, kind = response.status_code, kind_of(response.headers)
    if status == httpx.codes.NO_CONTENT:
        return Answer(status, response.headers, None)
    expects = response.request.headers["Accept"]
    if kind != expects:
        told = kind if re.fullmatch(r"[a-z0-9.+/\-]{1,60}", kind) else "no kind"
        return _Miss(f"{status} with {told} in place of {expects}")
    try:
        return Answer(status, response.headers, reads(body, response.headers))
    except Broken as error:
        return _Miss(f"{status} with {error}")


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long the server asks us to wait: in seconds, or until a moment by its own clock."""
    told = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}", told):
        return timedelta(seconds=int(told))
    until, now = _instant(told), _instant(headers.get("date", ""))
    return max(until - now, timedelta()) if until and now else None


def _instant(text: str) -> datetime | None:
    """A moment as HTTP writes it, in UTC."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None


@contextlib.contextmanager
def _at_work() -> Iterator[None]:
    _AT_WORK.is_so = True
    try:
        yield
    finally:
        _AT_WORK.is_so = False


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not getattr(_AT_WORK, "is_so", False)


# The library logs each address with its query, and at its lower level the headers of answers.
logging.getLogger("httpx").addFilter(_is_not_ours)
logging.getLogger("httpcore").setLevel(logging.INFO)
