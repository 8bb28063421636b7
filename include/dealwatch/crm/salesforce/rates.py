"""Amounts of an org of several currencies in one of them, by the rate of the day a deal was created.

The rates are part of a night's plan: a night that was broken off goes on with those that it began with, and
deals keep the rates by which they were read first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from dealwatch.errors import ExtractRefused

ToldRate = tuple[str, str, str]  # code, first day, rate


@dataclass(frozen=True)
class Rates:
    """Rates of each currency for a unit of the org's own: `=code`, `=from` (day), `=rate`; into `target`."""

    target: str
    table: pl.DataFrame

    def told(self) -> tuple[ToldRate, ...]:
        """The table as rows of text, in order; `Rates.of` reads them back."""
        text = self.table.select("=code", pl.col("=from", "=rate").cast(pl.String))
        return tuple(text.sort("=code", "=from").iter_rows())

    @staticmethod
    def of(target: str, told: Sequence[ToldRate]) -> "Rates":
        text = pl.DataFrame(told, schema=dict.fromkeys(("=code", "=from", "=rate"), pl.String), orient="row")
        day, rate = pl.col("=from").str.to_date("%Y-%m-%d"), pl.col("=rate").cast(pl.Float64)
        return Rates(target, text.with_columns(day, rate))

    def after(self, before: "Rates", *, since: date) -> "Rates":
        """These rates for days from `since` on, and those told before for earlier ones.

        Where the org's own currency is another by now, or a code is new, there is no before.
        """
        units = self.table.filter(pl.col("=rate") == 1)["=code"]
        if not len(units.filter(units.is_in(before.table.filter(pl.col("=rate") == 1)["=code"].implode()))):
            return self
        old = pl.col("=code").is_in(before.table["=code"].implode())
        begins = self.table.sort("=from").filter(old & (pl.col("=from") <= since))
        parts = [
            self.table.filter(~old | (pl.col("=from") > since)),
            begins.group_by("=code").last().with_columns(pl.lit(since).alias("=from")),
            before.table.filter(pl.col("=from") < since),
        ]
        joined = pl.concat(one.select(self.table.columns) for one in parts).sort("=code", "=from")
        is_same = (pl.col("=rate") == pl.col("=rate").shift(1).over("=code")).fill_null(False)
        return Rates(self.target, joined.filter(~is_same))

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
        rates = self.table.rename({"=rate": name}).sort("=from")
        return (
            rows.sort("=day")
            .join_asof(
                rates,
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
    fixed = types.select("IsoCode", "ConversionRate", StartDate=pl.lit("1900-01-01"))
    parts = [fixed] if dated is None else [fixed, dated.select(fixed.columns)]
    table = pl.concat(parts).select(
        pl.col("IsoCode").alias("=code"),
        pl.col("StartDate").str.to_date("%Y-%m-%d", strict=False).alias("=from"),
        pl.col("ConversionRate").cast(pl.Float64, strict=False).alias("=rate"),
    )
    return Rates(target, table.drop_nulls().unique(["=code", "=from"], keep="last", maintain_order=True))
