"""OpportunityHistory tells states; a deal's history is the changes between them, in bounded memory.

The rows of one deal lie anywhere in a result, so the pages are spread over files by the deal's id, and each
file is told when all of them are there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

COLUMNS = ("OpportunityId", "CreatedDate", "Field", "OldValue", "NewValue")
_FILES = 32


class Spread:
    """Pages of states in a folder, part by part of the deals. The same rows make the same changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pages = 0

    def add(self, rows: pl.DataFrame) -> None:
        # The 15th letter is the last that differs from deal to deal; the rest is a checksum.
        letter = pl.col("OpportunityId").str.slice(13, 2)
        part = letter.str.encode("hex").str.to_integer(base=16, strict=False).fill_null(0) % _FILES
        for (nth,), own in rows.with_columns(part.alias("=part")).partition_by("=part", as_dict=True).items():
            own.drop("=part").write_ipc(self._folder / f"{nth:02}-{self._pages:06}.arrow")
        self._pages += 1

    def changes(self, fields: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The changes of these fields, in COLUMNS, deal by deal; in the same order whenever they are made."""
        for nth in range(_FILES):
            files = sorted(self._folder.glob(f"{nth:02}-*.arrow"))
            if files:
                yield changes(pl.concat([pl.read_ipc(file) for file in files]), fields)


def changes(states: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    """What changed from each state of a deal to the next, its first state from nothing; in COLUMNS."""
    rows = states.sort("OpportunityId", "CreatedDate", "Id")
    parts = []
    for field in fields:
        before = pl.col(field).shift(1).over("OpportunityId")
        found = rows.select(
            "OpportunityId",
            "CreatedDate",
            pl.lit(field).alias("Field"),
            before.alias("OldValue"),
            pl.col(field).alias("NewValue"),
        )
        parts.append(found.filter(pl.col("OldValue").ne_missing(pl.col("NewValue"))))
    return pl.concat(parts).select(COLUMNS)
