"""Amounts of an org of several currencies in one of them, by the rate of the day a deal was created.

The rates are part of a night's plan: a night that was broken off goes on with those that it began with, and a
later one sees whether a rate that it knew was corrected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import polars as pl

from dealwatch.errors import ExtractRefused

_ALWAYS = "1900-01-01"


class Rate(NamedTuple):
    """What a unit of the org's currency is worth in another from a day (ISO) on, as Salesforce writes it."""

    code: str
    since: str
    value: str


@dataclass(frozen=True)
class Rates:
    """Each (code, since) once; `target` is the currency that amounts are brought to."""

    target: str
    known: tuple[Rate, ...]

    def until(self, day: date) -> "Rates":
        """Those that hold for deals created by a day."""
        return Rates(self.target, tuple(rate for rate in self.known if rate.since <= day.isoformat()))

    def convert(self, rows: pl.DataFrame, names: Sequence[str], *, code: str, created: str) -> pl.DataFrame:
        """The amounts `names`, by the rate of the day the deal was created, so that no rate moves a deal.

        An amount whose currency has no rate becomes null, and its code stays.
        """
        day = pl.col(created).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).alias("=day")
        numbered = rows.with_row_index("=nth").with_columns(day, pl.lit(self.target).alias("=to"))
        numbered = self._rate(self._rate(numbered, code, "=own"), "=to", "=theirs")
        factor, is_same = pl.col("=theirs") / pl.col("=own"), pl.col(code) == self.target
        converted = [
            pl.when(is_same).then(name).otherwise(_money(name, factor)).alias(name) for name in names
        ]
        is_known = is_same | factor.is_not_null()
        told = pl.when(is_known).then(pl.lit(self.target)).otherwise(code).alias(code)
        return numbered.sort("=nth").with_columns(*converted, told).select(rows.columns)

    def _rate(self, rows: pl.DataFrame, code: str, name: str) -> pl.DataFrame:
        """The rows with the rate of the currency `code` on the day of each."""
        schema = {"=code": pl.String, "=from": pl.String, name: pl.String}
        rates = pl.DataFrame(self.known, schema=schema, orient="row").with_columns(
            pl.col("=from").str.to_date("%Y-%m-%d"), pl.col(name).cast(pl.Float64)
        )
        return (
            rows.sort("=day")
            .join_asof(
                rates.sort("=from"),
                left_on="=day",
                right_on="=from",
                by_left=code,
                by_right="=code",
                check_sortedness=False,
            )
            .drop("=from")
        )


def _money(name: str, factor: pl.Expr) -> pl.Expr:
    return (pl.col(name).cast(pl.Float64, strict=False) * factor).round(2).cast(pl.String)


def rates_of(types: pl.DataFrame, dated: pl.DataFrame | None, wanted: str | None) -> Rates:
    """Rates from CurrencyType (IsoCode, ConversionRate, IsCorporate) and, where kept, DatedConversionRate.

    `wanted` is the currency to convert to, the org's own without it; ExtractRefused when the org lacks it.
    """
    corporate = types.filter(pl.col("IsCorporate") == "true")["IsoCode"].to_list()
    target = wanted or next(iter(corporate), None)
    if target is None or target not in types["IsoCode"]:
        have = ", ".join(sorted(types["IsoCode"].drop_nulls()))
        raise ExtractRefused(
            f"Salesforce has no currency {target or 'of its own'}; it has {have}. Correct currency"
        )
    # Before the first dated rate, and for currencies without any, the fixed rate holds.
    fixed = types.select("IsoCode", pl.lit(_ALWAYS).alias("StartDate"), "ConversionRate")
    parts = [fixed] if dated is None else [fixed, dated.select(fixed.columns)]
    is_day = pl.col("StartDate").str.to_date("%Y-%m-%d", strict=False).is_not_null()
    is_rate = pl.col("ConversionRate").cast(pl.Float64, strict=False) > 0
    rows = pl.concat(parts).filter(pl.col("IsoCode").is_not_null(), is_day, is_rate)
    last = rows.unique(["IsoCode", "StartDate"], keep="last", maintain_order=True)
    return Rates(target, tuple(Rate(*row) for row in last.sort("IsoCode", "StartDate").iter_rows()))


def rates_from(told: Mapping[str, Any] | None) -> Rates | None:
    """Rates as JSON holds them."""
    return Rates(told["target"], tuple(Rate(*rate) for rate in told["known"])) if told else None
