"""What a table's column is in a frame, and how each database hands it over and takes it."""

from collections.abc import Iterable
from typing import Any

import polars as pl
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    type_coerce,
)
from sqlalchemy.dialects import postgresql

from dealwatch.tables import Instant

INSTANT = pl.Datetime("us", "UTC")  # how frames carry moments
_SQLITE_CLOCK = "%Y-%m-%d %H:%M:%S%.f"


def schema_of(table: Table, *names: str) -> dict[str, pl.DataType]:
    """A table's columns, or those named, in that order, with the types that `frame` reads them in."""
    return types_of(table.c[name] for name in names or table.columns.keys())


def types_of(columns: Iterable[Any]) -> dict[str, pl.DataType]:
    """The columns' types in frames, by name."""
    return {column.name: _polars_type(column) for column in columns}


def _polars_type(column: Any) -> pl.DataType:
    if isinstance(column.type, Instant):
        return INSTANT
    if isinstance(column.type, Date):
        return pl.Date()
    if isinstance(column.type, Boolean):
        return pl.Boolean()
    if isinstance(column.type, Integer):
        return pl.Int64()
    if isinstance(column.type, Float):
        return pl.Float64()
    return pl.Binary() if isinstance(column.type, LargeBinary) else pl.String()


def as_stored(column: Any, dialect: str) -> Any:
    """The column to select: without SQLAlchemy's conversion of each value where Polars converts it whole."""
    if isinstance(column.type, JSON):
        return column.cast(postgresql.TEXT).label(column.name) if dialect == "postgresql" else _text(column)
    if dialect == "sqlite" and isinstance(column.type, Instant | Date):
        return _text(column)
    if isinstance(column.type, Instant):
        return func.timezone("UTC", column, type_=DateTime()).label(column.name)
    return column


def _text(column: Any) -> Any:
    return type_coerce(column, Text).label(column.name)


def stored_type(type_: pl.DataType, dialect: str) -> pl.DataType:
    """What the driver hands over for a column of that type."""
    if dialect != "sqlite":
        return pl.Datetime("us") if type_ == INSTANT else type_
    if type_ == pl.Boolean():
        return pl.Int64()
    return pl.String() if type_ in (INSTANT, pl.Date()) else type_


def typed(name: str, type_: pl.DataType, stored: pl.DataType) -> pl.Expr:
    """A column of the driver's rows in the type it has in frames."""
    value = pl.col(name)
    if type_ == INSTANT:
        clock = value.str.to_datetime(_SQLITE_CLOCK, time_unit="us") if stored == pl.String() else value
        return clock.dt.replace_time_zone("UTC")
    if type_ == pl.Date() and stored == pl.String():
        return value.str.to_date("%Y-%m-%d")
    return value.cast(type_)


def to_sqlite(column: Column[Any]) -> pl.Expr:
    """A frame's column as SQLite keeps it."""
    value = pl.col(column.name)
    if isinstance(column.type, Instant):
        return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    if isinstance(column.type, Date):
        return value.dt.strftime("%Y-%m-%d")
    if isinstance(column.type, Boolean):
        return value.cast(pl.Int8)
    return value


def to_csv(column: Column[Any]) -> pl.Expr:
    """A frame's column as PostgreSQL's COPY reads it."""
    value = pl.col(column.name)
    if isinstance(column.type, Instant):
        return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%d %H:%M:%S%.6f+00")
    if isinstance(column.type, Date):
        return value.dt.strftime("%Y-%m-%d")
    return value
