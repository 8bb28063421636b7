"""Text from a CRM as the contract's text: instants, dates, numbers; null where it cannot be read.

A date without a time is a whole local day. What happened on it (a change, a touch, a close) is known at its
last second, so that no morning of that day knows it early; what was created on it existed from its first
second. A local time without an offset is in the organisation's zone; the hour that a clock change repeats is
meant the first time, and one that it skips is where the clocks went.
"""

from datetime import datetime
from typing import Literal

import polars as pl

INSTANT = pl.Datetime("us", "UTC")
_ISO = (
    r"^(?<day>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<clock>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)\s?(?<zone>Z|[+-]\d{2}:?\d{2})?)?$"
)
_DATE_ONLY = r"^\d{4}-\d{2}-\d{2}$"
_PLAIN_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"
_COMMA_NUMBER = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d*)?$"
_INSTANT_TEXT = "%Y-%m-%dT%H:%M:%S%.6fZ"


def iso_instants(text: pl.Expr, *, zone: str, date_format: str | None = None) -> pl.Expr:
    """Instants as `2026-03-29T01:00:00.000000Z`, whole days as `2026-03-29`, null when it is neither."""
    text = _in_iso(text, date_format)
    parts = text.str.extract_groups(_ISO)
    day = parts.struct.field("day").str.to_date("%Y-%m-%d", strict=False)
    clock = parts.struct.field("clock")
    seconds = pl.when(clock.str.len_chars() == 5).then(clock + pl.lit(":00")).otherwise(clock)
    naive = (parts.struct.field("day") + pl.lit("T") + seconds).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False
    )
    instant = _in_utc(naive, parts.struct.field("zone"), zone)
    return (
        pl.when(clock.is_null() & day.is_not_null())
        .then(day.dt.strftime("%Y-%m-%d"))
        .otherwise(instant.dt.strftime(_INSTANT_TEXT))
    )


def _in_iso(text: pl.Expr, date_format: str | None) -> pl.Expr:
    """A format of its own is tried first, then with a time of day after it; what is ISO already stays."""
    if date_format is None:
        return text
    moment = "%Y-%m-%dT%H:%M:%S%.6f"
    if "%z" in date_format:
        told = text.str.to_datetime(date_format, strict=False, time_unit="us", time_zone="UTC")
        return pl.coalesce(told.dt.strftime(_INSTANT_TEXT), text)
    if any(part in date_format for part in ("%H", "%I", "%T", "%R")):
        told = text.str.to_datetime(date_format, strict=False, time_unit="us")
        return pl.coalesce(told.dt.strftime(moment), text)
    return pl.coalesce(
        text.str.to_date(date_format, strict=False).dt.strftime("%Y-%m-%d"),
        text.str.to_datetime(f"{date_format} %H:%M:%S", strict=False, time_unit="us").dt.strftime(moment),
        text.str.to_datetime(f"{date_format} %H:%M", strict=False, time_unit="us").dt.strftime(moment),
        text,
    )


def _in_utc(naive: pl.Expr, offset: pl.Expr, zone: str) -> pl.Expr:
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    digits = offset.str.replace_all(r"\D", "")
    minutes = sign * (
        digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60
        + digits.str.slice(2, 2).cast(pl.Int64, strict=False)
    )
    by_offset = naive - pl.duration(minutes=pl.when(offset == "Z").then(0).otherwise(minutes))
    return (
        pl.when(offset.is_null())
        .then(local_instant(naive, zone))
        .otherwise(by_offset.dt.replace_time_zone("UTC"))
    )


def local_instant(naive: pl.Expr, zone: str) -> pl.Expr:
    """A local date and time as an instant; one that the clocks skip is where they went."""
    exact, skipped = (
        clock.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        for clock in (naive, naive + pl.duration(hours=1))
    )
    return pl.coalesce(exact, skipped).dt.convert_time_zone("UTC")


def instant_of(text: pl.Expr, *, zone: str, end: Literal["start", "end"], latest: datetime) -> pl.Expr:
    """The instant that contract text means; a whole day is its first or its last second.

    A day that is not over at `latest`, the moment of the extract, is cut there: the extract already tells it.
    """
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    first = local_instant(day, zone)
    following = local_instant(day.dt.offset_by("1d"), zone)
    known = pl.lit(latest).cast(INSTANT)
    last = following - pl.duration(seconds=1)
    last = pl.when((first <= known) & (known < last)).then(known).otherwise(last)
    exact = text.str.to_datetime(_INSTANT_TEXT.replace("%.6f", "%.f"), time_unit="us", strict=False)
    return (
        pl.when(text.str.contains(_DATE_ONLY))
        .then(first if end == "start" else last)
        .otherwise(exact.dt.replace_time_zone("UTC"))
    )


def iso_dates(text: pl.Expr, *, zone: str, date_format: str | None = None) -> pl.Expr:
    """Calendar days as `2026-03-29`; an instant is its day in the organisation's zone; null when neither."""
    iso = iso_instants(text, zone=zone, date_format=date_format)
    instant = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    local = instant.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.strftime("%Y-%m-%d")
    return pl.when(iso.str.contains(_DATE_ONLY)).then(iso).otherwise(local)


def plain_numbers(text: pl.Expr, *, decimal: Literal[".", ","] = ".") -> pl.Expr:
    """Finite numbers as their shortest text (`20000`, `1234.5`); null for all else.

    With a decimal comma, points may part the thousands; with a decimal point nothing may, because 1,234 could
    be either.
    """
    if decimal == ",":
        points = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        text = pl.when(text.str.contains(_COMMA_NUMBER)).then(points)
    number = pl.when(text.str.contains(_PLAIN_NUMBER)).then(text).cast(pl.Float64, strict=False)
    finite = pl.when(number.is_finite()).then(number)
    return pl.when(finite == 0).then(0.0).otherwise(finite).cast(pl.String).str.strip_suffix(".0")
