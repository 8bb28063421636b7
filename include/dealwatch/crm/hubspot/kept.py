"""History that came in one answer with the deals, packed in memory until its own table is asked for."""

from io import BytesIO

import polars as pl

MOST_BYTES = 256 * 2**20  # about 35 million changes


class Kept:
    """Pages of history by the cursor they begin at, packed; what would be too much is not kept."""

    def __init__(self) -> None:
        self._pages: dict[str | None, tuple[bytes, str | None]] = {}
        self._bytes = 0

    def put(self, here: str | None, rows: pl.DataFrame, after: str | None) -> None:
        packed = BytesIO()
        rows.write_ipc(packed, compression="zstd")
        size = len(packed.getvalue())
        self._bytes -= len(self._pages.pop(here, (b"", None))[0])
        if self._bytes + size <= MOST_BYTES:
            self._pages[here] = packed.getvalue(), after
            self._bytes += size

    def get(self, here: str | None) -> tuple[pl.DataFrame, str | None] | None:
        """A page, which is then let go."""
        if here not in self._pages:
            return None
        packed, after = self._pages.pop(here)
        self._bytes -= len(packed)
        return pl.read_ipc(BytesIO(packed)), after
