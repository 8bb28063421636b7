"""Read the body of an HTTP answer whole, to a bound, or say that it is broken; never a short read.

The HTTP client's own decoder takes a gzip stream that stops half-way for a whole one, so we decode.
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # one, or a pair that is whole
_GZIP = zlib.MAX_WBITS | 16
JSON = "application/json"


class Broken(Exception):
    """The answer is not whole or not of its kind; the words hold nothing of it. Asking again may help."""


class TooLarge(Exception):
    """The body is longer than the bound, counted after decompression."""


def whole(chunks: Iterable[bytes], headers: Mapping[str, str], *, most_bytes: int) -> bytes:
    """The decoded body of `chunks` as they came over the wire; raises Broken or TooLarge."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"gzip", "identity", ""}:
        raise Broken("an encoding that was not asked for")
    if _is_open_ended(headers) and coding != "gzip":
        raise Broken("a body that does not tell its length")
    found = bytearray()
    unpack = _Unpacked(most_bytes) if coding == "gzip" else None
    for chunk in chunks:
        found += unpack.more(chunk) if unpack else chunk
        if len(found) > most_bytes:
            raise TooLarge
    if unpack is not None and not unpack.is_whole:
        raise Broken("a gzip stream cut short")
    return bytes(found)


def read_json(body: bytes, **how: Any) -> Any:
    """The JSON value; raises Broken. `how` goes to the library, such as parse_float.

    Half a character, which is left where a text was cut to a length, is read as U+FFFD: no text holds it.
    """
    try:
        told = json.loads(body, **how)
        return _mended(told) if _HALF.search(body) else told
    except (ValueError, RecursionError):
        pass  # the error quotes the body, so nothing of it may hang on ours
    raise Broken("JSON that cannot be read")


def _mended(told: Any) -> Any:
    match told:
        case str():
            return told.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_mended(one) for one in told]
        case dict():
            return {_mended(name): _mended(one) for name, one in told.items()}
    return told


def kind_of(headers: Mapping[str, str]) -> str:
    """The media type without its parameters, lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_open_ended(headers: Mapping[str, str]) -> bool:
    """Whether only the end of the connection ends the body, so that a cut cannot be told from the end.

    JSON tells its own end.
    """
    is_told = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
    return not is_told and kind_of(headers) != JSON


class _Unpacked:
    """A gzip stream of one or several members."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes + 1
        self._member = zlib.decompressobj(_GZIP)
        self._has_begun = False

    @property
    def is_whole(self) -> bool:
        return self._member.eof or not self._has_begun

    def more(self, chunk: bytes) -> bytes:
        found = bytearray()
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._has_begun = True
            try:
                part = self._member.decompress(chunk, self._left)
            except zlib.error:
                raise Broken("a gzip stream that is damaged") from None
            found += part
            self._left -= len(part)
            if self._left <= 0:
                raise TooLarge
            chunk = self._member.unused_data
        return bytes(found)
