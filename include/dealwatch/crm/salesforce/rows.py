"""Rows as Salesforce writes them, in CSV or nested JSON, as frames of text in the columns asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dealwatch.crm.bodies import Broken, read_json


def of_csv(body: bytes, columns: Sequence[str], *, told: int) -> pl.DataFrame:
    """A page of a bulk result, all text, empty is null; raises Broken unless it holds as many rows as `told`.

    The header may be there on each page or on the first one only.
    """
    try:
        rows = pl.read_csv(
            body, has_header=False, infer_schema=False, new_columns=list(columns), raise_if_empty=False
        )
    except pl.exceptions.PolarsError:
        rows = None  # its words quote the page
    if rows is None or (rows.width != len(columns) and rows.height > 0):
        raise Broken("CSV that is not of the columns asked for")
    rows = rows if rows.width == len(columns) else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    if rows.height and _is_header(rows.row(0), columns):
        rows = rows[1:]
    if rows.height != told:
        raise Broken(f"{rows.height:,} rows where it says {told:,}")
    return rows.with_columns(pl.col(pl.String).replace("", None))


def _is_header(row: tuple[Any, ...], columns: Sequence[str]) -> bool:
    return [str(name).lower() for name in row] == [name.lower() for name in columns]


def of_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pl.DataFrame:
    """Records of REST, all text, empty is null; parents are nested in them. Raises Broken otherwise."""
    try:
        values = {name: [_found(record, name) for record in records] for name in columns}
        return pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String))
    except (TypeError, AttributeError, KeyError):
        pass
    raise Broken("records without the fields asked for")


def _found(record: Mapping[str, Any], name: str) -> str | None:
    """The value at a path such as Account.Industry; a parent that is not there has null."""
    value: Any = record
    for step in name.split("."):
        value = None if value is None else value[step]
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is not None and not isinstance(value, str):
        raise TypeError("a value that is no text")
    return value or None


def exact_json(body: bytes) -> Any:
    """JSON with its numbers as they are written; raises Broken."""
    return read_json(body, parse_float=str, parse_int=str)
