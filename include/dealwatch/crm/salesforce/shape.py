"""Rows of Salesforce as rows of deals: how a deal ended and when, and its amount in one currency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from dealwatch.crm.salesforce.fields import CLOSED_AT, OUTCOME
from dealwatch.errors import ExtractRefused

_INSTANT = "%Y-%m-%dT%H:%M:%S.000Z"


def with_end(rows: pl.DataFrame, *, until: datetime) -> pl.DataFrame:
    """The rows with outcome (won, lost, null) and the moment of the close.

    Salesforce keeps no such moment. The last change of stage is it; where that is not kept, the close date,
    if it is over, else the last change of all. It is never before the creation: what was taken over from an
    older CRM closed as it was created.
    """
    is_closed, is_won = pl.col("IsClosed") == "true", pl.col("IsWon") == "true"
    created, changed = _instant("CreatedDate"), _instant("LastModifiedDate")
    moved = _instant("LastStageChangeDate") if "LastStageChangeDate" in rows.columns else pl.lit(None, _TYPE)
    # A day counts from its last second, so only a day that is over everywhere is taken.
    day = pl.col("CloseDate").str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    ended = (day + pl.duration(days=1, seconds=-1)).dt.replace_time_zone("UTC")
    over = pl.when(ended <= pl.lit(until, _TYPE)).then(ended)
    closed = pl.max_horizontal(created, pl.coalesce(moved, over, changed))
    return rows.with_columns(
        pl.when(is_won & is_closed).then(pl.lit("won")).when(is_closed).then(pl.lit("lost")).alias(OUTCOME),
        pl.when(is_closed).then(closed.dt.strftime(_INSTANT)).alias(CLOSED_AT),
    )


_TYPE = pl.Datetime("us", "UTC")


def with_moment(rows: pl.DataFrame) -> pl.DataFrame:
    """Tasks with the moment they were done: as it is kept, else the day due, unless that was to come."""
    changed = pl.col("LastModifiedDate")
    due = pl.when(pl.col("ActivityDate") <= changed.str.slice(0, 10)).then("ActivityDate")
    done = [pl.col(name) for name in ("CompletedDateTime",) if name in rows.columns]
    return rows.with_columns(pl.coalesce(*done, due, changed).alias("HappenedAt"))


def _instant(name: str) -> pl.Expr:
    return pl.col(name).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC"
    )


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


def renamed(rows: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The values of column Field under the names we use, other rows left out."""
    known = pl.col("Field").replace_strict(dict(names), default=None, return_dtype=pl.String)
    return rows.with_columns(known.alias("Field")).filter(pl.col("Field").is_not_null())


def with_whole_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """A history's rows with ids of 15 letters, if it tells such, in the 18 that rows of deals have."""
    short = pl.concat([rows["OldValue"], rows["NewValue"]]).unique().drop_nulls()
    short = short.filter(short.str.contains(r"^[A-Za-z0-9]{15}$"))
    whole = [whole_id(id_) for id_ in short]
    is_id = pl.col("DataType") == "EntityId"
    return rows.with_columns(
        pl.when(is_id).then(pl.col(name).replace(short.to_list(), whole)).otherwise(name).alias(name)
        for name in ("OldValue", "NewValue")
    )


def whole_id(id_: str) -> str:
    """An id of 15 letters, which case tells apart, with the 3 that say which of them are capitals."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    fives = (id_[start : start + 5] for start in (0, 5, 10))
    return id_ + "".join(
        letters[sum(1 << n for n, one in enumerate(five) if one.isupper())] for five in fives
    )
