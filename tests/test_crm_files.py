"""A file is read to its end or refused; every record is there, with the line it begins on."""

import gzip
from pathlib import Path

import pytest

from dealwatch.crm.files import Chunk, find_file, read_chunks
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import FileMapping

PLAIN = FileMapping(file="deals.csv")


def read(path: Path, content: bytes, mapping: FileMapping = PLAIN) -> list[Chunk]:
    path.write_bytes(content)
    return list(read_chunks(path, mapping, chunk_rows=2))


def test_records_carry_the_line_they_begin_on(tmp_path: Path) -> None:
    chunks = read(tmp_path / "deals.csv", b'a,b\r\n1,"two\nlines"\r\n\r\n2,x\r\n3,y\r\n')
    assert [row for chunk in chunks for row in chunk.records.rows()] == [
        (2, "1", "two\nlines"),
        (5, "2", "x"),
        (6, "3", "y"),
    ]
    assert len(chunks) == 2


def test_rows_that_do_not_fit_come_back_whole_and_the_rest_is_read(tmp_path: Path) -> None:
    content = b'a,b\n1,x,extra\n"2"stray,y\n3\n4,z\n5,"q ""uoted"""\n'
    chunks = read(tmp_path / "deals.csv", content)
    misfits = [misfit for chunk in chunks for misfit in chunk.misfits]
    assert [(m.row, m.text) for m in misfits] == [(2, "1,x,extra\n"), (3, '"2"stray,y\n'), (4, "3\n")]
    assert "3 fields where the header names 2" in misfits[0].reason
    assert [row for c in chunks for row in c.records.rows()] == [(5, "4", "z"), (6, "5", 'q "uoted"')]


@pytest.mark.parametrize(
    ("content", "mapping"),
    [
        (b"\xef\xbb\xbfa,b\n1,\xc3\xa9\n", PLAIN),
        (b"a;b\n1;\xe9\n", FileMapping(file="deals.csv", delimiter=";", encoding="cp1252")),
        (b"a\tb\n1\t\xe9\n", FileMapping(file="deals.csv", delimiter="\t", encoding="latin-1")),
    ],
)
def test_marks_delimiters_and_encodings_are_understood(
    tmp_path: Path, content: bytes, mapping: FileMapping
) -> None:
    (chunk,) = read(tmp_path / "deals.csv", content, mapping)
    assert chunk.records.columns == ["row", "=a", "=b"]
    assert chunk.records.rows() == [(2, "1", "é")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"a,b\n1,x\n2,\xe9\n", "line 3 is not utf-8 text; save the file as UTF-8"),
        (b"a,a\n1,2\n", "line 1 names a more than once"),
        (b"a,\n1,2\n", "line 1 has a column without a name"),
        (b'a,b\n1,x\n2,"never closed\n3,y\n', "line 3 is never closed"),
        ("a,b\n1,x\n".encode("utf-16-le"), "UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, content: bytes, says: str
) -> None:
    with pytest.raises(ExtractRefused, match="deals.csv") as refused:
        read(tmp_path / "deals.csv", content)
    assert says in str(refused.value)


@pytest.mark.parametrize("cut", [5, 40, -1])
def test_a_truncated_gzip_is_refused(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(2000)), mtime=0)
    with pytest.raises(ExtractRefused, match="cut short or damaged"):
        read(tmp_path / "deals.csv.gz", whole[:cut])
    assert sum(chunk.records.height for chunk in read(tmp_path / "deals.csv.gz", whole)) == 2000


def test_what_only_claims_to_be_gzip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExtractRefused, match="cut short or damaged"):
        read(tmp_path / "deals.csv.gz", b"a,b\n1,2\n")


def test_a_plain_or_a_gzipped_file_is_found_but_not_both(tmp_path: Path) -> None:
    assert find_file(tmp_path, "deals.csv") is None
    (tmp_path / "deals.csv.gz").touch()
    assert find_file(tmp_path, "deals.csv") == tmp_path / "deals.csv.gz"
    (tmp_path / "deals.csv").touch()
    with pytest.raises(ExtractRefused, match="both deals.csv and deals.csv.gz are there"):
        find_file(tmp_path, "deals.csv")
