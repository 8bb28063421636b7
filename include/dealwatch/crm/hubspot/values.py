"""HubSpot's dates as ISO text: they come as ISO, as milliseconds since 1970, and as "0" for none."""

import polars as pl

INSTANT = pl.Datetime("ms", "UTC")
_MILLISECONDS = r"^-?\d{1,14}$"
_TEXT = "%Y-%m-%dT%H:%M:%S%.3fZ"


def instant_text(told: pl.Expr) -> pl.Expr:
    """Milliseconds, or an instant, as `2026-03-29T01:00:00.000Z`; "0" is nothing, all else stays as it is."""
    return (
        pl.when(_is_number(told))
        .then(written(_moment(told)))
        .otherwise(pl.coalesce(written(instants(told)), told))
    )


def written(moment: pl.Expr) -> pl.Expr:
    return moment.dt.strftime(_TEXT)


def day_text(told: pl.Expr) -> pl.Expr:
    """A day without a time, which HubSpot keeps as its midnight in UTC, as `2026-03-29`."""
    is_instant = told.str.contains(r"^\d{4}-\d{2}-\d{2}T00:00:00(\.0+)?Z$")
    number = _moment(told).dt.strftime("%Y-%m-%d")
    return pl.when(_is_number(told)).then(number).when(is_instant).then(told.str.slice(0, 10)).otherwise(told)


def instants(text: pl.Expr) -> pl.Expr:
    """ISO text of an instant in UTC as one, to the millisecond; null for all else."""
    naive = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", strict=False)
    return naive.dt.replace_time_zone("UTC")


def _is_number(told: pl.Expr) -> pl.Expr:
    return told.str.contains(_MILLISECONDS)


def _moment(told: pl.Expr) -> pl.Expr:
    """The instant of milliseconds since 1970; none for 0."""
    number = pl.when(_is_number(told)).then(told).cast(pl.Int64, strict=False)
    return pl.when(number != 0).then(number).cast(INSTANT)
