"""What one API says is its own: its hosts, how its errors are written and what each means for a run."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, overload
from urllib.parse import urlsplit

from dealwatch.errors import ExtractRefused
from dealwatch.knobs import Access

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Again:
    """Worth another try: after Retry-After, else after `seconds`, else after a pause that doubles."""

    seconds: float | None = None


@dataclass(frozen=True)
class Later:
    """No use to try again in this run; `after` says when it may be, where Retry-After does not."""

    after: timedelta | None = None


@dataclass(frozen=True)
class Quota:
    """Requests used of those allowed in a day."""

    used: int
    allowed: int


_BUSY: dict[tuple[int, str], Again | Later] = {(status, ""): Again() for status in (429, 500, 502, 503, 504)}


@dataclass(frozen=True)
class Api:
    """What the one client needs to know of an API.

    `meanings` says by (status, code), or (status, "") for any code, which errors are not final; it is laid
    over the usual 429 and 5xx. `code_of` finds the API's own code in the JSON of an error. `quota_of` reads
    from an answer's headers how much of the day's requests is used, where they tell it.
    """

    name: str
    hosts: re.Pattern[str]
    remedy: str  # what to mend when the API does not know us, or its address is wrong
    code_of: Callable[[Any], str]
    meanings: Mapping[tuple[int, str], Again | Later] = field(default_factory=dict)
    quota_of: Callable[[Mapping[str, str]], Quota | None] | None = None

    def meaning(self, status: int, code: str) -> Again | Later | None:
        """What an error means, or None when it is final."""
        told = {**_BUSY, **self.meanings}
        return told.get((status, code), told.get((status, "")))


class Declined(ExtractRefused):
    """The API says no, for good; the caller knows what `status` and `code` mean for what it asked."""

    def __init__(self, words: str, *, status: int, code: str) -> None:
        super().__init__(words)
        self.status, self.code = status, code


def origin_of(api: Api, address: str, *, near: bool) -> str:
    """`https://host` of an address that may be spoken to; with `near`, loopback too, by http and any port.

    Raises ExtractRefused for any other address, without repeating it.
    """
    try:
        parts = urlsplit(address.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    is_bare = parts.path in {"", "/"} and not (parts.query or parts.fragment or "@" in parts.netloc)
    if near and is_bare and host in LOOPBACK and parts.scheme in {"http", "https"}:
        return f"{parts.scheme}://{parts.netloc.lower()}"
    if not is_bare or parts.scheme != "https" or port not in {None, 443} or not api.hosts.fullmatch(host):
        raise ExtractRefused(f"the address of {api.name} is none of its own over https; {api.remedy}")
    return f"https://{host}"


@overload
def address_of(access: Access) -> str | None: ...
@overload
def address_of(access: Access, usual: str) -> str: ...
def address_of(access: Access, usual: str | None = None) -> str | None:
    """Where a connection points, as `scheme://host:port`; a stand-in on loopback needs no scheme.

    `usual` is the host where the connection names none.
    """
    host = access.host or usual
    if not host:
        return None
    if "://" not in host:
        host = f"{'http' if host in LOOPBACK else 'https'}://{host}"
    return f"{host}:{access.port}" if access.port else host


def is_near(origin: str) -> bool:
    """Whether it is this machine: a stand-in, not the vendor."""
    return urlsplit(origin).hostname in LOOPBACK
