"""Bodies of requests: read to a bound, never beyond it."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request


def at_most(longest: int) -> Callable[[Request], Awaitable[bytes]]:
    """A dependency that reads the raw body and answers 413 as soon as it is longer."""

    async def read(request: Request) -> bytes:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > longest:
                raise HTTPException(413, f"A request here has {longest} bytes at most.")
        return bytes(body)

    return read


def form_of(body: bytes) -> Mapping[str, str]:
    """The fields of a form as browsers post it; a name that comes twice counts once."""
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=20))
    except ValueError:
        raise HTTPException(400, "This is no form of ours.") from None
