"""Read one CSV file of a drop: every record as text with the line it begins on, a chunk at a time.

Nothing is guessed and nothing is dropped: a record that does not fit the header comes back whole as a misfit,
and a file that cannot be read to its end is refused. Line numbers count from 1, the header being line 1; a
record with line breaks inside quotes has the number of its first line.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, cast

import polars as pl

from dealwatch.errors import ExtractRefused
from dealwatch.knobs import FileMapping

CHUNK_ROWS = 50_000
LONGEST_FIELD = 1_000_000
LONGEST_LINE = 10_000_000
_BYTES = {"utf-8": "utf-8-sig", "cp1252": "cp1252", "latin-1": "latin-1"}


@dataclass(frozen=True)
class Misfit:
    """A record that cannot be told apart into the header's columns."""

    row: int
    reason: str
    text: str


@dataclass
class Chunk:
    """Some records of a file: `row` and the source's columns, all text; and those that do not fit."""

    records: pl.DataFrame
    misfits: list[Misfit] = field(default_factory=list)


def find_file(folder: Path, name: str) -> Path | None:
    """The file of that name in the folder, plain or gzipped; None when there is neither."""
    stem = name.removesuffix(".gz")
    found = [path for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()]
    if len(found) > 1:
        raise ExtractRefused(
            f"{found[0]}: both {found[0].name} and {found[1].name} are there; keep the one that is meant"
        )
    return found[0] if found else None


def read_chunks(path: Path, mapping: FileMapping, *, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """The file's records, in order; at least one chunk (perhaps empty) once the header could be read."""
    try:
        with _open(path, mapping.encoding) as stream:
            yield from _chunks(path, stream, mapping.delimiter, chunk_rows)
    except UnicodeDecodeError:
        raise ExtractRefused(
            f"{path}: line {_first_undecodable(path, mapping.encoding)} is not {mapping.encoding} text; "
            f"save the file as UTF-8 or name its encoding in the mapping (encoding = 'cp1252')"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ExtractRefused(
            f"{path}: the gzip file is cut short or damaged ({error}); copy it again from where it came"
        ) from error
    except OSError as error:
        raise ExtractRefused(f"{path}: cannot be read ({error.strerror or error}); check it") from error


def _open(path: Path, encoding: str) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding=_BYTES[encoding], newline=""))
    return path.open(encoding=_BYTES[encoding], newline="")


def _chunks(path: Path, stream: TextIO, delimiter: str, chunk_rows: int) -> Iterator[Chunk]:
    csv.field_size_limit(LONGEST_FIELD)
    lines = _Remembered(stream)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(path, reader)
    rows: list[list[str]] = []
    numbers: list[int] = []
    misfits: list[Misfit] = []
    is_first = True
    while True:
        begins = reader.line_num + 1
        lines.seen.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            if lines.is_at_end or "larger than" in str(error):
                raise ExtractRefused(
                    f"{path}: a quote opened in the record that begins on line {begins} is never closed "
                    f"({error}); mend the record and deliver the file again"
                ) from None
            misfits.append(Misfit(begins, f"a quote in the middle of a field ({error})", "".join(lines.seen)))
            continue
        if row is None:
            break
        if len(row) == len(header):
            rows.append(row)
            numbers.append(begins)
        elif row:  # an empty list is a blank line
            reason = f"{len(row)} fields where the header names {len(header)}"
            misfits.append(Misfit(begins, reason, "".join(lines.seen)))
        if len(rows) + len(misfits) >= chunk_rows:
            yield Chunk(_frame(header, rows, numbers), misfits)
            rows, numbers, misfits, is_first = [], [], [], False
    if rows or misfits or is_first:
        yield Chunk(_frame(header, rows, numbers), misfits)


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ExtractRefused(f"{path}: line 1 is no CSV header ({error}); mend the header") from error
    if not any(header):
        raise ExtractRefused(f"{path}: the file is empty; deliver it with its header line")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated or "" in header:
        what = (
            f"names {', '.join(repeated)} more than once" if any(repeated) else "has a column without a name"
        )
        raise ExtractRefused(f"{path}: line 1 {what}; give each column one name of its own")
    if any("\x00" in name for name in header):
        raise ExtractRefused(f"{path}: line 1 holds a NUL byte; is the file UTF-16? Save it as UTF-8")
    return header


def _frame(header: list[str], rows: list[list[str]], numbers: list[int]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return pl.DataFrame(
        [pl.Series("row", numbers, dtype=pl.Int64)]
        + [
            pl.Series(f"={name}", values, dtype=pl.String)
            for name, values in zip(header, columns, strict=True)
        ]
    )


class _Remembered:
    """Lines of a stream, keeping those the CSV reader took for the record at hand."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.seen: list[str] = []
        self.is_at_end = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"line larger than {LONGEST_LINE} characters")
        if not line:
            self.is_at_end = True
            raise StopIteration
        self.seen.append(line)
        return line


def _first_undecodable(path: Path, encoding: str) -> int:
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with opened as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return number
    return 0
